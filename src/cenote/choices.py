"""The legal values of options, by name. Importing this module imports nothing heavy.

The command line checks names here before it imports torch. A table elsewhere that holds what each name does is built
from these, or has exactly these keys; `tests/test_choices.py` compares them.
"""

from __future__ import annotations

import importlib.util

AUTO = "auto"

BACKENDS = ("torch", "openvino", "onnx")
PRECISIONS = ("float32", "bfloat16", "float16")
GRAPH_FORMATS = ("onnx", "openvino")
GRAPH_PRECISIONS = ("float32", "float16")
ENGINES = ("local", "ray")

# In what `load` keeps weights; `auto` is as they were saved.
WEIGHT_DTYPES = (*PRECISIONS, AUTO)
# In what `embed` writes vectors.
VECTOR_DTYPES = ("float32", "float16", "int8")

LONG = ("truncate", "window-mean", "segments", "windows")
# The fewest tokens of a window: in shorter ones special tokens and the prompt outweigh the text.
SHORTEST_WINDOW = 8
# How learned positions are extended.
POSITIONS = ("tile", "interpolate")
ON_TRUNCATE = ("warn", "error")
ON_ERROR = ("raise", "skip")
TASKS = ("query", "document")

# Pooling operators with their aliases.
POOLINGS: dict[str, tuple[str, ...]] = {
    "cls": (),
    "mean": (),
    "max": (),
    "mean_sqrt_len": ("mean_sqrt_len_tokens",),
    "weightedmean": (),
    "inverse_density": (),
    "lasttoken": (),
    "landmark": ("lmk",),
    "every_k": (),
    "multi_cls": (),
}

# Temperatures by length, with the numbers that each takes.
SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "linear": ("start", "end", "shortest", "longest"),
    "power": ("scale", "exponent"),
    "log": ("s",),
}

# Optional packages, by the extra that installs them.
PACKAGES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "ray": ("ray",),
    "eval": ("mteb",),
    "train": ("accelerate", "datasets"),
}


def missing_packages(extra: str) -> str | None:
    """Say which packages of an extra are not installed, with the line that installs them; None if all are.

    >>> missing_packages("torch")
    """
    missing = [name for name in PACKAGES.get(extra, ()) if importlib.util.find_spec(name) is None]
    return f"it needs {', '.join(missing)}, which is missing: pip install 'cenote[{extra}]'" if missing else None
