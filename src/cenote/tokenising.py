"""Texts to tokens, once and without padding; and tokens back into batches as a model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.errors import UnsupportedModel
from cenote.surgery.profiles import batches_of, limit_of, prompt_of
from cenote.surgery.reading import count_tokens

Whole = npt.NDArray[np.int64]

# Texts that are tokenised together: enough to keep all threads of a tokenizer at work, few enough to pad little.
_TOGETHER = 256
# Tensors that the flattened layout has for the batch, and not for its tokens.
_OF_BATCH = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")


@dataclass(frozen=True, eq=False)
class Tokenised:
    """Texts as a model reads them, one after another, and what it never sees of them."""

    columns: dict[str, npt.NDArray[np.int32]]  # what the model is given of each token: [tokens of all texts]
    offsets: Whole  # [N + 1], where each text begins and the last one ends
    whole: Whole  # [N], tokens that each text would have if none were cut
    constants: dict[str, Any]  # what the model is given besides, the same for every batch

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def lengths(self) -> Whole:
        """Tokens of each text as the model reads it: [N]."""
        return np.diff(self.offsets)

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether the model cuts a text: [N]."""
        return self.whole > self.lengths


def tokenise(
    model: SentenceTransformer, texts: Sequence[str], prompt_name: str | None = None, task: str | None = None
) -> Tokenised:
    """What the model makes of texts before it reads them, by its own tokenizer and settings.

    >>> import cenote
    >>> found = tokenise(cenote.load("minilm"), ["a pool", "", "the deep cave " * 200])
    >>> found.lengths.tolist(), found.whole.tolist(), found.truncated.tolist()
    ([4, 2, 256], [4, 2, 602], [False, False, True])
    >>> sorted(found.columns)
    ['attention_mask', 'input_ids', 'token_type_ids']

    Args:
        model: any `SentenceTransformer` that reads tokens.
        texts: what it is to read; there may be none.
        prompt_name: of the prompt before every text; None: the one that the model always takes.
        task: `query` or `document`, for models that treat them differently.
    """
    prompt, kind = prompt_of(model, prompt_name), {} if task is None else {"task": task}
    order: list[int] = []
    parts: list[Tokenised] = []
    for rows in batches_of(texts, range(len(texts)), _TOGETHER):
        columns, lengths, constants = _split(
            model, model.preprocess([texts[row] for row in rows], prompt=prompt, **kind)
        )
        order += rows
        parts.append(Tokenised(columns, _offsets(lengths), lengths, constants))
    if not parts:
        return Tokenised({}, np.zeros(1, np.int64), np.zeros(0, np.int64), {})
    tokens = taken(joined(*parts), np.argsort(order).tolist())
    full = [] if (limit := limit_of(model)) is None else np.flatnonzero(tokens.lengths >= limit).tolist()
    if full:  # those may have been cut: only they are counted again, to their ends
        counted = count_tokens(model, [texts[row] for row in full], prompt_name=prompt_name)
        tokens.whole[full] = np.maximum(counted, tokens.lengths[full])
    return tokens


def joined(*parts: Tokenised) -> Tokenised:
    """The texts of all parts, one after another."""
    parts = tuple(part for part in parts if len(part)) or parts[:1]
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    lengths = np.concatenate([part.lengths for part in parts])
    return Tokenised(columns, _offsets(lengths), np.concatenate([part.whole for part in parts]), parts[0].constants)


def taken(tokens: Tokenised, rows: Sequence[int]) -> Tokenised:
    """Some of the texts, in the given order."""
    lengths, starts = tokens.lengths[list(rows)], tokens.offsets[list(rows)]
    offsets = _offsets(lengths)
    where = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    columns = {name: column[where] for name, column in tokens.columns.items()}
    return Tokenised(columns, offsets, tokens.whole[list(rows)], tokens.constants)


def _offsets(lengths: Whole) -> Whole:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _split(
    model: SentenceTransformer, features: dict[str, Any]
) -> tuple[dict[str, npt.NDArray[np.int32]], Whole, dict[str, Any]]:
    """What there is of each token, without padding, the tokens of each text, and what is the same for all."""
    ids = features.get("input_ids")
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise UnsupportedModel(
            f"the model starts with {type(model[0]).__name__}, which hands on no rows of tokens: such a model is fast "
            "as it is, use its own encode."
        )
    of_tokens = [name for name, value in features.items() if isinstance(value, Tensor) and value.shape == ids.shape]
    of_tokens = [name for name in of_tokens if name not in _OF_BATCH]
    constants = {name: value for name, value in features.items() if name not in (*of_tokens, *_OF_BATCH)}
    if "attention_mask" in features:
        mask = features["attention_mask"].bool()
        lengths = mask.sum(1).numpy().astype(np.int64)
    else:  # flattened: one row for all texts
        mask = torch.ones_like(ids, dtype=torch.bool)
        lengths = features["cu_seq_lens_q"].diff().numpy().astype(np.int64)
    return {name: features[name][mask].numpy().astype(np.int32) for name in of_tokens}, lengths, constants


def collate(model: SentenceTransformer, tokens: Tokenised, rows: Sequence[int]) -> dict[str, Any]:
    """A batch of some of the texts, as `model.preprocess` would have made it.

    >>> import cenote
    >>> model = cenote.load("minilm")
    >>> collate(model, tokenise(model, ["the deep cave", "a pool"]), [1, 0])["attention_mask"]
    tensor([[1, 1, 1, 1, 0],
            [1, 1, 1, 1, 1]])
    """
    lengths, starts = tokens.lengths[list(rows)], tokens.offsets[list(rows)]
    features = dict(tokens.constants)
    if "attention_mask" not in tokens.columns:
        return features | _flattened(model, tokens, starts, lengths)
    longest, tokenizer = int(lengths.max()), model.tokenizer
    slots = np.arange(longest) - (longest - lengths[:, None] if tokenizer.padding_side == "left" else 0)
    real = (slots >= 0) & (slots < lengths[:, None])
    places = np.where(real, starts[:, None] + slots, 0)
    fill = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    for name, column in tokens.columns.items():
        padded = torch.from_numpy(np.where(real, column[places], fill.get(name, 0)).astype(np.int64))
        features[name] = padded.bool() if name.endswith("_mask") and name != "attention_mask" else padded
    return features


def _flattened(model: SentenceTransformer, tokens: Tokenised, starts: Whole, lengths: Whole) -> dict[str, Any]:
    """One row for the whole batch, as flash attention reads it, by sentence-transformers' own collator."""
    spans = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    collator: Any = model[0].data_collator
    features = dict(collator([{"input_ids": tokens.columns["input_ids"][span].tolist()} for span in spans]))
    features.pop("labels", None)
    for name, column in tokens.columns.items():
        row = torch.from_numpy(np.concatenate([column[span] for span in spans]).astype(np.int64))[None]
        features[name] = row.bool() if name.endswith("_mask") else row
    return features
