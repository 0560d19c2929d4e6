"""Profiles of layers: how concentrated a layer leaves the tokens of a text, and what its attention lets through.

The formulas are in `cenote.functional`; this module feeds them what a `Trace` passes on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from cenote.functional.concentration import (
    Known,
    block_ratio,
    concentration,
    contraction,
    head_norms,
    residual_ratio,
    token_cosine,
)
from cenote.functional.spectrum import (
    attention_bound,
    filter_bound,
    filter_rate,
    logit_variance,
    sigma_a,
    sigma_a_bound,
    value_norms,
)
from cenote.surgery.projections import Projections
from cenote.surgery.tracing import Layer, Passage


@dataclass(frozen=True)
class Undefined:
    """Takes the place of a measure that a layer does not have, with the reason."""

    reason: str


@dataclass(frozen=True)
class LayerProfile:
    """Measures of one layer on N texts, [N] or [N, H] for H heads, in the order in which they were read.

    A `Known` has values only where it is `defined`: the tokens of a one-token text have no spread.
    """

    index: int
    concentration: Tensor  # S(X) / |mu|² of the layer's output
    token_cosine: Tensor  # mean cosine between its tokens
    filter_rate: Known  # log |HC[after]| / |HC[before]| of the whole layer
    sigma_a: Tensor | Undefined  # [N, H], the largest share of HC that a head keeps
    logit_variance: Known | Undefined  # [N, H]
    sigma_a_bound: Known | Undefined  # [N, H], Theorem 3's estimate of sigma_a from length and logit variance
    filter_bound: Known | Undefined  # log, the paper's bound for several heads
    attention_rate: Known | Undefined  # log |HC[attended]| / |HC[read]|
    attention_bound: Known | Undefined  # log, a proven bound of the attention rate
    contraction: Tensor | Undefined  # lambda, [N, H]
    residual_ratio: Tensor | Undefined  # r
    block_ratio: Known | Undefined  # C


Value = Tensor | Known | Undefined
_UNASKED = Undefined("the attention of this layer was not asked for")
_PRE_NORM = Undefined(
    "attention reads a normalised form of the layer's input (pre-norm): r and C are defined for blocks that normalise "
    "after the residual"
)


class Profiler:
    """A reducer for `Trace` that keeps a few numbers for each text and layer.

    >>> import cenote
    >>> from cenote.surgery.tracing import Trace
    >>> model = cenote.load("minilm")
    >>> with Trace(model, profiler := Profiler(), attention=True):
    ...     _ = model.encode(["a pool", "the deep cave holds light"])
    >>> first = profiler.compute()[0]
    >>> first.concentration.shape, first.sigma_a.shape, first.contraction.shape
    (torch.Size([2]), torch.Size([2, 12]), torch.Size([2, 12]))

    A batch that may fail halfway and be repeated is read between `start` and `finish`.
    """

    def __init__(self) -> None:
        self._finished: dict[int, list[dict[str, Value]]] = {}
        self._pending: dict[int, list[dict[str, Value]]] = {}
        self._norms: dict[str, tuple[Tensor, Tensor]] = {}

    def start(self) -> None:
        """Begin a batch, and drop what an unfinished one left."""
        self._pending = {}

    def __call__(self, passage: Passage) -> None:
        """Measure a passage."""
        self._pending.setdefault(passage.layer.index, []).append(
            {
                "concentration": concentration(passage.after, passage.mask),
                "token_cosine": token_cosine(passage.after, passage.mask),
                "filter_rate": filter_rate(passage.before, passage.after, passage.mask),
                **_of_attention(passage, self._norms_of(passage.layer)),
                **_of_block(passage),
            }
        )

    def finish(self) -> None:
        """Accept the batch."""
        for index, parts in self._pending.items():
            self._finished.setdefault(index, []).extend(parts)
        self._pending = {}

    def compute(self, order: Tensor | None = None) -> list[LayerProfile]:
        """Return the profile of every layer, with the texts as they came or put into `order`.

        Passages since the last `start` or `finish` are accepted.
        """
        self.finish()
        names = [field.name for field in fields(LayerProfile) if field.name != "index"]
        layers = [
            LayerProfile(index, **{name: _joined([part[name] for part in parts], order) for name in names})  # type: ignore[arg-type]
            for index, parts in sorted(self._finished.items())
        ]
        if any(layer.residual_ratio is _PRE_NORM for layer in layers):
            # The first layer of a pre-norm model may have no norm to go through; it is pre-norm all the same.
            layers = [replace(layer, residual_ratio=_PRE_NORM, block_ratio=_PRE_NORM) for layer in layers]
        return layers

    def _norms_of(self, layer: Layer) -> tuple[Tensor, Tensor] | None:
        """Return |W_V^h| and |W_O^h W_V^h| of a layer with projections, computed once for each block."""
        found = layer.projections
        if not isinstance(found, Projections):
            return None
        if layer.name not in self._norms:
            output = found.output.weight.detach()
            self._norms[layer.name] = (
                value_norms(found.value, found.value_heads).repeat_interleave(found.heads // found.value_heads),
                head_norms(found.value, output, found.heads, found.value_heads),
            )
        return self._norms[layer.name]


_OF_WEIGHTS = ("sigma_a", "logit_variance", "sigma_a_bound")
_OF_PROJECTIONS = ("filter_bound", "attention_rate", "attention_bound", "contraction")


def _of_attention(passage: Passage, norms: tuple[Tensor, Tensor] | None) -> dict[str, Value]:
    """Return the measures of the attention weights, alone and together with the projections."""
    found: dict[str, Value] = dict.fromkeys((*_OF_WEIGHTS, *_OF_PROJECTIONS), _UNASKED)
    if passage.attention is not None:
        sigma = sigma_a(passage.attention, passage.mask)
        variance = logit_variance(passage.attention, passage.mask)
        lengths = passage.mask.sum(1, keepdim=True).expand_as(variance.defined)[variance.defined]
        expected = Known(sigma_a_bound(lengths.cpu(), variance.values.cpu()), variance.defined)
        found |= {"sigma_a": sigma, "logit_variance": variance, "sigma_a_bound": expected}
    if norms is None or passage.attended is None or passage.read is None:
        reason = passage.layer.projections
        missing = Undefined(reason) if isinstance(reason, str) else _UNASKED
        return found | dict.fromkeys(_OF_PROJECTIONS, missing)
    if passage.attention is not None and passage.attention.shape[1] != len(norms[0]):
        # ConvBERT has fewer heads than its config says: the others are convolutions.
        heads = f"{passage.attention.shape[1]} heads attend, but the projections have {len(norms[0])}"
        return found | dict.fromkeys(_OF_PROJECTIONS, Undefined(heads))
    found["attention_rate"] = filter_rate(passage.read, passage.attended, passage.mask)
    if passage.attention is not None:
        value, operator = norms
        found["filter_bound"] = filter_bound(sigma, value)
        found["attention_bound"] = attention_bound(sigma, operator)
        found["contraction"] = contraction(passage.attention, operator, passage.mask)
    return found


def _of_block(passage: Passage) -> dict[str, Value]:
    if passage.attended is None or not passage.reads_input:
        missing = _PRE_NORM if passage.attended is not None else Undefined(str(passage.layer.projections))
        return {"residual_ratio": missing, "block_ratio": missing}
    return {
        "residual_ratio": residual_ratio(passage.before, passage.attended, passage.mask),
        "block_ratio": block_ratio(passage.before + passage.attended, passage.after, passage.mask),
    }


def _joined(parts: list[Value], order: Tensor | None) -> Value:
    """Return the values of all batches as one, on the CPU."""
    first = parts[0]
    if isinstance(first, Undefined):
        return first
    if isinstance(first, Tensor):
        whole = torch.cat([part.cpu() for part in parts])  # type: ignore[union-attr]
        return whole if order is None else whole[order]
    values, defined = (torch.cat([getattr(part, name).cpu() for part in parts]) for name in ("values", "defined"))
    if order is None:
        return Known(values, defined)
    everywhere = values.new_zeros(defined.shape).masked_scatter(defined, values)[order]
    return Known(everywhere[defined[order]], defined[order])
