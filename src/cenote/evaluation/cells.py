"""Cells of a comparison: scores of settings on tasks, tested together, with costs and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from cenote.comparison_records import ByLength, Cell, Cost, Verdict
from cenote.evaluation.arm_scores import ArmScore, ScoredArm, Subject
from cenote.evaluation.arms import Arm, own_arms
from cenote.evaluation.by_length import quarters
from cenote.evaluation.differences import (
    common_names,
    differences_among,
    pair,
    sources_of,
    state_too_few,
    state_variance,
    values_of,
)
from cenote.evaluation.items import Items
from cenote.evaluation_records import FEWEST_ITEMS
from cenote.functional.agreement import average_overlap
from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.functional.sampling import Floats
from cenote.records import ALL, Estimate
from cenote.wording import score_estimate

# A difference with a lower probability is told apart.
SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class _Grid:
    """Every setting on every subject."""

    subjects: Sequence[Subject]
    arms: Sequence[Arm]
    compared: Mapping[Arm, Arm]  # the setting that each is compared with; itself for a baseline
    found: Mapping[tuple[str, Arm], ScoredArm]

    @cached_property
    def others(self) -> list[Arm]:
        """The settings that are compared with another."""
        return [arm for arm in self.arms if self.compared[arm] is not arm]

    def testable(self, subject: Subject) -> list[Arm]:
        """Return the settings with items on a subject, as their baselines have."""
        return [arm for arm in self.others if all(self._items(subject, one) for one in (arm, self.compared[arm]))]

    def items(self, subject: Subject) -> tuple[list[Items], list[Items]]:
        """Return the items of the baselines of all testable settings, and those of the settings."""
        pairs = [
            (self._items(subject, self.compared[arm]), self._items(subject, arm)) for arm in self.testable(subject)
        ]
        return [one for one, _ in pairs if one], [other for _, other in pairs if other]

    def _items(self, subject: Subject, arm: Arm) -> Items | None:
        return self.found[subject.name, arm].items


def build_cells(
    subjects: Sequence[Subject],
    arms: Sequence[Arm],
    compared: Mapping[Arm, Arm],
    scored: Sequence[ScoredArm],
    seed: int,
    *,
    together: bool = True,
) -> tuple[list[Cell], list[str]]:
    """Return the cells of all subjects, and notes on them.

    Args:
        subjects: tasks, in their order.
        arms: all settings.
        compared: the setting that each is compared with; itself for a baseline.
        scored: every setting on every subject.
        seed: of the test and the intervals.
        together: whether to add the mean over several subjects.
    """
    grid = _Grid(subjects, arms, compared, {(one.task.name, one.arm): one for one in scored})
    pairs = _pair_all(grid)
    testable = {subject.name: grid.testable(subject) for subject in subjects}
    family = compare_paired(list(pairs.values()), seed=seed, fewest=FEWEST_ITEMS) if pairs else None
    tested = {
        (name, arm): one
        for name, rows in zip(pairs, family.tasks if family else (), strict=True)
        for arm, one in zip(grid.others, rows, strict=True)
        if arm in testable[name]
    }
    cells = [cell for subject in subjects for cell in _cells_of(grid, subject, tested, pairs, seed)]
    notes = [f"{subject.name}: {note}" for subject in subjects for note in _notes(grid, subject)]
    notes += [f"{subject.name}: {note}" for subject in subjects if (note := _claim_nothing(grid, subject, pairs))]
    tested_on = [subject for subject in subjects if subject.name in pairs]
    notes += [f"{subject.name}: {note}" for subject in tested_on if (note := _note_common_items(grid, subject))]
    few = [subject.name for subject in subjects if subject.name not in pairs]
    if together and family and family.together and not few:
        everywhere = {arm for arm in grid.others if all(arm in some for some in testable.values())}
        of_mean = dict(zip(grid.others, family.together, strict=True))
        cells += _mean_cells(grid, cells, {arm: one for arm, one in of_mean.items() if arm in everywhere})
    elif together and few and len(subjects) > 1:
        notes.append(
            f"There is no mean over tasks: {', '.join(few)} have fewer than {FEWEST_ITEMS} items, or items of fewer "
            "sources (unequal ones count as fewer), or items that are not known."
        )
    return cells, notes


def _pair_all(grid: _Grid) -> dict[str, Paired]:
    """Return the differences on each subject with enough items; others would spoil the test of these."""
    pairs = {}
    for subject in grid.subjects:
        testable = grid.testable(subject)
        made = pair(subject.kind, *grid.items(subject)) if testable else None
        if made is not None and made.effective >= FEWEST_ITEMS:
            pairs[subject.name] = _with_all(made, [grid.others.index(arm) for arm in testable], len(grid.others))
    return pairs


def _with_all(made: Paired, places: list[int], count: int) -> Paired:
    """Return differences with a row for every setting: of zeros, which no flip makes significant, for all but these."""

    def widened(rows: Floats | None) -> Floats | None:
        if rows is None:
            return None
        found = np.zeros((count, rows.shape[1]))
        found[places] = rows
        return found

    values: Any = widened(made.values)
    return replace(made, values=values, draws=widened(made.draws), outcomes=widened(made.outcomes))


def _claim_nothing(grid: _Grid, subject: Subject, pairs: Mapping[str, Paired]) -> str:
    """Return why nothing can be claimed on a subject, and what to do; nothing where something can."""
    baselines = grid.items(subject)[0]
    if not baselines:
        return ""
    if subject.name not in pairs:
        return state_too_few(baselines[0], sources_of(subject.kind, baselines[0]))
    return state_variance(baselines, pairs[subject.name])


def _note_common_items(grid: _Grid, subject: Subject) -> str:
    """Return over which items differences are, where not every tested setting has all of them."""
    every = [one for some in grid.items(subject) for one in some]
    common, known = len(common_names(every)), len({name for one in every for name in one.columns["item"]})
    if common == known:
        return ""
    return f"differences are over the {common:,} of {known:,} items that all tested settings have; scores are over all."


def _notes(grid: _Grid, subject: Subject) -> list[str]:
    """Return notes on the data, and those of single settings."""
    of_arms = [note for arm in grid.arms for note in grid.found[subject.name, arm].record.notes]
    return list(dict.fromkeys([*subject.notes, *of_arms]))


def _cells_of(
    grid: _Grid,
    subject: Subject,
    tested: Mapping[tuple[str, Arm], Difference],
    pairs: Mapping[str, Paired],
    seed: int,
) -> list[Cell]:
    by_length = _by_length(grid, subject, seed) if subject.name in pairs else {}
    cells = []
    for arm in grid.arms:
        own, base = (grid.found[subject.name, one].record for one in (arm, grid.compared[arm]))
        known = tested.get((subject.name, arm))
        items, of_base = (grid.found[subject.name, one].items for one in (arm, grid.compared[arm]))
        count = 0 if items is None else len(set(items.columns["item"]))
        difference, compared = own.score - base.score, base.score
        if known is not None and of_base is not None and abs(known.value - difference) > _SAME_ITEMS:
            difference, compared = known.value, _score_among_common(grid, subject, of_base)
        cells.append(
            _cell(
                grid,
                arm,
                known,
                difference,
                known_items=arm in grid.testable(subject),
                task=subject.name,
                kind=subject.kind,
                metric=own.metric,
                score=own.score,
                items=count,
                relative=difference / compared if compared > 0 else None,
                neighbours=_agreement(own, base),
                by_length=by_length.get(arm, ()),
                reciprocal_rank=own.reciprocal_rank,
                fates=own.fates,
            )
        )
    return cells


# Scores whose differences are further from that of the items are of other items: mteb rounds its own.
_SAME_ITEMS = 2e-4


def _score_among_common(grid: _Grid, subject: Subject, items: Items) -> float:
    """Return the score of some items, among those that all settings have."""
    baselines, settings = grid.items(subject)
    return float(values_of(subject.kind, items).of(common_names([*baselines, *settings])).mean())


def _mean_cells(grid: _Grid, of_tasks: Sequence[Cell], tested: Mapping[Arm, Difference]) -> list[Cell]:
    """Return the cells of the mean over subjects: each is the mean of the setting's cells."""
    cells = []
    for place, arm in enumerate(grid.arms):
        each = of_tasks[place :: len(grid.arms)]
        known = tested.get(arm)
        relative = [one.relative for one in each if one.relative is not None]
        cells.append(
            _cell(
                grid,
                arm,
                known,
                float(np.mean([one.difference.value for one in each])),
                known_items=known is not None,
                task=ALL,
                kind=ALL,
                metric="mean of scores",
                score=float(np.mean([one.score for one in each])),
                items=sum(one.items for one in each),
                relative=float(np.mean(relative)) if len(relative) == len(each) else None,
                neighbours=None,
            )
        )
    return cells


