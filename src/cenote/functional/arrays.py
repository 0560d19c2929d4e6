"""Convert between numpy arrays and tensors: numpy in, numpy out."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

Array = TypeVar("Array", torch.Tensor, npt.NDArray[Any])


def from_numpy(array: npt.NDArray[Any]) -> torch.Tensor:
    """Return a tensor that shares memory, or a copy if torch cannot read the array (reversed, or other-endian)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # we only read
        try:
            return torch.from_numpy(array)
        except (TypeError, ValueError):
            return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def convert_like(given: Array, values: torch.Tensor) -> Array:
    """Return `values` as the kind of array that `given` is; a numpy result without dimensions is a numpy scalar."""
    made: Any = values if isinstance(given, torch.Tensor) else values.numpy()[()]
    return made  # type: ignore[no-any-return]
