"""The command line: output, streams, exit codes; the model is real, the work is the library's."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cenote
from cenote.cli import COMMANDS, Exit, main
from cenote.functional.pooling import POOLINGS


def run(*arguments, stdin=""):
    """The whole program, as a shell starts it."""
    return subprocess.run(
        [sys.executable, "-m", "cenote", *arguments], input=stdin, capture_output=True, text=True, check=False
    )


def feed(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_version_and_help_of_everything(capsys):
    for arguments in (["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    out = capsys.readouterr().out
    assert f"cenote {cenote.__version__}" in out
    assert all(name in out for name in COMMANDS)


def test_poolings_come_from_the_table(capsys):
    assert main(["poolings"]) == Exit.SUCCESS
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(POOLINGS)
    assert all(row.meaning in line for row, line in zip(POOLINGS.values(), lines, strict=True))
    assert main(["poolings", "--json"]) == Exit.SUCCESS
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(POOLINGS)
    assert rows[0].keys() == {"name", "aliases", "options", "meaning"}


def test_pool_prints_the_models_vectors(capsys, monkeypatch, tmp_path, demo_path):
    texts = ["a pool", "", "that a collapse made 🕳️ " * 40]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": f"t{i}", "text": text}) + "\n" for i, text in enumerate(texts)), "utf-8")
    assert main(["pool", str(demo_path), str(file)]) == Exit.SUCCESS
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in rows] == ["t0", "t1", "t2"]
    expected = cenote.load(demo_path).encode(texts)
    assert np.array_equal(np.array([row["embedding"] for row in rows], dtype=np.float32), expected)
    assert err == ""


def test_warnings_are_one_line_on_standard_error(capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"one\ntwo\nthree\n")
    assert main(["pool", str(demo_path), "-", "--pooling", "cls,mean", "--limit", "2"]) == Exit.SUCCESS
    out, err = capsys.readouterr()
    assert err.startswith("cenote: warning: ")
    assert err.count("\n") == 1
    assert "declares pooling 'mean', not 'cls'" in err
    assert [len(json.loads(line)["embedding"]) for line in out.splitlines()] == [768, 768]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pol"], 2, "unknown command 'pol'; did you mean 'pool'?"),
        (["pool"], 2, "the following arguments are required: MODEL, TEXTS"),
        (["pool", "minilm", "-", "--limit", "0"], 2, "0 is not at least 1"),
        (["pool", "minilm", "-", "--limit", "x"], 2, "invalid whole number value: 'x'"),
        (["pool", "minilm", "-", "--polling", "x"], 2, "unrecognized arguments: --polling x"),
        (["pool", "minilm", "-", "--pooling", "maen"], 2, "unknown pooling 'maen'; did you mean 'mean'?"),
        (["pool", "minilm", "-", "--dtype", "float23"], 2, "unknown dtype 'float23'; did you mean 'float32'?"),
        (["pool", "minilm", "-", "--interval", "8"], 1, "interval=8 goes with pooling landmark, every_k, multi_cls"),
        (["pool", "minilm", "-", "--max-seq-length", "9999"], 1, "positions for 512 tokens only"),
        (["pool", "./no/such/model", "-"], 1, "no such folder: './no/such/model'"),
        (["pool", "minilm", "nothing.txt"], 1, "nothing.txt"),
    ],
)
def test_mistakes_are_one_line_and_a_code(arguments, code, message, capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"a text\n")
    try:
        result = main(arguments)
    except SystemExit as end:
        result = end.code
    out, err = capsys.readouterr()
    assert result == code
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_bad_text_is_named_by_line(capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"fine\nalso fine\nbroken \xff\xfe\n")
    assert main(["pool", "minilm", "-"]) == Exit.FAILURE
    assert "line 3" in capsys.readouterr().err


def test_rows_before_a_broken_one_are_printed(capsys, tmp_path, demo_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two"}\n{"txet": "three"}\n')
    assert main(["pool", str(demo_path), str(file)]) == Exit.FAILURE  # a fault of the row, not of the command
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["0", "1"]
    assert "line 3: unknown column" in err or "column of" in err


def test_texts_that_are_cut_are_told_of(capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"short\n" + b"long " * 300 + b"\n")
    assert main(["pool", str(demo_path), "-"]) == Exit.SUCCESS
    assert "1 of 2 texts were cut at the model's 256 tokens" in capsys.readouterr().err


def test_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cenote", "poolings"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == Exit.FAILURE
    assert done.stderr.startswith("cenote: error: cannot write: ")
    assert "Traceback" not in done.stderr


def test_no_arguments_shows_help_as_a_usage_error(capsys):
    assert main([]) == Exit.USAGE
    assert "usage: cenote" in capsys.readouterr().out


def test_as_a_process(demo_path):
    """Exit codes and streams as a shell sees them, and no noise of the libraries beneath."""
    good = run("pool", "minilm", "-", stdin="one text\n")
    assert (good.returncode, good.stderr) == (0, "")
    assert len(json.loads(good.stdout)["embedding"]) == 384
    bad = run("poool")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("cenote: error: unknown command")


def test_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m cenote poolings | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupt_is_130():
    child = subprocess.Popen(
        [sys.executable, "-m", "cenote", "pool", "minilm", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stdin.write("one\n")  # it now waits for the rest, or is still importing: either way a key press ends it
    child.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=5)
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == Exit.INTERRUPTED
    assert err.endswith("cenote: interrupted\n")
    assert "Traceback" not in err


def test_temper_bakes_and_info_says_so(copy_of, tmp_path, capsys):
    folder, out = str(copy_of("bert")), str(tmp_path / "out")
    assert main(["temper", folder, "--temperature", "0.8", "-o", out, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{out}: temperature 0.8, in the weights\n"
    assert main(["info", out]) == 0
    assert re.search(r"^temperature +0\.8  \(README\.md, folded into the weights\)$", capsys.readouterr().out, re.M)
    assert main(["temper", folder, "--temperature", "0.8", "-o", out]) == Exit.FAILURE
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (["--schedule", "power:scale=1,exponent=-0.05"], {"schedule": "power", "scale": 1.0, "exponent": -0.05}),
        (["--query", "0.9", "--document", "log:s=0.3"], {"query": 0.9, "document": {"schedule": "log", "s": 0.3}}),
    ],
)
def test_temper_stores_what_has_no_place_in_weights(options, stored, copy_of, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["temper", str(copy_of("bert")), *options, "-o", out, "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"] == stored
    assert main(["info", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"]["value"] == stored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name one of --temperature"),
        (["--temperature", "1", "--query", "1"], "name one of --temperature"),
        (["--temperature", "hot"], "'hot' is neither a number nor a schedule"),
        (["--temperature", "0"], "temperature is 0.0: it divides"),
        (["--query", "0.8"], "names 'query' and 'document', both"),
        (["--schedule", "linaer:start=1"], "did you mean 'linear'"),
        (["--schedule", "log:s"], "'log:s' is neither a number nor a schedule"),
    ],
)
def test_temper_refuses_before_it_loads(options, message, capsys):
    assert main(["temper", "no-such-model", *options, "-o", "nowhere"]) in (Exit.FAILURE, Exit.USAGE)
    assert message in capsys.readouterr().err
