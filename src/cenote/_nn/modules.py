"""The training mode and the dtype of torch modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