def _cell(
    grid: _Grid, arm: Arm, known: Difference | None, difference: float, *, known_items: bool, **named: Any
) -> Cell:
    """Return a cell of what was tested; where nothing was, it claims nothing."""
    base = grid.compared[arm]
    return Cell(
        setting=arm.name(grid.arms),
        model=arm.model,
        pooling=arm.pooling,
        temperature=arm.temperature,
        limit=arm.limit,
        long=arm.long,
        baseline=base.name(grid.arms),
        difference=Estimate(difference, *((None, None) if known is None else (known.low, known.high))),
        p=None if known is None else known.p,
        p_alone=None if known is None else known.p_alone,
        effect=None if known is None else known.effect,
        wins=0 if known is None else known.wins,
        losses=0 if known is None else known.losses,
        ties=0 if known is None else known.ties,
        resolvable=None if known is None or not known.possible else known.resolvable,
        verdict="baseline" if base is arm else _verdict(known) if known_items else "items not known",
        **named,
    )


def _verdict(known: Difference | None) -> Verdict:
    if known is None:
        return "too few items"
    if not known.wins and not known.losses and not known.value:
        return "equal"
    if not known.possible:
        return "cannot be resolved"
    if known.p >= SIGNIFICANT:
        return "not told apart"
    return "better" if known.value > 0 else "worse"


