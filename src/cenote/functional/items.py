"""Scores over items (queries, texts, pairs), with intervals for other such items.

Items that share a source, such as queries on one document, are not independent: `sources` gives the number of each
item's source, and an interval is then for other sources with their items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.influence import check_ranked, spearman_values
from cenote.functional.intervals import (
    FEWEST_WITH_INTERVAL,
    bca_interval,
    check_confidence,
    effective_count,
    percentile_interval,
    widen_share,
)
from cenote.functional.paired import AT_ONCE, RESAMPLES, Paired, compare_paired
from cenote.functional.sampling import Floats, Whole, resamples
from cenote.records import Estimate

# Resamples of a rank correlation, which sorts each of them.
_RESAMPLES_RANKED = 1000
# Correlations that are equal but for rounding.
_ROUNDING = 1e-9
# Fewer draws have no interval.
FEWEST_DRAWS = 3


def mean_of_items(
    values: Any, *, sources: Whole | None = None, seed: int = 0, confidence: float = 0.95, score: bool = False
) -> Estimate:
    """Return the mean of items with its BCa bootstrap interval; none for fewer than ten sources, or for equal items.

    Unequal sources count as fewer (`intervals.effective_count`). Values of a `score` lie in [0, 1]: where all are 0 or
    1, their mean is a share, which has at least the exact interval for none of them (`intervals.widen_share`).

    >>> mean_of_items(np.arange(100) % 2)
    Estimate(value=0.5, low=0.41, high=0.6)
    """
    check_confidence(confidence)
    flat: Floats = np.asarray(values, np.float64)
    if flat.ndim != 1 or not len(flat) or not np.isfinite(flat).all():
        raise BadInput(f"values of shape {flat.shape}: pass a list of finite numbers, at least one.")
    mean = float(flat.mean())
    count = len(flat) if sources is None else effective_count(np.unique(sources, return_counts=True)[1])
    share = score and bool(np.isin(flat, (0, 1)).all())
    if count < FEWEST_WITH_INTERVAL or not (share or np.ptp(flat)):
        return Estimate(mean, None, None)
    found = _of_varying(mean, flat, sources, seed, confidence) if np.ptp(flat) else Estimate(mean, mean, mean)
    return widen_share(found, count, confidence) if share else found


def _of_varying(mean: float, flat: Floats, sources: Whole | None, seed: int, confidence: float) -> Estimate:
    """Return the mean of values that are not all equal with its BCa interval."""
    if sources is not None:
        return _of_sources(mean, flat, sources, seed, confidence)
    blocks = resamples(len(flat), RESAMPLES, np.random.default_rng(seed), AT_ONCE)
    means = np.concatenate([flat[rows].mean(1) for rows in blocks])
    # The jackknife values of a mean are mean - errors / (n - 1), so their skewness is that of the errors.
    errors = flat - mean
    acceleration = float((errors**3).sum() / (6 * (errors**2).sum() ** 1.5))
    return Estimate(mean, *bca_interval(means, mean, acceleration, confidence))


def rank_correlation_of_items(
    first: Any, second: Any, *, sources: Whole | None = None, seed: int = 0, confidence: float = 0.95
) -> Estimate:
    """Return Spearman's correlation of two values of each item, with a percentile bootstrap interval.

    Of sources the interval is that of the mean of the items' influences. Where all resamples have the same correlation,
    as where both orders are the same, there is no interval.

    >>> round(rank_correlation_of_items(range(50), range(50)).value, 6)
    1.0
    """
    check_confidence(confidence)
    x, y = check_ranked(first, second)
    value = float((rank_products(x, y)).mean())
    if len(x) < FEWEST_WITH_INTERVAL:
        return Estimate(value, None, None)
    if sources is not None:
        return _of_sources(value, spearman_values(x, y), sources, seed, confidence)
    blocks = resamples(len(x), _RESAMPLES_RANKED, np.random.default_rng(seed), AT_ONCE)
    replicates = np.concatenate([_correlations(x[rows], y[rows]) for rows in blocks])
    known = replicates[np.isfinite(replicates)]
    if not len(known) or np.ptp(known) < _ROUNDING:
        return Estimate(value, None, None)
    return Estimate(value, *percentile_interval(known, confidence))


def rank_products(first: Any, second: Any) -> Floats:
    """Return the product of both standardised ranks of each item: their mean is Spearman's correlation.

    >>> rank_products([1, 2, 3], [1, 2, 3]).round(2).tolist()
    [1.5, 0.0, 1.5]
    """
    ranks = [stats.rankdata(side) for side in (first, second)]
    found: Floats = np.prod([(one - one.mean()) / one.std() for one in ranks], 0)
    return found


def mean_of_draws(values: Any, *, confidence: float = 0.95) -> Estimate:
    """Return the mean of repeated draws with its t interval; none for fewer than three.

    >>> round(mean_of_draws([0.4, 0.5, 0.6]).low, 4)
    0.2516
    """
    flat: Floats = np.asarray(values, np.float64)
    mean = float(flat.mean())
    if len(flat) < FEWEST_DRAWS:
        return Estimate(mean, None, None)
    reach = float(stats.t.ppf((1 + confidence) / 2, len(flat) - 1) * stats.sem(flat))
    return Estimate(mean, mean - reach, mean + reach)


def _of_sources(value: float, values: Floats, sources: Whole, seed: int, confidence: float) -> Estimate:
    """Return the mean of values with its BCa interval; items of one source are resampled together."""
    paired = Paired(values[None], np.asarray(sources))
    found = compare_paired([paired], seed=seed, confidence=confidence, fewest=FEWEST_WITH_INTERVAL, flips=1).tasks[0][0]
    return Estimate(value, found.low, found.high)


def _correlations(x: Floats, y: Floats) -> Floats:
    """Return Spearman's correlation of each row of two arrays, NaN where a side is constant."""
    ranks = [stats.rankdata(side, axis=1) for side in (x, y)]
    centred = [one - one.mean(1, keepdims=True) for one in ranks]
    norms = np.sqrt(np.prod([(one**2).sum(1) for one in centred], 0))
    with np.errstate(invalid="ignore"):
        found: Floats = (centred[0] * centred[1]).sum(1) / np.where(norms > 0, norms, np.nan)
    return found
