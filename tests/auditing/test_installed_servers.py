"""Servers of others that are installed here read folders that Cenote writes, and give the vectors of the local model.

They need versions of libraries that Cenote does not, hence an environment of their own: `docs/serving.md` says how to
start each. A server is looked for on the path.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

import cenote

from ..documented import ROOT, blocks
from ..loopback import allow_loopback

INFINITY = shutil.which("infinity_emb")
SECONDS = 300  # until a server has started
TEXTS = ["a pool", "the deep cave holds light and water " * 80, "stone", *(f"text number {row}" for row in range(20))]


@contextmanager
def serving(folder):
    """Serve a folder by infinity; yield the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--host 127.0.0.1 --port {port} --engine torch --device cpu --no-compile --no-bettertransformer".split()
    quiet = {**os.environ, "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([INFINITY, "v2", "--model-id", str(folder), *options], env=quiet)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(port, process):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    pytest.fail(f"infinity did not answer within {SECONDS} s, or ended with {process.returncode}")


@pytest.mark.skipif(INFINITY is None, reason="infinity is not installed: docs/serving.md says how it is started")
def test_infinity_serves_a_baked_folder(tmp_path, monkeypatch):
    """The lines of docs/serving.md write the folder, with a temperature of 0.8 in the weights."""
    allow_loopback(monkeypatch)
    monkeypatch.chdir(tmp_path)
    model = cenote.load("minilm", device="cpu")
    (lines,) = (block for block in blocks(ROOT / "docs" / "serving.md", "python") if "the old form" in block)
    exec(compile(lines, "docs/serving.md", "exec"), {"cenote": cenote, "model": model})
    with serving(tmp_path / "baked") as address:
        assert cenote.parity("baked", address, TEXTS).agrees
        other = cenote.parity(model, address, TEXTS)
    assert not other.agrees  # at its own temperature it has other vectors
