"""The command line: output, streams, exit codes, with the demo model."""

import io
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import cenote
from cenote.cli import COMMANDS, Exit, main


def run(*arguments, stdin=""):
    """Run the whole program in a process."""
    return subprocess.run(
        [sys.executable, "-m", "cenote", *arguments], input=stdin, capture_output=True, text=True, check=False
    )


def feed(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_version_and_help_of_every_command(capsys):
    for arguments in (["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    out = capsys.readouterr().out
    assert f"cenote {cenote.__version__}" in out
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pol"], 2, "unknown command 'pol'; did you mean 'pool'?"),
        (["pool"], 2, "the following arguments are required: MODEL, TEXTS"),
        (["pool", "minilm", "-", "--limit", "0"], 2, "0 is not at least 1"),
        (["pool", "minilm", "-", "--limit", "x"], 2, "invalid whole number value: 'x'"),
        (["pool", "minilm", "-", "--polling", "x"], 2, "unrecognized arguments: --polling x; --polling: did you mean"),
        (["pool", "minilm", "-", "--polling=x"], 2, "--polling: did you mean --pooling?"),
        (["pool", "--polling=x"], 2, "required: MODEL, TEXTS; --polling: did you mean --pooling?"),
        (["pool", "minilm", "-", "--zebra"], 2, "unrecognized arguments: --zebra\n"),
        (["pool", "minilm", "--", "-", "--poolin"], 2, "unrecognized arguments: --poolin\n"),
        (["temper", "minilm", "--temperatur", "1"], 2, "--temperatur: did you mean --temperature?"),
        (["diagnose", "minilm", "--temperature", "1"], 2, "--temperature: did you mean --temperatures?"),
        (["info", "minilm", "--jsno"], 2, "--jsno: did you mean --json?"),
        (["poolings", "--hlep"], 2, "--hlep: did you mean --help?"),
        (["--verison"], 2, "--verison: did you mean --version?"),
        (["pool", "minilm", "-", "--pooling", "maen"], 2, "unknown pooling 'maen'; did you mean 'mean'?"),
        (["pool", "minilm", "-", "--dtype", "float23"], 2, "unknown dtype 'float23'; did you mean 'float32'?"),
        (["pool", "minilm", "-", "--interval", "8"], 1, "interval=8 goes with pooling landmark, every_k, multi_cls"),
        (["pool", "minilm", "-", "--max-seq-length", "9999"], 1, "positions for 512 tokens only"),
        (["pool", "./no/such/model", "-"], 1, "no such folder: './no/such/model'"),
        (["pool", "minilm", "nothing.txt"], 1, "nothing.txt"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(arguments, code, message, capsys, monkeypatch, demo_path):
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


def test_a_full_disk_is_one_line_on_standard_error():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cenote", "poolings"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == Exit.FAILURE
    assert done.stderr.startswith("cenote: error: cannot write: ")
    assert "Traceback" not in done.stderr


def test_no_arguments_print_help_as_a_usage_error(capsys):
    assert main([]) == Exit.USAGE
    assert "usage: cenote" in capsys.readouterr().out


def test_a_process_has_exit_codes_clean_streams_and_no_noise_of_libraries(demo_path):
    good = run("pool", "minilm", "-", stdin="one text\n")
    assert (good.returncode, good.stderr) == (0, "")
    assert len(json.loads(good.stdout)["embedding"]) == 384
    bad = run("poool")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("cenote: error: unknown command")


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m cenote poolings | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_exits_with_130():
    child = subprocess.Popen(
        [sys.executable, "-m", "cenote", "pool", "minilm", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite in the background may ignore interrupts, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    child.stdin.write("one\n")  # it now waits for more, or is still importing
    child.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=5)
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == Exit.INTERRUPTED
    assert err.endswith("cenote: interrupted\n")
    assert "Traceback" not in err


def test_an_interrupt_inside_exec_exits_with_130(tmp_path):
    """CPython would end by SIGINT although the interrupt was caught, for example while an import makes dataclasses."""
    (tmp_path / "sitecustomize.py").write_text(
        "import cenote.commands.poolings as poolings\npoolings.run = lambda args: exec('raise KeyboardInterrupt')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "cenote", "poolings"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (Exit.INTERRUPTED, "cenote: interrupted\n")
