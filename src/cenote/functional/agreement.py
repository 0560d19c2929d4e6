"""Whether two sets of vectors of the same texts agree: cosines, and the nearest others, in any order or by rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cenote.errors import BadInput
from cenote.functional.retrieval import nearest
from cenote.functional.units import to_unit

Vectors = npt.NDArray[np.float64]

# Nearest texts by which two sets of vectors are compared.
NEIGHBOURS = 10
# The fewest texts of which each has others that are not among its nearest.
FEWEST_WITH_OTHERS = NEIGHBOURS + 2


def cosines(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Vectors:
    """Return the cosine of each row of one side with that of the other; NaN where a vector has NaN.

    >>> cosines(np.array([[3.0, 4.0]]), np.array([[6.0, 8.0]])).tolist()
    [1.0]
    """
    found: Vectors = np.clip(np.einsum("ij,ij->i", to_unit(left), to_unit(right)), -1.0, 1.0)
    return found


def cosine_of(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Return the cosine of two vectors; -1 if they have other widths.

    >>> cosine_of(np.array([3.0, 4.0]), np.array([6.0, 8.0])), cosine_of(np.ones(2), np.ones(3))
    (1.0, -1.0)
    """
    return float(cosines(left[None], right[None])[0]) if len(left) == len(right) else -1.0


def nearest_others(unit: Vectors, count: int = NEIGHBOURS) -> list[list[int]]:
    """Return the nearest other texts of each. A copy of a text may rank before the text itself.

    >>> nearest_others(to_unit(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])), 1)
    [[1], [0], [1]]
    """
    near = nearest(unit, unit, count + 1).tolist()
    return [[one for one in row if one != place][:count] for place, row in enumerate(near)]


def average_overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Return how far two rankings agree: the mean over depths k of the share of the first k that both have.

    1 is the same order and 0 nothing in common; the first places weigh most (Webber, Moffat and Zobel, 2010).

    >>> average_overlap([1, 2, 3], [1, 2, 3]), average_overlap([1, 2], [2, 1]), average_overlap([1, 2], [3, 4])
    (1.0, 0.5, 0.0)
    """
    if not len(one) or len(one) != len(other):
        raise BadInput(f"rankings of {len(one)} and {len(other)} texts: pass as many of both, at least one.")
    depths = range(1, len(one) + 1)
    return sum(len({*one[:depth]} & {*other[:depth]}) / depth for depth in depths) / len(one)


def shared_nearest(left: npt.NDArray[Any], right: npt.NDArray[Any], count: int = NEIGHBOURS) -> Vectors:
    """Return, for each text, the share of its nearest others that two sets of vectors have in common.

    Of `count` + 1 texts all others are nearest, whatever their vectors: it takes one more
    (`FEWEST_WITH_OTHERS` of ten).

    >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> shared_nearest(points, points[[0, 2, 1, 3]], 1).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    if len(left) < count + 2:
        raise BadInput(f"{len(left)} texts share all of their {count} nearest others: pass {count + 2} or more.")
    found = (nearest_others(to_unit(side), count) for side in (left, right))
    return np.array([len(set(one) & set(other)) / len(one) for one, other in zip(*found, strict=True)])
