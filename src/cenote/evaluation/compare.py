"""`compare`: settings of models on the same items, each against the model's own, with one test for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.probes import Probes
from cenote.choices import AUTO, PRECISIONS, Auto, KindName, LongName, PoolingName, PrecisionName
from cenote.comparison_records import Cell, Comparison
from cenote.data.labelled_schemas import TEST, Asked
from cenote.data.texts import Texts
from cenote.encoding.passes import packages
from cenote.errors import BadInput, check_at_least, choose
from cenote.evaluation.arm_scores import ArmScore, ScoredArm, score_passes
from cenote.evaluation.arms import Arm, Pass, check_grid, own_arms, passes_of
from cenote.evaluation.cells import build_cells, list_costs, list_warnings
from cenote.evaluation.configuration import settings_of_data
from cenote.evaluation.own_sentences import (
    KIND,
    LEFT_OUT,
    are_worth_graphs,
    draw_own_sentences,
    limit_claims,
    score_own_sentences,
    state_limits,
)
from cenote.evaluation.reading import precision_of
from cenote.evaluation.results import Results, folder_of
from cenote.evaluation.runtimes import read_alike, tasks_by_graph
from cenote.evaluation.scoring import refuse_unusable
from cenote.evaluation.task_list import PACKAGES, ListedTask, list_tasks, refuse_missing_packages
from cenote.functional.temperature import Temperature
from cenote.json_records import Result
from cenote.listener import Listener, Progress, silent
from cenote.models.loading import load
from cenote.models.provenance import name_of, versions_of
from cenote.wording import number_duplicates

Model = SentenceTransformer | str | Path


def compare(
    models: Model | Sequence[Model],
    data: str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    *,
    tasks: str | Sequence[str] | None = None,
    unlabelled: Texts | None = None,
    poolings: Sequence[PoolingName | str] | Mapping[str, nn.Module] | None = None,
    temperatures: Sequence[Temperature] | None = None,
    limits: Sequence[int] | None = None,
    long: Sequence[LongName | str] | None = None,
    baseline: str | None = None,
    official: str | None = None,
    kind: KindName | None = None,
    split: str = "test",
    data_columns: Mapping[str, str] | None = None,
    quick: bool = False,
    precision: PrecisionName | Auto = AUTO,
    cache: str | Path | bool = True,
    seed: int = 0,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] = load,
) -> Comparison:
    """Compare settings of one or several models on your data: which is better, and can these data tell?

    Every setting of the grid is scored on the same items: by MTEB's code, or by sentences of unlabelled texts. Each is
    compared with its model's own setting, and the own setting of a later model with that of the first. One pass over
    the texts serves all poolings of the same tokens.

    Args:
        models: one or several models: a `SentenceTransformer`, or what `cenote.load` takes.
        data: labelled folders or files, or a mapping of names to them, as for `cenote.evaluate`.
        tasks: names of tasks or benchmarks of MTEB.
        unlabelled: texts in place of labelled data: a path, strings, (id, text), mappings, a frame or a table. Their
            sentences are the queries; this shows coverage, not relevance.
        poolings: to try beside the model's own; several are joined by `+`. Or modules of your own, by name.
        temperatures: of attention, to try beside the model's own.
        limits: tokens after which texts are cut, to try beside the model's own.
        long: ways to read texts beyond the limit: truncate, window-mean, windows, `segments 8`. The first is the
            baseline's.
        baseline: the name of the setting that all are compared with, as the result names it; None for each model's own.
        official: name of the task of MTEB that the data are of.
        kind: of the data; None tells it by files and columns.
        split: of the data.
        data_columns: your names of the columns of `data`: `{"text": "review", "label": "stars"}`.
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
    listener, seed = Listener(progress or silent, notify or silent), check_at_least(0, seed, "seed")
    given = [models] if isinstance(models, (SentenceTransformer, str, Path, Result)) else list(models)
    _refuse_results(given)
    if names is not None and len(names) != len(given):
        raise BadInput(f"names has {len(names)} names for {len(given)} models: give one for each.")
    grid = check_grid(poolings, temperatures, limits, long)
    choose(precision, dict.fromkeys((*PRECISIONS, AUTO)), "precision")
    asked = Asked(kind, split, data_columns or {})
    evidence: _Tasks | _OwnSentences
    if unlabelled is None:
        refuse_missing_packages("compare")
        results = Results(folder_of(cache), ArmScore)
        tasks_given = list_tasks(tasks, data, official, asked, quick)
        for task in tasks_given:
            for way in grid.long:
                refuse_unusable(way, task.kind, task.name)
        evidence = _Tasks(precision, listener, seed, tasks_given, results)
    else:
        _refuse_beside_unlabelled(
            data=data,
            tasks=tasks,
            official=official,
            kind=kind,
            split=None if split == TEST else split,
            data_columns=data_columns or None,
            cache=None if isinstance(cache, bool) else cache,
        )
        evidence = _OwnSentences(precision, listener, seed, draw_own_sentences(unlabelled, grid, quick, seed))
    loaded = [one if isinstance(one, SentenceTransformer) else loader(one) for one in given]
    called = number_duplicates(list(names or (name_of(one, model) for one, model in zip(given, loaded, strict=True))))
    passes = [one for model, name in zip(loaded, called, strict=True) for one in passes_of(model, name, grid)]
    arms = list(dict.fromkeys(arm for one in passes for arm in one.arms))
    if len(arms) < 2:
        raise BadInput(
            f"there is one setting only, the model's own ({arms[0].pooling} at temperature {arms[0].temperature}): "
            "name other poolings, temperatures or limits to try."
        )
    compared = _baselines(arms, baseline)
    scored, by_graph = read_alike(
        partial(evidence.score, passes), evidence.worth_graphs(passes), evidence.BY_TORCH, listener.notify
    )
    cells, notes = evidence.compare(arms, compared, scored)
    if unlabelled is not None:
        notes += state_limits(dict(zip(called, loaded, strict=True)))
    if any(one.kept for one in scored):
        notes.append(
            "Some scores are from the cache: the times of their settings are those of the run that read the texts."
        )
    return Comparison(
        schema=Comparison.SCHEMA,
        models=tuple(called),
        cells=tuple(cells),
        costs=tuple(list_costs(arms, scored)),
        labelled=unlabelled is None,
        warnings=tuple(list_warnings(_ranking(cells), arms, compared)),
        notes=tuple(notes),
        settings={
            "quick": quick,
            "precision": precision_of(loaded, precision),
            "seed": seed,
            **settings_of_data(asked, official, evidence.tasks),
            "baseline": baseline,
        },
        versions=versions_of(*evidence.DEPENDS_ON, *(packages() if by_graph else ())),
    )


