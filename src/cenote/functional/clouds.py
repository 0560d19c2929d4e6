"""The tokens of texts as clouds of points: lists of [n, D] matrices, checked, and the shape of each cloud."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput
from cenote.functional.arrays import from_numpy


@dataclass(frozen=True)
class Cloud:
    """The tokens of one text."""

    name: str  # "first[3]", for messages
    tokens: Tensor  # [n, D], floating
    array: bool  # whether they came as a numpy array

    @property
    def rows(self) -> int:
        """How many rows its factor has: centred tokens have rank n - 1. At least one, so that nothing is empty."""
        n, width = self.tokens.shape
        return max(1, min(n - 1, width))


def clouds(given: Any, name: str) -> list[Cloud]:
    """The token matrices of a list, each checked by itself; `name` is what messages call the list."""
    if isinstance(given, (str, dict)) or not hasattr(given, "__len__") or not hasattr(given, "__getitem__"):
        raise BadInput(f"{name} is a {type(given).__name__}: pass a list of token matrices [n, D], one for each text.")
    if len(given) == 0:
        raise BadInput(f"{name} holds no text: pass a list of token matrices [n, D], one for each text.")
    return [_cloud(given[i], f"{name}[{i}]") for i in range(len(given))]


def _cloud(given: Any, name: str) -> Cloud:
    if isinstance(given, np.ma.MaskedArray) or not isinstance(given, (Tensor, np.ndarray)):
        raise BadInput(f"{name} is a {type(given).__name__}: pass a torch tensor or a numpy array [n, D].")
    if given.ndim != 2 or 0 in given.shape:
        problem = "has no token" if given.ndim == 2 else "is not one text's tokens"
        raise BadInput(f"{name} has shape {tuple(given.shape)} and {problem}: pass [n, D], real tokens only.")
    if isinstance(given, np.ndarray):
        if given.dtype.kind != "f" or given.dtype.itemsize > 8:
            raise BadInput(f"{name} has dtype {given.dtype}: pass float16, float32 or float64.")
        return Cloud(name, from_numpy(given), array=True)
    if not given.is_floating_point():
        raise BadInput(f"{name} has dtype {given.dtype}: pass hidden states, which are floating, or x.float().")
    return Cloud(name, given, array=False)


def check_alike(given: Sequence[Cloud]) -> None:
    """Refuse clouds of different widths, devices or kinds: they cannot be compared."""
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


class Shapeless(NamedTuple):
    """Why the shape of a cloud cannot be measured."""

    reason: str


BROKEN = Shapeless("NaN or inf among its tokens")
CENTRED = Shapeless("tokens whose mean is zero, up to rounding")


def shapeless(given: Any) -> Shapeless | None:
    """Why a text's tokens [n, D] have no shape that SOCM can measure, if they have none: what `factor` refuses.

    >>> shapeless(np.array([[1.0, 0.0], [-1.0, 0.0]])).reason
    'tokens whose mean is zero, up to rounding'
    """
    found = _scaled(_cloud(given, "tokens"))
    return found if isinstance(found, Shapeless) else None


def _scaled(cloud: Cloud) -> tuple[Tensor, Tensor, Tensor] | Shapeless:
    """The tokens in float64, divided by the largest of their numbers; their mean, and its norm."""
    tokens = cloud.tokens.detach()
    tokens = (tokens.cpu() if tokens.device.type == "mps" else tokens).double()  # Apple's has no float64
    peak = tokens.abs().amax()
    if not peak.isfinite():
        return BROKEN
    tokens = tokens / peak.clamp(min=torch.finfo(torch.float64).tiny)  # whatever the scale, squares stay in range
    mean = tokens.mean(0)
    norm = mean.norm()
    # Each token was rounded by its dtype, by up to eps of its size; a mean of n that is no larger than what remains of
    # that is rounding, and so would be all that is divided by it.
    eps = torch.finfo(cloud.tokens.dtype).eps
    hollow = norm <= eps * tokens.square().sum(1).mean().sqrt() / math.sqrt(len(tokens))
    return CENTRED if hollow else (tokens, mean, norm)


def factor(cloud: Cloud) -> tuple[Tensor, Tensor, Tensor]:
    """Z [rows, D], mu / |mu| and tr Z^T Z of one text, in float64, after division of its tokens by |mu|.

    Z^T Z = S, the covariance (1/n) sum (x - mu)(x - mu)^T, and no Z with that property has fewer rows in general.
    """
    found = _scaled(cloud)
    if found is BROKEN:
        raise BadInput(f"{cloud.name} has NaN or inf among its tokens: look at what made them.")
    if isinstance(found, Shapeless):
        raise BadInput(
            f"the tokens of {cloud.name} have a mean of norm 0 (up to rounding): SOCM measures in units of that norm "
            "and is undefined. Leave such texts out."
        )
    tokens, mean, norm = found
    n, width = tokens.shape
    centred = (tokens - mean) / (math.sqrt(n) * norm)
    if n > 1:
        # A Householder reflection takes the direction 1, in which centred tokens have nothing, to the first row; the
        # others then have the same Gram matrix: one row fewer.
        centred = centred[1:] - centred[:1] / (math.sqrt(n) + 1)
    if n - 1 > width:
        centred = torch.linalg.qr(centred, mode="r").R
    return centred, mean / norm, centred.square().sum()
