"""Attention as a low-pass filter: the constant and the varying part of a text's tokens, and the share a head keeps.

DC[X] = (1/n) 1 1ᵀ X is the constant part of a text's tokens, HC[X] = P X with P = I - (1/n) 1 1ᵀ the varying part, and
sigma_a, the largest singular value of P A, is the largest share of HC that a head with attention A can keep. Only real
tokens count; results are float64 (float32 on a device without it). Numbered theorems are those of "Length-Induced
Embedding Collapse in Transformer-based Models" (arXiv 2410.24200).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cenote.errors import BadInput
from cenote.functional.arrays import Array, convert_like, to_tensor, widen
from cenote.functional.concentration import (
    Known,
    mask_maps,
    per_text,
    read_maps,
    read_matrix,
    read_pair,
    read_texts,
    refuse_nonfinite,
    split_heads,
)
from cenote.functional.singular import largest_singular_values


def parts(tokens: Array, mask: Any = None) -> tuple[Array, Array]:
    """Return the norms of the constant and of the varying part of a text's tokens: (|DC[X]|_F, |HC[X]|_F).

    >>> parts(torch.tensor([[[3.0], [1.0]]]))                            # DC = (2, 2), HC = (1, -1)
    (tensor([2.8284], dtype=torch.float64), tensor([1.4142], dtype=torch.float64))

    |X|²_F = |DC|² + |HC|², and |HC|² / |DC|² is `concentration`. |HC| is exactly 0 for one token. Arguments as in
    `concentration`; each is `[B]`, or a number for one text.
    """
    texts = read_texts(tokens, mask)
    unit = texts.scale * texts.counts.sqrt()
    return per_text(tokens, texts.mean_norm * unit), per_text(tokens, texts.deviation * unit)


def filter_rate(before: Array, after: Array, mask: Any = None) -> Known:
    """Return the log of the remaining share of HC, per text: log(|HC[after]|_F / |HC[before]|_F).

    >>> filter_rate(torch.tensor([[[3.0], [1.0]]]), torch.tensor([[[9.0], [8.0]]]))
    Known(values=tensor([-0.6931], dtype=torch.float64), defined=tensor([True]))

    Below 0 the tokens moved together, above 0 apart, in absolute terms; `block_ratio` is relative. Between two layers'
    outputs it is the quantity of the paper's Figs. 2 and 10. Undefined for a text whose HC is zero before or after,
    such as a single token. `[B, T, D]` each.
    """
    first, second = read_pair(before, after, mask, "before", "after")
    sizes = [texts.deviation * texts.scale for texts in (first, second)]
    defined = (sizes[0] > 0) & (sizes[1] > 0)
    return Known(convert_like(before, sizes[1][defined].log() - sizes[0][defined].log()), convert_like(before, defined))


def sigma_a(attention: Array, mask: Any = None, *, tolerance: float = 1e-4) -> Array:
    """Return the largest singular value of P A for each map of attention: the largest share of HC that a head keeps.

    >>> sigma_a(torch.stack([torch.eye(3), torch.full((3, 3), 1 / 3)]))  # identity; uniform
    tensor([1., 0.], dtype=torch.float64)

    |P A x| <= sigma_a |x| for every signal x. 0 for uniform attention and for a text of one token. It may exceed 1:
    sqrt(n / 2) if one half of the queries attends to one token and the other half to another. Rows need not sum to 1.

    Computed by block Krylov iteration on (P A)ᵀ P A with products only, from fixed random directions. It stops for a
    map when the error of the top Ritz pair (theta, u), where theta estimates sigma_a², is at most tolerance * theta:

        r² / (theta - beta)   if that gap is at least ten times r, beta the largest of the other Ritz values plus its
                              own residual: the error of theta if no other eigenvalue lies above beta (Kato, Temple)
        4 sqrt(n / k) r       if not, k the number of directions: more than the error if the k directions hold a
                              sixteenth of their fair share, k / n, of the top eigenvector's square

    with r = |(P A)ᵀ P A u - theta u|. Some eigenvalue certainly lies within r of theta; that it is the largest relies
    on the directions being random, and a map constructed against these directions would be missed. For maps that do
    not converge, and for up to 40 tokens, the whole spectrum is computed.

    Args:
        attention: `[..., T, T]`, rows are queries: `[B, H, T, T]`, `[B, T, T]`, or without B for one text.
        mask: `[B, T]` if `attention` starts with B, `[T]` for one text. Padding counts neither as query nor as key.
        tolerance: the largest relative error allowed, above 0. At 1e-5 or more, products are in float32.

    Returns:
        `[...]`, one number for each map.

    Raises:
        BadInput: for attention that is not square or not finite, a mask of another shape, a text without real tokens.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < 1:
        raise BadInput(f"tolerance is {tolerance!r}: pass a relative error between 0 and 1, such as 1e-4.")
    maps, real = read_maps(attention, mask)
    lead, size = maps.shape[:-2], maps.shape[-1]
    rows = None if real is None else real.expand(*lead, size).reshape(-1, size)
    with torch.no_grad(), torch.autocast(maps.device.type, enabled=False):
        values = largest_singular_values(maps.reshape(-1, size, size), rows, float(tolerance)).reshape(lead)
    refuse_nonfinite(values.isfinite())
    return convert_like(attention, values)


