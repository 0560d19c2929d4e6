"""Values of items in scores that are not means: their mean is the score, and their spread is its error.

The value of an item is the score plus its influence (Hampel, 1974): how fast the score moves as the item gets more
weight. Scores of two settings on the same items are then compared like means, item by item.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.sampling import Floats, Whole

# The part of a draw's own variance that all draws of the same texts share, and that their number does not lower: texts
# also move the centres of clusters, which draws do not show. Measured with k-means on other texts: 0 to 0.17.
SHARED = 1 / 8


def spearman_values(first: Any, second: Any) -> Floats:
    """Return for each item its value in Spearman's correlation; ties share their mean rank.

    >>> values = spearman_values([1, 2, 3, 4, 5], [2, 1, 3, 5, 4])
    >>> float(values.mean().round(6))
    0.8
    """
    x, y = check_ranked(first, second)
    ranks = [(stats.rankdata(side) - 0.5) / len(side) for side in (x, y)]  # their means are 1/2
    spreads = [rank.var() for rank in ranks]
    scale = np.sqrt(spreads[0] * spreads[1])
    covariance = (ranks[0] * ranks[1]).mean() - 0.25
    moved = ranks[0] * ranks[1] + _above(x, ranks[1]) + _above(y, ranks[0])
    correlation = covariance / scale
    values: Floats = correlation + (moved - moved.mean()) / scale
    for side, rank, spread in zip((x, y), ranks, spreads, strict=True):
        widened = rank**2 + 2 * _above(side, rank)
        values -= correlation / 2 * (widened - widened.mean()) / spread
    return values


def check_ranked(first: Any, second: Any) -> tuple[Floats, Floats]:
    """Return two values of each item as arrays; raise where they have no rank correlation."""
    x, y = (np.asarray(side, np.float64) for side in (first, second))
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        raise BadInput(f"{x.size} and {y.size} values: pass as many of both, at least two, which are not all equal.")
    if np.isnan(x).any() or np.isnan(y).any():
        raise BadInput("a value is NaN, which has no rank: leave its item out.")
    return x, y


def _above(side: Floats, values: Floats) -> Floats:
    """Return for each item the mean of the values of items above it, equal ones by half, over all items."""
    _, places = np.unique(side, return_inverse=True)
    sums = np.bincount(places, values)
    higher = sums[::-1].cumsum()[::-1] - sums
    found: Floats = (higher + sums / 2)[places] / len(side)
    return found


def pair_values(values: Any, first: Any, second: Any) -> Floats:
    """Return for each text its value in a mean over pairs of texts.

    Their variance over the number of texts is the dyadic-robust one of `cenote.functional.intervals.mean_over_pairs`,
    but for the pairs themselves, which count twice here.

    >>> pair_values([1.0, 2.0, 3.0], [0, 0, 1], [1, 2, 2]).tolist()      # the mean is 2; text 2 is in both larger pairs
    [1.0, 2.0, 3.0]

    `first` and `second` number the two texts of each pair, from 0; every text is in one pair at least.
    """
    flat, sides = np.asarray(values, np.float64), [np.asarray(side, np.int64) for side in (first, second)]
    if not len(flat) or any(side.shape != flat.shape for side in sides):
        raise BadInput(f"{flat.size} values of pairs with {sides[0].size} first and {sides[1].size} second texts.")
    mean = flat.mean()
    count = 1 + int(max(side.max() for side in sides))
    moved = sum(np.bincount(side, flat - mean, minlength=count) for side in sides)
    found: Floats = mean + moved * count / len(flat)
    return found


def v_measure_values(labels: Any, clusters: Any) -> Floats:
    """Return for each text its value in the v-measure of a clustering.

    >>> values = v_measure_values(["a", "a", "b", "b"], [0, 0, 1, 0])
    >>> float(values.mean().round(6))
    0.343711
    """
    sides = [np.asarray(side) for side in (labels, clusters)]
    if sides[0].shape != sides[1].shape or sides[0].ndim != 1 or not len(sides[0]):
        raise BadInput(f"{sides[0].size} labels and {sides[1].size} clusters: pass as many of both, at least one.")
    (rows, row), (columns, column) = (np.unique(side, return_inverse=True) for side in sides)
    counts = np.bincount(row * len(columns) + column, minlength=len(rows) * len(columns))
    shares = counts.reshape(len(rows), len(columns)) / len(row)
    of_labels, of_clusters = np.bincount(row)[row] / len(row), np.bincount(column)[column] / len(row)
    shared = np.log(shares[row, column] / (of_labels * of_clusters))  # their mean is the mutual information
    entropies = -np.log(of_labels) - np.log(of_clusters)  # their mean is the sum of both entropies
    total = entropies.mean()
    if not total:  # one label in one cluster, which scikit-learn gives 1
        return np.ones(len(row))
    score = 2 * shared.mean() / total
    values: Floats = score + (2 * (shared - shared.mean()) - score * (entropies - total)) / total
    return values


def values_over_draws(labels: Any, clusters: Any, texts: Whole, draws: Whole, count: int) -> tuple[Floats, Floats]:
    """Return the values of texts in the average v-measure of several draws, and what the draws add to it.

    Args:
        labels: of each drawn text.
        clusters: of each drawn text.
        texts: the number of each drawn text, below `count`.
        draws: the draw of each.
        count: of texts.

    Returns:
        Values `[count]` of the texts, and `[K]` of the draws: how far the score of each is from their mean, less what
        the choice of its texts explains, so that texts are not counted twice, and enlarged for what other texts would
        do to all clusterings at once.
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    names = np.unique(draws)
    values, scores, within = np.zeros(count), [], []
    for draw in names.tolist():
        rows = draws == draw
        found = v_measure_values(labels[rows], clusters[rows])
        scores.append(found.mean())
        within.append(found.var() / len(found))
        values += np.bincount(texts[rows], found - found.mean(), minlength=count) / (len(found) * len(names))
    mean = float(np.mean(scores))
    left = np.array(scores) - mean
    spread = float(left.var(ddof=1)) if len(left) > 1 else 0.0
    unexplained = max(0.0, 1 - float(np.mean(within)) / spread) if spread else 0.0
    return mean + values * count, left * np.sqrt(unexplained * (1 + SHARED * len(names)))
