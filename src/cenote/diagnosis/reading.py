"""Texts read once by a model, for all measures of a diagnosis: vectors, token vectors, layers."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.layers import traced_reader
from cenote.encoding.batches import NOT_FINITE, Batch, BatchReader, Refused
from cenote.encoding.forward import forward, pooled_tokens, pooled_vectors, refuse_without_tokens
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, Whole
from cenote.errors import UnsupportedModel
from cenote.functional.clouds import find_shape_problem
from cenote.functional.token_batches import refuse_rows
from cenote.listener import Listener
from cenote.models.properties import width_of
from cenote.surgery.profiles import LayerProfile, Profiler
from cenote.surgery.tracing import Trace


@dataclass
class Reading:
    """The output of a model for texts, by their places in the list that was read."""

    lengths: Whole  # [N], tokens as the model reads them, cut where it cuts
    vectors: npt.NDArray[np.float32]  # [N, D]
    tokens: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # [n, D] of the texts to keep
    traced: list[int] = field(default_factory=list)  # the texts that the layers describe, in order
    layers: list[LayerProfile] = field(default_factory=list)
    attended: list[int] = field(default_factory=list)  # texts of which only the last layer's attention was profiled
    attention: list[LayerProfile] = field(default_factory=list)  # their profiles, without other layers' attention
    unread: dict[int, str] = field(default_factory=dict)  # texts without a vector, with reasons
    shapeless: dict[int, str] = field(default_factory=dict)  # texts whose kept tokens have no shape, with reasons
    untraced: dict[int, str] = field(default_factory=dict)  # texts that were read untraced, with reasons
    why_untraced: str | None = None  # why no text was traced

    @property
    def last_layers(self) -> tuple[tuple[list[LayerProfile], list[int]], ...]:
        """Profiles whose last layer has its attention, each with its texts."""
        return (self.layers, self.traced), (self.attention, self.attended)

    @property
    def measured(self) -> list[int]:
        """The texts that have a vector."""
        return [row for row in range(len(self.lengths)) if row not in self.unread]


def read_texts(
    model: SentenceTransformer,
    tokens: Tokens,
    *,
    keep: Collection[int] = (),
    traced: Collection[int] = (),
    attended: Collection[int] = (),
    listener: Listener | None = None,
    step: str = "reading texts",
    passes: Passes | None = None,
) -> Reading:
    """Read every text once: its vector, and where asked its token vectors and a profile of every layer.

    The tokens kept are those that the pooling sees, without a prompt that it leaves out. Layers are profiled over all
    that the model reads: attention mixes the prompt into the text.

    A text that cannot be measured stops no other: `unread`, `shapeless` and `untraced` name it, with the reason.

    >>> import cenote
    >>> from cenote.encoding.tokens import tokenise
    >>> model = cenote.load("minilm")
    >>> reading = read_texts(model, tokenise(model, ["a pool", "the deep cave"]), keep=[1], traced=[0])
    >>> reading.lengths.tolist(), reading.vectors.shape, reading.tokens[1].shape, len(reading.layers)
    ([4, 5], (2, 384), (5, 384), 6)

    Args:
        model: any `SentenceTransformer`.
        tokens: of the texts.
        keep: texts whose last hidden states are kept.
        traced: texts of which every layer is profiled, attention included.
        attended: other texts of which the attention of the last layer is profiled.
        listener: hears of the progress.
        step: the name of the step in the progress.
        passes: of the model, for texts that are not traced; None takes torch's.
    """
    listener = listener or Listener()
    reading = Reading(tokens.lengths, np.zeros((len(tokens), width_of(model)), np.float32))
    take = partial(_take, model, reading, set(keep))
    if traced:
        _read_traced(model, tokens, sorted(set(traced)), reading, take, listener)
    if attended and reading.traced:
        _read_attended(model, tokens, sorted(set(attended)), reading, take, listener)
    rest = sorted(set(range(len(tokens))) - set(reading.traced) - set(reading.attended))
    advance = listener.step(step, len(rest))
    run = partial(_run, model, passes or partial(forward, model))
    for read in BatchReader(model, run, notify=listener.notify).read(tokens, rest):
        if isinstance(read, Refused):
            reading.unread[read.row] = read.reason
            advance(1)
        else:
            take(read)
            advance(len(read.rows))
        del read  # with its tensors, before the next batch is read
        give_memory_back()
    return reading


def _read_traced(
    model: SentenceTransformer, tokens: Tokens, rows: list[int], reading: Reading, take: Any, listener: Listener
) -> None:
    """Read texts while every layer is profiled; those that cannot be traced are left for reading without."""
    advance = listener.step("tracing layers", len(rows))
    try:
        reading.traced, reading.layers, reading.untraced = _profile(
            model, tokens, rows, True, take, listener.notify, advance
        )
    except UnsupportedModel as error:
        reading.why_untraced = str(error)
    if not reading.traced:
        reading.why_untraced = reading.why_untraced or next(iter(reading.untraced.values()), None)


def _read_attended(
    model: SentenceTransformer, tokens: Tokens, rows: list[int], reading: Reading, take: Any, listener: Listener
) -> None:
    """Read texts while the attention of the last layer is profiled; those where that fails are left for reading."""
    advance, last = listener.step("tracing the last layer", len(rows)), [reading.layers[-1].index]
    reading.attended, reading.attention, _ = _profile(model, tokens, rows, last, take, listener.notify, advance)


def _profile(
    model: SentenceTransformer,
    tokens: Tokens,
    rows: list[int],
    attention: bool | list[int],
    take: Callable[[Batch], object],
    notify: Callable[[str], object],
    advance: Callable[[int], object],
) -> tuple[list[int], list[LayerProfile], dict[int, str]]:
    """Read texts under a trace; return those that were profiled in order, their profiles, and the others' reasons."""
    profiler, done, refused = Profiler(), list[int](), dict[int, str]()
    with Trace(model, profiler, attention=attention):
        for read in traced_reader(model, profiler, check=partial(_check, model), notify=notify).read(tokens, rows):
            if isinstance(read, Refused):
                refused[read.row] = read.reason
                advance(1)
            else:
                take(read)
                done += read.rows
                advance(len(read.rows))
            del read  # with its tensors, before the next batch is read
            give_memory_back()
    return sorted(done), profiler.compute(torch.tensor(done).argsort()) if done else [], refused


