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
from cenote.surgery.attention import at_rest
from cenote.surgery.profiles import batches_of, limit_of, prompt_of
from cenote.surgery.reading import count_tokens, pieces

Whole = npt.NDArray[np.int64]

# Texts that are tokenised together: enough to keep all threads of a tokenizer at work, few enough to pad little.
_TOGETHER = 256
# Tensors that the flattened layout has for the batch, and not for its tokens.
_OF_BATCH = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
# A text that was cut may have fewer tokens than the limit: one fewer with landmarks, of which none ends a cut text.
_NEAR = 2
# Of a very long text only its beginning is tokenised, with this many tokens more than the model reads. What comes
# after a token may change how it is cut, within a word: WordPiece gives up on words of more than 100 characters.
_MORE = 256
# The prompts of a task, the first that there is: as `encode_query` and `encode_document` choose.
_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}


@dataclass(frozen=True, eq=False)
class Tokenised:
    """Texts as a model reads them, one after another, and what it never sees of them."""

    columns: dict[str, npt.NDArray[Any]]  # what the model is given of each token: [tokens of all texts]
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
    if not texts:
        return Tokenised({}, np.zeros(1, np.int64), np.zeros(0, np.int64), {})
    prompt, kind = prompt_of(model, prompt_name), {} if task is None else {"task": task}
    limit = _limit(model, task)
    order: list[int] = []
    parts: list[Tokenised] = []
    with at_rest(model):  # in training, landmarks stand elsewhere each time
        for rows in batches_of(texts, range(len(texts)), _TOGETHER):
            read = [_beginning(model, texts[row], limit) for row in rows]
            columns, lengths, constants = _split(model, model.preprocess(read, prompt=prompt, **kind))
            order += rows
            parts.append(Tokenised(columns, _offsets(lengths), lengths, constants))
        tokens = taken(joined(*parts), np.argsort(order).tolist())
        full = [] if limit is None else np.flatnonzero(tokens.lengths >= limit - _NEAR).tolist()
        if full:  # those may have been cut: only they are counted again, to their ends
            counted = count_tokens(model, [texts[row] for row in full], prompt_name=prompt_name)
            tokens.whole[full] = np.maximum(counted, tokens.lengths[full])
    return tokens


def prompt_for(model: SentenceTransformer, prompt_name: str | None, task: str | None) -> str | None:
    """The name of a prompt: the one that was asked for, or the one that a task has."""
    if prompt_name is not None or task is None:
        return prompt_name
    return next((name for name in _PROMPTS.get(task, ()) if name in model.prompts), None)


def _limit(model: SentenceTransformer, task: str | None) -> int | None:
    """After how many tokens a text of the task is cut, or fewer: a router has several readers."""
    of_task = [getattr(module, f"{task}_length", None) for module in model.modules()]
    return min((limit for limit in (limit_of(model), *of_task) if isinstance(limit, int)), default=None)


def _beginning(model: SentenceTransformer, text: str, limit: int | None) -> str:
    """As much of a text as decides what the model reads of it, which for most texts is all.

    A tokenizer makes tokens of all that it is given, and keeps the first few.
    """
    parts = pieces(text) if getattr(model.tokenizer, "truncation_side", "left") == "right" else []
    if limit is None or len(parts) < 2:
        return text
    end = count = 0
    for part in parts:
        end += len(part)
        count += len(model.tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"])
        if count >= limit + _MORE:
            break
    return text[:end]


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
) -> tuple[dict[str, npt.NDArray[Any]], Whole, dict[str, Any]]:
    """What there is of each token, without padding, the tokens of each text, and what is the same for all."""
    ids = features.get("input_ids")
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise UnsupportedModel(
            f"the model starts with {type(model[0]).__name__}, which hands on no rows of tokens: such a model is fast "
            "as it is, use its own encode."
        )
    if "query_expansion_positions" in features:
        raise UnsupportedModel("the model expands queries by tokens of padding, as ColBERT does: use its own encode.")
    of_tokens = [name for name, value in features.items() if isinstance(value, Tensor) and value.shape == ids.shape]
    of_tokens = [name for name in of_tokens if name not in _OF_BATCH]
    constants = {name: value for name, value in features.items() if name not in (*of_tokens, *_OF_BATCH)}
    if "attention_mask" in features:
        mask = features["attention_mask"].bool()
        lengths = mask.sum(1).numpy().astype(np.int64)
    else:  # flattened: one row for all texts
        mask = torch.ones_like(ids, dtype=torch.bool)
        lengths = features["cu_seq_lens_q"].diff().numpy().astype(np.int64)
    flat = {name: features[name][mask].numpy() for name in of_tokens}
    return {name: _small(column) for name, column in flat.items()}, lengths, constants


def _small(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Marks as they are, and ids in half of the memory."""
    return column if column.dtype == bool else column.astype(np.int32)


def _large(column: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(column if column.dtype == bool else column.astype(np.int64))


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
        features[name] = _large(np.where(real, column[places], column.dtype.type(fill.get(name, 0))))
    return features


def _flattened(model: SentenceTransformer, tokens: Tokenised, starts: Whole, lengths: Whole) -> dict[str, Any]:
    """One row for the whole batch, as flash attention reads it, by sentence-transformers' own collator."""
    spans = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    collator: Any = model[0].data_collator
    features = dict(collator([{"input_ids": tokens.columns["input_ids"][span].tolist()} for span in spans]))
    features.pop("labels", None)
    for name, column in tokens.columns.items():
        features[name] = _large(np.concatenate([column[span] for span in spans]))[None]
    return features
