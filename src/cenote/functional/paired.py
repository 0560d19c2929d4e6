"""Settings compared on the same items: intervals, one test for all of them, and what the data could resolve.

A difference is a mean over items. Its interval is a bootstrap of the items. Its test flips the signs of items, the
same flips for all settings of a task, and takes the largest statistic of the whole family (maxT, Westfall and Young,
1993), so that the chance of one false finding among all settings and tasks is that of a single test.

A score that also depends on a few draws (of training texts, of starts) gets their part from the normal distribution: a
handful of signs could not be flipped often enough. Its variance is as uncertain as that of so few draws, so that draws
alone are tested as by Student. Each setting has a part of its own, on the safe side of parts that go together (Šidák,
1967).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from cenote.errors import BadInput
from cenote.functional.intervals import bca_interval, check_confidence
from cenote.functional.sampling import Floats, Whole

FLIPS, RESAMPLES = 9999, 2000
# The probability with which a difference of the resolvable size is found.
POWER = 0.8
# Numbers that are in memory at once.
_AT_ONCE = 4_000_000
# Statistics of flips that are equal but for rounding.
_ROUNDING = 1e-5
# The least variance, as a share of the squares: that of items that are equal but for rounding.
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Paired:
    """Differences of C settings from another on the N items of one task."""

    values: Floats  # [C, N], whose means are the differences of the scores
    sources: Whole | None = None  # [N], items of one source are flipped and resampled together
    draws: Floats | None = None  # [C, K], what repeated draws (of training texts, of starts) change besides the items
    outcomes: Floats | None = None  # [C, M], above 0 where the setting is better; None takes the values

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        if len(shape) != 2 or not all(shape):
            raise BadInput(f"values of shape {shape}: pass settings x items, at least one of each.")
        for name in ("values", "draws", "outcomes"):
            one = getattr(self, name)
            if one is None:
                continue
            if np.ndim(one) != 2 or len(one) != shape[0]:
                raise BadInput(f"{name} of shape {np.shape(one)} with {shape[0]} settings: pass a row for each.")
            if not np.isfinite(one).all():
                raise BadInput(f"{name} with NaN or infinite numbers: leave such items out of all settings.")
        if self.sources is not None and np.shape(self.sources) != shape[1:]:
            raise BadInput(f"sources of shape {np.shape(self.sources)}: pass one for each of {shape[1]} items.")

    @property
    def units(self) -> tuple[Floats, Floats]:
        """The sums `[C, U]` of the values of each source, and the counts `[U]` of its items."""
        if self.sources is None:
            return self.values, np.ones(self.values.shape[1])
        _, places = np.unique(self.sources, return_inverse=True)
        return np.array([np.bincount(places, row) for row in self.values]), np.bincount(places).astype(float)

    @property
    def count(self) -> int:
        """How many sources there are, or items where each has its own."""
        return self.values.shape[1] if self.sources is None else len(np.unique(self.sources))

    @property
    def noise(self) -> tuple[Floats, int]:
        """The squared standard errors `[C]` that the draws add, and their degrees of freedom; 0 without draws."""
        count = 0 if self.draws is None else self.draws.shape[1]
        if self.draws is None or count < 2:
            return np.zeros(len(self.values)), 0
        return self.draws.var(1, ddof=1) / count, count - 1


@dataclass(frozen=True)
class Difference:
    """How a setting differs from another."""

    value: float
    low: float | None  # None where there are too few items, or all are equal
    high: float | None
    p: float  # of one test for all differences of the family
    p_alone: float  # as if there were no other
    effect: float  # the difference over the standard deviation of items; 0 where all are equal
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
        fewest: sources of items; fewer have no interval.
        flips: of the test. Where there are no more ways to flip the items of a single task, all are taken.
    """
    check_confidence(confidence)
    shares = _check(tasks, weights)
    units = [task.units for task in tasks]
    tested = _flipped(tasks, units, shares, seed, flips)
    resampled = _resampled(tasks, units, shares, seed)
    largest = tested.flipped.max(1)
    # A difference that is found four times of five exceeds what is found by that much of its own error.
    reach = float(np.quantile(largest, confidence, method="higher") + ndtri(POWER))
    width = len(tasks[0].values)
    found = []
    for column, statistic in enumerate(tested.statistics):
        number, setting = divmod(column, width)
        chosen, of_chosen = (tasks, shares) if number == len(tasks) else ([tasks[number]], np.ones(1))
        value, replicates = float(resampled.values[column]), resampled.replicates[:, column]
        varies = np.ptp(replicates) > 1e-9 * abs(value)
        enough = varies and min(one.count for one in chosen) >= fewest
        ends = bca_interval(replicates, value, resampled.accelerations[column], confidence) if enough else (None, None)
        least = statistic * (1 - _ROUNDING)
        found.append(
            Difference(
                value=value,
                low=ends[0],
                high=ends[1],
                p=_probability(largest, least, tested.exact),
                p_alone=_probability(tested.flipped[:, column], least, tested.exact),
                **_counts(chosen, of_chosen, setting, value, 1 - confidence),
                resolvable=reach * float(tested.errors[column]) if enough else None,
            )
        )
    rows = [found[start : start + width] for start in range(0, len(found), width)]
    return Family(rows[: len(tasks)], rows[len(tasks)] if len(tasks) > 1 else [])


