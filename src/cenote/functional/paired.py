"""Settings compared on the same items: intervals, one test for all of them, and what the data could resolve.

A difference is a mean over items. Its interval is a bootstrap of the items. Its test flips the signs of items, the
same flips for all settings of a task, and takes the largest statistic of the whole family (maxT, Westfall and Young,
1993), so that the chance of one false finding among all settings and tasks is that of a single test.

The mean over tasks takes tasks to be independent, unless they are of the same items: then it is a mean over these.

A score that also depends on a few draws (of training texts, of starts) gets their part from the normal distribution: a
handful of signs could not be flipped often enough. Its variance is as uncertain as that of so few draws, so that draws
alone are tested as by Student. Each setting has a part of its own, on the safe side of parts that go together (Šidák,
1967).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.special import ndtri

from cenote.errors import BadInput
from cenote.functional.draws import number_of
from cenote.functional.intervals import bca_interval, check_confidence, effective_count
from cenote.functional.sampling import Floats, Whole, count_places, resamples

FLIPS, RESAMPLES = 9999, 2000
# The probability with which a difference of the resolvable size is found.
POWER = 0.8
# Numbers that are in memory at once.
AT_ONCE = 4_000_000
# Statistics of flips that are equal but for rounding.
_ROUNDING = 1e-5
# The least variance, as a share of the squares: that of items that are equal but for rounding.
_LEAST = 1e-12
# Figures of one task: `_Flips` or `_Resamples`.
_Part = TypeVar("_Part", "_Flips", "_Resamples")


@dataclass(frozen=True, eq=False)
class Paired:
    """Differences of C settings from another on the N items of one task."""

    values: Floats  # [C, N], whose means are the differences of the scores
    sources: Whole | None = None  # [N], items of one source are flipped and resampled together
    draws: Floats | None = None  # [C, K], what repeated draws (of training texts, of starts) change besides the items
    outcomes: Floats | None = None  # [C, M], above 0 where the setting is better; None takes the values
    identity: str | None = None  # of the items, a digest of their names and texts; see `key`

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
    def key(self) -> int | None:
        """A number that tasks of the same items share, such as a folder that is given twice; None without an identity.

        Items are the same if they have the same identity, the same sources, and as many draws.
        """
        if self.identity is None:
            return None
        places = None if self.sources is None else np.unique(self.sources, return_inverse=True)[1].tolist()
        return number_of((self.identity, places, None if self.draws is None else self.draws.shape[1]))

    @property
    def count(self) -> int:
        """How many sources there are, or items where each has its own."""
        return self.values.shape[1] if self.sources is None else len(np.unique(self.sources))

    @property
    def effective(self) -> float:
        """How many sources of equal size say as much: `count`, or fewer where sizes differ."""
        return self.count if self.sources is None else effective_count(np.unique(self.sources, return_counts=True)[1])

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
    resolvable: float | None  # the smallest difference that `p` would find four times of five
    resolvable_alone: float | None  # that `p_alone` would
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
        fewest: sources of items, of which unequal ones count as fewer (`Paired.effective`); fewer have no interval.
        flips: of the test. Where there are no more ways to flip the items of a single task, all are taken.
    """
    check_confidence(confidence)
    shares = _check(tasks, weights)
    groups = _grouped(tasks, shares)
    tested = _flipped(groups, seed, flips)
    resampled = _resampled(groups, seed)
    largest = tested.flipped.max(1)
    reach, reaches = (_reach(statistics, confidence) for statistics in (largest, tested.flipped))
    width, many = len(tasks[0].values), [one.effective >= fewest for one in tasks]
    found = []
    for column, statistic in enumerate(tested.statistics):
        number, setting = divmod(column, width)
        chosen, of_chosen, independent, of_many = (
            (tasks, shares, [group.mean for group in groups], all(many))
            if number == len(tasks)
            else ([tasks[number]], np.ones(1), [tasks[number]], many[number])
        )
        value, replicates = float(resampled.values[column]), resampled.replicates[:, column]
        varies = np.ptp(replicates) > 1e-9 * abs(value)
        enough = varies and of_many
        ends = bca_interval(replicates, value, resampled.accelerations[column], confidence) if enough else (None, None)
        least = statistic * (1 - _ROUNDING)
        found.append(
            Difference(
                value=value,
                low=ends[0],
                high=ends[1],
                p=_probability(largest, least, tested.exact),
                p_alone=_probability(tested.flipped[:, column], least, tested.exact),
                **_counts(chosen, of_chosen, setting, value),
                possible=2.0 ** (1 - min(_count_moved(independent, setting), 64)) < 1 - confidence,
                resolvable=float(reach * resampled.errors[column]) if enough else None,
                resolvable_alone=float(reaches[column] * resampled.errors[column]) if enough else None,
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


def _reach(statistics: Floats, confidence: float) -> Any:
    """Return how many standard errors a difference must measure to be found four times of five."""
    # That often it exceeds what is found by so much of its own error.
    return np.quantile(statistics, confidence, axis=0, method="higher") + ndtri(POWER)


def _count_moved(tasks: Sequence[Paired], setting: int) -> int:
    """Return how many sources differ, whose signs the test can flip."""
    return sum(int(np.count_nonzero(task.units[0][setting])) for task in tasks)


def _counts(tasks: Sequence[Paired], shares: Floats, setting: int, value: float) -> dict[str, Any]:
    values = [task.values[setting] for task in tasks]
    signs = np.concatenate([(task.values if task.outcomes is None else task.outcomes)[setting] for task in tasks])
    varies = any(np.ptp(one) > 1e-9 * np.abs(one).max() for one in values)
    variances = [one.var(ddof=1) if len(one) > 1 else 0.0 for one in values]
    return {
        "effect": value / float(np.sqrt(shares @ variances)) if varies else 0.0,
        "wins": int((signs > 0).sum()),
        "losses": int((signs < 0).sum()),
        "ties": int((signs == 0).sum()),
    }


# Tasks of the same items are flipped and resampled together: their errors go together, and do not cancel in a mean.


@dataclass(frozen=True, eq=False)
class _Group:
    """Tasks of the same items."""

    places: list[int]  # of the tasks among all
    tasks: list[Paired]
    shares: Floats  # the weights of the tasks, which are 1 in sum over all
    stream: tuple[int, ...]  # of random numbers: what a task shows alone does not depend on other tasks

    @property
    def mean(self) -> Paired:
        """The contribution of these tasks to the mean over all."""
        own = self.tasks
        values: Any = np.tensordot(self.shares, [task.values for task in own], 1)
        draws: Any = None if own[0].draws is None else np.tensordot(self.shares, [task.draws for task in own], 1)
        return replace(own[0], values=values, draws=draws, outcomes=None)

    def apply(self, compute: Callable[[Paired, tuple[int, ...]], _Part]) -> list[_Part]:
        """Return what is computed of each task, and then of what they contribute to the mean."""
        found: list[_Part] = [compute(task, self.stream) for task in self.tasks]
        alone = len(found) == 1
        found.append(found[0].times(float(self.shares[0])) if alone else compute(self.mean, self.stream))
        return found


def _grouped(tasks: Sequence[Paired], shares: Floats) -> list[_Group]:
    """Return the tasks in groups of the same items; a task without an identity has a group of its own."""
    streams: dict[tuple[int, ...], list[int]] = {}
    counts: Counter[int] = Counter()
    for place, task in enumerate(tasks):
        key, count = task.key, task.count
        stream = (count, counts[count]) if key is None else (key,)
        counts[count] += key is None
        streams.setdefault(stream, []).append(place)
    return [
        _Group(places, [tasks[place] for place in places], shares[places], stream) for stream, places in streams.items()
    ]


def _together(groups: Sequence[_Group], parts: Sequence[Sequence[Any]], name: str) -> Floats:
    """Return the parts `[..., C]` of tasks side by side, and for several tasks then the sum of what they contribute.

    Args:
        groups: all tasks.
        parts: what was computed of each group.
        name: which of its figures.
    """
    placed: dict[int, Floats] = {}
    for group, own in zip(groups, parts, strict=True):
        placed |= {place: getattr(part, name) for place, part in zip(group.places, own, strict=False)}
    found = [placed[place] for place in sorted(placed)]
    if len(found) > 1:
        found.append(np.sum([getattr(own[-1], name) for own in parts], 0))
    return np.concatenate(found, -1)


# Flips.


@dataclass(frozen=True, eq=False)
class _Tested:
    """Statistics of S differences: the settings of each task, then the settings on all tasks together."""

    statistics: Floats  # [S], of the data
    flipped: Floats  # [F, S], statistics of flips
    exact: bool  # whether these are all ways to flip, of which the first is the data


def _flipped(groups: Sequence[_Group], seed: int, flips: int) -> _Tested:
    first = groups[0].tasks[0]
    exact = len(groups) == len(groups[0].tasks) == 1 and not first.noise[1] and 2**first.count <= flips
    parts = [group.apply(lambda one, stream: _flip(one, (seed, *stream), flips, exact)) for group in groups]
    values, errors, means, variances = (_together(groups, parts, name) for name in _Flips._fields)
    return _Tested(_statistics(values, errors), _statistics(means, variances), exact)


class _Flips(NamedTuple):
    value: Floats  # [C], of the data
    error: Floats  # [C], its squared standard error
    flipped: Floats  # [F, C], values of flips
    variance: Floats  # [F, C], their squared standard errors

    def times(self, share: float) -> _Flips:
        """Return those of the values times a number."""
        return _Flips(self.value * share, self.error * share**2, self.flipped * share, self.variance * share**2)


def _flip(task: Paired, seed: tuple[int, ...], flips: int, exact: bool) -> _Flips:
    sums, sizes = task.units
    scaled = np.ascontiguousarray((sums / sizes.sum()).T)
    squares = (scaled**2).sum(0)
    blocks = _every_sign(len(scaled)) if exact else _signs(len(scaled), flips, seed)
    flipped = np.concatenate([block @ scaled for block in blocks])
    value, (noise, freedom) = scaled.sum(0), task.noise
    error = _variance(squares, value, len(scaled)) + noise
    variance = _variance(squares, flipped, len(scaled))
    if freedom:
        generator = np.random.default_rng((*seed, 1))
        # As uncertain as few draws leave it: the plain estimate would be believed where it is small by chance.
        true = noise * freedom / generator.chisquare(freedom, flipped.shape)
        flipped += generator.standard_normal(flipped.shape) * np.sqrt(true)
        # The error of the data, and not one of each flip: that would be uncertain a second time, so that with two or
        # three draws chance would look larger for its error than it is, and the test find too much.
        variance = np.where(noise > 0, error, variance)
    return _Flips(value, error, flipped, variance)


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
    step = max(1, AT_ONCE // count)
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
    errors: Floats  # [S], the standard errors


def _resampled(groups: Sequence[_Group], seed: int) -> _Resampled:
    """Return the differences, their resamples, the acceleration of each interval, and the standard errors."""
    parts = [group.apply(lambda one, stream: _resample(one, (seed, *stream, 2))) for group in groups]
    values, replicates, below, above, errors = (_together(groups, parts, name) for name in _Resamples._fields)
    accelerations = np.divide(below, 6 * above**1.5, out=np.zeros_like(below), where=above > 0)
    return _Resampled(values, replicates, accelerations, np.sqrt(errors))


class _Resamples(NamedTuple):
    value: Floats  # [C]
    replicates: Floats  # [R, C]
    cubes: Floats  # [C], sums over the units of the errors' third powers
    squares: Floats  # [C], and of their squares
    error: Floats  # [C], the squared standard error

    def times(self, share: float) -> _Resamples:
        """Return those of the values times a number."""
        squares, error = self.squares * share**2, self.error * share**2
        return _Resamples(self.value * share, self.replicates * share, self.cubes * share**3, squares, error)


def _resample(task: Paired, seed: tuple[int, ...]) -> _Resamples:
    sums, sizes = task.units
    generator = np.random.default_rng(seed)
    weighed = np.ascontiguousarray(np.vstack([sums, sizes]).T)
    blocks = resamples(len(sizes), RESAMPLES, generator, AT_ONCE)
    drawn = np.concatenate([count_places(block) @ weighed for block in blocks])
    made = drawn[:, :-1] / drawn[:, -1:]
    noise, freedom = task.noise
    if freedom:
        made += generator.standard_t(freedom, made.shape) * np.sqrt(noise)
    value = sums.sum(1) / sizes.sum()
    # Of a ratio: what a source of many items adds to the sum, it adds to their count too.
    errors = (sums - value[:, None] * sizes) / sizes.sum()
    squares = (errors**2).sum(1)
    error = squares * len(sizes) / max(1, len(sizes) - 1) + noise
    return _Resamples(value, made, (errors**3).sum(1), squares + noise, error)
