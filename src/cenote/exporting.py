"""A model as a folder that other runtimes read: the pooled graph, the tokenizer, and what it takes to use both."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cenote import __version__
from cenote.data.builtin import read_builtin
from cenote.encoding.backends import (
    WORST_COSINE,
    WORST_DIFFERENCE,
    distance,
    onnx_session,
    openvino_runner,
    refuse_unavailable,
)
from cenote.encoding.forward import VECTORS, forward, pooled_vectors
from cenote.encoding.graphs import feed, import_openvino, inputs_of, to_onnx, to_openvino
from cenote.errors import BadInput, UnsupportedModel, choose
from cenote.functional.pooling import canonical
from cenote.functional.temperature import to_json
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.properties import limit_of
from cenote.models.provenance import baked_temperature_of
from cenote.nn import LandmarkTransformer
from cenote.storage import refuse_occupied
from cenote.surgery.hooks import settings_on

DESCRIPTION = "cenote_export.json"
# How many texts of the built-in corpus the written graph is compared on, and in what batches.
_COMPARED, _BATCH = 48, 16

_COUNTED = re.compile(r'(<layer id="(\d+)" name=")(\w+?)_\d+(?=")')

Run = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Format:
    """One line of `FORMATS`."""

    meaning: str
    write: Callable[[Any, Path, str, str | None], None]
    runner: Callable[[Path], Run]  # of the written folder, at float32
    precisions: tuple[str, ...]
    packages: tuple[str, ...]  # whose versions the description states


@dataclass(frozen=True)
class Export:
    """What was written, and how near it is to the model, on sentences of the built-in corpus."""

    folder: str
    description: dict[str, Any]
    difference: float  # the largest of any number, as a part of the vector's length
    cosine: float  # the smallest
    texts: int


def _write_onnx(model: Any, folder: Path, _precision: str, task: str | None) -> None:
    with to_onnx(model, task) as path:
        for file in path.parent.iterdir():
            shutil.move(file, folder / file.name)


def _write_openvino(model: Any, folder: Path, precision: str, task: str | None) -> None:
    graph, path = to_openvino(model, task), folder / "openvino_model.xml"
    graph.set_friendly_name("model")
    import_openvino().save_model(graph, path, compress_to_fp16=precision == "float16")
    # Names such as Constant_65 count what this process has made so far; the same model is to give the same bytes.
    path.write_text(_COUNTED.sub(r"\1\3_\2", path.read_text("utf-8")), "utf-8", newline="\n")


def _run_onnx(folder: Path) -> Run:
    session = onnx_session(folder / "model.onnx")
    return lambda inputs: session.run([VECTORS], inputs)[0]


def _run_openvino(folder: Path) -> Run:
    return openvino_runner(folder / "openvino_model.xml", "float32")


FORMATS: dict[str, Format] = {
    "onnx": Format("model.onnx", _write_onnx, _run_onnx, ("float32",), ("onnx", "onnxscript")),
    "openvino": Format(
        "openvino_model.xml and .bin", _write_openvino, _run_openvino, ("float32", "float16"), ("openvino",)
    ),
}


def export(
    model: Any, format: str, output: str | Path, *, precision: str = "float32", task: str | None = None
) -> Export:
    """Write `model` as a graph from token ids to the pooled vector, with its tokenizer, into a new folder.

    The folder is there whole or not at all: it is written beside its place, read again, compared with the model, and
    then renamed.

    Args:
        model: a `SentenceTransformer` on the CPU. Its temperature is part of the graph.
        format: a name from `FORMATS`.
        output: the folder to make.
        precision: in what the weights are stored. Computing is in float32 either way, unless a runtime is told else.
        task: `query` or `document`, for models that treat them differently.

    Raises:
        BadInput: the folder is there, or this cannot be made here; told before anything is made.
        UnsupportedModel: the model cannot be put into a graph, or the graph does something else.
    """
    row = choose(format, FORMATS, "format")
    choose(precision, dict.fromkeys(row.precisions), f"precision of {format}")
    refuse_unavailable(model, format, "float32", task)
    path = refuse_occupied(output)
    with _beside(path) as folder:
        row.write(model, folder, precision, task)
        _write_tokenizer(model, folder)
        description = _describe(model, format, precision, task)
        text = json.dumps(description, indent=2, ensure_ascii=False, sort_keys=True)
        (folder / DESCRIPTION).write_text(text + "\n", "utf-8")
        difference, cosine, texts = _compared(model, row.runner(folder), description, task)
        if cosine < WORST_COSINE or (precision == "float32" and difference > WORST_DIFFERENCE):
            raise UnsupportedModel(
                f"the written graph does not do what the model does: vectors differ by {difference:.2g} of their "
                f"length, cosine {cosine:.6f}. Nothing was kept."
            )
    return Export(str(output), description, difference, cosine, texts)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder that takes its place when all went well, and else leaves no trace."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise BadInput(f"cannot make the folder {str(path)!r}: {error.strerror}.") from error
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())  # mkdtemp's are for one's own eyes
        folder.replace(path)  # an empty folder that is there gives way
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _write_tokenizer(model: Any, folder: Path) -> None:
    """The tokenizer's files; `tokenizer.json` cuts and pads as the model does, so that it needs no settings."""
    tokenizer = model.tokenizer
    tokenizer.save_pretrained(folder)
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return
    from tokenizers import Tokenizer

    alone = Tokenizer.from_str(fast.to_str())  # a copy: the model's own keeps what it was last asked for
    alone.no_truncation()
    alone.no_padding()
    if (most := limit_of(model)) is not None:
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
    """What somebody needs who has the folder alone."""
    reader = model[0]
    setting = next(iter(settings_on(model)), None)
    pooling = next((module.pooling_mode for module in model if hasattr(module, "pooling_mode")), None)
    landmarks = isinstance(reader, LandmarkTransformer)
    packages = ("torch", "transformers", "sentence-transformers", *FORMATS[format].packages)
    return {
        "format": format,
        "precision": precision,
        "inputs": list(inputs_of(model)),
        "output": VECTORS,
        "dimensions": model.get_embedding_dimension(),
        "modules": [type(module).__name__ for module in model],
        "pooling": list(canonical(pooling)) if pooling is not None else None,
        "landmarks": {key: getattr(reader, key) for key in ("interval", "splitter", "marker")} if landmarks else None,
        "temperature": None
        if setting is None
        else {"temperature": to_json(setting.temperature), "layers": setting.layers, "scale_bias": setting.scale_bias},
        "temperature_in_weights": baked_temperature_of(model),
        "max_seq_length": limit_of(model),
        "lower_case": bool(getattr(reader, "do_lower_case", False)),
        "prompts": dict(model.prompts),
        "default_prompt": model.default_prompt_name,
        "task": task,
        "fingerprint": fingerprint_of_weights(model),
        "versions": {"cenote": __version__, **{name: importlib.metadata.version(name) for name in packages}},
    }


def _compared(model: Any, run: Run, description: dict[str, Any], task: str | None) -> tuple[float, float, int]:
    """The largest difference and the smallest cosine on real sentences, and how many those were."""
    words = [text.text for text in islice(read_builtin(), _COMPARED)]
    found = []
    for start in range(0, len(words), _BATCH):
        features = model.preprocess(words[start : start + _BATCH])
        ours = torch.from_numpy(run(feed(features, description["inputs"])))
        found.append(distance(ours, pooled_vectors(model, forward(model, features, task))))
    return max(each[0] for each in found), min(each[1] for each in found), len(words)
