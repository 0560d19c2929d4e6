"""What a pooling operator works on: the tokens of a batch, checked and in one form, and which of them count."""

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
from cenote.functional.arrays import from_numpy


@dataclass(frozen=True)
class Batch:
    """What an operator works on: padded texts of one batch.

    `real` marks the tokens of the text; `kept` those of them that are pooled, fewer where a prompt is skipped.
    """

    tokens: Tensor  # [B, T, D], floating
    real: Tensor  # [B, T], bool
    kept: Tensor  # [B, T], bool

    @property
    def wide(self) -> torch.dtype:
        """The dtype in which sums accumulate: one in which their error vanishes in the final rounding."""
        if self.tokens.dtype.itemsize < 4:
            return torch.float32
        return torch.float64 if self.tokens.device.type == "cpu" else self.tokens.dtype

    @cached_property
    def flush(self) -> bool:
        """Whether every text starts in the first slot, the usual case and a quick one."""
        return may_look() and bool(self.kept[:, :1].all()) and self.kept.shape[1] > 0


def prepare(tokens: Any, mask: Any, skip: Any) -> Batch:
    """Check shapes, dtypes and masks, and bring tokens into the one form that the operators read."""
    if not isinstance(tokens, Tensor):
        raise BadInput(
            f"tokens is a {type(tokens).__name__}: pass a torch tensor, a numpy array or a list of [T, D] tensors."
        )
    shape = tuple(tokens.shape)
    if tokens.ndim not in (2, 3):
        raise BadInput(f"tokens has shape {shape}: pass [B, T, D], or [T, D] for one text.")
    if not tokens.is_floating_point():
        raise BadInput(f"tokens of dtype {tokens.dtype} cannot be averaged: pass tokens.float().")
    if tokens.ndim == 2:
        tokens = tokens.unsqueeze(0)
    if mask is None:
        real = torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
    else:
        real = as_mask(mask, tokens, "mask")
    batch = Batch(tokens, real, after(skip, real))
    if may_look() and not batch.flush:
        refuse_rows(~real.any(1), "no real token", "leave such texts out, or give them a special token")
        refuse_rows(~batch.kept.any(1), f"no token left after skip={skip}", "skip fewer tokens")
    return batch


def padded(texts: Sequence[Any], mask: Any) -> tuple[Tensor, Tensor]:
    """Token matrices of different length as one padded tensor, and its mask."""
    if not texts or not all(isinstance(text, Tensor) and text.ndim == 2 for text in texts) or mask is not None:
        raise BadInput("a list of tokens is one [T, D] tensor per text, without a mask: all of their tokens are real.")
    widths = {text.shape[1] for text in texts}
    if len(widths) > 1:
        raise BadInput(f"the token matrices have different widths: {some(sorted(widths))}. Are they of one model?")
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    tokens = pad_sequence(list(texts), batch_first=True)
    return tokens, torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(1)


def as_mask(mask: Any, tokens: Tensor, name: str) -> Tensor:
    """`mask` as booleans, one for each of `tokens [B, T, D]`."""
    try:
        values = mask if isinstance(mask, Tensor) else from_numpy(np.asarray(mask))
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{name} is a {type(mask).__name__}, not an array of 0 and 1.") from None
    if values.ndim == 1 and tokens.shape[0] == 1:
        values = values.unsqueeze(0)
    if values.shape != tokens.shape[:-1]:
        raise BadInput(
            f"{name} has shape {tuple(values.shape)} where tokens have {tuple(tokens.shape)}: pass one entry per token."
        )
    if values.device != tokens.device:
        raise BadInput(f"{name} is on {values.device}, tokens on {tokens.device}: move one to the other.")
    if values.dtype == torch.bool:
        return values
    marked = values.bool()
    if may_look() and not torch.equal(marked.to(values.dtype), values):
        raise BadInput(f"{name} holds values other than 0 and 1: pass 1 for real tokens and 0 for padding.")
    return marked


def after(skip: Any, real: Tensor) -> Tensor:
    """The real tokens [B, T] but the first `skip` of each row, a number or one for each."""
    if isinstance(skip, int) and skip == 0:
        return real
    try:
        counts = torch.as_tensor(skip, device=real.device)
    except (TypeError, ValueError, RuntimeError):
        counts = torch.tensor(-1)
    texts = real.shape[0]  # not len(), which fixes the number of texts in a graph that is being recorded
    whole = not (counts.is_floating_point() or counts.dtype == torch.bool or counts.is_complex())
    if not whole or counts.ndim > 1 or counts.numel() not in (1, texts) or (may_look() and bool((counts < 0).any())):
        raise BadInput(f"skip={skip!r}: pass one whole number of at least 0, or one per text ({texts} here).")
    return real & (real.cumsum(1) > counts.reshape(-1, 1))


def refuse_rows(bad: Tensor, problem: str, remedy: str) -> None:
    """Raise `BadRows` if any row is bad, naming which."""
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        subject = f"row {rows[0]} has" if len(rows) == 1 else f"rows {some(rows)} have"
        raise BadRows(f"{subject} {problem}: {remedy}.", rows, f"{problem}: {remedy}.")


def cleared(batch: Batch) -> Batch:
    """The same batch with zeros for padding: a weight of 0 does not undo a NaN.

    `pool` clears only where a result came out wrong, so that the ordinary case pays one look at the result; where
    nobody looks, clear beforehand.
    """
    return Batch(batch.tokens.masked_fill(~batch.real.unsqueeze(-1), 0), batch.real, batch.kept)


def may_look() -> bool:
    """Whether values may steer the code: not while a graph is being recorded."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
