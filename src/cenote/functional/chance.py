"""What chance leaves open in a mean over pairs of texts, and in the change of a measure between two readings.

Pairs are no independent draws: those that share a text stand and fall together. What varies from one corpus to the next
are the texts.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from cenote.errors import BadInput
from cenote.functional.sampling import Floats, Whole
from cenote.functional.spread import checked, unit, vector

# Fewer texts on either side of the pairs say nothing of how the mean might have come out otherwise.
LEAST = 10

Interval = tuple[float, float] | None


def mean_over_pairs(values: Any, first: Any, second: Any, *, confidence: float = 0.95) -> tuple[float, Interval]:
    """The mean over pairs of texts, and the interval that other texts from the same source would give.

        variance = sum over pairs p, q that share a text of e_p e_q / P²,   e_p = v_p - mean

    the dyadic-robust variance of Aronow, Samii and Assenova (2015), at least that of independent pairs, times
    G / (G - 1), with G the number of different texts on the side that has fewer; the interval is the mean plus and
    minus the t quantile for G - 1 of its root. It holds for all pairs of N texts, and for queries that share
    negatives. Of 20 texts it covers the truth in 94 of 100 draws where v_ij = a_i + a_j, fewer where few texts decide
    everything.

    >>> first, second = np.triu_indices(12, 1)
    >>> mean, (low, high) = mean_over_pairs(first + second, first, second)
    >>> mean, low < mean < high
    (11.0, True)

    Args:
        values: `[P]`.
        first: `[P]` which text stands first in each pair, by a whole number.
        second: `[P]` which one stands second; a number means the same text on both sides.
        confidence: of the interval, which fewer than ten texts on either side do not have.
    """
    flat = vector(values, "values")
    left, right = np.asarray(first), np.asarray(second)
    if not len(flat) or left.shape != flat.shape or right.shape != flat.shape:
        raise BadInput(
            f"{len(flat)} values, {left.size} first and {right.size} second texts: pass one of each for every pair, "
            "one pair at least."
        )
    # numpy would give each of many texts the room of the longest, several times over.
    if odd := [str(side.dtype) for side in (left, right) if side.dtype.kind not in "iu"]:
        raise BadInput(f"texts are given as {odd[0]}: number them, and pass the numbers.")
    mean = float(flat.mean())
    fewest = min(len(np.unique(left)), len(np.unique(right)))
    if fewest < LEAST - 1:  # of N texts all pairs have N - 1 first ones
        return mean, None
    reach = _quantile(confidence, fewest - 1) * math.sqrt(_variance(flat - mean, left, right) * fewest / (fewest - 1))
    return mean, (mean - reach, mean + reach)


def _variance(errors: Floats, left: Any, right: Any) -> float:
    """Of the mean of pairs, from what they differ by from it."""
    _, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    totals = np.bincount(places, np.concatenate([errors, errors]))
    alone = float(errors @ errors)
    # A pair shares a text with itself twice, and counts once.
    return max(float(totals @ totals) - alone, alone) / len(errors) ** 2


def _quantile(confidence: float, freedom: int) -> float:
    """Of Student's t, by its expansion about the normal distribution: right to 1 % from eight degrees of freedom on."""
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        raise BadInput(f"confidence={confidence!r}: pass a number between 0 and 1, such as 0.95.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def change_of_difference(
    before: Any, after: Any, short: Any, long: Any, *, confidence: float = 0.95
) -> tuple[float, Interval]:
    """By how much the mean cosine of long texts minus that of short ones changes from one reading to another.

    Both readings are of the same texts: what they share cancels pair by pair, so that the interval is narrower than
    those of the two differences.

    >>> near, far = np.array([[1.0, 0.0], [1.0, 0.1]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> value, _ = change_of_difference(np.vstack([far, near]), np.vstack([far, far]), [0, 1], [2, 3])
    >>> round(value, 3)                                                     # from 0.995 to 0
    -0.995

    Args:
        before: `[N, D]` embeddings.
        after: `[N, D']` embeddings of the same texts.
        short: places of the short texts, two at least.
        long: places of the long ones, two at least.
        confidence: of the interval, which fewer than ten texts on a side do not have.
    """
    readings = [unit(checked(rows)) for rows in (before, after)]
    if len(readings[0]) != len(readings[1]):
        raise BadInput(
            f"{len(readings[0])} embeddings before and {len(readings[1])} after: pass those of the same texts."
        )
    sides: list[Whole] = [np.asarray(side, np.int64) for side in (long, short)]
    if min(map(len, sides)) < 2:
        raise BadInput(f"{len(sides[1])} short and {len(sides[0])} long texts: a pair takes two on each side.")
    means, variances = zip(*(_of_side(*(rows[side] for rows in readings)) for side in sides), strict=True)
    value, fewest = means[0] - means[1], min(map(len, sides))
    reach = _quantile(confidence, fewest - 1) * math.sqrt(sum(variances) * fewest / (fewest - 1))
    return value, None if fewest < LEAST else (value - reach, value + reach)


def _of_side(before: Floats, after: Floats) -> tuple[float, float]:
    """The mean change of the cosines of all pairs of these texts, and its variance."""
    first, second = np.triu_indices(len(before), 1)
    changes = (after @ after.T)[first, second] - (before @ before.T)[first, second]
    mean = float(changes.mean())
    return mean, _variance(changes - mean, first, second)
