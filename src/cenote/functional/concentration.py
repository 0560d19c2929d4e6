"""How close a text's tokens lie together, and what one attention block does to that.

Everything here is over the real tokens of each text: padding may be on either side and hold anything, NaN included.
Sums are of centred values in float64 (float32 on a device without it), whatever the dtype given, and so are results:
a spread a millionth of the mean keeps its digits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from cenote.errors import BadInput, some
from cenote.functional.arrays import Array, from_numpy, like
from cenote.functional.batches import as_mask, prepare, refuse_rows

# A mean, or a spread, below this many roundings of the tokens' own size is nothing but rounding: it counts as zero.
_ROUNDINGS = 64


class Known(NamedTuple):
    """A measure that not every text has: a text of one token has no spread, so no ratio of spreads.

    `values` holds those that exist and no filler, so any mean over it is right; `defined` says whose they are:
    `lengths[known.defined]` goes with `known.values`.
    """

    values: Any
    defined: Any


class Texts(NamedTuple):
    """Token matrices as the measures read them: wide, zeros for padding, each text scaled by its largest entry."""

    tokens: Tensor  # [B, T, D]
    real: Tensor  # [B, T], bool
    scale: Tensor  # [B], what tokens were divided by; 1 for a text of zeros

    @property
    def counts(self) -> Tensor:
        """The number of real tokens of each text, in the tokens' dtype."""
        return self.real.sum(1).to(self.tokens.dtype)

    @property
    def mean(self) -> Tensor:
        """[B, D]."""
        return self.tokens.sum(1) / self.counts.unsqueeze(1)

    @property
    def size(self) -> Tensor:
        """[B], the root mean square length of the tokens."""
        root: Tensor = vector_norm(self.tokens, dim=(1, 2)) / self.counts.sqrt()
        return root

    @property
    def spread(self) -> Tensor:
        """[B], the root of S(X) = (1/n) Σ |x_i - mu|², exactly 0 where the tokens are equal but for rounding."""
        apart = (self.tokens - self.mean.unsqueeze(1)).masked_fill(~self.real.unsqueeze(-1), 0)
        root: Tensor = vector_norm(apart, dim=(1, 2)) / self.counts.sqrt()
        return root.masked_fill(root <= rounding(root.dtype) * self.size, 0)

    @property
    def centre(self) -> Tensor:
        """[B], |mu|, exactly 0 where the tokens cancel but for rounding."""
        length: Tensor = vector_norm(self.mean, dim=1)
        return length.masked_fill(length <= rounding(length.dtype) * self.size, 0)


def rounding(dtype: torch.dtype) -> float:
    """The relative size below which a difference of sums in `dtype` is taken for rounding."""
    return _ROUNDINGS * torch.finfo(dtype).eps


def wide(values: Tensor) -> Tensor:
    """In float64, where the device has it: Apple's has not."""
    return values.float() if values.device.type == "mps" else values.double()


