"""Longer windows: more learned position embeddings, made from those that a model has.

Models with rotary or relative positions have no table of positions: only their token limit is raised.

To add an architecture, add a row to `LEARNED`. A table of positions that is in no row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn

from cenote._nn.cards import note
from cenote.errors import BadInput, UnsupportedModel, check_at_least, choose
from cenote.nn import NO_LIMIT
from cenote.surgery.attention import address, networks_of


def interpolate(rows: Tensor, length: int) -> Tensor:
    """Return `length` rows on straight lines between the given ones, evenly spaced; the first and the last stay.

    >>> interpolate(torch.tensor([[0.0], [1.0], [4.0]]), 5).flatten()
    tensor([0.0000, 0.5000, 1.0000, 2.5000, 4.0000])
    """
    # Whole numbers until the last step: an old row that falls on a new one is copied without rounding.
    steps = torch.arange(length) * (len(rows) - 1)
    low, rest = steps // (length - 1), steps % (length - 1)
    exact = rows.detach().to("cpu", torch.float64)
    weights = (rest.double() / (length - 1)).unsqueeze(1)
    return torch.lerp(exact[low], exact[(low + 1).clamp(max=len(rows) - 1)], weights).to(rows)


def tile(rows: Tensor, length: int) -> Tensor:
    """Return `length` rows: the given ones, again and again from the first.

    >>> tile(torch.tensor([[0.0], [1.0], [4.0]]), 5).flatten()
    tensor([0., 1., 4., 0., 1.])
    """
    return rows.detach()[torch.arange(length, device=rows.device) % len(rows)]


# Each way with its noun, for the model's card.
WAYS: dict[str, tuple[Callable[[Tensor, int], Tensor], str]] = {
    "interpolate": (interpolate, "interpolation"),
    "tile": (tile, "repetition"),
}


def _at_zero(_: nn.Embedding) -> int:
    return 0


def _after_padding(table: nn.Embedding) -> int:
    # The row of padding_idx is that of padding tokens, and those before it are never read.
    return 0 if table.padding_idx is None else table.padding_idx + 1


# Address of the module that holds `position_embeddings` -> the row of a text's first token.
LEARNED: dict[str, Callable[[nn.Embedding], int]] = {
    "bert.BertEmbeddings": _at_zero,
    "distilbert.Embeddings": _at_zero,
    "albert.AlbertEmbeddings": _at_zero,
    "electra.ElectraEmbeddings": _at_zero,
    "ernie.ErnieEmbeddings": _at_zero,
    "deberta.DebertaEmbeddings": _at_zero,
    "deberta_v2.DebertaV2Embeddings": _at_zero,
    "roberta.RobertaEmbeddings": _after_padding,
    "xlm_roberta.XLMRobertaEmbeddings": _after_padding,
    "camembert.CamembertEmbeddings": _after_padding,
    "longformer.LongformerEmbeddings": _after_padding,
    "mpnet.MPNetEmbeddings": _after_padding,  # its relative position bias has no limit, and stays
}

# Names of tables of absolute positions in the networks of transformers that read texts.
_TABLES = ("position_embeddings", "embed_positions", "positions_embed", "wpe")
# Looser names, of which any may be a table of absolute positions. `rel` marks those of distances, which have no limit.
_USUAL = re.compile(r"(?!.*rel)(.*pos\w*emb.*|.*emb\w*pos.*|wpe)")
# Buffers that have one entry per position.
_BUFFERS: dict[str, Callable[[int], Tensor]] = {
    "position_ids": torch.arange,
    "token_type_ids": lambda count: torch.zeros(count, dtype=torch.long),
}


def position_tables(network: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Embedding]]:
    """Yield the learned tables of absolute positions by which texts are read: the name, the owner, and the table."""
    for path, owner in network.named_modules():
        if getattr(owner, "main_input_name", "input_ids") != "input_ids":  # an encoder of sounds or images
            continue
        for name in _TABLES:
            if isinstance(table := getattr(owner, name, None), nn.Embedding):
                yield f"{path}.{name}".lstrip("."), owner, table


def first_row_of(owner: nn.Module, table: nn.Embedding) -> int:
    """Return the row of a text's first token in a table that `position_tables` found."""
    if (first := LEARNED.get(address(owner))) is not None:
        return first(table)
    # BART and its relatives state how many rows they leave out; RoBERTa's relatives count from padding_idx + 1.
    return int(getattr(table, "offset", 0)) or _after_padding(table)


@dataclass(frozen=True)
class _Window:
    """A reader of a model: its learned tables with the row of the first token, and how many tokens it can read."""

    reader: Any
    tables: list[tuple[nn.Embedding, int]]
    tokens: int


