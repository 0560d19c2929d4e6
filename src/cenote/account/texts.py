"""The texts of an account, tokenised once for a model: documents, their sentences, documents without one, windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote._nn.modules import has_offsets
from cenote.account.pooled_texts import OWN, Pooled, Vectors
from cenote.account.probes import POSITIONS, Probes
from cenote.choices import SHORTEST_WINDOW
from cenote.encoding.tokens import Tokens, Whole, concatenate, tokenise, tokens_around
from cenote.encoding.windows import token_spans, tokenise_windows
from cenote.models.properties import (
    limit_of,
    limits_kept,
    positions_of,
    prompt_name_for,
    prompt_of,
    set_limit,
    tokenizer_of,
)

Flags = npt.NDArray[np.bool_]

# Tokens of the smaller windows: a paragraph or two.
SMALL_WINDOW = 128
# Windows of one text that are read, at most: one text of a hundred megabytes must not take the night.
_MOST_WINDOWS = 256
# More characters than a token has, on average over some hundred tokens.
_CHARACTERS = 20


@dataclass(frozen=True, eq=False)
class Pieces:
    """Replacements for those texts that are read in another way; the others are read unchanged."""

    tokens: Tokens
    owners: Whole  # the text of each piece, ascending

    def merge(self, whole: Pooled, lengths: Whole, pieces: Pooled) -> tuple[Vectors, Whole, npt.NDArray[Any]]:
        """Return pieces and whole texts together, by text: unit vectors, the text of each, and its weight in a mean.

        A weight is the tokens of a piece times the norm of its vector, so that the mean is that of the model's vectors.
        """
        kept = np.flatnonzero(~np.isin(np.arange(len(lengths)), self.owners))
        owners = np.concatenate([kept, self.owners])
        order = np.argsort(owners, kind="stable")
        vectors = np.concatenate([whole.vectors[OWN][kept], pieces.vectors[OWN]])[order]
        weights = np.concatenate([(lengths * whole.norms)[kept], self.tokens.lengths * pieces.norms])[order]
        return vectors, owners[order], weights


@dataclass(frozen=True, eq=False)
class Alternative:
    """Another way to read documents that are longer than a window, or than the model reads."""

    name: str
    documents: Pieces
    remainders: Pieces
    read: Flags  # [Q] whether the model reads the sentence this way
    windows: bool  # whether a document has several pieces

    @property
    def step(self) -> str:
        """The name of its step in the progress."""
        return f"reading {self.name}" if self.windows else self.name


@dataclass(frozen=True, eq=False)
class AccountTexts:
    """Documents and sentences as a model reads them in a search: each side with its own prompt."""

    probes: Probes
    prompts: tuple[str | None, str | None]  # names of the prompts before sentences and before documents
    similarity: str  # the model's own measure
    documents: Tokens
    sentences: Tokens
    left_out: Whole  # [N] the sentence that is left out of each document
    remainders: Tokens  # the documents without it
    read: Flags  # [Q] whether the model reads the sentence in its document
    alternatives: tuple[Alternative, ...]

    @property
    def tokens(self) -> int:
        """All tokens that are read: those of texts with the same tokens once."""
        pieces = (side.tokens for one in self.alternatives for side in (one.documents, one.remainders))
        return _count_once(self.sentences) + _count_once(self.documents, self.remainders, *pieces)

    @property
    def tokens_without_alternatives(self) -> int:
        """All tokens that are read where no alternatives are."""
        return _count_once(self.sentences) + _count_once(self.documents, self.remainders)


def _count_once(*parts: Tokens) -> int:
    """Return the tokens of all texts, those of texts with the same tokens once."""
    lengths = (zip(part.as_bytes(), part.lengths.tolist(), strict=True) for part in parts)
    return sum(dict(chain.from_iterable(lengths)).values())


def tokenise_account(
    model: SentenceTransformer, probes: Probes, prompt_name: str | None = None, *, alternatives: bool = True
) -> AccountTexts:
    """Tokenise all texts of an account, once for every temperature.

    Of each document one sentence is left out: the first, the middle or the last one, in turn.

    Args:
        model: any `SentenceTransformer`.
        probes: documents and sentences.
        prompt_name: of the prompt before documents; None takes the model's prompt for documents, if it has one.
        alternatives: whether to tokenise windows, and the documents as far as the model has positions.
    """
    asking, prompt = prompt_name_for(model, None, "query"), prompt_name_for(model, prompt_name, "document")
    count = len(probes.texts)
    left_out = np.arange(count) * len(POSITIONS) + np.arange(count) % len(POSITIONS)
    texts = [text.text for text in probes.texts], probes.remainders(left_out.tolist())
    documents, remainders = (tokenise(model, some, prompt, "document") for some in texts)
    sides = (texts[0], documents), (texts[1], remainders)
    return AccountTexts(
        probes=probes,
        prompts=(name_of_prompt(model, asking), name_of_prompt(model, prompt)),
        similarity=str(model.similarity_fn_name),
        documents=documents,
        sentences=tokenise(model, probes.sentences, asking, "query"),
        left_out=left_out,
        remainders=remainders,
        read=_read_flags(model, probes, documents, prompt),
        alternatives=(*_windows(model, probes, sides, prompt), *_longer(model, probes, sides, prompt))
        if alternatives
        else (),
    )


def tokenise_small_windows(model: SentenceTransformer, texts: AccountTexts) -> Alternative | None:
    """Tokenise the smallest windows of an account without alternatives, with the model's own prompt for documents.

    None where no document is longer than one.
    """
    probes = texts.probes
    whole, without = [text.text for text in probes.texts], probes.remainders(texts.left_out.tolist())
    sides = (whole, texts.documents), (without, texts.remainders)
    return next(_windows(model, probes, sides, prompt_name_for(model, None, "document")), None)


def count_in_small_windows(model: SentenceTransformer, texts: AccountTexts) -> int:
    """Return about how many tokens the smallest windows have, without making them."""
    prompt = prompt_name_for(model, None, "document")
    for size in _window_sizes(model, prompt)[:1]:
        lengths = np.concatenate([texts.documents.full_lengths, texts.remainders.full_lengths])
        room = size - tokens_around(model, prompt, "document")
        windows = np.ceil(lengths[lengths > size] / (room - _overlap(room)))
        return int(np.minimum(windows, _MOST_WINDOWS).sum()) * size
    return 0


Sides = tuple[tuple[Sequence[str], Tokens], tuple[Sequence[str], Tokens]]  # documents and remainders


def _window_sizes(model: SentenceTransformer, prompt: str | None) -> list[int]:
    """Return the tokens of small windows and of those as long as the model reads; none where it cannot have any."""
    if not has_offsets(tokenizer_of(model, "document")):
        return []
    limit, around = limit_of(model, "document") or SMALL_WINDOW, tokens_around(model, prompt, "document")
    return [size for size in sorted({min(SMALL_WINDOW, limit), limit}) if size - around >= SHORTEST_WINDOW]


def _overlap(room: int) -> int:
    """Return how many tokens a window of so many shares with the one before."""
    return room // 8


def _windows(model: SentenceTransformer, probes: Probes, sides: Sides, prompt: str | None) -> Iterator[Alternative]:
    """Yield small windows, and windows as long as the model reads, where any document is longer than one."""
    for size in _window_sizes(model, prompt):
        documents, remainders = (split_texts(model, *side, size, prompt) for side in sides)
        if len(documents.owners):
            yield Alternative(
                f"windows of {size} tokens", documents, remainders, np.ones(len(probes), bool), windows=True
            )


def split_texts(
    model: SentenceTransformer, texts: Sequence[str], tokens: Tokens, size: int, prompt: str | None
) -> Pieces:
    """Return the windows of those texts that are longer than one, as `embed --long windows` makes them.

    `size` is in tokens as the model reads them, special ones included: the limit of a model that reads so many.
    """
    room = size - tokens_around(model, prompt, "document")
    parts: list[Tokens] = [tokens.take([])]
    owners: list[int] = []
    for row in np.flatnonzero(tokens.full_lengths > size).tolist():
        beginning = texts[row][: _MOST_WINDOWS * room * _CHARACTERS]
        _, found = tokenise_windows(model, beginning, room, _overlap(room), prompt, "document")
        found = found.take(range(min(len(found), _MOST_WINDOWS)))
        parts.append(found)
        owners += [row] * len(found)
    return Pieces(concatenate(*parts), np.array(owners, np.int64))


def name_of_prompt(model: SentenceTransformer, name: str | None) -> str | None:
    """Return the name of a prompt that has words: sentence-transformers gives every model two empty ones."""
    name = name or model.default_prompt_name
    return name if prompt_of(model, name) else None


def _longer(model: SentenceTransformer, probes: Probes, sides: Sides, prompt: str | None) -> Iterator[Alternative]:
    """Yield the documents read as far as the model has positions, where it cuts any before."""
    limit, most = limit_of(model, "document"), positions_of(model)
    if not limit or not most or most <= limit or not sides[0][1].truncated.any():
        return
    pieces = []
    with limits_kept(model):
        set_limit(model, most, documents=True)
        for texts, tokens in sides:
            cut = np.flatnonzero(tokens.truncated)
            pieces.append(Pieces(tokenise(model, [texts[row] for row in cut.tolist()], prompt, "document"), cut))
        read = _read_flags(model, probes, tokenise(model, sides[0][0], prompt, "document"), prompt)
    yield Alternative(f"reading {most} tokens", pieces[0], pieces[1], read, windows=False)


def _read_flags(model: SentenceTransformer, probes: Probes, documents: Tokens, prompt: str | None) -> Flags:
    """Return whether the model reads each sentence: whether the middle of it is before the cut."""
    middles = np.array([(start + end) / 2 for start, end in probes.spans])
    tokenizer = tokenizer_of(model, "document")
    keeps_end = getattr(tokenizer, "truncation_side", "right") == "left"
    if not has_offsets(tokenizer):  # tokens have no places in the text: as if all were as long
        whole = np.array([len(text.text) for text in probes.texts])
        around = tokens_around(model, prompt, "document")
        kept = whole * np.maximum(documents.lengths - around, 0) / np.maximum(documents.full_lengths - around, 1)
        return middles >= (whole - kept)[probes.owners] if keeps_end else middles <= kept[probes.owners]
    read = np.ones(len(probes), bool)
    special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    def content(tokens: Tokens, row: int) -> int:
        ids = tokens.columns["input_ids"][tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
        return sum(one not in special for one in ids)

    of_prompt = content(tokenise(model, [""], prompt, "document"), 0)
    for row in np.flatnonzero(documents.truncated).tolist():
        count, text = content(documents, row) - of_prompt, probes.texts[row].text
        own, near = probes.owners == row, _CHARACTERS * max(count, 1)
        while True:  # only the characters that are read: a text may have millions
            behind = max(0, len(text) - near) if keeps_end else 0
            spans = token_spans(tokenizer, text[behind : behind + near])
            if len(spans) >= count or near >= len(text):
                break
            near *= 2
        count = min(count, len(spans))
        if count < 1:  # the prompt fills the limit
            read[own] = False
        elif keeps_end:
            read[own] = middles[own] >= behind + spans[-count][0]
        else:
            read[own] = middles[own] <= spans[count - 1][1]
    return read
