"""Cut a long text into overlapping windows, at the ends of sentences or words; join windows to runs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from cenote.errors import BadInput, check_at_least
from cenote.functional.landmarks import sentence
from cenote.functional.quantisation import Floats
from cenote.functional.sampling import Whole
from cenote.functional.units import normalise

Span = tuple[int, int]


def cut_windows(text: str, spans: Sequence[Span], size: int, overlap: int) -> list[Span]:
    """Return windows of at most `size` tokens that cover a text, as half-open ranges of tokens.

    A window ends at the last end of a sentence in its last quarter, else at the last end of a word in its second half,
    else when it is full. The next one begins with the first sentence, else the first word, that begins in its last
    `overlap` tokens, else `overlap` tokens before its end. The last window ends with the text. `overlap` is fewer than
    half of `size`; `spans` are the half-open ranges of characters of the tokens.

    >>> text = "One two. Three four five. Six."
    >>> spans = [(0, 3), (4, 7), (7, 8), (9, 14), (15, 19), (20, 24), (24, 25), (26, 29), (29, 30)]
    >>> [text[spans[first][0] : spans[last - 1][1]] for first, last in cut_windows(text, spans, size=8, overlap=3)]
    ['One two. Three four five.', 'four five. Six.']
    """
    check_at_least(1, size, "size")
    if not 2 * check_at_least(0, overlap, "overlap") < size:
        raise BadInput(f"overlap={overlap}: pass fewer than half of the {size} tokens of a window.")
    count = len(spans)
    if count <= size:
        return [(0, count)]
    sentences, words = sentence(text, spans), _words(text, spans)
    found: list[Span] = []
    first = 0
    while first + size < count:
        full = first + size
        last = _latest(sentences, full - size // 4, full) or _latest(words, full - size // 2, full) or full
        found.append((first, last))
        back = last - overlap
        first = _earliest(sentences, back, last - 1) or _earliest(words, back, last - 1) or back
    return [*found, (first, count)]


def even_runs(counts: Iterable[int], most: int) -> list[Span]:
    """Return runs of consecutive windows as half-open ranges: at most `most` for each text, of nearly equal count.

    The counts are those of `numpy.array_split`: the longer runs of a text come first. Windows are numbered through all
    texts.

    >>> even_runs([2, 7], most=3)
    [(0, 1), (1, 2), (2, 5), (5, 7), (7, 9)]

    Args:
        counts: windows of each text, at least 1.
        most: runs of a text; a text of fewer windows has a run for each.
    """
    check_at_least(1, most, "most")
    ends = [0]
    for count in counts:
        runs = min(count, most)
        size, longer = divmod(count, runs)
        first = ends[-1]
        ends += [first + run * size + min(run, longer) for run in range(1, runs + 1)]
    return list(pairwise(ends))


def _words(text: str, spans: Sequence[Span]) -> list[int]:
    """Return the indices of tokens after a word end: white space before the token, or as its first character."""
    steps = enumerate(pairwise(spans), start=1)
    return [at for at, ((_, before), (start, _)) in steps if start > before or text[start : start + 1].isspace()]


def _latest(places: list[int], least: int, most: int) -> int | None:
    """Return the last of the places in [least, most]."""
    at = bisect_right(places, most) - 1
    return places[at] if at >= 0 and places[at] >= least else None


def _earliest(places: list[int], least: int, most: int) -> int | None:
    """Return the first of the places in [least, most]."""
    at = bisect_left(places, least)
    return places[at] if at < len(places) and places[at] <= most else None


def average_runs(vectors: Floats, weights: Whole, rows: Whole, *, unit: bool) -> Floats:
    """Return the weighted mean of each row's vectors. The vector of a row that has one is not changed.

    Args:
        vectors: `[N, D]`, of windows.
        weights: `[N]`, their tokens.
        rows: `[N]`, a number for the row that each is of, ascending.
        unit: whether a mean of several gets norm 1.
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(starts) == len(rows):
        return vectors
    totals = np.add.reduceat(vectors.astype(np.float64) * weights[:, None], starts)
    means: Floats = (totals / np.add.reduceat(weights, starts)[:, None]).astype(np.float32)
    if unit:
        several = (np.diff([*starts, len(rows)]) > 1) & means.any(1)
        means[several] = normalise(means[several])
    return means