def _check(tasks: Sequence[Paired], weights: Sequence[float] | None) -> Floats:
    """Return the shares of the tasks in what they show together."""
    settings = {task.values.shape[0] for task in tasks}
    if len(settings) != 1:
        raise BadInput(f"tasks with {sorted(settings)} settings: pass the same settings for each task.")
    given: Floats = np.ones(len(tasks)) if weights is None else np.asarray(weights, np.float64)
    if given.shape != (len(tasks),) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise BadInput(f"weights={weights!r} of {len(tasks)} tasks: pass a number for each, none below 0, not all 0.")
    shares: Floats = given / given.sum()
    return shares


def _probability(statistics: Floats, least: float, exact: bool) -> float:
    """Return the share of flips that are as extreme, of which the data are one."""
    count = int((statistics >= least).sum())
    return count / len(statistics) if exact else (count + 1) / (len(statistics) + 1)


def _counts(tasks: Sequence[Paired], shares: Floats, setting: int, value: float, chance: float) -> dict[str, Any]:
    values = [task.values[setting] for task in tasks]
    signs = np.concatenate([(task.values if task.outcomes is None else task.outcomes)[setting] for task in tasks])
    moved = sum(int(np.count_nonzero(task.units[0][setting])) for task in tasks)
    varies = any(np.ptp(one) > 1e-9 * np.abs(one).max() for one in values)
    variances = [one.var(ddof=1) if len(one) > 1 else 0.0 for one in values]
    return {
        "effect": value / float(np.sqrt(shares @ variances)) if varies else 0.0,
        "wins": int((signs > 0).sum()),
        "losses": int((signs < 0).sum()),
        "ties": int((signs == 0).sum()),
        "possible": 2.0 ** (1 - min(moved, 64)) < chance,
    }


def _together(parts: list[Floats], shares: Floats) -> Floats:
    """Return the parts `[..., C]` of tasks side by side, and for several tasks then their sum by `shares`."""
    found: Floats = np.concatenate([*parts, np.tensordot(shares, parts, 1)] if len(parts) > 1 else parts, -1)
    return found


# Flips.


@dataclass(frozen=True, eq=False)
class _Tested:
    """Statistics of S differences: the settings of each task, then the settings on all tasks together."""

    statistics: Floats  # [S], of the data
    errors: Floats  # [S], the standard errors
    flipped: Floats  # [F, S], statistics of flips
    exact: bool  # whether these are all ways to flip, of which the first is the data


def _streams(units: Sequence[tuple[Floats, Floats]]) -> list[tuple[int, int]]:
    """Return the number of each task's random stream: what a task shows alone does not depend on the others."""
    counts = [sums.shape[1] for sums, _ in units]
    return [(count, counts[:place].count(count)) for place, count in enumerate(counts)]


