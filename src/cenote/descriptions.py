"""What a model is, in the words that records of runs keep."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote import __version__
from cenote.declarations import DEMO, find
from cenote.functional.temperature import describe
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


def temperature_of(model: SentenceTransformer) -> str:
    """The attention temperature that it runs at, in words."""
    return next((describe(setting.temperature) for setting in settings_on(model)), "1")


def versions_of(*more: str) -> dict[str, str]:
    """What computed it."""
    names = ("torch", "transformers", "sentence-transformers", "numpy", *more)
    return {"cenote": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}


def _config(model: SentenceTransformer) -> Any:
    return getattr(getattr(model[0], "model", None), "config", None)
