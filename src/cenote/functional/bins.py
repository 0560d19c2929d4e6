"""Bins of text length: which edges to draw, and which are edges at all."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from cenote.errors import BadInput, some
from cenote.functional.sampling import Whole
from cenote.functional.spread import vector

# A proposed bin has at least this many texts: a mean over their 190 pairs is worth a point in a figure.
FEW = 20
# Above it float64 has no longer every whole number.
_LONGEST = 2**53


def whole_lengths(lengths: Any) -> Whole:
    """Token counts [N] as whole numbers of at least 1, from a list, array or tensor."""
    values = vector(lengths, "lengths")
    wrong = np.flatnonzero((values < 1) | (values > _LONGEST) | (values != np.floor(values))).tolist()
    if wrong:
        also = f" (so are {some(wrong[1:])})" if wrong[1:] else ""
        raise BadInput(f"lengths[{wrong[0]}] is {values[wrong[0]]:g}{also}: pass whole numbers of tokens, at least 1.")
    return values.astype(np.int64)


def checked_edges(edges: Any) -> tuple[int, ...]:
    """The first number of tokens of each bin: whole numbers of at least 0, increasing.

    >>> checked_edges(np.arange(0, 200, 50))
    (0, 50, 100, 150)
    """
    values = vector(edges, "edges")
    given = ", ".join(f"{value:g}" for value in values)
    if not len(values) or (values < 0).any() or (values > _LONGEST).any() or (values != np.floor(values)).any():
        raise BadInput(f"edges are [{given}]: pass at least one, all whole numbers of at least 0.")
    if (np.diff(values) <= 0).any():
        raise BadInput(f"edges are [{given}], which do not increase: pass each once, from short to long.")
    return tuple(values.astype(np.int64).tolist())


def length_bins(lengths: Any, bins: int = 10, *, width: int | None = None) -> tuple[int, ...]:
    """Edges for `LengthCollapse`: the first number of tokens of each bin, the last bin open above.

    Without `width`, bins of about as many texts each: the quantiles i / B of the lengths, each moved to the roundest
    number (1, 2 or 5 times a power of ten goes into it) between the quantiles (i - 1/4) / B and (i + 1/4) / B, or left
    at the quantile where that would leave a bin too few. B is at most `bins` and leaves 40 texts to a bin, but from 40
    texts on there are two bins if lengths allow; none has fewer than 20 unless there are fewer in all. With `width`,
    bins of that many tokens, as in the paper's figures, however few texts they have.

    >>> lengths = np.random.default_rng(0).lognormal(4.5, 0.8, size=1000).astype(int) + 1
    >>> length_bins(lengths, 5)
    (0, 50, 70, 100, 150)
    >>> length_bins(lengths, 5, width=50)
    (0, 50, 100, 150, 200)

    Args:
        lengths: `[N]` whole numbers of at least 1: a list, array or tensor.
        bins: the most bins, at least 1.
        width: tokens of each bin but the last.

    Returns:
        Increasing whole numbers, the first of them 0.
    """
    values = whole_lengths(lengths)
    if not len(values):
        raise BadInput("no lengths: there is nothing to draw bins for.")
    most = at_least(1, bins, "bins")
    if width is not None:
        step = at_least(1, width, "width")
        return tuple(range(0, min(most * step, int(values.max()) + 1), step))
    count = min(most, max(len(values) // (2 * FEW), min(2, len(values) // FEW)))  # rounding may halve a bin
    if count < 2:
        return (0,)
    levels = (np.arange(1, count)[:, None] + [-0.25, 0, 0.25]) / count
    edges = [0]
    for low, middle, high in np.quantile(values, levels):
        candidates = (_roundest(low, middle, high), math.floor(middle), math.ceil(middle))
        edges += [edge for edge in candidates if _leaves_enough(values, edges[-1], edge)][:1]
    return tuple(edges)


def _leaves_enough(values: Whole, last: int, edge: int) -> bool:
    """Whether a new edge leaves enough texts between the last edge and itself, and above."""
    below = ((values >= last) & (values < edge)).sum()
    return edge > last and bool(below >= FEW <= (values >= edge).sum())


def _roundest(low: float, middle: float, high: float) -> int:
    """The multiple of the largest round step that lies in [low, high], nearest to the middle; else the middle."""
    for step in _steps(high):
        edge = step * round(middle / step)
        if low <= edge <= high:
            return edge
    return round(middle)


def _steps(high: float) -> Iterator[int]:
    power = 10 ** len(str(int(high)))
    while power:
        yield from (factor * power for factor in (5, 2, 1))
        power //= 10


def at_least(least: int, value: Any, name: str) -> int:
    """`value` as a whole number that is not below `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise BadInput(f"{name}={value!r}: pass a whole number of at least {least}.")
    return int(value)
