"""How spread out a cloud of embeddings is, in five figures, each a pure function of arrays.

Embeddings are divided by their norms first: what counts is direction. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cenote.errors import BadInput, some
from cenote.functional.sampling import Floats

# How many numbers of a block are in memory at a time: 32 MB of float64.
BLOCK = 2**22
# The floating dtypes that numpy has too; torch's others are narrower than float32.
_SHARED = (torch.float16, torch.float32, torch.float64)
# Norms outside this range had a sum of squares that under- or overflowed float64, or may have.
_SAFE = 1e-150, 1e150
# Beyond it exp(-4t), which opposite directions have, is below what float64 can hold with all its digits.
_LARGEST_T = 175


def checked(embeddings: Any) -> npt.NDArray[Any]:
    """`embeddings` as an array [N, D] of floats in which every row has a direction, or a refusal naming the rows."""
    if not isinstance(embeddings, (torch.Tensor, np.ndarray)) or isinstance(embeddings, np.ma.MaskedArray):
        raise BadInput(f"embeddings is a {type(embeddings).__name__}: pass a torch tensor or a plain numpy array.")
    if isinstance(embeddings, torch.Tensor):
        if embeddings.layout != torch.strided:
            raise BadInput("embeddings is a sparse tensor: call .to_dense() first.")
        tensor = embeddings.detach().cpu()
        unknown = tensor.is_floating_point() and tensor.dtype not in _SHARED
        rows = (tensor.float() if unknown else tensor).numpy()
    else:
        rows = embeddings
    if rows.dtype.kind != "f" or rows.dtype.itemsize > 8:
        raise BadInput(f"embeddings have dtype {rows.dtype}: pass float16, bfloat16, float32 or float64.")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise BadInput(f"embeddings have shape {rows.shape}: pass [N, D] with D >= 1, one row for each text.")
    for part in blocks(len(rows), rows.shape[1]):
        _refuse(~np.isfinite(rows[part]).all(1), part, "NaN or infinity", "look at what made them")
        _refuse(~rows[part].any(1), part, "zero vectors", "they have no direction, leave such texts out")
    return rows


def _refuse(bad: Any, part: slice, problem: str, remedy: str) -> None:
    if bad.any():
        places = (np.flatnonzero(bad) + part.start).tolist()
        raise BadInput(f"embeddings have {problem} in row{'s' * (len(places) > 1)} {some(places)}: {remedy}.")


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows, each of at most `BLOCK` numbers where a row has `width`."""
    step = max(1, BLOCK // width)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def unit(rows: npt.NDArray[Any]) -> Floats:
    """Checked rows [N, D] divided by their norms, in float64. A row's result does not depend on its neighbours."""
    wide: Floats = np.ascontiguousarray(rows, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        norms = np.sqrt(np.square(wide).sum(1))
    lost = ~((norms > _SAFE[0]) & (norms < _SAFE[1]))
    if lost.any():
        wide = wide.copy()
        wide[lost] /= np.abs(wide[lost]).max(1, keepdims=True)
        norms[lost] = np.sqrt(np.square(wide[lost]).sum(1))
    directions: Floats = wide / norms[:, None]
    return directions


def pair_means(totals: Any, counts: Any, squares: Any) -> Floats:
    """The mean of a kernel over pairs of different texts, each counting as often as its weight says.

        sum_{i != j} w_i w_j k(x_i, x_j)  /  ((sum_i w_i)² - sum_i w_i²)

    A text is never paired with itself, however often it counts. NaN where fewer than two different texts count.

    Args:
        totals: the numerator; for the cosine it is |sum_i w_i x_i|² - sum_i w_i².
        counts: sum_i w_i, of whole numbers.
        squares: sum_i w_i².
    """
    pairs = np.square(np.asarray(counts, np.float64)) - squares
    means: Floats = np.divide(totals, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return means


def mean_cosine(embeddings: Any) -> float:
    """The mean cosine over all pairs of different texts.

        2 / (N (N-1)) sum_{i<j} x_i.x_j  =  (|sum_i x_i|² - N) / (N (N-1)),   |x_i| = 1

    In [-1/(N-1), 1]: 0 for directions that have nothing in common, 1 where all are the same. Needs one pass and no
    pairs.

    >>> mean_cosine(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))         # cosines 1, 0, 0
    0.3333333333333333

    Args:
        embeddings: `[N, D]` with N >= 2, of any norm but 0.
    """
    rows = _at_least_two(checked(embeddings))
    total = sum((unit(rows[part]).sum(0) for part in blocks(*rows.shape)), np.zeros(rows.shape[1]))
    return float(pair_means(total @ total - len(rows), len(rows), len(rows)))


def mean_cosines(rows: Floats, weights: Floats) -> Floats:
    """The mean cosine of unit `rows [N, D]` for each of `weights [R, N]`: [R], NaN where no two texts count."""
    squares = np.square(weights).sum(1)
    return pair_means(np.square(weights @ rows).sum(1) - squares, weights.sum(1), squares)


def uniformity(embeddings: Any, t: float = 2.0) -> float:
    """How evenly the cloud fills the sphere (Wang and Isola, 2020).

        log  mean_{i<j} exp(-t |x_i - x_j|²),   |x_i| = 1

    In [-4t, 0]: 0 where all directions are the same, lower for a more even cloud. Unlike the mean cosine it also sees
    clusters whose directions cancel. Takes N² D work.

    >>> round(uniformity(np.array([[1.0, 0.0], [0.0, 3.0]])), 12), round(uniformity(np.array([[1.0], [-1.0]])), 12)
    (-4.0, -8.0)

    Args:
        embeddings: `[N, D]` with N >= 2, of any norm but 0.
        t: how quickly distant pairs cease to count, above 0 and at most 175.
    """
    if isinstance(t, bool) or not isinstance(t, (int, float)) or not 0 < t <= _LARGEST_T:
        raise BadInput(f"t={t!r}: uniformity needs a number above 0 and at most {_LARGEST_T}.")
    rows = unit(_at_least_two(checked(embeddings)))
    return float(uniformities(rows, np.ones((1, len(rows))), t)[0])


def uniformities(rows: Floats, weights: Floats, t: float = 2.0) -> Floats:
    """The uniformity of unit `rows [N, D]` for each of `weights [R, N]`: [R], NaN where no two texts count."""
    totals = np.zeros(len(weights))
    for part in blocks(len(rows), max(len(rows), len(weights))):
        kernel = np.exp(-t * np.clip(2 - 2 * rows @ rows[part].T, 0, 4))  # |x - y|² = 2 - 2 x.y for unit vectors
        kernel[np.arange(part.start, part.stop), np.arange(part.stop - part.start)] = 0  # no text with itself
        totals += ((weights @ kernel) * weights[:, part]).sum(1)
    means: Floats = np.log(pair_means(totals, weights.sum(1), np.square(weights).sum(1)))
    return means


def effective_rank(eigenvalues: Any) -> float:
    """How many directions a cloud uses (Roy and Vetterli, 2007).

        exp(-sum_i p_i log p_i),   p_i = eigenvalue_i / sum of all

    From 1, all spread along one direction, to the number of eigenvalues above 0, the same spread along each. 0 where
    all are 0: no spread at all. The centred covariance of n texts has at most n - 1 eigenvalues above 0, so compare
    only clouds of like count.

    >>> round(effective_rank([2.0, 2.0, 2.0, 0.0]), 12), round(effective_rank([5.0, 0.0]), 12)
    (3.0, 1.0)

    Args:
        eigenvalues: `[D]` of a covariance, at least 0, in any order.
    """
    values = vector(eigenvalues, "eigenvalues")
    if (values < 0).any():
        raise BadInput(f"eigenvalue {values.min():g} is below 0, as none of a covariance is: clip what rounding left.")
    if not values.any():
        return 0.0
    shares = values / values.max()  # so that their sum neither overflows nor vanishes
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def spearman(x: Any, y: Any) -> float:
    """Spearman's rank correlation: the linear correlation of ranks, equal values sharing the average of theirs.

    In [-1, 1]: 1 where y always rises with x, -1 where it always falls, 0 for no monotone relation.

    >>> round(spearman([1, 2, 3, 4], [1, 10, 100, 1000]), 12), round(spearman([1, 2, 2, 3], [3, 2, 2, 1]), 12)
    (1.0, -1.0)

    Args:
        x: `[N]` with N >= 2, not all equal; a list, array or tensor.
        y: `[N]`, likewise.
    """
    left, right = _paired(x, y)
    for values, name in ((left, "x"), (right, "y")):
        if not np.ptp(values):
            raise BadInput(f"all {len(values)} values of {name} are {values[0]:g}: ranks need different ones.")
    a, b = (ranks - ranks.mean() for ranks in (_ranks(left), _ranks(right)))
    return float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1, 1))


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def slope(x: Any, y: Any) -> float:
    """The least-squares slope of y against x: by how much y rises where x rises by 1.

        sum_i (x_i - mean x)(y_i - mean y) / sum_i (x_i - mean x)²

    >>> slope([0, 1, 2], [5, 7, 9])
    2.0

    Args:
        x: `[N]` with N >= 2, not all equal; a list, array or tensor.
        y: `[N]`.
    """
    left, right = _paired(x, y)
    if not np.ptp(left):
        raise BadInput(f"all {len(left)} values of x are {left[0]:g}: a slope needs different ones.")
    centred = left - left.mean()
    reach = np.abs(centred).max()  # so that squares neither overflow nor vanish
    centred = centred / reach
    value = float(centred @ (right - right.mean()) / (centred @ centred)) / float(reach)
    if not math.isfinite(value):
        raise BadInput("the slope exceeds float64: scale x up or y down.")
    return value


def vector(values: Any, name: str) -> Floats:
    """Numbers [N] from a list, array or tensor, all of them finite, in float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().to(torch.float64 if values.is_floating_point() else values.dtype).numpy()
    try:
        made = np.asarray(values)
    except (TypeError, ValueError):
        made = np.array(None)
    if made.size == 0 and made.ndim == 1:
        made = made.astype(np.float64)
    if made.dtype.kind not in "fiu" or made.ndim != 1:
        raise BadInput(f"{name} of shape {made.shape} and dtype {made.dtype}: pass one row of numbers.")
    if not (finite := np.isfinite(made)).all():
        raise BadInput(f"{name} holds NaN or infinity at {some(np.flatnonzero(~finite).tolist())}: leave those out.")
    wide: Floats = made.astype(np.float64)
    return wide


def _paired(x: Any, y: Any) -> tuple[Floats, Floats]:
    left, right = vector(x, "x"), vector(y, "y")
    if len(left) != len(right):
        raise BadInput(f"x has {len(left)} values, y {len(right)}: pass one of each for every text.")
    if len(left) < 2:
        raise BadInput(f"x and y have {len(left)} values: a relation needs at least two.")
    return left, right


def _at_least_two(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if len(rows) < 2:
        raise BadInput(f"embeddings have shape {rows.shape}: pairs need at least two texts.")
    return rows