@dataclass(frozen=True, eq=False)
class _Tasks:
    """Labelled tasks, by which settings are compared."""

    BY_TORCH: ClassVar[frozenset[str]] = frozenset()  # no task is read by a graph
    DEPENDS_ON: ClassVar = PACKAGES

    precision: str
    listener: Listener
    seed: int
    tasks: list[ListedTask]
    results: Results[ArmScore]

    def worth_graphs(self, passes: Sequence[Pass]) -> frozenset[str]:
        """Return the names of the tasks that graphs read."""
        return tasks_by_graph(self.tasks, passes, self.precision)

    def score(self, passes: Sequence[Pass], by_graph: frozenset[str]) -> list[ScoredArm]:
        """Return the scores of all settings."""
        return list(score_passes(passes, self.tasks, self.results, self.listener, self.precision, by_graph))

    def compare(
        self, arms: Sequence[Arm], compared: Mapping[Arm, Arm], scored: Sequence[ScoredArm]
    ) -> tuple[list[Cell], list[str]]:
        """Return the cells of all settings, and notes on them."""
        return build_cells(self.tasks, arms, compared, scored, self.seed, together=True)


@dataclass(frozen=True, eq=False)
class _OwnSentences:
    """Sentences of unlabelled texts, by which settings are compared."""

    BY_TORCH: ClassVar = False
    DEPENDS_ON: ClassVar = ("scipy", "tokenizers")
    tasks: ClassVar[tuple[ListedTask, ...]] = ()

    precision: str
    listener: Listener
    seed: int
    probes: Probes

    def worth_graphs(self, passes: Sequence[Pass]) -> bool:
        """Return whether graphs read the texts."""
        return are_worth_graphs(passes, self.probes, self.precision)

    def score(self, passes: Sequence[Pass], by_graph: bool) -> list[ScoredArm]:
        """Return the scores of all settings."""
        scored = score_own_sentences(passes, self.probes, self.listener, self.precision, self.seed, by_graph=by_graph)
        return list(scored)

    def compare(
        self, arms: Sequence[Arm], compared: Mapping[Arm, Arm], scored: Sequence[ScoredArm]
    ) -> tuple[list[Cell], list[str]]:
        """Return the cells of all settings, which claim no more than sentences can show, and notes on them."""
        subjects = list(dict.fromkeys(one.task for one in scored))
        cells, notes = build_cells(subjects, arms, compared, scored, self.seed, together=False)
        return limit_claims(cells), notes


def _refuse_beside_unlabelled(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise BadInput(f"{name}={value!r} goes with labelled data: unlabelled texts are compared alone.")


def _ranking(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells by which settings may be ranked: of own sentences those that are left out."""
    return [cell for cell in cells if cell.kind != KIND or cell.task == LEFT_OUT]


def _refuse_results(given: Sequence[Any]) -> None:
    for one in given:
        if isinstance(one, Result) or (isinstance(one, (str, Path)) and str(one).endswith(".json")):
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
    own = own_arms(arms)
    first = own[arms[0].model]
    return {arm: first if arm is own[arm.model] else own[arm.model] for arm in arms}
