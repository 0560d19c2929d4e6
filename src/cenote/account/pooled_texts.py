"""Texts read once by a model and pooled in several ways: unit vectors and unit token vectors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.encoding.batches import BatchReader, Refused
from cenote.encoding.forward import forward, pooled_tokens, pooled_vectors, repooled_vectors
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, Whole
from cenote.errors import BadInput
from cenote.listener import Listener
from cenote.models.properties import width_of

Vectors = npt.NDArray[np.float32]
Norms = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
# The name of the model's own pooling among those of one pass.
OWN = ""
# Numbers in the token vectors of documents that are kept at once: 1.2 GB at half precision.
KEPT_NUMBERS = 6 * 10**8


@dataclass
class Pooled:
    """Vectors of norm 1 of some texts, by pooling; zeros for a text without one."""

    vectors: dict[str, Vectors]
    norms: Norms = field(default_factory=lambda: np.zeros(0, np.float32))  # of the model's own vectors
    finite: Flags = field(default_factory=lambda: np.ones(0, bool))  # whether all vectors of a text are
    tokens: list[npt.NDArray[np.float16]] = field(default_factory=list)  # of norm 1 each, where they were asked for
    refused: dict[int, str] = field(default_factory=dict)
    seconds_of_tokens: float = 0.0  # that copies of the token vectors took


def read_pooled(
    model: SentenceTransformer,
    tokens: Tokens,
    poolings: Mapping[str, nn.Module],
    *,
    task: str | None,
    keep_tokens: bool = False,
    listener: Listener | None = None,
    step: str = "reading texts",
    refuse_none: bool = True,
    passes: Passes | None = None,
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
        refuse_none: whether to raise if no text at all can be read.
        passes: of the model; None takes torch's.
    """

    def run(features: dict[str, Any]) -> tuple[dict[str, Vectors], Norms, Flags, list[npt.NDArray[np.float16]]]:
        output = run_model(features, task)
        found = {OWN: pooled_vectors(model, output)}
        found |= {name: repooled_vectors(model, output, pooling) for name, pooling in poolings.items()}
        norms = found[OWN].norm(dim=-1).nan_to_num(0, 0, 0).cpu().numpy()
        finite = torch.stack([vectors.isfinite().all(-1) for vectors in found.values()]).all(0).cpu().numpy()
        units = {name: unit_or_zeros(vectors) for name, vectors in found.items()}
        kept: list[npt.NDArray[np.float16]] = []
        if keep_tokens:  # last: by now the device has done the rest, so that the clock sees the copies alone
            start = time.perf_counter()
            unit = nn.functional.normalize(output["token_embeddings"].float(), dim=-1).half().cpu().numpy()
            masks = pooled_tokens(model, output).cpu().numpy()
            kept = [rows[mask] for rows, mask in zip(unit, masks, strict=True)]
            made.seconds_of_tokens += time.perf_counter() - start
        return units, norms, finite, kept

    run_model = passes or partial(forward, model)
    made = Pooled({}, np.zeros(len(tokens), np.float32), np.ones(len(tokens), bool))
    found_tokens: dict[int, npt.NDArray[np.float16]] = {}
    listener = listener or Listener()
    advance = listener.step(step, len(tokens))
    for read in BatchReader(model, run, notify=listener.notify).read(tokens):
        if isinstance(read, Refused):
            made.refused[read.row] = read.reason
            advance(1)
            continue
        vectors, norms, finite, kept = read.output
        made.norms[read.rows], made.finite[read.rows] = norms, finite
        for name, rows in vectors.items():
            made.vectors.setdefault(name, np.zeros((len(tokens), rows.shape[1]), np.float32))[read.rows] = rows
        found_tokens |= zip(read.rows, kept, strict=False)
        advance(len(read.rows))
    if not made.vectors:
        made.vectors = {name: np.zeros((len(tokens), width_of(model)), np.float32) for name in (OWN, *poolings)}
    if keep_tokens:
        width = next((one.shape[1] for one in found_tokens.values()), 1)
        made.tokens = [found_tokens.get(row, np.zeros((1, width), np.float16)) for row in range(len(tokens))]
    if refuse_none:
        _refuse_none(made)
    return made


