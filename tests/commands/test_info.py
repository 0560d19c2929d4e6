"""`cenote info`."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from urllib.parse import unquote

import pytest

import cenote
from cenote.cli import Exit, main

# The small files of the tiny models.
CONFIGURATION = {
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_facts_of_the_demo_model_are_printed(demo_path, capsys):
    assert main(["info", str(demo_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["architecture", "BertModel"]
    assert any(line.startswith("max length") and " 256 " in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_layers_and_schedules_are_printed(copy_of, tmp_path, capsys):
    model = cenote.load(copy_of("bert"), device="cpu")
    by_length = cenote.LengthTemperature("linear", start=1.0, end=0.8, shortest=32, longest=256)
    cenote.temper(model, {"query": 1.0, "document": by_length}, layers=[0, 1])
    model.save(str(tmp_path))
    assert main(["info", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "query: 1, document: linear(start=1, end=0.8, shortest=32, longest=256)" in shown
    assert "layers: 0, 1" in shown
    assert main(["info", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"]["value"]["layers"] == [0, 1]


def test_nothing_heavy_is_imported(demo_path):
    script = (
        "import sys, cenote.cli\n"
        f"assert cenote.cli.main(['info', {str(demo_path)!r}]) == 0\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


class Hub(http.server.ThreadingHTTPServer):
    """A hub with folders by id, which speaks what `hf_hub_download` asks for; it notes what is read.

    Where it is `down`, a gateway answers in its place.
    """

    def __init__(self, models):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.models, self.read = models, []
        self.asked, self.down = 0, False

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        model, _, rest = unquote(self.path).strip("/").partition("/resolve/")
        self.server.asked += 1
        if self.server.down:
            self.refuse(503, "")
        elif model == "some-org/gated":
            self.refuse(403, "GatedRepo")
        elif model and model not in self.server.models:
            self.refuse(401, "RepoNotFound")
        elif model and not (file := self.server.models[model] / rest.partition("/")[2]).is_file():
            self.refuse(404, "EntryNotFound")
        else:
            content = file.read_bytes() if model else b""
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.server.read.append(rest.partition("/")[2])
                self.wfile.write(content)

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tiny_st, tiny, tmp_path):
    """A hub with a model of sentence-transformers, a plain one, and a folder that is no model."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("a model of another library")
    models = {
        "some-org/tiny": tiny_st("bert"),
        "some-org/plain": tiny("bert"),
        "sentence-transformers/short": tiny_st("bert"),
        "some-org/other": tmp_path / "other",
    }
    with Hub(models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def ask(tmp_path):
    """Run `cenote` in a fresh process, with a cache of its own and a hub at an address."""

    def run(*arguments, endpoint):
        environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
        environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "cenote", *arguments]
        return subprocess.run(command, env=environment, input="", capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("name", ["some-org/tiny", "some-org/plain", "short"])
def test_a_model_on_the_hub_shows_what_its_folder_shows_and_no_weights_are_read(name, hub, ask, capsys):
    model = name if "/" in name else f"sentence-transformers/{name}"
    done = ask("info", name, "--json", endpoint=hub.endpoint)
    assert done.returncode == 0, done.stderr
    assert main(["info", str(hub.models[model]), "--json"]) == 0
    assert json.loads(done.stdout) == json.loads(capsys.readouterr().out)
    assert done.stderr == f"cenote: read the configuration of {name} at revision 01234567, and no weights.\n"
    assert "config.json" in hub.read
    assert set(hub.read) <= CONFIGURATION


def test_what_was_read_is_read_from_the_cache_where_the_hub_is_down(hub, ask):
    there = ask("info", "some-org/tiny", endpoint=hub.endpoint)
    hub.down, hub.asked = True, 0
    gone = ask("info", "some-org/tiny", endpoint=hub.endpoint)
    assert gone.stdout == there.stdout
    assert gone.returncode == 0
    # A configuration alone is no model that could be loaded.
    pool = ask("pool", "some-org/tiny", "-", endpoint=hub.endpoint)
    assert "cannot load 'some-org/tiny': it is not in the cache, and http://127.0.0.1" in pool.stderr
    never_seen = ask("info", "some-org/plain", endpoint=hub.endpoint)
    assert never_seen.returncode == Exit.FAILURE
    assert "it is not in the cache, and http://127.0.0.1" in never_seen.stderr
    assert "cannot be reached" in never_seen.stderr
    assert hub.asked == 3  # once by each command


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("some-org/none", "cannot load 'some-org/none': the hub has no such model, or it is private. Check the id"),
        ("none", "cannot load 'none': the hub has no such model, or it is private. Check the id"),
        ("some-org/gated", "'some-org/gated' is gated: accept its terms on the hub, and log in with `hf auth login`."),
        ("some-org/other", "'some-org/other' is no model: the hub has no modules.json or config.json of it."),
    ],
)
def test_what_the_hub_does_not_have_is_said(name, said, hub, ask):
    done = ask("info", name, endpoint=hub.endpoint)
    assert (done.returncode, done.stdout) == (Exit.FAILURE, "")
    assert done.stderr.startswith(f"cenote: error: {said}")
    assert done.stderr.count("\n") == 1


def test_a_broken_configuration_on_the_hub_is_named(hub, ask, tiny_st, tmp_path):
    hub.models["some-org/broken"] = broken = tmp_path / "broken"
    shutil.copytree(tiny_st("bert"), broken)
    (broken / "modules.json").write_text("{")
    done = ask("info", "some-org/broken", endpoint=hub.endpoint)
    assert done.returncode == Exit.FAILURE
    assert "modules.json' is not JSON" in done.stderr
