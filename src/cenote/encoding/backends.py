"""Backends that run a model: torch, OpenVINO or ONNX Runtime, behind one small protocol.

A backend is one line of `BACKENDS`. `backend` makes one: it first refuses a backend that is not available here, and
compares the result with the model before it returns it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cenote import choices
from cenote._nn.modules import weights_dtype
from cenote.encoding.batches import is_out_of_memory
from cenote.encoding.forward import VECTORS, forward, pooled_vectors, repooled_vectors
from cenote.encoding.graphs import (
    feed,
    inputs_of,
    openvino_core,
    probes,
    to_onnx,
    to_openvino,
    why_no_graph,
)
from cenote.encoding.int8 import multiplies_integers, round_weights
from cenote.errors import BadInput, BadRows, CenoteError, UnsupportedModel, choose, last_line
from cenote.functional.token_batches import refuse_rows

PRECISIONS: dict[str, torch.dtype] = {name: getattr(torch, name) for name in choices.COMPUTE_PRECISIONS}

# How far a backend's vectors may be from the model's. In float32: the largest difference of a number, relative to the
# vector's length; rounding alone is 100 times closer. In half precision: the least cosine.
WORST_DIFFERENCE, WORST_COSINE = 1e-4, choices.AGREEMENT
# The least cosine where a user names half precision, and nothing is chosen for them. Rounding to bfloat16 alone
# leaves .99987 of all-mpnet-base-v2 at an attention temperature of 0.8.
ROUNDED_COSINE = 0.999

_LIFTED: ContextVar[bool] = ContextVar("computing_as_stored", default=False)


class Backend(Protocol):
    """Turns a batch of features into vectors. Call it from one thread at a time."""

    name: str
    precision: str

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        """Return the vectors `[B, D]` after every module of the model, float32, on the CPU."""
        ...


@dataclass(frozen=True)
class BackendSpec:
    """One line of `BACKENDS`."""

    make: Callable[[Any, str, str | None], Backend]
    precisions: tuple[str, ...]
    graph: bool = True  # recorded once: the model may change or be deleted afterwards


class _Torch:
    """The model itself, run by torch or by passes of its own."""

    def __init__(
        self, model: Any, precision: str, task: str | None, passes: Callable[..., dict[str, Any]] | None = None
    ) -> None:
        self.name, self.precision = "torch", precision
        self.model, self.task = model, task
        self.run = passes or partial(forward, model)

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        """Return the vectors; numbers above 65,504 overflow at float16, and such a batch is read in float32."""
        if self.precision != "float16" or weights_dtype(self.model) is not torch.float32:
            return self._read(features, self.precision)
        with suppress(BadRows):  # the pooling refuses what is not finite
            vectors = self._read(features, self.precision)
            if vectors.isfinite().all():
                return vectors
        try:
            return self._read(features, "float32")
        except Exception as error:  # it takes more memory than what was read before
            if not is_out_of_memory(error):
                raise
            raise BadInput("a number in it overflows at float16, and at float32 memory runs out") from None

    def _read(self, features: Mapping[str, Any], precision: str) -> Tensor:
        with _rounding(self.model, precision):
            output = self.run(features, self.task)
        return self._pool(output).cpu()

    def _pool(self, output: Mapping[str, Any]) -> Tensor:
        return pooled_vectors(self.model, output)


class ManyPoolings(_Torch):
    """The model itself with several poolings of each pass; their vectors are side by side, the model's own first.

    Args:
        model: a `SentenceTransformer`.
        poolings: others than the model's own, by name, of the same tokens.
        precision: a name from `PRECISIONS`.
        task: `query` or `document`, for models that treat them differently.
        passes: run the model in its place; they may be a graph.
    """

    def __init__(
        self,
        model: Any,
        poolings: Mapping[str, nn.Module],
        precision: str,
        task: str | None,
        passes: Callable[..., dict[str, Any]] | None = None,
    ) -> None:
        refuse_unavailable(model, "torch", precision, task)
        super().__init__(model, precision, task, passes)
        self.poolings = poolings
        self.widths: list[int] = []  # known from the first batch on

    def _pool(self, output: Mapping[str, Any]) -> Tensor:
        others = [repooled_vectors(self.model, output, one) for one in self.poolings.values()]
        found = [pooled_vectors(self.model, output), *others]
        self.widths = [one.shape[1] for one in found]
        return torch.cat(found, 1)


class _Graph:
    """A graph of the model, run by another runtime."""

    def __init__(
        self, name: str, precision: str, inputs: tuple[str, ...], run: Callable[[dict[str, np.ndarray]], np.ndarray]
    ) -> None:
        self.name, self.precision, self.inputs, self.run = name, precision, inputs, run

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        made = torch.from_numpy(self.run(feed(features, self.inputs)))
        refuse_rows(~made.isfinite().all(1), "a vector that is not finite", "compare with the backend 'torch'")
        return made


def _openvino(model: Any, precision: str, task: str | None) -> Backend:
    graph = to_openvino(model, task)
    if precision == choices.INT8:
        round_weights(graph)
    return _Graph("openvino", precision, inputs_of(model), openvino_runner(graph, precision))


def openvino_runner(graph: Any, precision: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Return a function that runs an OpenVINO graph, or the file of one, on as many threads as torch uses."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}[precision],
    }
    request = openvino_core().compile_model(graph, "CPU", settings).create_infer_request()

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        # A copy: the next batch is written to the same memory.
        return np.array(request.infer(inputs, share_inputs=True, share_outputs=True)[0])

    return run


def _onnx(model: Any, precision: str, task: str | None) -> Backend:
    with to_onnx(model, task) as path:
        session = onnx_session(path)
    names = tuple(port.name for port in session.get_inputs())
    return _Graph("onnx", precision, names, lambda inputs: session.run([VECTORS], inputs)[0])


def onnx_session(path: Any) -> Any:
    """Return a session of ONNX Runtime on a file, on as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


