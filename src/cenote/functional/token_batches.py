"""Batches of padded token embeddings: check tokens and masks, and bring them into one form for the operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cenote.errors import BadInput, BadRows, some
from cenote.functional.arrays import from_numpy, refuse_unusual


@dataclass(frozen=True)
class Batch:
    """The padded texts of one batch."""

    tokens: Tensor  # [B, T, D], floating
    real: Tensor  # [B, T], bool: tokens of the text, no padding
    kept: Tensor  # [B, T], bool: real tokens that are pooled, without a skipped prompt

    @property
    def wide(self) -> torch.dtype:
        """The dtype for sums: wide enough that their error vanishes in the final rounding."""
        if self.tokens.dtype.itemsize < 4:
            return torch.float32
        return torch.float64 if self.tokens.device.type == "cpu" else self.tokens.dtype

    @cached_property
    def flush(self) -> bool:
        """Whether every text starts in the first slot: the usual case, and a quick one."""
        return not is_recording() and bool(self.kept[:, :1].all()) and self.kept.shape[1] > 0


def to_batch(tokens: Any, mask: Any, skip: Any) -> Batch:
    """Check tokens, mask and skip, and return them as a batch. Raises if a text has no token to pool."""
    if not isinstance(tokens, Tensor):
        raise BadInput(
            f"tokens is a {type(tokens).__name__}: pass a torch tensor, a numpy array or a list of [T, D] tensors."
        )
    if not is_recording():
        refuse_unusual(tokens, "tokens")
    shape = tuple(tokens.shape)
    if tokens.ndim not in (2, 3):
        raise BadInput(f"tokens has shape {shape}: pass [B, T, D], or [T, D] for one text.")
    if not tokens.is_floating_point():
        raise BadInput(f"tokens have dtype {tokens.dtype}: pass floating numbers, for example tokens.float().")
    if tokens.ndim == 2:
        tokens = tokens.unsqueeze(0)
    if mask is None:
        real = torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
    else:
        real = to_mask(mask, tokens, "mask")
    batch = Batch(tokens, real, skip_tokens(skip, real))
    if not is_recording() and not batch.flush:
        refuse_rows(~real.any(1), "no real token", "leave such texts out, or give them a special token")
        refuse_rows(~batch.kept.any(1), f"no token left after skip={skip}", "skip fewer tokens")
    return batch


def pad_texts(texts: Sequence[Any], mask: Any) -> tuple[Tensor, Tensor]:
    """Pad token matrices of different lengths to one tensor; return it and its mask."""
    plain = all(isinstance(text, Tensor) and not text.is_nested and text.ndim == 2 for text in texts)
    if not texts or not plain or mask is not None:
        raise BadInput("tokens is a list: pass one [T, D] tensor per text, of real tokens only, and no mask.")
    for place, text in enumerate(texts):
        refuse_unusual(text, f"tokens[{place}]")
    widths = {text.shape[1] for text in texts}
    if len(widths) > 1:
        raise BadInput(f"tokens have different widths: {some(sorted(widths))}. Are they all from one model?")
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    tokens = pad_sequence(list(texts), batch_first=True)
    return tokens, torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(1)


def to_mask(mask: Any, tokens: Tensor, name: str) -> Tensor:
    """Return `mask` as booleans [B, T] for `tokens [B, T, D]`, or raise, calling it `name`."""
    try:
        values = mask if isinstance(mask, Tensor) else from_numpy(np.asarray(mask))
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{name} is a {type(mask).__name__}: pass an array of 0 and 1.") from None
    if values.ndim == 1 and tokens.shape[0] == 1:
        values = values.unsqueeze(0)
    if values.shape != tokens.shape[:-1]:
        raise BadInput(
            f"{name} has shape {tuple(values.shape)}, tokens {tuple(tokens.shape)}: pass one entry per token."
        )
    if values.device != tokens.device:
        raise BadInput(f"{name} is on {values.device}, tokens on {tokens.device}: move one to the other.")
    if values.dtype == torch.bool:
        return values
    marked = values.bool()
    if not is_recording() and not torch.equal(marked.to(values.dtype), values):
        raise BadInput(f"{name} holds values other than 0 and 1: pass 1 for real tokens and 0 for padding.")
    return marked


def skip_tokens(skip: Any, real: Tensor) -> Tensor:
    """Return `real [B, T]` without the first `skip` real tokens of each row; `skip` is one number or one per row."""
    if isinstance(skip, int) and skip == 0:
        return real
    try:
        counts = torch.as_tensor(skip, device=real.device)
    except (TypeError, ValueError, RuntimeError):
        counts = torch.tensor(-1)
    texts = real.shape[0]  # not len(), which fixes the number of texts in a graph that is being recorded
    whole = not (counts.is_floating_point() or counts.dtype == torch.bool or counts.is_complex())
    negative = whole and not is_recording() and bool((counts < 0).any())
    if not whole or negative or counts.ndim > 1 or counts.numel() not in (1, texts):
        raise BadInput(f"skip={skip!r}: pass one whole number of at least 0, or one per text ({texts} here).")
    return real & (real.cumsum(1) > counts.reshape(-1, 1))


def refuse_rows(bad: Tensor, problem: str, remedy: str) -> None:
    """Raise `BadRows`, naming the rows, if any row is bad."""
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        subject = f"row {rows[0]} has" if len(rows) == 1 else f"rows {some(rows)} have"
        raise BadRows(f"{subject} {problem}: {remedy}.", rows, f"{problem}: {remedy}.")


def clear_padding(batch: Batch) -> Batch:
    """Return the batch with zeros for padding, since NaN times a weight of 0 is NaN.

    `pool` does this only if a result is not finite, so that the ordinary case pays one check of the result. Without
    such a check, do it beforehand.
    """
    return Batch(batch.tokens.masked_fill(~batch.real.unsqueeze(-1), 0), batch.real, batch.kept)


def is_recording() -> bool:
    """Return whether a graph is being recorded, so that code must not branch on tensor values."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
