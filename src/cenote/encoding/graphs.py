"""A whole SentenceTransformer recorded as one graph, from features to vectors, for other runtimes than torch.

A graph is recorded while the model reads an example. It may hold constants of that example's batch size, length or
padding, so a graph is compared with the model on batches unlike the example before it is used.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cenote._nn.modules import eval_mode
from cenote.encoding.forward import VECTORS, pooled_vectors, run_modules
from cenote.errors import BadInput, CenoteError, UnsupportedModel, first_line, some
from cenote.functional.token_batches import refuse_rows
from cenote.models.properties import of_task
from cenote.surgery.attention import SDPA
from cenote.surgery.hooks import current_setting, with_mask
from cenote.surgery.tempering import bake

# A number for each text: the tokens of its prompt that are not pooled. An input of models that exclude prompts.
PROMPT = "prompt_length"

# Texts of different lengths, none a power of two, and of another number than any probe has.
_EXAMPLE = ("a pool", "the roof of a cave fell in, and what had been underground is a lake now", "deep water")
# Texts that a graph is compared on: more than the example has, one alone, and two of one length, hence no padding.
PROBES: tuple[tuple[str, ...], ...] = (
    (
        "light",
        "A cenote is a natural pit, or sinkhole, resulting when a collapse of limestone bedrock exposes groundwater.",
        "Who went down there first?",
        "The water is clear, since it comes from rain that filters slowly through the ground. Some cenotes are small "
        "and open to the sky; others hold miles of flooded passages, which divers have followed to the sea. " * 2,
        "zwölf, 12, 十二",
    ),
    ("One text alone.",),
    ("three short words", "three other words"),
)
_PROMPTS = ("query: ", "Represent this sentence for searching relevant passages: ", "search: ")

# Added to masked logits: far below any logit, and within bfloat16. Where a whole row is masked, which is padding and
# never pooled, attention is then even instead of NaN.
_HIDDEN = -1e9


class Pipeline(nn.Module):
    """A model that takes its features as separate arguments, as graphs do."""

    def __init__(
        self,
        model: Any,
        names: Sequence[str],
        task: str | None = None,
        *,
        additive_masks: bool = False,
        feature: str = VECTORS,
    ) -> None:
        super().__init__()
        self.model, self.names, self.task, self.additive_masks = model, tuple(names), task, additive_masks
        self.feature = feature

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the vectors `[B, D]`, or the token vectors `[B, T, D]`, float32."""
        features = dict(zip(self.names, inputs, strict=True))
        with _AdditiveMasks() if self.additive_masks else nullcontext():
            output = run_modules(self.model, features, self.task)
        if self.feature == VECTORS:
            return pooled_vectors(self.model, output)
        found: Tensor = output[self.feature]
        return found.float()


class _AdditiveMasks(TorchFunctionMode):
    """Gives attention an additive mask instead of a boolean one.

    With boolean masks OpenVINO gives NaN in rows that are masked whole, as padding on the left is, and the NaN spread
    to the text.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is SDPA:
            mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
            if mask is not None and mask.dtype == torch.bool:
                query = args[0] if args else kwargs["query"]
                additive = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, _HIDDEN)
                args, kwargs = with_mask(additive, args, kwargs)
        return func(*args, **kwargs)


def why_no_graph(model: Any, task: str | None = None) -> str | None:
    """Say why a model cannot be recorded as a graph, as far as is known before it is tried; None if nothing is."""
    if not isinstance(model[0], Transformer):
        return (
            f"the model starts with {type(model[0]).__name__}: only models that start with a transformer become graphs"
        )
    if model.device.type != "cpu":
        return f"graphs run on the CPU, and the model is on {model.device}: load it with device='cpu'"
    setting = current_setting(model)
    if task is None and setting is not None and isinstance(setting.temperature, dict):
        return "the model has a temperature for each role, and a graph holds one: pass task='query' or 'document'"
    return None


def inputs_of(model: Any) -> tuple[str, ...]:
    """Return the names of the features that a graph of the model takes, in order."""
    features = model.preprocess(list(_EXAMPLE))
    ids = features.get("input_ids")
    if not isinstance(ids, Tensor) or "cu_seq_lens_q" in features:
        raise UnsupportedModel(
            "the model reads a batch flattened into one row, as flash attention does: load it with another attention "
            "implementation."
        )
    names = [name for name, value in features.items() if isinstance(value, Tensor)]
    if odd := [name for name in names if features[name].shape != ids.shape]:
        raise UnsupportedModel(f"{some(odd)} have no entry per token: a graph cannot take them.")
    return (*names, *([PROMPT] if _excludes_prompts(model) else []))


def _excludes_prompts(model: Any) -> bool:
    return any(getattr(module, "include_prompt", True) is False for module in model)


def feed(features: Mapping[str, Any], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the inputs of a graph from the features of a batch, checked: a graph checks nothing itself."""
    if missing := [name for name in names if name != PROMPT and name not in features]:
        raise BadInput(f"features lack {some(missing)}: pass everything that model.preprocess returns.")
    inputs = {name: torch.as_tensor(features[name]).cpu() for name in names if name != PROMPT}
    rows = len(inputs["input_ids"])
    left = inputs["attention_mask"].sum(1) if "attention_mask" in inputs else torch.ones(rows)
    refuse_rows(left == 0, "no real token", "leave such texts out, or give them a special token")
    if PROMPT in names:
        skip = features["prompt_mask"].sum(1) if "prompt_mask" in features else features.get(PROMPT, 0)
        inputs[PROMPT] = torch.as_tensor(skip).flatten()[: rows if "prompt_mask" in features else 1].expand(rows).long()
        refuse_rows(left <= inputs[PROMPT], "no token left after the prompt", "leave such texts out")
    return {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()}


