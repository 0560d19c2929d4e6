"""Settings compared on the same items: intervals, one test for all of them, and what the data could resolve.

A difference is a mean over items. Its interval is a bootstrap of the items. Its test flips the signs of items, the
same flips for all settings of a task, and takes the largest statistic of the whole family (maxT, Westfall and Young,
1993), so that the chance of one false finding among all settings and tasks is that of a single test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.intervals import check_confidence
from cenote.functional.sampling import Floats, Whole

FLIPS, RESAMPLES = 9999, 2000
# The probability with which a difference of the resolvable size is found.
POWER = 0.8
# Numbers that are in memory at once.
_AT_ONCE = 8_000_000
# Statistics of flips that are equal but for rounding.
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Paired:
    """Differences of C settings from another on the N items of one task."""

    values: Floats  # [C, N], whose means are the differences of the scores
    sources: Whole | None = None  # [N], items of one source are flipped and resampled together
    draws: Floats | None = None  # [C, K], what repeated draws (of training texts, of starts) change besides the items
    outcomes: Floats | None = None  # [C, M], above 0 where the setting is better; None takes the values

    @property
    def units(self) -> tuple[Floats, Floats]:
        """The sums `[C, U]` of the values of each source, and the counts `[U]` of its items."""
        count = self.values.shape[1]
        if self.sources is None:
            return self.values, np.ones(count)
        _, places = np.unique(self.sources, return_inverse=True)
        return np.array([np.bincount(places, row) for row in self.values]), np.bincount(places).astype(float)


@dataclass(frozen=True)
class Difference:
    """How a setting differs from another."""

    value: float
    low: float | None  # None where there are too few items
    high: float | None
    p: float  # of one test for all differences of the family
    p_alone: float  # as if there were no other
    effect: float  # the mean over the standard deviation of items
    wins: int
    losses: int
    ties: int
    resolvable: float | None  # the smallest difference that would be found four times of five
    possible: bool  # whether so few pairs that are not tied could be significant at all


@dataclass(frozen=True)
class Family:
    """All differences that were tested together."""

    tasks: list[list[Difference]]  # of each task, setting by setting
    together: list[Difference]  # of each setting, over all tasks; empty for one task


def compare_paired(
    tasks: Sequence[Paired],
    *,
    weights: Sequence[float] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    fewest: int = 10,
    flips: int = FLIPS,
) -> Family:
    """Return the differences of settings on several tasks, with one correction for all of them.

    >>> noise = np.random.default_rng(0).normal(size=(2, 200))
    >>> (better, same), = compare_paired([Paired(noise * 0.1 + [[0.1], [0]])]).tasks
    >>> better.p < 0.05 < same.p
    True

    Args:
        tasks: the same settings in the same order on each task.
        weights: of the tasks in what they show together; None takes their mean.
        seed: of flips and resamples.
        confidence: of the intervals; the rest is the chance of one false finding among all.
        fewest: items; fewer have no interval.
        flips: of the test. Where there are no more ways to flip the items of a single task, all are taken.
    """
    check_confidence(confidence)
    settings = {task.values.shape[0] for task in tasks}
    if len(settings) != 1:
        raise BadInput(f"tasks with {sorted(settings)} settings: pass the same settings for each task.")
    shares = np.full(len(tasks), 1 / len(tasks)) if weights is None else np.asarray(weights, np.float64)
    units = [task.units for task in tasks]
    several = len(tasks) > 1
    observed, statistics, errors = _flipped(tasks, units, shares, seed, flips)
    largest = statistics.max(1)
    critical = float(np.quantile(largest, confidence))
    resampled, skewness = _resampled(tasks, units, shares, seed)
    exact = len(statistics) != flips  # all ways to flip, of which one is the data
    found = []
    for column, t in enumerate(observed):
        task, setting = divmod(column, settings_of(tasks))
        of_task = tasks[task] if task < len(tasks) else None
        value = float(resampled.values[column])
        enough = min(one.values.shape[1] for one in (tasks if of_task is None else [of_task])) >= fewest
        replicates = resampled.replicates[:, column]
        low, high = _interval(replicates, value, skewness[column], confidence) if enough else (None, None)
        spread = float(replicates.std())
        least = t * (1 - _ROUNDING)
        found.append(
            Difference(
                value=value,
                low=low,
                high=high,
                p=_probability(largest, least, exact),
                p_alone=_probability(statistics[:, column], least, exact),
                **_counts(tasks if of_task is None else [of_task], setting),
                resolvable=critical * float(errors[column]) + float(stats.norm.ppf(POWER)) * spread if enough else None,
            )
        )
    width = settings_of(tasks)
    rows = [found[start : start + width] for start in range(0, len(found), width)]
    return Family(rows[: len(tasks)], rows[len(tasks)] if several else [])


def settings_of(tasks: Sequence[Paired]) -> int:
    """Return how many settings are compared."""
    return int(tasks[0].values.shape[0])


def _probability(statistics: Floats, least: float, exact: bool) -> float:
    """Return the share of flips that are as extreme, of which the data are one."""
    count = int((statistics >= least).sum())
    return count / len(statistics) if exact else (count + 1) / (len(statistics) + 1)


def _counts(tasks: Sequence[Paired], setting: int) -> dict[str, Any]:
    values = np.concatenate([task.values[setting] for task in tasks])
    signs = np.concatenate([(task.values if task.outcomes is None else task.outcomes)[setting] for task in tasks])
    moved = sum(int(np.count_nonzero(task.units[0][setting])) for task in tasks)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        "effect": float(values.mean()) / spread if spread else 0.0,
        "wins": int((signs > 0).sum()),
        "losses": int((signs < 0).sum()),
        "ties": int((signs == 0).sum()),
        "possible": 2.0 ** (1 - min(moved, 64)) <= 0.05,
    }


# Flips.


def _flipped(
    tasks: Sequence[Paired], units: Sequence[tuple[Floats, Floats]], shares: Floats, seed: int, flips: int
) -> tuple[Floats, Floats, Floats]:
    """Return the statistics `[S]` of the data and `[F, S]` of flips, and the standard errors `[S]`.

    S runs over the settings of each task, then over the settings on all tasks together.
    """
    count = min(sums.shape[1] for sums, _ in units)
    exact = len(tasks) == 1 and tasks[0].draws is None and 2**count <= flips
    means, variances, observed = [], [], []
    for number, (task, (sums, sizes)) in enumerate(zip(tasks, units, strict=True)):
        blocks = _every_sign(count) if exact else _signs(sums.shape[1], flips, (seed, number))
        scaled = sums / sizes.sum()
        squares = (scaled**2).sum(1)
        flipped = np.concatenate([block @ scaled.T for block in blocks])
        of_data = scaled.sum(1)
        spread = _spread(squares, flipped, scaled.shape[1])
        error = _spread(squares, of_data, scaled.shape[1])
        if task.draws is not None and task.draws.shape[1] > 1:
            left = (task.draws - task.draws.mean(1, keepdims=True)) / task.draws.shape[1]
            signs = np.concatenate(list(_signs(left.shape[1], flips, (seed, number, 1))))
            flipped = flipped + signs @ left.T
            between = (left**2).sum(1) * left.shape[1] / (left.shape[1] - 1)
            spread, error = spread + between, error + between
        means.append(flipped)
        variances.append(spread)
        observed.append((of_data, error))
    if len(tasks) > 1:
        means.append(np.tensordot(shares, means, 1))
        variances.append(np.tensordot(shares**2, variances, 1))
        together = [
            np.tensordot(weights, [one[part] for one in observed], 1)
            for part, weights in enumerate((shares, shares**2))
        ]
        observed.append((together[0], together[1]))
    value, error = (np.concatenate([one[part] for one in observed]) for part in (0, 1))
    return _ratio(value, error), _ratio(np.concatenate(means, 1), np.concatenate(variances, 1)), np.sqrt(error)


def _spread(squares: Floats, means: Floats, count: int) -> Floats:
    """Return the squared standard error of the mean of items whose signs may be flipped."""
    found: Floats = np.maximum(squares - means**2 / count, 0) * count / max(1, count - 1)
    return found


def _ratio(values: Floats, variances: Floats) -> Floats:
    """Return how many standard errors each value is from 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(values == 0, 0.0, np.abs(values) / np.sqrt(variances))
    return found