def tensor_of(values: Any, name: str) -> Tensor:
    """A floating tensor of a tensor or a numpy array."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        values = from_numpy(values)
    if not isinstance(values, Tensor):
        raise BadInput(f"{name} is a {type(values).__name__}: pass a torch tensor or a numpy array of numbers.")
    if not values.is_floating_point():
        raise BadInput(f"{name} has dtype {values.dtype}: pass floating numbers, for example {name}.float().")
    return values.detach()


def texts_of(tokens: Any, mask: Any, name: str = "tokens") -> Texts:
    """Check tokens `[B, T, D]` (or `[T, D]`) and their mask, and bring them into the form of the measures."""
    batch = prepare(tensor_of(tokens, name), mask, 0)
    if 0 in batch.tokens.shape[1:]:
        raise BadInput(
            f"{name} has shape {tuple(tokens.shape)}: a text has at least one token, of at least one number."
        )
    values = wide(batch.tokens).masked_fill(~batch.real.unsqueeze(-1), 0)
    refuse_rows(~values.isfinite().all(-1).all(-1), f"NaN or inf among the real {name}", "look at what made them")
    scale = values.abs().amax((1, 2))
    scale = scale.masked_fill(scale == 0, 1)
    return Texts(values / scale[:, None, None], batch.real, scale)


def each(given: Array, values: Tensor) -> Array:
    """`values [B]` as the kind of array given, without the dimension of texts if one text `[T, D]` was given."""
    return like(given, values[0] if given.ndim == 2 else values)


def concentration(tokens: Array, mask: Any = None) -> Array:
    """How far a text's tokens lie from their mean, relative to the length of that mean: S(X) / |mu|².

    >>> concentration(torch.tensor([[[3.0, 0.0], [1.0, 0.0]]]))          # mean (2, 0); each token 1 away from it
    tensor([0.2500], dtype=torch.float64)

    With mu = (1/n) Σ x_i and S(X) = (1/n) Σ |x_i - mu|². At least 0, without an upper bound; 0 says that all tokens
    are equal, as those of a single token are. The smaller it is, the less is lost when tokens are averaged, and the
    smaller the second-order collapse of mean pooling: below eps, SOCM is O(eps). Scale and rotation do not matter.

    Args:
        tokens: `[B, T, D]`, or `[T, D]` for one text: a floating tensor or numpy array.
        mask: `[B, T]` or `[T]`, 1 for real tokens. None: all are.

    Returns:
        `[B]`, or a number for one text, in float64 and of the tokens' kind.

    Raises:
        BadInput: for a text whose mean is zero, or zero but for rounding: nothing to compare its spread to.
    """
    return each(tokens, _concentration(texts_of(tokens, mask)))


def _concentration(texts: Texts) -> Tensor:
    refuse_rows(texts.centre == 0, "a mean of zero", "its spread has nothing to be compared to; leave it out")
    return (texts.spread / texts.centre).square()


def token_cosine(tokens: Array, mask: Any = None) -> Array:
    """The mean cosine of a text's tokens with each other: the mean of the whole n x n cosine matrix.

    >>> token_cosine(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]))           # [[1, 0], [0, 1]]
    tensor([0.5000], dtype=torch.float64)

    Computed as |(1/n) Σ x_i / |x_i||², the same number without the matrix. In [0, 1]: 1 where all tokens point the same
    way. Each token's cosine with itself counts, so that n orthogonal tokens have 1/n. Arguments and result as in
    `concentration`.

    Raises:
        BadInput: for a token of zeros, which has no direction, naming it.
    """
    texts = texts_of(tokens, mask)
    peaks = texts.tokens.abs().amax(-1, keepdim=True)
    zeros = (peaks[..., 0] == 0) & texts.real
    if bool(zeros.any()):
        places = [f"{token} of text {text}" for text, token in zeros.nonzero().tolist()]
        raise BadInput(f"zero vectors have no direction: token {some(places)}. Mask them, or look at what made them.")
    scaled = texts.tokens / peaks.masked_fill(peaks == 0, 1)  # so that no square leaves the range
    units = scaled / vector_norm(scaled, dim=-1, keepdim=True).masked_fill(peaks == 0, 1)
    return each(tokens, vector_norm(units.sum(1) / texts.counts.unsqueeze(1), dim=1).square().clamp(max=1))


def maps_of(attention: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
    """Check attention `[..., T, T]` and the mask of its texts; the mask comes back as `[..., T]`, None if all real.

    A mask `[B, T]` goes with the first dimension of `attention`, `[T]` with one text, whatever else there is.
    """
    values = tensor_of(attention, "attention")
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] == 0:
        raise BadInput(f"attention has shape {tuple(values.shape)}: pass [..., T, T], as many keys as queries.")
    if mask is None:
        return values, None
    lead = values.shape[:-2] if getattr(mask, "ndim", np.ndim(mask)) > 1 else ()
    size = values.shape[-1]
    # as_mask compares with tokens [B, T, D]; texts without numbers say the shape and cost nothing.
    real = as_mask(mask, values.new_empty((lead[0] if lead else 1), size, 0), "mask")
    refuse_rows(~real.any(1), "no real token", "leave such texts out, or give them a special token")
    if bool(real.all()):
        return values, None
    heads = [1] * (values.ndim - 3) if lead else [1] * (values.ndim - 2)
    return values, real.reshape([*lead[:1], *heads, size])


def real_part(maps: Tensor, real: Tensor | None) -> Tensor:
    """Attention among real tokens, zeros elsewhere; NaN or inf among it raises, naming the text."""
    if real is not None:
        maps = maps.masked_fill(~(real.unsqueeze(-1) & real.unsqueeze(-2)), 0)
    refuse_broken(maps.isfinite().flatten(-2).all(-1))
    return maps


def refuse_broken(fine: Tensor) -> None:
    """Raise unless `fine [...]` of all maps, naming the texts: the first dimension, where there is more than one."""
    texts = fine.flatten(1).all(1) if fine.ndim > 1 else fine.reshape(-1)
    refuse_rows(~texts, "NaN or inf in its attention", "look at what made it")


def counts_of(maps: Tensor, real: Tensor | None) -> Tensor:
    """The number of real tokens of every map, broadcast to `[...]`."""
    lead = maps.shape[:-2]
    if real is None:
        return torch.full(lead, maps.shape[-1], dtype=wide(maps.new_empty(0)).dtype, device=maps.device)
    return real.sum(-1).to(wide(maps.new_empty(0)).dtype).expand(lead)


def centred(maps: Tensor, real: Tensor | None) -> Tensor:
    """P A in wide numbers: each column minus its mean over the real queries, by two passes; zeros for padding."""
    values = wide(maps)
    mean = values.sum(-2, keepdim=True) / counts_of(maps, real)[..., None, None]
    apart = values - mean
    return apart if real is None else apart.masked_fill(~real.unsqueeze(-1), 0)


def contraction(attention: Array, operator_norms: Array, mask: Any = None) -> Array:
    """How much of the tokens' spread each head passes on: lambda_h = |W_o^h W_v^h|² |P A_h|²_F / (n - 1).

    >>> contraction(torch.eye(2).expand(1, 1, 2, 2), torch.tensor([0.5]))   # |P I|²_F = n - 1: identity passes all
    tensor([[0.2500]], dtype=torch.float64)

    P = I - (1/n) 1 1ᵀ centres over the real tokens. At least 0. Below 1 for every head, attention contracts: the
    spread of its output, relative to the mean of the block's input, is O(r C), see `residual_ratio`, `block_ratio`.
    A text of one token has P A = 0 and n - 1 = 0; its lambda is 0, for nothing is passed on, as it is for any text
    whose rows of attention are equal.

    Args:
        attention: `[B, H, T, T]`, rows are queries; or `[H, T, T]` for one text.
        operator_norms: `[H]`, |W_o^h W_v^h| as `head_norms` gives them.
        mask: `[B, T]` or `[T]`.

    Returns:
        `[B, H]` or `[H]`.
    """
    maps, real = maps_of(attention, mask)
    norms = tensor_of(operator_norms, "operator_norms")
    if maps.ndim not in (3, 4) or norms.shape != maps.shape[-3:-2]:
        shapes = f"attention has shape {tuple(maps.shape)}, operator_norms {tuple(norms.shape)}"
        raise BadInput(f"{shapes}: pass [B, H, T, T] or [H, T, T], and [H].")
    passed = vector_norm(centred(real_part(maps, real), real), dim=(-2, -1)).square()
    return like(attention, passed / (counts_of(maps, real) - 1).clamp(min=1) * wide(norms).square())


def head_norms(value: Array, output: Array, heads: int, value_heads: int | None = None) -> Array:
    """|W_o^h W_v^h|, the largest singular value of what one head does to a token on its way through, for each head.

    >>> value = torch.diag(torch.tensor([3.0, 1.0, 2.0, 1.0]))           # two heads of two dimensions
    >>> head_norms(value, torch.eye(4), heads=2)
    tensor([3., 2.], dtype=torch.float64)

    Weights are as torch's Linear stores them, `[out, in]`. The D x D product is never made: with W_o^h = Q R and
    (W_v^h)ᵀ = Q' R', its singular values are those of the small matrix R R'ᵀ.

    Args:
        value: `[value_heads * d, D]`, the value projection.
        output: `[D_out, heads * d]`, the output projection.
        heads: the number of heads.
        value_heads: how many of them have values of their own, where queries are grouped: head h reads the values of
            h // (heads / value_heads). None: all.

    Returns:
        `[heads]`, in float64.
    """
    groups = heads if value_heads is None else value_heads
    inward, outward = matrix_of(value, "value"), matrix_of(output, "output")
    inward = split(inward, groups, "value")
    if heads < 1 or heads % groups or outward.shape[1] != heads * inward.shape[1]:
        shapes = f"value has shape {tuple(value.shape)}, output {tuple(output.shape)}"
        raise BadInput(f"{shapes}: heads={heads} of which value_heads={groups} do not fit; see the config.")
    inward = inward.repeat_interleave(heads // groups, 0)  # [H, d, D]
    outward = split(outward.T, heads, "output")  # [H, d, D_out]
    small = torch.linalg.qr(outward.mT, mode="r")[1] @ torch.linalg.qr(inward.mT, mode="r")[1].mT
    return like(value, torch.linalg.matrix_norm(small, ord=2))


def matrix_of(weight: Any, name: str) -> Tensor:
    """A weight matrix in wide numbers, finite."""
    matrix = tensor_of(weight, name)
    if matrix.ndim != 2 or not bool(matrix.isfinite().all()):
        raise BadInput(f"{name} has shape {tuple(matrix.shape)}: pass a matrix [out, in] of finite numbers.")
    return wide(matrix)


def split(matrix: Tensor, heads: int, name: str) -> Tensor:
    """`[heads * d, D]` as `[heads, d, D]`."""
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or len(matrix) % heads or not len(matrix):
        raise BadInput(f"{name} has {len(matrix)} rows for its heads: they do not divide among {heads!r}.")
    return matrix.reshape(heads, -1, matrix.shape[1])


def residual_ratio(hidden: Array, attended: Array, mask: Any = None) -> Array:
    """The spread that the residual carries past attention: r = (1/n) Σ |h_j - mu(H)|² / |mu(H + Z)|².

    >>> hidden = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])                # spread 1, mean (1, 0)
    >>> residual_ratio(hidden, torch.ones(1, 2, 2))                      # mean of the sum (2, 1)
    tensor([0.2000], dtype=torch.float64)

    H is the block's input and Z its attention output, before they are added and normalised. What training changes
    is r: fine-tuned encoders have a small one. `[B, T, D]` each; arguments, result and refusals as in `concentration`.
    """
    before, change = pair_of(hidden, attended, mask, "hidden", "attended")
    unit = torch.maximum(before.scale, change.scale)
    shares = [(texts.scale / unit)[:, None, None] for texts in (before, change)]
    total = Texts(before.tokens * shares[0] + change.tokens * shares[1], before.real, unit)
    refuse_rows(total.centre == 0, "a mean of zero after the residual", "there is nothing to compare to; leave it out")
    return each(hidden, (before.spread * shares[0][:, 0, 0] / total.centre).square())


def block_ratio(attended_sum: Array, out: Array, mask: Any = None) -> Known:
    """What normalisation and feed-forward do to concentration: C = concentration(X) / concentration(Y).

    >>> block_ratio(torch.tensor([[[3.0], [1.0]], [[1.0], [1.0]]]), torch.tensor([[[5.0], [3.0]], [[1.0], [1.0]]]))
    Known(values=tensor([0.2500], dtype=torch.float64), defined=tensor([ True, False]))

    Y = H + Z is the sum of a block's input and its attention output, X the block's output; `[B, T, D]` each. Above 1
    the tokens are drawn apart, below 1 together. Where Y has no spread, as with a single token, C does not exist:
    `defined [B]` is False there and `values` has only the others'. One text gives `defined [1]`.
    """
    before, after = pair_of(attended_sum, out, mask, "attended_sum", "out")
    start, end = _concentration(before), _concentration(after)
    defined = start > 0
    return Known(like(attended_sum, end[defined] / start[defined]), like(attended_sum, defined))


def pair_of(first: Any, second: Any, mask: Any, *names: str) -> tuple[Texts, Texts]:
    """Two token matrices of the same texts."""
    if getattr(first, "shape", None) != getattr(second, "shape", None):
        shapes = [f"{name} {tuple(getattr(x, 'shape', ()))}" for name, x in zip(names, (first, second), strict=True)]
        raise BadInput(f"{' and '.join(shapes)} differ in shape: pass the same texts at two places of one model.")
    return texts_of(first, mask, names[0]), texts_of(second, mask, names[1])
