"""Texts read once by a model, and what the measures of collapse need of that: lengths, vectors, tokens, layers."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.errors import UnsupportedModel
from cenote.surgery.profiles import LayerProfile, Profiler, batches_of, features_of, limit_of, prompt_of
from cenote.surgery.tracing import Trace

Progress = Callable[[int, int], object]

# Texts at a time; where texts are traced, as many as have this many pairs of tokens, for each of which every head has a
# number: some tens of megabytes, several times over.
_BATCH, _TRACED_PAIRS = 16, 2**19
# A longer text is counted in pieces: a tokenizer may take more than linear time and memory for one of millions.
_PIECE = 100_000


@dataclass
class Reading:
    """What a model made of texts, by their places in the list that was read."""

    lengths: npt.NDArray[np.int64]  # [N], tokens as the model reads them, cut where it cuts
    vectors: npt.NDArray[np.float32]  # [N, D]
    tokens: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # [n, D] of the texts that were asked for
    traced: list[int] = field(default_factory=list)  # the texts that the layers are of, in their order
    layers: list[LayerProfile] = field(default_factory=list)


def read_texts(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    tokens_of: Collection[int] = (),
    traced: Collection[int] = (),
    progress: Progress | None = None,
) -> Reading:
    """Read every text once, as `encode` does: with the default prompt, in batches of like length, in no gradient mode.

    >>> import cenote
    >>> reading = read_texts(cenote.load("minilm"), ["a pool", "the deep cave"], tokens_of=[1], traced=[0])
    >>> reading.lengths.tolist(), reading.vectors.shape, reading.tokens[1].shape, len(reading.layers)
    ([4, 5], (2, 384), (5, 384), 6)

    Args:
        model: any `SentenceTransformer`.
        texts: what it reads.
        tokens_of: of which texts the last hidden states are kept.
        traced: of which texts every layer is profiled, attention included.
        progress: called with the texts done and all texts.
    """
    reading = Reading(np.zeros(len(texts), np.int64), np.zeros((len(texts), width_of(model)), np.float32))
    keep, watch = set(tokens_of), set(traced)
    profiler, done = Profiler(), 0
    was_training = model.training
    model.eval()
    try:
        for group, trace in ((sorted(watch), True), (sorted(set(range(len(texts))) - watch), False)):
            looking = Trace(model, profiler, attention=True) if group and trace else nullcontext()
            with torch.inference_mode(), looking:
                for rows in _few_pairs(model, texts, group) if trace else batches_of(texts, group, _BATCH):
                    _read_batch(model, texts, rows, keep, reading)
                    if trace:
                        reading.traced += rows
                    give_memory_back()
                    done += len(rows)
                    if progress is not None:
                        progress(done, len(texts))
    finally:
        model.train(was_training)
    order = torch.tensor(reading.traced).argsort()
    reading.layers = profiler.compute(order) if reading.traced else []
    reading.traced.sort()
    return reading


def _read_batch(
    model: SentenceTransformer, texts: Sequence[str], rows: list[int], keep: set[int], reading: Reading
) -> None:
    out = model.forward(features_of(model, [texts[row] for row in rows]))
    refuse_without_tokens(model, out)
    mask: Tensor = out["attention_mask"].bool()
    reading.lengths[rows] = mask.sum(1).cpu().numpy()
    vectors = out["sentence_embedding"][:, : model.truncate_dim]
    reading.vectors[rows] = vectors.float().cpu().numpy()
    for place, row in enumerate(rows):
        if row in keep:
            reading.tokens[row] = out["token_embeddings"][place][mask[place]].float().cpu().numpy()


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
    model: SentenceTransformer, texts: Sequence[str], *, progress: Progress | None = None
) -> npt.NDArray[np.int64]:
    """How many tokens each text would be if the model cut none, special tokens included.

    >>> import cenote
    >>> count_tokens(cenote.load("minilm"), ["a pool", "the deep cave " * 200]).tolist()
    [4, 602]
    """
    counts = np.zeros(len(texts), np.int64)
    around, done = _count(model, [""])[0], 0
    for rows in batches_of(texts, range(len(texts)), _BATCH):
        if len(texts[rows[0]]) <= _PIECE:
            counts[rows] = _count(model, [texts[row] for row in rows])
        else:
            for row in rows:
                counts[row] = sum(_count(model, [piece])[0] - around for piece in _pieces(texts[row])) + around
        done += len(rows)
        if progress is not None:
            progress(done, len(texts))
    return counts


def _count(model: SentenceTransformer, texts: list[str]) -> list[int]:
    # More than any text has: a tokenizer that was told of no limit falls back to its own.
    features = model.preprocess(texts, prompt=prompt_of(model), max_length=2**30)
    refuse_without_tokens(model, {"token_embeddings": None, **features})
    counts: list[int] = features["attention_mask"].sum(1).tolist()
    return counts


def _pieces(text: str) -> list[str]:
    """Consecutive parts of a text that end between words, where there are words."""
    return re.findall(rf"(?s).{{1,{_PIECE}}}(?!\S)|.{{1,{_PIECE}}}", text)
