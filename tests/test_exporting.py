"""An export works without torch and Cenote, appears whole or not at all, and has the same bytes each time."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import cenote
from cenote import exporting
from cenote.encoding.forward import forward, pooled_vectors
from cenote.errors import BadInput, UnknownName, UnsupportedModel
from cenote.exporting import FORMATS, export
from cenote.models.repooling import repool

TEXTS = ["the pool", "", "one two three: light! " * 40, "a deep cave? a stone."]

# All that a reader has: the folder, a runtime, and `tokenizers`.
READER = """
import json, sys
from pathlib import Path
import numpy as np
from tokenizers import Tokenizer

sys.modules["openvino_telemetry"] = None
folder, texts = Path(sys.argv[1]), json.loads(sys.argv[2])
about = json.loads((folder / "cenote_export.json").read_text("utf-8"))
encoded = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(texts)
columns = {"input_ids": [text.ids for text in encoded], "attention_mask": [text.attention_mask for text in encoded]}
columns["token_type_ids"] = [text.type_ids for text in encoded]
inputs = {name: np.array(columns[name], dtype=np.int64) for name in about["inputs"]}
if about["format"] == "onnx":
    import onnxruntime
    vectors = onnxruntime.InferenceSession(str(folder / "model.onnx")).run([about["output"]], inputs)[0]
else:
    import openvino
    core = openvino.Core()
    compiled = core.compile_model(str(folder / "openvino_model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    vectors = compiled(inputs)[about["output"]]
assert not {"torch", "transformers", "cenote"} & set(sys.modules)
assert vectors.shape == (len(texts), about["dimensions"])
print(json.dumps(vectors.tolist()))
"""


def read_elsewhere(folder, texts):
    run = subprocess.run(
        [sys.executable, "-c", READER, str(folder), json.dumps(texts)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return np.array(json.loads(run.stdout))


@pytest.mark.parametrize(("format", "kind"), [("onnx", "bert"), ("openvino", "qwen")])  # the latter pads on the left
def test_a_folder_is_read_without_torch_and_is_the_same_each_time(format, kind, tiny_st, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Normalize

    model = cenote.load(tiny_st(kind, Normalize()), device="cpu", max_seq_length=64)
    cenote.temper(model, 0.5)
    made = export(model, format, tmp_path / "first")
    model.encode(["what the tokenizer was asked last must not matter"])
    again = export(model, format, tmp_path / "second")
    assert (made.difference, made.description) == (again.difference, again.description)
    assert made.difference < 1e-5
    assert made.cosine > 0.999999
    assert made.texts == exporting._N_TEXTS
    names = sorted(path.name for path in tmp_path.joinpath("first").iterdir())
    assert names == sorted(path.name for path in tmp_path.joinpath("second").iterdir())
    assert {"tokenizer.json", "cenote_export.json"} < set(names)
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert np.abs(read_elsewhere(tmp_path / "first", TEXTS) - model.encode(TEXTS)).max() < 1e-5


def test_the_description_has_all_settings(tiny_st, tmp_path):
    model = cenote.load(tiny_st("roberta", prompts={"query": "Q: "}), device="cpu")
    repool(model, ("landmark", "mean"), interval=7)
    cenote.temper(model, cenote.LengthTemperature("log", s=0.3), layers=[0])
    about = exporting._describe(model, "onnx", "float32", None)
    assert about["inputs"] == ["input_ids", "attention_mask", "landmark_mask"]
    assert (about["dimensions"], about["pooling"]) == (64, ["landmark", "mean"])
    assert about["landmarks"] == {"interval": 7, "splitter": "fixed", "marker": "landmark"}
    schedule = {"schedule": "log", "s": 0.3}
    assert about["temperature"] == {"temperature": schedule, "layers": [0], "scale_bias": True}
    assert about["prompts"]["query"] == "Q: "
    assert about["max_seq_length"] == 256
    model[0].query_length = 20
    of_tasks = [exporting._describe(model, "onnx", "float32", task)["max_seq_length"] for task in ("query", "document")]
    assert of_tasks == [20, 256]
    exporting._write_tokenizer(model, tmp_path, "query")
    assert json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))["truncation"]["max_length"] == 20
    # More than any text has, and a limit all the same; and the number of a tokenizer without a limit.
    for model.max_seq_length, expected in ((2**21, 2**21), (10**30, None)):
        assert exporting._describe(model, "onnx", "float32", None)["max_seq_length"] == expected
    assert about["temperature_in_weights"] is None
    assert {"cenote", "torch", "onnx"} < set(about["versions"])
    baked = cenote.bake(model, 0.5)
    assert exporting._describe(baked, "onnx", "float32", None)["temperature_in_weights"] == 0.5


def test_a_failed_export_leaves_no_folder(tiny_st, tmp_path, monkeypatch):
    model, out = cenote.load(tiny_st("bert"), device="cpu"), tmp_path / "deep" / "out"
    run = lambda inputs: np.ones((len(inputs["input_ids"]), 32), dtype=np.float32)  # noqa: E731
    row = exporting.Format(lambda *_: None, lambda _: run, ("float32",), ())
    monkeypatch.setitem(FORMATS, "onnx", row)
    with pytest.raises(UnsupportedModel, match="gives other vectors than the model"):
        export(model, "onnx", out)
    assert list(out.parent.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="cannot make the folder"):
        export(model, "onnx", tmp_path / "file" / "out")


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("batch", [0, 1])
def test_a_graph_that_gives_no_numbers_is_refused(batch, precision, tiny_st, tmp_path, monkeypatch):
    model, calls = cenote.load(tiny_st("bert"), device="cpu"), itertools.count()

    def run(inputs):
        features = {name: torch.from_numpy(value) for name, value in inputs.items()}
        vectors = pooled_vectors(model, forward(model, features)).numpy()
        return np.full_like(vectors, np.nan) if next(calls) == batch else vectors

    row = exporting.Format(lambda *_: None, lambda _: run, ("float32", "int8"), ())
    monkeypatch.setitem(FORMATS, "onnx", row)
    with pytest.raises(UnsupportedModel, match=r"gives other vectors than the model: they .* nan"):
        export(model, "onnx", tmp_path / "out", precision=precision)
    assert not (tmp_path / "out").exists()


def test_bad_arguments_are_refused_before_any_work(tiny_st, tmp_path, monkeypatch):
    model = cenote.load(tiny_st("bert"), device="cpu")
    monkeypatch.setattr(exporting, "new_folder", lambda path: pytest.fail("work was begun"))
    with pytest.raises(UnknownName, match="did you mean 'onnx'"):
        export(model, "onx", tmp_path / "out")
    with pytest.raises(UnknownName, match=r"unknown precision of onnx 'float16'.* There are: float32"):
        export(model, "onnx", tmp_path / "out", precision="float16")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(BadInput, match="already exists: name a new folder"):
            export(model, "onnx", taken)
    assert (tmp_path / "file").read_text() == "mine"
    cenote.temper(model, {"query": 0.5, "document": 1.0})
    with pytest.raises(BadInput, match="pass task='query' or 'document'"):
        export(model, "onnx", tmp_path / "out")
