"""Tokens to vectors: batches by a budget of tokens, halved where memory runs out, and every vector checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from cenote.backends import Backend
from cenote.errors import CenoteError
from cenote.functional.packing import pack
from cenote.tokenising import Tokenised, collate

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int], object]  # how many texts have been read since it was last called

# Padded tokens of a batch, and tokens that could be read while a batch starts: see docs/benchmarks.md.
BUDGET, OPENING = 8192, 128
# What runtimes say when there is no memory left; only torch's CUDA has a class for it.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation", "bad_alloc")


class Encoder:
    """Reads tokenised texts with a backend.

    Args:
        model: whose tokens they are.
        backend: what turns a batch into vectors.
        budget: padded tokens of a batch, at first.
        notify: told in words when memory ran out and batches became smaller.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        backend: Backend,
        *,
        budget: int = BUDGET,
        notify: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.model, self.backend, self.budget, self.notify = model, backend, budget, notify

    def __call__(self, tokens: Tokenised, progress: Progress = lambda _: None) -> tuple[Vectors, list[int]]:
        """The vectors of all texts in their order [N, D], and the places of those that are not finite."""
        vectors: Vectors | None = None
        bad: list[int] = []
        for rows in pack(tokens.lengths, self.budget, OPENING):
            for some, found in self._within_memory(tokens, rows):
                if vectors is None:
                    vectors = np.zeros((len(tokens), found.shape[1]), np.float32)
                vectors[some] = found
                bad += [row for row, sound in zip(some, np.isfinite(found).all(1), strict=True) if not sound]
                progress(len(some))
        return np.zeros((0, 0), np.float32) if vectors is None else vectors, sorted(bad)

    def _within_memory(self, tokens: Tokenised, rows: Sequence[int]) -> Iterator[tuple[list[int], Vectors]]:
        """A batch, or its halves, as far down as it takes."""
        waiting = [list(rows)]
        while waiting:
            some = waiting.pop(0)
            area = len(some) * int(tokens.lengths[some].max())
            if len(some) > 1 and area > self.budget:  # of a batch that was packed before the budget fell
                waiting[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
                continue
            try:
                found = self.backend(collate(self.model, tokens, some)).numpy()
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(some) == 1:
                    raise CenoteError(
                        f"one text of {area:,} tokens does not fit into memory: read it in windows, or lower "
                        "model.max_seq_length."
                    ) from error
                self._halve(area)
                waiting[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
                continue
            yield some, found

    def _halve(self, area: int) -> None:
        self.budget = max(1, min(self.budget, area) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.notify(f"out of memory: going on with batches of {self.budget:,} tokens")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is the lack of memory, by its class or, where there is none, by its words.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory")), out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    words: Any = str(error).lower()
    return isinstance(error, MemoryError) or any(said in words for said in _NO_MEMORY)
