"""Servers that are slow, endless, broken or nosy: what they cost is limited, and no secret is repeated."""

import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
from email.utils import formatdate

import numpy as np
import pytest

from cenote.auditing import endpoint_requests
from cenote.auditing.endpoint import connect
from cenote.auditing.endpoint_addresses import is_address, is_local, secrets_of, shown, split_address
from cenote.auditing.endpoint_requests import LONGEST_IN_ALL, Stopped, Transport, explain, hide
from cenote.auditing.parity_sides import ServedSource, ask
from cenote.errors import BadInput

from ..loopback import allow_loopback
from .servers import App, serving

KEY = "sk-very-secret/and-long"


class Lengths:
    """In place of a model: the vector of a text is made of its length."""

    def encode(self, texts, **_):
        return np.array([[len(text), 1.0, 2.0] for text in texts])


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    allow_loopback(monkeypatch)


@pytest.fixture
def waits(monkeypatch):
    """Record how long the client would wait, and let a clock of the test go on instead."""
    found, now = [], [0.0]

    def pause(seconds, _):
        found.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(endpoint_requests, "pause_for", pause)
    monkeypatch.setattr(endpoint_requests, "clock", lambda: now[0])
    return found


def answering(status, content, kind="application/json", *, when=lambda texts: True, **headers):
    """Return an answer to requests for vectors."""

    def answer(handler, _, texts):
        if texts is None or not when(texts):
            return False
        handler.send(status, content, kind, **headers)
        return True

    return answer


def not_the_probe(texts):
    return texts != ["a pool"]


def step(_):
    """Count nothing."""


# Secrets.


@pytest.mark.parametrize("place", [0, 150, 158])
@pytest.mark.parametrize(
    ("status", "form"),
    [
        (200, lambda text: {"echo": text}),
        (200, lambda text: text.encode()),
        (200, lambda text: json.dumps({"echo": text}).replace("/", "\\/").encode()),
        (400, lambda text: {"error": {"message": text}}),
        (500, lambda text: {"error": text}),
    ],
    ids=["200 JSON", "200 text", "200 with escapes", "400", "500"],
)
def test_a_key_is_never_repeated(monkeypatch, waits, status, form, place):
    # A key that begins before the end of the quoted line would be cut, and its beginning shown.
    content = form(f"{'x' * place}{KEY} is what you sent")
    monkeypatch.setenv("SERVER_KEY", KEY)
    said = []
    app = App(Lengths(), ["openai"])
    app.answers.append(answering(status, content))
    with serving(app) as url, pytest.raises(BadInput) as error:
        connect(url, key_variable="SERVER_KEY", notify=said.append)
    app.answers[:] = [answering(status, content, when=not_the_probe)]
    with serving(app) as url:
        endpoint = connect(url, key_variable="SERVER_KEY", notify=said.append)
        refused = endpoint.embed(["a cave"])
    shown_to_the_user = "".join([str(error.value), str(refused), *said])
    assert KEY[:5] not in shown_to_the_user
    assert "…" in shown_to_the_user


def test_a_key_in_the_query_is_never_repeated(waits):
    app = App(Lengths(), ["openai"])
    app.answers.append(answering(404, {"detail": "no route /v1/embeddings?api_key=abc%2Fdefgh (abc/defgh)"}))
    app.answers.append(answering(400, {"detail": "abc/defgh"}))
    with serving(app) as url, pytest.raises(BadInput) as error:
        connect(f"{url}/v1/embeddings?api_key=abc%2Fdefgh&v=1")
    assert "defgh" not in str(error.value)
    app.answers.clear()
    with serving(app) as url:
        endpoint = connect(f"{url}?api_key=abc%2Fdefgh")
        assert "api_key" in endpoint.url
        assert "api_key" not in endpoint.name


def test_secrets_are_found_and_hidden():
    assert secrets_of("http://a/b?v=1&key=abc%2Fdef") == ["abc/def", "abc%2Fdef"]
    assert hide('{"key": "a\\"b"}', ['a"b']) == '{"key": "…"}'
    assert shown("http://me:pass@a.example:80/b?key=1#c") == "http://a.example:80/b"
    assert not is_address("minilm")
    assert is_local("http://[::1]:80")


# Time.


def test_waits_are_limited_in_all(waits):
    app, said, seen = App(Lengths(), ["openai"]), [], []

    def busy(texts):
        seen.append(texts)
        return not_the_probe(texts) and len(seen) % 2 == 0

    app.answers.append(answering(429, {"error": "slow down"}, when=busy, Retry_After="60"))
    with serving(app) as url:
        source = ServedSource(connect(url, notify=said.append))
        found = ask(source, ["a" * count for count in range(1, 201)], [[place] for place in range(200)], step)
    assert sum(waits) <= LONGEST_IN_ALL
    assert set(waits) == {60.0}
    assert "makes the comparison wait too long: 600 s so far, and 60 s more" in found.stopped
    assert "Try again later, with fewer texts (--sample)" in found.stopped
    assert 0 < len(found.vectors) < 200
    assert said == ["the server asks to wait 60 s (status 429)"] * len(waits)  # none passes in silence


