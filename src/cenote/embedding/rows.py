"""From a slice of texts to the rows of a part: tokens, windows, vectors, and the texts that cannot be read."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.data.rows import Row
from cenote.data.texts import Text
from cenote.embedding.corpus import LEAVE_OUT, Slice
from cenote.embedding.options import Options
from cenote.encoding.batches import NO_TOKENS
from cenote.encoding.tokens import Tokens, Whole, concatenate, count_tokens, tokenise, tokens_around
from cenote.encoding.vectors import Encoder
from cenote.encoding.windows import tokenise_windows
from cenote.errors import BadInput
from cenote.functional.quantisation import Floats
from cenote.functional.units import normalise
from cenote.functional.window_cuts import average_runs, even_runs
from cenote.listener import Advance, silent
from cenote.models.properties import limit_of, makes_unit_vectors
from cenote.nn import LandmarkTransformer

# Where none of this many texts of a part can be read, the model is at fault and not the texts.
_MANY = 100
# Texts whose lengths are checked together.
_TOGETHER = 256
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a part, column by column: each is a text, a window of one, or a segment: a run of windows."""

    owner: Whole  # [R], place of its text in the slice, ascending
    window: Whole  # [R], number of the window or the segment in its text
    start: Whole  # [R], its first character
    end: Whole  # [R], the character after its last
    n_tokens: Whole  # [R], of the characters from start to end, as a text of their own
    truncated: npt.NDArray[np.bool_]  # [R], whether the model does not read all of it
    vector: Floats  # [R, D], or [R, 0] before it is read

    @classmethod
    def of(cls, pieces: list[tuple[int, int, int, int]], tokens: Tokens) -> Rows:
        """Return rows without vectors, of (owner, window, start, end) and their tokens."""
        owner, window, start, end = np.array(pieces, np.int64).reshape(-1, 4).T
        unread = np.zeros((len(pieces), 0), np.float32)
        return cls(owner, window, start, end, tokens.full_lengths, tokens.truncated, unread)

    def __len__(self) -> int:
        return len(self.owner)

    def take(self, rows: Any) -> Rows:
        """Return some of the rows, by places or a mask."""
        return Rows(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


@dataclass(frozen=True, eq=False)
class Prepared:
    """A slice that is ready for the model."""

    slice: Slice
    rejected: list[dict[str, Any]]  # rows of the input without a vector, with reasons
    texts: Rows  # one for each text that can be read
    pieces: Rows  # what the model reads: the texts, or their windows
    tokens: Tokens  # of the pieces
    rows: Rows  # that are written: the texts, their segments, or their windows
    row: Whole  # [pieces], a number for the row that a piece is of, ascending


@dataclass(frozen=True, eq=False)
class Embedded:
    """A slice with its vectors."""

    slice: Slice
    rejected: list[dict[str, Any]]
    rows: Rows
    tokens: int  # of the texts that the rows are of
    truncated: int  # of these texts
    read: int  # tokens of these texts that the model was given: a window counts its overlap and its special tokens


class SliceEncoder:
    """Encodes slices of texts with one model and one set of options. `remedy` ends the error for a text."""

    def __init__(self, model: SentenceTransformer, options: Options, encoder: Encoder, remedy: str = LEAVE_OUT) -> None:
        self.model, self.options, self.encoder, self.remedy = model, options, encoder, remedy
        self._unit = options.dimensions is None and makes_unit_vectors(model)  # whether means get norm 1

    def prepare(self, part: Slice) -> Prepared:
        """Tokenise a slice, which needs no accelerator and can be done while one is busy."""
        tokens = tokenise(self.model, [text.text for text in part.texts], self.options.prompt_name, self.options.task)
        rejected = list(part.rejected)
        kept: list[int] = []
        refuse_cut = self.options.on_truncate == "error"
        for place, (length, cut) in enumerate(zip(tokens.lengths.tolist(), tokens.truncated.tolist(), strict=True)):
            if not length:
                self._reject(part, place, f"{NO_TOKENS}.", rejected)
            elif cut and refuse_cut:
                self._reject(part, place, _too_long(tokens, place), rejected)
            else:
                kept.append(place)
        tokens = tokens.take(kept)
        texts = Rows.of([(place, 0, 0, len(part.texts[place].text)) for place in kept], tokens)
        if self.options.long == "truncate" or not tokens.truncated.any():
            return Prepared(part, rejected, texts, texts, tokens, texts, texts.owner)
        pieces, tokens = self._split(part, texts, tokens)
        # A text is read whole where its windows are.
        texts = replace(texts, truncated=np.isin(texts.owner, pieces.owner[pieces.truncated]))
        one = self.options.long == "window-mean"
        rows, row = (texts, pieces.owner) if one else self._join(part, pieces)
        return Prepared(part, rejected, texts, pieces, tokens, rows, row)

    def _split(self, part: Slice, texts: Rows, tokens: Tokens) -> tuple[Rows, Tokens]:
        """Return the windows of the texts that would be cut, the other texts whole, and the tokens of all."""
        options = self.options
        pieces: list[tuple[int, int, int, int]] = []
        read, picked, end = [tokens], list[int](), len(tokens)  # the pieces are picked from all that was tokenised
        for row, place in enumerate(texts.owner.tolist()):
            text = part.texts[place].text
            if not texts.truncated[row]:
                pieces.append((place, 0, 0, len(text)))
                picked.append(row)
                continue
            windows, of_windows = tokenise_windows(
                self.model, text, options.window or 0, options.overlap or 0, options.prompt_name, options.task
            )
            pieces += [(place, number, *window) for number, window in enumerate(windows)]
            read.append(of_windows)
            picked += range(end, end + len(windows))
            end += len(windows)
        tokens = concatenate(*read).take(picked)
        return Rows.of(pieces, tokens), tokens

    def _join(self, part: Slice, windows: Rows) -> tuple[Rows, Whole]:
        """Return the segments that windows are joined to, or the windows, and the row of each window."""
        if self.options.vectors is None:
            return windows, np.arange(len(windows))
        _, counts = np.unique(windows.owner, return_counts=True)
        starts, ends = np.array(even_runs(counts.tolist(), self.options.vectors), np.int64).T
        owner, start, end = windows.owner[starts], windows.start[starts], windows.end[ends - 1]
        n_tokens, joined = windows.n_tokens[starts], np.flatnonzero(ends - starts > 1)
        texts = [part.texts[owner[row]].text[start[row] : end[row]] for row in joined]
        asked = {"prompt_name": self.options.prompt_name, "task": self.options.task}
        n_tokens[joined] = count_tokens(self.model, texts, **asked)
        segments = replace(
            windows.take(starts),
            window=np.arange(len(owner)) - np.searchsorted(owner, owner),
            end=end,
            n_tokens=n_tokens,
            truncated=np.logical_or.reduceat(windows.truncated, starts),
        )
        return segments, np.repeat(np.arange(len(owner)), ends - starts)

    def read(self, prepared: Prepared, advance: Advance = silent) -> Embedded:
        """Return the rows with their vectors. `advance` is called with how many of the pieces have been read."""
        vectors, refused = self.encoder(prepared.tokens, advance, stop_at_refusal=not self.options.skips)
        rejected = list(prepared.rejected)
        owners = prepared.pieces.owner
        lost = {int(owners[piece]): refused[piece] for piece in sorted(refused, reverse=True)}
        self._reject_all(prepared, lost, rejected)
        kept, lengths = ~np.isin(owners, list(lost)), prepared.tokens.lengths
        vectors = vectors[kept, : self.options.dimensions]
        rows = prepared.rows.take(~np.isin(prepared.rows.owner, list(lost)))
        rows = replace(rows, vector=average_runs(vectors, lengths[kept], prepared.row[kept], unit=self._unit))
        lost = {int(rows.owner[row]): reason for row, reason in reversed(self._unwritable(rows.vector))}
        self._reject_all(prepared, lost, rejected)
        rows = rows.take(~np.isin(rows.owner, list(lost)))
        if self.options.normalize:
            rows = replace(rows, vector=normalise(rows.vector))
        texts = prepared.texts.take(np.isin(prepared.texts.owner, rows.owner))
        return Embedded(
            slice=prepared.slice,
            rejected=rejected,
            rows=rows,
            tokens=int(texts.n_tokens.sum()),
            truncated=int(texts.truncated.sum()),
            read=int(lengths[np.isin(owners, rows.owner)].sum()),
        )

    def _reject(self, part: Slice, place: int, reason: str, rejected: list[dict[str, Any]]) -> None:
        """Raise for a text that cannot be read, or list it."""
        row, name = part.places[place], part.texts[place].id
        if not self.options.skips:
            raise BadInput(f"row {row}, id {name!r}: {reason} {self.remedy}".rstrip())
        rejected.append({"row": row, "id": name, "why": reason})

    def _reject_all(self, prepared: Prepared, reasons: dict[int, str], rejected: list[dict[str, Any]]) -> None:
        """Reject texts by their places in the slice; refuse to go on where no text can be read."""
        for place in sorted(reasons):
            self._reject(prepared.slice, place, f"{reasons[place]}.", rejected)
        if len(reasons) == len(prepared.texts) >= _MANY:
            first = reasons[min(reasons)]
            raise BadInput(f"none of {len(reasons):,} texts in a row could be read; the first: {first}.")

    def _unwritable(self, vectors: Floats) -> list[tuple[int, str]]:
        """Return the vectors that cannot be written in the form that was asked for, with reasons."""
        if self.options.normalize:
            zero = np.flatnonzero(~vectors.any(1)).tolist()
            return [(row, "its vector is zero, which cannot be normalised") for row in zero]
        if self.options.dtype == "float16":
            large = np.flatnonzero((np.abs(vectors) > _LARGEST_FLOAT16).any(1)).tolist()
            return [(row, "its vector has numbers too large for float16") for row in large]
        return []


def refuse_truncated(model: SentenceTransformer, options: Options, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows; raise for the first text that the model would cut.

    Only texts that are long enough to be cut are tokenised for it.
    """
    waiting: list[tuple[int, Text]] = []

    def check() -> None:
        tokens = tokenise(model, [text.text for _, text in waiting], options.prompt_name, options.task)
        for place in np.flatnonzero(tokens.truncated).tolist():
            row, text = waiting[place]
            raise BadInput(f"row {row}, id {text.id!r}: {_too_long(tokens, place)} {LEAVE_OUT}")
        waiting.clear()

    limit = limit_of(model, options.task)
    around = tokens_around(model, options.prompt_name, options.task)
    room = math.inf if limit is None else limit - around
    landmarks = 2 if isinstance(model[0], LandmarkTransformer) else 1  # at most one landmark after each token
    for row, one in enumerate(rows):
        if isinstance(one, Text) and _most_tokens(one.text) * landmarks > room:
            waiting.append((row, one))
            if len(waiting) == _TOGETHER:
                check()
        yield one
    if waiting:
        check()


def _most_tokens(text: str) -> int:
    """Return a bound on the tokens of a text: the bytes of its written or its decomposed form.

    A full-width letter has three bytes, and its decomposition one. SentencePiece adds a token at the beginning.
    """
    return 1 + max(len(form.encode()) for form in (text, unicodedata.normalize("NFKD", text)))


def _too_long(tokens: Tokens, place: int) -> str:
    return (
        f"it has {tokens.full_lengths[place]:,} tokens, and the model reads {tokens.lengths[place]:,}. Read all of it "
        "with long='windows', 'segments' or 'window-mean' (--long)."
    )
