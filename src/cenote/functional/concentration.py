"""Token concentration: how close a text's tokens lie together, and how an attention block changes that.

All measures are over the real tokens of each text: padding may be on either side and hold anything, even NaN. Sums are
of centred values in float64 (float32 on a device without it), and so are results: a deviation of a millionth of the
mean keeps its digits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from cenote.errors import BadInput, some
from cenote.functional.arrays import Array, convert_like, to_tensor, widen
from cenote.functional.token_batches import refuse_rows, to_batch, to_mask

# A mean or deviation of fewer roundings of the tokens' own norm than these counts as zero.
_ROUNDINGS = 64


class Known(NamedTuple):
    """A measure that is undefined for some texts: a single token has no variance, hence no ratio of variances.

    `values` holds the defined ones alone, without fillers, so that means over it are right; `defined` marks their
    texts: `lengths[known.defined]` goes with `known.values`.
    """

    values: Any
    defined: Any


class Texts(NamedTuple):
    """Token matrices in wide numbers, zeros for padding, each text divided by its largest absolute value."""

    tokens: Tensor  # [B, T, D]
    real: Tensor  # [B, T], bool
    scale: Tensor  # [B], the largest absolute value; 1 for a text of zeros

    @property
    def counts(self) -> Tensor:
        """The number of real tokens of each text, in the tokens' dtype."""
        return self.real.sum(1).to(self.tokens.dtype)

    @property
    def mean(self) -> Tensor:
        """The mean of the tokens, [B, D]."""
        return self.tokens.sum(1) / self.counts.unsqueeze(1)

    @property
    def rms_norm(self) -> Tensor:
        """The root mean square norm of the tokens, [B]."""
        root: Tensor = vector_norm(self.tokens, dim=(1, 2)) / self.counts.sqrt()
        return root

    @property
    def deviation(self) -> Tensor:
        """The root of S(X) = (1/n) Σ |x_i - mu|², [B]: exactly 0 if the tokens are equal up to rounding."""
        apart = (self.tokens - self.mean.unsqueeze(1)).masked_fill(~self.real.unsqueeze(-1), 0)
        root: Tensor = vector_norm(apart, dim=(1, 2)) / self.counts.sqrt()
        return root.masked_fill(root <= rounding_error(root.dtype) * self.rms_norm, 0)

    @property
    def mean_norm(self) -> Tensor:
        """The norm of the mean, [B]: exactly 0 if the tokens cancel up to rounding."""
        length: Tensor = vector_norm(self.mean, dim=1)
        return length.masked_fill(length <= rounding_error(length.dtype) * self.rms_norm, 0)


def rounding_error(dtype: torch.dtype) -> float:
    """Return the relative size below which a difference of sums in `dtype` counts as rounding."""
    return _ROUNDINGS * torch.finfo(dtype).eps


def read_texts(tokens: Any, mask: Any, name: str = "tokens") -> Texts:
    """Check tokens `[B, T, D]` (or `[T, D]`) and their mask, and return them as `Texts`."""
    batch = to_batch(to_tensor(tokens, name).detach(), mask, 0)
    if 0 in batch.tokens.shape[1:]:
        raise BadInput(f"{name} has shape {tuple(tokens.shape)}: pass at least one token per text and one dimension.")
    values = widen(batch.tokens).masked_fill(~batch.real.unsqueeze(-1), 0)
    refuse_rows(~values.isfinite().all(-1).all(-1), f"NaN or inf among the real {name}", "check how they were computed")
    scale = values.abs().amax((1, 2))
    scale = scale.masked_fill(scale == 0, 1)
    return Texts(values / scale[:, None, None], batch.real, scale)


def per_text(given: Array, values: Tensor) -> Array:
    """Return `values [B]` as the kind of array given, without the dimension B if one text `[T, D]` was given."""
    return convert_like(given, values[0] if given.ndim == 2 else values)


