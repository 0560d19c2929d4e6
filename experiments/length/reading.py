"""Reading shared by the experiments on length: the same texts cut at several lengths, their vectors, their layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.cut_lengths import tokenise_cuts
from cenote.encoding.backends import plain_backend
from cenote.encoding.batches import collate
from cenote.encoding.forward import forward
from cenote.encoding.tokens import Tokens, Whole, count_tokens
from cenote.encoding.vectors import Encoder
from cenote.functional.intervals import mean_over_pairs
from cenote.functional.sampling import Floats
from cenote.functional.units import to_unit
from cenote.models.properties import limits_kept, set_limit
from cenote.records import Estimate, LengthCurve
from cenote.surgery.attention import networks_of
from cenote.surgery.profiles import Undefined
from cenote.surgery.tracing import Reducer, Trace, find_layers
from experiments.data_sets import texts_of

# Texts that are drawn for each that is wanted: most are too short for the longest cut. At least so many.
_DRAWN, _LEAST = 4, 100


def cut_texts(model: SentenceTransformer, data: str, count: int, seed: int = 0) -> dict[int, Tokens]:
    """Return at most `count` texts of a data set, cut at each of several lengths; empty where too few are long."""
    texts = [text.text for text in texts_of(data, max(_LEAST, _DRAWN * count), seed)]
    cuts = tokenise_cuts(model, texts, count_tokens(model, texts), None, seed)
    return {cut: tokens.take(range(min(count, len(tokens)))) for cut, tokens in cuts.items()}


@contextmanager
def reading_to(model: SentenceTransformer, limit: int) -> Iterator[None]:
    """Make a model read so many tokens of a text."""
    with limits_kept(model):
        set_limit(model, limit)
        yield


def unit_vectors(model: SentenceTransformer, tokens: Tokens) -> Floats:
    """Return the vectors of texts, divided by their norms; raise if a text has none."""
    vectors, refused = Encoder(model, plain_backend(model))(tokens)
    if refused:
        raise ValueError(f"text {min(refused)} has no vector: {refused[min(refused)]}")
    return to_unit(vectors)


def count_layers(model: SentenceTransformer) -> int:
    """Return the number of layers of a model's transformer."""
    return len(find_layers(networks_of(model)[0][0]))


def read_alone(model: SentenceTransformer, tokens: Tokens, reducer: Reducer, attention: Sequence[int]) -> None:
    """Pass each layer of each text to a reducer, with the attention of some layers: one text a batch, so no padding."""
    with Trace(model, reducer, attention=attention):
        for row in range(len(tokens)):
            forward(model, collate(model, tokens, [row]))


def known(measure: Any) -> Floats | None:
    """Return a measure of a layer profile as an array; None where the layer or one of the texts does not have it."""
    if isinstance(measure, Undefined):
        return None
    values: Floats = (measure.values if hasattr(measure, "defined") else measure).double().numpy()
    if not hasattr(measure, "defined"):
        return values
    return values.reshape(measure.defined.shape) if bool(measure.defined.all()) else None


def pair_cosines(vectors: Floats) -> Floats:
    """Return the cosines of all pairs of unit vectors, in the order of `pair_sides`."""
    cosines: Floats = (vectors @ vectors.T)[pair_sides(len(vectors))]
    return cosines


def pair_sides(count: int) -> tuple[Whole, Whole]:
    """Return the first and the second text of each pair of `count` texts."""
    first, second = np.triu_indices(count, 1)
    return first, second


def interval(estimate: Estimate) -> dict[str, float | None]:
    """Return the ends of an estimate, as columns of a table."""
    return {"low": estimate.low, "high": estimate.high}


def natural_rows(curve: LengthCurve, lengths: Whole, **columns: Any) -> list[dict[str, Any]]:
    """Return a row for each bin of natural lengths: the mean of its tokens, its texts, the cosine of their pairs."""
    rows = []
    for one in curve.bins:
        if one.cosine is not None:
            inside = (lengths >= one.low) & (lengths < (one.high or np.inf))
            found = {"tokens": round(float(lengths[inside].mean())), "texts": one.count, "cosine": one.cosine.value}
            rows.append({"lengths": "natural", **columns, **found, **interval(one.cosine)})
    return rows


def cut_rows(cosines: Mapping[int, Floats], texts: int, **columns: Any) -> list[dict[str, Any]]:
    """Return a row for each cut, from the cosines of all pairs of the same texts."""
    rows = []
    for cut, values in cosines.items():
        mean = mean_over_pairs(values, *pair_sides(texts))
        rows.append(
            {"lengths": "cut", **columns, "tokens": cut, "texts": texts, "cosine": mean.value, **interval(mean)}
        )
    return rows
