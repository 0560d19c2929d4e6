"""Texts read once by a model, and what the measures of collapse need of that: lengths, vectors, tokens, layers."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from cenote.errors import BadInput, BadRows, UnsupportedModel
from cenote.functional.clouds import shapeless
from cenote.surgery.attention import at_rest
from cenote.surgery.profiles import (
    LayerProfile,
    Profiler,
    batches_of,
    features_of,
    limit_of,
    pooled_of,
    prompt_of,
)
from cenote.surgery.tracing import Trace

Progress = Callable[[int, int], object]

# Texts at a time; where texts are traced, as many as have this many pairs of tokens, for each of which every head has a
# number: some tens of megabytes, several times over.
_BATCH, _TRACED_PAIRS = 16, 2**18
# A longer text is counted in pieces: a tokenizer may take more than linear time and memory for one of millions.
_PIECE = 100_000
# Why a text has no embedding, where no pooling could make one.
NOTHING_POOLED = "no token that is pooled"


@dataclass
class Reading:
    """What a model made of texts, by their places in the list that was read."""

    lengths: npt.NDArray[np.int64]  # [N], tokens as the model reads them, cut where it cuts
    vectors: npt.NDArray[np.float32]  # [N, D]
    tokens: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # [n, D] of the texts that were asked for
    traced: list[int] = field(default_factory=list)  # the texts that the layers are of, in their order
    layers: list[LayerProfile] = field(default_factory=list)
    unread: dict[int, str] = field(default_factory=dict)  # texts without an embedding, and why
    shapeless: dict[int, str] = field(default_factory=dict)  # whose tokens were asked for and say nothing
    untraced: dict[int, str] = field(default_factory=dict)  # texts that were read without, and why


def read_texts(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    prompt_name: str | None = None,
    tokens_of: Collection[int] = (),
    traced: Collection[int] = (),
    progress: Progress | None = None,
) -> Reading:
    """Read every text once, as `encode` does: with a prompt, in batches of like length, in no gradient mode.

    Lengths are of all that the model reads, prompt included. The tokens kept are those that the pooling pools, without
    a prompt that it leaves out. What layers do is measured over all that the model reads: attention mixes a prompt
    into the text, and a map of attention without some of its tokens is not the map that the model applies.

    A text that cannot be measured stops no other: `unread`, `shapeless` and `untraced` say which and why.

    >>> import cenote
    >>> reading = read_texts(cenote.load("minilm"), ["a pool", "the deep cave"], tokens_of=[1], traced=[0])
    >>> reading.lengths.tolist(), reading.vectors.shape, reading.tokens[1].shape, len(reading.layers)
    ([4, 5], (2, 384), (5, 384), 6)

    Args:
        model: any `SentenceTransformer`.
        texts: what it reads.
        prompt_name: which of the model's prompts stands before them; None is its default.
        tokens_of: of which texts the last hidden states are kept.
        traced: of which texts every layer is profiled, attention included.
        progress: called with the texts done and all texts.
    """
    prompt_of(model, prompt_name)  # a name that there is not is no fault of a text
    reading = Reading(np.zeros(len(texts), np.int64), np.zeros((len(texts), width_of(model)), np.float32))
    reader, watch = _Reader(model, texts, prompt_name, set(tokens_of), reading), sorted(set(traced))
    done = 0

    def walk(batches: Iterator[list[int]], read: Callable[[list[int]], list[int]]) -> None:
        nonlocal done
        for rows in batches:
            done += len(read(rows))
            give_memory_back()
            if progress is not None:
                progress(done, len(texts))

    with at_rest(model), torch.inference_mode():
        if watch:
            with Trace(model, reader.profiler, attention=True):
                walk(_few_pairs(model, texts, watch), reader.trace)
        rest = sorted(set(range(len(texts))) - set(watch)) + sorted(reading.untraced)
        walk(batches_of(texts, rest, _BATCH), reader.read)
    order = torch.tensor(reading.traced).argsort()
    reading.layers = reader.profiler.compute(order) if reading.traced else []
    reading.traced.sort()
    return reading


@dataclass
class _Reader:
    """Reads batches into a `Reading`. A batch that is refused is read text by text, so that one text stops no other."""

    model: SentenceTransformer
    texts: Sequence[str]
    prompt_name: str | None
    keep: set[int]
    reading: Reading
    profiler: Profiler = field(default_factory=Profiler)
    traced: int = 0  # batches that were traced to the end

    def trace(self, rows: list[int]) -> list[int]:
        """Read texts while they are traced; those that are done with, which untraceable ones are not."""
        try:
            read = self._forward(rows)
        except BadInput as error:
            self.profiler.keep(self.traced)
            if len(rows) > 1:
                return [done for row in rows for done in self.trace([row])]
            self.reading.untraced[rows[0]] = _reason(error)
            return []
        self.traced += bool(read)
        self.reading.traced += read
        return rows

    def read(self, rows: list[int]) -> list[int]:
        """Read texts; all of them are done with then, one way or the other."""
        try:
            self._forward(rows)
        except BadInput as error:
            if len(rows) > 1:
                return [done for row in rows for done in self.read([row])]
            self.reading.unread[rows[0]] = _reason(error)
        return rows

    def _forward(self, rows: list[int]) -> list[int]:
        """The texts that have a token to pool are read; which these are."""
        model, reading = self.model, self.reading
        features = self._features(rows)
        reading.lengths[rows] = features["attention_mask"].sum(1).cpu().numpy()
        some = pooled_of(model, features).any(1).tolist()
        reading.unread |= {row: NOTHING_POOLED for row, any_token in zip(rows, some, strict=True) if not any_token}
        if not all(some):
            rows = [row for row, any_token in zip(rows, some, strict=True) if any_token]
            if not rows:
                return []
            features = self._features(rows)  # a batch of these alone: a pooling may refuse the others
        out = model.forward(features)
        refuse_without_tokens(model, out)
        pooled = pooled_of(model, out)
        reading.lengths[rows] = out["attention_mask"].sum(1).cpu().numpy()
        reading.vectors[rows] = out["sentence_embedding"][:, : model.truncate_dim].float().cpu().numpy()
        for place, row in enumerate(rows):
            if why := _directionless(reading.vectors[row]):
                reading.unread[row] = why
            elif row in self.keep:
                self._keep(row, out["token_embeddings"][place][pooled[place]].float().cpu().numpy())
        return rows

    def _features(self, rows: list[int]) -> dict[str, Any]:
        features = features_of(self.model, [self.texts[row] for row in rows], self.prompt_name)
        refuse_without_tokens(self.model, {"token_embeddings": None, **features})
        return features

    def _keep(self, row: int, tokens: npt.NDArray[np.float32]) -> None:
        why = shapeless(tokens)
        if why is None:
            self.reading.tokens[row] = tokens
        else:
            self.reading.shapeless[row] = why.reason


def _reason(error: BadInput) -> str:
    """What was wrong with a text that was alone in its batch."""
    return error.problem if isinstance(error, BadRows) else str(error)


def _directionless(vector: npt.NDArray[np.float32]) -> str | None:
    if not np.isfinite(vector).all():
        return "NaN or infinity in its embedding"
    return None if vector.any() else "an embedding of zeros"


def refuse_without_tokens(model: SentenceTransformer, features: Mapping[str, Any]) -> None:
    """A model of static embeddings, say, pools what it never shows."""
    if missing := [name for name in ("attention_mask", "token_embeddings") if name not in features]:
        raise UnsupportedModel(
            f"the model starts with {type(model[0]).__name__}, which gives no {missing[0]}: there are no tokens to see."
        )


def give_memory_back() -> None:
    """Have the C library return what was freed: glibc keeps blocks below 32 MB, and these add up to gigabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _few_pairs(model: SentenceTransformer, texts: Sequence[str], rows: Sequence[int]) -> Iterator[list[int]]:
    """Batches of texts of like length with few pairs of tokens among them, longest first."""
    most = limit_of(model) or max((len(text.encode()) for text in texts), default=1)
    batch: list[int] = []
    for row in sorted(rows, key=lambda row: (-len(texts[row]), row)):
        longest = min(most, len(texts[batch[0] if batch else row].encode()))  # no text has more tokens than bytes
        if batch and (len(batch) + 1) * longest**2 > _TRACED_PAIRS:
            yield batch
            batch = []
        batch.append(row)
    yield from [batch] if batch else []


