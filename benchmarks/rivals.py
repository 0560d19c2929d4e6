"""Ways to encode the same texts, which `benchmarks/embedding.py` and its tests take: other libraries' and ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.texts import open_texts
from cenote.embedding.corpus import cut_slices
from cenote.embedding.engines import read_ahead
from cenote.embedding.options import Options
from cenote.embedding.rows import SliceEncoder
from cenote.encoding.backend_choice import usable_backends
from cenote.encoding.backends import backend, obstacle
from cenote.encoding.vectors import Encoder
from cenote.models.properties import reader_of
from cenote.models.repooling import repool

QUIET: dict[str, Any] = {"show_progress_bar": False}


class Rival(NamedTuple):
    """A way to encode the texts."""

    run: Callable[[], Any]
    same: bool = True  # whether its vectors should be the default's


def by_hand(
    model: SentenceTransformer, run: Callable[[dict[str, np.ndarray]], np.ndarray], texts: Sequence[str]
) -> Any:
    """Encode texts sorted by length in characters, in batches of 32, with mean pooling and norms in numpy."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    vectors = None
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        features = model.tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=model.max_seq_length,
            return_tensors="np",
        )  # fmt: skip
        hidden = run({name: value.astype(np.int64) for name, value in features.items()})
        mask = features["attention_mask"][:, :, None]
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        if vectors is None:
            vectors = np.zeros((len(texts), pooled.shape[1]), np.float32)
        vectors[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return vectors


class _Hidden(torch.nn.Module):
    """Returns the last hidden states, for the exporters."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.inner = model[0].model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> Any:
        return self.inner(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state


def openvino_by_hand(model: SentenceTransformer, precision: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    import openvino

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = {name: torch.ones(2, 8, dtype=torch.int64) for name in names}
    graph = openvino.convert_model(_Hidden(model).eval(), example_input=example)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    return lambda inputs: compiled(inputs)[0]


def onnx_by_hand(model: SentenceTransformer) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    import onnxruntime

    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in (*names, "hidden")}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names)
        torch.onnx.export(
            _Hidden(model).eval(), example, path, input_names=names, output_names=["hidden"], dynamic_axes=axes,
            dynamo=False,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["hidden"], inputs)[0]


def emulated(model: SentenceTransformer) -> str | None:
    """Say why bfloat16 is left out: a CPU without it computes it by other means, many times slower; else None."""
    return obstacle(model, "torch", "bfloat16", None) if model.device.type == "cpu" else None


def rivals(model: SentenceTransformer, texts: list[str]) -> dict[str, Rival]:
    """Return every way to encode the texts that runs on the model's device, the default first."""
    found = {"sentence-transformers, default": Rival(lambda: model.encode(texts, **QUIET))}
    for size in (8, 128) if model.device.type == "cpu" else (128, 512):
        found[f"sentence-transformers, batches of {size}"] = Rival(
            lambda size=size: model.encode(texts, batch_size=size, **QUIET)
        )
    found |= _on_cpu(model, texts) if model.device.type == "cpu" else _on_gpu(model, texts)
    for name, precision in usable_backends(model, agreement=0.999):  # below 0.9999 int8 is among them
        made = backend(model, name, precision)
        found[f"cenote, {name} {precision}"] = Rival(lambda made=made: embed(model, texts, made))
    return found


def _on_cpu(model: SentenceTransformer, texts: list[str]) -> dict[str, Rival]:
    """Return half precision where the processor has it, and the runtimes by hand."""
    found: dict[str, Rival] = {}
    halves = not emulated(model)
    if halves:
        other = _loaded(model, dtype=torch.bfloat16)
        found["sentence-transformers, bfloat16 weights"] = Rival(lambda: _encode(other, texts, 32))
    for precision in ("f32", "bf16") if halves else ("f32",):
        run = openvino_by_hand(model, precision)
        found[f"OpenVINO by hand, {precision}"] = Rival(lambda run=run: by_hand(model, run, texts))
    session = onnx_by_hand(model)
    found["ONNX Runtime by hand"] = Rival(lambda: by_hand(model, session, texts))
    return found


@dataclass(frozen=True)
class Plan:
    """A way to encode on a GPU, with half-precision weights."""

    ours: bool = False  # `cenote.embed`, else sentence-transformers
    flash: bool = False  # flash attention, else what transformers chooses: sdpa where the model has it
    flattened: bool = False  # batches without padding, in one row
    batch: int = 32  # texts of a batch of sentence-transformers
    landmarks: bool = False
    by_length: bool = False  # tempered by the length of a text

    def name(self, attention: str) -> str:
        """Return the name in the table, with the attention that the model has once it is loaded."""
        words = ["float16 weights", attention]
        words += ["flattened"] if self.flattened else []
        words += ["landmarks"] if self.landmarks else []
        words += ["tempered by length"] if self.by_length else []
        words += [] if self.ours else [f"batches of {self.batch}"]
        return ", ".join(["cenote" if self.ours else "sentence-transformers", *words])


def gpu_plans(flash: bool) -> list[Plan]:
    """Return the ways to try on a GPU; landmarks and temperatures, which add work, with the best attention alone."""
    ways = [Plan(), *((Plan(flash=True), Plan(flash=True, flattened=True)) if flash else ())]
    ours = [replace(way, ours=True) for way in ways]
    best = ours[-1]
    return [
        *(replace(way, batch=size) for way in ways for size in (32, 128, 512)),
        *ours,
        replace(best, landmarks=True),
        replace(best, by_length=True),
        replace(best, landmarks=True, by_length=True),
    ]


def why_no_flash() -> str | None:
    """Say why flash attention is left out; None if it is here."""
    from transformers.utils import is_flash_attn_2_available

    return None if is_flash_attn_2_available() else "the package flash-attn is missing, or does not run on this device"


def _on_gpu(model: SentenceTransformer, texts: list[str]) -> dict[str, Rival]:
    """Return the planned ways; say which a model refuses."""
    if reason := why_no_flash():
        print(f"flash attention and flattened batches are left out: {reason}")
    found: dict[str, Rival] = {}
    for plan in gpu_plans(flash=why_no_flash() is None):
        try:
            name, rival = planned(plan, model, texts)
        except Exception as error:  # a model may lack an attention, or landmarks; the others are still compared
            print(f"left out: {plan}: {error}")
        else:
            found[name] = rival
    return found


def planned(
    plan: Plan, model: SentenceTransformer, texts: list[str], dtype: torch.dtype = torch.float16
) -> tuple[str, Rival]:
    """Return the name of a planned way, and the way, with weights of its own."""
    attention = {"attn_implementation": "flash_attention_2"} if plan.flash else {}
    other = _loaded(model, dtype=dtype, **attention)
    reader = reader_of(other)
    reader.unpad_inputs = plan.flattened
    if plan.flattened and not reader.can_flatten_inputs:
        raise ValueError("its batches cannot be flattened")
    if plan.landmarks:
        repool(other, "landmark")
    if plan.by_length:
        cenote.temper(other, cenote.LengthTemperature("log", s=0.25))
    made = backend(other, "torch", str(dtype).removeprefix("torch."))
    run = partial(embed, other, texts, made) if plan.ours else partial(_encode, other, texts, plan.batch)
    return plan.name(reader.config._attn_implementation), Rival(run, not (plan.landmarks or plan.by_length))


def _loaded(model: SentenceTransformer, **options: Any) -> SentenceTransformer:
    """Return the model once more, loaded by sentence-transformers with these options of transformers."""
    folder = model[0].model.config.name_or_path
    other = SentenceTransformer(folder, device=str(model.device), model_kwargs=options)
    other.max_seq_length = model.max_seq_length
    return other


def _encode(model: SentenceTransformer, texts: list[str], size: int) -> np.ndarray:
    """Return vectors in float32 from half-precision weights; numpy has no bfloat16."""
    return model.encode(texts, batch_size=size, convert_to_tensor=True, **QUIET).float().cpu().numpy()


def embed(model: SentenceTransformer, texts: list[str], made: Any) -> np.ndarray:
    """Do what `cenote.embed` does, with a backend made beforehand: for a corpus it is made once."""
    encoder = SliceEncoder(model, Options(), Encoder(model, made))
    parts = read_ahead(cut_slices(open_texts(texts).read()), encoder, encoder.read)
    return np.concatenate([embedded.rows.vector for embedded in parts])
