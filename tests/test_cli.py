"""The command line: output, streams, exit codes, with the demo model."""

import errno
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
from cenote.errors import CenoteError

from .systems import posix


def run(*arguments, stdin=""):
    """Run the whole program in a process."""
    return subprocess.run(
        [sys.executable, "-m", "cenote", *arguments], input=stdin, capture_output=True, text=True, check=False
    )


def test_version_and_help_of_every_command(capsys):
    for arguments in (["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    out = capsys.readouterr().out
    assert f"cenote {cenote.__version__}" in out
    assert all(name in out for name in COMMANDS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_one_line_on_standard_error():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cenote", "poolings"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == Exit.FAILURE
    assert done.stderr.startswith("cenote: error: cannot write: ")
    assert "Traceback" not in done.stderr


def test_only_what_cannot_be_written_is_said_to_be(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "config.json")

    monkeypatch.setattr("cenote.commands.poolings.run", refuse)
    assert main(["poolings"]) == Exit.FAILURE
    assert capsys.readouterr().err == "cenote: error: [Errno 13] Permission denied: 'config.json'\n"


def test_a_page_that_cannot_be_written_does_not_take_the_figures_along(demo_path, tmp_path, monkeypatch, capsys):
    def fill(path, _):
        raise CenoteError(f"no space left to write {path}")

    texts = tmp_path / "texts.txt"
    texts.write_text("a pool\na cave\nlight\nwater\n")
    monkeypatch.setattr("cenote.commands.outputs.write_result", fill)
    out = str(tmp_path / "out.json")
    assert main(["audit", "minilm", str(texts), "--only", "settings", "--json", out]) == Exit.FAILURE
    shown, told = capsys.readouterr()
    assert "settings: " in shown
    assert f"no space left to write {out}" in told
    assert f"figures: {out}" not in shown


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


@posix
def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m cenote poolings | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@posix
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
