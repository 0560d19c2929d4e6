"""Describe a model for the records of a run: names, settings, versions."""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote import __version__
from cenote._nn.config_keys import BAKED_IN_CONFIG
from cenote._nn.modules import config_of
from cenote.choices import name_poolings
from cenote.errors import BadInput
from cenote.functional.temperature import describe
from cenote.models.declared import DEMO, find
from cenote.models.hub import cached_folder
from cenote.models.properties import routes_of
from cenote.surgery.hooks import current_setting

# Fingerprints of tokenizers by the digest of all their state: sorting a vocabulary takes a tenth of a second.
_OF_TOKENIZERS: dict[bytes, str] = {}
# The attribute of a model that holds its hub commit, and the form of one.
_REVISION = "cenote_revision"
_COMMIT = re.compile(r"[0-9a-f]{40}")
# The pooling of a model without a Pooling module, as a Router is.
ITS_OWN = "its own"


def name_of(given: Any, model: SentenceTransformer) -> str:
    """Return the name of a model: the path or id that the user passed, or the one that it was loaded from."""
    if isinstance(given, (str, Path)):
        return str(given)
    where = _source_of(model)
    if where == find(DEMO)[0]:
        return DEMO
    return Path(where).name if Path(where).is_dir() else where


def place_of(given: Any, model: SentenceTransformer) -> str:
    """Return what `cenote.load` takes to load a model again, from any working folder: its name, or its own folder."""
    if isinstance(given, (str, Path)) and given != DEMO and (folder := Path(given).expanduser()).is_dir():
        return str(folder.absolute())
    where = Path(_source_of(model))
    named = isinstance(given, (str, Path)) or name_of(given, model) == DEMO or not where.is_dir()
    return name_of(given, model) if named else str(where.resolve())


def _source_of(model: SentenceTransformer) -> str:
    return getattr(config_of(model[0]), "name_or_path", "") or type(model).__name__


def note_revision(model: SentenceTransformer, where: str) -> None:
    """Keep the hub commit that a model was just loaded at: later the cache may hold another one too."""
    folder = folder_of(where, model)
    setattr(model, _REVISION, None if folder is None else _commit_of(folder))


def _commit_of(folder: Path) -> str | None:
    return folder.name if folder.parent.name == "snapshots" else None


def architecture_of(model: SentenceTransformer) -> str:
    """Return the class name of the network."""
    return type(getattr(model[0], "model", None) or model[0]).__name__


def revision_of(model: SentenceTransformer) -> str | None:
    """Return the hub commit that the model was loaded at, or None where it is not known."""
    where, card = getattr(config_of(model[0]), "name_or_path", ""), model.model_card_data
    # sentence-transformers notes in the card what it loaded from the hub: a commit, or the name of a branch or a tag.
    stated = str(card.base_model_revision) if where and card.base_model == where else ""
    noted: str | None = getattr(model, _REVISION, None)
    return noted or (stated if _COMMIT.fullmatch(stated) else _commit_of(Path(where)))


def folder_of(given: Any, model: SentenceTransformer) -> Path | None:
    """Return the folder of a model's files on this machine; None for one that was made in memory."""
    where = given if isinstance(given, (str, Path)) else getattr(config_of(model[0]), "name_or_path", "")
    if not where:
        return None
    try:
        place, local = find(where)
    except BadInput:
        return None
    return Path(place) if local else cached_folder(place)


def pooling_of(model: SentenceTransformer) -> str:
    """Return our name of the pooling, or `its own` for a model without a Pooling module."""
    modes: Any = next((module.pooling_mode for module in model if hasattr(module, "pooling_mode")), None)
    return ITS_OWN if modes is None else name_poolings([modes] if isinstance(modes, str) else modes)


def live_temperature_of(model: SentenceTransformer) -> str:
    """Return the attention temperature of the hooks, in words, without one in the weights."""
    setting = current_setting(model)
    return "1" if setting is None else describe(setting.temperature)


