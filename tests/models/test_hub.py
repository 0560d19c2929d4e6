"""A model on the hub is refused within seconds where the hub does not answer and the cache does not hold it."""

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache

import pytest

import cenote
from cenote.errors import BadInput
from cenote.models import hub
from cenote.models.hub import configuration_of, must_use_cache, refuse_missing

ASK = """
import sys
from cenote.models import hub
hub.TIMEOUT_S = 1.0
try:
    hub.refuse_missing("some-org/some-model")
except ValueError as error:
    print(error)
assert "torch" not in sys.modules
"""


def ask(endpoint):
    """Return what a fresh process says of a model that is not cached, with the hub at `endpoint`."""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment["HF_ENDPOINT"] = endpoint
    run = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def connections(server):
    """Return how many connections wait to be accepted."""
    server.settimeout(0)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def answering(status, asked):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def test_a_hub_that_accepts_connections_and_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = ask(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert connections(server) == 1
    assert "cannot load 'some-org/some-model': it is not in the cache, and http://127.0.0.1" in said
    assert "(no answer within 1 seconds)" in said or "timed out" in said
    assert all(remedy in said for remedy in ("Check the id", "name a folder or 'minilm'", "HF_HUB_OFFLINE=1"))


def test_a_hub_that_refuses_connections():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "cannot be reached ([Errno " in ask(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(("status", "said"), [(200, ""), (404, ""), (503, "(status 503)")])
def test_any_answer_but_that_of_a_gateway_counts(status, said):
    asked = []
    with answering(status, asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = ask(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert len(asked) == 1
    assert said in found
    assert bool(found) == bool(said)


def test_a_folder_and_the_demo_model_need_no_hub(tiny_st, demo_path, monkeypatch):
    monkeypatch.setattr(hub, "_ask_hub", lambda: pytest.fail("the hub was asked"))
    refuse_missing(tiny_st("bert"))
    refuse_missing("minilm")


@pytest.fixture
def cached(tiny_st, tmp_path, monkeypatch):
    """The id of a model that the cache holds."""
    base = tmp_path / "models--some-org--tiny-thing"
    shutil.copytree(tiny_st("bert"), base / "snapshots" / ("0" * 40))
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return "some-org/tiny-thing"


def test_without_a_hub_the_cache_is_used_or_the_model_refused(cached, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_ask_hub", cache(lambda: "no route"))
    assert must_use_cache(cached)
    for name in ("some-org/tiny-thin", "tiny-thing"):
        with pytest.raises(BadInput, match=rf"cannot load .*{name}'.*cannot be reached \(no route\)"):
            cenote.load(name)
    monkeypatch.setattr(hub, "_ask_hub", lambda: None)
    assert not must_use_cache(cached)
    assert not must_use_cache("some-org/tiny-thin")


def test_the_hub_is_asked_once_for_all_cached_models(cached, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = []
    monkeypatch.setattr("huggingface_hub.get_session", lambda: asked.append(1))
    hub._ask_hub.cache_clear()
    try:
        assert all(must_use_cache(cached) for _ in range(3))
        assert len(asked) == 1
        with pytest.raises(BadInput, match="cannot be reached"):
            must_use_cache("some-org/tiny-thin")
        assert len(asked) == 1
        assert must_use_cache(cached)  # asked again after a refusal, since the network may be mended
        assert len(asked) == 2
    finally:
        hub._ask_hub.cache_clear()


def test_offline_the_hub_is_not_asked(cached, monkeypatch):
    monkeypatch.setattr(hub, "_ask_hub", cache(lambda: pytest.fail("the hub was asked")))
    assert not must_use_cache(cached)
    with pytest.raises(BadInput, match=r"cannot be reached \(HF_HUB_OFFLINE is set\)"):
        must_use_cache("some-org/tiny-thin")


def test_a_configuration_in_the_cache_can_be_shown_and_is_no_model(cached, tmp_path):
    folder = configuration_of(cached)
    assert folder.parent.parent == tmp_path / "models--some-org--tiny-thing"
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".json":
            file.unlink()
    assert configuration_of(cached) == folder
    with pytest.raises(BadInput, match="is not in the cache"):
        must_use_cache(cached)
    with pytest.raises(BadInput, match=r"some-org/tiny-thin'.*cannot be reached \(HF_HUB_OFFLINE is set\)"):
        configuration_of("some-org/tiny-thin")


def test_a_model_from_the_cache_alone(cached, monkeypatch):
    monkeypatch.setattr("cenote.models.loading.must_use_cache", lambda _: True)
    model = cenote.load(cached, device="cpu")
    assert model.model_card_data.local_files_only
    assert model[1].names == ("mean",)


def test_a_misspelt_model_on_a_hub_that_answers(monkeypatch):
    from unittest.mock import Mock

    from huggingface_hub.errors import RepositoryNotFoundError
    from sentence_transformers import SentenceTransformer

    missing = RepositoryNotFoundError("401 Client Error.\n\nRepository Not Found", response=Mock())
    monkeypatch.setattr("cenote.models.loading.must_use_cache", lambda _: False)
    monkeypatch.setattr("cenote.models.loading.Pooling.load_config", Mock(side_effect=missing))
    monkeypatch.setattr(SentenceTransformer, "__init__", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(BadInput, match="cannot load 'some-org/mispelt': the hub has no such model, or it is private"):
        cenote.load("some-org/mispelt")