def concentration(tokens: Array, mask: Any = None) -> Array:
    """Return the variance of a text's tokens relative to the squared norm of their mean: S(X) / |mu|².

    >>> concentration(torch.tensor([[[3.0, 0.0], [1.0, 0.0]]]))          # mean (2, 0); each token 1 away from it
    tensor([0.2500], dtype=torch.float64)

    With mu = (1/n) Σ x_i and S(X) = (1/n) Σ |x_i - mu|². At least 0, without an upper bound; 0 if all tokens are
    equal or there is one. The smaller it is, the less mean pooling loses, and the smaller its second-order collapse:
    below eps, SOCM is O(eps). Scale and rotation do not matter.

    Args:
        tokens: `[B, T, D]`, or `[T, D]` for one text: a floating tensor or numpy array.
        mask: `[B, T]` or `[T]`, 1 for real tokens. None: all are.

    Returns:
        `[B]`, or a number for one text, in float64 and of the tokens' kind.

    Raises:
        BadInput: for a text whose mean is zero up to rounding.
    """
    return per_text(tokens, _concentration(read_texts(tokens, mask)))


def _concentration(texts: Texts) -> Tensor:
    refuse_rows(texts.mean_norm == 0, "a mean of zero", "its concentration is undefined; leave it out")
    return (texts.deviation / texts.mean_norm).square()


def token_cosine(tokens: Array, mask: Any = None) -> Array:
    """Return the mean cosine of a text's tokens with each other: the mean of the whole n x n cosine matrix.

    >>> token_cosine(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]))           # [[1, 0], [0, 1]]
    tensor([0.5000], dtype=torch.float64)

    Computed as |(1/n) Σ x_i / |x_i||², the same number without the matrix. In [0, 1]: 1 if all tokens have the same
    direction. Each token's cosine with itself counts, so n orthogonal tokens have 1/n. Arguments and result as in
    `concentration`.

    Raises:
        BadInput: for a token of zeros, which has no direction.
    """
    texts = read_texts(tokens, mask)
    peaks = texts.tokens.abs().amax(-1, keepdim=True)
    zeros = (peaks[..., 0] == 0) & texts.real
    if bool(zeros.any()):
        places = [f"{token} of text {text}" for text, token in zeros.nonzero().tolist()]
        raise BadInput(f"token {some(places)}: zero vectors have no direction. Mask them out.")
    scaled = texts.tokens / peaks.masked_fill(peaks == 0, 1)  # keeps squares in range
    units = scaled / vector_norm(scaled, dim=-1, keepdim=True).masked_fill(peaks == 0, 1)
    return per_text(tokens, vector_norm(units.sum(1) / texts.counts.unsqueeze(1), dim=1).square().clamp(max=1))


def read_maps(attention: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
    """Check attention `[..., T, T]` and the mask of its texts; return the mask as `[..., T]`, None if all are real.

    A mask `[B, T]` belongs to the first dimension of `attention`, `[T]` to one text.
    """
    values = to_tensor(attention, "attention").detach()
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] == 0:
        raise BadInput(f"attention has shape {tuple(values.shape)}: pass [..., T, T], as many keys as queries.")
    if mask is None:
        return values, None
    lead = values.shape[:-2] if getattr(mask, "ndim", np.ndim(mask)) > 1 else ()
    size = values.shape[-1]
    # to_mask compares with tokens [B, T, D]: D = 0 gives the shape without memory.
    real = to_mask(mask, values.new_empty((lead[0] if lead else 1), size, 0), "mask")
    refuse_rows(~real.any(1), "no real token", "leave such texts out, or give them a special token")
    if bool(real.all()):
        return values, None
    heads = [1] * (values.ndim - 3) if lead else [1] * (values.ndim - 2)
    return values, real.reshape([*lead[:1], *heads, size])


def clear_padded(maps: Tensor, real: Tensor | None) -> Tensor:
    """Return attention among real tokens, with zeros elsewhere."""
    return maps if real is None else maps.masked_fill(~(real.unsqueeze(-1) & real.unsqueeze(-2)), 0)


