"""Plain averages of a model's word embeddings: embeddings without attention, as a control for length collapse.

Even these collapse with length (arXiv 2410.24200, figure 3): the mean of more words is closer to the mean of all. Only
collapse beyond theirs is due to the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput, some
from cenote.functional.arrays import Array, convert_like, from_numpy

# How many numbers of word embeddings are gathered at a time: 32 MB of float64.
_BLOCK = 2**22


def word_averages(table: Array, ids: Any, mask: Any = None) -> Array:
    """Return the mean word embedding of each text.

        e_i = (1/n_i) sum_t table[ids_it]

    The caller leaves special tokens out. Sums are in float64, so that order and padding do not matter.

    >>> table = np.array([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    >>> word_averages(table, [[0, 1], [2]])
    array([[0.5, 1. ],
           [4. , 4. ]])
    >>> word_averages(table, np.array([[0, 1], [2, 0]]), mask=np.array([[1, 1], [1, 0]]))
    array([[0.5, 1. ],
           [4. , 4. ]])

    Args:
        table: `[V, D]`, a floating tensor or numpy array: the rows of `model.get_input_embeddings().weight`.
        ids: the token ids of each text, a list of lists; or `[N, T]` with a mask. At least one id per text.
        mask: `[N, T]`, 1 for the ids that count, 0 for padding and special tokens, whose ids are ignored.

    Returns:
        `[N, D]`, of the table's kind and dtype, but float32 for half precision, to keep digits for comparison.
    """
    rows = _table(table)
    flat, counts = _padded(ids, mask) if mask is not None or _is_array(ids) else _ragged(ids)
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        raise BadInput(f"texts {some(empty)} have no ids: leave such texts out.")
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    outside = ((flat < 0) | (flat >= len(rows))).nonzero().flatten()
    if len(outside):
        first = outside[0]
        raise BadInput(
            f"text {int(owner[first])} has the id {int(flat[first])}, but the table has {len(rows)} rows: "
            "are table and ids from one model?"
        )
    flat, owner = flat.to(rows.device), owner.to(rows.device)
    sums = torch.zeros(len(counts), rows.shape[1], dtype=torch.float64, device=rows.device)
    step = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(flat), step):
        sums.index_add_(0, owner[start : start + step], rows[flat[start : start + step]].double())
    means = sums / counts.to(rows.device).unsqueeze(1)
    if not means.isfinite().all():
        wrong = (~means.isfinite().all(1)).nonzero().flatten().tolist()
        raise BadInput(
            f"texts {some(wrong)} have ids whose rows in the table are not finite: check the model's weights."
        )
    return convert_like(table, means.to(torch.promote_types(rows.dtype, torch.float32)))


def _table(table: Any) -> Tensor:
    if not isinstance(table, (Tensor, np.ndarray)):
        raise BadInput(f"table is a {type(table).__name__}: pass a torch tensor or a numpy array [V, D].")
    rows = from_numpy(table) if isinstance(table, np.ndarray) else table.detach()
    if rows.ndim != 2 or not rows.shape[1] or not rows.is_floating_point():
        raise BadInput(f"table has shape {tuple(rows.shape)} and dtype {rows.dtype}: pass floating numbers [V, D].")
    return rows


def _is_array(ids: Any) -> bool:
    return isinstance(ids, (Tensor, np.ndarray))


def _whole(values: Any, what: str) -> Tensor:
    try:
        made = values.detach().cpu() if isinstance(values, Tensor) else from_numpy(np.asarray(values))
    except (TypeError, ValueError):
        raise BadInput(f"{what} is not an array of whole numbers: pass token ids and masks as whole numbers.") from None
    if made.is_floating_point() or made.is_complex():
        raise BadInput(f"{what} has dtype {made.dtype}: pass whole numbers.")
    return made.long()


def _ragged(ids: Any) -> tuple[Tensor, Tensor]:
    """Return the ids of all texts, concatenated, and the number of ids of each text."""
    texts = [_whole(text, f"ids[{place}]") if len(text) else torch.zeros(0).long() for place, text in enumerate(ids)]
    deep = [place for place, text in enumerate(texts) if text.ndim != 1]
    if deep:
        raise BadInput(f"ids of texts {some(deep)} are nested: pass one row of numbers for each text.")
    counts = torch.tensor([len(text) for text in texts], dtype=torch.long)
    return torch.cat([torch.zeros(0).long(), *texts]), counts


def _padded(ids: Any, mask: Any) -> tuple[Tensor, Tensor]:
    values = _whole(ids, "ids")
    marks = torch.ones_like(values) if mask is None else _whole(mask, "mask")
    if values.ndim != 2 or marks.shape != values.shape:
        raise BadInput(f"ids have shape {tuple(values.shape)}, mask {tuple(marks.shape)}: pass [N, T] for both.")
    if ((marks != 0) & (marks != 1)).any():
        raise BadInput("mask holds values other than 0 and 1: pass 1 for the ids that count.")
    kept = marks.bool()
    return values[kept], kept.sum(1)
