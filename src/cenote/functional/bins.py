"""Bins of text length: propose their edges, and check edges and lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cenote.errors import BadInput, check_at_least, some
from cenote.functional.dispersion import to_vector
from cenote.functional.sampling import Whole

# Fewest texts of a proposed bin: a mean over their 190 pairs is worth a point in a figure.
FEWEST_IN_BIN = 20
# Above it float64 does not hold every whole number.
_LONGEST = 2**53


def check_lengths(lengths: Any) -> Whole:
    """Return token counts [N], from a list, array or tensor, as whole numbers of at least 1."""
    values = to_vector(lengths, "lengths")
    bad = np.flatnonzero((values < 1) | (values > _LONGEST) | (values != np.floor(values))).tolist()
    if bad:
        also = f" (so are {some(bad[1:])})" if bad[1:] else ""
        raise BadInput(f"lengths[{bad[0]}] is {values[bad[0]]:g}{also}: pass whole numbers of tokens, at least 1.")
    return values.astype(np.int64)


def check_edges(edges: Any) -> tuple[int, ...]:
    """Return the smallest token count of each bin: whole numbers of at least 0, increasing.

    >>> check_edges(np.arange(0, 200, 50))
    (0, 50, 100, 150)
    """
    values = to_vector(edges, "edges")
    shown = ", ".join(f"{value:g}" for value in values)
    if not len(values) or (values < 0).any() or (values > _LONGEST).any() or (values != np.floor(values)).any():
        raise BadInput(f"edges are [{shown}]: pass at least one, all whole numbers of at least 0.")
    if (np.diff(values) <= 0).any():
        raise BadInput(f"edges are [{shown}], which do not increase: pass each once, from short to long.")
    return tuple(values.astype(np.int64).tolist())


def length_bins(lengths: Any, bins: int = 10, *, width: int | None = None) -> tuple[int, ...]:
    """Propose edges for `LengthCollapse`: the smallest token count of each bin; the last bin is open above.

    Without `width`, bins hold about as many texts each: the edges are the quantiles i / B of the lengths, each moved
    to the roundest number (a multiple of 1, 2 or 5 times a power of ten) between the quantiles (i - 1/4) / B and
    (i + 1/4) / B, unless this leaves a bin too few texts. B is at most `bins` and leaves 40 texts to a bin; from 40
    texts on there are two bins if lengths allow. No bin has fewer than 20 texts unless there are fewer in all. With
    `width`, bins have that many tokens, as in the paper's figures, however few texts they hold.

    >>> lengths = np.random.default_rng(0).lognormal(4.5, 0.8, size=1000).astype(int) + 1
    >>> length_bins(lengths, 5)
    (0, 50, 70, 100, 150)
    >>> length_bins(lengths, 5, width=50)
    (0, 50, 100, 150, 200)
    """
    values = check_lengths(lengths)
    if not len(values):
        raise BadInput("lengths is empty: bins need at least one text.")
    most = check_at_least(1, bins, "bins")
    if width is not None:
        step = check_at_least(1, width, "width")
        return tuple(range(0, min(most * step, int(values.max()) + 1), step))
    # Twice the fewest texts, because rounding an edge may halve a bin.
    count = min(most, max(len(values) // (2 * FEWEST_IN_BIN), min(2, len(values) // FEWEST_IN_BIN)))
    if count < 2:
        return (0,)
    levels = (np.arange(1, count)[:, None] + [-0.25, 0, 0.25]) / count
    edges = [0]
    for low, middle, high in np.quantile(values, levels):
        for edge in (_roundest(low, middle, high), math.floor(middle), math.ceil(middle)):
            below = ((values >= edges[-1]) & (values < edge)).sum()
            if edge > edges[-1] and below >= FEWEST_IN_BIN <= (values >= edge).sum():
                edges.append(edge)
                break
    return tuple(edges)


def _roundest(low: float, middle: float, high: float) -> int:
    """Return the multiple of the largest round step in [low, high] that is nearest to the middle; else the middle."""
    for step in (factor * 10**power for power in range(len(str(int(high))), -1, -1) for factor in (5, 2, 1)):
        edge: int = step * round(middle / step)
        if low <= edge <= high:
            return edge
    return round(middle)