class SideReader:
    """Reads texts of one side of a search; tokens that it has read before it does not read again.

    Most windows of a document without one sentence are windows of the document too.

    Args:
        model: any `SentenceTransformer`, which must not change meanwhile.
        task: `query` or `document`, for models that treat them differently.
        listener: hears of the progress.
        passes: of the model; None takes torch's.
    """

    def __init__(self, model: SentenceTransformer, task: str, listener: Listener, passes: Passes | None = None) -> None:
        self.model, self.task, self.listener, self.passes = model, task, listener, passes
        self._known: dict[bytes, tuple[Pooled, int]] = {}  # what was read, and the row in it

    def __call__(
        self, tokens: Tokens, step: str, poolings: Mapping[str, nn.Module] | None = None, *, keep_tokens: bool = False
    ) -> Pooled:
        """Return what `read_pooled` does."""
        names, keys = (OWN, *(poolings or {})), tokens.as_bytes()
        rows: dict[bytes, int] = {}  # to read
        for row, key in enumerate(keys):
            known, _ = self._known.get(key, (Pooled({}), 0))
            if not {*names} <= {*known.vectors} or (keep_tokens and not known.tokens):
                rows.setdefault(key, row)
        new = tokens.take(list(rows.values()))
        made = read_pooled(
            self.model,
            new,
            poolings or {},
            task=self.task,
            keep_tokens=keep_tokens,
            listener=self.listener,
            step=step,
            refuse_none=False,
            passes=self.passes,
        )
        self._known |= {key: (made, place) for place, key in enumerate(rows)}
        if len(rows) == len(keys):
            _refuse_none(made)
            return made
        found = [self._known[key] for key in keys]
        whole = Pooled(
            vectors={name: _join(found, name) for name in names},
            norms=np.array([one.norms[row] for one, row in found], np.float32),
            finite=np.array([one.finite[row] for one, row in found], bool),
            tokens=[one.tokens[row] for one, row in found] if keep_tokens else [],
            refused={place: one.refused[row] for place, (one, row) in enumerate(found) if row in one.refused},
            seconds_of_tokens=made.seconds_of_tokens,
        )
        _refuse_none(whole)
        return whole


def _join(found: Sequence[tuple[Pooled, int]], name: str) -> Vectors:
    """Return rows of several readings as one; where a reading has none, it has zeros of any width."""
    width = max((one.vectors[name].shape[1] for one, row in found if row not in one.refused), default=1)
    zeros = np.zeros(width, np.float32)
    return np.array([zeros if row in one.refused else one.vectors[name][row] for one, row in found])


def _refuse_none(made: Pooled) -> None:
    """Raise if no text could be read."""
    count = len(made.norms)
    if count and len(made.refused) == count:
        raise BadInput(f"none of {count:,} texts could be read; the first: {made.refused[min(made.refused)]}.")


def unit_or_zeros(vectors: torch.Tensor) -> Vectors:
    """Return vectors of norm 1, zeros where a vector is zero or not finite."""
    finite = vectors.isfinite().all(-1, keepdim=True)
    unit: Vectors = nn.functional.normalize(torch.where(finite, vectors, 0), dim=-1).cpu().numpy()
    return unit


def mean_of_windows(vectors: Vectors, owners: Whole, weights: npt.NDArray[Any], count: int) -> Vectors:
    """Return the weighted mean of each text's windows, with norm 1."""
    sums = np.zeros((count, vectors.shape[1]), np.float64)
    np.add.at(sums, owners, vectors * weights.astype(np.float64)[:, None])
    return unit_or_zeros(torch.from_numpy(sums).float())
