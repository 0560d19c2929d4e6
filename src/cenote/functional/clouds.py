"""Token matrices of texts as clouds of points: check lists of [n, D] matrices, and factor their covariances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput
from cenote.functional.arrays import to_tensor


@dataclass(frozen=True)
class Cloud:
    """The tokens of one text."""

    name: str  # for messages, like "first[3]"
    tokens: Tensor  # [n, D], floating
    array: bool  # whether they came as a numpy array

    @property
    def rows(self) -> int:
        """The number of rows of its factor: the rank of centred tokens, n - 1, but at least 1."""
        n, width = self.tokens.shape
        return max(1, min(n - 1, width))


def read_clouds(given: Any, name: str) -> list[Cloud]:
    """Check each token matrix of a list; `name` is the name of the list in messages."""
    if isinstance(given, (str, dict)) or not hasattr(given, "__len__") or not hasattr(given, "__getitem__"):
        raise BadInput(f"{name} is a {type(given).__name__}: pass a list of token matrices [n, D], one for each text.")
    if len(given) == 0:
        raise BadInput(f"{name} is empty: pass a list of token matrices [n, D], one for each text.")
    return [_cloud(given[i], f"{name}[{i}]") for i in range(len(given))]


def _cloud(given: Any, name: str) -> Cloud:
    tokens = to_tensor(given, name)
    if tokens.ndim != 2 or 0 in tokens.shape:
        problem = "no tokens" if tokens.ndim == 2 else "not two dimensions"
        raise BadInput(f"{name} has shape {tuple(tokens.shape)} and {problem}: pass [n, D] without padding.")
    return Cloud(name, tokens, isinstance(given, np.ndarray))


def check_compatible(given: Sequence[Cloud]) -> None:
    """Raise if clouds differ in width, device or kind of array."""
    start = given[0]
    for cloud in given:
        if cloud.array != start.array:
            kinds = [f"{c.name} is a {'numpy array' if c.array else 'torch tensor'}" for c in (start, cloud)]
            raise BadInput(f"{kinds[0]}, {kinds[1]}: pass one kind.")
        if cloud.tokens.shape[1] != start.tokens.shape[1]:
            widths = f"{start.name} has width {start.tokens.shape[1]}, {cloud.name} {cloud.tokens.shape[1]}"
            raise BadInput(f"{widths}: are they from the same model?")
        if cloud.tokens.device != start.tokens.device:
            places = f"{start.name} is on {start.tokens.device}, {cloud.name} on {cloud.tokens.device}"
            raise BadInput(f"{places}: move them to one with .to(...).")


BROKEN = "NaN or inf among its tokens"
CENTRED = "tokens whose mean is zero, up to rounding"


def find_shape_problem(given: Any) -> str | None:
    """Return why SOCM cannot measure a text's tokens [n, D], or None if it can. `factor` raises for these texts.

    >>> find_shape_problem(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    'tokens whose mean is zero, up to rounding'
    """
    found = _scale(_cloud(given, "tokens"))
    return found if isinstance(found, str) else None


def _scale(cloud: Cloud) -> tuple[Tensor, Tensor, Tensor] | str:
    """Return the tokens in float64, divided by their largest absolute value, their mean and its norm; or a problem."""
    tokens = cloud.tokens.detach()
    tokens = (tokens.cpu() if tokens.device.type == "mps" else tokens).double()  # Apple's GPU has no float64
    peak = tokens.abs().amax()
    if not peak.isfinite():
        return BROKEN
    tokens = tokens / peak.clamp(min=torch.finfo(torch.float64).tiny)  # keeps squares in range at any scale
    mean = tokens.mean(0)
    norm = mean.norm()
    # The dtype rounded each token by up to eps of its size. A mean of n tokens that is no larger than the mean of these
    # errors is rounding, and so would be everything divided by it.
    eps = torch.finfo(cloud.tokens.dtype).eps
    vanishes = norm <= eps * tokens.square().sum(1).mean().sqrt() / math.sqrt(len(tokens))
    return CENTRED if vanishes else (tokens, mean, norm)


def factor(cloud: Cloud) -> tuple[Tensor, Tensor, Tensor]:
    """Return Z [rows, D], mu / |mu| and tr Z^T Z of one text in float64, its tokens divided by |mu|.

    Z^T Z = S, the covariance (1/n) sum (x - mu)(x - mu)^T; in general no Z with fewer rows has that property.
    """
    found = _scale(cloud)
    if found == BROKEN:
        raise BadInput(f"{cloud.name} has {BROKEN}: check how they were computed.")
    if isinstance(found, str):
        raise BadInput(f"{cloud.name} has {CENTRED}: SOCM is in units of the mean's norm, so leave such texts out.")
    tokens, mean, norm = found
    n, width = tokens.shape
    centred = (tokens - mean) / (math.sqrt(n) * norm)
    if n > 1:
        # Centred tokens have no part in the direction 1. A Householder reflection moves that direction to the first
        # row; the other rows have the same Gram matrix, with one row fewer.
        centred = centred[1:] - centred[:1] / (math.sqrt(n) + 1)
    if n - 1 > width:
        centred = torch.linalg.qr(centred, mode="r").R
    return centred, mean / norm, centred.square().sum()
