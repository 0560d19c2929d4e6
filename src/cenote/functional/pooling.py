"""The pooling operators: token embeddings and a mask in, one vector per text out.

Each operator is one function and one line of `POOLINGS`; names, aliases, options, error texts, the command
line and the documentation all read that table. `pool` is the door: it checks, calls, and checks again.

All operators keep the same promises. Only real tokens count, wherever the padding is and whatever it holds.
Sums accumulate in float32 or better and are rounded once, to the dtype of the tokens. A text without a single
real token raises: there is nothing to pool, and a vector of zeros or NaN would be a lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput, choose, some

Array = TypeVar("Array", Tensor, np.ndarray)

# Rows of half-precision tokens are widened this many bytes at a time, so that the copy stays in cache.
_CACHE_BYTES = 8 << 20


@dataclass(frozen=True)
class Batch:
    """What an operator works on: padded texts of one batch.

    `real` marks the tokens of the text; `kept` those of them that are pooled, fewer where a prompt is skipped.
    """

    tokens: Tensor  # [B, T, D], floating
    real: Tensor  # [B, T], bool
    kept: Tensor  # [B, T], bool

    @property
    def wide(self) -> torch.dtype:
        """The dtype in which sums accumulate: one in which their error vanishes in the final rounding."""
        half = self.tokens.dtype.itemsize < 4
        return torch.float32 if half or self.tokens.device.type != "cpu" else torch.float64

    @cached_property
    def flush(self) -> bool:
        """Whether every text starts in the first slot, the usual case and a quick one."""
        return _may_look() and bool(self.kept[:, :1].all()) and self.kept.shape[1] > 0


@dataclass(frozen=True)
class Operator:
    """One line of `POOLINGS`."""

    meaning: str
    compute: Callable[..., Tensor]  # (batch, **options) -> [B, D], in any dtype at least as wide as the tokens
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    marks: bool = False  # pools marked positions, which only the tokenising module knows
    hides: bool = False  # its result may be finite though the tokens are not


def _cls(batch: Batch) -> Tensor:
    # A copy: a view would keep all tokens of the batch in memory for the sake of one of each text.
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
    # Positions count over the whole text, so that a skipped prompt does not move the weights of the rest.
    return _average(batch, batch.real.cumsum(1).to(batch.wide) * batch.kept)


def _every_k(batch: Batch, k: int = 32) -> Tensor:
    if isinstance(k, bool) or not isinstance(k, int) or k <= 0:
        raise BadInput(f"k={k!r}: every_k pools every k-th token, so k is a whole number of at least 1.")
    rank = batch.kept.cumsum(1)
    count = rank[:, -1:]
    picked = batch.kept & ((rank % k == 0) | (rank == count))
    return _average(batch, picked.to(batch.wide))


def _marked(batch: Batch, landmarks: Any = None) -> Tensor:
    marks = _marks(landmarks, batch)
    if _may_look():
        _refuse_rows(~marks.any(1), "no landmark among the pooled tokens", "mark at least one real token per text")
    return _average(batch, marks.to(batch.wide))


POOLINGS: dict[str, Operator] = {
    "cls": Operator("the first real token", _cls),
    "mean": Operator("the mean of the real tokens", _mean),
    "max": Operator("the largest value of each dimension over the real tokens", _max, hides=True),
    "mean_sqrt_len": Operator(
        "the sum of the real tokens divided by the square root of their number",
        _mean_sqrt_len,
        aliases=("mean_sqrt_len_tokens",),
    ),
    "weightedmean": Operator("the mean with weights 1, 2, ... n: later tokens count more", _weightedmean),
    "lasttoken": Operator("the last real token", _lasttoken),
    "landmark": Operator(
        "the mean of the landmark tokens inserted after each chunk",
        _marked,
        aliases=("lmk",),
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

# Every accepted spelling, and the name that it stands for.
NAMES: dict[str, str] = {alias: name for name, row in POOLINGS.items() for alias in (name, *row.aliases)}


def canonical(how: Any) -> tuple[str, ...]:
    """The names that `how` stands for, in order; an unknown one raises with a suggestion.

    >>> canonical("mean_sqrt_len_tokens"), canonical(("cls", "mean"))
    (('mean_sqrt_len',), ('cls', 'mean'))
    """
    names = tuple(how) if isinstance(how, (list, tuple)) else (how,)
    if not names:
        raise BadInput(f"how={how!r} names no pooling. There are: {', '.join(POOLINGS)}.")
    return tuple(choose(name, NAMES, "pooling", shown=POOLINGS) for name in names)


def pool(
    tokens: Array,
    mask: Any = None,
    how: str | Sequence[str] = "mean",
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
    >>> pool(tokens, mask, ("cls", "lasttoken"))                          # a tuple concatenates
    tensor([[1., 2., 3., 6.]])
    >>> pool(tokens[0], mask[0], "mean")                                  # [T, D] in, [D] out
    tensor([2., 4.])
    >>> pool(tokens, mask, "mean", skip=1)                                # leave out a prompt of one token
    tensor([[3., 6.]])
    >>> pool(tokens, mask, "landmark", landmarks=torch.tensor([[0, 1, 0]]))
    tensor([[3., 6.]])

    Args:
        tokens: `[B, T, D]`, or `[T, D]` for one text: a floating torch tensor on any device, or a numpy array.
        mask: `[B, T]` or `[T]`, 1 for real tokens and 0 for padding, on either side. None: all tokens are real.
            What the padding holds has no influence, not even NaN.
        how: a name from `POOLINGS` or an alias; a sequence of names concatenates their vectors.
        skip: leaves out the first `skip` real tokens of each text, as for a prompt: one number, or one per text.
        return_landmarks: also return each text's landmark vectors, a list of `[m, D]`; for `landmark`, `multi_cls`.
        **options: what the operator takes: `k` for `every_k` (default 32), `landmarks` (a mask of marked
            positions, shaped like `mask`) for `landmark` and `multi_cls`.

    Returns:
        `[B, D]` (or `[D]`), of the kind, device and dtype of `tokens`; `D` times the number of names for a
        sequence. With `return_landmarks` a pair of that and the list.

    Raises:
        UnknownName: no such pooling; the message lists them.
        BadInput: a shape, dtype or value that cannot be pooled, naming the rows.
    """
    if isinstance(tokens, np.ndarray):
        return _from_numpy(pool, tokens, mask, how, skip=skip, return_landmarks=return_landmarks, **options)
    names = canonical(how)
    check_options(names, options, return_landmarks)
    batch, pooled = _finite_pool(prepare(tokens, mask, skip), names, options)
    single = tokens.ndim == 2
    result = pooled[0] if single else pooled
    if not return_landmarks:
        return result
    marks = _marks(options.get("landmarks"), batch)
    vectors = [row[where] for row, where in zip(batch.tokens, marks, strict=True)]
    return result, (vectors[0] if single else vectors)


