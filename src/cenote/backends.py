"""What runs a model: torch, OpenVINO or ONNX Runtime, behind one small protocol.

A backend is one line of `BACKENDS`. `backend` is the door: it says what is in the way before anything is made, and
compares what it made with the model before it hands it out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput, UnsupportedModel, choose
from cenote.functional.batches import refuse_rows
from cenote.graphs import (
    OUTPUT,
    feed,
    inputs_of,
    openvino_core,
    probes,
    to_onnx,
    to_openvino,
    vectors,
    why_not,
)
from cenote.surgery.attention import at_rest, kept_in

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# How far a backend may be from the model: of float32 the difference of any number, as a part of the vector's length;
# of half precision the angle. Rounding alone is 100 times closer in float32, on models of 6 to 12 layers.
WORST_DIFFERENCE, WORST_COSINE = 1e-4, 0.9999


class Backend(Protocol):
    """Makes vectors of a batch of features, as `model.preprocess` gives them. Call it from one thread at a time."""

    name: str
    precision: str

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        """`[B, D]`, float32, on the CPU, through every module of the model."""
        ...


@dataclass(frozen=True)
class Row:
    """One line of `BACKENDS`."""

    meaning: str
    make: Callable[[Any, str, str | None], Backend]
    precisions: tuple[str, ...]
    needs: tuple[str, ...] = ()  # packages of the extra of the same name
    graph: bool = True  # made once from the model, which may be changed or thrown away afterwards


class _Torch:
    """The model itself."""

    def __init__(self, model: Any, precision: str, task: str | None) -> None:
        self.name, self.precision = "torch", precision
        self.model, self.task = model, task

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        device = self.model.device
        moved = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in features.items()}
        with at_rest(self.model), torch.inference_mode(), self._rounding(device.type):
            return vectors(self.model, moved, self.task).cpu()

    def _rounding(self, device: str) -> AbstractContextManager[Any]:
        dtype = PRECISIONS[self.precision]
        if dtype in (torch.float32, kept_in(self.model)):  # as the model is
            return nullcontext()
        return torch.autocast(device, dtype)


class _Graph:
    """What a runtime made of the model."""

    def __init__(
        self, name: str, precision: str, inputs: tuple[str, ...], run: Callable[[dict[str, np.ndarray]], np.ndarray]
    ) -> None:
        self.name, self.precision, self.inputs, self.run = name, precision, inputs, run

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        made = torch.from_numpy(self.run(feed(features, self.inputs)))
        refuse_rows(~made.isfinite().all(1), "a vector that is not finite", "look at it with the backend 'torch'")
        return made


def _openvino(model: Any, precision: str, task: str | None) -> Backend:
    return _Graph("openvino", precision, inputs_of(model), openvino_runner(to_openvino(model, task), precision))


def openvino_runner(graph: Any, precision: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Runs a graph, or the file of one, on as many threads as torch uses."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
    }
    request = openvino_core().compile_model(graph, "CPU", settings).create_infer_request()

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        # A copy: the next batch is written where this one is.
        return np.array(request.infer(inputs, share_inputs=True, share_outputs=True)[0])

    return run


def _onnx(model: Any, precision: str, task: str | None) -> Backend:
    with to_onnx(model, task) as path:
        session = onnx_session(path)
    names = tuple(port.name for port in session.get_inputs())
    return _Graph("onnx", precision, names, lambda inputs: session.run([OUTPUT], inputs)[0])


def onnx_session(path: Any) -> Any:
    """ONNX Runtime on a file, on as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: the rest is how it optimises
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


BACKENDS: dict[str, Row] = {
    "torch": Row("the model itself", _Torch, tuple(PRECISIONS), graph=False),
    "openvino": Row("OpenVINO, on the CPU", _openvino, ("float32", "bfloat16"), ("openvino",)),
    "onnx": Row("ONNX Runtime, on the CPU", _onnx, ("float32",), ("onnx", "onnxruntime", "onnxscript")),
}


