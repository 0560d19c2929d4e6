"""Convert the two layouts of sentence-transformers' batches, padded and flattened, to the padded one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Features with one entry per token that `LandmarkTransformer` adds and the model does not take.
OWN_FEATURES = ("landmark_mask", "prompt_mask")


def layouts(features: dict[str, Any]) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
    """Yield rows, tokens, mask, landmarks and prompt of padded batches, from either layout.

    A flattened batch gives several padded ones of texts of similar length, so that one long text does not pad all.
    """
    tokens = features["token_embeddings"]
    own = [features.get(name) for name in OWN_FEATURES]
    if "cu_seq_lens_q" not in features:
        mask = features.get("attention_mask")
        # Some image and audio models return another number of tokens than their input has: all of them are real.
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


def skipped(pooling: Any, features: dict[str, Any], rows: int, prompt: Tensor | None = None) -> Any:
    """Return the number of tokens that a pooling skips at the start of each row: the prompt, if it is excluded.

    `prompt` is the mask of the prompt's tokens, which only `LandmarkTransformer` provides.
    """
    if pooling.include_prompt:
        return 0
    if prompt is not None:
        return prompt.sum(1)
    length = features.get("prompt_length", 0)
    # A loss that merges columns keeps the tensor of one column, which repeats one number.
    return length.flatten()[:1] if isinstance(length, Tensor) and length.numel() != rows else length
