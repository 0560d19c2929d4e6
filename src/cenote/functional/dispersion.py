"""How close together embeddings lie: mean cosine, uniformity, effective rank.

Embeddings are divided by their norms first, since only direction counts. Everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cenote.errors import BadInput, some
from cenote.functional.arrays import check_floats, slices
from cenote.functional.sampling import Floats
from cenote.functional.units import to_unit

# How many numbers of a block are in memory at a time: 32 MB of float64.
BLOCK = 2**22
# The floating dtypes that numpy has too; torch's others are narrower than float32.
_SHARED = (torch.float16, torch.float32, torch.float64)
# Above it exp(-4t), the kernel of opposite directions, is below float64's normal range.
_LARGEST_T = 175


def check_embeddings(embeddings: Any) -> npt.NDArray[Any]:
    """Return `embeddings` as a floating array [N, D], or raise, naming the rows that are zero or not finite."""
    check_floats(embeddings, "embeddings")
    rows: npt.NDArray[Any] = embeddings
    if isinstance(embeddings, torch.Tensor):
        tensor = embeddings.detach().cpu()
        rows = (tensor if tensor.dtype in _SHARED else tensor.float()).numpy()
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise BadInput(f"embeddings have shape {rows.shape}: pass [N, D] with D >= 1, one row for each text.")
    for part in row_blocks(len(rows), rows.shape[1]):
        _refuse(~np.isfinite(rows[part]).all(1), part, "NaN or infinity", "check how they were computed")
        _refuse(~rows[part].any(1), part, "zero vectors", "they have no direction, leave such texts out")
    return rows


def _refuse(bad: Any, part: slice, problem: str, remedy: str) -> None:
    if bad.any():
        places = (np.flatnonzero(bad) + part.start).tolist()
        raise BadInput(f"embeddings have {problem} in row{'s' * (len(places) > 1)} {some(places)}: {remedy}.")


def row_blocks(count: int, width: int) -> Iterator[slice]:
    """Yield slices of `count` rows, each of at most `BLOCK` numbers if a row has `width`."""
    return slices(count, max(1, BLOCK // width))


def mean_over_weighted_pairs(totals: Any, counts: Any, squares: Any) -> Floats:
    """Return the mean of a kernel over pairs of different texts, text i counted w_i times.

        sum_{i != j} w_i w_j k(x_i, x_j)  /  ((sum_i w_i)² - sum_i w_i²)

    A text is never paired with its own copies. NaN if fewer than two different texts count. `totals` is the numerator,
    for the cosine |sum_i w_i x_i|² - sum_i w_i²; `counts` is sum_i w_i, of whole numbers, and `squares` sum_i w_i².
    """
    pairs = np.square(np.asarray(counts, np.float64)) - squares
    means: Floats = np.divide(totals, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return means


def mean_cosine(embeddings: Any) -> float:
    """Return the mean cosine over all pairs of different texts.

        2 / (N (N-1)) sum_{i<j} x_i.x_j  =  (|sum_i x_i|² - N) / (N (N-1)),   |x_i| = 1

    In [-1/(N-1), 1]: 0 for unrelated directions, 1 if all are the same. One pass over the rows, no loop over pairs.

    >>> mean_cosine(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))         # cosines 1, 0, 0
    0.3333333333333333
    """
    rows = _at_least_two(check_embeddings(embeddings))
    total = sum((to_unit(rows[part]).sum(0) for part in row_blocks(*rows.shape)), np.zeros(rows.shape[1]))
    return float(mean_over_weighted_pairs(total @ total - len(rows), len(rows), len(rows)))


def weighted_mean_cosine(rows: Floats, weights: Floats) -> Floats:
    """Return the mean cosine of unit `rows [N, D]` under each of `weights [R, N]`: [R], NaN if no two texts count."""
    squares = np.square(weights).sum(1)
    return mean_over_weighted_pairs(np.square(weights @ rows).sum(1) - squares, weights.sum(1), squares)


def uniformity(embeddings: Any, t: float = 2.0) -> float:
    """Return how evenly the embeddings fill the sphere (Wang and Isola, 2020).

        log  mean_{i<j} exp(-t |x_i - x_j|²),   |x_i| = 1

    In [-4t, 0]: 0 if all directions are the same, lower for more even ones. Unlike the mean cosine it also detects
    clusters whose directions cancel. The larger `t`, which is at most 175, the less distant pairs count. N² D work.

    >>> round(uniformity(np.array([[1.0, 0.0], [0.0, 3.0]])), 12), round(uniformity(np.array([[1.0], [-1.0]])), 12)
    (-4.0, -8.0)
    """
    if isinstance(t, bool) or not isinstance(t, (int, float)) or not 0 < t <= _LARGEST_T:
        raise BadInput(f"t={t!r}: uniformity needs a number above 0 and at most {_LARGEST_T}.")
    rows = to_unit(_at_least_two(check_embeddings(embeddings)))
    return float(weighted_uniformity(rows, np.ones((1, len(rows))), t)[0])


def weighted_uniformity(rows: Floats, weights: Floats, t: float = 2.0) -> Floats:
    """Return the uniformity of unit `rows [N, D]` under each of `weights [R, N]`: [R], NaN if no two texts count."""
    totals = np.zeros(len(weights))
    for part in row_blocks(len(rows), max(len(rows), len(weights))):
        kernel = np.exp(-t * np.clip(2 - 2 * rows @ rows[part].T, 0, 4))  # |x - y|² = 2 - 2 x.y for unit vectors
        kernel[np.arange(part.start, part.stop), np.arange(part.stop - part.start)] = 0  # no text with itself
        totals += ((weights @ kernel) * weights[:, part]).sum(1)
    means: Floats = np.log(mean_over_weighted_pairs(totals, weights.sum(1), np.square(weights).sum(1)))
    return means


def effective_rank(eigenvalues: Any) -> float:
    """Return the effective number of directions that a covariance uses (Roy and Vetterli, 2007).

        exp(-sum_i p_i log p_i),   p_i = eigenvalue_i / sum of all

    From 1, all variance along one direction, to the number of eigenvalues above 0, equal variance along each. 0 if
    all are 0. The centred covariance of n texts has at most n - 1 eigenvalues above 0, so compare only sets of the
    same size.

    >>> round(effective_rank([2.0, 2.0, 2.0, 0.0]), 12), round(effective_rank([5.0, 0.0]), 12)
    (3.0, 1.0)
    """
    values = to_vector(eigenvalues, "eigenvalues")
    if (values < 0).any():
        raise BadInput(f"eigenvalue {values.min():g} is below 0, which a covariance never has: clip rounding errors.")
    if not values.any():
        return 0.0
    shares = values / values.max()  # so that their sum neither overflows nor vanishes
    shares /= shares.sum()
    shares = shares[shares > 0]  # the least may have vanished in the division
    return float(np.exp(-(shares * np.log(shares)).sum()))


def to_vector(values: Any, name: str) -> Floats:
    """Return finite numbers [N] from a list, array or tensor, in float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().to(torch.float64 if values.is_floating_point() else values.dtype).numpy()
    try:
        made = np.asarray(values)
    except (TypeError, ValueError):
        made = np.array(None)
    if made.size == 0 and made.ndim == 1:
        made = made.astype(np.float64)
    if made.dtype.kind not in "fiu" or made.ndim != 1:
        raise BadInput(f"{name} has shape {made.shape} and dtype {made.dtype}: pass one row of numbers.")
    if not (finite := np.isfinite(made)).all():
        raise BadInput(f"{name} holds NaN or infinity at {some(np.flatnonzero(~finite).tolist())}: leave those out.")
    wide: Floats = made.astype(np.float64)
    return wide


def _at_least_two(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if len(rows) < 2:
        raise BadInput(f"embeddings have shape {rows.shape}: pairs need at least two texts.")
    return rows
