"""A server of embeddings: its dialect is recognised by asking, and texts become vectors, one request after another."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cenote.auditing.endpoint_addresses import is_local, secrets_of, shown, split_address
from cenote.auditing.endpoint_requests import Answer, Refusal, Stopped, Transport
from cenote.errors import BadInput, UnknownName, choose, some
from cenote.listener import silent

Vector = npt.NDArray[np.float64]

# Sent to find out which path answers.
_PROBE = "a pool"
# Texts that a server refuses in a row, for one reason, before it counts as broken: where it fails (5xx), each costs
# seconds of waiting.
_REFUSED_IN_A_ROW, _FAILED_IN_A_ROW = 32, 5
# Facts that TEI states of itself at /info.
_STATED = (
    "model_id",
    "model_sha",
    "model_dtype",
    "max_input_length",
    "max_client_batch_size",
    "max_batch_tokens",
    "auto_truncate",
    "version",
)


@dataclass(frozen=True)
class Dialect:
    """How a server is asked: the names of its fields, and where its vectors are."""

    name: str
    payload: Callable[[Sequence[str], str], dict[str, Any]]
    vectors: Callable[[Any], list[Any]]


def _openai_vectors(found: Any) -> list[Any]:
    rows = found["data"]
    places = [row.get("index", place) for place, row in enumerate(rows)]
    if sorted(places) != list(range(len(rows))):
        raise ValueError("the numbers in 'index' are not those of the texts")
    return [row["embedding"] for _, row in sorted(zip(places, rows, strict=True), key=lambda pair: pair[0])]


def _tei_vectors(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise TypeError("the answer is no list of vectors")
    return found


DIALECTS = {
    "openai": Dialect("openai", lambda texts, model: {"model": model, "input": list(texts)}, _openai_vectors),
    "tei": Dialect("tei", lambda texts, _: {"inputs": list(texts)}, _tei_vectors),
}
# Paths that are tried, in this order; of the path that an address ends with, only that one.
PATHS = {"/v1/embeddings": "openai", "/embed": "tei", "/embeddings": "openai"}


class Endpoint:
    """A server that answers; made by `connect`.

    Args:
        url: of the path that gives vectors.
        dialect: the name of the dialect that the path speaks.
        model: the name of the served model.
        transport: asks the server.
        stated: facts that the server states of itself.
    """

    def __init__(self, url: str, dialect: str, model: str, transport: Transport, stated: dict[str, str]) -> None:
        self.url, self.dialect, self.model, self.transport, self.stated = url, dialect, model, transport, stated
        self.batch_limit: int | None = None  # found out, or stated
        if (stated_limit := stated.get("max_client_batch_size", "")).isdigit():
            self.batch_limit = int(stated_limit)
        self._lock = threading.Lock()
        self._refused: tuple[str, int] = ("", 0)  # a reason, and the texts refused for it since the last vector

    @property
    def name(self) -> str:
        """The address as records and messages show it."""
        return shown(self.url)

    def embed(self, texts: Sequence[str]) -> list[Vector | str]:
        """Return the vector of each text, or why it has none. A request that is refused is split.

        Raises:
            Stopped: the server does not answer any more, or refuses text after text.
        """
        limit = self.batch_limit
        if limit is not None and len(texts) > limit:
            parts = [self.embed(texts[start : start + limit]) for start in range(0, len(texts), limit)]
            return [one for part in parts for one in part]
        try:
            found = self._request(texts)
            self._refused = ("", 0)
            return found
        except Refusal as error:
            if len(texts) == 1:
                self._count_refused(error)
                return [str(error)]
            half = (len(texts) + 1) // 2
            found = self.embed(texts[:half]) + self.embed(texts[half:])
            if error.status == 413 and not any(isinstance(one, str) for one in found):
                self._lower(half, len(texts))
            return found

    def _count_refused(self, error: Refusal) -> None:
        """Raise `Stopped` if the server refused too many texts in a row for the reason of this one."""
        kind = re.sub(r"\d+", "#", str(error))
        with self._lock:
            known, count = self._refused
            count = count + 1 if known == kind else 1
            self._refused = (kind, count)
        if count >= (_FAILED_IN_A_ROW if error.status >= 500 else _REFUSED_IN_A_ROW):
            raise Stopped(f"{self.name} gave no vector for {count} texts in a row: {error}", error.status)

    def _lower(self, limit: int, refused: int) -> None:
        with self._lock:
            if self.batch_limit is None or limit < self.batch_limit:
                self.batch_limit = limit
                self.transport.notify(
                    f"the server refuses {refused} texts in one request (413): going on with {limit} at most"
                )

    def _request(self, texts: Sequence[str]) -> list[Vector | str]:
        spoken = DIALECTS[self.dialect]
        try:
            answer = self.transport.request(self.url, spoken.payload(texts, self.model), texts=len(texts))
        except Stopped as error:
            if error.status < 500 or not self._answers():
                raise
            raise Refusal(f"the server fails on it: {error}", error.status) from error
        if answer.status in (401, 403):  # a key may expire
            raise Stopped(f"{self.name} refuses the key (status {answer.status}).", answer.status)
        if answer.status != 200:
            raise Refusal(f"the server refuses it: status {answer.status}, {answer.quote()}", answer.status)
        return read_vectors(spoken, answer, len(texts))

    def _answers(self) -> bool:
        """Return whether the server still answers a text that it answered before."""
        try:
            payload = DIALECTS[self.dialect].payload([_PROBE], self.model)
            return self.transport.request(self.url, payload, texts=1, tries=1).status == 200
        except Stopped:
            return False


def read_vectors(spoken: Dialect, answer: Answer, count: int) -> list[Vector | str]:
    """Return the vectors of an answer, or why one cannot be used; raise `Refusal` if the answer has another form."""
    try:
        found = spoken.vectors(answer.content())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kind = answer.kind or "nothing that states its kind"
        raise Refusal(f"the server answers with {kind} that holds no vectors: {answer.quote()!r}") from error
    if len(found) != count:
        raise Refusal(f"the server answers {len(found)} vectors for {count} texts")
    return [_read_vector(one) for one in found]


def _read_vector(given: Any) -> Vector | str:
    if isinstance(given, str):  # base64 of float32, little end first
        try:
            values = np.frombuffer(base64.b64decode(given, validate=True), "<f4").astype(np.float64)
        except (binascii.Error, ValueError):
            return "its vector is neither numbers nor base64"
    else:
        try:
            values = np.array(given, np.float64)  # None becomes NaN
        except (ValueError, TypeError, OverflowError):  # a whole number may have more digits than a float takes
            return "its vector holds something other than numbers"
    if values.ndim != 1 or not len(values):
        return f"its vector has the shape {values.shape}"
    if not np.isfinite(values).all():
        return "its vector is not finite (NaN or infinity)"
    return values if values.any() else "its vector is zero"


def connect(
    url: str,
    *,
    served_model: str | None = None,
    key_variable: str | None = None,
    timeout: float = 60.0,
    notify: Callable[[str], object] = silent,
) -> Endpoint:
    """Return the server at an address, once it has answered: its dialect is the one of the first path that answers.

    Args:
        url: such as `http://localhost:8080`, with or without `/v1` or the whole path.
        served_model: the model to ask for, where the server has several.
        key_variable: environment variable that holds the server's key.
        timeout: seconds to wait for each answer.
        notify: called with a sentence where the server makes it wait or smaller requests are sent.

    Raises:
        BadInput: no server, no key, no path that gives vectors, or several models to choose from.
        UnknownName: the server does not have the model; the message lists those that it has.
    """
    address = split_address(url)
    transport = Transport(key_variable, timeout, notify, secrets_of(url))
    if key_variable and address.startswith("http://") and not is_local(address):
        notify(f"the key is sent to {shown(address)} unencrypted: use https if the server has it")
    base, query = _base_and_query(address)
    paths = _paths_of(address)
    models = _models_of(transport, base, paths, query)
    model = _choose_model(models, served_model, shown(url))
    stated = _stated_by(transport, base, query)
    if stated and len(paths) > 1:  # TEI speaks both dialects: its own first
        paths = dict(sorted(paths.items(), key=lambda pair: pair[1] != "tei"))
    problems = []
    for path, dialect in paths.items():
        where = f"{base}{path}{query}"
        answer = _probe(transport, where, DIALECTS[dialect], model, served_model, models, url)
        if isinstance(answer, str):
            problems.append(f"{path}: {answer}")
            continue
        if dialect == "openai" and served_model and models and served_model not in models:
            notify(f"the server does not list {served_model!r}, and answers all the same; it lists {some(models)}")
        return Endpoint(where, dialect, stated.get("model_id", model), transport, stated)
    raise BadInput(
        f"no path of {shown(base)} gives embeddings: {'; '.join(problems)}. Give the address of a server with OpenAI's "
        "/v1/embeddings or TEI's /embed."
    )


def _base_and_query(address: str) -> tuple[str, str]:
    """Return an address without the path that gives vectors, and its query."""
    place, mark, query = address.partition("?")
    for ending in ("/v1/embeddings", "/embeddings", "/embed", "/v1"):
        if place.endswith(ending):
            place = place.removesuffix(ending)
            break
    return place.rstrip("/"), mark + query


def _paths_of(address: str) -> dict[str, str]:
    """Return the paths to try with their dialects: the one that the address ends with, or all."""
    place = address.partition("?")[0]
    for path, dialect in PATHS.items():
        if place.endswith(path):
            return {path: dialect}
    return {"/v1/embeddings": "openai"} if place.endswith("/v1") else PATHS


def _models_of(transport: Transport, base: str, paths: dict[str, str], query: str) -> list[str]:
    """Return the names of the models that a server lists; none if it lists none. The first request to the server."""
    for path in ("/v1/models", "/models"):
        if path == "/v1/models" and list(paths) == ["/embeddings"]:
            continue
        try:
            answer = transport.request(f"{base}{path}{query}", tries=1)
        except Stopped as error:
            if error.status:
                continue
            raise BadInput(f"no server answers at {shown(base)}: {error.why.reason}. {error.why.remedy}") from error
        if answer.status == 200:
            try:
                names = [transport.clean(str(row["id"])) for row in answer.content()["data"]]
            except (ValueError, KeyError, TypeError):
                continue
            return list(dict.fromkeys(names))
    return []


def _choose_model(models: Sequence[str], wanted: str | None, url: str) -> str:
    """Return the model to ask for: the named one, or the only one."""
    if wanted is not None:
        return wanted
    if len(models) > 1:
        raise BadInput(
            f"{url} serves {len(models)} models: name one with --served-model (served_model=). It lists: "
            f"{some(models, most=20)}."
        )
    return models[0] if models else "default"


def _probe(
    transport: Transport,
    where: str,
    spoken: Dialect,
    model: str,
    wanted: str | None,
    models: Sequence[str],
    url: str,
) -> Answer | str:
    """Return the answer of a path that gives a vector, or why this one does not; raise where no path will."""
    try:
        answer = transport.request(where, spoken.payload([_PROBE], model), texts=1, tries=3)
    except Stopped as error:
        if not error.status:
            raise BadInput(f"the server stopped answering: {error}") from error
        if error.status < 500:
            raise BadInput(str(error)) from error
        return f"status {error.status}"
    status = answer.status
    if status in (401, 403):
        named = transport.variable
        remedy = (
            f"check the key in the environment variable {named!r}"
            if named
            else "put its key into an environment variable, and name that with --key-variable (key_variable=)"
        )
        raise BadInput(f"{shown(url)} {'refuses the key' if named else 'needs a key'} (status {status}): {remedy}.")
    if 300 <= status < 400:
        return f"status {status}, which leads to {shown(answer.location) or 'another address'}: give that address"
    if status != 200:
        if wanted is not None and spoken.name == "openai" and wanted not in models and status in (400, 404, 422):
            _refuse_unknown_model(wanted, models, answer)
        return f"status {status}" + ("" if status in (404, 405) else f", {answer.quote()}")
    if not answer.is_json:
        return f"{answer.kind or 'no JSON'} instead of JSON, {answer.quote()!r}"
    try:
        found = read_vectors(spoken, answer, 1)[0]
    except Refusal as error:
        return str(error)
    return answer if not isinstance(found, str) else f"for the text {_PROBE!r}, {found}"


def _refuse_unknown_model(wanted: str, models: Sequence[str], answer: Answer) -> None:
    """Raise if the server refuses a model that it does not list, or says that it does not know it."""
    if models:
        choose(wanted, dict.fromkeys(models), "model of the server:")
    elif wanted.lower() in answer.quote().lower():
        raise UnknownName(f"the server does not know the model {wanted!r}, and lists none: {answer.quote()}")


def _stated_by(transport: Transport, base: str, query: str) -> dict[str, str]:
    """Return the facts that TEI states of itself; none for other servers."""
    try:
        answer = transport.request(f"{base}/info{query}", tries=1)
        found = answer.content() if answer.status == 200 else {}
    except (Stopped, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    stated = {name: found.get(name) for name in _STATED}
    facts = {
        name: transport.clean(str(one)) for name, one in stated.items() if isinstance(one, (str, int, float, bool))
    }
    kind = found.get("model_type")
    if isinstance(kind, dict) and isinstance(kind.get("embedding"), dict) and "pooling" in kind["embedding"]:
        facts["pooling"] = transport.clean(str(kind["embedding"]["pooling"]))
    return facts