def _finite_pool(batch: Batch, names: Sequence[str], options: Mapping[str, Any]) -> tuple[Batch, Tensor]:
    """Pool, and where that is not finite find out why: garbage in the padding, broken tokens, or an overflow."""
    pooled = compute(batch, names, options)
    hidden = any(POOLINGS[name].hides for name in names) and batch.tokens.numel()
    if not _may_look() or (_finite(pooled) and (not hidden or _finite(batch.tokens.amin()))):
        return batch, pooled
    batch = _without_garbage(batch)
    pooled = compute(batch, names, options)
    if not _finite(pooled):
        raise BadInput(f"the pooled vector overflows {batch.tokens.dtype}: pass tokens.float().")
    return batch, pooled


def compute(batch: Batch, names: Sequence[str], options: Mapping[str, Any]) -> Tensor:
    """The operators alone, without the checks that look at values: for training, where overflow is the scaler's."""
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
    """sum_t w_t x_t for each text, in the dtype of the weights.

    On a CPU it is a product [1, T] x [T, D] over a few texts at a time: one pass over memory, widened in cache,
    where masking and summing takes three. Elsewhere, while a graph is recorded, and where the user lets matrix
    products round, it is a plain sum: pooling must not lose digits to a setting that was meant for the model.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        products = tokens.device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
        if not (products and _may_look()):
            return (tokens.to(weights.dtype) * weights.unsqueeze(-1)).sum(1)
        rows = max(1, _CACHE_BYTES // (tokens[0].numel() * weights.element_size() + 1))
        weights = weights.unsqueeze(1)
        blocks = [slice(start, start + rows) for start in range(0, len(tokens), rows)]
        return torch.cat([torch.bmm(weights[block], tokens[block].to(weights.dtype)) for block in blocks]).squeeze(1)


def _first(mask: Tensor) -> Tensor:
    return mask.int().argmax(1)  # int, since ONNX Runtime has no argmax of int64


def _at(tokens: Tensor, index: Tensor) -> Tensor:
    return tokens.gather(1, index.view(-1, 1, 1).expand(-1, 1, tokens.shape[2])).squeeze(1)


def _finite(values: Tensor) -> bool:
    # A finite sum has finite terms, and is the quicker question; a sum may also just overflow.
    return math.isfinite(values.sum().item()) or bool(values.isfinite().all())


def _may_look() -> bool:
    """Whether values may steer the code: not while a graph is being recorded."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def _marks(landmarks: Any, batch: Batch) -> Tensor:
    if landmarks is None:
        raise BadInput(
            "landmarks=None: this pooling averages marked positions. Pass landmarks=, a mask shaped like the "
            "attention mask, or use cenote.load(model, pooling='landmark'), which inserts and marks them."
        )
    return _as_mask(landmarks, batch.tokens, "landmarks") & batch.kept


