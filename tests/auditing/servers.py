"""A small HTTP server of embeddings on this machine, which speaks OpenAI's and TEI's dialects, and faults for it."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class App:
    """The behaviour of the server; tests replace its attributes, or override `encode`.

    `answers` is a list of functions that may answer a request in place of the app: each gets the handler, its path and
    its texts, and returns whether it answered.
    """

    def __init__(self, model, dialects=("openai", "tei"), prompt=None):
        self.model, self.dialects, self.prompt = model, dialects, prompt
        self.models = ["served"]
        self.key = None
        self.most = None  # texts of a request
        self.info = None
        self.answers = []
        self.requests = []  # path and texts of every request
        self.active = 0
        self.delay = 0.0
        self.lock = threading.Lock()

    def encode(self, texts):
        with self.lock:  # a tokenizer is for one thread at a time
            return self.model.encode(texts, prompt=self.prompt, batch_size=len(texts)).tolist()


class Handler(BaseHTTPRequestHandler):
    """Answers requests as `server.app` says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, content, kind="application/json", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        app, path = self.server.app, self.path.partition("?")[0]
        if any(answer(self, path, None) for answer in app.answers):
            return
        if path == "/v1/models" and "openai" in app.dialects and app.models is not None:
            self.send(200, {"object": "list", "data": [{"id": name} for name in app.models]})
        elif path == "/info" and app.info is not None:
            self.send(200, app.info)
        else:
            self.send(404, {"detail": "Not Found"})

    def do_POST(self):
        app, path = self.server.app, self.path.partition("?")[0]
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = given.get("input", given.get("inputs"))
        with app.lock:
            app.requests.append((path, list(texts)))
            app.active += 1
        try:
            time.sleep(app.delay)
            if not any(answer(self, path, texts) for answer in app.answers):
                self.embed(app, path, given, texts)
        finally:
            with app.lock:
                app.active -= 1

    def embed(self, app, path, given, texts):
        dialect = {"/v1/embeddings": "openai", "/embed": "tei"}.get(path)
        if dialect not in app.dialects:
            self.send(404, {"detail": "Not Found"})
        elif app.key is not None and self.headers.get("Authorization") != f"Bearer {app.key}":
            self.send(401, {"error": {"message": "Incorrect API key provided"}})
        elif dialect == "openai" and app.models and given["model"] not in app.models:
            self.send(404, {"error": {"message": f"The model `{given['model']}` does not exist."}})
        elif app.most is not None and len(texts) > app.most:
            self.send(413, {"error": f"batch size {len(texts)} > maximum allowed batch size {app.most}"})
        else:
            vectors = app.encode(texts)
            rows = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
            self.send(200, {"object": "list", "data": rows} if dialect == "openai" else vectors)


class Server(ThreadingHTTPServer):
    """A server whose threads end with the test."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        """Say nothing of connections that a test closes."""


@contextmanager
def serving(app):
    """Yield the address of a server that runs in a thread."""
    server = Server(("127.0.0.1", 0), Handler)
    server.app = app
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# Faults of what an app computes.


class MaskIgnored(App):
    """Reads padding as if it were text."""

    def encode(self, texts):
        from cenote.encoding.forward import forward

        with self.lock:
            features = self.model.preprocess(texts)
            features["attention_mask"][:] = 1
            return forward(self.model, features)["sentence_embedding"].tolist()


class ReversedWhenBusy(App):
    """Mixes up the texts of a request while another one runs."""

    def encode(self, texts):
        found = super().encode(texts)
        return found[::-1] if self.active > 1 else found


class Reversed(App):
    """Gives the vectors of a request in the reversed order."""

    def encode(self, texts):
        return super().encode(texts)[::-1]


class Noisy(App):
    """Gives another vector each time."""

    generator = np.random.default_rng(0)

    def encode(self, texts):
        found = np.array(super().encode(texts))
        with self.lock:
            return (found + self.generator.normal(size=found.shape)).tolist()


class Replicas(App):
    """Two models take turns, a request each."""

    other = None
    turn = 0

    def encode(self, texts):
        with self.lock:
            self.turn += 1
            model = self.model if self.turn % 2 else self.other
            return model.encode(texts, prompt=self.prompt, batch_size=len(texts)).tolist()


class ReversedWhenLarge(App):
    """Mixes up the texts of large requests while another one runs."""

    most_in_order = 4

    def encode(self, texts):
        found = super().encode(texts)
        return found[::-1] if self.active > 1 and len(texts) > self.most_in_order else found


class OneWrong(App):
    """Gives a wrong vector for one text."""

    wrong = ""

    def encode(self, texts):
        found = super().encode(texts)
        return [one[::-1] if text == self.wrong else one for text, one in zip(texts, found, strict=True)]


class Autocast(App):
    """Runs the model at bfloat16, with weights at float32."""

    def encode(self, texts):
        import torch

        with torch.autocast("cpu", torch.bfloat16):
            return super().encode(texts)


class Rounded(App):
    """Rounds the numbers of its vectors to half precision."""

    def encode(self, texts):
        return np.array(super().encode(texts), np.float16).astype(float).tolist()


class FirstDimensions(App):
    """Gives half of the dimensions."""

    def encode(self, texts):
        return [one[: len(one) // 2] for one in super().encode(texts)]
