"""One request over a connection that can be cut: at a deadline, after too many bytes, or from another thread."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Timer
from typing import Any

# Bytes of an answer that are read at a time.
_BLOCK = 2**16


class TooLong(Exception):
    """An answer has more bytes than are read; `status` is that of the answer."""

    def __init__(self, most: int, status: int) -> None:
        super().__init__(f"more than {most:,} bytes")
        self.status = status


@dataclass(frozen=True)
class Received:
    """An answer: its status, its headers and its whole content."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Cut:
    """Ends the connections of one request."""

    def __init__(self) -> None:
        self.done = Event()
        self._lock, self._sockets = Lock(), list[socket.socket]()

    def add(self, opened: socket.socket) -> None:
        """Take a connection that the request opened."""
        with self._lock:
            self._sockets.append(opened)
        if self.done.is_set():
            self()

    def __call__(self) -> None:
        """End the connections: whatever waits for them goes on at once."""
        self.done.set()
        with self._lock:
            for one in self._sockets:
                # A TLS socket's own `shutdown` forgets its state, which the waiting thread still needs.
                with suppress(OSError):
                    socket.socket.shutdown(one, socket.SHUT_RDWR)


class _Request(urllib.request.Request):
    """A request that carries what ends it."""

    cut: _Cut


class _Plain(http.client.HTTPConnection):
    """A connection that hands over its socket."""

    def __init__(self, *args: Any, opened: Callable[[socket.socket], None], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.opened = opened

    def connect(self) -> None:
        """Open the connection."""
        super().connect()
        self.opened(self.sock)


class _Encrypted(http.client.HTTPSConnection):
    """The same over TLS."""

    def __init__(self, *args: Any, opened: Callable[[socket.socket], None], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.opened = opened

    def connect(self) -> None:
        """Open the connection."""
        super().connect()
        self.opened(self.sock)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(partial(_Plain, opened=req.cut.add), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(partial(_Encrypted, opened=req.cut.add), req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: it would send the texts, and the key, to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return no new request; the answer with the redirect is raised as an error."""


class Connections:
    """Sends requests, each within a deadline; `end` cuts those under way and refuses all others.

    Args:
        timeout: seconds until an answer has to be complete.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout, self.ended = timeout, Event()
        self._lock, self._cuts = Lock(), set[_Cut]()
        handlers = (_NoRedirect, _Http, _Https)
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
        self._proxied = urllib.request.build_opener(*handlers)

    def send(self, url: str, body: bytes | None, headers: Mapping[str, str], *, most: int, direct: bool) -> Received:
        """Return the answer to a request, whatever its status.

        Args:
            url: with http or https.
            body: of a POST; None sends a GET.
            headers: of the request.
            most: bytes of the answer that are read.
            direct: whether to pass by the proxies that the environment names.

        Raises:
            OSError, http.client.HTTPException: no complete answer, or not in time (`TimeoutError`).
            TooLong: the answer has more bytes.
        """
        request = _Request(url, body, dict(headers))  # `split_address` allows http and https only
        request.cut = cut = _Cut()
        opener = self._direct if direct else self._proxied
        # The time-out of a socket is for each piece that arrives: a slow trickle would last for ever.
        timer = Timer(self.timeout, cut)
        timer.daemon = True
        with self._lock:
            self._cuts.add(cut)
        if self.ended.is_set():
            cut()
        timer.start()
        try:
            try:
                found: Any = opener.open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                found = error
            with found:
                return Received(found.status, found.headers, _read(found, most, cut))
        except (OSError, http.client.HTTPException) as error:
            if cut.done.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
            with self._lock:
                self._cuts.discard(cut)

    def end(self) -> None:
        """Cut the requests under way, and let no other one begin."""
        self.ended.set()
        with self._lock:
            cuts = list(self._cuts)
        for cut in cuts:
            cut()


def _read(found: Any, most: int, cut: _Cut) -> bytes:
    """Return the content of an answer."""
    parts, size = [], 0
    while part := found.read(_BLOCK):
        parts.append(part)
        size += len(part)
        if size > most:
            cut()
            raise TooLong(most, found.status)
    if cut.done.is_set():  # the end of what was cut looks like the end of the answer
        raise TimeoutError
    if getattr(found, "length", None):
        raise http.client.IncompleteRead(b"".join(parts), found.length)
    return b"".join(parts)
