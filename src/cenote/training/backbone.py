"""The backbone of a training, with what the recipe asks of it: pooling, intervals, window, prompts, temperature."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from cenote._nn.cards import note
from cenote._nn.modules import weights_dtype
from cenote.errors import BadInput, CenoteWarning
from cenote.functional.pooling import POOLINGS, canonical
from cenote.functional.temperature import describe
from cenote.listener import silent
from cenote.models.loading import load, set_max_seq_length
from cenote.models.properties import limit_of, limit_of_reader, positions_of, reader_of
from cenote.models.repooling import operators_of, pooling_in, repool
from cenote.nn import LandmarkTransformer
from cenote.surgery.hooks import current_setting
from cenote.surgery.positions import extend_positions
from cenote.surgery.tempering import temper
from cenote.training.recipe import Recipe

Loader = Callable[..., SentenceTransformer]

_PROMPTS = ("query", "document")


def prepare(
    model: str | Path | SentenceTransformer,
    recipe: Recipe,
    loader: Loader = load,
    notify: Callable[[str], object] = silent,
) -> SentenceTransformer:
    """Return the backbone with the pooling, the window, the prompts, the temperature and the similarity of a training.

    Raise for a backbone that the recipe cannot train.
    """
    if isinstance(model, SentenceTransformer):
        loaded = model
    else:
        # A backbone may lack weights, such as those of a head: they are then random, and must be the same after a stop.
        with warnings.catch_warnings(), torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            if recipe.pooling is not None:  # what the backbone declares does not matter then
                warnings.simplefilter("ignore", CenoteWarning)
            loaded = loader(model, dtype="float32")
    _refuse_untrainable(loaded)
    names = recipe.pooling.split("+") if recipe.pooling else list(operators_of(pooling_in(loaded)))
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
        reader = reader_of(loaded, "query")
        limit = limit_of_reader(reader)  # whatever its length of queries was
        if limit is not None and recipe.query_length > limit:
            raise BadInput(
                f"query_length={recipe.query_length} is above the {limit} tokens that the model reads: give at most "
                f"{limit}, or a max_length that is as large."
            )
        reader.query_length = recipe.query_length
    for name in _PROMPTS:
        if (prompt := getattr(recipe, f"{name}_prompt")) is not None:
            loaded.prompts[name] = prompt
    if recipe.temperature is not None:
        temper(loaded, recipe.temperature)
    _refuse_unknown_scales(recipe, loaded)
    if (own_similarity := loaded.similarity_fn_name) != "cosine":
        loaded.similarity_fn_name = "cosine"
        notify(f"the model compared vectors by {own_similarity}: it is trained by the cosine, and saved with it")
        note(loaded, "Similarity", f"the cosine, by which it was trained, instead of {own_similarity}")
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
            settings |= {"interval": recipe.interval, "splitter": "fixed"}
            settings |= several if drawn and recipe.intervals and {*recipe.intervals} != {recipe.interval} else {}
        if recipe.splitter != "sentence":
            settings["seed"] = recipe.seed  # also of intervals that the backbone brings
    return settings


def chunks_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return how a model cuts texts into chunks, whether by the recipe or by its own settings; empty if it does not.

    `interval` is what it reads with after the training, and `intervals` what it draws from in the training.
    """
    reader = model[0]
    if not isinstance(reader, LandmarkTransformer):
        return {}
    if reader.splitter == "sentence":
        return {"splitter": "sentence"}
    drawn = {"intervals": reader.training_intervals} if reader.splitter == "variable" else {}
    return {"splitter": reader.splitter, "interval": reader.interval, **drawn}


def _refuse_untrainable(model: SentenceTransformer) -> None:
    """Raise for a model that the trainer cannot train."""
    if weights_dtype(model) is not torch.float32:
        raise BadInput(f"the weights are {weights_dtype(model)}: load the model with dtype='float32' to train it.")
    if any(isinstance(module, StaticEmbedding) for module in model.modules()):
        raise BadInput(
            "the model reads texts by StaticEmbedding, which has no tokens of each text to pass in parts: train it "
            "with sentence-transformers' own trainer, or choose a model that starts with a transformer."
        )
    if model.device.index:
        kind = model.device.type
        raise BadInput(
            f"the model is on {model.device}, and transformers' trainer always trains on {kind}:0. Load the model on "
            f"{kind!r} and start with CUDA_VISIBLE_DEVICES={model.device.index}, which makes that device the only one."
        )


def _refuse_unknown_scales(recipe: Recipe, model: SentenceTransformer) -> None:
    """Raise for a temperature that is not known where parts of the model run again."""
    setting = current_setting(model)
    if recipe.gradient_checkpointing and setting is not None and not isinstance(setting.temperature, float):
        raise BadInput(
            f"gradient_checkpointing with a temperature of {describe(setting.temperature)}: only a constant one is "
            "known where parts of the model run again. Leave out gradient_checkpointing, or give a number."
        )


def _refuse_wide_intervals(recipe: Recipe, model: SentenceTransformer) -> None:
    """Raise if an interval is above the tokens that the model reads."""
    limit = limit_of(model)
    for interval in (*recipe.intervals, *([recipe.eval_interval] if recipe.eval_interval else [])):
        if limit is not None and interval > limit:
            raise BadInput(
                f"interval {interval} is above the {limit} tokens that the model reads: give at most {limit}."
            )
