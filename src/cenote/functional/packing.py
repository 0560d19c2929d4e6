"""Form batches of texts of similar length, within a budget of memory, and choose the order of the batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from cenote.errors import check_at_least
from cenote.functional.bins import check_lengths

Value = TypeVar("Value")

# Multiples of the golden ratio, modulo 1, are spread more evenly than those of any other number.
_GOLDEN = (5**0.5 - 1) / 2


def pack(lengths: Any, budget: int, opening: int, *, power: int = 1) -> Iterator[list[int]]:
    """Yield batches as lists of text indices, the longest texts first.

    The next shorter text joins the batch while two conditions hold: the batch costs at most `budget`, and its padding
    is at most `opening`, the tokens that could be processed in the time that a batch takes to start. (Closing a batch
    when its waste reaches the price of a new one costs at most twice as much as the best partition.) The cost is
    count * longest ** power, where `power` is 1 if memory grows with the padded tokens, 2 if with the attention maps.

    >>> list(pack([5, 9, 5, 9, 9, 1], budget=20, opening=4))
    [[1, 3], [4, 0], [2, 5]]
    >>> list(pack([5, 9, 5, 9, 9, 1], budget=100, opening=3))
    [[1, 3, 4], [0, 2], [5]]
    >>> list(pack([5, 9, 5, 9, 9, 1], budget=200, opening=3, power=2))
    [[1, 3], [4], [0, 2], [5]]
    """
    tokens = check_lengths(lengths)
    check_at_least(1, budget, "budget")
    check_at_least(0, opening, "opening")
    check_at_least(1, power, "power")
    order = np.argsort(-tokens, kind="stable")
    batch: list[int] = []
    longest = waste = 0
    for row, length in zip(order.tolist(), tokens[order].tolist(), strict=True):
        if batch and ((len(batch) + 1) * longest**power > budget or waste + longest - length > opening):
            yield batch
            batch = []
        if not batch:
            longest, waste = length, 0
        waste += longest - length
        batch.append(row)
    if batch:
        yield batch


def interleave(batches: Sequence[Value]) -> list[Value]:
    """Return the first batch, then the others evenly mixed, in an order that depends on their number alone.

    If batches come by length, the longest shows at once whether memory suffices, and the time of the first few
    predicts that of the rest.

    >>> interleave(["longest", "long", "middling", "short", "shortest"])
    ['longest', 'middling', 'shortest', 'long', 'short']
    """
    return [batches[place] for place in sorted(range(len(batches)), key=lambda place: place * _GOLDEN % 1)]