def mask_maps(maps: Tensor, real: Tensor | None) -> Tensor:
    """Return attention among real tokens, with zeros elsewhere. Raises for NaN or inf, naming the text."""
    maps = clear_padded(maps, real)
    refuse_nonfinite(maps.isfinite().flatten(-2).all(-1))
    return maps


def refuse_nonfinite(fine: Tensor) -> None:
    """Raise unless all of `fine [...]`, naming the texts: the first dimension, if there are several."""
    texts = fine.flatten(1).all(1) if fine.ndim > 1 else fine.reshape(-1)
    refuse_rows(~texts, "NaN or inf in its attention", "check how it was computed")


def real_counts(maps: Tensor, real: Tensor | None) -> Tensor:
    """Return the number of real tokens of each map, `[...]`."""
    counts = maps.new_tensor(maps.shape[-1], dtype=torch.long) if real is None else real.sum(-1)
    return widen(counts).expand(maps.shape[:-2])


def centre_columns(maps: Tensor, real: Tensor | None) -> Tensor:
    """Return P A in wide numbers: each column minus its mean over the real queries; zeros for padding."""
    values = widen(maps)
    mean = values.sum(-2, keepdim=True) / real_counts(maps, real)[..., None, None]
    apart = values - mean
    return apart if real is None else apart.masked_fill(~real.unsqueeze(-1), 0)


def contraction(attention: Array, operator_norms: Array, mask: Any = None) -> Array:
    """Return how much of the tokens' variance each head passes on: lambda_h = |W_o^h W_v^h|² |P A_h|²_F / (n - 1).

    >>> contraction(torch.eye(2).expand(1, 1, 2, 2), torch.tensor([0.5]))   # |P I|²_F = n - 1: identity passes all
    tensor([[0.2500]], dtype=torch.float64)

    P = I - (1/n) 1 1ᵀ centres over the real tokens. At least 0. If it is below 1 for every head, attention contracts:
    the variance of its output, relative to the mean of the block's input, is O(r C), see `residual_ratio` and
    `block_ratio`. It is 0 if all rows of attention are equal, and for a text of one token (P A = 0, n - 1 = 0).

    Args:
        attention: `[B, H, T, T]`, rows are queries; or `[H, T, T]` for one text.
        operator_norms: `[H]`, |W_o^h W_v^h| as `head_norms` gives them.
        mask: `[B, T]` or `[T]`.

    Returns:
        `[B, H]` or `[H]`.
    """
    maps, real = read_maps(attention, mask)
    norms = to_tensor(operator_norms, "operator_norms").detach()
    if maps.ndim not in (3, 4) or norms.shape != maps.shape[-3:-2]:
        shapes = f"attention has shape {tuple(maps.shape)}, operator_norms {tuple(norms.shape)}"
        raise BadInput(f"{shapes}: pass [B, H, T, T] or [H, T, T], and [H].")
    passed = vector_norm(centre_columns(mask_maps(maps, real), real), dim=(-2, -1)).square()
    return convert_like(attention, passed / (real_counts(maps, real) - 1).clamp(min=1) * widen(norms).square())