@pytest.mark.parametrize(
    ("asked", "date", "seconds"),
    [
        ("7", "", 7),
        ("Wed, 21 Oct 2015 07:28:07 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:29:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:07 GMT", "", None),
        ("soon", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("nan", "", None),
    ],
)
def test_a_date_is_compared_with_the_clock_of_the_server(asked, date, seconds):
    answer = endpoint_requests.Answer(429, "", b"", retry_after=asked, date=date)
    assert endpoint_requests._seconds(answer) == seconds


def test_a_busy_server_may_name_a_date(waits):
    app, seen = App(Lengths(), ["openai"]), []
    busy = lambda texts: not seen.append(texts) and len(seen) == 2  # noqa: E731
    when = formatdate(time.time() + 100, usegmt=True)
    app.answers.append(answering(429, {"error": "slow down"}, when=busy, Retry_After=when))
    with serving(app) as url:
        assert not ask(ServedSource(connect(url)), ["a pool", "a cave"], [[0, 1]], step).stopped
    assert len(waits) == 1
    assert 80 < waits[0] <= 100


def test_waits_at_the_same_time_count_once(waits, monkeypatch):
    app = App(Lengths(), ["openai"])
    with serving(app) as url:
        transport = connect(url).transport
        monkeypatch.setattr(endpoint_requests, "clock", lambda: 0.0)
        alone = [transport._lose(0.0, 290.0, url, 429, endpoint_requests.Why("busy")) for _ in range(8)]
    assert alone == [True] + [False] * 7
    assert transport._lost == 290


def test_a_server_that_fails_on_every_text_is_left_alone(waits):
    app = App(Lengths(), ["openai"])
    app.answers.append(answering(500, {"error": "CUDA error 700"}, when=not_the_probe))
    with serving(app) as url:
        source = ServedSource(connect(url))
        found = ask(source, ["a"] * 200, [list(range(start, start + 25)) for start in range(0, 200, 25)], step)
    assert "gave no vector for 5 texts in a row: the server fails on it" in found.stopped
    assert "CUDA error 700" in found.stopped
    assert len(app.requests) < 70
    assert sum(waits) < 60


def test_a_server_that_refuses_every_text_is_left_alone(waits):
    app = App(Lengths(), ["openai"])
    app.answers.append(answering(400, {"error": "no"}, when=not_the_probe))
    with serving(app) as url:
        source = ServedSource(connect(url))
        found = ask(source, ["a"] * 200, [list(range(start, start + 25)) for start in range(0, 200, 25)], step)
    assert "gave no vector for 32 texts in a row" in found.stopped
    assert len(app.requests) < 90


def test_refused_texts_among_others_are_not_too_many(waits):
    app = App(Lengths(), ["openai"])
    app.answers.append(answering(400, {"error": "too long"}, when=lambda texts: any(len(one) > 150 for one in texts)))
    texts = ["a" * (1 + place * 77 % 200) for place in range(200)]
    with serving(app) as url:
        found = ask(ServedSource(connect(url)), texts, [list(range(200))], step)
    assert (found.stopped, len(found.refused), len(found.vectors)) == ("", 50, 150)


def dripping(handler, _, texts):
    """Answer with a byte every tenth of a second: no single wait is long."""
    if texts is None:
        return False
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        try:
            handler.wfile.write(b" ")
        except OSError:
            break
        time.sleep(0.05)
    return True


def test_a_trickle_ends_at_the_time_out(waits):
    app = App(Lengths(), ["openai"])
    app.answers.append(dripping)
    began = time.monotonic()
    with serving(app) as url, pytest.raises(BadInput, match=r"no complete answer within 0\.3 s"):
        connect(f"{url}/v1/embeddings", timeout=0.3)
    assert time.monotonic() - began < 6
    assert len(app.requests) == 3


def test_a_slow_server_ends_at_the_time_out(waits):
    app = App(Lengths(), ["openai"])
    app.delay = 2.0
    with serving(app) as url, pytest.raises(BadInput, match=r"no complete answer within 0\.2 s"):
        connect(f"{url}/v1/embeddings", timeout=0.2)


def test_an_endless_answer_is_read_to_a_limit_and_once(waits):
    app, sent = App(Lengths(), ["openai"]), []

    def flood(handler, _, texts):
        if texts is None:
            return False
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            try:
                handler.wfile.write(b"0" * 2**20)
            except OSError:
                break
            sent.append(1)
        handler.close_connection = True
        return True

    app.answers.append(flood)
    with serving(app) as url, pytest.raises(BadInput, match="answers with more than 5 MB, which is more than vectors"):
        connect(f"{url}/v1/embeddings")
    assert len(sent) < 40
    assert len(app.requests) == 1


def test_an_answer_that_ends_early_is_not_taken(waits):
    app = App(Lengths(), ["openai"])

    def short(handler, _, texts):
        if texts is None:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"[]")
        handler.close_connection = True
        return True

    app.answers.append(short)
    with serving(app) as url, pytest.raises(BadInput, match="closed before the answer was complete"):
        connect(f"{url}/v1/embeddings")


