"""Tokens to vectors: batches by a budget of tokens, halved where memory runs out, and every vector checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from cenote.backends import Backend
from cenote.errors import BadInput, BadRows, CenoteError
from cenote.functional.packing import mixed, pack
from cenote.surgery.reading import width_of
from cenote.tokenising import Tokenised, collate

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int], object]  # how many texts have been read since it was last called

# Tokens that could be read while a batch starts.
OPENING = 128
# Padded tokens of a batch. On a CPU the numbers of larger ones leave its caches: see docs/benchmarks.md.
_BUDGETS, _OF_OTHERS = {"cpu": 2048}, 8192
# What runtimes say when there is no memory left; only torch's CUDA has a class for it.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad allocation",
    "bad_alloc",
    "alloc_failed",
)


def budget_for(model: SentenceTransformer) -> int:
    """Padded tokens of a batch, at first, on the model's device."""
    return _BUDGETS.get(model.device.type, _OF_OTHERS)


class Encoder:
    """Reads tokenised texts with a backend.

    Args:
        model: whose tokens they are.
        backend: what turns a batch into vectors.
        budget: padded tokens of a batch, at first; None: by the device.
        notify: told in words when memory ran out and batches became smaller.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        backend: Backend,
        *,
        budget: int | None = None,
        notify: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.model, self.backend, self.notify = model, backend, notify
        self.budget = self.most = budget_for(model) if budget is None else budget

    def __call__(
        self, tokens: Tokenised, progress: Progress = lambda _: None, *, to_end: bool = True
    ) -> tuple[Vectors, dict[int, str]]:
        """The vectors of all texts in their order [N, D], and what is wrong with those that cannot be used.

        Args:
            tokens: of each text at least 1.
            progress: told of each batch how many texts it had.
            to_end: whether to go on after a text that cannot be used; else vectors that come after it are zero.
        """
        self.budget = self.most  # for every part anew: a run that was resumed makes the batches of one that was not
        vectors: Vectors | None = None
        bad: dict[int, str] = {}
        for rows in mixed(list(pack(tokens.lengths, self.budget, OPENING))):
            for some, found in self._within_memory(tokens, rows):
                progress(len(some))
                if isinstance(found, BadInput):
                    bad[some[0]] = _of_one(found)
                    continue
                if vectors is None:
                    vectors = np.zeros((len(tokens), found.shape[1]), np.float32)
                vectors[some] = found
                lost = np.flatnonzero(~np.isfinite(found).all(1)).tolist()
                bad |= {some[place]: "the model's vector of it is not finite." for place in lost}
            if bad and not to_end:
                break
        return np.zeros((len(tokens), width_of(self.model)), np.float32) if vectors is None else vectors, bad

    def _within_memory(self, tokens: Tokenised, rows: Sequence[int]) -> Iterator[tuple[list[int], Vectors | BadInput]]:
        """A batch, or its halves, as far down as it takes; a text that the model refuses comes alone."""
        waiting = [list(rows)]
        while waiting:
            some = waiting.pop(0)
            area = len(some) * int(tokens.lengths[some].max())
            halves = [some[: len(some) // 2], some[len(some) // 2 :]]
            if len(some) > 1 and area > self.budget:  # of a batch that was packed before the budget fell
                waiting[:0] = halves
                continue
            try:
                found: Vectors | BadInput | None = self.backend(collate(self.model, tokens, some)).numpy()
            except BadInput as error:
                found = error
            except Exception as error:  # runtimes have classes of their own
                self._refuse_unless_smaller(error, len(some), area)
                found = None
            if found is None:  # now that the error is gone, and with it what it held
                self._halve(area)
                waiting[:0] = halves
            elif isinstance(found, BadInput) and len(some) > 1:
                waiting[:0] = halves  # one of the texts is at fault: let it be known which
            else:
                yield some, found

    @staticmethod
    def _refuse_unless_smaller(error: Exception, texts: int, area: int) -> None:
        """Raise what is no lack of memory, and that of a batch which cannot be made smaller."""
        if not out_of_memory(error):
            raise error
        if texts == 1:
            raise CenoteError(
                f"one text of {area:,} tokens does not fit into memory: read it in windows, or lower "
                "model.max_seq_length."
            ) from error

    def _halve(self, area: int) -> None:
        self.budget = max(1, min(self.budget, area) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.notify(f"out of memory: going on with batches of {self.budget:,} tokens")


def _of_one(error: BadInput) -> str:
    """What was wrong with a text that was alone in its batch."""
    return f"it has {error.problem}" if isinstance(error, BadRows) else str(error)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is the lack of memory, by its class or, where there is none, by its words.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory")), out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    words: Any = str(error).lower()
    return isinstance(error, MemoryError) or any(said in words for said in _NO_MEMORY)
