"""The pooling operators: token embeddings and a mask in, one vector per text out.

Each operator is one function and one line of `POOLINGS`; options, error texts and the documentation come from that
table. Its name stands in `cenote.choices.POOLINGS` too, for the command line, which does not wait for torch. `pool`
checks its input, calls the operator, and checks the result.

For all operators, only real tokens count, wherever the padding is and whatever it holds. Sums accumulate in float32 or
better and are rounded once, to the dtype of the tokens. A text without real tokens raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput, choose, some
from cenote.functional.arrays import Array, to_tensor
from cenote.functional.token_batches import (
    Batch,
    clear_padding,
    is_recording,
    pad_texts,
    refuse_rows,
    to_batch,
    to_mask,
)

if TYPE_CHECKING:
    from cenote.choices import PoolingName

# Half-precision tokens are widened this many bytes at a time, so that the copy stays in cache.
_CACHE_BYTES = 8 << 20
# The least mean cosine of a token with its text by which `inverse_density` divides.
_LEAST_DENSITY = 0.05


@dataclass(frozen=True)
class Operator:
    """One line of `POOLINGS`."""

    meaning: str
    compute: Callable[..., Tensor]  # (batch, **options) -> [B, D], in any dtype at least as wide as the tokens
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    marks: bool = False  # pools marked positions, which the tokenising module provides
    hides: bool = False  # its result may be finite if the tokens are not


def _cls(batch: Batch) -> Tensor:
    # A copy, since a view would keep all tokens of the batch in memory.
    return batch.tokens[:, 0].clone() if batch.flush else _at(batch.tokens, _first(batch.kept))


def _lasttoken(batch: Batch) -> Tensor:
    return _at(batch.tokens, batch.kept.shape[1] - 1 - _first(batch.kept.flip(1)))


def _max(batch: Batch) -> Tensor:
    return batch.tokens.masked_fill(~batch.kept.unsqueeze(-1), float("-inf")).amax(1)


def _mean(batch: Batch) -> Tensor:
    return _average(batch, batch.kept.to(batch.wide))


def _mean_sqrt_len(batch: Batch) -> Tensor:
    weights = batch.kept.to(batch.wide)
    return _weighted_sum(batch.tokens, weights) / weights.sum(1, keepdim=True).sqrt()


def _weightedmean(batch: Batch) -> Tensor:
    # Positions include a skipped prompt, so that skipping does not change the weights of the other tokens.
    return _average(batch, batch.real.cumsum(1).to(batch.wide) * batch.kept)


def _inverse_density(batch: Batch) -> Tensor:
    """Weigh each token by one over its mean cosine with all tokens of its text, which is that with the mean direction.

    Tokens that few others resemble count more. The floor keeps the weights of tokens that resemble none finite.
    """
    kept = batch.kept.to(batch.wide)
    unit = torch.nn.functional.normalize(batch.tokens.to(batch.wide), dim=-1)
    direction = _weighted_sum(unit, kept / kept.sum(1, keepdim=True))
    density = (unit * direction.unsqueeze(1)).sum(-1)  # no matrix product, which autocast would round
    return _average(batch, kept / density.clamp(min=_LEAST_DENSITY))


def _every_k(batch: Batch, k: Any = 32) -> Tensor:
    if isinstance(k, bool) or not hasattr(k, "__index__") or k <= 0:  # numpy's integers have __index__ too
        raise BadInput(f"k={k!r}: every_k pools every k-th token; pass a whole number of at least 1.")
    rank = batch.kept.cumsum(1)
    count = rank[:, -1:]
    picked = batch.kept & ((rank % k == 0) | (rank == count))
    return _average(batch, picked.to(batch.wide))


def _marked(batch: Batch, landmarks: Any = None) -> Tensor:
    marks = _marks(landmarks, batch)
    if not is_recording():
        refuse_rows(~marks.any(1), "no landmark among the pooled tokens", "mark at least one real token per text")
    return _average(batch, marks.to(batch.wide))


POOLINGS: dict[str, Operator] = {
    "cls": Operator("the first real token", _cls),
    "mean": Operator("the mean of the real tokens", _mean),
    "max": Operator("the largest value of each dimension over the real tokens", _max, hides=True),
    "mean_sqrt_len": Operator(
        "the sum of the real tokens divided by the square root of their number",
        _mean_sqrt_len,
        ("mean_sqrt_len_tokens",),
    ),
    "weightedmean": Operator("the mean with weights 1, 2, ... n: later tokens count more", _weightedmean),
    "inverse_density": Operator(
        "the mean with weights of one over a token's mean cosine with all tokens of its text: unlike tokens count more",
        _inverse_density,
    ),
    "lasttoken": Operator("the last real token", _lasttoken),
    "landmark": Operator(
        "the mean of the landmark tokens inserted after each chunk",
        _marked,
        ("lmk",),
        options=("landmarks",),
        marks=True,
    ),
    "every_k": Operator(
        "the mean of the last token of each chunk of k tokens, nothing inserted", _every_k, options=("k",)
    ),
    "multi_cls": Operator(
        "the mean of the CLS tokens inserted before each chunk", _marked, options=("landmarks",), marks=True
    ),
}

# Names and aliases, each with its name.
NAMES = cast(
    "dict[str, PoolingName]", {alias: name for name, row in POOLINGS.items() for alias in (name, *row.aliases)}
)


def canonical(how: Any) -> tuple[PoolingName, ...]:
    """Return the canonical names of `how`, in order; an unknown one raises with a suggestion.

    >>> canonical("mean_sqrt_len_tokens"), canonical(("cls", "mean")), canonical("cls,mean"), canonical("cls+mean")
    (('mean_sqrt_len',), ('cls', 'mean'), ('cls', 'mean'), ('cls', 'mean'))
    """
    names = tuple(how) if isinstance(how, (list, tuple)) else (how,)
    if isinstance(how, str):
        names = tuple(part.strip() for part in re.split("[,+]", how))  # records join them by +
    if not names:
        raise BadInput(f"how={how!r} names no pooling: pass one or more of {', '.join(POOLINGS)}.")
    return tuple(choose(name, NAMES, "pooling", shown=POOLINGS) for name in names)


@overload
def pool(
    tokens: Array,
    mask: Any = ...,
    how: PoolingName | Sequence[PoolingName] = ...,
    *,
    skip: Any = ...,
    return_landmarks: Literal[False] = ...,
    **options: Any,
) -> Array: ...
@overload
def pool(
    tokens: Array,
    mask: Any = ...,
    how: PoolingName | Sequence[PoolingName] = ...,
    *,
    skip: Any = ...,
    return_landmarks: Literal[True],
    **options: Any,
) -> tuple[Array, list[Array]]: ...
def pool(
    tokens: Any,
    mask: Any = None,
    how: PoolingName | Sequence[PoolingName] = "mean",
    *,
    skip: Any = 0,
    return_landmarks: bool = False,
    **options: Any,
) -> Any:
    """Pool token embeddings into one vector per text.

    >>> import torch
    >>> tokens = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]])     # one text, three slots
    >>> mask = torch.tensor([[1, 1, 0]])                                  # the last one is padding
    >>> pool(tokens, mask)
    tensor([[2., 4.]])
    >>> pool(tokens, mask, "max")
    tensor([[3., 6.]])
    >>> pool(tokens[0], mask[0], ("cls", "lasttoken"))                    # a tuple concatenates; [T, D] in, [D] out
    tensor([1., 2., 3., 6.])
    >>> pool(tokens, mask, "mean", skip=1)                                # skip a prompt of one token
    tensor([[3., 6.]])
    >>> pool(tokens, mask, "landmark", landmarks=torch.tensor([[0, 1, 0]]))
    tensor([[3., 6.]])

    Args:
        tokens: `[B, T, D]`, or `[T, D]` for one text: a floating torch tensor on any device, or a numpy array. Also a
            list of `[T, D]` tensors of different lengths, as from `encode(..., output_value="token_embeddings")`.
        mask: `[B, T]` or `[T]`, 1 for real tokens and 0 for padding, on either side. None: all tokens are real.
            The values of padding have no influence, not even NaN.
        how: a name from `POOLINGS` or an alias; several in a sequence concatenate their vectors, and so does a string
            with commas, as on the command line.
        skip: how many real tokens to skip at the start of each text, such as a prompt: one number, or one per text.
        return_landmarks: also return each text's landmark vectors, a list of `[m, D]`; for `landmark`, `multi_cls`.
        **options: of the operator: `k` for `every_k` (default 32), `landmarks` (a mask of marked positions, shaped
            like `mask`) for `landmark` and `multi_cls`.

    Returns:
        `[B, D]` (or `[D]`), of the kind, device and dtype of `tokens`; for several names, their vectors side by side.
        With `return_landmarks` a pair of that and the list.

    Raises:
        UnknownName: for an unknown pooling; the message lists all.
        BadInput: for a shape, dtype or value that cannot be pooled; the message names the rows.
    """
    array = isinstance(tokens, np.ndarray)
    if array:
        tokens = to_tensor(tokens, "tokens")
    names = canonical(how)
    check_options(names, options, return_landmarks)
    if isinstance(tokens, (list, tuple)):
        tokens, mask = pad_texts(tokens, mask)
    batch, pooled = _finite_pool(to_batch(tokens, mask, skip), names, options)
    single = tokens.ndim == 2
    made = [pooled[0] if single else pooled]
    if return_landmarks:
        marks = _marks(options.get("landmarks"), batch)
        made += [row[where] for row, where in zip(batch.tokens, marks, strict=True)]
    first, *vectors = [part.numpy() for part in made] if array else made
    if not return_landmarks:
        return first
    return first, (vectors[0] if single else vectors)


def _finite_pool(batch: Batch, names: Sequence[str], options: Mapping[str, Any]) -> tuple[Batch, Tensor]:
    """Pool; if the result is not finite, find the cause: values in padding, values of real tokens, or overflow."""
    if is_recording():
        return batch, compute(clear_padding(batch), names, options)
    pooled = compute(batch, names, options)
    hidden = any(POOLINGS[name].hides for name in names) and batch.tokens.numel()
    if _finite(pooled) and (not hidden or _finite(batch.tokens.amin())):
        return batch, pooled
    broken = ~batch.tokens.isfinite().all(-1)
    refuse_rows((broken & batch.real).any(1), "NaN or inf among the real tokens", "check how they were computed")
    batch = clear_padding(batch)
    pooled = compute(batch, names, options)
    if not _finite(pooled):
        raise BadInput(f"the pooled vector overflows {batch.tokens.dtype}: pass tokens.float().")
    return batch, pooled


def compute(batch: Batch, names: Sequence[str], options: Mapping[str, Any]) -> Tensor:
    """Apply operators without checking values: for training, where the gradient scaler handles overflow.

    Clear the padding before (`clear_padding`), or check the result for NaN.
    """
    if batch.tokens.shape[0] == 0:
        return batch.tokens.new_zeros(0, batch.tokens.shape[2] * len(names))
    parts = []
    for name in names:
        row = POOLINGS[name]
        own = {key: value for key, value in options.items() if key in row.options}
        parts.append(row.compute(batch, **own).to(batch.tokens.dtype))
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _average(batch: Batch, weights: Tensor) -> Tensor:
    return _weighted_sum(batch.tokens, weights) / weights.sum(1, keepdim=True)


def _weighted_sum(tokens: Tensor, weights: Tensor) -> Tensor:
    """Return sum_t w_t x_t for each text, in the dtype of the weights.

    On a CPU it is a product [1, T] x [T, D] for a few texts at a time: one pass over memory, widened in cache, while
    masking and summing takes three. It is a plain sum on other devices, while a graph is recorded, and if the user lets
    matrix products round: such a setting is for the model, and must not cost pooling digits.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        if not (tokens.device.type == "cpu" and not is_recording() and exact_products(weights.dtype)):
            return (tokens * weights.unsqueeze(-1)).sum(1)  # the product is as wide as the weights
        rows = max(1, _CACHE_BYTES // (tokens[0].numel() * weights.element_size() + 1))
        weights = weights.unsqueeze(1)
        blocks = [slice(start, start + rows) for start in range(0, len(tokens), rows)]
        return torch.cat([torch.bmm(weights[block], tokens[block].to(weights.dtype)) for block in blocks]).squeeze(1)


def exact_products(dtype: torch.dtype) -> bool:
    """Return whether matrix products keep the digits of `dtype`: a user may let those of float32 round."""
    if dtype == torch.float64:
        return True
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # it was set through torch's newer interface, which this function does not report
        return False


def _first(mask: Tensor) -> Tensor:
    return mask.int().argmax(1)  # int, because ONNX Runtime has no argmax of int64


def _at(tokens: Tensor, index: Tensor) -> Tensor:
    return tokens.gather(1, index.view(-1, 1, 1).expand(-1, 1, tokens.shape[2])).squeeze(1)


def _finite(values: Tensor) -> bool:
    # A finite sum, which is quicker to check, has finite terms; a sum of finite terms may overflow.
    return math.isfinite(values.sum().item()) or bool(values.isfinite().all())


def _marks(landmarks: Any, batch: Batch) -> Tensor:
    if landmarks is None:
        raise BadInput(
            "landmarks=None: this pooling averages marked positions. Pass landmarks=, a mask shaped like the "
            "attention mask, or use cenote.load(model, pooling='landmark'), which inserts and marks landmarks."
        )
    return to_mask(landmarks, batch.tokens, "landmarks") & batch.kept


def check_options(names: Sequence[str], options: Mapping[str, Any], return_landmarks: bool = False) -> None:
    """Raise `BadInput` for an option that none of the named operators takes: ignoring it would hide a mistake."""
    allowed = {option for name in names for option in POOLINGS[name].options}
    for option in options:
        if option not in allowed:
            takes = f"it takes {some(sorted(allowed))}" if allowed else "it takes no option"
            raise BadInput(f"unknown option {option!r} for pooling {'+'.join(names)}: {takes}.")
    if return_landmarks and not (len(names) == 1 and POOLINGS[names[0]].marks):
        marked = [name for name, row in POOLINGS.items() if row.marks]
        raise BadInput(f"return_landmarks=True needs one of {', '.join(marked)}, not {'+'.join(names)}.")