def head_norms(value: Array, output: Array, heads: int, value_heads: int | None = None) -> Array:
    """Return |W_o^h W_v^h|, the largest singular value of a head's value and output projections, for each head.

    >>> value = torch.diag(torch.tensor([3.0, 1.0, 2.0, 1.0]))           # two heads of two dimensions
    >>> head_norms(value, torch.eye(4), heads=2)
    tensor([3., 2.], dtype=torch.float64)

    Weights are `[out, in]`, as in torch's Linear. No D x D product is formed: with W_o^h = Q R and (W_v^h)ᵀ = Q' R',
    its singular values are those of the small matrix R R'ᵀ. `value` is `[value_heads * d, D]`, `output`
    `[D_out, heads * d]`. With grouped queries, head h uses value head h // (heads / value_heads).
    """
    groups = heads if value_heads is None else value_heads
    inward, outward = read_matrix(value, "value"), read_matrix(output, "output")
    inward = split_heads(inward, groups, "value")
    if heads < 1 or heads % groups or outward.shape[1] != heads * inward.shape[1]:
        shapes = f"value has shape {tuple(value.shape)}, output {tuple(output.shape)}"
        raise BadInput(f"{shapes}: they do not fit heads={heads} with value_heads={groups}; see the model's config.")
    inward = inward.repeat_interleave(heads // groups, 0)  # [H, d, D]
    outward = split_heads(outward.T, heads, "output")  # [H, d, D_out]
    small = torch.linalg.qr(outward.mT, mode="r")[1] @ torch.linalg.qr(inward.mT, mode="r")[1].mT
    return convert_like(value, torch.linalg.matrix_norm(small, ord=2))


def read_matrix(weight: Any, name: str) -> Tensor:
    """Return a finite weight matrix in wide numbers."""
    matrix = to_tensor(weight, name).detach()
    if matrix.ndim != 2 or not bool(matrix.isfinite().all()):
        raise BadInput(f"{name} has shape {tuple(matrix.shape)}: pass a matrix [out, in] of finite numbers.")
    return widen(matrix)


def split_heads(matrix: Tensor, heads: int, name: str) -> Tensor:
    """Return `[heads * d, D]` as `[heads, d, D]`."""
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or len(matrix) % heads or not len(matrix):
        raise BadInput(f"{name} has {len(matrix)} rows, which do not divide among {heads!r} heads: see the config.")
    return matrix.reshape(heads, -1, matrix.shape[1])


def residual_ratio(hidden: Array, attended: Array, mask: Any = None) -> Array:
    """Return the variance that the residual carries past attention: r = (1/n) Σ |h_j - mu(H)|² / |mu(H + Z)|².

    >>> hidden = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])                # variance 1, mean (1, 0)
    >>> residual_ratio(hidden, torch.ones(1, 2, 2))                      # mean of the sum (2, 1)
    tensor([0.2000], dtype=torch.float64)

    H is the block's input and Z its attention output, before they are added and normalised. Fine-tuned encoders have a
    small r. `[B, T, D]` each; arguments, result and errors as in `concentration`.
    """
    before, change = read_pair(hidden, attended, mask, "hidden", "attended")
    unit = torch.maximum(before.scale, change.scale)
    shares = [(texts.scale / unit)[:, None, None] for texts in (before, change)]
    total = Texts(before.tokens * shares[0] + change.tokens * shares[1], before.real, unit)
    refuse_rows(total.mean_norm == 0, "a mean of zero after the residual", "its ratio is undefined; leave it out")
    return per_text(hidden, (before.deviation * shares[0][:, 0, 0] / total.mean_norm).square())


def block_ratio(attended_sum: Array, out: Array, mask: Any = None) -> Known:
    """Return how normalisation and feed-forward change concentration: C = concentration(X) / concentration(Y).

    >>> block_ratio(torch.tensor([[[3.0], [1.0]], [[1.0], [1.0]]]), torch.tensor([[[5.0], [3.0]], [[1.0], [1.0]]]))
    Known(values=tensor([0.2500], dtype=torch.float64), defined=tensor([ True, False]))

    Y = H + Z is the sum of a block's input and its attention output, X the block's output; `[B, T, D]` each. Above 1
    the tokens move apart, below 1 together. C is undefined if Y has no variance, as for a single token. One text gives
    `defined [1]`.
    """
    before, after = read_pair(attended_sum, out, mask, "attended_sum", "out")
    start, end = _concentration(before), _concentration(after)
    defined = start > 0
    return Known(convert_like(attended_sum, end[defined] / start[defined]), convert_like(attended_sum, defined))


def read_pair(first: Any, second: Any, mask: Any, *names: str) -> tuple[Texts, Texts]:
    """Check two token matrices of the same texts."""
    if getattr(first, "shape", None) != getattr(second, "shape", None):
        shapes = [f"{name} {tuple(getattr(x, 'shape', ()))}" for name, x in zip(names, (first, second), strict=True)]
        raise BadInput(f"{' and '.join(shapes)} differ in shape: pass hidden states of the same texts.")
    return read_texts(first, mask, names[0]), read_texts(second, mask, names[1])