BACKENDS: dict[str, BackendSpec] = {
    "torch": BackendSpec(_Torch, choices.PRECISIONS, graph=False),
    "openvino": BackendSpec(_openvino, ("float32", "bfloat16", "int8")),
    "onnx": BackendSpec(_onnx, ("float32",)),
}


def backend(
    model: Any,
    name: str = "torch",
    precision: str = "float32",
    *,
    task: str | None = None,
    validate: bool = True,
    least: float = WORST_COSINE,
) -> Backend:
    """Return the named backend of `model` at a precision.

    >>> import cenote
    >>> model = cenote.load("minilm", device="cpu")
    >>> run = backend(model)
    >>> run(model.preprocess(["a pool", "that a collapse made"])).shape
    torch.Size([2, 384])

    Args:
        model: a `SentenceTransformer`, which is not changed. A graph is of the model at this moment.
        name: a name from `BACKENDS`.
        precision: a name from `PRECISIONS`. `torch` computes in `bfloat16` and `float16` by autocast.
        task: `query` or `document`, for models that treat them differently, as `encode_query` does.
        validate: whether to compare a graph, or half precision, with the model on a few texts first.
        least: cosine with the model's vectors that half precision must have then.

    Raises:
        UnknownName: there is no such backend or precision.
        BadInput: the backend cannot run here, or a package is missing; the message has the line that installs it.
        UnsupportedModel: the model cannot be recorded as a graph or run by the runtime, or gives other vectors.
    """
    spec = choose(name, BACKENDS, "backend")
    choose(precision, PRECISIONS, "precision")
    refuse_unavailable(model, name, precision, task)
    try:
        made = spec.make(model, precision, task)
        if validate and (spec.graph or precision != "float32"):
            verify(made, model, task, least)
    except Exception as error:  # runtimes fail in ways of their own
        if not spec.graph or isinstance(error, CenoteError) or is_out_of_memory(error):
            raise
        problem = f"backend {name!r} at {precision} cannot run this model: {last_line(error)}"
        raise UnsupportedModel(f"{problem.rstrip('.')}. Use the backend 'torch'.") from error
    return made


def own_precision(model: Any) -> str:
    """Return the name of the precision that the model's weights have."""
    return next((name for name, dtype in PRECISIONS.items() if dtype is weights_dtype(model)), "float32")


def plain_backend(model: Any, task: str | None = None, passes: Callable[..., dict[str, Any]] | None = None) -> Backend:
    """Return the model itself, in the precision of its weights: what `encode` computes. Nothing is checked.

    `passes` of the model run it in its place; they may be a graph, or compute in another precision.
    """
    return _Torch(model, own_precision(model), task, passes)


