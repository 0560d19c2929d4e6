"""Requests to a server that may be slow, busy or broken: time-outs, retries with limits, errors that say what to do."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from cenote.errors import BadInput, CenoteError

# Tries of one request that the server answers with 429, or not at all; and of one that it answers with 5xx.
TRIES, _TRIES_BROKEN = 5, 3
# Seconds before the second try where the server names none; they double.
_FIRST_WAIT = 1.0
# The longest that one answer may ask to wait, in seconds.
LONGEST_WAIT = 300.0
_BUSY, _BROKEN = (429,), (500, 502, 503, 504)
# Characters of an answer that a message quotes.
_QUOTED = 160


class Stopped(CenoteError):
    """The server does not answer any more, or is too busy to; `status` is that of its last answer, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Refusal(CenoteError):
    """The server refuses a request because of its content."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """An answer of the server: its status, its kind, and its content."""

    status: int
    kind: str  # such as application/json
    body: bytes
    retry_after: str = ""
    location: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the content is JSON, whatever the header says."""
        try:
            json.loads(self.body)
        except ValueError:
            return False
        return True

    def quote(self) -> str:
        """Return the server's message in one short line."""
        text = self.body.decode("utf-8", "replace")
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        while isinstance(found, dict):
            found = next((found[key] for key in ("error", "message", "detail", "msg") if found.get(key)), None)
        text = " ".join((found if isinstance(found, str) else text).split())
        return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: it would send the texts, and the key, to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return no new request; the answer with the redirect is raised as an error."""


def is_local(url: str) -> bool:
    """Return whether an address is on this machine.

    >>> is_local("http://localhost:8080"), is_local("http://127.0.0.2"), is_local("https://api.example.com")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def read_key(variable: str | None) -> str | None:
    """Return the key in an environment variable. Messages name the variable, never the key."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise BadInput(f"the environment variable {variable!r} is not set or empty: put the server's key into it.")
    if not key.isascii() or not key.isprintable():
        raise BadInput(f"the key in the environment variable {variable!r} has characters that no header can hold.")
    return key


def pause_for(seconds: float) -> None:
    """Wait before the next try."""
    time.sleep(seconds)


class Transport:
    """Asks a server, waits where it is busy, and tries again where it fails. Several threads may ask at once.

    Args:
        variable: environment variable that holds the server's key.
        timeout: seconds to wait for an answer.
        notify: called with a sentence where the server makes it wait.
    """

    def __init__(
        self,
        variable: str | None = None,
        timeout: float = 60.0,
        notify: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.variable, self.timeout, self.notify = variable, timeout, notify
        self._key = read_key(variable)
        self._lock = threading.Lock()
        self._said: set[str] = set()
        no_proxy = urllib.request.ProxyHandler({})
        self._direct = urllib.request.build_opener(_NoRedirect, no_proxy)
        self._proxied = urllib.request.build_opener(_NoRedirect)

    def request(self, url: str, payload: Any = None, *, tries: int = TRIES) -> Answer:
        """Return the server's answer, whatever its status; try again where it is busy, fails or does not answer.

        Raises:
            Stopped: the server does not answer, or is still busy after all tries.
        """
        wait, waited, last, status = _FIRST_WAIT, 0.0, "", 0
        for attempt in range(tries):
            try:
                answer = self._ask(url, payload)
            except (OSError, http.client.HTTPException) as error:
                last, asked, status = explain(error, self.timeout), None, 0
                if _is_refused(error) and attempt:  # the server was there, and is gone
                    break
            else:
                if answer.status not in (*_BUSY, *_BROKEN):
                    return answer
                status = answer.status
                last, asked = f"status {status}: {self.clean(answer.quote())}", _seconds(answer.retry_after)
                if asked is not None and asked > LONGEST_WAIT:
                    raise Stopped(
                        f"{shown(url)} asks to wait {asked:,.0f} s (status {status}), longer than the "
                        f"{LONGEST_WAIT:.0f} s that are waited: try again later.",
                        status,
                    )
            if attempt + 1 >= (_TRIES_BROKEN if status in _BROKEN else tries):
                break
            pause = wait if asked is None else asked
            self._say_once(last if asked is None else f"status {status}", pause, asked is not None)
            pause_for(pause)
            waited, wait = waited + pause, 2 * wait
        tried = f"after {attempt + 1} {'try' if not attempt else 'tries'} and {waited:.0f} s of waiting"
        raise Stopped(f"{shown(url)} gives no answer {tried} ({last}).", status)

    def _ask(self, url: str, payload: Any) -> Answer:
        headers = {"Accept": "application/json", "User-Agent": "cenote"}
        body = None
        if payload is not None:
            body, headers["Content-Type"] = json.dumps(payload).encode(), "application/json"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(url, body, headers)  # noqa: S310  # `split_address` allows http and https only
        opener = self._direct if is_local(url) else self._proxied
        try:
            with opener.open(request, timeout=self.timeout) as found:
                return _answer(found.status, found.headers, found.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def clean(self, text: str) -> str:
        """Return a text without the key, should a server repeat it."""
        return text if self._key is None else text.replace(self._key, "…")

    def _say_once(self, why: str, seconds: float, asked: bool) -> None:
        words = f"asks to wait {seconds:.0f} s" if asked else f"is asked again in {seconds:.0f} s"
        with self._lock:
            if why not in self._said:  # eight threads wait for the same reason
                self._said.add(why)
                self.notify(f"the server {words} ({why})")


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    kind = (headers.get("Content-Type") or "").partition(";")[0].strip()
    return Answer(status, kind, body, headers.get("Retry-After") or "", headers.get("Location") or "")


def _seconds(text: str) -> float | None:
    """Return the seconds that a `Retry-After` names, as a number or a date; None for neither."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _is_refused(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), ConnectionRefusedError)


def explain(error: Exception, timeout: float) -> str:
    """Return why a server did not answer, in words."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(cause, (ConnectionError, http.client.HTTPException)):
        return "the connection was closed before the answer was complete"
    return " ".join(str(cause).split()) or type(cause).__name__


def shown(url: str) -> str:
    """Return an address without a query, which may hold a key."""
    return url.partition("?")[0]


def split_address(url: str) -> str:
    """Return the address of a server in its plain form; raise `BadInput` for one that cannot be used.

    >>> split_address("http://localhost:8080/")
    'http://localhost:8080'
    """
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise BadInput(f"{shown(url)!r} is no address: {error}. Write http://HOST:PORT.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput(f"{shown(url)!r} is no address of a server: write http://HOST:PORT or https://HOST.")
    if parts.username or parts.password:
        place = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
        raise BadInput(
            f"the address {place!r} holds a user name or a password: put the key into an environment variable, and "
            "name that with --key-variable (key_variable=)."
        )
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{query}"
