"""Long texts in windows: which characters each window holds, by the model's own tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sentence_transformers import SentenceTransformer

from cenote._nn.modules import has_offsets
from cenote.choices import SHORTEST_WINDOW
from cenote.encoding.tokens import Tokens, pieces, tokenise, tokens_around
from cenote.errors import BadInput, UnsupportedModel
from cenote.functional.window_cuts import cut_windows
from cenote.models.properties import limit_of, tokenizer_of

# Share of a window that it has in common with the next: a sentence or two, so that no sentence is cut in both.
_OVERLAP = 0.125


class Window(NamedTuple):
    """One window of a text: `text[start:end]`."""

    start: int
    end: int


def window_sizes(
    model: SentenceTransformer,
    prompt_name: str | None,
    size: int | None,
    overlap: int | None,
    task: str | None = None,
) -> tuple[int, int]:
    """Return the tokens of a window, special tokens and prompt excluded, and those that it shares with the next.

    Args:
        model: the model that reads the windows.
        prompt_name: of the prompt before every window.
        size: the tokens asked for; None takes all that the model has room for.
        overlap: the shared tokens asked for; None takes an eighth of the size.
        task: `query` or `document`, for models that treat them differently.
    """
    tokenizer = tokenizer_of(model, task)
    if not has_offsets(tokenizer):
        raise UnsupportedModel(
            f"windows need the characters of each token, which {type(tokenizer).__name__} does not give: it is "
            "not a fast tokenizer. Split the texts beforehand, or truncate them."
        )
    limit = limit_of(model, task)
    room = None if limit is None else limit - tokens_around(model, prompt_name, task)
    if size is None:
        if room is None:
            raise BadInput("the model states no token limit: pass the tokens of a window (window, --window).")
        size = room
    if size < SHORTEST_WINDOW or (room is not None and size > room):
        most = "" if room is None else f", and at most the {room} that the model has room for"
        raise BadInput(f"window={size}: pass at least {SHORTEST_WINDOW} tokens{most}.")
    overlap = int(size * _OVERLAP) if overlap is None else overlap
    if not 0 <= 2 * overlap < size:
        raise BadInput(f"overlap={overlap}: pass at least 0 and fewer than half of the {size} tokens of a window.")
    return size, overlap


def windows_of(model: SentenceTransformer, text: str, size: int, overlap: int, task: str | None = None) -> list[Window]:
    """Return the windows of one text. They cover all of it but white space at its ends.

    >>> import cenote
    >>> text = "A pool that a collapse made. " * 20
    >>> found = windows_of(cenote.load("minilm"), text, size=100, overlap=10)
    >>> [(window.start, window.end) for window in found]
    [(0, 405), (377, 579)]
    """
    spans = token_spans(tokenizer_of(model, task), text)
    if not spans:
        return [Window(0, len(text))]
    return [_window(text, spans, first, last) for first, last in cut_windows(text, spans, size, overlap)]


def tokenise_windows(
    model: SentenceTransformer, text: str, size: int, overlap: int, prompt_name: str | None, task: str | None
) -> tuple[list[Window], Tokens]:
    """Return the windows of a text and their tokens, as those of texts of their own: `text[start:end]`.

    Windows become smaller until the model cuts none: landmarks, for one, take room among the tokens.
    """
    while True:
        found = windows_of(model, text, size, overlap, task)
        tokens = tokenise(model, [text[window.start : window.end] for window in found], prompt_name, task)
        if not tokens.truncated.any() or size <= SHORTEST_WINDOW:
            return found, tokens
        size = max(SHORTEST_WINDOW, size - size // 8)
        overlap = min(overlap, (size - 1) // 2)


def _window(text: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> Window:
    """Return the characters of some tokens and those behind them that are in no token, such as dropped accents."""
    start = spans[first][0] if first else 0
    until = spans[last][0] if last < len(spans) else len(text)
    return Window(start, max(start + len(text[start:until].rstrip()), *(end for _, end in spans[first:last])))


def token_spans(tokenizer: Any, text: str) -> Sequence[tuple[int, int]]:
    """Return the characters of every token of a text."""
    spans: list[tuple[int, int]] = []
    start = 0
    for piece in pieces(text):
        found = tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        spans += [(start + first, start + last) for first, last in found]
        start += len(piece)
    return spans
