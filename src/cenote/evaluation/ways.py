"""Ways to read long texts: cut, as the mean of windows, by windows, by segments. A new way is a function and a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from cenote.encoding.tokens import Whole
from cenote.encoding.vectors import Vectors
from cenote.errors import BadInput, choose
from cenote.evaluation.reading import AnyReader, Side
from cenote.functional.window_cuts import average_runs, even_runs
from cenote.models.properties import makes_unit_vectors

# Turns texts into vectors, and tells the text of each.
Way = Callable[[AnyReader, Sequence[str], Side], tuple[Vectors, Whole]]


def read_cut(reader: AnyReader, texts: Sequence[str], side: Side) -> tuple[Vectors, Whole]:
    """Return one vector a text, of as much as the model reads."""
    return reader.vectors(texts, side), np.arange(len(texts))


def read_windows(reader: AnyReader, texts: Sequence[str], side: Side) -> tuple[Vectors, Whole]:
    """Return a vector for each window of a long text, so that its best window counts."""
    found = reader.windows(texts, side)
    return found.vectors, found.owners


def read_segments(reader: AnyReader, texts: Sequence[str], side: Side, count: int = 1) -> tuple[Vectors, Whole]:
    """Return at most `count` vectors a text, each the mean of consecutive windows."""
    found = reader.windows(texts, side)
    starts, ends = np.array(even_runs(np.bincount(found.owners).tolist(), count), np.int64).T
    runs = np.repeat(np.arange(len(starts)), ends - starts)
    means = average_runs(found.vectors, found.tokens, runs, unit=makes_unit_vectors(reader.model))
    return means, found.owners[starts]


# By the names of `embed --long`; `segments` is followed by a number.
_WAYS: dict[str, Way] = {"truncate": read_cut, "window-mean": read_segments, "windows": read_windows}
SEGMENTS = "segments"
# Vectors a text that segments without a number stand for: they double, up to an index of 32 times the size.
_SIZES = (1, 2, 4, 8, 16, 32)
# Ways that give several vectors for a text, which only a search can use.
_SEVERAL = ("windows", SEGMENTS)


def way_of(name: str) -> Way:
    """Return a way by its name: truncate, window-mean, windows, or `segments 8` for eight vectors.

    >>> way_of("truncate").__name__, way_of("segments 8").keywords
    ('read_cut', {'count': 8})
    """
    kind, _, count = name.partition(" ")
    if kind == SEGMENTS:
        if not count.isdecimal() or int(count) < 1:
            raise BadInput(f"{name!r}: say how many vectors a text has at most, as in 'segments 8'.")
        return partial(read_segments, count=int(count))
    return choose(name, _WAYS, "way to read long texts")


def list_ways(names: Sequence[str]) -> tuple[str, ...]:
    """Return the ways that names stand for, each once: `segments` alone is a curve from one vector to all windows.

    >>> list_ways(["segments"])
    ('segments 1', 'segments 2', 'segments 4', 'segments 8', 'segments 16', 'segments 32', 'windows')
    """
    curve = (*(f"{SEGMENTS} {size}" for size in _SIZES), "windows")
    found = dict.fromkeys(way for name in names for way in (curve if name == SEGMENTS else (name,)))
    for way in found:
        way_of(way)
    return tuple(found)


def gives_several(name: str) -> bool:
    """Return whether a way gives several vectors for a text.

    >>> gives_several("segments 8"), gives_several("window-mean")
    (True, False)
    """
    return name.partition(" ")[0] in _SEVERAL
