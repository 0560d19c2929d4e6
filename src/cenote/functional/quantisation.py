"""Vectors quantised to int8, with one scale per vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# The largest int8 number in use: -128 is left out, so that a vector and its opposite differ by their signs alone.
STEPS = 127


def quantise(vectors: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return the nearest int8 numbers [N, D] and the scale of each vector [N]: its largest absolute value / 127.

    No number is clipped, and none is further than half its vector's scale from the original.

    >>> numbers, scales = quantise(np.array([[50, -127], [20, 254]], np.float32))
    >>> numbers.tolist(), scales.tolist()
    ([[50, -127], [10, 127]], [1.0, 2.0])
    """
    # A vector of zeros needs a scale too, and below this one float32 has too few digits to divide by.
    least = np.finfo(np.float32).tiny
    scales: Floats = np.maximum(np.abs(vectors).max(1) / np.float32(STEPS), least).astype(np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def dequantise(numbers: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """Return the float32 vectors of int8 numbers [N, D] and their scales [N].

    >>> dequantise(np.array([[50, -127], [1, 0]], np.int8), np.array([0.01, 0.5], np.float32))
    array([[ 0.5 , -1.27],
           [ 0.5 ,  0.  ]], dtype=float32)
    """
    vectors: Floats = numbers.astype(np.float32) * scales[:, None]
    return vectors