def _agreement(one: ArmScore, other: ArmScore) -> float | None:
    """Return the average overlap of the nearest texts of two settings, on average over the texts."""
    if not one.neighbours or len(one.neighbours) != len(other.neighbours):
        return None
    return float(np.mean([average_overlap(*both) for both in zip(one.neighbours, other.neighbours, strict=True)]))


def _by_length(grid: _Grid, subject: Subject, seed: int) -> dict[Arm, tuple[ByLength, ...]]:
    """Return the differences of each setting in each quarter by length."""
    baselines, settings = grid.items(subject)
    testable = grid.testable(subject)
    found: dict[Arm, list[ByLength]] = {arm: [] for arm in testable}
    for by, name, rows in quarters(baselines[0]):
        names = {baselines[0].columns["item"][row] for row in rows.tolist()}
        differences = differences_among(subject.kind, baselines, settings, names, seed)
        for arm, difference in zip(testable, differences or (), strict=False):
            found[arm].append(ByLength(by, name, len(names), difference))
    return {arm: tuple(parts) for arm, parts in found.items()}


def list_costs(arms: Sequence[Arm], scored: Sequence[ScoredArm]) -> list[Cost]:
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
    """Say where a model's declared pooling is beaten by more than noise, by another in its place."""
    own = own_arms(arms)
    named = {arm.name(arms): arm for arm in arms}
    found = []
    for cell in cells:
        arm, base, change = named[cell.setting], compared[named[cell.setting]], cell.difference
        if cell.verdict == "better":
            winner, declared, gain = arm, base, score_estimate(change.value, change.low, change.high, sign="+")
        elif cell.verdict == "worse" and change.low is not None and change.high is not None:
            winner, declared, gain = base, arm, score_estimate(-change.value, -change.high, -change.low, sign="+")
        else:
            continue
        if declared is own[declared.model] and replace(winner, pooling=declared.pooling) == declared:
            where = "the mean of all tasks" if cell.task == ALL else cell.task
            found.append(
                f"On {where}, pooling {winner.pooling} is better than the declared {declared.pooling} of "
                f"{declared.model}: {cell.metric} {gain}."
            )
    return found
