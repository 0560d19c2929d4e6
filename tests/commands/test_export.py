"""`cenote export`."""

import importlib.util
import json

from cenote.cli import Exit, main


def test_a_graph_is_written_and_compared_with_the_model(copy_of, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["export", str(copy_of("bert")), "--format", "openvino", "--precision", "float16", "-o", str(out)]
    assert main([*arguments, "--pooling", "cls,mean", "--json"]) == Exit.SUCCESS
    said = json.loads(capsys.readouterr().out)
    about = json.loads((out / "cenote_export.json").read_text("utf-8"))
    assert said["output"] == str(out)
    assert 0 < said["max_difference"] < 1e-2  # of rounded weights
    assert said["min_cosine"] > 0.9999
    assert (about["precision"], about["dimensions"], about["pooling"]) == ("float16", 64, ["cls", "mean"])
    assert said["description"] == about
    assert main(arguments) == Exit.FAILURE
    assert "already exists: name a new folder" in capsys.readouterr().err


def test_the_result_is_printed_in_two_lines(copy_of, tmp_path, capsys, monkeypatch):
    from cenote import exporting

    made = exporting.Export("out", {"dimensions": 32}, 1.5e-7, 0.99999998, 48)
    monkeypatch.setattr(exporting, "export", lambda *_, **__: made)
    assert main(["export", str(copy_of("bert")), "--format", "onnx", "-o", str(tmp_path / "out")]) == Exit.SUCCESS
    assert capsys.readouterr().out == (
        "out: onnx in float32, 32 dimensions\n"
        "  compared with the model on 48 texts: largest difference 1.5e-07 of a vector's length, smallest cosine "
        "1.0000000\n"
    )


def test_a_missing_extra_is_named_before_a_model_is_loaded(capsys, monkeypatch, demo_path, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    assert main(["export", "minilm", "--format", "onnx", "-o", str(tmp_path / "x")]) == Exit.FAILURE
    assert "it needs onnxscript, which is missing: pip install 'cenote[onnx]'" in capsys.readouterr().err
