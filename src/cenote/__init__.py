"""Cenote: pooling in text-embedding models, how it collapses, and what to do about it.

Names load on first use, so that `import cenote` and `cenote --help` stay quick and touch no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cenote.diagnosis import diagnose
    from cenote.embedding import embed
    from cenote.embeddings import read_embeddings
    from cenote.functional.pooling import pool
    from cenote.functional.second_order import socm
    from cenote.functional.similarity import similarity
    from cenote.functional.temperature import LengthTemperature
    from cenote.loading import load
    from cenote.surgery.tempering import bake, temper

__version__ = "0.1.0"

__all__ = [
    "LengthTemperature",
    "__version__",
    "bake",
    "diagnose",
    "embed",
    "load",
    "pool",
    "read_embeddings",
    "similarity",
    "socm",
    "temper",
]

# Where each public name lives; the type checker reads the same from the imports above.
_ROOMS = {
    "LengthTemperature": "cenote.functional.temperature",
    "bake": "cenote.surgery.tempering",
    "diagnose": "cenote.diagnosis",
    "embed": "cenote.embedding",
    "load": "cenote.loading",
    "pool": "cenote.functional.pooling",
    "read_embeddings": "cenote.embeddings",
    "similarity": "cenote.functional.similarity",
    "socm": "cenote.functional.second_order",
    "temper": "cenote.surgery.tempering",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'cenote' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
