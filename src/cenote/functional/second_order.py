"""SOCM, second-order collapse by mean pooling: texts with similar means whose token clouds differ in shape.

For two texts the measure needs the nuclear norm of a product of their token matrices, which is [n1, n2] and never
[D, D]. All pairs of many texts are computed in tiles of texts of similar size.

With far fewer tokens than dimensions, even two samples of one text differ in shape: `socm_null` measures by how much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput, check_at_least, choose
from cenote.functional.arrays import Array, convert_like
from cenote.functional.clouds import Cloud, check_compatible, factor, read_clouds
from cenote.functional.pooling import exact_products
from cenote.functional.threads import one_thread_each, thread_count

if TYPE_CHECKING:
    from cenote.choices import SocmPrecision

# The published code adds this to eigenvalues, in two places.
REFERENCE_FLOOR = 1e-9
# The most token rows of a block of texts (or one text). Two blocks make a tile: temporary tensors take some megabytes
# per worker, near its cache, and products are large enough to be quick. A row-by-row tile has far fewer pairs, so its
# blocks have more rows.
_ROWS, _PAIRED_ROWS = 512, 2048
# Texts of a block are padded to the largest; the smallest may have at most this share fewer rows. Cost grows with the
# smaller text of a pair to the power of two or three, and far less with the larger one.
_SLACK, _WIDE_SLACK = 1 / 16, 1 / 4
# Tiles per worker in one round, after which results are yielded: many, so that no worker waits long at its end.
_TILES = 16
# How many texts, hence some hundred pairs, are timed to predict the time of too many pairs.
_TIMED = 24
_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
# Equal tokens leave a trace of some 1e-32, in units of |mu|^2, by the rounding of their mean in float64. Up to here a
# sum of two traces counts as no spread.
_NO_SPREAD = 1e-26
# A half of one token has no spread.
FEWEST_TO_SPLIT = 4


@dataclass(frozen=True, eq=False)
class SecondOrder(Generic[Array]):
    """SOCM and its parts for each of P pairs, float64 arrays [P]."""

    d_mu: Array  # |mu1 - mu2|^2 / 4 of unit means, in [0, 1]
    d_sigma: Array  # BW^2(S1, S2) / 4, at least 0
    normalised: Array  # d_sigma / ((tr S1 + tr S2) / 4), in [0, 1]; 0 where neither text has spread

    @cached_property
    def socm(self) -> Array:
        """Return (1 - d_mu) d_sigma, at least 0: higher is more severe."""
        severity: Array = (1 - self.d_mu) * self.d_sigma
        return severity


@dataclass(frozen=True)
class _Block:
    """Texts of similar size."""

    index: Tensor  # [k], the index of each in the list of texts
    factors: Tensor  # [k, rows, D], Z of each, padded with zeros: Z^T Z is its covariance in units of |mu|^2
    units: Tensor  # [k, D], float64: mu / |mu|
    traces: Tensor  # [k], float64: traces of the covariances


# All pairs of two blocks, or of one block with itself. Or pairs row by row, and for each, [k], whether the left text
# comes from `second`.
_Tile = tuple[_Block, _Block, Tensor | None]


@dataclass(frozen=True)
class _Plan:
    """The texts to compare, and how."""

    first: list[Cloud]
    second: list[Cloud] | None
    precision: torch.dtype
    floor: float

    @property
    def pairs(self) -> int:
        n = len(self.first)
        return n * (n - 1) // 2 if self.second is None else n


def _block(texts: Sequence[Cloud], index: Sequence[int], dtype: torch.dtype) -> _Block:
    chosen = [factor(texts[i]) for i in index]
    device, width = chosen[0][0].device, texts[0].tokens.shape[1]
    factors = torch.zeros(len(chosen), max(len(z) for z, _, _ in chosen), width, dtype=dtype, device=device)
    for row, (z, _, _) in zip(factors, chosen, strict=True):
        row[: len(z)] = z
    units, traces = (torch.stack([parts[k] for parts in chosen]) for k in (1, 2))
    return _Block(torch.tensor(index, device=device), factors, units, traces)


def _runs(sizes: Sequence[tuple[int, int]], rows: int) -> Iterator[list[int]]:
    """Yield runs of consecutive positions of sorted `sizes` (rows of the smaller and of the larger text): blocks."""
    run: list[int] = []
    smallest = narrowest = widest = 0
    for position, (small, large) in enumerate(sizes):
        low, high = min(narrowest, large), max(widest, large)
        apart = small * (1 - _SLACK) > smallest or high * (1 - _WIDE_SLACK) > low
        if run and (apart or (len(run) + 1) * high > rows):
            yield run
            run = []
        if not run:
            smallest, low, high = small, large, large
        run.append(position)
        narrowest, widest = low, high
    yield run


def _all_pairs(texts: Sequence[Cloud], dtype: torch.dtype) -> Iterator[_Tile]:
    order = sorted(range(len(texts)), key=lambda i: (texts[i].rows, i))
    sizes = [(texts[i].rows, texts[i].rows) for i in order]
    blocks = [_block(texts, [order[position] for position in run], dtype) for run in _runs(sizes, _ROWS)]
    return ((left, right, None) for number, left in enumerate(blocks) for right in blocks[number:])


def _row_by_row(first: Sequence[Cloud], second: Sequence[Cloud], dtype: torch.dtype) -> Iterator[_Tile]:
    turned = [a.rows > b.rows for a, b in zip(first, second, strict=True)]  # the smaller text is on the left
    smaller = [b if turn else a for a, b, turn in zip(first, second, turned, strict=True)]
    larger = [a if turn else b for a, b, turn in zip(first, second, turned, strict=True)]
    order = sorted(range(len(first)), key=lambda i: (smaller[i].rows, larger[i].rows, i))
    tiles: list[_Tile] = []
    for run in _runs([(smaller[i].rows, larger[i].rows) for i in order], _PAIRED_ROWS):
        index = [order[position] for position in run]
        left, right = _block(smaller, index, dtype), _block(larger, index, dtype)
        tiles.append((left, right, torch.tensor([turned[i] for i in index], device=left.index.device)))
    return iter(tiles)


def _evaluate(tile: _Tile, floor: float, exact: bool) -> tuple[Tensor, ...]:
    """Return the indices i and j, d_mu, d_sigma and tr S1 + tr S2 of each pair of a tile."""
    left, right, second_left = tile
    if second_left is None:
        # One large product, from [k, rows, l, rows] to [k * l, rows, rows].
        crossed = left.factors.flatten(0, 1) @ right.factors.flatten(0, 1).T
        crossed = crossed.view(*left.factors.shape[:2], *right.factors.shape[:2]).transpose(1, 2)
        products = crossed.to(torch.float64, memory_format=torch.contiguous_format).flatten(0, 1)
        among = torch.ones(len(left.index), len(right.index), dtype=torch.bool, device=products.device)
        rows, columns = (among.triu(1) if left is right else among).nonzero(as_tuple=True)
        products = products[rows * len(right.index) + columns] if left is right else products
        cosines = (left.units @ right.units.T)[rows, columns]
        second_left = left.index[rows] > right.index[columns]
    else:
        rows = columns = torch.arange(len(left.index), device=left.index.device)
        products = torch.bmm(left.factors, right.factors.mT).double()
        cosines = (left.units * right.units).sum(1)
    traces = left.traces[rows] + right.traces[columns]
    if floor:
        roots = torch.empty_like(traces)
        orders = ((second_left, left, rows, products), (~second_left, right, columns, products.mT))
        for chosen, block, place, own_by_other in orders:  # with a floor, the order of the two texts matters
            roots[chosen] = _floored_roots(own_by_other[chosen], block, place[chosen], floor)
        d_sigma = (traces - 2 * roots) / 4
    else:
        d_sigma = ((traces - 2 * _nuclear(products, exact)) / 4).clamp(min=0)
    d_mu = ((1 - cosines) / 2).clamp(0, 1)  # |u - v|^2 = 2 - 2 u·v
    return left.index[rows], right.index[columns], d_mu, d_sigma, traces


def _nuclear(products: Tensor, exact: bool) -> Tensor:
    """Return the sum of the singular values of each matrix of [b, m, n]."""
    if exact:
        singular: Tensor = torch.linalg.svdvals(products)
        return singular.sum(-1)
    # Eigenvalues of the smaller Gram matrix are their squares, and two to four times as quick. Squares lose half of the
    # digits of small values, which in float64 leaves the eight that the products have.
    small = products if products.shape[1] <= products.shape[2] else products.mT
    squares: Tensor = torch.linalg.eigvalsh(small @ small.mT)
    return squares.clamp(min=0).sqrt().sum(-1)


def _floored_roots(products: Tensor, second: _Block, place: Tensor, floor: float) -> Tensor:
    """Return the trace of M^{1/2} as in the published code, from Z2 Z1^T for texts at `place` of the block `second`.

    M = A^{1/2} S2 A^{1/2} with A = S1 + floor has the eigenvalues of Z2 A Z2^T, which is [m, m], and D - m zeros; the
    floor is added to each of the D before the root.
    """
    own = second.factors.double()
    squares: Tensor = torch.linalg.eigvalsh(products @ products.mT + floor * (own @ own.mT)[place])
    zeros = own.shape[2] - squares.shape[1]
    return (squares.clamp(min=0) + floor).sqrt().sum(-1) + zeros * math.sqrt(floor)


def _walk(plan: _Plan) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, ...]]]:
    """Yield i, j and the fields of `SecondOrder` of all pairs on the CPU, one round of tiles at a time."""
    on_cpu = plan.first[0].tokens.device.type in ("cpu", "mps")
    threads = thread_count() if on_cpu else 1
    exact = plan.precision == torch.float64
    # If the user lets float32 products round, use float64.
    dtype = plan.precision if exact_products(plan.precision) else torch.float64
    tiles = _row_by_row(plan.first, plan.second, dtype) if plan.second else _all_pairs(plan.first, dtype)
    # Even one worker is a thread of its own, which autocast and other states of the caller do not reach.
    with ThreadPoolExecutor(threads) as pool:
        while some_tiles := list(islice(tiles, _TILES * threads)):
            with one_thread_each():
                parts = list(pool.map(lambda tile: _evaluate(tile, plan.floor, exact), some_tiles))
            i, j, d_mu, d_sigma, traces = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
            normalised = torch.where(traces > _NO_SPREAD, d_sigma / (traces / 4), 0)
            yield torch.minimum(i, j), torch.maximum(i, j), (d_mu, d_sigma, normalised)


def _plan(first: Any, second: Any, precision: str, floor: float) -> _Plan:
    dtype = choose(precision, _PRECISIONS, "precision")
    if isinstance(floor, bool) or not isinstance(floor, (int, float)) or not 0 <= floor < math.inf:
        raise BadInput(
            f"floor={floor!r}: pass 0 for exact figures, or {REFERENCE_FLOOR:g} for those of the published code."
        )
    ones = read_clouds(first, "first")
    twos = None if second is None else read_clouds(second, "second")
    if twos is None and len(ones) == 1:
        raise BadInput("first holds one text and second is None: pass two texts at least.")
    if twos is not None and len(ones) != len(twos):
        raise BadInput(
            f"first holds {len(ones)} texts but second {len(twos)}: pairs are row by row. "
            "For all pairs of one list, pass that list alone."
        )
    check_compatible(ones + (twos or []))
    return _Plan(ones, twos, dtype, float(floor))


def _seconds(plan: _Plan) -> float:
    """Estimate the time of a plan from a few of its texts, always the same ones."""
    chosen = torch.randperm(len(plan.first), generator=torch.Generator().manual_seed(0), device="cpu")[:_TIMED].tolist()
    second = plan.second and [plan.second[i] for i in chosen]
    few = _Plan([plan.first[i] for i in chosen], second, plan.precision, plan.floor)
    for _ in _walk(few):  # the first call of LAPACK loads the library
        pass
    start = time.perf_counter()
    for _ in _walk(few):
        pass
    return (time.perf_counter() - start) * plan.pairs / few.pairs


def _refuse_too_many(plan: _Plan, limit: float) -> None:
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 1:
        raise BadInput(f"limit={limit!r}: pass the largest number of pairs to compute; math.inf for all.")
    if plan.pairs <= limit:
        return
    seconds = _seconds(plan)
    about = f"{max(1, seconds):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    about = about if seconds < 7200 else f"{seconds / 3600:.0f} h"
    sample = f"random.sample(texts, {math.isqrt(2 * int(limit))})" if plan.second is None else "the same rows of both"
    raise BadInput(
        f"{plan.pairs:,} pairs are more than limit={limit:,} and would take about {about} here. Pass a random sample, "
        f"such as {sample}; or raise limit; or use socm_blocks, which yields pairs as they are computed."
    )


def _results(given: Any, figures: Iterable[Tensor]) -> SecondOrder[Any]:
    return SecondOrder(*(convert_like(given, figure) for figure in figures))


def socm(
    first: Sequence[Array],
    second: Sequence[Array] | None = None,
    *,
    precision: SocmPrecision = "float32",
    floor: float = 0.0,
    limit: float = 1_000_000,
    progress: Callable[[int, int], object] | None = None,
) -> SecondOrder[Array]:
    """Measure second-order collapse by mean pooling: similar means of two texts whose token clouds differ in shape.

    >>> flat = torch.tensor([[1.0, 2.0], [1.0, -2.0]])  # both have the mean (1, 0) and a deviation of 2,
    >>> long = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])  # in orthogonal directions
    >>> pair = socm([flat], [long])
    >>> pair.d_mu.item(), round(pair.d_sigma.item(), 6), round(pair.socm.item(), 6), round(pair.normalised.item(), 6)
    (0.0, 2.0, 2.0, 1.0)

    The tokens of each text are divided by the norm of their mean; mu is then their mean, S = (1/n) Σ (x - mu)(x - mu)ᵀ:

        d_mu       = |mu1 - mu2|² / 4                                    in [0, 1]
        d_sigma    = (tr S1 + tr S2 - 2 tr (S1^½ S2 S1^½)^½) / 4         at least 0; no upper bound
        socm       = (1 - d_mu) d_sigma                                  at least 0; higher is more severe collapse
        normalised = d_sigma / ((tr S1 + tr S2) / 4)                     in [0, 1]; 0 where neither text has spread

    For two Gaussians d_mu + d_sigma is a quarter of the squared Wasserstein distance (arXiv 2604.27398).

    d_sigma and socm grow with the spread of the tokens. normalised does not: it is 0 for equal shapes and 1 for
    orthogonal ones. All three are biased upward if texts have far fewer tokens than dimensions: see `socm_null`.

    Args:
        first: token matrices [n, D] of raw hidden states without padding: floating tensors or numpy arrays.
        second: as many; pair k is first[k] with second[k]. None: all pairs i < j of `first`, in the order of
            scipy's `pdist`: (0, 1), (0, 2), ... (1, 2), ...
        precision: "float32" multiplies tokens in float32, everything else in float64, with an error of d_sigma of about
            1e-6 of tr S1 + tr S2; "float64" is right to 1e-12 and several times as slow.
        floor: REFERENCE_FLOOR, 1e-9, gives the figures of the published code, see `reference_bias`. They are lower and
            can be negative.
        limit: the largest number of pairs to compute; math.inf for all.
        progress: called now and then with the number of pairs done and of all pairs.

    Returns:
        The four figures of each pair, [P] in float64, on the CPU; numpy arrays for numpy arrays.

    Raises:
        BadInput: for different widths, texts without tokens, NaN, a mean of norm 0, or too many pairs.
    """
    plan = _plan(first, second, precision, floor)
    _refuse_too_many(plan, limit)
    whole = torch.empty(3, plan.pairs, dtype=torch.float64, device="cpu")
    n, done = len(plan.first), 0
    for i, j, figures in _walk(plan):
        place = i if second is not None else n * i - i * (i + 1) // 2 + j - i - 1
        for row, figure in zip(whole, figures, strict=True):
            row[place] = figure
        done += len(i)
        if progress is not None:
            progress(done, plan.pairs)
    return _results(first[0], whole)


def socm_blocks(
    first: Sequence[Array],
    second: Sequence[Array] | None = None,
    *,
    precision: SocmPrecision = "float32",
    floor: float = 0.0,
) -> Iterator[tuple[Array, Array, SecondOrder[Array]]]:
    """Yield `socm` piece by piece, for more pairs than fit in memory.

    >>> texts = [torch.eye(3)[:n] for n in (3, 1, 2)]
    >>> for i, j, piece in socm_blocks(texts):
    ...     print(i.tolist(), j.tolist(), [round(value, 6) for value in piece.d_sigma.tolist()])
    [1, 0, 0] [2, 1, 2] [0.25, 0.5, 0.25]

    Each piece is indices `i` into `first`, `j` into `second` (or `first`, with i < j), and the figures of these pairs.
    Each pair comes once, always in the same order, together with texts of similar size.
    """
    plan = _plan(first, second, precision, floor)
    one = first[0]
    return ((convert_like(one, i), convert_like(one, j), _results(one, figures)) for i, j, figures in _walk(plan))


def split_halves(tokens: Sequence[Array], seed: int = 0) -> tuple[list[Array], list[Array]]:
    """Split the tokens of each text at random into two halves.

    >>> first, second = split_halves([torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])])
    >>> len(first[0]), len(second[0]), sorted(torch.cat([first[0], second[0]]).flatten().tolist())
    (2, 3, [1.0, 2.0, 3.0, 4.0, 5.0])

    Args:
        tokens: token matrices [n, D] without padding: floating tensors or numpy arrays.
        seed: of the draws. The split of a text depends on the seed, its place in `tokens` and n alone.

    Returns:
        The first halves, of n // 2 tokens, and the second halves, of n - n // 2 tokens: no token is in both, all are
        in one, in their order in the text.

    Raises:
        BadInput: for texts of fewer than 4 tokens, since half of them would be one token, which has no spread.
    """
    seed = check_at_least(0, seed, "seed")
    halves: tuple[list[Array], list[Array]] = ([], [])
    for place, cloud in enumerate(read_clouds(tokens, "tokens")):
        n = len(cloud.tokens)
        if n < FEWEST_TO_SPLIT:
            raise BadInput(
                f"{cloud.name} has {n} token{'s' * (n > 1)}: leave out texts of fewer than {FEWEST_TO_SPLIT}, "
                "since each half needs two tokens to have a spread."
            )
        order = np.random.default_rng((seed, place)).permutation(n)
        for half, rows in zip(halves, (order[: n // 2], order[n // 2 :]), strict=True):
            chosen = torch.from_numpy(np.sort(rows)).to(cloud.tokens.device)
            half.append(convert_like(tokens[place], cloud.tokens[chosen]))
    return halves


def socm_null(
    tokens: Sequence[Array],
    seed: int = 0,
    *,
    precision: SocmPrecision = "float32",
    floor: float = 0.0,
    progress: Callable[[int, int], object] | None = None,
) -> SecondOrder[Array]:
    """Measure SOCM between two random halves of the tokens of each text: what two samples of the same text show.

    >>> null = socm_null([torch.eye(4)])  # four tokens with nothing in common: any two halves have orthogonal shapes
    >>> [round(figure.item(), 6) for figure in (null.d_mu, null.d_sigma, null.socm, null.normalised)]
    [0.5, 0.5, 0.25, 1.0]

    The two halves come from the same text, so figures above 0 are due to the small number of tokens. Compare them with
    halves of different texts, which have as few tokens, and not with whole texts. With `tokens` sorted by length,
    neighbours have about the same number of tokens: `first, second = split_halves(tokens, seed)`, then
    `socm(first[:-1], second[1:])`.

    Args:
        tokens: token matrices [n, D] of at least 4 tokens each, as for `socm`.
        seed: of the halves, see `split_halves`.
        precision: as for `socm`.
        floor: as for `socm`.
        progress: as for `socm`.

    Returns:
        The figures of each text, [P] for P texts.

    Raises:
        BadInput: as `split_halves` and `socm`, whose messages call the two halves of text k first[k] and second[k].
    """
    first, second = split_halves(tokens, seed)
    return socm(first, second, precision=precision, floor=floor, limit=math.inf, progress=progress)


def reference_bias(dimensions: int) -> float:
    """Return how much lower the published code's d_sigma is, about, for texts of rank far below `dimensions`.

    >>> round(reference_bias(384), 4), round(reference_bias(768), 4)
    (0.0061, 0.0121)

    It adds 1e-9 to every eigenvalue of S1 and of S1^½ S2 S1^½ before the square root, hence √1e-9 to the trace of the
    root for each of D empty dimensions. Twice this trace is subtracted: 2 D √1e-9 / 4.
    """
    return 2 * dimensions * math.sqrt(REFERENCE_FLOOR) / 4
