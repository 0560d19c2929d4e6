"""The estimate before the work: how many tokens the texts have, how many a model reads, and how long that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cenote.embedding.options import Options
from cenote.wording import in_minutes, pluralise

# Classes of length to each doubling, and doublings: up to 2^40 characters, in two arrays of a few kilobytes.
_CLASSES, _DOUBLINGS = 8, 40
# Lengths that are classed together.
_BLOCK = 2**14


class LengthCounts:
    """The lengths of texts in characters, counted by class, in flat memory.

    >>> lengths = LengthCounts()
    >>> for length in (0, 10, 10, 1000):
    ...     lengths.add(length)
    >>> [found.tolist() for found in lengths.counted()]
    [[1, 2, 1], [0.0, 10.0, 1000.0]]
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_CLASSES * _DOUBLINGS, np.int64)
        self._sums = np.zeros(_CLASSES * _DOUBLINGS)
        self._last: list[int] = []

    def add(self, length: int) -> None:
        """Count one text."""
        self._last.append(length)
        if len(self._last) == _BLOCK:
            self._count()

    def counted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the texts of each class that has any, and their mean length."""
        self._count()
        there = np.flatnonzero(self._counts)
        return self._counts[there], self._sums[there] / self._counts[there]

    def _count(self) -> None:
        lengths = np.array(self._last, np.float64)
        classes = (np.log2(lengths + 1) * _CLASSES).astype(np.int64)
        self._counts += np.bincount(classes, minlength=len(self._counts))
        self._sums += np.bincount(classes, lengths, len(self._sums))
        self._last = []


@dataclass(frozen=True)
class Rate:
    """The tokens of texts by their length, and the speed of reading them; measured on a sample."""

    around: int  # tokens of an empty text: special ones and the prompt
    characters: float  # to each other token
    speed: float  # tokens that are read in a second


def expected_tokens(lengths: LengthCounts, rate: Rate, options: Options, limit: int | None) -> tuple[float, float]:
    """Return about how many tokens the texts have, and how many the model reads.

    Args:
        lengths: of the texts.
        rate: the tokens of a text by its length.
        options: how long texts are read, with the windows of the model.
        limit: tokens of a text that the model reads.
    """
    counts, characters = lengths.counted()
    content = characters / rate.characters
    there = read = content + rate.around
    if limit is not None and options.window is not None and options.overlap is not None:
        # Every window after the first reads the overlap again, and has what stands around a text.
        windows = np.ceil((content - options.overlap) / (options.window - options.overlap)).clip(1)
        read = np.where(there > limit, there + (windows - 1) * (options.overlap + rate.around), there)
    elif limit is not None:
        read = np.minimum(there, limit)
    return float(counts @ there), float(counts @ read)


def estimate_in_words(texts: int, there: float, read: float, speed: float) -> str:
    """Return the texts, their tokens and the time that reading them takes.

    >>> estimate_in_words(1_000_000, 95_212_345, 95_212_345, 12_200)
    '1,000,000 texts, about 95,000,000 tokens: about 2 h 10 min'
    >>> estimate_in_words(5000, 2_900_000, 1_200_000, 12_200)
    '5,000 texts, about 2,900,000 tokens, of which about 1,200,000 are read: about 2 min'
    >>> estimate_in_words(5000, 2_900_000, 3_400_000, 12_200)
    '5,000 texts, about 2,900,000 tokens, read as about 3,400,000 in windows: about 5 min'
    """
    there, read = (float(f"{value:.2g}") for value in (there, read))
    seen = "" if read == there else f", of which about {read:,.0f} are read"
    if read > there:
        seen = f", read as about {read:,.0f} in windows"
    return f"{pluralise(texts, 'text')}, about {there:,.0f} tokens{seen}: about {in_minutes(read / speed)}"