def _signs(count: int, flips: int, seed: tuple[int, ...]) -> Iterator[Floats]:
    """Yield blocks `[B, N]` of random signs."""
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // count)
    for start in range(0, flips, step):
        rows = min(step, flips - start)
        bits = np.unpackbits(np.frombuffer(generator.bytes(rows * -(-count // 8)), np.uint8).reshape(rows, -1), axis=1)
        yield bits[:, :count].astype(np.float64) * 2 - 1


def _every_sign(count: int) -> Iterator[Floats]:
    """Yield all ways to give signs to items, of which the first changes none."""
    numbers = np.arange(2**count)[:, None] >> np.arange(count)
    yield 1 - 2 * (numbers & 1).astype(np.float64)


# Resamples.


@dataclass(frozen=True, eq=False)
class _Resampled:
    values: Floats  # [S]
    replicates: Floats  # [R, S]


def _resampled(
    tasks: Sequence[Paired], units: Sequence[tuple[Floats, Floats]], shares: Floats, seed: int
) -> tuple[_Resampled, Floats]:
    """Return the differences with their resamples, and the acceleration of each interval."""
    values, replicates, cubes, squares = [], [], [], []
    for number, (task, (sums, sizes)) in enumerate(zip(tasks, units, strict=True)):
        generator = np.random.default_rng((seed, number, 2))
        total = sizes.sum()
        value = sums.sum(1) / total
        made = np.concatenate([(drawn @ sums.T) / (drawn @ sizes)[:, None] for drawn in _drawn(len(sizes), generator)])
        if task.draws is not None and task.draws.shape[1] > 1:
            count = task.draws.shape[1]
            left = task.draws - task.draws.mean(1, keepdims=True)
            rows = generator.integers(0, count, (RESAMPLES, count))
            made += left[:, rows].mean(2).T * np.sqrt(count / (count - 1))
        errors = (sums - value[:, None] * sizes) / total
        values.append(value)
        replicates.append(made)
        cubes.append((errors**3).sum(1))
        squares.append((errors**2).sum(1))
    if len(tasks) > 1:
        values.append(np.tensordot(shares, values, 1))
        replicates.append(np.tensordot(shares, replicates, 1))
        cubes.append(np.tensordot(shares**3, cubes, 1))
        squares.append(np.tensordot(shares**2, squares, 1))
    below, above = np.concatenate(cubes), np.concatenate(squares)
    acceleration = np.divide(below, 6 * above**1.5, out=np.zeros_like(below), where=above > 0)
    return _Resampled(np.concatenate(values), np.concatenate(replicates, 1)), acceleration


def _drawn(count: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Yield blocks `[B, U]`: how often each unit is in a resample."""
    step = max(1, _AT_ONCE // count)
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        places = generator.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def _interval(replicates: Floats, value: float, acceleration: float, confidence: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval (Efron, 1987)."""
    if not np.ptp(replicates):
        return value, value
    below = ((replicates < value).mean() + (replicates <= value).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / len(replicates), 1 - 1 / len(replicates)))
    shifts = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(replicates, stats.norm.cdf(bias + shifts / (1 - acceleration * shifts)))
    return float(low), float(high)
