"""Describe a model for the records of a run: names, settings, versions."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from sentence_transformers import SentenceTransformer

from cenote import __version__
from cenote._nn.config_keys import BAKED_IN_CONFIG
from cenote.errors import BadInput
from cenote.functional.temperature import describe
from cenote.models.declared import DEMO, find
from cenote.surgery.hooks import current_setting

# Fingerprints of tokenizers by the digest of all their state: sorting a vocabulary takes a tenth of a second.
_OF_TOKENIZERS: dict[bytes, str] = {}


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
    return getattr(_config(model), "name_or_path", "") or type(model).__name__


def architecture_of(model: SentenceTransformer) -> str:
    """Return the class name of the network."""
    return type(getattr(model[0], "model", None) or model[0]).__name__


def revision_of(model: SentenceTransformer) -> str | None:
    """Return the hub commit that the model was downloaded at, or None."""
    folder = folder_of(model, model)
    return folder.name if folder is not None and folder.parent.name == "snapshots" else None


def folder_of(given: Any, model: SentenceTransformer) -> Path | None:
    """Return the folder of a model's files on this machine; None for one that was made in memory."""
    where = given if isinstance(given, (str, Path)) else getattr(_config(model), "name_or_path", "")
    if not where:
        return None
    try:
        place, local = find(where)
    except BadInput:
        return None
    if local:
        return Path(place)
    for name in (place, f"sentence-transformers/{place}") if "/" not in place else (place,):
        for file in ("modules.json", "config.json"):
            cached = try_to_load_from_cache(name, file, cache_dir=os.getenv("SENTENCE_TRANSFORMERS_HOME"))
            if isinstance(cached, str):
                return Path(cached).parent
    return None


def pooling_of(model: SentenceTransformer) -> str:
    """Return the name of the pooling, or `its own` for a model without a Pooling module."""
    modes: Any = next((module.pooling_mode for module in model if hasattr(module, "pooling_mode")), None)
    return "its own" if modes is None else modes if isinstance(modes, str) else "+".join(modes)


def live_temperature_of(model: SentenceTransformer) -> str:
    """Return the attention temperature of the hooks, in words, without one in the weights."""
    setting = current_setting(model)
    return "1" if setting is None else describe(setting.temperature)


def temperatures_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return the attention temperatures of hooks and weights as plain data; None where there is none."""
    setting = current_setting(model)
    return {
        "temperature": None if setting is None else setting.to_json(),
        "temperature_in_weights": getattr(_config(model), BAKED_IN_CONFIG, None),
    }


def temperature_of(model: SentenceTransformer) -> str:
    """Return the attention temperature of hooks and weights, in words."""
    live, baked = live_temperature_of(model), temperatures_of(model)["temperature_in_weights"]
    if baked is None:
        return live
    return f"{baked:g} in the weights" if live == "1" else f"{live}, and {baked:g} in the weights"


def temperature_at(model: SentenceTransformer, temperature: Any) -> str:
    """Return the temperature that a model has while it is tempered, in words: one in the weights stays."""
    baked = temperatures_of(model)["temperature_in_weights"]
    return describe(temperature) if baked is None else f"{describe(temperature)}, and {baked:g} in the weights"


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
        own: Any = getattr(module, "get_config_dict", dict)
        found |= {f"{name}.{key}": value for key, value in own().items()}
    tokenizer: Any = getattr(model, "tokenizer", None)
    found |= {
        "attention": getattr(_config(model), "_attn_implementation", None),
        **temperatures_of(model),
        "max_seq_length": model.max_seq_length,
        "truncate_dim": model.truncate_dim,
        "tokenizer": _fingerprint_of_tokenizer(tokenizer),
        "truncation_side": getattr(tokenizer, "truncation_side", None),
        "padding_side": getattr(tokenizer, "padding_side", None),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


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


def _config(model: SentenceTransformer) -> Any:
    return getattr(getattr(model[0], "model", None), "config", None)
