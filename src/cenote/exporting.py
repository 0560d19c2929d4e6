"""Export a model as a folder that other runtimes read: the graph with pooling, the tokenizer, and a description."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cenote import __version__
from cenote.data.builtin import read_builtin
from cenote.encoding.backends import (
    disagreement,
    distance,
    onnx_session,
    openvino_runner,
    refuse_unavailable,
)
from cenote.encoding.forward import VECTORS, forward, pooled_vectors
from cenote.encoding.graphs import feed, import_openvino, inputs_of, to_onnx, to_openvino
from cenote.encoding.int8 import round_weights
from cenote.errors import UnsupportedModel, choose
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.properties import limit_of, of_task
from cenote.models.provenance import temperatures_of
from cenote.models.repooling import operators_of, pooling_in
from cenote.nn import LandmarkTransformer
from cenote.storage import new_folder, refuse_occupied

DESCRIPTION = "cenote_export.json"
# Texts of the built-in corpus on which the graph is compared with the model, and their batch size.
_N_TEXTS, _BATCH = 48, 16

_COUNTED_NAME = re.compile(r'(<layer id="(\d+)" name=")(\w+?)_\d+(?=")')

Run = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Format:
    """One line of `FORMATS`."""

    write: Callable[[Any, Path, str, str | None], None]
    runner: Callable[[Path], Run]  # of the written folder, at float32
    precisions: tuple[str, ...]
    packages: tuple[str, ...]  # their versions go into the description


@dataclass(frozen=True)
class Export:
    """The written folder, and how it differs from the model on sentences of the built-in corpus."""

    folder: str
    description: dict[str, Any]
    difference: float  # largest difference of a component, relative to the vector's length
    cosine: float  # smallest cosine
    texts: int


def _write_onnx(model: Any, folder: Path, _precision: str, task: str | None) -> None:
    with to_onnx(model, task) as path:
        for file in path.parent.iterdir():
            shutil.move(file, folder / file.name)


def _write_openvino(model: Any, folder: Path, precision: str, task: str | None) -> None:
    graph, path = to_openvino(model, task), folder / "openvino_model.xml"
    if precision == "int8":
        round_weights(graph)
    graph.set_friendly_name("model")
    import_openvino().save_model(graph, path, compress_to_fp16=precision == "float16")
    # Remove the counts of this process from names such as Constant_65, so that a model always gives the same bytes.
    path.write_text(_COUNTED_NAME.sub(r"\1\3_\2", path.read_text("utf-8")), "utf-8", newline="\n")


def _run_onnx(folder: Path) -> Run:
    session = onnx_session(folder / "model.onnx")
    return lambda inputs: session.run([VECTORS], inputs)[0]


FORMATS: dict[str, Format] = {
    "onnx": Format(_write_onnx, _run_onnx, ("float32",), ("onnx", "onnxscript")),
    "openvino": Format(
        _write_openvino,
        lambda folder: openvino_runner(folder / "openvino_model.xml", "float32"),
        ("float32", "float16", "int8"),
        ("openvino",),
    ),
}


def export(
    model: Any, format: str, output: str | Path, *, precision: str = "float32", task: str | None = None
) -> Export:
    """Write a model as a graph from token ids to the pooled vector, with its tokenizer, into a new folder.

    The folder appears whole or not at all: it is written under a temporary name, read again, compared with the model,
    and renamed.

    Args:
        model: a `SentenceTransformer` on the CPU. Its temperature is part of the graph.
        format: a name from `FORMATS`.
        output: the folder to create.
        precision: of the stored weights. Runtimes compute in float32 by default, with `int8` in 8 bits where the
            processor multiplies integers (VNNI).
        task: `query` or `document`, for models that treat them differently.

    Raises:
        BadInput: the folder exists, or this export is not available here; raised before anything is written.
        UnsupportedModel: the model cannot be converted, or the graph gives other vectors.
    """
    row = choose(format, FORMATS, "format")
    choose(precision, dict.fromkeys(row.precisions), f"precision of {format}")
    path = refuse_occupied(output)
    refuse_unavailable(model, format, "float32", task)
    with new_folder(path) as folder:
        row.write(model, folder, precision, task)
        _write_tokenizer(model, folder, task)
        description = _describe(model, format, precision, task)
        text = json.dumps(description, indent=2, ensure_ascii=False, sort_keys=True)
        (folder / DESCRIPTION).write_text(text + "\n", "utf-8")
        difference, cosine, texts = _compare(model, row.runner(folder), description, task)
        if finding := disagreement(precision, difference, cosine):
            raise UnsupportedModel(
                f"the written graph gives other vectors than the model: they {finding}. Nothing was kept."
            )
    return Export(str(output), description, difference, cosine, texts)


def _write_tokenizer(model: Any, folder: Path, task: str | None) -> None:
    """Write the tokenizer's files, with truncation and padding set in `tokenizer.json` as in the model."""
    tokenizer = model.tokenizer
    tokenizer.save_pretrained(folder)
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return
    from tokenizers import Tokenizer

    alone = Tokenizer.from_str(fast.to_str())  # a copy, because the model's own keeps its state
    alone.no_truncation()
    alone.no_padding()
    if (most := limit_of(model, task)) is not None:
        alone.enable_truncation(most, direction=tokenizer.truncation_side)
    if tokenizer.pad_token is not None:
        alone.enable_padding(
            direction=tokenizer.padding_side,
            pad_id=tokenizer.pad_token_id,
            pad_type_id=tokenizer.pad_token_type_id,
            pad_token=tokenizer.pad_token,
        )
    alone.save(str(folder / "tokenizer.json"))


def _describe(model: Any, format: str, precision: str, task: str | None) -> dict[str, Any]:
    """Return what a reader of the folder needs to use it."""
    reader = model[0]
    landmarks = isinstance(reader, LandmarkTransformer)
    packages = ("torch", "transformers", "sentence-transformers", *FORMATS[format].packages)
    return {
        "format": format,
        "precision": precision,
        "inputs": list(inputs_of(model)),
        "output": VECTORS,
        "dimensions": model.get_embedding_dimension(),
        "modules": [type(module).__name__ for module in model],
        "pooling": list(operators_of(pooling_in(model))) or None,
        "landmarks": {key: getattr(reader, key) for key in ("interval", "splitter", "marker")} if landmarks else None,
        **temperatures_of(model),
        "max_seq_length": limit_of(model, task),
        "lower_case": bool(getattr(reader, "do_lower_case", False)),
        "prompts": dict(model.prompts),
        "default_prompt": model.default_prompt_name,
        "task": task,
        "fingerprint": fingerprint_of_weights(model),
        "versions": {"cenote": __version__, **{name: importlib.metadata.version(name) for name in packages}},
    }


def _compare(model: Any, run: Run, description: dict[str, Any], task: str | None) -> tuple[float, float, int]:
    """Return the largest difference and the smallest cosine on real sentences, and their number."""
    words = [text.text for text in islice(read_builtin(), _N_TEXTS)]
    ours, theirs = [], []
    for start in range(0, len(words), _BATCH):
        features = model.preprocess(words[start : start + _BATCH], **of_task(task))
        ours.append(torch.from_numpy(run(feed(features, description["inputs"]))))
        theirs.append(pooled_vectors(model, forward(model, features, task)))
    return *distance(torch.cat(ours), torch.cat(theirs)), len(words)
