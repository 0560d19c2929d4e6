"""Similarity of two sets of embeddings: six measures, for all pairs or row by row, whole or block by block.

Higher is always more similar: distances are negated, as in sentence-transformers' own functions.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from cenote.errors import BadInput, check_at_least, choose, some
from cenote.functional.arrays import Array, convert_like, slices, to_tensor, widen

if TYPE_CHECKING:
    from cenote.choices import SimilarityName

DEFAULT_P = 3.0

# The most rows of either side of a tile, and its most pairs: temporary tensors stay at some tens of megabytes however
# large the matrix, and a side is prepared at most once per 4,096 rows of the other.
_SIDE, _PAIRS = 4096, 2**21
# Pairs nearer than a hundredth of their norms are computed again by differences: |a|² + |b|² - 2ab has lost digits.
_CLOSE = 1e-4
# If more than this share of a tile needs that, computing all of it by differences is quicker.
_FEW = 1 / 64
# How many numbers of rows are gathered at a time.
_GATHERED = 2**20
# Below this many pairs torch.cdist is quicker than a loop over dimensions.
_WORTH_LOOPING = 2**16
# Up to this p, powers of ordinary differences stay in float32's range.
_NARROW_P = 4.0


@dataclass(frozen=True)
class Measure:
    """One line of `SIMILARITIES`: the functions of a measure.

    `all_pairs` maps sides of [N, D] and [M, D] after `prepare` to [N, M]; `row_by_row` maps two plain [N, D] to [N].
    The caller negates a `distance`. If it `takes_p`, both functions have a keyword `p`.
    """

    all_pairs: Callable[..., Tensor]
    row_by_row: Callable[..., Tensor]
    prepare: Callable[[Tensor], Tensor] = lambda side: side
    distance: bool = True
    takes_p: bool = False
    zero_rows: bool = True
    aliases: tuple[str, ...] = ()


def _tracked(left: Tensor, right: Tensor) -> bool:
    return torch.is_grad_enabled() and (left.requires_grad or right.requires_grad)


def _lost(norms: Tensor, p: float) -> Tensor:
    """Return which p-norms have a sum of powers that may have under- or overflowed."""
    info = torch.finfo(norms.dtype)
    inside: Tensor = (norms > (info.tiny / info.eps**2) ** (1 / p)) & (norms < info.max ** (1 / p))
    return ~inside  # True for NaN too, unlike <= and >=


def _norms(rows: Tensor, p: float) -> Tensor:
    """Return the p-norm of each row, right even if powers leave the range of the dtype."""
    norms: Tensor = vector_norm(rows, p, dim=-1)
    if p in (1, math.inf) or not (lost := _lost(norms, p)).any():
        return norms
    rows = rows[lost]
    peaks = rows.detach().abs().amax(dim=-1)
    scaled = rows / peaks.masked_fill(peaks == 0, 1)[:, None]  # a zero row: avoid 0 / 0
    # Times 0 for a zero row, whose norm is 1 where 1 / p rounds to 0.
    return norms.index_put((lost,), peaks * vector_norm(scaled, p, dim=-1))


def _unit(rows: Tensor) -> Tensor:
    norms: Tensor = vector_norm(rows, dim=-1, keepdim=True)
    if _lost(norms, 2.0).any():  # no row is zero here, and factors do not change a cosine
        rows = rows / rows.detach().abs().amax(dim=-1, keepdim=True)
        norms = vector_norm(rows, dim=-1, keepdim=True)
    return rows / norms


def _products(left: Tensor, right: Tensor) -> Tensor:
    return left @ right.T


def _row_products(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(dim=-1)


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    return _products(left, right).clamp_(-1, 1)  # the angle of 1.0000001 would be NaN


def _row_cosines(left: Tensor, right: Tensor) -> Tensor:
    return _row_products(_unit(left), _unit(right)).clamp(-1, 1)


def _row_distances(left: Tensor, right: Tensor, p: float) -> Tensor:
    return _norms(left - right, p)


def _remeasured(values: Tensor, doubtful: Tensor, left: Tensor, right: Tensor, p: float) -> Tensor:
    """Compute the doubtful pairs of `values` [N, M] again row by row, few rows at a time."""
    i, j = doubtful.nonzero(as_tuple=True)
    step = max(1, _GATHERED // left.shape[1])
    again = [_row_distances(left[i[part]], right[j[part]], p) for part in slices(len(i), step)]
    return values.index_put((i, j), torch.cat(again)) if again else values


def _loop_over_dimensions(left: Tensor, right: Tensor, p: float) -> Tensor:
    """Compute what torch.cdist does, on a CPU 2 to 15 times as fast: whole tiles, one dimension after another."""
    total = left.new_zeros(len(left), len(right))
    gap = torch.empty_like(total)
    for x, y in zip(left.T.contiguous(), right.T.contiguous(), strict=True):
        torch.sub(x[:, None], y, out=gap).abs_()
        if p == math.inf:
            torch.maximum(total, gap, out=total)
        else:
            total.add_(gap if p == 1 else gap.pow_(p))
    return total if p in (1, math.inf) else total.pow_(1 / p)


def _distances(left: Tensor, right: Tensor, p: float) -> Tensor:
    """Return the p-distances of all pairs by differences: accurate for every p and pair, without [N, M, D]."""
    if _NARROW_P < p < math.inf:
        left, right = widen(left), widen(right)
    large = len(left) * len(right) >= _WORTH_LOOPING
    if large and left.device.type == "cpu" and not _tracked(left, right):
        values = _loop_over_dimensions(left, right, p)
    else:  # its backward needs no [N, M, D] either, and other devices have a kernel
        values = torch.cdist(left, right, p, compute_mode="donot_use_mm_for_euclid_dist")
    if p in (1, math.inf):
        return values
    lost = _lost(values, p)
    if lost.count_nonzero() > _FEW * lost.numel():  # probably equal rows, whose zeros are right
        lost &= _distances(left.detach(), right.detach(), math.inf) > 0
    return _remeasured(values, lost, left, right, p)


def _euclidean(left: Tensor, right: Tensor) -> Tensor:
    """Return Euclidean distances of all pairs: one matrix product in float64, and differences if that loses digits."""
    if left.dtype != torch.float64 or _tracked(left, right):
        return _distances(left, right, 2.0)
    sizes = left.square().sum(dim=-1)[:, None] + right.square().sum(dim=-1)
    squares = torch.addmm(sizes, left, right.T, alpha=-2)
    close = (squares > sizes.mul_(_CLOSE)).logical_not_()  # True for NaN from overflow, unlike <=
    if close.count_nonzero() > _FEW * close.numel():
        return _distances(left, right, 2.0)
    return _remeasured(squares.sqrt_(), close, left, right, 2.0)


def _of_order(p: float) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    return partial(_distances, p=p), partial(_row_distances, p=p)


SIMILARITIES: dict[str, Measure] = {
    "cosine": Measure(_cosines, _row_cosines, _unit, distance=False, zero_rows=False),
    "dot": Measure(_products, _row_products, distance=False, aliases=("dot_product",)),
    "euclidean": Measure(_euclidean, partial(_row_distances, p=2.0), widen),
    "manhattan": Measure(*_of_order(1.0), aliases=("cityblock",)),
    "minkowski": Measure(_distances, _row_distances, takes_p=True),
    "chebyshev": Measure(*_of_order(math.inf)),
}

# The own name of each measure, by all of its names.
_NAMES: dict[str, Any] = {name: key for key, row in SIMILARITIES.items() for name in (key, *row.aliases)}
# Special cases of minkowski are other lines of the table, so that each formula has one implementation.
_SPECIAL_P = {1.0: "manhattan", 2.0: "euclidean", math.inf: "chebyshev"}


def canonical(how: str) -> SimilarityName:
    """Return the name of a similarity in `SIMILARITIES`; raise for an unknown one.

    >>> canonical("dot_product"), canonical("cosine")
    ('dot', 'cosine')
    """
    name: SimilarityName = choose(how, _NAMES, "similarity", shown=SIMILARITIES)
    return name


def _measure(how: str, p: Any) -> Measure:
    """Return the measure for `how` and `p`, with `p` filled in."""
    row = SIMILARITIES[canonical(how)]
    if not row.takes_p:
        if p != DEFAULT_P:
            raise BadInput(f"p={p!r}: {how} takes no p. Leave it out, or use how='minkowski'.")
        return row
    if isinstance(p, bool) or not isinstance(p, numbers.Real) or not (order := float(p)) >= 1:
        raise BadInput(f"p={p!r}: {how} needs a number p >= 1 (inf is chebyshev; below 1 it is not a metric).")
    if order in _SPECIAL_P:
        return SIMILARITIES[_SPECIAL_P[order]]
    all_pairs, row_by_row = _of_order(order)
    return replace(row, all_pairs=all_pairs, row_by_row=row_by_row)


def _tensor(x: object, name: str) -> Tensor:
    """Return the operand as a tensor [N, D] or [D], or raise."""
    made = to_tensor(x, name)
    if made.dim() not in (1, 2) or made.shape[-1] == 0:
        raise BadInput(f"{name} has shape {tuple(made.shape)}: pass [N, D], or [D] for one vector, with D >= 1.")
    return made


def _rows_where(bad: Tensor) -> str:
    rows = bad.reshape(-1).nonzero().flatten().tolist()
    return f"row{'s' * (len(rows) > 1)} {some(rows)}"


def _all_finite(x: Tensor) -> bool:
    """Return whether all numbers are finite, in one pass without a copy: the extremes are NaN or inf if any is."""
    return x.numel() == 0 or bool(torch.stack(torch.aminmax(x.detach())).isfinite().all())


def _check_rows(x: Tensor, name: str, how: str, measure: Measure) -> None:
    x = x.detach()
    if not _all_finite(x):
        raise BadInput(f"{name} has NaN or infinity in {_rows_where(~x.isfinite().all(dim=-1))}: leave them out.")
    if measure.zero_rows or not (suspects := vector_norm(x, dim=-1) == 0).any():
        return
    zeros = suspects & (x == 0).all(dim=-1)  # a tiny vector is not zero, even if its norm rounds to 0
    if zeros.any():
        raise BadInput(
            f"{name} has zero vectors in {_rows_where(zeros)}, which have no direction and no {how}. "
            "Leave them out, or use 'dot' or a distance."
        )


@dataclass(frozen=True)
class _Engine:
    """Compute one measure: tiles, precision, sign and the check of the result, the same for every measure."""

    how: str
    measure: Measure
    dtype: torch.dtype  # of the result; computed in float32 at least

    def _ready(self, side: Tensor) -> Tensor:
        return side.to(torch.promote_types(self.dtype, torch.float32))

    def _finished(self, values: Tensor) -> Tensor:
        values = values.to(self.dtype)
        if self.measure.distance:
            values = -values if values.requires_grad else values.neg_()
        if not _all_finite(values):
            remedy = {torch.float64: "scale the vectors down", torch.float32: "pass float64"}
            advice = remedy.get(self.dtype, "pass float32 (.float())")
            raise BadInput(f"{self.how} exceeds the largest {self.dtype}, {torch.finfo(self.dtype).max:g}: {advice}.")
        return values

    def all_pairs(self, left: Tensor, right: Tensor) -> Tensor:
        """Return [N, M] for [N, D] and [M, D], tile by tile, without autocast."""
        prepare, all_pairs = self.measure.prepare, self.measure.all_pairs
        with torch.autocast(left.device.type, enabled=False):
            # Gradients need N x M tensors anyhow, and a product has no temporaries: tiles would only cost time.
            whole = not self.measure.distance and max(len(left), len(right)) <= _SIDE
            if whole or _tracked(left, right):
                return self._finished(all_pairs(prepare(self._ready(left)), prepare(self._ready(right))))
            result = left.new_empty(len(left), len(right), dtype=self.dtype)
            for columns in slices(len(right), _SIDE):
                prepared = prepare(self._ready(right[columns]))
                for rows in slices(len(left), min(_SIDE, _PAIRS // len(prepared))):
                    result[rows, columns] = all_pairs(prepare(self._ready(left[rows])), prepared)
            return self._finished(result)

    def row_by_row(self, left: Tensor, right: Tensor) -> Tensor:
        """Return [N] for [N, D] and [N, D]."""
        step = max(1, len(left)) if _tracked(left, right) else _SIDE
        with torch.autocast(left.device.type, enabled=False):
            rows = slices(len(left), step)
            parts = [self.measure.row_by_row(self._ready(left[r]), self._ready(right[r])) for r in rows]
        return self._finished(torch.cat(parts) if parts else left.new_zeros(0))


def _engine(a: object, b: object, how: str, p: float) -> tuple[_Engine, Tensor, Tensor]:
    """Return the engine and both sides as tensors, checked alone and against each other."""
    measure = _measure(how, p)
    left, right = _tensor(a, "a"), _tensor(b, "b")
    if isinstance(a, np.ndarray) != isinstance(b, np.ndarray):
        kinds = [f"{type(x).__module__.split('.')[0]}.{type(x).__name__}" for x in (a, b)]
        raise BadInput(f"a is a {kinds[0]}, b a {kinds[1]}: pass two of one kind (torch.from_numpy, .numpy()).")
    if left.device != right.device:
        raise BadInput(f"a is on {left.device}, b on {right.device}: move one with .to(...).")
    if left.shape[-1] != right.shape[-1]:
        shapes = f"a has shape {tuple(left.shape)}, b {tuple(right.shape)}"
        raise BadInput(f"{shapes}: the last dimensions differ. Are both from one model?")
    for side, name in ((left, "a"), (right, "b")):
        _check_rows(side, name, how, measure)
    return _Engine(how, measure, torch.promote_types(left.dtype, right.dtype)), left, right


def similarity(
    a: Array, b: Array, how: SimilarityName = "cosine", *, p: float = DEFAULT_P, pairwise: bool = False
) -> Array:
    """Return the similarity of rows of `a` and `b`. Higher is always more similar: **distances are negated**.

    >>> a, b = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [3.0, 4.0]])
    >>> similarity(a, b, "euclidean")  # minus the distance of every row of a to every row of b
    tensor([[-4.2426, -0.0000],
            [-1.0000, -3.6056]])
    >>> similarity(a, b, "manhattan", pairwise=True)  # row by row
    tensor([-6., -5.])
    >>> similarity(a[1], b)  # one query, many documents; cosine by default
    tensor([1.0000, 0.8000])

    For rows x and y and d = x - y:

        cosine      x·y / (‖x‖ ‖y‖)        in [-1, 1]; 1 is the same direction; norms do not matter
        dot         x·y                    any number; norms matter
        euclidean   -√(Σ dᵢ²)              at most 0, the same vector; likewise the three below
        manhattan   -Σ |dᵢ|
        minkowski   -(Σ |dᵢ|ᵖ)^(1/p)       p >= 1; 1, 2 and inf are manhattan, euclidean and chebyshev
        chebyshev   -max |dᵢ|

    Signs and values are those of sentence-transformers' `cos_sim`, `dot_score`, `euclidean_sim` and `manhattan_sim`,
    but euclidean distances keep float32's digits even between near-identical rows. The result is never NaN or infinity.

    Args:
        a: [N, D], or [D] for one vector, which drops the dimension N of the result. A floating tensor or numpy array.
        b: [M, D] or [D], of the same kind and on the same device.
        how: a name in `SIMILARITIES`.
        p: the order of minkowski; other measures take none.
        pairwise: compare row i of `a` with row i of `b` only.

    Returns:
        [N, M], or [N] if `pairwise`, of the operands' kind and promoted dtype. Half precision is computed in float32
        and rounded once. Without gradients, little memory is used beside the result.

    Raises:
        BadInput: for different shapes, integers, NaN, the cosine of a zero vector, and overflow.
    """
    engine, left, right = _engine(a, b, how, p)
    if pairwise and left.shape != right.shape:
        raise BadInput(f"a has shape {tuple(left.shape)}, b {tuple(right.shape)}: pairwise needs equal shapes.")
    work = engine.row_by_row if pairwise else engine.all_pairs
    shape = left.shape[:-1] if pairwise else left.shape[:-1] + right.shape[:-1]
    return convert_like(a, work(left.reshape(-1, left.shape[-1]), right.reshape(-1, right.shape[-1])).reshape(shape))


def similarity_blocks(
    a: Array, b: Array, how: str = "cosine", *, p: float = DEFAULT_P, block: int = 4096
) -> Iterator[tuple[slice, slice, Array]]:
    """Yield `similarity` of all pairs block by block, for matrices that do not fit in memory.

    >>> a = torch.eye(3)
    >>> for rows, columns, values in similarity_blocks(a, a, block=2):
    ...     print(rows.start, rows.stop, columns.start, columns.stop, tuple(values.shape))
    0 2 0 2 (2, 2)
    0 2 2 3 (2, 1)
    2 3 0 2 (1, 2)
    2 3 2 3 (1, 1)

    `values` is `similarity(a, b, how)[rows, columns]`, at most `block` x `block`; rows are the outer loop. Operands are
    checked by the call, a block is computed when it is requested, and a memory-mapped array is not copied. `a` is
    [N, D] and `b` [M, D]; the rest is as in `similarity`.
    """
    step = check_at_least(1, block, "block")
    engine, left, right = _engine(a, b, how, p)
    if left.dim() != 2 or right.dim() != 2:
        shapes = f"a has shape {tuple(left.shape)}, b {tuple(right.shape)}"
        raise BadInput(f"{shapes}: pass [N, D] and [M, D]; for one vector x, pass x[None].")
    return (
        (rows, columns, convert_like(a, engine.all_pairs(left[rows], right[columns])))
        for rows in slices(len(left), step)
        for columns in slices(len(right), step)
    )
