"""Texts read in several ways in one pass, and batches whose padding and company are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.pooled_texts import OWN
from cenote.auditing.checks.thresholds import value_of
from cenote.encoding.batches import NOT_FINITE, BatchReader, Refused, collate
from cenote.encoding.forward import forward, pooled_vectors, vectors_after
from cenote.encoding.tokens import Tokens
from cenote.errors import UnsupportedModel, first_line
from cenote.functional.agreement import FEWEST_WITH_OTHERS, shared_nearest
from cenote.functional.units import to_unit
from cenote.listener import Listener
from cenote.models.properties import tokenizer_of

Vectors = npt.NDArray[np.float64]

# The mean of the last hidden states with nothing after it: what a loader of the transformer alone makes.
PLAIN = "plain mean"


# The modules that run after the transformer.
Modules = Sequence[nn.Module]


@dataclass(eq=False)
class Reading:
    """Vectors `[N, D]` of the texts that could be read, by way; `OWN` is the model's own."""

    rows: list[int]  # places of these texts
    vectors: dict[str, Vectors]
    impossible: dict[str, str]  # ways that failed, with the reason
    refused: dict[int, str]  # texts without a usable vector

    @property
    def own(self) -> Vectors:
        """The model's own vectors."""
        return self.vectors[OWN]


@dataclass(frozen=True)
class Agreement:
    """How two sets of vectors of the same texts agree."""

    mean: float | None  # cosine; None for vectors of another width
    least: float | None
    neighbours: float | None  # share of the ten nearest that agree; None for fewer than `FEWEST_TEXTS`
    norms: float  # mean length of the second set, relative to the first

    @property
    def same(self) -> bool:
        """Whether all directions are the same but for rounding."""
        return self.least is not None and self.least >= value_of("same")

    def in_words(self) -> str:
        """Return the agreement as the end of a sentence."""
        parts = []
        if self.mean is None:
            parts.append("vectors of another width")
        else:
            parts.append(f"cosine {self.mean:.4f} on average, {self.least:.4f} at least")
        if self.neighbours is not None:
            parts.append(f"{100 * self.neighbours:.0f} % of the ten nearest agree")
        return ", ".join(parts)

    def measured(self) -> dict[str, Any]:
        """Return the numbers by name."""
        found = {"mean_cosine": self.mean, "least_cosine": self.least, "neighbours": self.neighbours}
        return {name: None if one is None else round(one, 6) for name, one in found.items()}


def read_ways(model: SentenceTransformer, tokens: Tokens, ways: Mapping[str, Modules], listener: Listener) -> Reading:
    """Read all texts once, and run other modules after the transformer on the same token vectors."""
    impossible: dict[str, str] = {}

    def run(features: dict[str, Any]) -> dict[str, Vectors]:
        output = forward(model, features)
        found = {OWN: pooled_vectors(model, output)}
        for name, modules in ways.items():
            if name not in impossible:
                try:
                    found[name] = vectors_after(model, output, (one.to(model.device) for one in modules))
                except (RuntimeError, KeyError, ValueError) as error:  # a module that takes another width
                    impossible[name] = first_line(error)
        return {name: one.double().cpu().numpy() for name, one in found.items()}

    step = listener.step("reading texts", len(tokens))
    parts: dict[str, dict[int, Any]] = {}
    refused: dict[int, str] = {}
    for read in BatchReader(model, run, notify=listener.notify).read(tokens):
        if isinstance(read, Refused):
            refused[read.row] = read.reason
            step(1)
            continue
        step(len(read.rows))
        for name, rows in read.output.items():
            parts.setdefault(name, {}).update(zip(read.rows, rows, strict=True))
        bad = ~np.isfinite(read.output[OWN]).all(1)
        refused |= {read.rows[place]: NOT_FINITE for place in np.flatnonzero(bad).tolist()}
    kept = [row for row in range(len(tokens)) if row in parts.get(OWN, {}) and row not in refused]
    vectors = {
        name: np.stack([rows[row] for row in kept]) if kept else np.zeros((0, 1))
        for name, rows in parts.items()
        if name not in impossible
    }
    return Reading(kept, {OWN: np.zeros((0, 1)), **vectors}, impossible, refused)


def compare(first: Vectors, second: Vectors) -> Agreement:
    """Compare two sets of vectors of the same texts.

    >>> found = compare(np.eye(3), np.eye(3))
    >>> found.mean, found.least, found.neighbours
    (1.0, 1.0, None)
    """
    one, other = to_unit(first), to_unit(second)
    mean = least = neighbours = None
    if one.shape[1] == other.shape[1]:
        cosines = (one * other).sum(1)
        mean, least = float(cosines.mean()), float(cosines.min())
    if len(one) >= FEWEST_WITH_OTHERS:
        neighbours = float(shared_nearest(one, other).mean())
    norms = np.linalg.norm(second, axis=1).mean() / max(float(np.linalg.norm(first, axis=1).mean()), 1e-30)
    return Agreement(mean, least, neighbours, float(norms))


def pad(
    model: SentenceTransformer,
    tokens: Tokens,
    rows: Sequence[int],
    *,
    length: int | None = None,
    side: str | None = None,
) -> dict[str, Any]:
    """Return the features of a batch, padded to at least `length` slots on one side.

    Args:
        model: whose tokens they are.
        tokens: of all texts.
        rows: of the batch.
        length: slots of the batch; None takes the longest text.
        side: `left` or `right`; None takes the tokenizer's.
    """
    if "attention_mask" not in tokens.columns:
        raise UnsupportedModel("the model reads flattened batches, which have no padding")
    tokenizer = tokenizer_of(model, tokens.constants.get("task"))
    own = getattr(tokenizer, "padding_side", "right")
    where = side or own
    try:
        tokenizer.padding_side = where
        features = collate(model, tokens, rows)
    finally:
        tokenizer.padding_side = own
    extra = 0 if length is None else length - features["input_ids"].shape[1]
    if extra <= 0:
        return features
    fill = {
        "input_ids": getattr(tokenizer, "pad_token_id", None) or 0,
        "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0),
    }
    sides = (extra, 0) if where == "left" else (0, extra)
    for name in tokens.columns:
        value = features[name]
        features[name] = nn.functional.pad(value, sides, value=type(value.flatten()[0].item())(fill.get(name, 0)))
    return features


def replace_columns(tokens: Tokens, columns: Mapping[str, npt.NDArray[Any]]) -> Tokens:
    """Return the same texts with other values in some columns."""
    return Tokens({**tokens.columns, **columns}, tokens.offsets, tokens.full_lengths, tokens.constants)


def largest_difference(first: Vectors, second: Vectors) -> float:
    """Return the largest difference of a number, relative to the length of its vector; infinite for NaN.

    >>> largest_difference(np.array([[3.0, 4.0]]), np.array([[3.0, 4.5]]))
    0.1
    """
    lengths = np.maximum(np.linalg.norm(first, axis=1), np.finfo(np.float32).tiny)
    found = np.abs(first - second).max(1) / lengths
    return float(found.max()) if np.isfinite(found).all() else float("inf")


def least_cosine(first: Vectors, second: Vectors) -> float:
    """Return the smallest cosine of vectors of the same texts; -1 for NaN."""
    found = (to_unit(first) * to_unit(second)).sum(1)
    return float(found.min()) if np.isfinite(found).all() else -1.0