def temperatures_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return the attention temperatures of hooks and weights as plain data; None where there is none.

    That in the weights is a number, or one for each route with a network where a Router has several.
    """
    setting = current_setting(model)
    routes = {name: config_of(modules[0]) for name, modules in routes_of(model).items()} or {"": config_of(model[0])}
    baked = {name: getattr(config, BAKED_IN_CONFIG, None) for name, config in routes.items() if config is not None}
    several = len({*baked.values()}) > 1
    return {
        "temperature": None if setting is None else setting.to_json(),
        "temperature_in_weights": baked if several else next(iter(baked.values()), None),
    }


def temperature_of(model: SentenceTransformer) -> str:
    """Return the attention temperature of hooks and weights, in words."""
    live, baked = live_temperature_of(model), baked_temperature_of(model)
    if baked is None:
        return live
    return f"{baked} in the weights" if live == "1" else f"{live}, and {baked} in the weights"


def baked_temperature_of(model: SentenceTransformer) -> str | None:
    """Return the attention temperature in the weights, in words; None without one."""
    baked = temperatures_of(model)["temperature_in_weights"]
    if isinstance(baked, dict):
        return " and ".join(f"{1.0 if tau is None else tau:g} ({name})" for name, tau in baked.items())
    return None if baked is None else f"{baked:g}"


def temperature_at(model: SentenceTransformer, temperature: Any) -> str:
    """Return the temperature that a model has while it is tempered, in words: one in the weights stays."""
    baked = baked_temperature_of(model)
    return describe(temperature) if baked is None else f"{describe(temperature)}, and {baked} in the weights"


def constant_of(model: SentenceTransformer) -> float | None:
    """Return the number that all layers of a model are tempered by, 1 without one; None for any other temperature."""
    setting = current_setting(model)
    if setting is None:
        return 1.0
    whole = setting.layers is None and setting.scale_bias
    return setting.temperature if whole and isinstance(setting.temperature, float) else None


def behaviour_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return all that determines a model's vectors besides its weights, by flat names, for comparison.

    >>> import cenote
    >>> found = behaviour_of(cenote.load("minilm"))
    >>> found["1 Pooling.pooling_mode"], found["padding_side"], found["temperature"]
    ('mean', 'right', None)
    """
    found: dict[str, Any] = {"architecture": architecture_of(model)}
    for place, module in enumerate(model):
        name = f"{place} {type(module).__name__}"
        if place:
            found[name] = True  # some modules have no settings
        found |= _settings_of(module, f"{name}.")
    found |= {
        **_reading_of(model[0]),
        **temperatures_of(model),
        "truncate_dim": model.truncate_dim,
        **_routes_of(model),
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def behaviour_as(recorded: Mapping[str, Any] | None, model: SentenceTransformer) -> dict[str, Any]:
    """Return `behaviour_of` in the form of an earlier record, so that the two can be compared.

    The first records lacked the routes of a Router, and what is in their weights.
    """
    found, routes = behaviour_of(model), _routes_of(model)
    if not recorded or not routes or not routes.keys().isdisjoint(recorded):
        return found
    return {name: value for name, value in found.items() if name not in routes} | {"temperature_in_weights": None}


def _routes_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return what determines the vectors of each route of a Router; nothing for another model."""
    found: dict[str, Any] = {}
    for route, modules in routes_of(model).items():
        start = f"0 {type(model[0]).__name__}.{route}"
        found |= _reading_of(modules[0], f"{start}.")
        for place, module in enumerate(modules):
            name = f"{start}.{place} {type(module).__name__}"
            found |= {name: True, **_settings_of(module, f"{name}.")}
    return found


def _settings_of(module: Any, start: str) -> dict[str, Any]:
    """Return the settings of a module, their names after `start`."""
    own: Any = getattr(module, "get_config_dict", dict)
    return {f"{start}{key}": value for key, value in own().items()}


def _reading_of(reader: Any, start: str = "") -> dict[str, Any]:
    """Return how a module reads texts besides its settings, the names after `start`."""
    tokenizer: Any = getattr(reader, "tokenizer", None)
    found = {
        "attention": getattr(config_of(reader), "_attn_implementation", None),
        "max_seq_length": getattr(reader, "max_seq_length", None),
        "tokenizer": _fingerprint_of_tokenizer(tokenizer),
        "truncation_side": getattr(tokenizer, "truncation_side", None),
        "padding_side": getattr(tokenizer, "padding_side", None),
    }
    return {f"{start}{name}": value for name, value in found.items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON keeps it; keys may be tuples, as those of the routes of a Router."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(one) for key, one in value.items()}
    return json.loads(json.dumps(value, default=str))


def _fingerprint_of_tokenizer(tokenizer: Any) -> str | None:
    """Return a fingerprint of a tokenizer, without the truncation and padding state that calls leave in it."""
    # Static embeddings have the backend itself.
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer if hasattr(tokenizer, "to_str") else None)
    if backend is None:
        return None if tokenizer is None else f"{type(tokenizer).__name__}, {len(tokenizer)} tokens"
    text = backend.to_str()
    known = hashlib.sha256(text.encode()).digest()
    if known not in _OF_TOKENIZERS:
        state = {key: value for key, value in json.loads(text).items() if key not in ("truncation", "padding")}
        _OF_TOKENIZERS[known] = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
    return _OF_TOKENIZERS[known]


def versions_of(*more: str) -> dict[str, str]:
    """Return the versions of Cenote, Python and the libraries that compute."""
    names = ("torch", "transformers", "sentence-transformers", "numpy", *more)
    return {"cenote": __version__, "python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # some packages have several names, such as onnxruntime-gpu
        return str(importlib.import_module(name).__version__)
