"""The exact search: queries against every row of a folder, a few parts in memory at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cenote.choices import SimilarityName
from cenote.embedding.reading import Embeddings
from cenote.functional.best import Best, leading
from cenote.functional.similarity import similarity
from cenote.listener import Listener

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

# Scores in memory at once for each thread: 64 MB.
_SCORES = 2**24


@dataclass(frozen=True, eq=False)
class Wanted:
    """The queries of a search as vectors `[Q, D]`, the similarity, and the number of texts for each query."""

    queries: Floats
    how: SimilarityName
    top: int


def scan(found: Embeddings, wanted: Wanted, listener: Listener) -> Best:
    """Return the best rows of each query, by comparison with every row: a few parts are in memory at once."""
    best = Best(len(wanted.queries), wanted.top)
    step = listener.step("searching", len(found))

    def look(number: int) -> list[tuple[Whole, Floats]]:
        return _leaders(found, number, wanted, best.least)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        sizes = np.diff(found.ends).tolist()
        for size, leaders in zip(sizes, pool.map(look, range(len(sizes))), strict=True):
            for query, (rows, scores) in enumerate(leaders):
                best.offer(query, rows, scores)
            step(size)
    return best


def _leaders(found: Embeddings, number: int, wanted: Wanted, least: Floats) -> list[tuple[Whole, Floats]]:
    """Return the best rows of a part for each query: of a text that has several rows, one."""
    several = "window" in found.columns
    vectors, columns = found.part(number, *(["window"] if several else []))
    starts = np.flatnonzero(columns[0] == 0) if several else None  # rows of a text lie together, from window 0
    first, leaders = int(found.ends[number]), []
    together = max(1, _SCORES // max(1, len(vectors)))
    for at in range(0, len(wanted.queries), together):
        scores = score(wanted.queries[at : at + together], vectors, wanted.how)
        of_texts = scores if starts is None else np.maximum.reduceat(scores, starts, axis=1)
        for query, (row, each) in enumerate(zip(of_texts, scores, strict=True), at):
            places = leading(row, wanted.top, least[query])
            rows = places if starts is None else best_rows(each, starts, places)
            leaders.append((first + rows, row[places]))
    return leaders


def best_rows(scores: Floats, starts: Whole, texts: Whole) -> Whole:
    """Return the first row of the highest score of each of some texts, which begin at `starts`."""
    ends = np.append(starts[1:], len(scores))
    return np.array([starts[text] + scores[starts[text] : ends[text]].argmax() for text in texts.tolist()], np.int64)


def score(queries: Floats, vectors: npt.NDArray[Any], how: SimilarityName) -> Floats:
    """Return the similarities of all pairs `[Q, N]`, in float32. A vector of zeros has the cosine 0."""
    vectors = vectors.astype(np.float32, copy=False)
    if how not in ("cosine", "dot"):
        found: Floats = similarity(queries, vectors, how)
        return found
    products: Floats = queries @ vectors.T
    if how == "cosine":
        products *= inverse_norms(vectors)
        products *= inverse_norms(queries)[:, None]
        np.clip(products, -1, 1, out=products)
    return products


def inverse_norms(vectors: Floats) -> Floats:
    """Return 1 / the norm of each vector; 0 for a vector of zeros."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    inverse: Floats = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    return inverse
