"""Read a tokenizer's special tokens, check its input texts, and stack its output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cenote.errors import BadInput
from cenote.functional.landmarks import MARKERS, Marker, Template


def marker_of(tokenizer: Any, name: str) -> Marker:
    """Return the token that the named marker inserts with this tokenizer."""
    sources, closes = MARKERS[name]
    for source in sources:
        if (token := getattr(tokenizer, source, None)) is not None:
            return Marker(token, closes)
    wanted = " or ".join(source.removesuffix("_id") for source in sources)
    raise BadInput(f"{type(tokenizer).__name__} has no {wanted}, which {name} pooling inserts: set one of them.")


def template_of(tokenizer: Any, count: int) -> Template:
    """Return the special tokens around one text or a pair, read from an example."""
    content = tokenizer("a", add_special_tokens=False)["input_ids"]
    wrapped = tokenizer(*["a"] * count)
    ids, types = wrapped["input_ids"], wrapped.get("token_type_ids")
    starts: list[int] = []
    for start in range(len(ids) - len(content) + 1):
        if ids[start : start + len(content)] == content and len(starts) < count:
            starts.append(start)
    if not content or len(starts) < count:
        raise BadInput(
            f"{type(tokenizer).__name__} changes {'a pair' if count == 2 else 'a text'} when it adds special tokens: "
            "landmarks cannot be placed. Choose another pooling."
        )
    ends = [start + len(content) for start in starts]
    kind = [0] * (len(ids) + 1) if types is None else [*types, types[-1]]
    return Template(
        before=tuple(ids[: starts[0]]),
        between=tuple(ids[ends[0] : starts[1]]) if count == 2 else (),
        after=tuple(ids[ends[-1] :]),
        types=(kind[0], kind[starts[0]], kind[ends[0]], kind[starts[-1]], kind[ends[-1]]),
    )


def texts_of(item: Any) -> tuple[str, ...]:
    """Return one text, or the two of a pair; raise `BadInput` for anything else.

    >>> texts_of("one"), texts_of(["one", "two"])
    (('one',), ('one', 'two'))
    """
    pair = (item,) if isinstance(item, str) else tuple(item) if isinstance(item, (list, tuple)) else ()
    if len(pair) not in (1, 2) or not all(isinstance(text, str) for text in pair):
        raise BadInput(
            f"a landmark model takes texts and pairs of texts, not {type(item).__name__}: {str(item)[:60]!r}."
        )
    return pair


def stack(rows: list[list[int]] | list[list[bool]], value: int, side: str) -> Tensor:
    """Stack rows of different lengths into one tensor, padded on one side.

    >>> stack([[1, 2], [3]], 0, "left")
    tensor([[1, 2],
            [0, 3]])
    """
    return pad_sequence(
        [torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=value, padding_side=side
    )
