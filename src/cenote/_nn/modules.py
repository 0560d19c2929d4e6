"""The training mode and the dtype of torch modules, the config of a network, and what a tokenizer can tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and restore each module's own mode at the end."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def weights_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating-point weight."""
    return next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)


def config_of(reader: Any) -> Any:
    """Return the configuration of the network of a module that reads texts; None where it has none."""
    return getattr(getattr(reader, "model", None), "config", None)


def has_offsets(tokenizer: Any) -> bool:
    """Return whether a tokenizer gives the characters of each token, as fast ones do."""
    return bool(getattr(tokenizer, "is_fast", False))