def _check(model: SentenceTransformer, features: dict[str, Any]) -> None:
    """Refuse texts of which the pooling sees no token."""
    refuse_rows(~pooled_tokens(model, features).any(1), "no token to pool", "leave such texts out")


def _run(
    model: SentenceTransformer, run: Callable[[dict[str, Any]], dict[str, Any]], features: dict[str, Any]
) -> dict[str, Any]:
    _check(model, features)
    return run(features)


def _take(model: SentenceTransformer, reading: Reading, keep: set[int], batch: Batch) -> None:
    """Take vectors and token vectors from a batch."""
    refuse_without_tokens(model, batch.output)
    vectors = pooled_vectors(model, batch.output).cpu().numpy()
    pooled = pooled_tokens(model, batch.output)
    for place, row in enumerate(batch.rows):
        reading.vectors[row] = vectors[place]
        if not np.isfinite(vectors[place]).all():
            reading.unread[row] = NOT_FINITE
        elif not vectors[place].any():
            reading.unread[row] = "the model's vector is zero"
        elif row in keep:
            tokens = batch.output["token_embeddings"][place][pooled[place]].float().cpu().numpy()
            if problem := find_shape_problem(tokens):
                reading.shapeless[row] = problem
            else:
                reading.tokens[row] = tokens


def give_memory_back() -> None:
    """Make the C library return freed memory: glibc keeps blocks below 32 MB, which add up to gigabytes here."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
