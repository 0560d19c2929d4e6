"""From texts to the rows of a part: tokens, windows, vectors, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from cenote.encoding import Encoder, Progress
from cenote.errors import BadInput, choose
from cenote.functional.forms import Floats, normalised
from cenote.sources import LEAVE_OUT, Stretch
from cenote.tokenising import Tokenised, joined, taken, tokenise
from cenote.windowing import LEAST, Window, windows_of

# What becomes of a text that is longer than the model reads.
LONG = {
    "truncate": "it is cut where the model stops reading, and flagged",
    "window-mean": "the mean of overlapping windows, weighted by their tokens",
    "windows": "one row for each of its windows",
}
# Texts of one part after which, if none could be read, the model is at fault and not the texts.
_FEW = 100
# How a number of a vector is written.
DTYPES: dict[str, Any] = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}
_LARGEST_HALF = float(np.finfo(np.float16).max)


class Choices(TypedDict, total=False):
    """`Options`, as keywords."""

    prompt_name: str | None
    task: str | None
    dtype: str
    dimensions: int | None
    normalize: bool
    long: str
    window: int | None
    overlap: int | None
    on_truncate: str
    on_error: str


@dataclass(frozen=True)
class Options:
    """How texts are read and what is written of them.

    Args:
        prompt_name: of the prompt before every text, from `model.prompts`; None: the one that the model always takes,
            or that it has for the task.
        task: `query` or `document`, for models that treat them differently.
        dtype: `float32`, `float16` or `int8`, whose scales stand beside them, one for each vector.
        dimensions: how many are kept, the first ones, for models that were trained for it.
        normalize: whether vectors are divided by their norms, after that.
        long: a name from `LONG`.
        window: tokens of a window, without special ones; None: as many as the model has room for.
        overlap: tokens that a window shares with the next; None: an eighth.
        on_truncate: `warn`, or `error` where a text is longer than the model reads.
        on_error: `raise`, or `skip`: rows that cannot be read are left out and listed in `rejects.jsonl`.
    """

    prompt_name: str | None = None
    task: str | None = None
    dtype: str = "float32"
    dimensions: int | None = None
    normalize: bool = False
    long: str = "truncate"
    window: int | None = None  # tokens, known where texts are read in windows
    overlap: int | None = None
    on_truncate: str = "warn"
    on_error: str = "raise"

    def __post_init__(self) -> None:
        choose(self.long, LONG, "way with long texts")
        if self.task is not None:
            choose(self.task, dict.fromkeys(("query", "document")), "task")
        choose(self.dtype, DTYPES, "dtype")
        choose(self.on_truncate, dict.fromkeys(("warn", "error")), "on_truncate")
        choose(self.on_error, dict.fromkeys(("raise", "skip")), "on_error")
        for name in ("dimensions", "window", "overlap"):
            if not isinstance(value := getattr(self, name), (int, NoneType)) or isinstance(value, bool):
                raise BadInput(f"{name}={value!r}: pass a whole number.")
        if self.long == "truncate" and (self.window, self.overlap) != (None, None):
            raise BadInput("window and overlap are for long='windows' and 'window-mean' (--long); texts are cut here.")
        if self.long != "truncate" and self.on_truncate == "error":
            raise BadInput(f"on_truncate='error' is for long='truncate': with {self.long!r} nothing is cut.")


@dataclass(eq=False)
class Prepared:
    """Texts that are ready to be read. `texts` are the places of those that are, in their stretch."""

    stretch: Stretch
    rejected: list[dict[str, Any]]
    texts: list[int]
    pieces: Tokenised  # what is read: the texts, or their windows
    owners: npt.NDArray[np.int64]  # of each piece, its place in `texts`, ascending
    spans: list[Window]  # of each piece, its characters
    whole: npt.NDArray[np.int64]  # tokens of each of `texts`
    truncated: npt.NDArray[np.bool_]  # whether the model does not see all of it


@dataclass(eq=False)
class Read:
    """What was made of a stretch of texts."""

    prepared: Prepared
    vectors: Floats
    rows: list[int]  # what each vector is of: a place in `prepared.texts`, or among its pieces where each is a row


class Vectoriser:
    """Reads stretches of texts by one model, in one way."""

    def __init__(self, model: SentenceTransformer, options: Options, encoder: Encoder) -> None:
        self.model, self.options, self.encoder = model, options, encoder

    def prepare(self, stretch: Stretch) -> Prepared:
        """Everything that needs no accelerator, so that it can be done while one is at work."""
        words = [text.text for text in stretch.texts]
        tokens = tokenise(self.model, words, self.options.prompt_name, self.options.task)
        rejected = list(stretch.rejected)
        keep: list[int] = []
        for place, (length, cut) in enumerate(zip(tokens.lengths.tolist(), tokens.truncated.tolist(), strict=True)):
            why = "the model's tokenizer makes nothing of it." if not length else ""
            if cut and self.options.on_truncate == "error":
                why = f"it has {tokens.whole[place]:,} tokens, and the model reads {length:,}."
            if why:
                self._reject(stretch, place, why, rejected)
            else:
                keep.append(place)
        whole, truncated = tokens.whole[keep], tokens.truncated[keep]
        if self.options.long == "truncate" or not truncated.any():
            owners, spans = np.arange(len(keep)), [Window(0, len(words[place])) for place in keep]
            pieces = taken(tokens, keep)
        else:
            pieces, owners, spans = self._in_windows(tokens, keep, words)
            truncated = np.bincount(owners, pieces.truncated, len(keep)).astype(bool)
        return Prepared(stretch, rejected, keep, pieces, owners, spans, whole, truncated)

    def refuse_cut(self, stretches: Iterable[Stretch], progress: Progress = lambda _: None) -> None:
        """Raise if the model would cut one of the texts, where that is an error: before the work, and not within."""
        for stretch in stretches:
            self.prepare(stretch)
            progress(stretch.first + stretch.rows)

    def _in_windows(
        self, tokens: Tokenised, keep: list[int], words: list[str]
    ) -> tuple[Tokenised, npt.NDArray[np.int64], list[Window]]:
        """The texts that fit, and the windows of those that do not, in the order of their texts."""
        size, overlap = self.options.window, self.options.overlap
        if size is None or overlap is None:
            raise AssertionError("windows without a size")
        spans: list[Window] = []
        owners: list[int] = []
        rows: list[int] = []
        every, read = [tokens], len(tokens)
        for owner, place in enumerate(keep):
            if not tokens.truncated[place]:
                found = [Window(0, len(words[place]))]
                rows.append(place)
            else:
                found, more = self._windows(words[place], size, overlap)
                every.append(more)
                rows += range(read, read + len(more))
                read += len(more)
            spans += found
            owners += [owner] * len(found)
        return taken(joined(*every), rows), np.array(owners), spans

    def _windows(self, text: str, size: int, overlap: int) -> tuple[list[Window], Tokenised]:
        """The windows of a text, and their tokens; smaller windows where landmarks take room among these."""
        while True:
            found = windows_of(self.model, text, size, overlap)
            cut = [text[window.start : window.end] for window in found]
            tokens = tokenise(self.model, cut, self.options.prompt_name, self.options.task)
            if not tokens.truncated.any() or size <= LEAST:
                return found, tokens
            size = max(LEAST, size - size // 8)
            overlap = min(overlap, (size - 1) // 2)

    def _reject(self, stretch: Stretch, place: int, why: str, rejected: list[dict[str, Any]]) -> None:
        row, name = stretch.places[place], stretch.texts[place].id
        if self.options.on_error == "raise":
            raise BadInput(f"row {row}, id {name!r}: {why} {LEAVE_OUT}")
        rejected.append({"row": row, "id": name, "why": why})

    def read(self, prepared: Prepared, progress: Progress = lambda _: None) -> Read:
        """The vectors, in the order of the texts."""
        vectors, bad = self.encoder(prepared.pieces, progress, to_end=self.options.on_error == "skip")
        vectors, owners = vectors[:, : self.options.dimensions], prepared.owners
        lost = {int(owners[piece]): bad[piece] for piece in sorted(bad, reverse=True)}
        self._leave_out(prepared, lost)
        pieces = [piece for piece, owner in enumerate(owners.tolist()) if owner not in lost]
        rows, vectors, owners = pieces, vectors[pieces], owners[pieces]
        if self.options.long == "window-mean":
            vectors = self._mean(vectors, owners, prepared.pieces.lengths[pieces])
            owners = np.unique(owners)
        if self.options.long != "windows":
            rows = owners.tolist()
        lost = {int(owners[place]): why for place, why in reversed(self._unwritable(vectors))}
        self._leave_out(prepared, lost)
        kept = [place for place, owner in enumerate(owners.tolist()) if owner not in lost]
        finished = normalised(vectors[kept]) if self.options.normalize else vectors[kept]
        return Read(prepared, finished, [rows[place] for place in kept])

    def _leave_out(self, prepared: Prepared, lost: dict[int, str]) -> None:
        """Reject texts, by their places among those that were read."""
        for owner in sorted(lost):
            self._reject(prepared.stretch, prepared.texts[owner], lost[owner], prepared.rejected)
        if len(lost) == len(prepared.texts) >= _FEW:
            raise BadInput(f"none of {len(lost):,} texts could be read, one after another; of the first: {lost[0]}")

    def _mean(self, vectors: Floats, owners: npt.NDArray[np.int64], weights: npt.NDArray[np.int64]) -> Floats:
        """The windows' mean of each text, of length 1 if that is what the model's vectors have; one alone as it is."""
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        if len(starts) == len(owners):
            return vectors
        totals = np.add.reduceat(vectors.astype(np.float64) * weights[:, None], starts)
        means: Floats = (totals / np.add.reduceat(weights, starts)[:, None]).astype(np.float32)
        several = np.diff([*starts, len(owners)]) > 1
        whole = self.model.truncate_dim is None and self.options.dimensions is None
        if whole and isinstance(self.model[-1], Normalize):
            several &= means.any(1)
            means[several] = normalised(means[several])
        return means

    def _unwritable(self, vectors: Floats) -> list[tuple[int, str]]:
        """Places of vectors that cannot be written in the form that was asked for, and why."""
        found: list[tuple[int, str]] = []
        if self.options.normalize:
            zero = np.flatnonzero(~vectors.any(1)).tolist()
            found += [(place, "its vector is zero, which cannot be normalised.") for place in zero]
        elif self.options.dtype == "float16":
            large = np.flatnonzero((np.abs(vectors) > _LARGEST_HALF).any(1)).tolist()
            found += [(place, "its vector has numbers too large for float16.") for place in large]
        return found