def extend_positions(model: SentenceTransformer, length: int, how: str = "tile") -> SentenceTransformer:
    """Give a model room for `length` tokens, in place, and return the model.

    >>> import cenote
    >>> model = extend_positions(cenote.load("minilm"), 1024, how="tile")
    >>> model.max_seq_length, model[0].model.config.max_position_embeddings
    (1024, 1024)

    The model is to be trained on long texts afterwards: no position beyond the old ones was trained. Its token limit
    becomes `length`. The card of a saved model states the change. If the call raises, the model is unchanged.

    Args:
        model: a `SentenceTransformer` that reads text with a transformer.
        length: the number of tokens, more than the model has positions for.
        how: `tile` repeats the rows of positions from the first one: texts within the old window keep their vectors
            bit for bit. `interpolate` places the rows evenly on the longer grid and fills the gaps on straight lines,
            so that order and ends stay. Distances between neighbours shrink, also in short texts, whose vectors
            change (docs/training.md says how far). A model with rotary or relative positions has no such rows, and
            `how` makes no difference: its token limit is raised, and `max_position_embeddings` of its config if that
            is smaller.
    """
    make, noun = choose(how, WAYS, "way to extend positions")
    length = check_at_least(1, length, "length")
    if not isinstance(model, SentenceTransformer):
        raise BadInput(f"a {type(model).__name__} is no SentenceTransformer: load the model with cenote.load.")
    networks_of(model)  # raises if there is no transformer, or none of torch
    windows = [_window_of(module, length) for module in model.modules() if isinstance(module, Transformer)]
    done: set[int] = set()  # ids of networks: readers may share one
    for window in windows:
        if id(window.reader.model) not in done:
            done.add(id(window.reader.model))
            _extend(window, length, make)
        window.reader.max_seq_length = length
    tokens = min(window.tokens for window in windows)
    if any(window.tables for window in windows):
        note(model, "Positions", f"extended from {tokens:,} to {length:,} by {noun}", keep=True)
    else:
        note(model, "Token limit", f"raised from {tokens:,} to {length:,}", keep=True)
    return model


def _window_of(reader: Transformer, length: int) -> _Window:
    """Return the window of a reader; raise unless it can be extended to `length`."""
    network: Any = reader.model
    tables = _tables_of(network)
    if tables:
        tokens = min(table.num_embeddings - first for table, first in tables)
        has = f"has positions for {tokens} tokens"
    else:
        limit = reader.max_seq_length
        if limit is None or limit >= NO_LIMIT:
            raise BadInput(f"length={length}: {type(network).__name__} has no token limit, so there is none to raise.")
        tokens, has = int(limit), f"reads {limit} tokens"
        _refuse_scaled(network, length)
    if length <= tokens:
        raise BadInput(
            f"length={length}: the model already {has}. Pass a larger number, or set model.max_seq_length = {length}."
        )
    return _Window(reader, tables, tokens)


def _tables_of(network: nn.Module) -> list[tuple[nn.Embedding, int]]:
    """Return the learned tables of positions, each with the row of a text's first token."""
    tables: list[tuple[nn.Embedding, int]] = []
    known: list[str] = []
    for name, owner, table in position_tables(network):
        if address(owner) in LEARNED:
            tables.append((table, first_row_of(owner, table)))
            known.append(name)
    for name, _ in network.named_parameters():
        parts = name.split(".")
        place = next((i for i, part in enumerate(parts) if _USUAL.fullmatch(part)), None)
        if place is not None and not any(name.startswith(f"{one}.") for one in known):
            owner = network.get_submodule(".".join(parts[:place]))
            raise UnsupportedModel(
                f"{'.'.join(parts[: place + 1])} of {address(owner)} looks like learned positions, and this module is "
                f"in no row of the table, so it is unknown how it counts them. Extend a model of: {', '.join(LEARNED)}."
            )
    return tables


def _refuse_scaled(network: Any, length: int) -> None:
    """Raise if a raised `max_position_embeddings` would change rotary positions when the model is loaded again."""
    had = getattr(network.config, "max_position_embeddings", None)
    if not isinstance(had, int) or not 0 < had < length:
        return
    rope = getattr(network.config, "rope_parameters", None) or {}
    for row in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        kind = row.get("rope_type")
        if kind == "dynamic" or (kind in ("yarn", "longrope") and row.get("factor") is None):
            raise UnsupportedModel(
                f"{type(network).__name__} scales its rotary positions ({kind}) by max_position_embeddings={had}, so "
                f"with a larger one all vectors would change. Set model.max_seq_length = {length} after each load."
            )


def _extend(window: _Window, length: int, make: Callable[[Tensor, int], Tensor]) -> None:
    """Lengthen the tables of a network, its buffers and the number in its config."""
    rows = length
    for table, first in window.tables:
        old, rows = table.weight, length + first
        with torch.no_grad():
            new = torch.cat([old[:first], make(old[first:], length)])
        table.weight = nn.Parameter(new, requires_grad=old.requires_grad)
        table.num_embeddings = rows
    network = window.reader.model
    config, had = network.config, getattr(network.config, "max_position_embeddings", None)
    if not isinstance(had, int) or not 0 < had < rows:  # XLNet states -1
        return
    # DeBERTa takes the number of positions for this one if it is not set, and its buckets of distances depend on it.
    if getattr(config, "max_relative_positions", 1) < 1:
        config.max_relative_positions = had
    config.max_position_embeddings = rows
    for module in network.modules():
        for name, fill in _BUFFERS.items():
            buffer = getattr(module, name, None)
            if isinstance(buffer, Tensor) and buffer.shape == (1, had):
                setattr(module, name, fill(rows).to(buffer).unsqueeze(0))
