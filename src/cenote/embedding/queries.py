"""Queries to a folder of embeddings: the model that made it, and the vectors that this model gives them."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from cenote.data.rows import refuse_surrogates
from cenote.embedding.manifest import with_our_pooling
from cenote.embedding.reading import Embeddings
from cenote.encoding.backends import plain_backend
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, CenoteError, CenoteWarning, some
from cenote.functional.temperature import check_temperature
from cenote.models.fingerprints import fingerprint_as
from cenote.models.loading import load
from cenote.models.properties import prompt_name_for
from cenote.models.provenance import ITS_OWN, behaviour_as, name_of, pooling_of, temperatures_of
from cenote.surgery.hooks import Setting
from cenote.surgery.tempering import temper

Floats = npt.NDArray[np.float32]
Loader = Callable[..., SentenceTransformer]

# Settings in which a model may differ from that of the folder: what it reads at most, and how it computes.
_FREE = ("max_seq_length", "attention")
# A setting that the pooling names too, but for the routes of a Router.
_NAMED_TOO = "pooling_mode"
# Settings without which the model of a folder is unknown.
_NEEDED = ("model", "fingerprint", "pooling", "temperature", "truncate_dim")


def model_of(found: Embeddings, given: SentenceTransformer | str | Path | None, loader: Loader = load) -> Any:
    """Return the model that a folder was embedded with.

    Args:
        found: the folder.
        given: a model, or the name or place of one; None: the name in the manifest.
        loader: loads a model by name.

    Raises:
        BadInput: vectors of the model that was given would differ from those of the folder.
    """
    settings = found.manifest.settings
    if lost := [name for name in _NEEDED if name not in settings]:
        raise BadInput(
            f"the manifest of {str(found.folder)!r} does not name {some(lost)} of the model: it was changed. Embed the "
            "texts again, or pass vectors as queries."
        )
    name = settings["model"] if given is None else given
    model = name if isinstance(name, SentenceTransformer) else _loaded(found, name, given is None, loader)
    if different := differences(settings, model):
        raise BadInput(
            f"{str(found.folder)!r} was embedded with the model {settings['model']!r}, and {name_of(name, model)!r} "
            f"{_in_short(different)}. Give the model that embedded it (model, --model), or embed the texts again."
        )
    return model


def _in_short(different: Sequence[str]) -> str:
    """Return the differences that a user can act on: none of a model with other weights, and a module without settings.

    >>> _in_short(["weights: '4f' in the folder, 'a0' in the model", "tokenizer: ..."])
    'has other weights'
    >>> _in_short(["2 Normalize: True in the folder, None in the model", "2 Normalize.module_input_name: ..."])
    'differs: 2 Normalize: True in the folder, None in the model'
    """
    names = [one.partition(":")[0] for one in different]
    if "weights" in names:
        return "has other weights"
    shown = (
        one
        for name, one in zip(names, different, strict=True)
        if name.partition(".")[0] not in names or "." not in name
    )
    return f"differs: {'; '.join(shown)}"


def _loaded(found: Embeddings, name: Any, recorded: bool, loader: Loader) -> SentenceTransformer:
    """Return a model by name, which pools, is tempered and has as many dimensions as that of the folder."""
    settings = with_our_pooling(found.manifest.settings)
    try:
        model = loader(name)
    except CenoteError as error:
        if not recorded:
            raise
        raise BadInput(
            f"{str(found.folder)!r} was embedded with the model {name!r}, which cannot be loaded: {error} If it was "
            "moved, name its place (model, --model)."
        ) from error
    if settings["pooling"] != pooling_of(model):
        model = loader(name, pooling=tuple(settings["pooling"].split("+")))
    if settings["temperature"] != temperatures_of(model)["temperature"]:
        wanted = dict(settings["temperature"] or Setting(1.0).to_json())
        temper(model, check_temperature(wanted.pop("temperature")), **wanted)
    model.truncate_dim = settings["truncate_dim"]
    return model


def differences(settings: dict[str, Any], model: SentenceTransformer) -> list[str]:
    """Return in words in what a model differs from the one that a manifest describes."""
    now = {
        "weights": fingerprint_as(settings["fingerprint"], model),
        "pooling": pooling_of(model),
        **behaviour_as(settings, model),
    }
    then = {"weights": settings["fingerprint"], **with_our_pooling(settings)}
    free = _FREE if now["pooling"] == ITS_OWN else (*_FREE, _NAMED_TOO)
    modules = [name for name in settings if name[:1].isdigit() and name not in now]
    return [
        f"{name}: {then.get(name)!r} in the folder, {now.get(name)!r} in the model"
        for name in (*now, *modules)
        if not name.endswith(free) and then.get(name) != now.get(name)
    ]


def checked_queries(queries: Any) -> list[str]:
    """Return the queries as a list; raise for one that is not a text, or holds none."""
    if isinstance(queries, str):
        queries = [queries]
    if isinstance(queries, torch.Tensor):
        raise BadInput("queries are a torch tensor: pass a numpy array (queries.numpy()), or the questions as strings.")
    if isinstance(queries, (bytes, Mapping, Set)) or not isinstance(queries, Collection):
        raise BadInput(
            f"queries is a {type(queries).__name__}: pass a question, a list of questions, or an array of vectors."
        )
    if not len(queries):
        raise BadInput("there is no query: pass a question, or several.")
    for place, query in enumerate(queries):
        name = "the query" if len(queries) == 1 else f"query {place}"
        if not isinstance(query, str):
            raise BadInput(f"{name} is {reprlib.repr(query)}: pass a string, or all vectors as one array.")
        if not query.strip():
            raise BadInput(f"{name} is empty: its vector would be that of no words. Ask something.")
        refuse_surrogates(query, name)
    return list(queries)


def vectors_of(
    found: Embeddings, queries: Sequence[str], model: SentenceTransformer, task: str | None, prompt_name: str | None
) -> Floats:
    """Return the vectors of queries `[Q, D]`, in as many dimensions as the folder has."""
    prompt_name = prompt_name_for(model, prompt_name, task)
    tokens = tokenise(model, list(queries), prompt_name, task)
    for place in np.flatnonzero(tokens.truncated).tolist():
        name = "the query" if len(queries) == 1 else f"query {place}"
        warnings.warn(
            f"{name} has {tokens.full_lengths[place]:,} tokens, of which the model reads {tokens.lengths[place]:,}: "
            "its end is not searched for.",
            CenoteWarning,
            stacklevel=3,
        )
    vectors, refused = Encoder(model, plain_backend(model, task))(tokens, stop_at_refusal=True)
    if refused:
        place = min(refused)
        raise BadInput(f"query {place} cannot be read: {refused[place]}.")
    return vectors[:, : found.shape[1]]
