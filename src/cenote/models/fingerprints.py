"""Fingerprints of weights: a short name that changes when a model is trained, baked or rounded."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from cenote.data.fingerprints import DIGITS

# Entries of a large tensor that are read, evenly spaced: training, baking and rounding change nearly all of them, and a
# large model is not read twice.
_SAMPLED = 2**16


def fingerprint_of_weights(model: nn.Module) -> str:
    """A fingerprint of a model's weights and buffers, whatever device they are on.

    It is of the name, dtype and shape of every tensor, and of its entries; of a tensor of more than 2^16 = 65,536
    entries only of every k-th, the first included, k being the least that leaves 65,536 or fewer. What was trained,
    baked or rounded differs nearly everywhere and has another fingerprint. A change of a few entries of a large tensor,
    one row of an embedding table, say, may fall between those looked at: equal fingerprints do not prove equal weights.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        seen = flat[:: max(1, -(-len(flat) // _SAMPLED))].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(seen.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:DIGITS]