@contextmanager
def computing_in(model: Any, precision: str) -> Iterator[None]:
    """Make a model compute at a precision for a while, whoever calls it; `auto` leaves it that of its weights.

    What is computed from the output stays in float32.

    >>> import cenote
    >>> model = cenote.load("minilm", device="cpu")
    >>> with computing_in(model, "auto"):
    ...     model.encode("a pool").shape
    (384,)
    """
    if precision == choices.AUTO:
        yield
        return
    refuse_unavailable(model, "torch", precision, None)
    running = threading.local()  # a context is of the thread that entered it

    def enter(*_: Any) -> None:
        context = nullcontext() if _LIFTED.get() else _rounding(model, precision)
        context.__enter__()
        running.__dict__.setdefault("passes", []).append(context)

    def leave(*_: Any) -> None:
        if passes := running.__dict__.get("passes"):
            passes.pop().__exit__(None, None, None)

    handles = [
        model.register_forward_pre_hook(enter),
        model.register_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def computing_as_stored() -> Iterator[None]:
    """Lift `computing_in` for a while: models compute in the precision of their weights."""
    token = _LIFTED.set(True)
    try:
        yield
    finally:
        _LIFTED.reset(token)


def _rounding(model: Any, precision: str) -> AbstractContextManager[Any]:
    """Return a context in which torch computes at a precision."""
    dtype = PRECISIONS[precision]
    if dtype in (torch.float32, weights_dtype(model)):  # the precision of the weights
        return nullcontext()
    return torch.autocast(model.device.type, dtype)


def refuse_unavailable(model: Any, name: str, precision: str, task: str | None) -> None:
    """Raise if the backend cannot run here, before anything is made."""
    if reason := obstacle(model, name, precision, task):
        raise BadInput(f"backend {name!r} at {precision}: {reason}.")


def obstacle(model: Any, name: str, precision: str, task: str | None) -> str | None:
    """Say why a backend cannot run here at a precision; None if it can."""
    spec = BACKENDS[name]
    if task not in (None, "query", "document"):
        return f"task={task!r} is neither 'query' nor 'document'"
    if precision not in spec.precisions:
        *others, last = spec.precisions
        return f"it computes in {', '.join(others)} or {last}" if others else f"it computes in {last}"
    if lost := choices.missing_packages(name):
        return lost
    own = weights_dtype(model)
    if own is not torch.float32 and (spec.graph or own is not PRECISIONS[precision]):
        return f"the model's weights are {str(own).removeprefix('torch.')}: load it with dtype='float32'"
    if spec.graph and (reason := why_no_graph(model, task)):
        return reason
    return None if precision == "float32" else _hardware_obstacle(model.device, name, precision)


def _hardware_obstacle(device: torch.device, name: str, precision: str) -> str | None:
    """Say why this machine does not compute in half precision or 8 bits; None if it does."""
    if precision == choices.INT8:
        return None if multiplies_integers() else "this CPU does not multiply 8-bit integers faster than float32 (VNNI)"
    if device.type == "cuda":
        return None if precision == "float16" or torch.cuda.is_bf16_supported() else f"{device} has no bfloat16"
    if precision == "float16" or device.type != "cpu":
        return (
            f"{precision} is for CUDA devices{'' if precision == 'float16' else ' and CPUs'}; the model is on {device}"
        )
    if name == "openvino":
        capable = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    else:
        capable = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return None if capable else "this CPU has no bfloat16: it would compute it by other means, slower than float32"


def verify(made: Backend, model: Any, task: str | None = None, least: float = WORST_COSINE) -> None:
    """Compare a backend with the model at float32 on a few texts; raise if its vectors differ by more than rounding."""
    if finding := find_disagreement(made, model, task, least):
        raise UnsupportedModel(
            f"backend {made.name!r} at {made.precision} does not compute what the model does: its vectors "
            f"{finding}. Use the backend 'torch' at float32."
        )


def find_disagreement(made: Backend, model: Any, task: str | None = None, least: float = WORST_COSINE) -> str | None:
    """Say how a backend's vectors of a few texts differ from the model's at float32; None if they agree."""
    plain = _Torch(model, "float32", task)
    try:
        differences = [distance(made(one), plain(one)) for one in probes(model, task)]
    except BadRows as error:  # raised for a graph only
        return f"cannot be used: {error}".removesuffix(".")
    compared = (disagreement(made.precision, *one, least) for one in differences)
    return next((finding for finding in compared if finding), None)


def disagreement(precision: str, difference: float, cosine: float, least: float = WORST_COSINE) -> str | None:
    """Say how vectors differ from the model's by more than rounding; None if they agree. NaN does not agree.

    >>> disagreement("float32", 1e-6, 1.0), disagreement("int8", 0.3, 0.9)
    (None, "have a cosine of 0.900000 with the model's")

    Args:
        precision: in which they were computed, or in which the weights are stored.
        difference: as `distance` returns it.
        cosine: as `distance` returns it.
        least: cosine that half precision must have. In 8 bits users say what they allow, see `choose_backend`.
    """
    if precision == "float32":
        return None if difference <= WORST_DIFFERENCE else f"differ by {difference:.2g} of their length"
    bound = choices.LEAST_AGREEMENT if precision == choices.INT8 else least
    return None if cosine >= bound else f"have a cosine of {cosine:.6f} with the model's"


def distance(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Return the largest difference of two sets of vectors, relative to their lengths, and their smallest cosine.

    >>> distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]]))
    (0.0, 1.0)
    """
    ours, theirs = ours.double(), theirs.double()
    lengths = theirs.norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    difference = ((ours - theirs).abs().amax(1) / lengths).max().item()
    return difference, torch.cosine_similarity(ours, theirs).min().item()
