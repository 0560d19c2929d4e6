"""Texts read once by a model and pooled in several ways: unit vectors and unit token vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.encoding.batches import BatchReader, Refused
from cenote.encoding.forward import forward, pooled_tokens, pooled_vectors, repooled_vectors
from cenote.encoding.tokens import Tokens, Whole
from cenote.errors import BadInput
from cenote.listener import Listener
from cenote.models.properties import width_of

Vectors = npt.NDArray[np.float32]
Norms = npt.NDArray[np.float32]
# The name of the model's own pooling among those of one pass.
OWN = ""


@dataclass
class Pooled:
    """Vectors of norm 1 of some texts, by pooling; zeros for a text without one."""

    vectors: dict[str, Vectors]
    norms: Norms = field(default_factory=lambda: np.zeros(0, np.float32))  # of the model's own vectors
    tokens: list[npt.NDArray[np.float16]] = field(default_factory=list)  # of norm 1 each, where they were asked for
    refused: dict[int, str] = field(default_factory=dict)


def read_pooled(
    model: SentenceTransformer,
    tokens: Tokens,
    poolings: Mapping[str, nn.Module],
    *,
    task: str | None,
    keep_tokens: bool = False,
    listener: Listener | None = None,
    step: str = "reading texts",
) -> Pooled:
    """Read texts once and pool their tokens in the model's own way and in others.

    Args:
        model: any `SentenceTransformer`.
        tokens: of the texts.
        poolings: other poolings by name; the modules after the pooling run again for each.
        task: `query` or `document`, for models that treat them differently.
        keep_tokens: whether to keep the token vectors too, at half precision.
        listener: hears of the progress.
        step: the name of the step in the progress.
    """
    listener = listener or Listener()

    def run(features: dict[str, Any]) -> tuple[dict[str, Vectors], Norms, list[npt.NDArray[np.float16]]]:
        output = forward(model, features, task)
        found = {OWN: pooled_vectors(model, output)}
        found |= {name: repooled_vectors(model, output, pooling) for name, pooling in poolings.items()}
        kept: list[npt.NDArray[np.float16]] = []
        if keep_tokens:
            unit = nn.functional.normalize(output["token_embeddings"].float(), dim=-1).half().cpu().numpy()
            masks = pooled_tokens(model, output).cpu().numpy()
            kept = [rows[mask] for rows, mask in zip(unit, masks, strict=True)]
        norms = found[OWN].norm(dim=-1).nan_to_num(0, 0, 0).cpu().numpy()
        return {name: to_unit(vectors) for name, vectors in found.items()}, norms, kept

    made = Pooled({}, np.zeros(len(tokens), np.float32))
    found_tokens: dict[int, npt.NDArray[np.float16]] = {}
    advance = listener.step(step, len(tokens))
    for read in BatchReader(model, run, notify=listener.notify).read(tokens):
        if isinstance(read, Refused):
            made.refused[read.row] = read.reason
            advance(1)
            continue
        vectors, norms, kept = read.output
        made.norms[read.rows] = norms
        for name, rows in vectors.items():
            made.vectors.setdefault(name, np.zeros((len(tokens), rows.shape[1]), np.float32))[read.rows] = rows
        found_tokens |= zip(read.rows, kept, strict=False)
        advance(len(read.rows))
    if not len(tokens):
        made.vectors = {name: np.zeros((0, width_of(model)), np.float32) for name in (OWN, *poolings)}
    elif not made.vectors:
        raise BadInput(f"none of {len(tokens):,} texts could be read; the first: {made.refused[min(made.refused)]}.")
    if keep_tokens:
        width = next((one.shape[1] for one in found_tokens.values()), 1)
        made.tokens = [found_tokens.get(row, np.zeros((1, width), np.float16)) for row in range(len(tokens))]
    return made


def to_unit(vectors: torch.Tensor) -> Vectors:
    """Return vectors of norm 1, zeros where a vector is zero or not finite."""
    finite = vectors.isfinite().all(-1, keepdim=True)
    unit: Vectors = nn.functional.normalize(torch.where(finite, vectors, 0), dim=-1).cpu().numpy()
    return unit


def mean_of_windows(vectors: Vectors, owners: Whole, weights: npt.NDArray[Any], count: int) -> Vectors:
    """Return the weighted mean of each text's windows, with norm 1."""
    sums = np.zeros((count, vectors.shape[1]), np.float64)
    np.add.at(sums, owners, vectors * weights.astype(np.float64)[:, None])
    return to_unit(torch.from_numpy(sums).float())
