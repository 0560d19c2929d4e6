"""Random texts and attention maps, padded on either side, and the whole spectrum of a map, for several test files."""

import math

import numpy as np
import torch

SIDES = [("right", 0), ("right", 3), ("left", 0), ("left", 3)]


def random_texts(seed, lengths=(5, 1, 3), dimension=4):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, dimension, generator=generator, dtype=torch.float64) + 1 for n in lengths]


def random_maps(seed, lengths=(5, 1, 3), heads=2, sharp=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [(sharp * torch.randn(heads, n, n, generator=generator, dtype=dtype)).softmax(-1) for n in lengths]


def places_of(length, size, side):
    return slice(0, length) if side == "right" else slice(size - length, size)


def padded(texts, side="right", extra=0, fill=math.nan):
    """Texts `[n, ...]` as one tensor with `fill` in the padding, and the mask."""
    size = max(map(len, texts)) + extra
    tokens = torch.full((len(texts), size, *texts[0].shape[1:]), fill, dtype=texts[0].dtype)
    mask = torch.zeros(len(texts), size, dtype=torch.long)
    for row, text in enumerate(texts):
        place = places_of(len(text), size, side)
        tokens[row, place], mask[row, place] = text, 1
    return tokens, mask


def padded_maps(maps, side="right", extra=0):
    """Maps `[H, n, n]` of several texts as `[B, H, T, T]` with NaN in the padding, and the mask."""
    size = max(part.shape[-1] for part in maps) + extra
    attention = torch.full((len(maps), maps[0].shape[0], size, size), math.nan, dtype=maps[0].dtype)
    mask = torch.zeros(len(maps), size, dtype=torch.long)
    for row, part in enumerate(maps):
        place = places_of(part.shape[-1], size, side)
        attention[row, :, place, place], mask[row, place] = part, 1
    return attention, mask


def centring(n):
    return np.eye(n) - 1 / n


def largest_by_svd(maps):
    """The largest singular value of P A for each map, in float64, with P spelled out."""
    centred = centring(maps.shape[-1]) @ maps.double().numpy()
    return torch.from_numpy(np.linalg.svd(centred, compute_uv=False)[..., 0])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
