"""What each layer of a live model does to the tokens of a text: how concentrated it leaves them, why, and what
of their differences its attention lets through. Formulas are those of `functional`; this room feeds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from sentence_transformers.util import batch_to_device
from torch import Tensor

from cenote.errors import BadInput, choose
from cenote.functional.batches import after
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
from cenote.layouts import skipped
from cenote.nn import NO_LIMIT, Pooling
from cenote.surgery.attention import at_rest
from cenote.surgery.projections import Projections
from cenote.surgery.tracing import Layer, Passage, Trace


@dataclass(frozen=True)
class Undefined:
    """Stands for a quantity that a layer does not have, and says why."""

    reason: str


@dataclass(frozen=True)
class LayerProfile:
    """What one layer does to N texts, [N] or [N, H], in the order in which they were read.

    `Known` has values for those texts that are `defined`: a text of one token has no spread that could change.
    """

    index: int
    concentration: Tensor  # S(X) / |mu|² of what the layer gives
    token_cosine: Tensor  # the mean cosine of its tokens with each other
    filter_rate: Known  # log |HC[after]| / |HC[before]| of the whole layer
    sigma_a: Tensor | Undefined  # [N, H], the most of HC that a head keeps
    logit_variance: Known | Undefined  # [N, H]
    sigma_a_bound: Known | Undefined  # [N, H], Theorem 3's estimate for sigma_a, from length and logit variance
    filter_bound: Known | Undefined  # log, the paper's bound for several heads
    attention_rate: Known | Undefined  # log |HC[attended]| / |HC[read]|
    attention_bound: Known | Undefined  # log, what bounds the attention rate for certain
    contraction: Tensor | Undefined  # lambda, [N, H]
    residual_ratio: Tensor | Undefined  # r
    block_ratio: Known | Undefined  # C


Value = Tensor | Known | Undefined
_UNASKED = Undefined("the attention of this layer was not asked for")
_PRE_NORM = Undefined(
    "attention reads a normalised form of what the layer is given (pre-norm): r and C belong to blocks that normalise "
    "after the residual"
)


class Profiler:
    """A reducer for `Trace` that keeps a few numbers for each text and layer.

    >>> import cenote
    >>> model = cenote.load("minilm")
    >>> with Trace(model, profiler := Profiler(), attention=True):
    ...     _ = model.encode(["a pool", "the deep cave holds light"])
    >>> first = profiler.compute()[0]
    >>> first.concentration.shape, first.sigma_a.shape, first.contraction.shape
    (torch.Size([2]), torch.Size([2, 12]), torch.Size([2, 12]))
    """

    def __init__(self) -> None:
        self._parts: dict[int, list[dict[str, Value]]] = {}
        self._norms: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, passage: Passage) -> None:
        """Measure what passes."""
        self._parts.setdefault(passage.layer.index, []).append(
            {**_of_tokens(passage), **_of_attention(passage, self._norms_of(passage.layer)), **_of_block(passage)}
        )

    def _norms_of(self, layer: Layer) -> tuple[Tensor, Tensor] | None:
        """|W_V^h| and |W_O^h W_V^h|, once for each block."""
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

    def keep(self, batches: int) -> None:
        """Forget all but the first so many batches, such as one that was refused halfway."""
        for parts in self._parts.values():
            del parts[batches:]

    def compute(self, order: Tensor | None = None) -> list[LayerProfile]:
        """The profile of every layer that was passed, texts as they came, or put into `order`."""
        names = [field.name for field in fields(LayerProfile) if field.name != "index"]
        layers = [
            LayerProfile(index, **{name: _joined([part[name] for part in parts], order) for name in names})  # type: ignore[arg-type]
            for index, parts in sorted(self._parts.items())
            if parts
        ]
        if any(layer.residual_ratio is _PRE_NORM for layer in layers):
            # The first layer of a pre-norm model may have no norm to go through; it is of its kind all the same.
            layers = [_without_block(layer) for layer in layers]
        return layers


def profile_layers(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    attention: bool = True,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> list[LayerProfile]:
    """Every layer's profile on the given texts, in one pass and in their order.

    >>> import cenote
    >>> layers = profile_layers(cenote.load("minilm"), ["a pool", "the deep cave holds light"])
    >>> len(layers), [round(value, 3) for value in layers[5].concentration.tolist()]
    (6, [0.589, 1.079])

    Args:
        model: any `SentenceTransformer` with one transformer.
        texts: what it reads.
        attention: whether to look at attention too; without it there is no sigma_a, lambda, nor what follows.
        batch_size: texts at a time. Attention takes heads x tokens² numbers for each, of one layer at a time.
        progress: called with the texts done and all texts after each batch.
    """
    if isinstance(texts, str) or not texts:
        raise BadInput(f"texts={texts!r}: pass a list of texts, at least one.")
    reducer, order, done = Profiler(), [], 0
    with at_rest(model), torch.no_grad(), Trace(model, reducer, attention=attention):
        for rows in batches_of(texts, range(len(texts)), batch_size):
            model.forward(features_of(model, [texts[row] for row in rows]))
            order += rows
            done += len(rows)
            if progress is not None:
                progress(done, len(texts))
    return reducer.compute(torch.tensor(order).argsort())


def batches_of(texts: Sequence[str], rows: Sequence[int], size: int) -> Iterator[list[int]]:
    """The given places, texts of like length together, longest first: what does not fit shows at once."""
    order = sorted(rows, key=lambda row: (-len(texts[row]), row))
    return (order[start : start + size] for start in range(0, len(order), size))


def features_of(model: SentenceTransformer, texts: list[str], prompt_name: str | None = None) -> dict[str, Any]:
    """What the model reads of texts, a prompt before them, on its device."""
    prompt = prompt_of(model, prompt_name)
    features: dict[str, Any] = batch_to_device(model.preprocess(texts, prompt=prompt), model.device)
    return features


def pooled_of(model: SentenceTransformer, features: dict[str, Any]) -> Tensor:
    """Which tokens [B, T] count in pooling: the real ones, without a prompt that the pooling leaves out.

    An operator may pick some of these, as `cls` does. Of several poolings, a router's, the first one decides.
    """
    real: Tensor = features["attention_mask"].bool()
    pooling = next((module for module in model.modules() if isinstance(module, StPooling)), None)
    if pooling is None:
        return real
    marked = features.get("prompt_mask") if isinstance(pooling, Pooling) else None  # theirs knows no such feature
    return after(skipped(pooling, features, len(real), marked), real)


def limit_of(model: SentenceTransformer) -> int | None:
    """After how many tokens the model cuts. A tokenizer that knows of none says a number like 1e30."""
    limit = model.max_seq_length
    return int(limit) if limit is not None and limit < NO_LIMIT else None


def prompt_of(model: SentenceTransformer, name: str | None = None) -> str | None:
    """What the model puts before every text: its prompt of that name, or by default the one that it always takes."""
    if name is not None:
        prompt: str | None = choose(name, model.prompts, "prompt")
        return prompt
    return model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None


def _of_tokens(passage: Passage) -> dict[str, Value]:
    return {
        "concentration": concentration(passage.after, passage.mask),
        "token_cosine": token_cosine(passage.after, passage.mask),
        "filter_rate": filter_rate(passage.before, passage.after, passage.mask),
    }


_OF_WEIGHTS = ("sigma_a", "logit_variance", "sigma_a_bound")
_OF_PROJECTIONS = ("filter_bound", "attention_rate", "attention_bound", "contraction")


def _of_attention(passage: Passage, norms: tuple[Tensor, Tensor] | None) -> dict[str, Value]:
    """What attention's weights say, alone and with those of its projections."""
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
        # ConvBERT has fewer heads than its config says: the rest are convolutions.
        heads = f"{passage.attention.shape[1]} heads attend, and the projections are of {len(norms[0])}"
        return found | dict.fromkeys(_OF_PROJECTIONS, Undefined(heads))
    found["attention_rate"] = filter_rate(passage.read, passage.attended, passage.mask)
    if passage.attention is not None:
        value, operator = norms
        found["filter_bound"] = filter_bound(sigma, value)
        found["attention_bound"] = attention_bound(sigma, operator)
        found["contraction"] = contraction(passage.attention, operator, passage.mask)
    return found


def _of_block(passage: Passage) -> dict[str, Value]:
    if passage.attended is None:
        missing: Value = Undefined(str(passage.layer.projections))
    elif not passage.reads_input:
        missing = _PRE_NORM
    else:
        total = passage.before + passage.attended
        return {
            "residual_ratio": residual_ratio(passage.before, passage.attended, passage.mask),
            "block_ratio": block_ratio(total, passage.after, passage.mask),
        }
    return {"residual_ratio": missing, "block_ratio": missing}


def _joined(parts: list[Value], order: Tensor | None) -> Value:
    """The batches' values as one, on the CPU."""
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


def _without_block(layer: LayerProfile) -> LayerProfile:
    return replace(layer, residual_ratio=_PRE_NORM, block_ratio=_PRE_NORM)
