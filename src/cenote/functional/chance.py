"""What chance leaves open in a mean over pairs of texts, and in the change of a measure between two readings.

Pairs are no independent draws, since each text is in many of them: what is resampled are the texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cenote.errors import BadInput
from cenote.functional.bins import at_least
from cenote.functional.sampling import Floats, Whole, bootstrap, interval
from cenote.functional.spread import checked, mean_cosines, pair_means, unit, vector

# Resamples, and the fewest texts that have an interval, as in `length`.
RESAMPLES, LEAST = 1000, 10

Interval = tuple[float, float] | None


def mean_over_pairs(values: Any, *, seed: int = 0, confidence: float = 0.95) -> tuple[float, Interval]:
    """The mean over all pairs of N texts, and the interval that other texts from the same source would span.

    A resample draws N texts with replacement and takes the mean over its pairs of different texts,
    sum_{i != j} w_i w_j v_ij / ((sum w)² - sum w²), where w_i says how often text i was drawn.

    >>> mean, (low, high) = mean_over_pairs(np.arange(45.0))
    >>> mean, low < mean < high
    (22.0, True)

    Args:
        values: `[N (N - 1) / 2]`, in the order (0, 1), (0, 2) .. (N-2, N-1).
        seed: of the resamples.
        confidence: of the interval, which fewer than ten texts do not have.
    """
    flat = vector(values, "values")
    count = round((1 + np.sqrt(1 + 8 * len(flat))) / 2)
    if len(flat) < 1 or count * (count - 1) // 2 != len(flat):
        raise BadInput(f"{len(flat)} values: pass one for every pair of texts, as 1, 3, 6 or 10 are.")
    mean = float(flat.mean())
    if count < LEAST:
        return mean, None
    square = np.zeros((count, count))
    square[np.triu_indices(count, 1)] = flat
    _, weights = bootstrap(count, RESAMPLES, (at_least(0, seed, "seed"), count))
    totals = 2 * ((weights @ square) * weights).sum(1)
    return mean, interval(pair_means(totals, weights.sum(1), np.square(weights).sum(1)), confidence)


def mean_over_groups(values: Any, groups: Any, *, seed: int = 0, confidence: float = 0.95) -> tuple[float, Interval]:
    """The mean of values that come in groups, and its interval, for which whole groups are resampled.

    For pairs that share a text, such as a query with its negatives: twenty pairs of one query say less than twenty
    queries.

    >>> mean_over_groups([1.0, 3.0], [0, 0])
    (2.0, None)

    Args:
        values: `[P]`.
        groups: `[P]`, equal where values belong together.
        seed: of the resamples.
        confidence: of the interval, which fewer than ten groups do not have.
    """
    flat, (_, places) = vector(values, "values"), np.unique(np.asarray(groups), return_inverse=True)
    if len(flat) != len(places) or not len(flat):
        raise BadInput(f"{len(flat)} values and {len(places)} groups: pass one of each for every pair, at least one.")
    totals, counts = np.bincount(places, flat), np.bincount(places).astype(np.float64)
    mean = float(flat.mean())
    if len(counts) < LEAST:
        return mean, None
    _, weights = bootstrap(len(counts), RESAMPLES, (at_least(0, seed, "seed"), len(counts)))
    return mean, interval((weights @ totals) / (weights @ counts), confidence)


def change_of_difference(
    before: Any, after: Any, short: Any, long: Any, *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """By how much the mean cosine of long texts minus that of short ones changes from one reading to another.

    Both readings are of the same texts, and each resample is taken of both: what the texts share cancels, so that the
    interval is narrower than those of the two differences.

    >>> near, far = np.array([[1.0, 0.0], [1.0, 0.1]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> value, _ = change_of_difference(np.vstack([far, near]), np.vstack([far, far]), [0, 1], [2, 3])
    >>> round(value, 3)                                                     # from 0.995 to 0
    -0.995

    Args:
        before: `[N, D]` embeddings.
        after: `[N, D']` embeddings of the same texts.
        short: places of the short texts, two at least.
        long: places of the long ones, two at least.
        seed: of the resamples.
        confidence: of the interval, which fewer than ten texts on a side do not have.
    """
    readings = [unit(checked(rows)) for rows in (before, after)]
    if len(readings[0]) != len(readings[1]):
        raise BadInput(
            f"{len(readings[0])} embeddings before and {len(readings[1])} after: pass the same texts' twice."
        )
    sides: list[Whole] = [np.asarray(side, np.int64) for side in (long, short)]
    if min(map(len, sides)) < 2:
        raise BadInput(f"{len(sides[1])} short and {len(sides[0])} long texts: a pair takes two on each side.")
    whole = [np.ones((1, len(side))) for side in sides]
    value = float(_change(readings, sides, whole)[0])
    if min(map(len, sides)) < LEAST:
        return value, None
    drawn = [bootstrap(len(side), RESAMPLES, (at_least(0, seed, "seed"), turn))[1] for turn, side in enumerate(sides)]
    return value, interval(_change(readings, sides, drawn), confidence)


def _change(readings: list[Floats], sides: list[Whole], weights: list[Floats]) -> Floats:
    long, short = (
        [mean_cosines(rows[side], drawn) for rows in readings] for side, drawn in zip(sides, weights, strict=True)
    )
    change: Floats = (long[1] - short[1]) - (long[0] - short[0])
    return change