def check_options(names: Sequence[str], options: Mapping[str, Any], return_landmarks: bool = False) -> None:
    """Refuse an option that none of the named operators takes: ignoring it would hide a mistake."""
    allowed = {option for name in names for option in POOLINGS[name].options}
    for option in options:
        if option not in allowed:
            takes = f"it takes {some(sorted(allowed))}" if allowed else "it takes no option"
            raise BadInput(f"option {option!r} is not one of pooling {'+'.join(names)}: {takes}.")
    if return_landmarks and not (len(names) == 1 and POOLINGS[names[0]].marks):
        marked = [name for name, row in POOLINGS.items() if row.marks]
        raise BadInput(f"return_landmarks=True needs one of {', '.join(marked)}, not {'+'.join(names)}.")


def prepare(tokens: Any, mask: Any, skip: Any) -> Batch:
    """Check shapes, dtypes and masks, and bring tokens into the one form that the operators read."""
    if not isinstance(tokens, Tensor):
        raise BadInput(f"tokens is a {type(tokens).__name__}: pass a torch tensor or a numpy array.")
    shape = tuple(tokens.shape)
    if tokens.ndim not in (2, 3):
        raise BadInput(f"tokens has shape {shape}: pass [B, T, D], or [T, D] for one text.")
    if not tokens.is_floating_point():
        raise BadInput(f"tokens of dtype {tokens.dtype} cannot be averaged: pass tokens.float().")
    if tokens.ndim == 2:
        tokens = tokens.unsqueeze(0)
    if mask is None:
        real = torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
    else:
        real = _as_mask(mask, tokens, "mask")
    batch = Batch(tokens, real, _after(skip, real))
    if _may_look() and not batch.flush:
        _refuse_rows(~real.any(1), "no real token", "leave such texts out, or give them a special token")
        _refuse_rows(~batch.kept.any(1), f"no token left after skip={skip}", "skip fewer tokens")
    return batch


def _as_mask(mask: Any, tokens: Tensor, name: str) -> Tensor:
    """`mask` as booleans, one for each of `tokens [B, T, D]`."""
    try:
        values = mask if isinstance(mask, Tensor) else torch.as_tensor(mask)
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{name} is a {type(mask).__name__}, not an array of 0 and 1.") from None
    if values.ndim == 1 and tokens.shape[0] == 1:
        values = values.unsqueeze(0)
    if values.shape != tokens.shape[:-1]:
        raise BadInput(
            f"{name} has shape {tuple(values.shape)} where tokens have {tuple(tokens.shape)}: pass one entry per token."
        )
    if values.device != tokens.device:
        raise BadInput(f"{name} is on {values.device}, tokens on {tokens.device}: move one to the other.")
    if values.dtype == torch.bool:
        return values
    marked = values.bool()
    if _may_look() and not torch.equal(marked.to(values.dtype), values):
        raise BadInput(f"{name} holds values other than 0 and 1: pass 1 for real tokens and 0 for padding.")
    return marked


def _after(skip: Any, real: Tensor) -> Tensor:
    """The real tokens but the first `skip` of each row."""
    if isinstance(skip, int) and skip == 0:
        return real
    counts = torch.as_tensor(skip, device=real.device)
    if (
        counts.is_floating_point()
        or counts.ndim > 1
        or counts.numel() not in (1, len(real))
        or bool((counts < 0).any())
    ):
        raise BadInput(f"skip={skip!r}: pass one whole number of at least 0, or one per text ({len(real)} here).")
    return real & (real.cumsum(1) > counts.reshape(-1, 1))


def _refuse_rows(bad: Tensor, problem: str, remedy: str) -> None:
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        subject = f"row {rows[0]} has" if len(rows) == 1 else f"rows {some(rows)} have"
        raise BadInput(f"{subject} {problem}: {remedy}.")


def _without_garbage(batch: Batch) -> Batch:
    """The same batch with its padding cleared, or an error that names the rows whose real tokens are not finite.

    Only called when a result came out NaN or infinite, so that the ordinary case pays one look at the result.
    """
    broken = ~batch.tokens.isfinite().all(-1)
    _refuse_rows((broken & batch.real).any(1), "NaN or inf among the real tokens", "look at what made them")
    return Batch(batch.tokens.masked_fill(~batch.real.unsqueeze(-1), 0), batch.real, batch.kept)


def _from_numpy(function: Callable[..., Any], tokens: np.ndarray, *args: Any, **kwargs: Any) -> Any:
    """Numpy in, numpy out: the same operator on a tensor that shares the memory."""
    if tokens.dtype.kind != "f" or tokens.dtype.itemsize > 8:
        raise BadInput(f"tokens of dtype {tokens.dtype} cannot be pooled: pass float16, float32 or float64.")
    with torch.no_grad():
        result = function(torch.from_numpy(np.require(tokens, requirements=["C", "W"])), *args, **kwargs)
    if isinstance(result, tuple):
        pooled, marks = result
        return pooled.numpy(), ([m.numpy() for m in marks] if isinstance(marks, list) else marks.numpy())
    return result.numpy()
