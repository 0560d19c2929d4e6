"""Check and convert numpy arrays and tensors: numpy in, numpy out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cenote.errors import BadInput

Array = TypeVar("Array", Tensor, npt.NDArray[Any])


def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """Return a tensor that shares memory, or a copy if torch cannot read the array (reversed, or other-endian)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # we only read
        try:
            return torch.from_numpy(array)
        except (TypeError, ValueError):
            return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def check_floats(values: Any, name: str) -> None:
    """Raise `BadInput` unless `values` is a dense torch tensor or a plain numpy array of floating numbers."""
    if not isinstance(values, (Tensor, np.ndarray)) or isinstance(values, np.ma.MaskedArray):
        raise BadInput(f"{name} is a {type(values).__name__}: pass a torch tensor or a plain numpy array.")
    if isinstance(values, Tensor):
        refuse_unusual(values, name)
        floating, example = values.is_floating_point(), "x.float()"
    else:
        floating, example = values.dtype.kind == "f" and values.dtype.itemsize <= 8, "x.astype('float32')"
    if not floating:
        raise BadInput(f"{name} has dtype {values.dtype}: pass floating numbers, for example {example}.")


def refuse_unusual(values: Tensor, name: str) -> None:
    """Raise `BadInput` for a tensor that cannot be computed with: without values, dense storage, or arithmetic."""
    if values.is_nested:
        raise BadInput(f"{name} is a nested tensor: pass a list of its tensors (.unbind()).")
    if values.layout != torch.strided:
        raise BadInput(f"{name} is a sparse tensor: call .to_dense() first.")
    if values.device.type == "meta":
        raise BadInput(f"{name} is on the device 'meta', where tensors have no values: compute it on another device.")
    if values.is_floating_point() and values.dtype.itemsize < 2:
        raise BadInput(f"{name} has dtype {values.dtype}, which has no arithmetic: call .float().")


def to_tensor(values: Any, name: str) -> Tensor:
    """Return a floating tensor or numpy array as a tensor, or raise `BadInput`."""
    check_floats(values, name)
    return from_numpy(values) if isinstance(values, np.ndarray) else values


def widen(values: Tensor) -> Tensor:
    """Return values in float64, or float32 on Apple's GPU, which has no float64."""
    return values.float() if values.device.type == "mps" else values.double()


def slices(length: int, step: int) -> Iterator[slice]:
    """Return slices of at most `step` that cover `length`."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def convert_like(given: Array, values: Tensor) -> Array:
    """Return `values` as the kind of array that `given` is; a numpy result without dimensions is a numpy scalar."""
    made: Any = values if isinstance(given, Tensor) else values.numpy()[()]
    return made  # type: ignore[no-any-return]
