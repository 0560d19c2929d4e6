"""The two layouts in which sentence-transformers hands a batch to a pooling, made the one that operators read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Features with one entry per token that `LandmarkTransformer` adds, and the model does not see.
OWN_FEATURES = ("landmark_mask", "prompt_mask")


def layouts(features: dict[str, Any]) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
    """Rows, tokens, mask, landmarks and prompt, padded, whichever layout sentence-transformers sent.

    A flattened batch comes as several padded ones, of texts of like length: one long text must not pad them all.
    """
    tokens = features["token_embeddings"]
    own = [features.get(name) for name in OWN_FEATURES]
    if "cu_seq_lens_q" not in features:
        mask = features.get("attention_mask")
        # Some image and audio models return another number of tokens than they were given: all of those are real.
        yield None, tokens, mask if mask is not None and mask.shape[-1] == tokens.shape[1] else None, *own
        return
    lengths = features["cu_seq_lens_q"].diff()
    sizes = lengths.tolist()
    parts = [None if part is None else part[0].split(sizes) for part in (tokens, *own)]
    for magnitude in sorted({size.bit_length() for size in sizes}):
        rows = [row for row, size in enumerate(sizes) if size.bit_length() == magnitude]
        padded = [
            None if part is None else pad_sequence([part[row] for row in rows], batch_first=True) for part in parts
        ]
        slots = torch.arange(max(sizes[row] for row in rows), device=tokens.device)
        index = torch.tensor(rows, device=tokens.device)
        yield index, padded[0], slots < lengths[index].unsqueeze(1), *padded[1:]


def prompt_length(features: dict[str, Any], rows: int) -> Any:
    """sentence-transformers' own: a number, or a tensor that repeats it, as often as there were rows before merging."""
    length = features.get("prompt_length", 0)
    return length.flatten()[:1] if isinstance(length, Tensor) and length.numel() != rows else length


def skipped(pooling: Any, features: dict[str, Any], rows: int, prompt: Tensor | None = None) -> Any:
    """How many tokens a pooling skips at the start of each row: those of a prompt that it leaves out.

    `prompt` marks a prompt's tokens where `LandmarkTransformer` says which they are.
    """
    if pooling.include_prompt:
        return 0
    return prompt_length(features, rows) if prompt is None else prompt.sum(1)
