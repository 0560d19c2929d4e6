"""The best rows of each query, found block by block: what an exact search keeps of the scores it has seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Estimates = npt.NDArray[np.floating[Any]]
Scores = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def reach(estimates: Estimates, count: int, least: float, error: float) -> float:
    """Return the lowest estimate of a row that may be among the `count` best and score `least` or more.

    Estimates are off by at most `error`: `count` rows score at least the lowest of the highest estimates minus the
    error, and a row that scores as much has an estimate of at least that minus the error again.

    >>> reach(np.array([0.1, 0.9, 0.5, 0.6]), count=2, least=0.25, error=0.125)
    0.35
    """
    if not math.isfinite(error):
        return -math.inf
    close = estimates[estimates >= least - error]
    if len(close) >= count:
        least = max(least, float(np.partition(close, -count)[-count]) - error)
    return least - error


def best_of_each(texts: Whole, scores: Scores) -> Whole:
    """Return the places of the best row of each text, the first of equal ones; texts ascend.

    >>> best_of_each(np.array([0, 0, 0, 5, 5]), np.array([0.1, 0.7, 0.7, 0.3, 0.2])).tolist()
    [1, 3]
    """
    order = np.lexsort((-scores, texts))  # stable: of equal scores the first comes first
    return order[np.flatnonzero(np.diff(texts[order], prepend=-1))]


class Best:
    """The `count` best rows of each of several queries among all that were offered; of equal scores the first rows.

    >>> best = Best(1, 2)
    >>> best.offer(0, np.array([3, 4]), np.array([0.2, 0.7]))
    >>> best.offer(0, np.array([0]), np.array([0.7]))
    >>> best.rows[0].tolist(), best.least.tolist()
    ([0, 4], [0.7])
    """

    def __init__(self, queries: int, count: int) -> None:
        self.count = count
        self.rows: list[Whole] = [np.zeros(0, np.int64)] * queries
        self.scores: list[Scores] = [np.zeros(0)] * queries
        self.least: Scores = np.full(queries, -np.inf)  # what a row must reach to be kept

    def offer(self, query: int, rows: Whole, scores: Scores) -> None:
        """Keep the best of the rows that are kept and of these."""
        if not len(rows):
            return
        rows = np.concatenate([self.rows[query], rows])
        scores = np.concatenate([self.scores[query], scores])
        kept = np.lexsort((rows, -scores))[: self.count]
        self.rows[query], self.scores[query] = rows[kept], scores[kept]
        if len(kept) == self.count:
            self.least[query] = scores[kept[-1]]

    def replace(self, query: int, rows: Whole, scores: Scores) -> None:
        """Keep the best of these rows alone."""
        self.rows[query], self.scores[query], self.least[query] = np.zeros(0, np.int64), np.zeros(0), -np.inf
        self.offer(query, rows, scores)
