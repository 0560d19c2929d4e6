"""The forms in which vectors are written: fewer dimensions, length 1, and smaller numbers."""

from __future__ import annotations

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


def quantised(vectors: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """The nearest int8 numbers [N, D], and what those of each vector are multiplied by [N]: its largest / 127.

    No number lies beyond the last of them, and none is further than half its vector's scale from what it was.

    >>> numbers, scales = quantised(np.array([[50, -127], [20, 254]], np.float32))
    >>> numbers.tolist(), scales.tolist()
    ([[50, -127], [10, 127]], [1.0, 2.0])
    """
    # A vector of zeros has some scale too; and below this one, float32 has too few digits to divide by.
    least = np.finfo(np.float32).tiny
    scales: Floats = np.maximum(np.abs(vectors).max(1) / np.float32(STEPS), least).astype(np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def restored(numbers: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """The vectors that int8 numbers [N, D] stand for by their scales [N].

    >>> restored(np.array([[50, -127], [1, 0]], np.int8), np.array([0.01, 0.5], np.float32))
    array([[ 0.5 , -1.27],
           [ 0.5 ,  0.  ]], dtype=float32)
    """
    vectors: Floats = numbers.astype(np.float32) * scales[:, None]
    return vectors
