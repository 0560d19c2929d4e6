"""What a model is, in the words that records of runs keep."""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote import __version__
from cenote._nn.config_keys import BAKED_IN_CONFIG
from cenote.functional.temperature import describe, to_json
from cenote.models.declared import DEMO, find
from cenote.surgery.hooks import settings_on


def name_of(given: Any, model: SentenceTransformer) -> str:
    """What a model is called: as it was given, or where it was loaded from."""
    if isinstance(given, (str, Path)):
        return str(given)
    where = getattr(_config(model), "name_or_path", "") or type(model).__name__
    if where == find(DEMO)[0]:
        return DEMO
    return Path(where).name if Path(where).is_dir() else where


def architecture_of(model: SentenceTransformer) -> str:
    """The class of its network."""
    return type(getattr(model[0], "model", None) or model[0]).__name__


def revision_of(model: SentenceTransformer) -> str | None:
    """The commit that it was fetched at, if it was."""
    return getattr(_config(model), "_commit_hash", None)


def pooling_of(model: SentenceTransformer) -> str:
    """Its pooling, by name."""
    modes: Any = next((module.pooling_mode for module in model if hasattr(module, "pooling_mode")), None)
    return "its own" if modes is None else modes if isinstance(modes, str) else "+".join(modes)


def live_temperature_of(model: SentenceTransformer) -> str:
    """The attention temperature that hangs on it, in words, beside what may be in its weights."""
    return next((describe(setting.temperature) for setting in settings_on(model)), "1")


def baked_temperature_of(model: SentenceTransformer) -> float | None:
    """The attention temperature that is in its weights, as its configuration says."""
    return getattr(_config(model), BAKED_IN_CONFIG, None)


def temperature_of(model: SentenceTransformer) -> str:
    """The attention temperature that it runs at, in words."""
    live, baked = live_temperature_of(model), baked_temperature_of(model)
    if baked is None:
        return live
    return f"{baked:g} in the weights" if live == "1" else f"{live}, and {baked:g} in the weights"


def behaviour_of(model: SentenceTransformer) -> dict[str, Any]:
    """All that decides on a model's vectors besides its weights, by flat names: what a record compares.

    >>> import cenote
    >>> found = behaviour_of(cenote.load("minilm"))
    >>> found["1 Pooling.pooling_mode"], found["padding_side"], found["temperature"]
    ('mean', 'right', None)
    """
    found: dict[str, Any] = {"architecture": architecture_of(model)}
    for place, module in enumerate(model):
        name = f"{place} {type(module).__name__}"
        config: dict[str, Any] = {} if place == 0 else {name: True}  # some have nothing that could be set
        own: Any = getattr(module, "get_config_dict", dict)
        config |= {f"{name}.{key}": value for key, value in own().items()}
        found |= config
    tempered = [
        {"temperature": to_json(one.temperature), "layers": one.layers, "scale_bias": one.scale_bias}
        for one in settings_on(model)
    ]
    tokenizer: Any = getattr(model, "tokenizer", None)
    found |= {
        "attention": getattr(_config(model), "_attn_implementation", None),
        "temperature": tempered[0] if tempered else None,
        "temperature_in_weights": baked_temperature_of(model),
        "max_seq_length": model.max_seq_length,
        "truncate_dim": model.truncate_dim,
        "tokenizer": _of_tokenizer(tokenizer),
        "truncation_side": getattr(tokenizer, "truncation_side", None),
        "padding_side": getattr(tokenizer, "padding_side", None),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


def _of_tokenizer(tokenizer: Any) -> str | None:
    """A fingerprint of what a tokenizer does, without the state that calls leave in it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None if tokenizer is None else f"{type(tokenizer).__name__}, {len(tokenizer)} tokens"
    state = {key: value for key, value in json.loads(backend.to_str()).items() if key not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def versions_of(*more: str) -> dict[str, str]:
    """What computed it."""
    names = ("torch", "transformers", "sentence-transformers", "numpy", *more)
    return {"cenote": __version__, "python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # some are built under several names, such as onnxruntime-gpu
        return str(importlib.import_module(name).__version__)


def _config(model: SentenceTransformer) -> Any:
    return getattr(getattr(model[0], "model", None), "config", None)
