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
from cenote.functional.arrays import Array, convert_like, from_numpy, slices, to_tensor

# How many numbers of word embeddings are gathered at a time: 32 MB of float64.
_BLOCK = 2**22


def word_averages(table: Array, ids: Any, mask: Any = None) -> Array:
    """Return the mean word embedding of each text.

        e_i = (1/n_i) sum_t table[ids_it]

    The caller leaves special tokens out. Sums are in float64, so that order and padding do not matter. The result has
    the table's kind and dtype, but float32 for half precision, to keep digits for comparison. `table [V, D]` is
    `model.get_input_embeddings().weight`; `ids` lists the ids of each text, or is `[N, T]` with a mask.

    >>> table = np.array([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    >>> word_averages(table, [[0, 1], [2]])
    array([[0.5, 1. ],
           [4. , 4. ]])
    >>> word_averages(table, np.array([[0, 1], [2, 0]]), mask=np.array([[1, 1], [1, 0]]))
    array([[0.5, 1. ],
           [4. , 4. ]])
    """
    rows = to_tensor(table, "table").detach()
    if rows.ndim != 2 or not rows.shape[1]:
        raise BadInput(f"table has shape {tuple(rows.shape)}: pass [V, D].")
    ragged = mask is None and not isinstance(ids, (Tensor, np.ndarray))
    flat, counts = _ragged(ids) if ragged else _padded(ids, mask)
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
    for part in slices(len(flat), max(1, _BLOCK // rows.shape[1])):
        sums.index_add_(0, owner[part], rows[flat[part]].double())
    means = sums / counts.to(rows.device).unsqueeze(1)
    broken = (~means.isfinite().all(1)).nonzero().flatten().tolist()
    if broken:
        raise BadInput(f"texts {some(broken)} have ids whose rows in the table are not finite: check the weights.")
    return convert_like(table, means.to(torch.promote_types(rows.dtype, torch.float32)))


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
