"""Cenote: pooling in text-embedding models, how it collapses, and what to do about it.

Names load on first use, so that `import cenote` and `cenote --help` stay quick and touch no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cenote.functional.pooling import pool
    from cenote.functional.similarity import similarity
    from cenote.loading import load

__version__ = "0.1.0"

__all__ = ["__version__", "load", "pool", "similarity"]

# Where each public name lives; the type checker reads the same from the imports above.
_ROOMS = {
    "load": "cenote.loading",
    "pool": "cenote.functional.pooling",
    "similarity": "cenote.functional.similarity",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'cenote' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
