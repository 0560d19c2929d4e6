"""The legal values of options, by name. Importing this module imports nothing heavy.

A `Literal` is the one list of its names. Public functions are annotated with it, so an editor completes the names and a
type checker finds a misspelt one; the tuple beside it derives from it. The command line checks names here before it
imports torch. A table elsewhere that holds what each name does is built from these, or has these keys and those that
`tests/test_choices.py` names, which compares them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, Literal, TypeAlias, get_args

Auto: TypeAlias = Literal["auto"]
AUTO: Final = "auto"

BackendName: TypeAlias = Literal["torch", "openvino", "onnx"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
PrecisionName: TypeAlias = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
# In what a backend computes: `int8` multiplies weights and activations that are rounded to 8 bits.
INT8: Final = "int8"
ComputePrecision: TypeAlias = Literal[PrecisionName, "int8"]
COMPUTE_PRECISIONS: tuple[ComputePrecision, ...] = get_args(ComputePrecision)
# `embed` chooses only among ways to compute with at least this cosine with float32; `--agreement` lowers it.
AGREEMENT: Final = 0.9999
# The least that a user may allow, for 8 bits, where rounding alone may cost more. A lower cosine is that of another
# model.
LEAST_AGREEMENT: Final = 0.99
TrainingPrecision: TypeAlias = Literal["float32", "bfloat16"]
TRAINING_PRECISIONS: tuple[TrainingPrecision, ...] = get_args(TrainingPrecision)
GraphFormat: TypeAlias = Literal["onnx", "openvino"]
GRAPH_FORMATS: tuple[GraphFormat, ...] = get_args(GraphFormat)
GraphPrecision: TypeAlias = Literal["float32", "float16", "int8"]
GRAPH_PRECISIONS: tuple[GraphPrecision, ...] = get_args(GraphPrecision)
EngineName: TypeAlias = Literal["local", "ray"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

# In what `load` keeps weights; `auto` is as they were saved.
WeightDtype: TypeAlias = Literal[PrecisionName, Auto]
WEIGHT_DTYPES: tuple[WeightDtype, ...] = get_args(WeightDtype)
# In what `embed` writes vectors.
VectorDtype: TypeAlias = Literal["float32", "float16", "int8"]
VECTOR_DTYPES: tuple[VectorDtype, ...] = get_args(VectorDtype)

LongName: TypeAlias = Literal["truncate", "window-mean", "segments", "windows"]
LONG: tuple[LongName, ...] = get_args(LongName)
# The fewest tokens of a window: in shorter ones special tokens and the prompt outweigh the text.
SHORTEST_WINDOW = 8
# How learned positions are extended.
PositionsName: TypeAlias = Literal["tile", "interpolate"]
POSITIONS: tuple[PositionsName, ...] = get_args(PositionsName)
# Where chunks of a training with landmarks end.
SplitterName: TypeAlias = Literal["fixed", "sentence"]
SPLITTERS: tuple[SplitterName, ...] = get_args(SplitterName)
OnTruncate: TypeAlias = Literal["warn", "error"]
ON_TRUNCATE: tuple[OnTruncate, ...] = get_args(OnTruncate)
OnError: TypeAlias = Literal["raise", "skip"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)
TaskName: TypeAlias = Literal["query", "document"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)

# Pooling operators, and other names of some.
_Operator: TypeAlias = Literal[
    "cls",
    "mean",
    "max",
    "mean_sqrt_len",
    "weightedmean",
    "inverse_density",
    "lasttoken",
    "landmark",
    "every_k",
    "multi_cls",
]
_Alias: TypeAlias = Literal["mean_sqrt_len_tokens", "lmk"]
_ALIASES: dict[str, _Operator] = {"mean_sqrt_len_tokens": "mean_sqrt_len", "lmk": "landmark"}
PoolingName: TypeAlias = Literal[_Operator, _Alias]
POOLINGS: dict[str, tuple[str, ...]] = {
    name: tuple(alias for alias, operator in _ALIASES.items() if operator == name) for name in get_args(_Operator)
}


def name_poolings(names: Iterable[str]) -> str:
    """Return the name of poolings whose vectors stand side by side; an alias is replaced, an unknown name stays.

    >>> name_poolings(["mean_sqrt_len_tokens"]), name_poolings(["cls", "mean"])
    ('mean_sqrt_len', 'cls+mean')
    """
    return "+".join(_ALIASES.get(name, name) for name in names)


# Similarities of two vectors, with other names of some.
SimilarityName: TypeAlias = Literal[
    "cosine", "dot", "dot_product", "euclidean", "manhattan", "cityblock", "minkowski", "chebyshev"
]

SocmPrecision: TypeAlias = Literal["float32", "float64"]

# Temperatures by length, with the numbers that each takes.
ScheduleName: TypeAlias = Literal["constant", "linear", "power", "log"]
SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "linear": ("start", "end", "shortest", "longest"),
    "power": ("scale", "exponent"),
    "log": ("s",),
}

# Kinds of labelled data.
KindName: TypeAlias = Literal["retrieval", "reranking", "classification", "clustering", "sts", "summarisation"]
# Checks of `audit`.
CheckName: TypeAlias = Literal[
    "weights",
    "loading",
    "settings",
    "pooling",
    "pooling-fits",
    "later-modules",
    "padding",
    "batches",
    "precision",
    "finite",
    "float16",
    "truncation",
    "positions",
    "prompts",
    "sticky-tokens",
    "hubs",
]
# Ways to draw pairs from a text.
PairWay: TypeAlias = Literal["title", "spans", "sentence"]

# Optional packages, by the extra that installs them.
PACKAGES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "ray": ("ray",),
    "eval": ("mteb",),
    "train": ("accelerate", "datasets"),
    "index": ("faiss",),
}


def names_in(annotation: Any) -> tuple[str, ...]:
    """Return the names of the literals in an annotation.

    >>> names_in(TaskName | None), names_in(Literal["local"] | Auto), names_in(str | None)
    (('query', 'document'), ('local', 'auto'), ())
    """
    parts = ((part,) if isinstance(part, str) else names_in(part) for part in get_args(annotation))
    return tuple(chain.from_iterable(parts))


def missing_packages(extra: str) -> str | None:
    """Say which packages of an extra are not installed, with the line that installs them; None if all are.

    >>> missing_packages("torch")
    """
    missing = [name for name in PACKAGES.get(extra, ()) if importlib.util.find_spec(name) is None]
    return f"it needs {', '.join(missing)}, which is missing: pip install 'cenote[{extra}]'" if missing else None
