"""Numbers of a comparison of two sets of vectors of the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cenote.functional.agreement import shared_nearest
from cenote.functional.bins import length_bins
from cenote.functional.retrieval import resampled_means
from cenote.parity_records import NORM_TOLERANCE, LengthPart, Norms
from cenote.records import Estimate

Matrix = npt.NDArray[np.float64]

# The fewest texts whose nearest ones are compared.
FEWEST_FOR_NEIGHBOURS = 30
# Parts by length.
_PARTS = 5


def norms_of(vectors: npt.NDArray[Any]) -> Norms:
    """Return the norms of vectors in four figures.

    >>> norms_of(np.array([[3.0, 4.0], [0.0, 1.0]]))
    Norms(least=1.0, mean=3.0, greatest=5.0, unit=False)
    """
    found = np.linalg.norm(np.asarray(vectors, np.float64), axis=1)
    return Norms(
        least=float(found.min()),
        mean=float(found.mean()),
        greatest=float(found.max()),
        unit=bool((np.abs(found - 1) <= NORM_TOLERANCE).all()),
    )


def norm_ratios(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Matrix:
    """Return the norm of each row of the right over that of the left."""
    wide = (np.linalg.norm(np.asarray(side, np.float64), axis=1) for side in (right, left))
    found: Matrix = np.divide(*wide)
    return found


def overlap_of_neighbours(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Estimate | None:
    """Return the share of the ten nearest texts that are the same on both sides; None for fewer than 30 texts."""
    count = len(left)
    if count < FEWEST_FOR_NEIGHBOURS:
        return None
    return resampled_means([shared_nearest(left, right)], np.arange(count))[0]


def parts_by_length(values: Matrix, lengths: Sequence[int], threshold: float) -> tuple[LengthPart, ...]:
    """Return the agreement of texts by their tokens, in intervals of about as many texts each."""
    tokens = np.asarray(lengths)
    if not len(tokens):
        return ()
    edges = length_bins(tokens, _PARTS)
    parts = []
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        inside = (tokens >= low) & (True if high is None else tokens < high)
        if inside.any():
            some = values[inside]
            parts.append(
                LengthPart(
                    low=int(low),
                    high=high,
                    texts=int(inside.sum()),
                    least=float(some.min()),
                    mean=float(some.mean()),
                    differ=int((some < threshold).sum()),
                )
            )
    return tuple(parts)
