"""The forms in which vectors are written: fewer dimensions, length 1, and smaller numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cenote.errors import BadInput, some

Floats = npt.NDArray[np.float32]

# Numbers that int8 has on each side of 0: -128 stays unused, so that a vector and its opposite differ by their signs.
STEPS = 127


def normalised(vectors: Floats) -> Floats:
    """Rows divided by their norms, in the dtype they came in.

    >>> normalised(np.array([[3.0, 4.0]], np.float32))
    array([[0.6, 0.8]], dtype=float32)
    """
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if (zero := np.flatnonzero(norms == 0)).size:
        raise BadInput(f"vectors {some(zero.tolist())} are zero and have no direction: do not ask for normalised ones.")
    unit: Floats = (vectors / norms[:, None]).astype(vectors.dtype)
    return unit


def scales_of(vectors: Floats) -> Floats:
    """What the int8 numbers of each dimension are multiplied by, so that none of these vectors is clipped: [D].

    >>> scales_of(np.array([[0.5, 0.0], [-1.27, 0.0]], np.float32)).tolist()
    [0.009999999776482582, 1.0]
    """
    largest = np.abs(vectors).max(0)
    scales: Floats = np.where(largest > 0, largest / STEPS, 1).astype(np.float32)
    return scales


def quantised(vectors: Floats, scales: Any) -> tuple[npt.NDArray[np.int8], int]:
    """The nearest int8 numbers, and how many lay beyond the last of them.

    >>> quantised(np.array([[0.5, 2.0]], np.float32), np.array([0.01, 0.01], np.float32))
    (array([[ 50, 127]], dtype=int8), 1)
    """
    steps = np.rint(vectors / np.asarray(scales, np.float32))
    return np.clip(steps, -STEPS, STEPS).astype(np.int8), int((np.abs(steps) > STEPS).sum())


def restored(numbers: npt.NDArray[np.int8], scales: Any) -> Floats:
    """The vectors that int8 numbers stand for, each within half a scale of what it was.

    >>> restored(np.array([[50, -127]], np.int8), np.array([0.01, 0.01], np.float32))
    array([[ 0.5 , -1.27]], dtype=float32)
    """
    vectors: Floats = numbers.astype(np.float32) * np.asarray(scales, np.float32)
    return vectors