def _flipped(
    tasks: Sequence[Paired], units: Sequence[tuple[Floats, Floats]], shares: Floats, seed: int, flips: int
) -> _Tested:
    count = min(sums.shape[1] for sums, _ in units)
    exact = len(tasks) == 1 and not tasks[0].noise[1] and 2**count <= flips
    means, variances, values, errors, streams = [], [], [], [], _streams(units)
    for number, (task, (sums, sizes)) in enumerate(zip(tasks, units, strict=True)):
        scaled = np.ascontiguousarray((sums / sizes.sum()).T)
        squares = (scaled**2).sum(0)
        blocks = _every_sign(count) if exact else _signs(len(scaled), flips, (seed, *streams[number]))
        flipped = np.concatenate([block @ scaled for block in blocks])
        value, (noise, freedom) = scaled.sum(0), task.noise
        errors.append(_variance(squares, value, len(scaled)) + noise)
        variance = _variance(squares, flipped, len(scaled))
        if freedom:
            generator = np.random.default_rng((seed, *streams[number], 1))
            # As uncertain as few draws leave it: the plain estimate would be believed where it is small by chance.
            true = noise * freedom / generator.chisquare(freedom, flipped.shape)
            flipped += generator.standard_normal(flipped.shape) * np.sqrt(true)
            variance += generator.chisquare(freedom, flipped.shape) * true / freedom
        values.append(value)
        means.append(flipped)
        variances.append(variance)
    error = _together(errors, shares**2)
    flipped = _statistics(_together(means, shares), _together(variances, shares**2))
    return _Tested(_statistics(_together(values, shares), error), np.sqrt(error), flipped, exact)


def _variance(squares: Floats, means: Floats, count: int) -> Floats:
    """Return the squared standard error of the mean of items whose signs may be flipped."""
    found: Floats = np.maximum(squares - means**2 / count, _LEAST * squares) * count / max(1, count - 1)
    return found


def _statistics(values: Floats, variances: Floats) -> Floats:
    """Return how many standard errors each value is from 0."""
    found: Floats = np.divide(np.abs(values), np.sqrt(variances), out=np.zeros_like(values), where=variances > 0)
    return found


def _signs(count: int, flips: int, seed: tuple[int, ...]) -> Iterator[Floats]:
    """Yield blocks `[B, N]` of random signs."""
    generator = np.random.default_rng(seed)
    width = -(-count // 32) * 4  # whole words, so that blocks of any size are parts of one stream
    step = max(1, _AT_ONCE // count)
    for start in range(0, flips, step):
        rows = min(step, flips - start)
        bits = np.unpackbits(np.frombuffer(generator.bytes(rows * width), np.uint8).reshape(rows, width), axis=1)
        signs = bits[:, :count].astype(np.float64)
        signs *= 2
        signs -= 1
        yield signs


def _every_sign(count: int) -> Iterator[Floats]:
    """Yield all ways to give signs to items, of which the first changes none."""
    numbers = np.arange(2**count)[:, None] >> np.arange(count)
    yield 1 - 2 * (numbers & 1).astype(np.float64)


# Resamples.


@dataclass(frozen=True, eq=False)
class _Resampled:
    values: Floats  # [S]
    replicates: Floats  # [R, S]
    accelerations: Floats  # [S]


def _resampled(
    tasks: Sequence[Paired], units: Sequence[tuple[Floats, Floats]], shares: Floats, seed: int
) -> _Resampled:
    """Return the differences, their resamples, and the acceleration of each interval."""
    values, replicates, cubes, squares, streams = [], [], [], [], _streams(units)
    for number, (task, (sums, sizes)) in enumerate(zip(tasks, units, strict=True)):
        generator = np.random.default_rng((seed, *streams[number], 2))
        weighed = np.ascontiguousarray(np.vstack([sums, sizes]).T)
        drawn = np.concatenate([block @ weighed for block in _drawn(len(sizes), generator)])
        made = drawn[:, :-1] / drawn[:, -1:]
        noise, freedom = task.noise
        if freedom:
            made += generator.standard_t(freedom, made.shape) * np.sqrt(noise)
        value = sums.sum(1) / sizes.sum()
        errors = (sums - value[:, None] * sizes) / sizes.sum()
        values.append(value)
        replicates.append(made)
        cubes.append((errors**3).sum(1))
        squares.append((errors**2).sum(1) + noise)
    below, above = _together(cubes, shares**3), _together(squares, shares**2)
    accelerations = np.divide(below, 6 * above**1.5, out=np.zeros_like(below), where=above > 0)
    return _Resampled(_together(values, shares), _together(replicates, shares), accelerations)


def _drawn(count: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Yield blocks `[B, U]`: how often each unit is in a resample."""
    step = max(1, _AT_ONCE // count)
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        places = generator.integers(0, count, (rows, count))
        places += np.arange(rows)[:, None] * count
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
