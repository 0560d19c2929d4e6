"""The exact search: queries against every row of a folder, a few parts in memory at once.

Products in float32 are fast, but the score that they give a row depends on its place and on the number of queries. So
they are estimates, off by no more than a known error: every row that may be among the best by its estimate is compared
again on its own, in float64 by `cenote.similarity`, and ranked by that score. Equal vectors have equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cenote.choices import SimilarityName
from cenote.embedding.reading import Embeddings
from cenote.errors import BadInput, some
from cenote.functional.arrays import slices
from cenote.functional.best import Best, Scores, Whole, best_of_each, reach
from cenote.functional.similarity import canonical, similarity
from cenote.functional.units import to_unit
from cenote.listener import Listener

Floats = npt.NDArray[np.float32]

# Parts in memory at once, and bytes of their vectors; a part may be larger. Reading gains nothing from more threads.
_PARTS, _BYTES = 4, 2**28
# Estimates in memory at once for each part: 16 MB.
_ESTIMATES = 2**22
# Numbers of the pairs that are compared in float64 at once.
_COMPARED = 2**20
# Norms whose squares float32 holds with all digits. A part with others is compared in float64 as a whole.
_SMALL, _LARGE = 1e-15, 1e15


@dataclass(frozen=True, eq=False)
class Question:
    """The queries of a search as vectors `[Q, D]`, the similarity, and the number of texts for each query."""

    queries: Floats
    how: SimilarityName
    top: int

    @classmethod
    def of(cls, queries: npt.NDArray[np.floating[Any]], how: SimilarityName, top: int) -> Question:
        """Return a question of finite vectors. For the cosine they are scaled by powers of 2, which changes no digit.

        >>> Question.of(np.array([[3.0, 4.0]]) * 2.0**-700, "cosine", top=1).queries
        array([[0.375, 0.5  ]], dtype=float32)
        """
        name = canonical(how)
        wide = queries.astype(np.float64)
        if name == "cosine":
            wide = np.ldexp(wide, -np.frexp(np.abs(wide).max(axis=1, keepdims=True))[1])
        with np.errstate(over="ignore"):
            narrow = wide.astype(np.float32)
        if (bad := np.flatnonzero(~np.isfinite(narrow).all(axis=1))).size:
            raise BadInput(
                f"queries {some(bad.tolist())} have numbers beyond {np.finfo(np.float32).max:g}, the largest of "
                "float32: scale them down."
            )
        return cls(narrow, name, top)


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a folder in memory."""

    vectors: Floats
    rows: Whole  # their numbers in the folder
    windows: Whole | None  # their numbers in the text; None where a text has one row

    def compare(self, queries: Floats, how: SimilarityName, places: Sequence[Whole]) -> Iterator[tuple[Whole, Scores]]:
        """Yield for each query the rows of the best of each text among some `places` of the block, and their scores."""
        owners = np.repeat(np.arange(len(places)), [len(own) for own in places])
        whole = np.concatenate([np.zeros(0, np.int64), *places])
        scores = np.zeros(len(whole))
        for pairs in slices(len(whole), max(1, _COMPARED // queries.shape[1])):
            scores[pairs] = compare(queries[owners[pairs]], self.vectors[whole[pairs]], how)
        start = 0
        for own in places:
            found = scores[start : start + len(own)]
            start += len(own)
            if self.windows is not None:
                best = best_of_each(self.rows[own] - self.windows[own], found)  # the text by its first row
                own, found = own[best], found[best]
            yield self.rows[own], found


def scan(found: Embeddings, question: Question, listener: Listener) -> Best:
    """Return the best rows of each query, by comparison with every row."""
    best = Best(len(question.queries), question.top)
    step = listener.step("searching", len(found))

    def look(number: int) -> list[tuple[int, Whole, Scores]]:
        return list(_leaders(found, number, question, best.least))

    with ThreadPoolExecutor(_parts_at_once(found)) as pool:
        sizes = np.diff(found.bounds).tolist()
        for size, leaders in zip(sizes, pool.map(look, range(len(sizes))), strict=True):
            for query, rows, scores in leaders:
                best.offer(query, rows, scores)
            step(size)
    return best


def _parts_at_once(found: Embeddings) -> int:
    largest = int(np.diff(found.bounds).max(initial=0)) * found.shape[1] * 4
    return max(1, min(_PARTS, torch.get_num_threads(), _BYTES // max(1, largest)))


def _leaders(found: Embeddings, number: int, question: Question, least: Scores) -> Iterator[tuple[int, Whole, Scores]]:
    """Yield queries with the rows of a part that may be among their best: of a text that has several rows, one."""
    several = "window" in found.columns
    vectors, columns = found.part(number, *(["window"] if several else []))
    if not len(vectors):
        return  # all texts of the part were left out
    windows = columns[0].astype(np.int64) if several else None
    starts = None if windows is None else np.flatnonzero(windows == 0)  # rows of a text lie together
    rows = np.arange(found.bounds[number], found.bounds[number + 1])
    block = Block(vectors.astype(np.float32, copy=False), rows, windows)
    for part in slices(len(question.queries), max(1, _ESTIMATES // len(vectors))):
        queries = question.queries[part]
        estimates, errors = estimate(queries, block.vectors, question.how)
        of_texts = estimates if starts is None else np.maximum.reduceat(estimates, starts, axis=1)
        bounds = map(reach, of_texts, [question.top] * len(queries), least[part].tolist(), errors.tolist())
        places = [np.flatnonzero(~(row < bound)) for row, bound in zip(estimates, bounds, strict=True)]  # NaN stays
        compared = block.compare(queries, question.how, places)
        for query, (best, scores) in enumerate(compared, part.start):
            if len(best):
                yield query, best, scores


def compare(queries: Floats, vectors: Floats, how: SimilarityName) -> Scores:
    """Return the similarities of queries and vectors `[N, D]` row by row, in float64.

    No score depends on the other rows. A vector of zeros has the cosine 0.
    """
    scores = np.zeros(len(vectors))
    some = queries.any(axis=1) & vectors.any(axis=1) if how == "cosine" else np.full(len(vectors), True)
    left, right = queries[some].astype(np.float64), vectors[some].astype(np.float64)
    scores[some] = similarity(left, right, how, pairwise=True)
    return scores


def estimate(queries: Floats, vectors: Floats, how: SimilarityName) -> tuple[Floats, Scores]:
    """Return the similarities of all pairs `[Q, N]` in float32, and how far those of each query may be off, `[Q]`.

    The error is infinite where numbers leave the range in which it is known.
    """
    # Of a sum of D products, in any order, and of the norms that they are divided by.
    rounding = (3 * queries.shape[1] + 8) * float(np.finfo(np.float32).eps) / 2
    return _ESTIMATE.get(how, _estimate_distances)(queries, vectors, how, rounding)


def _estimate_cosines(queries: Floats, vectors: Floats, _: SimilarityName, rounding: float) -> tuple[Floats, Scores]:
    norms = _norms(vectors)
    products: Floats = to_unit(queries).astype(np.float32) @ vectors.T
    products *= np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    odd = vectors[~((norms > _SMALL) & (norms < _LARGE))]
    return products, np.full(len(queries), np.inf if odd.any() else rounding)  # zeros are not odd


def _estimate_products(queries: Floats, vectors: Floats, _: SimilarityName, rounding: float) -> tuple[Floats, Scores]:
    largest = max(float(_norms(vectors).max()), _SMALL)
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        products: Floats = queries @ vectors.T
    known = (norms < _LARGE) & (largest < _LARGE)
    return products, np.where(known, rounding * norms * largest + _underflow(vectors), np.inf)


def _estimate_distances(
    queries: Floats, vectors: Floats, how: SimilarityName, rounding: float
) -> tuple[Floats, Scores]:
    distances: Floats = similarity(queries, vectors, how)
    return distances, rounding * -distances.min(axis=1).astype(np.float64) + _underflow(vectors)


_ESTIMATE: dict[str, Callable[[Floats, Floats, SimilarityName, float], tuple[Floats, Scores]]] = {
    "cosine": _estimate_cosines,
    "dot": _estimate_products,
}


def _norms(vectors: Floats) -> Floats:
    with np.errstate(over="ignore"):
        norms: Floats = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return norms


def _underflow(vectors: Floats) -> float:
    """Return what a sum may lose where numbers below float32's range are taken for 0."""
    width: int = vectors.shape[1]
    return width * float(np.finfo(np.float32).tiny)
