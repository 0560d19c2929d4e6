"""Texts to tokens, once and without padding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.encoding.forward import refuse_without_tokens
from cenote.errors import UnsupportedModel
from cenote.listener import Advance, silent
from cenote.models.properties import limit_of, of_task, prompt_of, tokenizer_of

Whole = npt.NDArray[np.int64]

# Texts that are tokenised together: enough to keep all threads of a tokenizer busy, few enough to pad little.
_TOGETHER = 256
# Texts whose tokens are counted together.
_COUNTED_TOGETHER = 16
# Tensors of the flattened layout that have one entry per batch, not per token.
_PER_BATCH = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
# A text that was cut may have fewer tokens than the limit: one fewer with landmarks, since none ends a cut text.
_NEAR_LIMIT = 2
# Of a very long text only the beginning is tokenised: as many tokens as the model reads, and this many more, since what
# follows a token may change how it is split. WordPiece, for one, gives up on words of more than 100 characters.
_MARGIN = 256
# Characters after which a text is tokenised in pieces: a tokenizer may take more than linear time for one of millions.
_PIECE = 100_000


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as a model reads them, one after another, without padding."""

    columns: dict[str, npt.NDArray[Any]]  # the model's inputs that have an entry per token: [tokens of all texts]
    offsets: Whole  # [N + 1], where each text begins and the last one ends
    full_lengths: Whole  # [N], tokens of each text if none were cut
    constants: dict[str, Any]  # the model's other inputs, the same for every batch

    def __len__(self) -> int:
        return len(self.full_lengths)

    @property
    def lengths(self) -> Whole:
        """Tokens of each text as the model reads it, special ones included: [N]."""
        return np.diff(self.offsets)

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether the model cuts a text: [N]."""
        return self.full_lengths > self.lengths

    def as_bytes(self) -> list[bytes]:
        """Return all that the model is given of each text, as bytes: where these are equal, vectors are too."""
        columns, shared = [self.columns[name] for name in sorted(self.columns)], repr(self.constants).encode()
        spans = [slice(start, end) for start, end in zip(self.offsets, self.offsets[1:], strict=False)]
        return [shared + b"".join(column[span].tobytes() for column in columns) for span in spans]

    def take(self, rows: Sequence[int]) -> Tokens:
        """Return some of the texts, in the given order."""
        lengths, starts = self.lengths[list(rows)], self.offsets[list(rows)]
        offsets = _offsets(lengths)
        where = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        columns = {name: column[where] for name, column in self.columns.items()}
        return Tokens(columns, offsets, self.full_lengths[list(rows)], self.constants)


def concatenate(*parts: Tokens) -> Tokens:
    """Return the texts of all parts, one after another."""
    parts = tuple(part for part in parts if len(part)) or parts[:1]
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    lengths = np.concatenate([part.lengths for part in parts])
    full = np.concatenate([part.full_lengths for part in parts])
    return Tokens(columns, _offsets(lengths), full, parts[0].constants)


def tokenise(
    model: SentenceTransformer,
    texts: Sequence[str],
    prompt_name: str | None = None,
    task: str | None = None,
    *,
    advance: Advance = silent,
) -> Tokens:
    """Tokenise texts by the model's own `preprocess`: with its prompt, its special tokens and its limit.

    >>> import cenote
    >>> found = tokenise(cenote.load("minilm"), ["a pool", "", "the deep cave " * 200])
    >>> found.lengths.tolist(), found.full_lengths.tolist(), found.truncated.tolist()
    ([4, 2, 256], [4, 2, 602], [False, False, True])
    >>> sorted(found.columns)
    ['attention_mask', 'input_ids', 'token_type_ids']

    Args:
        model: any `SentenceTransformer` that reads tokens.
        texts: there may be none.
        prompt_name: of the prompt before every text; None takes the model's default prompt.
        task: `query` or `document`, for models that treat them differently.
        advance: called with the number of texts that have been tokenised since the last call.
    """
    prompt = prompt_of(model, prompt_name)
    if not texts:
        return Tokens({}, np.zeros(1, np.int64), np.zeros(0, np.int64), {})
    limit = limit_of(model, task)
    order: list[int] = []
    parts: list[Tokens] = []
    for rows in _by_characters(texts, _TOGETHER):
        beginnings = [_beginning(model, texts[row], limit, task) for row in rows]
        columns, lengths, constants = _unpad(model, model.preprocess(beginnings, prompt=prompt, **of_task(task)))
        order += rows
        advance(len(rows))
        parts.append(Tokens(columns, _offsets(lengths), lengths, constants))
    tokens = concatenate(*parts).take(np.argsort(order).tolist())
    # Only texts that may have been cut are counted to their ends.
    full = [] if limit is None else np.flatnonzero(tokens.lengths >= limit - _NEAR_LIMIT).tolist()
    if full:
        counted = count_tokens(model, [texts[row] for row in full], prompt_name=prompt_name, task=task)
        tokens.full_lengths[full] = np.maximum(counted, tokens.lengths[full])
    return tokens


def count_tokens(
    model: SentenceTransformer, texts: Sequence[str], *, prompt_name: str | None = None, task: str | None = None
) -> Whole:
    """Count the tokens of whole texts, special tokens and prompt included, as if the model had no limit.

    >>> import cenote
    >>> count_tokens(cenote.load("minilm"), ["a pool", "the deep cave " * 200]).tolist()
    [4, 602]
    """
    counts = np.zeros(len(texts), np.int64)
    prompt = prompt_of(model, prompt_name)
    around = _count(model, [""], prompt, task)[0]
    for rows in _by_characters(texts, _COUNTED_TOGETHER):
        if len(texts[rows[0]]) <= _PIECE:
            counts[rows] = _count(model, [texts[row] for row in rows], prompt, task)
        else:
            for row in rows:
                parts = (_count(model, [piece], prompt, task)[0] - around for piece in pieces(texts[row]))
                counts[row] = sum(parts) + around
    return counts


def tokens_around(model: SentenceTransformer, prompt_name: str | None = None, task: str | None = None) -> int:
    """Return the tokens of an empty text: the special ones and those of the prompt, which every text has.

    >>> import cenote
    >>> tokens_around(cenote.load("minilm"))
    2
    """
    return int(count_tokens(model, [""], prompt_name=prompt_name, task=task)[0])


def pieces(text: str) -> list[str]:
    """Split a very long text into parts to tokenise one by one; they end between words where there are any."""
    return re.findall(rf"(?s).{{1,{_PIECE}}}(?!\S)|.{{1,{_PIECE}}}", text)


def _by_characters(texts: Sequence[str], size: int) -> list[list[int]]:
    """Return the rows of texts of like length together, longest first, so that what does not fit shows at once."""
    order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), row))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _beginning(model: SentenceTransformer, text: str, limit: int | None, task: str | None = None) -> str:
    """Return as much of a text as decides the tokens that the model reads; all of it, unless it is very long."""
    tokenizer = tokenizer_of(model, task)
    parts = pieces(text) if getattr(tokenizer, "truncation_side", "left") == "right" else []
    if limit is None or len(parts) < 2:
        return text
    end = count = 0
    for part in parts:
        end += len(part)
        count += len(tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"])
        if count >= limit + _MARGIN:
            break
    return text[:end]


def _count(model: SentenceTransformer, texts: list[str], prompt: str | None, task: str | None) -> list[int]:
    # A limit that no text reaches: a tokenizer that is given none falls back to its own.
    features = model.preprocess(texts, prompt=prompt, max_length=2**30, **of_task(task))
    if "cu_seq_lens_q" in features:  # flattened: one row for all texts
        ends: list[int] = features["cu_seq_lens_q"].diff().tolist()
        return ends
    refuse_without_tokens(model, {"token_embeddings": None, **features})
    counts: list[int] = features["attention_mask"].sum(1).tolist()
    return counts


def _offsets(lengths: Whole) -> Whole:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _unpad(
    model: SentenceTransformer, features: dict[str, Any]
) -> tuple[dict[str, npt.NDArray[Any]], Whole, dict[str, Any]]:
    """Return the inputs per token without padding, the tokens of each text, and the inputs shared by all."""
    ids = features.get("input_ids")
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise UnsupportedModel(
            f"the model starts with {type(model[0]).__name__}, which makes no rows of tokens: use its own encode, "
            "which is fast for such models."
        )
    if "query_expansion_positions" in features:
        raise UnsupportedModel("the model expands queries by padding tokens, as ColBERT does: use its own encode.")
    per_token = [name for name, value in features.items() if isinstance(value, Tensor) and value.shape == ids.shape]
    per_token = [name for name in per_token if name not in _PER_BATCH]
    constants = {name: value for name, value in features.items() if name not in (*per_token, *_PER_BATCH)}
    if "cu_seq_lens_q" not in features:
        refuse_without_tokens(model, {"token_embeddings": None, **features})
        mask = features["attention_mask"].bool()
        lengths = mask.sum(1).numpy().astype(np.int64)
    else:  # flattened: one row for all texts
        mask = torch.ones_like(ids, dtype=torch.bool)
        lengths = features["cu_seq_lens_q"].diff().numpy().astype(np.int64)
    columns = {name: features[name][mask].numpy() for name in per_token}
    # Ids in half of their memory.
    small = {name: column if column.dtype == bool else column.astype(np.int32) for name, column in columns.items()}
    return small, lengths, constants
