"""Which texts go into one batch: like lengths together, so that hardly anything is padded; and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from cenote.functional.bins import at_least, whole_lengths

Value = TypeVar("Value")

# The golden ratio: places that are multiples of it, modulo 1, are spread more evenly than those of any other number.
_GOLDEN = (5**0.5 - 1) / 2


def pack(lengths: Any, budget: int, opening: int) -> Iterator[list[int]]:
    """Places of texts, batch by batch, longest first.

    A batch takes the next shorter text while two things hold: its padded area, texts times its longest, stays within
    `budget`; and its padding so far costs less than to open a new batch, which is worth `opening` tokens. (To close
    when the waste has grown to the price of a new start costs at most twice what the best partition would.)

    >>> list(pack([5, 9, 5, 9, 9, 1], budget=20, opening=4))
    [[1, 3], [4, 0], [2, 5]]
    >>> list(pack([5, 9, 5, 9, 9, 1], budget=100, opening=3))
    [[1, 3, 4], [0, 2], [5]]

    Args:
        lengths: `[N]` tokens of each text, at least 1.
        budget: the most padded tokens of a batch; a text that is longer has a batch of its own.
        opening: tokens that could be read in the time that a batch takes to start.
    """
    tokens = whole_lengths(lengths)
    at_least(1, budget, "budget")
    at_least(0, opening, "opening")
    order = np.argsort(-tokens, kind="stable")
    batch: list[int] = []
    longest = waste = 0
    for row, length in zip(order.tolist(), tokens[order].tolist(), strict=True):
        if batch and ((len(batch) + 1) * longest > budget or waste + longest - length > opening):
            yield batch
            batch = []
        if not batch:
            longest, waste = length, 0
        waste += longest - length
        batch.append(row)
    if batch:
        yield batch


def mixed(batches: Sequence[Value]) -> list[Value]:
    """The first batch first, and after it the others evenly mixed, always in the same way.

    Of batches by length the longest shows at once whether there is memory enough, and the time that the first few
    take tells of the rest.

    >>> mixed(["longest", "long", "middling", "short", "shortest"])
    ['longest', 'middling', 'shortest', 'long', 'short']
    """
    return [batches[place] for place in sorted(range(len(batches)), key=lambda place: place * _GOLDEN % 1)]
