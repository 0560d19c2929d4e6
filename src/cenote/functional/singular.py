"""The largest singular value of many centred maps at once, by products instead of factorisations.

For a map A of n real tokens it is that of P A, P = I - (1/n) 1 1ᵀ, found in three steps: a short search from a few
random directions for all maps, a longer one from more directions for those not found, and the whole spectrum for the
rest. `spectrum.sigma_a` is the public function, and documents the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from cenote.functional.arrays import slices, widen
from cenote.functional.concentration import centre_columns, clear_padded, rounding_error
from cenote.functional.pooling import exact_products

# Up to this many tokens the whole spectrum is quicker than the search.
_SMALL = 40
# The search's random directions, and how often each is multiplied by (P A)ᵀ P A before the first check: the quickest
# values that leave few maps for the second search, on attention of 64 to 512 tokens.
_DIRECTIONS, _POWERS = 4, 5
# The second search checks after each block of directions, up to `_MOST` in all and half the tokens; beyond that the
# whole spectrum is quicker.
_SECOND_DIRECTIONS, _SECOND_POWERS, _MOST = 8, 6, 64
# A random basis of k among n directions may hold this many times less of the top one than its fair share, k / n.
_UNLUCKY = 4
# A gap below the top Ritz value counts if it is this many residuals wide: a narrower one may hide other values.
_APART = 10
# If sigma is less than this share of the map's norm, centring cancels digits: centre in wide numbers first.
_FAINT = 1e-2
# Norms of maps whose singular values, if not faint, stay in float32's range at the power 2 * `_POWERS`. Maps whose rows
# sum to 1 have norms from 1 to sqrt(n).
_SANE = (0.1, 1e3)
# Below this tolerance float32 products are too inexact.
_NARROW = 1e-5
# How many numbers of attention are copied at a time.
_COPIED = 2**20
_SEED = 0


def largest_singular_values(maps: Tensor, real: Tensor | None, tolerance: float) -> Tensor:
    """Return the largest singular value of P A for maps `[N, T, T]`, to a relative error of `tolerance`.

    >>> largest_singular_values(torch.eye(3)[None], None, 1e-4)
    tensor([1.], dtype=torch.float64)

    NaN for maps that are not finite. `real [N, T]` marks real tokens, None: all are. Padding is ignored.
    """
    size = maps.shape[-1]
    values = torch.full((len(maps),), torch.nan, dtype=widen(maps.new_empty(0)).dtype, device=maps.device)
    fine = maps.dtype == torch.float64 or tolerance < _NARROW or size <= _SMALL or not exact_products(torch.float32)
    dtype = values.dtype if fine else torch.float32
    step = max(1, _COPIED // size**2)
    left = torch.arange(len(maps), device=maps.device)
    if size > _SMALL:
        sure = [
            _quick(maps[rows], None if real is None else real[rows], dtype, tolerance, values[rows])
            for rows in slices(len(maps), step)
        ]
        left = left[~torch.cat(sure)] if sure else left
    for part in slices(len(left), step):
        rows = left[part]
        picked = None if real is None else real[rows]
        own = clear_padded(maps[rows], picked)
        whole = own.isfinite().flatten(1).all(1)
        values[rows] = torch.nan
        values[rows[whole]] = _careful(own[whole], None if picked is None else picked[whole], dtype, tolerance)
    return values


def _quick(maps: Tensor, real: Tensor | None, dtype: torch.dtype, tolerance: float, values: Tensor) -> Tensor:
    """Fill in `values` by the short search, and return which of them are right."""
    filters = _Filters(clear_padded(maps, real).to(dtype), None if real is None else real.to(dtype))
    theta, sure = _search(filters, _directions(filters, _DIRECTIONS), _POWERS, _DIRECTIONS, tolerance)
    values.copy_(theta.sqrt())
    size = vector_norm(filters.maps, dim=(1, 2))
    right: Tensor = sure & (values > _FAINT * size) & (size > _SANE[0]) & (size < _SANE[1])
    return right


def _careful(maps: Tensor, real: Tensor | None, dtype: torch.dtype, tolerance: float) -> Tensor:
    """Return the values by scaling and centring in wide numbers, and the longer search or the whole spectrum."""
    values = widen(maps)
    peak = values.abs().amax((1, 2), keepdim=True)
    values = values / peak.masked_fill(peak == 0, 1)
    apart = centre_columns(values, real)
    size: Tensor = vector_norm(apart, dim=(1, 2), keepdim=True)
    nothing = size <= rounding_error(values.dtype) * vector_norm(values, dim=(1, 2), keepdim=True)
    apart = (apart / size.masked_fill(nothing, 1)).to(dtype)
    found, sure = torch.zeros_like(size[:, 0, 0]), nothing[:, 0, 0]
    if maps.shape[-1] > _SMALL:
        filters = _Filters(apart, None if real is None else real.to(dtype))
        start = _directions(filters, _SECOND_DIRECTIONS)
        theta, sure = _search(filters, start, _SECOND_POWERS, min(_MOST, maps.shape[-1] // 2), tolerance)
        found, sure = theta.sqrt().to(found), sure | nothing[:, 0, 0]
    if not bool(sure.all()):
        rest = apart[~sure]
        found[~sure] = torch.linalg.eigvalsh(rest.mT @ rest)[:, -1].clamp(min=0).sqrt().to(found)
    return (found * (size * peak)[:, 0, 0]).masked_fill(nothing[:, 0, 0], 0)


@dataclass(frozen=True)
class _Filters:
    """P A of many maps, as operators on rows `[N, b, T]`: products with few columns are slow on CPUs."""

    maps: Tensor  # [N, T, T], zeros for padding
    real: Tensor | None  # [N, T], 1 for real tokens

    @property
    def counts(self) -> Tensor:
        """The number of real tokens, `[N]`."""
        if self.real is None:
            return self.maps.new_tensor(self.maps.shape[-1]).expand(len(self.maps))
        return self.real.sum(-1)

    def forth(self, rows: Tensor) -> Tensor:
        """Return P A x."""
        through = torch.bmm(rows, self.maps.mT)
        if self.real is None:
            return through - through.mean(-1, keepdim=True)
        mean = through.sum(-1, keepdim=True) / self.counts[:, None, None]
        return through - mean * self.real[:, None]

    def back(self, rows: Tensor) -> Tensor:
        """Return (P A)ᵀ w for w = P w, as `forth` returns them."""
        return torch.bmm(rows, self.maps)

    def only(self, which: Tensor) -> _Filters:
        return _Filters(self.maps[which], None if self.real is None else self.real[which])


def _directions(filters: _Filters, count: int) -> Tensor:
    """Return random directions `[N, count, T]`, equal for the same real token wherever padding puts it."""
    number, size = filters.maps.shape[:2]
    drawn = np.random.default_rng(_SEED).standard_normal((size, count))
    table = torch.from_numpy(drawn).to(filters.maps)
    if filters.real is None:
        return table.T.contiguous().expand(number, -1, -1)
    place = filters.real.cumsum(-1).long().sub(1).clamp(min=0)
    return (table[place] * filters.real[..., None]).mT.contiguous()


def _orthonormal(rows: Tensor) -> Tensor:
    basis: Tensor = torch.linalg.qr(rows.mT)[0].mT
    return basis


def _search(filters: _Filters, start: Tensor, powers: int, most: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the top Ritz value of (P A)ᵀ P A for each map, and whether its error is within the tolerance."""
    for _ in range(powers):
        start = filters.back(filters.forth(start))
    basis = _orthonormal(start)
    half = filters.forth(basis)
    full = filters.back(half)
    block, left = start.shape[1], torch.arange(len(start), device=start.device)
    theta, sure = start.new_zeros(len(start)), torch.zeros(len(start), dtype=torch.bool, device=start.device)
    while len(left):
        value, error = _ritz(filters, basis, half, full)
        sure[left] = error <= tolerance * value  # of the square; that of the root is half, which leaves room
        theta[left] = value
        missing = ~sure[left]
        if basis.shape[1] + block > most or not bool(missing.any()):
            break
        filters, left = filters.only(missing), left[missing]
        basis, half, full = basis[missing], half[missing], full[missing]
        fresh = full[:, -block:]
        for _ in range(2):  # one pass leaves rounding errors
            fresh = _orthonormal(fresh - torch.bmm(torch.bmm(fresh, basis.mT), basis))
        image = filters.forth(fresh)
        basis, half = torch.cat([basis, fresh], 1), torch.cat([half, image], 1)
        full = torch.cat([full, filters.back(image)], 1)
    return theta, sure


def _ritz(filters: _Filters, basis: Tensor, half: Tensor, full: Tensor) -> tuple[Tensor, Tensor]:
    """Return the top Ritz value and a bound of its error, from V, P A V and (P A)ᵀ P A V, a basis V `[N, k, T]`."""
    gram = torch.bmm(half, half.mT)
    ritz, vectors = torch.linalg.eigh(gram.nan_to_num(0, 0, 0))  # overflow shows in the residual
    # Rows of the residual: (P A)ᵀ P A u - theta u of every Ritz pair, the top one last.
    rest = torch.baddbmm(torch.bmm(vectors.mT, full), ritz.unsqueeze(-1) * vectors.mT, basis, alpha=-1)
    residuals = vector_norm(rest, dim=-1)
    theta, residual = ritz[:, -1], residuals[:, -1]
    gap = theta - (ritz + residuals)[:, :-1].amax(-1)
    error = residual * _UNLUCKY * (filters.counts / basis.shape[1]).sqrt()
    return theta, torch.where(gap > _APART * residual, torch.minimum(residual.square() / gap, error), error)
