"""The backbone of a training, with what the recipe asks of it: pooling, intervals, window, prompts, temperature."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling

from cenote._nn.modules import weights_dtype
from cenote.errors import BadInput, CenoteWarning
from cenote.functional.pooling import POOLINGS, canonical
from cenote.models.loading import load, set_max_seq_length
from cenote.models.properties import limit_of, positions_of
from cenote.models.repooling import operators_of, repool
from cenote.surgery.positions import extend_positions
from cenote.surgery.tempering import temper
from cenote.training.recipe import Recipe

Loader = Callable[..., SentenceTransformer]

_PROMPTS = ("query", "document")


def prepare(model: str | Path | SentenceTransformer, recipe: Recipe, loader: Loader = load) -> SentenceTransformer:
    """Return the backbone with the pooling, the window, the prompts and the temperature of a recipe."""
    if isinstance(model, SentenceTransformer):
        loaded = model
    else:
        # A backbone may lack weights, such as those of a head: they are then random, and must be the same after a stop.
        with warnings.catch_warnings(), torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            if recipe.pooling is not None:  # what the backbone declares does not matter then
                warnings.simplefilter("ignore", CenoteWarning)
            loaded = loader(model, dtype="float32")
    if weights_dtype(loaded) is not torch.float32:
        raise BadInput(f"the weights are {weights_dtype(loaded)}: load the model with dtype='float32' to train it.")
    own = next((operators_of(module) for module in loaded if isinstance(module, StPooling)), ())
    names = recipe.pooling.split("+") if recipe.pooling else list(own)
    recipe.check_chunks("+".join(names))
    settings = intervals_for(recipe, names)
    if recipe.pooling is not None or settings:
        repool(loaded, names, **settings)
    if recipe.max_length is not None:
        most = positions_of(loaded)
        if most is not None and recipe.max_length > most:
            extend_positions(loaded, recipe.max_length, recipe.positions)
        else:
            set_max_seq_length(loaded, recipe.max_length)
    _refuse_wide_intervals(recipe, loaded)
    if recipe.query_length is not None:
        loaded[0].query_length = recipe.query_length  # type: ignore[assignment]
    for name in _PROMPTS:
        if (prompt := getattr(recipe, f"{name}_prompt")) is not None:
            loaded.prompts[name] = prompt
    if recipe.temperature is not None:
        temper(loaded, recipe.temperature)
    return loaded


def for_evaluation(model: SentenceTransformer, recipe: Recipe) -> None:
    """Give a model the pooling that it has after the training."""
    names = (recipe.eval_pooling or "").split("+")
    repool(model, names, **intervals_for(recipe, names, drawn=False))


def intervals_for(recipe: Recipe, names: Sequence[str], *, drawn: bool = True) -> dict[str, Any]:
    """Return the settings of `repool` by which the named poolings cut texts into chunks.

    Args:
        recipe: with the intervals.
        names: of the poolings.
        drawn: whether it is for training, where intervals are drawn and may be others than after it.
    """
    rows = [POOLINGS[name] for name in canonical(names)] if names else []
    given = bool(recipe.intervals) or recipe.eval_interval is not None
    settings: dict[str, Any] = {"k": recipe.interval} if given and any("k" in row.options for row in rows) else {}
    if any(row.marks for row in rows):
        several = {"splitter": "variable", "training_intervals": list(recipe.intervals)}
        if recipe.splitter == "sentence":
            settings["splitter"] = "sentence"
        elif given:
            settings |= {"interval": recipe.interval, "splitter": "fixed", "seed": recipe.seed}
            settings |= several if drawn and recipe.intervals and {*recipe.intervals} != {recipe.interval} else {}
    return settings


def _refuse_wide_intervals(recipe: Recipe, model: SentenceTransformer) -> None:
    """Raise if an interval is above the tokens that the model reads."""
    limit = limit_of(model)
    for interval in (*recipe.intervals, *([recipe.eval_interval] if recipe.eval_interval else [])):
        if limit is not None and interval > limit:
            raise BadInput(
                f"interval {interval} is above the {limit} tokens that the model reads: give at most {limit}."
            )
