"""Ranks of the text that a query came from, the match of tokens, and intervals that resample whole documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.intervals import FEWEST_WITH_INTERVAL, check_confidence, percentile_interval, widen_share
from cenote.records import Estimate

Floats = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.int64]

# Numbers of a block of scores: 64 MB of float32.
_BLOCK = 2**24
# Scores that differ by less tie: float32 products of the same vectors do, in blocks of another size.
ROUNDING = 1e-6
# Bootstrap resamples of documents.
_RESAMPLES = 2000


def own_ranks(
    queries: Floats, candidates: Floats, own: Whole, *, owners: Whole | None = None, rivals: Whole | None = None
) -> Whole:
    """Return the rank of each query's own document by dot product, from 1; candidates that tie with it rank before it.

    NaN finds nothing: a document whose score is NaN ranks after all others.

    >>> documents = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> own_ranks(np.array([[1.0, 0.1], [0.1, 1.0]]), documents, np.array([0, 2])).tolist()
    [1, 2]

    Args:
        queries: `[Q, D]`.
        candidates: `[N, D]`, a document each; or windows, sorted by their documents.
        own: `[Q]` the document of each query.
        owners: `[N]` the document of each window: a document scores as its best window. None: a candidate each.
        rivals: `[Q]`, takes the best of the other documents for each query.
    """

    def reached(scores: Floats, rows: Whole) -> Floats:
        return scores[np.arange(len(rows)), own[rows]]

    return _ranks(queries, candidates, own, owners, reached, rivals)


def ranks_of_variants(
    queries: Floats,
    variants: Floats,
    candidates: Floats,
    own: Whole,
    *,
    owners: Whole | None = None,
    variant_owners: Whole | None = None,
    rivals: Whole | None = None,
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
        rivals: as for `own_ranks`.
    """
    places = np.arange(len(queries)) if variant_owners is None else variant_owners
    scores = np.einsum("ij,ij->i", queries[places], variants)
    best = best_of(scores[None], places)[0]
    return _ranks(queries, candidates, own, owners, lambda _, rows: best[rows], rivals)


def _ranks(
    queries: Floats,
    candidates: Floats,
    own: Whole,
    owners: Whole | None,
    reached: Callable[[Floats, Whole], Floats],
    rivals: Whole | None,
) -> Whole:
    """Rank in blocks of queries; `reached(scores, rows)` gives the scores of the own documents of some queries."""
    ranks = np.zeros(len(queries), np.int64)
    step = max(1, _BLOCK // max(1, len(candidates)))
    for start in range(0, len(queries), step):
        rows = np.arange(start, min(start + step, len(queries)))
        scores = best_of(queries[rows] @ candidates.T, owners)
        scores[np.isnan(scores)] = -np.inf  # NaN is not below any number, nor above
        mine = reached(scores, rows)[:, None]
        mine = np.where(np.isnan(mine), -np.inf, mine)
        scores[np.arange(len(rows)), own[rows]] = -np.inf
        ranks[rows] = 1 + (scores >= mine - ROUNDING).sum(1)
        if rivals is not None:
            rivals[rows] = scores.argmax(1)
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
    values: Sequence[npt.NDArray[Any]], documents: Whole, *, confidence: float = 0.95, seed: int = 0
) -> list[Estimate]:
    """Estimate the means of several columns of values of the same queries, with intervals that resample documents.

    The queries of a document are drawn together: they are not independent. The mean of flags is a share, and has at
    least the exact interval of a share of 0 or 1, as for `jackknife`. Other values that are all the same have no
    interval, and there is none with fewer than ten documents.

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
    if count < FEWEST_WITH_INTERVAL:
        return [Estimate(float(mean), None, None) for mean in means]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(float)
    replicates = (drawn @ totals) / (drawn @ sizes)[:, None]
    found = []
    for one, mean, column in zip(values, means.tolist(), replicates.T, strict=True):
        low, high = percentile_interval(column, confidence)
        if one.dtype == np.bool_:
            found.append(widen_share(Estimate(mean, low, high), count, confidence))
        else:
            found.append(Estimate(mean, low, high) if one.min() < one.max() else Estimate(mean, None, None))
    return found


def without_each_document(
    values: Floats, freed: Floats, ranks: Whole, rivals: Whole, owners: Whole, count: int
) -> npt.NDArray[np.float64]:
    """Return the mean of values of sentences as it would be without each of the documents: its sentences and its rank.

    Without a document its own sentences are gone. A sentence of rank 2 that it was the best rival of comes first then,
    and has its value in `freed`. All others keep their values: where these depend on a match of tokens, the document is
    still a rival in that match.

    >>> values, freed = np.array([1.0, 0.0, 1.0]), np.ones(3)          # which of three sentences find their document
    >>> without_each_document(values, freed, np.array([1, 2, 1]), np.array([1, 0, 0]), np.array([0, 1, 2]), 3).tolist()
    [1.0, 1.0, 0.5]

    Args:
        values: `[Q]` the value of each sentence.
        freed: `[Q]` its value where its document comes first.
        ranks: `[Q]` of the sentences' documents.
        rivals: `[Q]` the best of the other documents.
        owners: `[Q]` the document of each sentence.
        count: all documents.
    """
    second = ranks == 2
    gained = np.bincount(rivals[second], (freed - values)[second], minlength=count)
    totals, sizes = np.bincount(owners, values, minlength=count), np.bincount(owners, minlength=count)
    found: npt.NDArray[np.float64] = (values.sum() - totals + gained) / np.maximum(len(values) - sizes, 1)
    return found


def jackknife(
    value: float, replicates: Floats, *, confidence: float = 0.95, share: bool = True, documents: int | None = None
) -> Estimate:
    """Return a figure with a t interval from its values without each of the documents.

    A new sample has other rivals as well as other sentences: a hub takes many sentences at once, and resampling
    sentences among fixed rivals gives intervals that are too narrow. A share stays in [0, 1]. Its upper end is at
    least that of a share of 0 in n documents, 1 - 0.025^(1/n) (Clopper and Pearson). Its lower end is at most that of
    a share of 1. Else a loss of one sentence would seem better known than no loss. Another figure, such as a change,
    has no interval where it is the same without any of the documents. With fewer than ten documents there is none
    either. `documents` is how many have a sentence in the figure, where not all do.

    >>> found = jackknife(0.5, np.array([0.49, 0.51] * 10))
    >>> round(found.low, 2), round(found.high, 2)
    (0.41, 0.59)
    """
    check_confidence(confidence)
    count = len(replicates) if documents is None else documents
    if count < FEWEST_WITH_INTERVAL or not (share or np.ptp(replicates)):
        return Estimate(value, None, None)
    error = math.sqrt((count - 1) / count * float(np.square(replicates - replicates.mean()).sum()))
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    found = Estimate(value, value - reach, value + reach)
    return widen_share(found, count, confidence) if share else found
