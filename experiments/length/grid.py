"""Labelled data scored over a grid of attention temperatures, paired by item: what the tables on TempScale share.

Every text is read once for each temperature. Statements about a trend take all temperatures of the grid, so that
nothing is chosen; the best of the grid stands beside the best of a grid of noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO
from cenote.data.labelled import Labelled, Retrieval
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.data.labelled_schemas import Asked
from cenote.errors import BadInput
from cenote.evaluation.candidates import CandidateScore, CandidateScores, constants
from cenote.evaluation.cells import SIGNIFICANT
from cenote.evaluation.choosing import relative_changes
from cenote.evaluation.differences import pair
from cenote.evaluation.items import Items
from cenote.evaluation.task_list import ListedTask, list_tasks
from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.functional.sampling import Floats
from cenote.listener import Listener
from cenote.records import Estimate
from experiments.data_sets import labelled_of
from experiments.lab import Finding

# Those of the paper but the two lowest; the first is what the others are compared with, the default is the paper's.
TAUS, QUICK_TAUS, DEFAULT = (1.0, 0.9, 0.8, 0.7, 0.6), (1.0, 0.8), 0.8
# Samples that all temperatures read in about ten minutes, or forty seconds, of one core with the demo model.
FULL = Sizes(queries=300, documents=1200, test=1000, training=16, texts=1000, pairs=1500)
QUICK = Sizes(queries=64, documents=80, test=120, training=16, texts=120, pairs=150)
# Relevant documents of a query with `--quick`: all of them must be read.
QUICK_RELEVANT = 3
# The share of the items that counts as longest and as shortest, as in the paper.
END = 0.2
FLIPS, SEED = 2000, 0


@dataclass(frozen=True, eq=False)
class Grid:
    """One task at each temperature; the first is the one that all others are compared with."""

    task: ListedTask
    taus: Sequence[float]
    scored: Sequence[CandidateScore]

    @property
    def items(self) -> list[Items]:
        """The items at each temperature."""
        return [one.items for one in self.scored]

    def paired(self, names: Sequence[str] | None = None) -> Paired:
        """Return the differences of the other temperatures from the first, among all items or those of some names."""
        first, *others = self.items if names is None else [one.only(set(names)) for one in self.items]
        made = pair(self.task.kind, [first] * len(others), others)
        if made is None:
            raise BadInput(f"{self.task.name}: the temperatures have no items in common.")
        return made


def sampled(name: str, quick: bool, kind: str | None = None) -> Labelled:
    """Return a fixed sample of labelled data."""
    data = labelled_of(name, quick=False, kind=kind)
    if quick and isinstance(data, Retrieval):
        data = replace(data, judgments={query: _first_relevant(grades) for query, grades in data.judgments.items()})
    return sample_labelled(data, sizes=QUICK if quick else FULL)


def _first_relevant(grades: dict[str, int]) -> dict[str, int]:
    """Return the first of the relevant documents of a query."""
    return dict([(name, grade) for name, grade in grades.items() if grade > 0][:QUICK_RELEVANT])


def list_task(name: str, data: Labelled) -> ListedTask:
    """Return data as a task that can be scored."""
    return list_tasks(None, {name: data}, None, Asked(), False)[0]


def read_grid(model: SentenceTransformer, name: str, quick: bool) -> Grid:
    """Score a sample of data at each temperature."""
    task, taus = list_task(name, sampled(name, quick)), QUICK_TAUS if quick else TAUS
    scores = CandidateScores(model, task, AUTO, Listener(), shared=None)
    return Grid(task, taus, scores.score_all(constants(taus)))


def ends_of(items: Items, by: str) -> tuple[list[str], list[str]]:
    """Return the names of the items whose texts are longest, and of those whose are shortest."""
    lengths = items.lengths[by]
    order = [row for row in np.argsort(lengths, kind="stable").tolist() if np.isfinite(lengths[row])]
    names, count = [items.columns["item"][row] for row in order], round(END * len(order))
    return names[len(names) - count :], names[:count]


def combine(paired: Paired, weights: Sequence[float] | Floats) -> Paired:
    """Return one row: the weighted sum of all settings."""
    row = np.asarray(weights, np.float64)[None]
    return replace(
        paired, values=row @ paired.values, draws=None if paired.draws is None else row @ paired.draws, outcomes=None
    )


def slope_weights(taus: Sequence[float]) -> Floats:
    """Return the weights with which scores at the temperatures give their slope: the change for each 0.1 lower.

    >>> slope_weights([1.0, 0.9, 0.8]).round(2).tolist()
    [-0.5, 0.0, 0.5]
    """
    lower = -np.asarray(taus) / 0.1
    centred = lower - lower.mean()
    found: Floats = centred / (centred**2).sum()
    return found


def trend(grid: Grid, names: Sequence[str] | None = None) -> Paired:
    """Return the change of each item for each 0.1 that the temperature is lower, by least squares."""
    return combine(grid.paired(names), slope_weights(grid.taus)[1:])


def estimate(paired: Paired) -> Difference:
    """Return the mean of the first setting with its interval and test."""
    return compare_paired([paired], seed=SEED).tasks[0][0]


def difference_of_groups(first: Paired, second: Paired) -> Difference:
    """Return how much larger the mean of some items is than that of others, which are resampled apart."""
    negative = combine(second, [-1.0])
    half = compare_paired([first, negative], seed=SEED).together[0]  # the mean of two tasks
    low, high = (None if end is None else 2 * end for end in (half.low, half.high))
    return replace(half, value=2 * half.value, low=low, high=high)


def decide(side: Callable[[str, Any], Finding], claim: str, one: Difference, shown: Estimate | None = None) -> Finding:
    """Return a finding that is decided only where the flips of signs agree with the interval.

    Where few items differ, a bootstrap is too sure: four queries that all lose have an interval below 0, and p .125.

    Args:
        side: `above` or `below`.
        claim: its name.
        one: the difference that decides.
        shown: the same difference in another unit.
    """
    finding = side(claim, shown or one)
    return finding if one.p_alone < SIGNIFICANT else replace(finding, holds=None)


def columns_of(one: Difference | None) -> dict[str, Any]:
    """Return the columns of a difference in a table; none of None."""
    return {} if one is None else {"change": one.value, "low": one.low, "high": one.high, "p, of all": one.p}


def flip(paired: Paired, seed: int = SEED) -> Floats:
    """Return the means `[F, C]` of the settings where nothing but the signs of items differs: the null.

    A source of items keeps or changes its sign in all settings, so that the settings stay correlated.
    """
    generator = np.random.default_rng(seed)
    sums, sizes = paired.units
    signs = generator.choice([-1.0, 1.0], (FLIPS, len(sizes)))
    noise = generator.standard_normal((FLIPS, len(sums))) * np.sqrt(paired.noise[0])
    found: Floats = signs @ sums.T / sizes.sum() + noise
    return found


def best_of_noise(pairs: Sequence[Paired], before: Sequence[float]) -> Floats:
    """Return the best relative change of a grid of noise, on average over tasks, for each flip: `[F]`.

    Args:
        pairs: the same settings on each task; the one that they are compared with counts as 0.
        before: the score of each task that changes are relative to.
    """
    means = [flip(one, SEED + place) / score for place, (one, score) in enumerate(zip(pairs, before, strict=True))]
    found: Floats = np.maximum(np.mean(means, 0).max(1), 0.0)
    return found


def excess_of_best(pairs: Sequence[Paired], before: Sequence[float]) -> Estimate:
    """Return the best relative change of the grid minus that of a grid of noise, and the range of 95 % of the flips."""
    best = max(0.0, float(relative_changes(pairs, np.asarray(before)).max()))
    noise = best_of_noise(pairs, before)
    low, high = np.quantile(noise, [0.025, 0.975])
    return Estimate(best - float(noise.mean()), best - float(high), best - float(low))
