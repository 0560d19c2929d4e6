"""`cenote temper`."""

import errno
import json
from pathlib import Path

import pytest
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

import cenote
from cenote.cli import Exit, main

TEXTS = ["a pool", "the deep cave of light"]


def test_a_baked_temperature_is_shown_by_info(copy_of, tmp_path, capsys):
    folder, out = str(copy_of("bert")), str(tmp_path / "out")
    assert main(["temper", folder, "--temperature", "0.8", "-o", out, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{out}: temperature 0.8, in the weights\n"
    assert main(["info", out]) == 0
    shown = capsys.readouterr().out
    assert "temperature in the weights  0.8  (config.json: cenote_baked_temperature)\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["temper", folder, "--temperature", "0.8", "-o", out]) == Exit.FAILURE
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (["--schedule", "power:scale=1,exponent=-0.05"], {"schedule": "power", "scale": 1.0, "exponent": -0.05}),
        (["--query", "0.9", "--document", "log:s=0.3"], {"query": 0.9, "document": {"schedule": "log", "s": 0.3}}),
    ],
)
def test_schedules_and_roles_are_stored_as_configuration(options, stored, copy_of, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["temper", str(copy_of("bert")), *options, "-o", out, "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"] == stored
    assert main(["info", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"]["value"] == stored


def test_an_earlier_temperature_is_reported(copy_of, tmp_path, capsys):
    first, second, third = (str(tmp_path / name) for name in ("first", "second", "third"))
    assert main(["temper", str(copy_of("bert")), "--temperature", "0.8", "-o", first, "--device", "cpu"]) == 0
    assert main(["temper", first, "--query", "0.5", "--document", "0.9", "-o", second, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["temper", second, "--temperature", "0.9", "-o", third, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "replaces 0.5 for a query and 0.9 for a document, from the configuration" in out
    assert "multiplies 0.8, which is in the weights already" in out
    assert main(["info", third, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["temperature in the weights"]["value"] == 0.72
    assert facts["temperature"]["value"] is None
    expected = cenote.bake(cenote.load(first, device="cpu"), 0.9).encode(TEXTS)
    assert cenote.load(third, device="cpu").encode(TEXTS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("power:scale=1,exponent=-9", "too small to divide by"),
        ("linear:start=1,end=-1,shortest=3e7,longest=4e7", "is -1 at length 40000000"),
    ],
)
def test_a_schedule_that_fails_at_some_length_is_refused_before_the_model_is_loaded(
    schedule, message, tmp_path, demo_path, monkeypatch, capsys
):
    monkeypatch.setattr("cenote.models.loading.load", lambda *_, **__: pytest.fail("the model was loaded"))
    assert main(["temper", "minilm", "--schedule", schedule, "-o", str(tmp_path / "out")]) == Exit.USAGE
    assert message in capsys.readouterr().err


def test_a_failed_run_leaves_no_empty_folder(tmp_path, copy_of, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    folder, out = str(copy_of("bert")), tmp_path / "out"
    assert main(["temper", folder, "--temperature", "1e-39", "-o", str(out), "--device", "cpu"]) == 1
    assert "temperature 1e-39: the output of BertModel is not finite" in capsys.readouterr().err
    assert not out.exists()
    assert main(["temper", "no/such/model", "--temperature", "1", "-o", str(out)]) == 1
    assert not out.exists()
    capsys.readouterr()
    monkeypatch.setattr("cenote.storage.tempfile.mkdtemp", refuse)
    assert main(["temper", folder, "--temperature", "1", "-o", str(out)]) == 1
    assert capsys.readouterr().err == f"cenote: error: cannot make the folder {str(out)!r}: Permission denied.\n"
    assert not out.exists()


def test_a_full_disk_leaves_no_half_of_a_model(copy_of, tmp_path, monkeypatch, capsys):
    def fill(self, path, **_):
        Path(path, "config.json").write_text("{}")
        raise SafetensorError("I/O error: No space left on device")

    folder, out = str(copy_of("bert")), tmp_path / "new" / "out"
    monkeypatch.setattr(SentenceTransformer, "save", fill)
    assert main(["temper", folder, "--temperature", "0.8", "-o", str(out)]) == Exit.FAILURE
    assert capsys.readouterr().err.startswith(f"cenote: error: cannot write the folder '{out}': I/O error: No space")
    assert list(out.parent.iterdir()) == []
