"""Vectors of norm 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cenote.errors import BadInput, some
from cenote.functional.sampling import Floats

# Outside this range of norms the sum of squares may have under- or overflowed float64.
_SAFE = 1e-150, 1e150


def to_unit(vectors: npt.NDArray[Any]) -> Floats:
    """Divide rows [N, D] by their norms, in float64; zeros stay. A row's result does not depend on its neighbours.

    >>> to_unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    wide: Floats = np.ascontiguousarray(vectors, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        norms = np.sqrt(np.square(wide).sum(1))
    unsafe = ~((norms > _SAFE[0]) & (norms < _SAFE[1]))
    if unsafe.any():
        wide = wide.copy()
        largest = np.abs(wide[unsafe]).max(1, keepdims=True, initial=0)
        wide[unsafe] /= np.where(largest == 0, 1, largest)
        norms[unsafe] = np.sqrt(np.square(wide[unsafe]).sum(1))
        norms[norms == 0] = 1
    units: Floats = wide / norms[:, None]
    return units


def normalise(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Divide rows by their norms, which are computed in float64; the dtype stays. Rows of zeros are refused.

    >>> normalise(np.array([[3.0, 4.0]], np.float32))
    array([[0.6, 0.8]], dtype=float32)
    """
    if (zero := np.flatnonzero(~vectors.any(1))).size:
        raise BadInput(f"vectors {some(zero.tolist())} are zero and have no direction: turn normalization off.")
    return to_unit(vectors).astype(vectors.dtype)