def probes(model: Any, task: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield batches to compare a graph on, with prompts where the model excludes them from pooling."""
    for texts, prompt in zip(PROBES, _PROMPTS, strict=True):
        yield model.preprocess(list(texts), prompt=prompt if _excludes_prompts(model) else None, **of_task(task))


@contextmanager
def _recording(model: Any, task: str | None, names: Sequence[str], **how: Any) -> Iterator[tuple[Pipeline, Any]]:
    """Yield a pipeline and an example to record it on; a failure becomes `UnsupportedModel`."""
    example = model.preprocess(list(_EXAMPLE), prompt=_PROMPTS[0] if PROMPT in names else None)
    inputs = tuple(torch.from_numpy(array) for array in feed(example, names).values())
    logs = [logging.getLogger(name) for name in ("torch.onnx", "transformers")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        settled = _with_baked_temperature(model, task)
        with eval_mode(settled), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of values recorded as constants; the comparison with the model finds those
            yield Pipeline(settled, names, task, **how), inputs
    except CenoteError:
        raise
    except Exception as error:  # models fail to be recorded in ways that nobody has listed
        raise UnsupportedModel(
            f"{type(getattr(model[0], 'model', model[0])).__name__} cannot be recorded as a graph: {first_line(error)} "
            "The backend 'torch' runs every model."
        ) from error
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _with_baked_temperature(model: Any, task: str | None) -> Any:
    """Return the model, or a copy with its temperature in the weights, which saves a graph the division."""
    setting = current_setting(model)
    if setting is None or setting.layers is not None:
        return model
    chosen = setting.temperature
    tau = chosen["query" if task == "query" else "document"] if isinstance(chosen, dict) else chosen
    return bake(model, tau, scale_bias=setting.scale_bias) if isinstance(tau, float) else model


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports each import and conversion to its makers.

    OpenVINO works where that package is missing.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    before = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # marks the package as missing
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules["openvino_telemetry"]
        if before is not None:
            sys.modules["openvino_telemetry"] = before


@cache
def openvino_core() -> Any:
    """Return the one OpenVINO core of this process, which is never freed.

    Each core replaces the process's stack for signals. One that is freed out of order, or in another thread, leaves a
    dangling stack, and the next signal (Ctrl-C, the end of a child) kills the process.
    """
    return import_openvino().Core()


def to_openvino(model: Any, task: str | None = None, *, feature: str = VECTORS) -> Any:
    """Record the model as an `openvino.Model` for any batch size and length, up to its vectors or its token vectors."""
    openvino = import_openvino()
    names = [name for name in inputs_of(model) if name != PROMPT or feature == VECTORS]  # only a pooling reads it
    with _recording(model, task, names, additive_masks=True, feature=feature) as (pipeline, example):
        graph = openvino.convert_model(pipeline, example_input=example)
        _check_inputs(names, len(graph.inputs))
        for port, name in zip(graph.inputs, names, strict=True):
            port.get_tensor().set_names({name})
            port.get_node().set_friendly_name(name)
        graph.outputs[0].get_tensor().set_names({feature})
        graph.reshape({name: openvino.PartialShape([-1] if name == PROMPT else [-1, -1]) for name in names})
    return graph


def _check_inputs(names: Sequence[str], kept: int) -> None:
    if kept != len(names):
        raise UnsupportedModel(f"of the inputs {', '.join(names)} the graph kept only {kept}.")


@contextmanager
def to_onnx(model: Any, task: str | None = None) -> Iterator[Path]:
    """Record the model as a temporary file `model.onnx`, with `model.onnx.data` beside it if it is large."""
    names = inputs_of(model)
    free, axes = torch.export.Dim.DYNAMIC, ("batch", "length")
    shapes, called = (
        tuple(dict(enumerate(dims[:1] if name == PROMPT else dims)) for name in names) for dims in ((free, free), axes)
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "model.onnx")
        with _recording(model, task, names) as (pipeline, example):
            # Not left to torch.onnx.export: where it fails it tries other ways, one of which fixes shapes.
            recorded = torch.export.export(pipeline, example, dynamic_shapes=(shapes,), strict=False)
            program: Any = torch.onnx.export(
                recorded,
                dynamo=True,
                input_names=names,
                output_names=[VECTORS],
                dynamic_shapes=(called,),
                verbose=False,
            )
            _check_inputs(names, len(program.model.graph.inputs))
            _anonymous(program.model)
            weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
            program.save(path, external_data=weights > _ONE_FILE)
        yield path


# An ONNX file holds at most 2 GiB; all but the weights takes little.
_ONE_FILE = 2**31 - 2**26


def _anonymous(graph: Any) -> None:
    """Remove the source paths recorded with each node, for privacy and so that the same model gives the same bytes."""
    import onnx_ir

    graph.metadata_props.clear()
    graph.graph.metadata_props.clear()
    for node in onnx_ir.traversal.RecursiveGraphIterator(graph.graph):
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.graph.inputs, *graph.graph.initializers.values()):
        value.metadata_props.clear()
