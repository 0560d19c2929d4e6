"""Long texts in windows: which characters each window has, by the model's own tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sentence_transformers import SentenceTransformer

from cenote.errors import BadInput, UnsupportedModel
from cenote.functional.windows import windows
from cenote.surgery.profiles import limit_of
from cenote.surgery.reading import count_tokens, pieces

# What two windows share, of their size: a sentence or two, so that none is cut in both.
SHARED = 0.125
# The fewest tokens of a window: of fewer, what surrounds a text outweighs it.
LEAST = 8


class Window(NamedTuple):
    """One window of a text: `text[start:end]`."""

    start: int
    end: int


def window_sizes(
    model: SentenceTransformer, prompt_name: str | None, size: int | None, overlap: int | None
) -> tuple[int, int]:
    """Tokens of a window, without those that the tokenizer and the prompt add, and what two windows share of them."""
    if not getattr(model.tokenizer, "is_fast", False):
        raise UnsupportedModel(
            f"windows are cut by the characters of tokens, which {type(model.tokenizer).__name__} does not tell: it is "
            "no fast tokenizer. Cut the texts beforehand, or truncate."
        )
    limit = limit_of(model)
    room = None if limit is None else limit - int(count_tokens(model, [""], prompt_name=prompt_name)[0])
    if size is None:
        if room is None:
            raise BadInput("the model states no limit of tokens: say how long a window is (window, --window).")
        size = room
    if size < LEAST or (room is not None and size > room):
        most = "" if room is None else f", and at most the {room} that the model has room for"
        raise BadInput(f"window={size}: pass at least {LEAST} tokens{most}.")
    overlap = int(size * SHARED) if overlap is None else overlap
    if not 0 <= 2 * overlap < size:
        raise BadInput(f"overlap={overlap}: pass at least 0 and fewer than half of the {size} tokens of a window.")
    return size, overlap


def windows_of(model: SentenceTransformer, text: str, size: int, overlap: int) -> list[Window]:
    """The windows of one text; they cover all of it but white space at its ends.

    >>> import cenote
    >>> text = "A pool that a collapse made. " * 20
    >>> found = windows_of(cenote.load("minilm"), text, size=100, overlap=10)
    >>> [(window.start, window.end) for window in found]
    [(0, 405), (377, 579)]
    """
    spans = _spans(model.tokenizer, text)
    if not spans:
        return [Window(0, len(text))]
    return [_window(text, spans, first, last) for first, last in windows(text, spans, size, overlap)]


def _window(text: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> Window:
    """The characters of some tokens, and those after them that are in no token, such as accents that are dropped."""
    start = spans[first][0] if first else 0
    until = spans[last][0] if last < len(spans) else len(text)
    return Window(start, max(start + len(text[start:until].rstrip()), *(end for _, end in spans[first:last])))


def _spans(tokenizer: Any, text: str) -> Sequence[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    start = 0
    for piece in pieces(text):
        found = tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        spans += [(start + first, start + last) for first, last in found]
        start += len(piece)
    return spans
