"""`compare`: settings of models on the same items, each against the model's own, with one test for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.choices import AUTO, PRECISIONS
from cenote.comparison_records import ByLength, Cell, Comparison, Cost, Verdict
from cenote.errors import BadInput, choose
from cenote.evaluation.arm_scores import ArmScore, Scored, score_passes
from cenote.evaluation.arms import Arm, check_grid, passes_of
from cenote.evaluation.by_length import quarters
from cenote.evaluation.differences import difference_among, pair
from cenote.evaluation.results import Results, folder_of
from cenote.evaluation.scoring import refuse_unusable
from cenote.evaluation.task_list import PACKAGES, ListedTask, list_tasks, refuse_missing_packages
from cenote.evaluation_records import FEWEST_ITEMS, Evaluation
from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.functional.temperature import Temperature
from cenote.listener import Listener, Progress, silent
from cenote.models.loading import load
from cenote.models.provenance import name_of, versions_of
from cenote.records import Estimate
from cenote.wording import number_duplicates, score_estimate

# A difference with a lower probability is told apart.
_SIGNIFICANT = 0.05
# The name of the mean over tasks.
ALL = "all"

Model = SentenceTransformer | str | Path


def compare(
    models: Model | Sequence[Model],
    data: str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    *,
    tasks: str | Sequence[str] | None = None,
    poolings: Sequence[str] | Mapping[str, nn.Module] | None = None,
    temperatures: Sequence[Temperature] | None = None,
    windows: Sequence[int] | None = None,
    long: Sequence[str] | None = None,
    baseline: str | None = None,
    official: str | None = None,
    kind: str | None = None,
    split: str = "test",
    quick: bool = False,
    precision: str = AUTO,
    cache: str | Path | bool = True,
    seed: int = 0,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] = load,
) -> Comparison:
    """Compare settings of one or several models on labelled data: which is better, and can these data tell?

    Every setting of the grid is scored on the same items by MTEB's code. Each is compared with its model's own setting,
    and the own setting of a later model with that of the first. One pass over the texts serves all poolings of the same
    tokens.

    Args:
        models: one or several models: a `SentenceTransformer`, or what `cenote.load` takes.
        data: labelled folders or files, or a mapping of names to them, as for `cenote.evaluate`.
        tasks: names of tasks or benchmarks of MTEB.
        poolings: to try beside the model's own; several are joined by `+`. Or modules of your own, by name.
        temperatures: of attention, to try beside the model's own.
        windows: limits in tokens, to try beside the model's own.
        long: ways to read texts beyond the limit: truncate, window-mean, windows, `segments 8`. The first is the
            baseline's.
        baseline: the name of the setting that all are compared with, as the result names it; None for each model's own.
        official: name of the task of MTEB that the data are of.
        kind: of the data; None tells it by files and columns.
        split: of the data.
        quick: whether to score fixed samples of the data.
        precision: float32, bfloat16, float16, or auto: that of the weights.
        cache: folder that keeps scores; True for the user's cache, False for none.
        seed: of the test and the intervals.
        names: what the comparison calls the models.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence on what happens.
        loader: loads a model that is given by name, once the data are checked.

    Returns:
        A `Comparison`: plain data, with `to_json`, `from_json` and `save`.
    """
    listener = Listener(progress or silent, notify or silent)
    given = [models] if isinstance(models, (SentenceTransformer, str, Path)) else list(models)
    _refuse_results(given)
    grid = check_grid(poolings, temperatures, windows, long)
    choose(precision, dict.fromkeys((*PRECISIONS, AUTO)), "precision")
    refuse_missing_packages("compare")
    waiting = list_tasks(tasks, data, official, kind, split, quick)
    for task in waiting:
        for way in grid.long:
            refuse_unusable(way, task.kind, task.name)
    loaded = [one if isinstance(one, SentenceTransformer) else loader(one) for one in given]
    called = number_duplicates(list(names or (name_of(one, model) for one, model in zip(given, loaded, strict=True))))
    passes = [one for model, name in zip(loaded, called, strict=True) for one in passes_of(model, name, grid)]
    arms = list(dict.fromkeys(arm for one in passes for arm in one.arms))
    if len(arms) < 2:
        raise BadInput(
            f"there is one setting only, {arms[0].name(arms)}: name poolings, temperatures or windows to try."
        )
    compared = _baselines(arms, baseline)
    results = Results(folder_of(cache), ArmScore)
    scored = list(score_passes(passes, waiting, results, listener, precision))
    cells, notes = _cells(waiting, arms, compared, scored, seed)
    return Comparison(
        schema=Comparison.SCHEMA,
        models=tuple(called),
        cells=tuple(cells),
        costs=tuple(_costs(arms, scored)),
        labelled=True,
        warnings=tuple(_warnings(cells, arms, compared)),
        notes=tuple(notes),
        settings={"quick": quick, "seed": int(seed), "split": split, "baseline": baseline},
        versions=versions_of(*PACKAGES),
    )


def _refuse_results(given: Sequence[Any]) -> None:
    for one in given:
        if isinstance(one, (Evaluation, Comparison)) or (isinstance(one, (str, Path)) and str(one).endswith(".json")):
            raise BadInput(
                f"{one if isinstance(one, (str, Path)) else type(one).__name__} is a result: settings are compared on "
                "the same items, in one call. Give models and data."
            )
    if not given:
        raise BadInput("there is no model to compare.")


def _baselines(arms: Sequence[Arm], baseline: str | None) -> dict[Arm, Arm]:
    """Return for each setting the one that it is compared with; for baselines themselves."""
    if baseline is not None:
        named = {arm.name(arms): arm for arm in arms}
        return dict.fromkeys(arms, choose(baseline, named, "setting"))
    own = {arm.model: arm for arm in reversed(arms)}  # the first of each model
    first = own[arms[0].model]
    return {arm: first if arm is own[arm.model] else own[arm.model] for arm in arms}


def _cells(
    tasks: Sequence[ListedTask], arms: Sequence[Arm], compared: Mapping[Arm, Arm], scored: Sequence[Scored], seed: int
) -> tuple[list[Cell], list[str]]:
    """Return the cells of all tasks, and of their mean where there are several."""
    found = {(one.task.name, one.arm): one for one in scored}
    others = [arm for arm in arms if compared[arm] is not arm]
    pairs: dict[str, Paired] = {}
    for task in tasks:
        both = [(found[task.name, compared[arm]].items, found[task.name, arm].items) for arm in others]
        if all(one is not None and other is not None for one, other in both):
            made = pair(task.kind, [one for one, _ in both if one], [other for _, other in both if other])
            if made is not None:
                pairs[task.name] = made
    family = compare_paired(list(pairs.values()), seed=seed, fewest=FEWEST_ITEMS) if pairs else None
    tested = dict(zip(pairs, family.tasks, strict=True)) if family else {}
    cells, notes = [], list[str]()
    for task in tasks:
        notes += [f"{task.name}: {note}" for note in (*task.notes, *found[task.name, arms[0]].record.notes)]
        for arm in arms:
            own, base = found[task.name, arm], found[task.name, compared[arm]]
            known = tested[task.name][others.index(arm)] if task.name in tested and arm in others else None
            count = len(set(own.items.columns["item"])) if own.items else 0
            cell = _cell(arm, arms, compared[arm], task.name, task.kind, own.record.metric, known, count)
            cells.append(
                replace(
                    cell,
                    score=own.record.score,
                    difference=replace(cell.difference, value=own.record.score - base.record.score),
                    relative=_relative(own.record.score, base.record.score),
                    neighbours=_agreement(own.record, base.record),
                    by_length=_by_length(task.kind, base, own, seed) if known else (),
                )
            )
    if family and family.together and len(pairs) == len(tasks):
        for arm in arms:
            scores = [found[task.name, arm].record.score for task in tasks]
            bases = [found[task.name, compared[arm]].record.score for task in tasks]
            known = family.together[others.index(arm)] if arm in others else None
            cell = _cell(arm, arms, compared[arm], ALL, ALL, "mean of scores", known, FEWEST_ITEMS)
            score, before = float(np.mean(scores)), float(np.mean(bases))
            relative = float(np.mean([_relative(a, b) or 0.0 for a, b in zip(scores, bases, strict=True)]))
            cells.append(
                replace(cell, score=score, difference=replace(cell.difference, value=score - before), relative=relative)
            )
    return cells, notes


def _relative(score: float, before: float) -> float | None:
    return (score - before) / before if before > 0 else None


def _cell(
    arm: Arm,
    arms: Sequence[Arm],
    base: Arm,
    task: str,
    kind: str,
    metric: str,
    known: Difference | None,
    count: int,
) -> Cell:
    """Return a cell of what was tested; its score comes later."""
    claims = known is not None and count >= FEWEST_ITEMS
    return Cell(
        setting=arm.name(arms),
        model=arm.model,
        pooling=arm.pooling,
        temperature=arm.temperature,
        window=arm.window,
        long=arm.long,
        task=task,
        kind=kind,
        metric=metric,
        score=0.0,
        baseline=base.name(arms),
        difference=Estimate(0.0, *((known.low, known.high) if known and claims else (None, None))),
        relative=None,
        p=known.p if known and claims else None,
        p_alone=known.p_alone if known and claims else None,
        effect=known.effect if known else None,
        wins=known.wins if known else 0,
        losses=known.losses if known else 0,
        ties=known.ties if known else 0,
        resolvable=known.resolvable if known and claims else None,
        verdict=_verdict(known, claims) if arm is not base else "baseline",
        neighbours=None,
    )


def _verdict(known: Difference | None, claims: bool) -> Verdict:
    if known is None or not claims:
        return "too few items"
    if not known.possible:
        return "cannot be resolved"
    if known.p >= _SIGNIFICANT:
        return "not told apart"
    return "better" if known.value > 0 else "worse"


def _agreement(one: ArmScore, other: ArmScore) -> float | None:
    """Return the share of the nearest texts that two settings have in common."""
    if not one.neighbours or len(one.neighbours) != len(other.neighbours):
        return None
    pairs = zip(one.neighbours, other.neighbours, strict=True)
    return float(np.mean([len({*a} & {*b}) / len(a) for a, b in pairs]))


def _by_length(kind: str, base: Scored, own: Scored, seed: int) -> tuple[ByLength, ...]:
    if base.items is None or own.items is None:
        return ()
    found = []
    for by, name, rows in quarters(base.items):
        difference = difference_among(kind, base.items, own.items, rows, seed) if len(rows) >= FEWEST_ITEMS else None
        if difference is not None:
            found.append(ByLength(by, name, len(rows), difference))
    return tuple(found)


def _costs(arms: Sequence[Arm], scored: Sequence[Scored]) -> list[Cost]:
    costs = []
    for arm in arms:
        own = [one.record for one in scored if one.arm == arm]
        texts = sum(one.texts for one in own)
        costs.append(
            Cost(
                setting=arm.name(arms),
                dimensions=max(one.dimensions for one in own),
                vectors=round(max(one.vectors for one in own), 3),
                seconds=round(1000 * sum(one.seconds for one in own) / max(1, texts), 2),
                texts=texts,
            )
        )
    return costs


def _warnings(cells: Sequence[Cell], arms: Sequence[Arm], compared: Mapping[Arm, Arm]) -> list[str]:
    """Say where a model's declared pooling is beaten by more than noise."""
    named = {arm.name(arms): arm for arm in arms}
    found = []
    for cell in cells:
        arm = named[cell.setting]
        base = compared[arm]
        if cell.verdict == "better" and arm != base and replace(arm, pooling=base.pooling) == base:
            difference = score_estimate(cell.difference.value, cell.difference.low, cell.difference.high, sign="+")
            where = "the mean of all tasks" if cell.task == ALL else cell.task
            found.append(
                f"On {where}, pooling {arm.pooling} is better than the declared {base.pooling} of {arm.model}: "
                f"{cell.metric} {difference}."
            )
    return found