def value_norms(weight: Array, heads: int) -> Array:
    """Return |W_V^h|_2 of each head, from the value projection `[heads * d, D]` as in torch's Linear.

    >>> value_norms(torch.diag(torch.tensor([3.0, 1.0, 2.0, 1.0])), heads=2)
    tensor([3., 2.], dtype=torch.float64)
    """
    blocks = split_heads(read_matrix(weight, "weight"), heads, "weight")
    return convert_like(weight, torch.linalg.matrix_norm(blocks, ord=2))


def filter_bound(sigma: Array, norms: Array) -> Known:
    """Return the paper's bound of `filter_rate`: log(max_h sigma_a^h * max_h |W_V^h|_2 * H).

    >>> filter_bound(torch.tensor([[0.5, 0.25], [0.0, 0.0]]), torch.tensor([1.0, 2.0]))       # 0.5 * 2 * 2
    Known(values=tensor([0.6931], dtype=torch.float64), defined=tensor([ True, False]))

    Theorem 2 is about one head: |HC[A X W_V]|_F <= sigma_a |W_V|_2 |HC[X]|_F. For several, Appendix E.2 replaces
    |W_V|_2 by max_h |W_V^h|_2 times H and does not say which head's sigma_a; a bound needs the largest (the mean over
    heads of Appendix E.3, which the paper plots against length, is not a bound). So it bounds |HC[Σ_h A_h X W_V^h]|_F,
    and the concatenated outputs of the heads, relative to |HC[X]|_F. It ignores W_O, so it bounds attention's output
    only if no |W_O^h| exceeds 1, and never the rate of a whole layer, which has a residual, norms and a feed-forward.
    `attention_bound` bounds attention's output.

    `sigma [..., H]` is from `sigma_a`, `norms [H]` from `value_norms`. Undefined if all sigma are 0: no HC is left.
    """
    shares, sizes = _heads(sigma, norms)
    return _logarithm(sigma, shares.amax(-1) * sizes.amax() * len(sizes))


def attention_bound(sigma: Array, norms: Array) -> Known:
    """Return a bound for the whole output of attention: log(Σ_h sigma_a^h |W_O^h W_V^h|_2).

    >>> attention_bound(torch.tensor([0.5, 0.25]), torch.tensor([1.0, 2.0]))                  # 0.5 * 1 + 0.25 * 2
    Known(values=tensor(0., dtype=torch.float64), defined=tensor(True))

    |HC[Σ_h A_h X W_V^h W_O^h]|_F / |HC[X]|_F is at most the sum, where X is the input of attention (after the norm, in
    pre-norm models). Biases add the same to every token and do not matter. It does not bound the rate of a whole
    layer: a residual alone can keep all of HC. As `filter_bound`, but with the norms of `concentration.head_norms`.
    """
    shares, sizes = _heads(sigma, norms)
    return _logarithm(sigma, shares @ sizes)


def _heads(sigma: Any, norms: Any) -> tuple[Tensor, Tensor]:
    shares, sizes = (widen(to_tensor(x, name).detach()) for x, name in ((sigma, "sigma"), (norms, "norms")))
    if sizes.ndim != 1 or shares.shape[-1:] != sizes.shape or not len(sizes):
        raise BadInput(f"sigma has shape {tuple(shares.shape)}, norms {tuple(sizes.shape)}: pass [..., H] and [H].")
    for values, name in ((shares, "sigma"), (sizes, "norms")):
        if not bool((values.isfinite() & (values >= 0)).all()):
            raise BadInput(f"{name} holds NaN, inf or a negative number: pass singular values, finite and at least 0.")
    return shares, sizes