def width_of(model: SentenceTransformer) -> int:
    """How many numbers an embedding has; where the model does not say, one is made."""
    width = model.get_embedding_dimension()
    return int(width) if width else int(model.encode(["a"]).shape[1])


def count_tokens(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    prompt_name: str | None = None,
    progress: Progress | None = None,
) -> npt.NDArray[np.int64]:
    """How many tokens each text would be if the model cut none, special tokens and prompt included.

    >>> import cenote
    >>> count_tokens(cenote.load("minilm"), ["a pool", "the deep cave " * 200]).tolist()
    [4, 602]
    """
    counts = np.zeros(len(texts), np.int64)
    prompt = prompt_of(model, prompt_name)
    around, done = _count(model, [""], prompt)[0], 0
    for rows in batches_of(texts, range(len(texts)), _BATCH):
        if len(texts[rows[0]]) <= _PIECE:
            counts[rows] = _count(model, [texts[row] for row in rows], prompt)
        else:
            for row in rows:
                counts[row] = sum(_count(model, [piece], prompt)[0] - around for piece in pieces(texts[row])) + around
        done += len(rows)
        if progress is not None:
            progress(done, len(texts))
    return counts


def as_read(model: SentenceTransformer, whole: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Tokens of texts as the model reads them, from those of the whole texts."""
    limit = limit_of(model)
    return whole if limit is None else np.minimum(whole, limit)


def _count(model: SentenceTransformer, texts: list[str], prompt: str | None) -> list[int]:
    # More than any text has: a tokenizer that was told of no limit falls back to its own.
    features = model.preprocess(texts, prompt=prompt, max_length=2**30)
    if "cu_seq_lens_q" in features:  # flattened: one row for all texts
        ends: list[int] = features["cu_seq_lens_q"].diff().tolist()
        return ends
    refuse_without_tokens(model, {"token_embeddings": None, **features})
    counts: list[int] = features["attention_mask"].sum(1).tolist()
    return counts


def pieces(text: str) -> list[str]:
    """Consecutive parts of a text, which for most texts is one; they end between words, where there are words."""
    return re.findall(rf"(?s).{{1,{_PIECE}}}(?!\S)|.{{1,{_PIECE}}}", text)
