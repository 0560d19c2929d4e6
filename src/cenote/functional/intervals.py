"""Confidence intervals: of a mean over pairs of texts, of a change between two sets of embeddings, of resamples.

Pairs that share a text are not independent. What varies from one corpus to the next are the texts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from cenote.errors import BadInput
from cenote.functional.dispersion import check_embeddings, to_vector
from cenote.functional.sampling import Floats, Whole
from cenote.functional.units import to_unit
from cenote.records import Estimate

# With fewer texts, or other items, there is no interval.
FEWEST_WITH_INTERVAL = 10


def check_confidence(confidence: Any) -> float:
    """Return `confidence`, or raise if it is not a float between 0 and 1."""
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        raise BadInput(f"confidence={confidence!r}: pass a number between 0 and 1, such as 0.95.")
    return confidence


def effective_count(sizes: Any) -> float:
    """Return how many sources of equal size say as much as sources of these sizes, (sum n)² / sum n² (Kish, 1965).

    Where a few sources have most of the items, a mean is theirs, and intervals are too narrow for all others.

    >>> effective_count([5] * 40), round(effective_count([1] * 39 + [20]), 1)
    (40.0, 7.9)
    """
    counts = np.asarray(sizes, np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum())


def mean_over_pairs(values: Any, first: Any, second: Any, *, confidence: float = 0.95) -> Estimate:
    """Estimate the mean over pairs of texts, with an interval for other texts from the same source.

        variance = sum over pairs p, q that share a text of e_p e_q / P²,   e_p = v_p - mean

    This is the dyadic-robust variance of Aronow, Samii and Assenova (2015), at least that of independent pairs, times
    G / (G - 1), where G is the number of different texts on the side that has fewer. The interval is the mean plus
    and minus its root times Student's t quantile for G - 1. It holds for all pairs of N texts, and for queries that
    share negatives. With 20 texts it covers the truth in 94 of 100 draws if v_ij = a_i + a_j, less often if few texts
    decide everything. Fewer than ten texts on either side have no interval, nor have all pairs of fewer than ten.

    >>> first, second = np.triu_indices(12, 1)
    >>> mean = mean_over_pairs(first + second, first, second)
    >>> mean.value, mean.low < mean.value < mean.high
    (11.0, True)

    `first` and `second` number the two texts of each of the P pairs; a number means the same text on both sides.
    """
    check_confidence(confidence)
    flat = to_vector(values, "values")
    left, right = np.asarray(first), np.asarray(second)
    if not len(flat) or left.shape != flat.shape or right.shape != flat.shape:
        raise BadInput(
            f"{len(flat)} values, {left.size} first and {right.size} second texts: pass one of each for every pair, "
            "one pair at least."
        )
    # As strings, numpy would give each of many texts the room of the longest, several times over.
    if bad := [str(side.dtype) for side in (left, right) if side.dtype.kind not in "iu"]:
        raise BadInput(f"texts have dtype {bad[0]}: number them, and pass the numbers.")
    mean = float(flat.mean())
    fewest = min(len(np.unique(left)), len(np.unique(right)))
    # All pairs of N texts have N - 1 different first ones; of sides that share no text, each counts alone.
    if fewest < FEWEST_WITH_INTERVAL - bool(np.isin(left, right).any()):
        return Estimate(mean, None, None)
    return _estimate(mean, _dyadic_variance(flat - mean, left, right), fewest, confidence)


def change_of_difference(before: Any, after: Any, short: Any, long: Any, *, confidence: float = 0.95) -> Estimate:
    """Estimate how the mean cosine of long texts minus that of short ones changes between two sets of embeddings.

    `before [N, D]` and `after [N, D']` embed the same texts: what they share cancels pair by pair, so that the interval
    is narrower than those of the two differences. `short` and `long` are indices of two texts each at least; fewer than
    ten on a side have no interval.

    >>> near, far = np.array([[1.0, 0.0], [1.0, 0.1]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> change = change_of_difference(np.vstack([far, near]), np.vstack([far, far]), [0, 1], [2, 3])
    >>> round(change.value, 3)                                              # from 0.995 to 0
    -0.995
    """
    check_confidence(confidence)
    old, new = (to_unit(check_embeddings(rows)) for rows in (before, after))
    if len(old) != len(new):
        raise BadInput(f"{len(old)} embeddings before and {len(new)} after: pass those of the same texts.")
    sides: list[Whole] = [np.asarray(side, np.int64) for side in (long, short)]
    if min(map(len, sides)) < 2:
        raise BadInput(f"{len(sides[1])} short and {len(sides[0])} long texts: a pair takes two on each side.")
    means, variances = zip(*(_mean_change(old[side], new[side]) for side in sides), strict=True)
    value, fewest = means[0] - means[1], min(map(len, sides))
    if fewest < FEWEST_WITH_INTERVAL:
        return Estimate(value, None, None)
    return _estimate(value, sum(variances), fewest, confidence)


def change_of_mean(before: Any, after: Any, *, confidence: float = 0.95) -> Estimate:
    """Estimate how the mean cosine of all pairs of some texts changes between two sets of their embeddings.

    >>> near, far = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> change_of_mean(near, far)
    Estimate(value=-1.0, low=None, high=None)
    """
    old, new = (to_unit(check_embeddings(rows)) for rows in (before, after))
    if len(old) != len(new) or len(old) < 2:
        raise BadInput(
            f"{len(old)} embeddings before and {len(new)} after: pass those of the same texts, two at least."
        )
    sides = np.triu_indices(len(old), 1)
    return mean_over_pairs((new @ new.T)[sides] - (old @ old.T)[sides], *sides, confidence=confidence)


def percentile_interval(replicates: Floats, confidence: float) -> tuple[float, float] | tuple[None, None]:
    """Return the quantiles (1 - confidence)/2 and (1 + confidence)/2 of bootstrap replicates.

    NaN marks a resample in which the figure is undefined; it does not count. Without any other there is no interval.

    >>> percentile_interval(np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    replicates = replicates[np.isfinite(replicates)]
    if not len(replicates):
        return None, None
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def widen_share(share: Estimate, count: float, confidence: float) -> Estimate:
    """Return a share with an interval in [0, 1] whose ends are no nearer than those of shares of 0 and of 1.

    None of `count` leaves any share up to 1 - 0.025^(1/count) possible (the exact limit of Clopper and Pearson), and
    all of them any share from 1 minus that on.

    >>> round(widen_share(Estimate(0.0, 0.0, 0.0), 30, 0.95).high, 3)
    0.116
    """
    if share.low is None or share.high is None:
        return share
    most = 1 - ((1 - confidence) / 2) ** (1 / count)
    return Estimate(share.value, min(max(share.low, 0.0), 1 - most), max(min(share.high, 1.0), most))


def _estimate(value: float, variance: float, groups: int, confidence: float) -> Estimate:
    """Return a value with the t interval of its variance over so many independent groups."""
    quantile = float(stats.t.ppf((1 + confidence) / 2, groups - 1))
    reach = quantile * math.sqrt(variance * groups / (groups - 1))
    return Estimate(value, value - reach, value + reach)


def _dyadic_variance(errors: Floats, left: Any, right: Any) -> float:
    """Return the variance of a mean over pairs, from the pairs' deviations from it."""
    _, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    totals = np.bincount(places, np.concatenate([errors, errors]))
    alone = float(errors @ errors)
    # A pair shares both texts with itself, and counts once.
    return max(float(totals @ totals) - alone, alone) / len(errors) ** 2


def _mean_change(before: Floats, after: Floats) -> tuple[float, float]:
    """Return the mean change of the cosines of all pairs of some texts, and its variance."""
    first, second = np.triu_indices(len(before), 1)
    changes = (after @ after.T)[first, second] - (before @ before.T)[first, second]
    mean = float(changes.mean())
    return mean, _dyadic_variance(changes - mean, first, second)


def bca_interval(
    replicates: Floats, value: float, acceleration: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval from bootstrap replicates (Efron, 1987).

    >>> low, high = bca_interval(np.arange(101.0), 50.0, 0.0, 0.5)
    >>> round(low), round(high)
    (25, 75)
    """
    below = ((replicates < value).mean() + (replicates <= value).mean()) / 2
    bias = ndtri(np.clip(below, 1 / len(replicates), 1 - 1 / len(replicates)))
    shifts = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    low, high = np.quantile(replicates, ndtr(bias + shifts / (1 - acceleration * shifts)))
    return float(low), float(high)
