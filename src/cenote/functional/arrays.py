"""Numpy in, numpy out: the one place where arrays become tensors and tensors arrays."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

Array = TypeVar("Array", torch.Tensor, npt.NDArray[Any])


def from_numpy(array: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor on the same memory where torch can read that, and on a copy where not (reversed, or other-endian)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # we only read
        try:
            return torch.from_numpy(array)
        except (TypeError, ValueError):
            return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def like(given: Array, values: torch.Tensor) -> Array:
    """`values` as the kind of array that was given; a numpy result without dimensions is a numpy scalar."""
    made: Any = values if isinstance(given, torch.Tensor) else values.numpy()[()]
    return made  # type: ignore[no-any-return]
