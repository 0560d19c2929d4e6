"""Fingerprints of weights: a short string that changes when a model is trained, baked or rounded."""

from __future__ import annotations

import hashlib
import re

import torch
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from torch import nn

from cenote.data.fingerprints import DIGITS

# Evenly spaced entries that are read of a large tensor: training, baking and rounding change nearly all of them.
_SAMPLED = 2**16
# The pooler of a network. Where a Pooling follows, no vector depends on it; where the files lack it, as is common,
# transformers draws other random values at each load.
_POOLER = re.compile(r"(?:^|\.)0\.(?:auto_)?model\.pooler\.")


def fingerprint_of_weights(model: nn.Module, *, every: bool = False, poolers: bool = False) -> str:
    """Return a fingerprint of the weights and buffers that a model's vectors depend on, the same on any device.

    Left out is the pooler of a network whose tokens are pooled otherwise. The fingerprint covers the name, dtype, shape
    and entries of every other tensor; of one with more than 2^16 = 65,536 entries only every k-th entry, from the
    first, with the smallest k that leaves 65,536 or fewer. Training, baking and rounding change nearly all entries, and
    so the fingerprint. A change of a few entries of a large tensor, such as one row of an embedding table, may be
    missed: equal fingerprints do not prove equal weights. With `every` all entries are read, a second for 400 MB; with
    `poolers` nothing is left out.
    """
    digest = hashlib.sha256()
    # Of the model, or of a route of a Router; two routes may share one.
    modules = model.named_modules(remove_duplicate=False)
    pooled = tuple(name[: name.rfind(".") + 1] for name, module in modules if isinstance(module, StPooling))
    for name, tensor in sorted(model.state_dict().items()):
        if not poolers and name.startswith(pooled) and _POOLER.search(name):
            continue
        flat = tensor.detach().flatten()
        step = 1 if every else max(1, -(-len(flat) // _SAMPLED))
        seen = flat[::step].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(seen.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:DIGITS]


def fingerprint_as(recorded: object, model: nn.Module) -> str:
    """Return the fingerprint of a model's weights in the form of an earlier record, so that the two can be compared.

    The first records held poolers too.
    """
    found = fingerprint_of_weights(model)
    if recorded in (None, found):
        return found
    whole = fingerprint_of_weights(model, poolers=True)
    return whole if recorded == whole else found
