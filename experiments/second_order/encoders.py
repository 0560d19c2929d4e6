"""Encoders made from one: with fewer layers, another attention temperature, or noise on the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from sentence_transformers import SentenceTransformer

import cenote
from cenote.surgery.tracing import Trace

TEMPERATURES = (0.5, 0.7, 1.5, 2.5)
# Standard deviations of the noise, in those of each weight matrix.
NOISES = (0.1, 0.2, 0.35, 0.5)
SEED = 0
OWN, LAYERS, TEMPERATURE, NOISE = "own", "layers", "temperature", "noise"


class Encoder(NamedTuple):
    """An encoder, valid until the next one is drawn."""

    made: str  # how: a name above
    name: str
    model: SentenceTransformer


def encoders_of(model: SentenceTransformer) -> Iterator[Encoder]:
    """Yield a model and the encoders made from it, one at a time; the model itself is unchanged at the end."""
    yield Encoder(OWN, OWN, model)
    names = [layer.name for layer in Trace(model).layers]
    if len(set(names)) == len(names):  # ALBERT's layers are one, which several passes share
        for count in sorted({len(names) - 1, len(names) - 2, len(names) // 2, len(names) // 4} - {0, len(names)}):
            if count > 0:
                yield Encoder(LAYERS, f"{count} of {len(names)} layers", shorten(copy.deepcopy(model), count))
    for tau in TEMPERATURES:
        with cenote.temper(model, tau):
            yield Encoder(TEMPERATURE, f"temperature {tau:g}", model)
    for size in NOISES:
        yield Encoder(NOISE, f"noise {size:g}", perturb(copy.deepcopy(model), size))


def shorten(model: SentenceTransformer, count: int) -> SentenceTransformer:
    """Remove all but the first `count` layers of a model, and return it."""
    trace = Trace(model)
    for layer in reversed(trace.layers[count:]):
        parent, _, place = layer.name.rpartition(".")
        del trace.network.get_submodule(parent)[int(place)]  # type: ignore[operator]
    trace.network.config.num_hidden_layers = count  # type: ignore[union-attr]
    return model


def perturb(model: SentenceTransformer, size: float) -> SentenceTransformer:
    """Add noise to every weight matrix of a model, `size` times its standard deviation, and return it."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                noise = torch.randn(weights.shape, generator=generator)
                weights.add_(size * weights.std() * noise.to(weights))
    return model
