"""Cenote: pooling in text-embedding models, how it collapses, and what to do about it.

Everything loads on first use: `import cenote` and `cenote --help` import no torch. After a plain `import cenote`, every
module is reachable by its path, such as `cenote.data.texts.read`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # For an editor and a type checker: the modules and packages, and the public names.
    from cenote import account as account
    from cenote import audit_records as audit_records
    from cenote import auditing as auditing
    from cenote import choices as choices
    from cenote import cli as cli
    from cenote import commands as commands
    from cenote import comparison_records as comparison_records
    from cenote import data as data
    from cenote import diagnosis as diagnosis
    from cenote import embedding as embedding
    from cenote import encoding as encoding
    from cenote import errors as errors
    from cenote import evaluation as evaluation
    from cenote import evaluation_records as evaluation_records
    from cenote import exporting as exporting
    from cenote import functional as functional
    from cenote import json_records as json_records
    from cenote import listener as listener
    from cenote import models as models
    from cenote import nn as nn
    from cenote import parity_records as parity_records
    from cenote import records as records
    from cenote import report as report
    from cenote import storage as storage
    from cenote import surgery as surgery
    from cenote import training as training
    from cenote import tuning_records as tuning_records
    from cenote import wording as wording
    from cenote.auditing.audit import audit
    from cenote.auditing.parity import parity
    from cenote.diagnosis.diagnose import diagnose
    from cenote.embedding.embed import embed
    from cenote.embedding.reading import read_embeddings
    from cenote.embedding.search import search
    from cenote.evaluation.compare import compare
    from cenote.evaluation.evaluate import evaluate
    from cenote.evaluation.tune import tune
    from cenote.functional.pooling import pool
    from cenote.functional.second_order import socm
    from cenote.functional.similarity import similarity
    from cenote.functional.temperature import LengthTemperature
    from cenote.models.loading import load
    from cenote.surgery.tempering import bake, temper
    from cenote.training.mining import mine_pairs
    from cenote.training.train import train

__version__ = "0.2.0"

__all__ = [
    "LengthTemperature",
    "__version__",
    "audit",
    "bake",
    "compare",
    "diagnose",
    "embed",
    "evaluate",
    "load",
    "mine_pairs",
    "parity",
    "pool",
    "read_embeddings",
    "search",
    "similarity",
    "socm",
    "temper",
    "train",
    "tune",
]

# The module of each public name; the type checker reads the same from the imports above.
_MODULES = {
    "LengthTemperature": "cenote.functional.temperature",
    "audit": "cenote.auditing.audit",
    "bake": "cenote.surgery.tempering",
    "compare": "cenote.evaluation.compare",
    "diagnose": "cenote.diagnosis.diagnose",
    "embed": "cenote.embedding.embed",
    "evaluate": "cenote.evaluation.evaluate",
    "load": "cenote.models.loading",
    "mine_pairs": "cenote.training.mining",
    "parity": "cenote.auditing.parity",
    "pool": "cenote.functional.pooling",
    "read_embeddings": "cenote.embedding.reading",
    "search": "cenote.embedding.search",
    "similarity": "cenote.functional.similarity",
    "socm": "cenote.functional.second_order",
    "temper": "cenote.surgery.tempering",
    "train": "cenote.training.train",
    "tune": "cenote.evaluation.tune",
}


class _LazyPackage(ModuleType):
    """A package whose modules and packages are imported when they are first asked for."""

    def __getattr__(self, name: str) -> Any:
        path = f"{self.__name__}.{name}"
        if name.startswith("__") or importlib.util.find_spec(path) is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return importlib.import_module(path)

    def __setattr__(self, name: str, value: object) -> None:
        """Make a package lazy when its import binds it here, whoever imports it."""
        if isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}" and hasattr(value, "__path__"):
            value.__class__ = _LazyPackage
        super().__setattr__(name, value)


if not TYPE_CHECKING:  # a type checker would take any name for one that there is

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(importlib.import_module(_MODULES[name]), name)
        raise AttributeError  # `_LazyPackage` looks for a module


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _LazyPackage