def backend(
    model: Any, name: str = "torch", precision: str = "float32", *, task: str | None = None, validate: bool = True
) -> Backend:
    """What runs `model` by the named backend at this precision.

    >>> import cenote
    >>> model = cenote.load("minilm", device="cpu")
    >>> run = backend(model)
    >>> run(model.preprocess(["a pool", "that a collapse made"])).shape
    torch.Size([2, 384])

    Args:
        model: a `SentenceTransformer`. It is left as it is; a graph holds what the model was when it was made.
        name: a name from `BACKENDS`.
        precision: what is computed in. `torch` computes in `bfloat16` and `float16` by autocast.
        task: `query` or `document`, for models that treat them differently, as `encode_query` does.
        validate: compare a backend that is not the model itself with the model on a few texts, before it is used.

    Raises:
        UnknownName: no such backend or precision.
        BadInput: this cannot run here, or a package is missing; the message has the line that installs it.
        UnsupportedModel: the model cannot be put into a graph, or the graph does something else.
    """
    row = choose(name, BACKENDS, "backend")
    choose(precision, PRECISIONS, "precision")
    refuse_unavailable(model, name, precision, task)
    made = row.make(model, precision, task)
    if validate and (row.graph or precision != "float32"):
        prove(made, model, task)
    return made


def available(model: Any, *, task: str | None = None) -> dict[tuple[str, str], str | None]:
    """For each backend and precision None if it can run here, and else why not. Nothing is made.

    >>> import cenote
    >>> available(cenote.load("minilm", device="cpu"))["torch", "float32"] is None
    True
    """
    return {(name, precision): problem(model, name, precision, task) for name in BACKENDS for precision in PRECISIONS}


def refuse_unavailable(model: Any, name: str, precision: str, task: str | None) -> None:
    """Raise if this backend cannot run here, before anything is made."""
    if why := problem(model, name, precision, task):
        raise BadInput(f"backend {name!r} at {precision}: {why}.")


def missing(name: str) -> str | None:
    """What a backend lacks here, and the line that installs it."""
    lost = [package for package in BACKENDS[name].needs if importlib.util.find_spec(package) is None]
    return f"it needs {', '.join(lost)}, which is missing: pip install 'cenote[{name}]'" if lost else None


def problem(model: Any, name: str, precision: str, task: str | None) -> str | None:
    """What is in the way of a backend at a precision, in words that go on with a full stop; None if it can run."""
    row = BACKENDS[name]
    if task not in (None, "query", "document"):
        return f"task={task!r} is neither 'query' nor 'document'"
    if precision not in row.precisions:
        return f"it computes in {' or '.join(row.precisions)}"
    if lost := missing(name):
        return lost
    own = kept_in(model)
    if own is not torch.float32 and (row.graph or own is not PRECISIONS[precision]):
        return f"the model's weights are {str(own).removeprefix('torch.')}: load it with dtype='float32'"
    if row.graph and (reason := why_not(model, task)):
        return reason
    return None if precision == "float32" else _not_here(model.device, name, precision)


def _not_here(device: torch.device, name: str, precision: str) -> str | None:
    """Why a machine does not compute in half precision."""
    if device.type == "cuda":
        return None if precision == "float16" or torch.cuda.is_bf16_supported() else f"{device} has no bfloat16"
    if precision == "float16" or device.type != "cpu":
        return (
            f"{precision} is for CUDA devices{'' if precision == 'float16' else ' and CPUs'}; the model is on {device}"
        )
    if name == "openvino":
        able = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    else:
        able = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return None if able else "this CPU has no bfloat16, which would be slower than float32"


def prove(made: Backend, model: Any, task: str | None = None) -> None:
    """Compare a backend with the model at float32 on a few texts; raise if they differ by more than rounding."""
    plain = _Torch(model, "float32", task)
    for features in probes(model):
        difference, cosine = distance(made(features), plain(features))
        if made.precision == "float32":
            near, said = difference <= WORST_DIFFERENCE, f"differ by {difference:.2g} of their length"
        else:
            near, said = cosine >= WORST_COSINE, f"have a cosine of {cosine:.6f} with the model's"
        if not near:
            raise UnsupportedModel(
                f"backend {made.name!r} at {made.precision} does not do what the model does: its vectors {said}. Use "
                "the backend 'torch' at float32."
            )


def distance(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Of two sets of vectors the largest difference, as a part of the vector's length, and the smallest cosine.

    >>> distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]]))
    (0.0, 1.0)
    """
    ours, theirs = ours.double(), theirs.double()
    lengths = theirs.norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    difference = ((ours - theirs).abs().amax(1) / lengths).max().item()
    return difference, torch.cosine_similarity(ours, theirs).min().item()
