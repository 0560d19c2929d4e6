"""Cells of a comparison: scores of settings on tasks, tested together, with costs and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cenote.comparison_records import ByLength, Cell, Cost, Verdict
from cenote.evaluation.arm_scores import ArmScore, Scored
from cenote.evaluation.arms import Arm
from cenote.evaluation.by_length import quarters
from cenote.evaluation.differences import difference_among, pair
from cenote.evaluation.task_list import ListedTask
from cenote.evaluation_records import FEWEST_ITEMS
from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.records import Estimate
from cenote.wording import score_estimate

# A difference with a lower probability is told apart.
_SIGNIFICANT = 0.05
# The name of the mean over tasks.
ALL = "all"


def build_cells(
    tasks: Sequence[ListedTask],
    arms: Sequence[Arm],
    compared: Mapping[Arm, Arm],
    scored: Sequence[Scored],
    seed: int,
    *,
    together: bool = True,
) -> tuple[list[Cell], list[str]]:
    """Return the cells of all tasks, and notes on them.

    Args:
        tasks: in their order.
        arms: all settings.
        compared: the setting that each is compared with; itself for a baseline.
        scored: every setting on every task.
        seed: of the test and the intervals.
        together: whether to add the mean over several tasks.
    """
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
    if together and family and family.together and len(pairs) == len(tasks):
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
    if not known.wins and not known.losses and not known.value:
        return "equal"
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


def list_costs(arms: Sequence[Arm], scored: Sequence[Scored]) -> list[Cost]:
    """Return what each setting costs, over all tasks."""
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


def list_warnings(cells: Sequence[Cell], arms: Sequence[Arm], compared: Mapping[Arm, Arm]) -> list[str]:
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
