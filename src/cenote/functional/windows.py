"""Where a long text is cut into overlapping windows: at the ends of sentences, or at least of words."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from cenote.errors import BadInput
from cenote.functional.bins import at_least
from cenote.functional.landmarks import sentence

Span = tuple[int, int]


def windows(text: str, spans: Sequence[Span], size: int, overlap: int) -> list[Span]:
    """Windows of at most `size` tokens that cover a text, as ranges of tokens: each from its first to before its last.

    A window ends where a sentence does, if one does in its last quarter; else where a word does, if one does in its
    second half; else where it is full. The next one begins `overlap` tokens before that, or where the first sentence,
    else the first word, begins within these. The last window ends with the text.

    >>> text = "One two. Three four five. Six."
    >>> spans = [(0, 3), (4, 7), (7, 8), (9, 14), (15, 19), (20, 24), (24, 25), (26, 29), (29, 30)]
    >>> [text[spans[first][0] : spans[last - 1][1]] for first, last in windows(text, spans, size=8, overlap=3)]
    ['One two. Three four five.', 'four five. Six.']

    Args:
        text: what the tokens are of.
        spans: the characters of each token, from the first to before the last.
        size: the most tokens of a window, at least 1.
        overlap: tokens that a window shares with the next one, fewer than half of `size`.
    """
    at_least(1, size, "size")
    if not 2 * at_least(0, overlap, "overlap") < size:
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


def _words(text: str, spans: Sequence[Span]) -> list[int]:
    """Places of tokens before which a word ends: white space lies between, or begins the token itself."""
    places = []
    for place in range(1, len(spans)):
        start, before = spans[place][0], spans[place - 1][1]
        if start > before or text[start : start + 1].isspace():
            places.append(place)
    return places


def _latest(places: list[int], least: int, most: int) -> int | None:
    """The last of the places in [least, most]."""
    at = bisect_right(places, most) - 1
    return places[at] if at >= 0 and places[at] >= least else None


def _earliest(places: list[int], least: int, most: int) -> int | None:
    """The first of the places in [least, most]."""
    at = bisect_left(places, least)
    return places[at] if at < len(places) and places[at] <= most else None