class Interrupted(BaseException):
    """An interrupt that does not stop the tests."""


@pytest.mark.parametrize("busy", [True, False], ids=["while it waits", "while it is answered"])
def test_an_interrupt_ends_the_requests_at_once(busy, monkeypatch):
    app = App(Lengths(), ["openai"])
    release, answered, cut_short = threading.Event(), [], []

    def stall(handler, _, texts):
        if texts is None or "slow" not in texts:
            return False
        if busy:
            handler.send(429, {"error": "slow down"}, Retry_After="60")
        else:
            release.wait(60)
            answered.append(1)
            handler.close_connection = True
        return True

    app.answers.append(stall)
    monkeypatch.setattr(endpoint_requests, "pause_for", lambda seconds, ended: cut_short.append(ended.wait(seconds)))

    def interrupt(_):
        while len(app.requests) < 5:  # the probe, the fast one, and three slow ones, which are under way
            time.sleep(0.01)
        raise Interrupted

    before = threading.active_count()
    with serving(app) as url:
        source = ServedSource(connect(url, timeout=90))
        with pytest.raises(Interrupted):
            ask(source, ["fast", *["slow"] * 8], [[place] for place in range(9)], interrupt, at_once=4)
        assert not answered
        mine = [one for one in threading.enumerate() if one.name.startswith("cenote-parity")]
        for one in mine:  # Python waits for them when it ends
            one.join(30)
        assert not any(one.is_alive() for one in mine)
        assert all(cut_short)  # no wait went on to its end
        with pytest.raises(Stopped, match="interrupted"):
            source.embed(["fast"])
        release.set()
    assert threading.active_count() < before + 10


# Addresses, settings and answers that no program should stumble over.


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://a..b:80", r"'http://a\.\.b:80' is no address: no host can be named 'a\.\.b'"),
        (f"http://{'a' * 70}.example", "no host can be named"),
        ("http://a b:80", "a host cannot have a blank"),
        ("http://localhost:80a", "is no address"),
        ("ftp://localhost", "no address of a server"),
    ],
)
def test_addresses_that_cannot_be_used(address, message):
    with pytest.raises(BadInput, match=message):
        connect(address)


def test_a_path_may_have_blanks_and_accents():
    assert split_address("http://localhost:80/a b/é?q=ü x") == "http://localhost:80/a%20b/%C3%A9?q=%C3%BC%20x"
    assert split_address("http://localhost/a%20b/") == "http://localhost/a%20b"
    assert split_address("http://bücher.example") == "http://xn--bcher-kva.example"
    assert split_address("http://[::1]:80/v1") == "http://[::1]:80/v1"
    seen = []
    app = App(Lengths())
    app.answers.append(lambda _, path, __: seen.append(path))
    with serving(app) as url, pytest.raises(BadInput, match="status 404"):
        connect(f"{url}/my modèle")
    assert "/my%20mod%C3%A8le/v1/embeddings" in seen


@pytest.mark.parametrize("timeout", [-1, 0, 1e10, float("nan"), float("inf"), "1", True])
def test_times_that_cannot_be_waited(timeout):
    with pytest.raises(BadInput, match=r"timeout=.*: pass seconds, more than 0 and at most 86,400"):
        Transport(timeout=timeout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "instead of JSON"),
        (b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}", "something other than numbers"),
        (b'{"data": {"index": 0}}', "holds no vectors"),
        (b'{"data": [[1]]}', "holds no vectors"),
        (b'{"data": [{"index": "a", "embedding": [1]}, {"index": 0, "embedding": [1]}]}', "holds no vectors"),
    ],
)
def test_answers_of_another_form(content, message):
    app = App(Lengths(), ["openai"])
    app.answers.append(answering(200, content))
    with serving(app) as url, pytest.raises(BadInput, match=message):
        connect(f"{url}/v1/embeddings")


def test_https_to_a_server_without_it_says_so():
    with serving(App(Lengths())) as url, pytest.raises(BadInput) as error:
        connect(url.replace("http://", "https://"))
    assert str(error.value).endswith("it speaks no https. Write http:// if the server has no certificate.")


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (ConnectionRefusedError(), "connection refused: nothing listens there", "Start the server"),
        (urllib.error.URLError(socket.gaierror(-2, "Name not known")), "[Errno -2] Name not known", "Check the host"),
        (http.client.BadStatusLine("\x15"), "it speaks no http", "https"),
        (http.client.RemoteDisconnected(), "the connection was closed before the answer was complete", "log"),
        (ssl.SSLEOFError(), "the connection was closed before the answer was complete", "log"),
        (TimeoutError(), "no complete answer within 5 s", "--timeout"),
    ],
)
def test_why_a_server_does_not_answer(error, reason, remedy):
    why = explain(error, 5.0)
    assert why.reason == reason
    assert remedy in why.remedy
