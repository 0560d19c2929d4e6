"""Ranks of the text that a query came from, the match of tokens, and intervals that resample whole documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.intervals import FEWEST_TEXTS, check_confidence, percentile_interval
from cenote.records import Estimate

Floats = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.int64]

# Numbers of a block of scores: 64 MB of float32.
_BLOCK = 2**24
# Scores that differ by less tie: float32 products of the same vectors do, in blocks of another size.
_ROUNDING = 1e-6
# Bootstrap resamples of documents.
_RESAMPLES = 2000


def own_ranks(queries: Floats, candidates: Floats, own: Whole, *, owners: Whole | None = None) -> Whole:
    """Return the rank of each query's own document by dot product, from 1; candidates that tie with it rank before it.

    >>> documents = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> own_ranks(np.array([[1.0, 0.1], [0.1, 1.0]]), documents, np.array([0, 2])).tolist()
    [1, 2]

    Args:
        queries: `[Q, D]`.
        candidates: `[N, D]`, a document each; or windows, sorted by their documents.
        own: `[Q]` the document of each query.
        owners: `[N]` the document of each window: a document scores as its best window. None: a candidate each.
    """
    return _ranks(queries, candidates, own, owners, lambda scores, rows: scores[np.arange(len(rows)), own[rows]])


def ranks_of_variants(
    queries: Floats,
    variants: Floats,
    candidates: Floats,
    own: Whole,
    *,
    owners: Whole | None = None,
    variant_owners: Whole | None = None,
) -> Whole:
    """Return the rank that another form of each query's own document has among the other, unchanged documents.

    >>> documents = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> ranks_of_variants(np.array([[1.0, 0.1]]), np.array([[0.1, 0.0]]), documents, np.array([0])).tolist()
    [2]

    Args:
        queries: `[Q, D]`.
        variants: `[Q, D]` the other form of each query's document; or its windows, sorted by queries.
        candidates: as for `own_ranks`, as are `own` and `owners`.
        own: the document of each query.
        owners: the document of each window.
        variant_owners: the query of each window of the variants.
    """
    places = np.arange(len(queries)) if variant_owners is None else variant_owners
    scores = np.einsum("ij,ij->i", queries[places], variants)
    best = best_of(scores[None], places)[0]
    return _ranks(queries, candidates, own, owners, lambda _, rows: best[rows])


def _ranks(
    queries: Floats, candidates: Floats, own: Whole, owners: Whole | None, reached: Callable[[Floats, Whole], Floats]
) -> Whole:
    """Rank in blocks of queries; `reached(scores, rows)` gives what the own documents of some queries score."""
    ranks = np.zeros(len(queries), np.int64)
    step = max(1, _BLOCK // max(1, len(candidates)))
    for start in range(0, len(queries), step):
        rows = np.arange(start, min(start + step, len(queries)))
        scores = best_of(queries[rows] @ candidates.T, owners)
        mine = reached(scores, rows)[:, None]
        scores[np.arange(len(rows)), own[rows]] = -np.inf
        ranks[rows] = 1 + (scores >= mine - _ROUNDING).sum(1)
    return ranks


def best_of(scores: Floats, owners: Whole | None) -> Floats:
    """Return the best score among the windows of each document; `owners` is sorted and names every document."""
    if owners is None:
        return scores
    return np.maximum.reduceat(scores, np.flatnonzero(np.diff(owners, prepend=-1)), axis=1)


def nearest(queries: Floats, candidates: Floats, count: int) -> Whole:
    """Return the `count` candidates of the highest dot products for each query, best first: `[Q, count]`.

    >>> nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.0]]), 2).tolist()
    [[1, 2]]
    """
    found = []
    step = max(1, _BLOCK // max(1, len(candidates)))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ candidates.T
        found.append(np.argsort(-scores, axis=1, kind="stable")[:, :count])
    return np.concatenate(found) if found else np.zeros((0, count), np.int64)


def token_matches(
    queries: Sequence[Floats], documents: Sequence[Floats], rows: Whole, candidates: Whole
) -> npt.NDArray[np.float64]:
    """Return for some queries and each of their candidates the sum of the best cosines of the query's tokens.

    >>> query, document = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8], [1.0, 0.0]])
    >>> token_matches([query], [document, query], np.array([0]), np.array([[0, 1]])).round(6).tolist()
    [[1.8, 2.0]]

    Args:
        queries: the token vectors `[n, D]` of each query, of norm 1.
        documents: those of each document.
        rows: `[R]` the queries to match.
        candidates: `[R, K]` the documents to match each of them with.
    """
    scores = np.zeros(candidates.shape)
    order = np.argsort(candidates, axis=None, kind="stable")  # each document is looked at once
    ends = np.flatnonzero(np.diff(candidates.ravel()[order], append=-1)) + 1
    for start, end in pairwise([0, *ends.tolist()]):
        places = order[start:end]
        some = [np.asarray(queries[row], np.float32) for row in rows[places // candidates.shape[1]]]
        document = np.asarray(documents[int(candidates.ravel()[places[0]])], np.float32)
        starts = np.cumsum([0, *map(len, some[:-1])])
        scores.ravel()[places] = np.add.reduceat((np.concatenate(some) @ document.T).max(1), starts)
    return scores


def resampled_means(
    values: Sequence[Floats], documents: Whole, *, confidence: float = 0.95, seed: int = 0
) -> list[Estimate]:
    """Estimate the means of several columns of values of the same queries, with intervals that resample documents.

    The queries of a document are drawn together: they are not independent. With fewer than ten documents, or where all
    values are the same, there is no interval.

    >>> found = resampled_means([np.array([1.0, 0.0] * 20)], np.arange(40))[0]
    >>> found.value, found.low < 0.5 < found.high
    (0.5, True)
    """
    check_confidence(confidence)
    if not values or any(len(one) != len(documents) for one in values):
        raise BadInput(f"{[len(one) for one in values]} values of {len(documents)} queries: pass one of each.")
    _, places = np.unique(documents, return_inverse=True)
    count = int(places.max()) + 1
    sizes = np.bincount(places).astype(np.float64)
    totals = np.stack([np.bincount(places, one) for one in values], 1)  # [documents, columns]
    means = totals.sum(0) / sizes.sum()
    if count < FEWEST_TEXTS:
        return [Estimate(float(mean), None, None) for mean in means]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(float)
    replicates = (drawn @ totals) / (drawn @ sizes)[:, None]
    ends = [
        percentile_interval(column, confidence) if one.min() < one.max() else (None, None)
        for one, column in zip(values, replicates.T, strict=True)
    ]
    return [Estimate(float(mean), *both) for mean, both in zip(means, ends, strict=True)]


def mean_change(changes: Floats, documents: Whole, *, confidence: float = 0.95) -> Estimate:
    """Estimate the mean of paired changes, with a t interval over documents: changes of one document go together.

    With fewer than ten documents there is no interval.

    >>> found = mean_change(np.array([1.0, 0.0] * 20), np.arange(40))
    >>> found.value, found.low < 0.5 < found.high
    (0.5, True)
    """
    check_confidence(confidence)
    _, places = np.unique(documents, return_inverse=True)
    totals, sizes = np.bincount(places, changes), np.bincount(places)
    value, count = float(totals.sum() / sizes.sum()), len(sizes)
    if count < FEWEST_TEXTS:
        return Estimate(value, None, None)
    variance = float(np.square(totals - value * sizes).sum()) / float(sizes.sum()) ** 2 * count / (count - 1)
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * variance**0.5
    return Estimate(value, value - reach, value + reach)