def _logarithm(given: Array, values: Tensor) -> Known:
    defined = values > 0
    logs = values.log() if values.ndim == 0 and bool(defined) else values[defined].log()
    return Known(convert_like(given, logs), convert_like(given, defined))


def sigma_a_bound(length: Any, logit_variance: Any) -> Tensor:
    """Return Theorem 3's estimate of sigma_a from a text's length n and the variance s² of the attention logits.

    >>> sigma_a_bound(torch.tensor([1, 2, 512]), 1.0)
    tensor([1.0000, 0.7992, 0.1442], dtype=torch.float64)

        sigma_a <= sqrt(n / (2 sqrt(1 + exp(-2 s²)) (n - 1)^(3/2) + 1))

    The paper prints (n - 1)^(3/2) and the + 1 inside the inner root (Eqs. 3, 15, 22), which does not follow from its
    Eq. 21. This form does: with N and M the two exponentials there, M / N = (n - 1)^(3/2) sqrt(1 + exp(-2 s²)), and the
    bound is sqrt(n N / (2 M + N)).

    It is an estimate, not a bound. Its derivation assumes independent Gaussian logits, gives a sum of log-normals a
    "variance" log((exp(s²) - 1) / n), negative for large n, counts the pairs of Eq. 20 twice, and claims to bound
    |A|_F, which is at least 1 whenever rows sum to 1. With independent Gaussian logits, measured for n from 16 to
    2,048, sigma_a stays below it for s <= 0.5, for s = 1 from about n = 1,000 on, and never for s >= 1.5. In the demo
    model sigma_a exceeds it in every head, by a median factor of 6 to 18 for 64 to 512 tokens. Numbers or tensors that
    broadcast.
    """
    n, s2 = (torch.as_tensor(value, dtype=torch.float64) for value in (length, logit_variance))
    if not bool((n.isfinite() & (n >= 1)).all()):
        raise BadInput(f"length is {length!r}: pass numbers of tokens, at least 1.")
    if not bool((s2.isfinite() & (s2 >= 0)).all()):
        raise BadInput(f"logit_variance is {logit_variance!r}: pass finite variances, at least 0.")
    return (n / (2 * (1 + (-2 * s2).exp()).sqrt() * (n - 1) ** 1.5 + 1)).sqrt()


def logit_variance(attention: Array, mask: Any = None) -> Known:
    """Estimate the variance s² of the attention logits of each map from its probabilities.

    >>> logit_variance(torch.tensor([[0.8, 0.2], [0.5, 0.5]]))           # (log 4)² / 2 in the first row, 0 in the other
    Known(values=tensor(0.4805, dtype=torch.float64), defined=tensor(True))

    Softmax subtracts a constant from each row's logits, which leaves their variance unchanged: it is that of log A over
    the row's real keys, unbiased (over m - 1 of m keys), averaged over the real queries that see at least two keys.
    Entries of exactly 0 are left out, since causal and local masks produce them. So does underflow (float16, or logits
    more than about 100 apart in float32), which makes the estimate too small. Arguments as in `sigma_a`. Undefined for
    maps without a query that sees two keys, as for a text of one token.
    """
    maps, real = read_maps(attention, mask)
    maps = widen(mask_maps(maps, real))
    if bool((maps < 0).any()):
        raise BadInput(f"attention holds {maps.min().item():g}: pass probabilities, after softmax.")
    seen = maps > 0
    keys = seen.sum(-1)
    logs = maps.masked_fill(~seen, 1).log()
    mean = logs.sum(-1, keepdim=True) / keys.clamp(min=1).unsqueeze(-1)
    squares = (logs - mean).masked_fill(~seen, 0).square().sum(-1)
    counted = keys > 1
    variance = (squares / (keys - 1).clamp(min=1)).masked_fill(~counted, 0).sum(-1) / counted.sum(-1).clamp(min=1)
    defined = counted.any(-1)
    known = variance if variance.ndim == 0 and bool(defined) else variance[defined]
    return Known(convert_like(attention, known), convert_like(attention, defined))
