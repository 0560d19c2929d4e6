"""The best rows of each query, found block by block: what an exact search keeps of the scores it has seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.int64]


def leading(scores: Floats, count: int, least: float = -np.inf) -> Whole:
    """Return the places of the `count` highest scores that reach `least`; of equal scores the first.

    >>> leading(np.array([0.1, 0.9, 0.5, 0.9, 0.9]), 2).tolist(), leading(np.array([0.1, 0.9]), 2, 0.5).tolist()
    ([1, 3], [1])
    """
    places = np.flatnonzero(scores >= least)
    if len(places) > count:
        bound = np.partition(scores[places], -count)[-count]
        places = places[scores[places] >= bound]
    return places[np.lexsort((places, -scores[places]))][:count]


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
        self.scores: list[Floats] = [np.zeros(0, np.float32)] * queries
        self.least: Floats = np.full(queries, -np.inf)  # what a row must reach to be kept

    def offer(self, query: int, rows: Whole, scores: Floats) -> None:
        """Keep the best of the rows that are kept and of these."""
        if not len(rows):
            return
        rows = np.concatenate([self.rows[query], rows])
        scores = np.concatenate([self.scores[query], scores])
        kept = np.lexsort((rows, -scores))[: self.count]
        self.rows[query], self.scores[query] = rows[kept], scores[kept]
        if len(kept) == self.count:
            self.least[query] = scores[kept[-1]]
