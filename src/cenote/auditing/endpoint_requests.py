"""Requests to a server that may be slow, busy or broken: time-outs, retries with limits, errors that say what to do."""

from __future__ import annotations

import http.client
import json
import math
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from cenote.auditing.endpoint_addresses import is_local, shown
from cenote.auditing.endpoint_connections import Connections, Received, TooLong
from cenote.errors import BadInput, CenoteError
from cenote.listener import silent

# Tries of one request that the server answers with 429, or not at all; and of one that it answers with 5xx.
TRIES, _TRIES_BROKEN = 5, 3
# Seconds before the second try where the server names none; they double.
_FIRST_WAIT = 1.0
# The longest that one answer may ask to wait, and what all requests together may lose to waits and failed tries, in
# seconds. Requests that wait at the same time count once.
LONGEST_WAIT, LONGEST_IN_ALL = 300.0, 600.0
# A wait of so many seconds is announced each time, a shorter one if it is the longest for its reason.
_LONG = 10.0
# The longest time-out that is taken: a day.
LONGEST_TIMEOUT = 86_400.0
# Bytes of an answer that are read: for each text, and besides. A vector of 8,192 numbers has about 200,000.
_BYTES_OF_A_TEXT, _BYTES_BESIDE = 2**20, 2**22
_BUSY, _BROKEN = (429,), (500, 502, 503, 504)
# Characters of an answer that a message quotes.
_QUOTED = 160


class Why(NamedTuple):
    """Why a server did not answer, and what to do."""

    reason: str
    remedy: str = ""


class Stopped(CenoteError):
    """The server does not answer any more, or is too busy to.

    `status` is that of its last answer, 0 without one; `why` says in a few words why there is none.
    """

    def __init__(self, message: str, status: int = 0, why: Why | None = None) -> None:
        super().__init__(message)
        self.status, self.why = status, why or Why(message.removesuffix("."))


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
    date: str = ""  # of the server's clock
    location: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)  # what no message may repeat

    def content(self) -> Any:
        """Return the content as JSON, whatever the header says; raise `ValueError` for anything else."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("the answer is nested too deeply") from error

    @property
    def is_json(self) -> bool:
        """Whether the content is JSON."""
        try:
            self.content()
        except ValueError:
            return False
        return True

    def quote(self) -> str:
        """Return the server's message in one short line, without secrets that it repeats."""
        text = self.body.decode("utf-8", "replace")
        try:
            found = self.content()
        except ValueError:
            found = None
        while isinstance(found, dict):
            found = next((found[key] for key in ("error", "message", "detail", "msg") if found.get(key)), None)
        # Hidden before the line is cut: the beginning of a key is a secret, too.
        text = " ".join(hide(found if isinstance(found, str) else text, self.secrets).split())
        return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


def hide(text: str, secrets: Iterable[str]) -> str:
    r"""Return a text without secrets, also as JSON writes them.

    >>> hide("no such key: a\\/b", ["a/b"])
    'no such key: …'
    """
    for secret in secrets:
        in_json = json.dumps(secret)[1:-1]
        for written in (secret, in_json, in_json.replace("/", "\\/")):
            text = text.replace(written, "…")
    return text


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


def check_timeout(timeout: float) -> float:
    """Return a time-out in seconds; raise `BadInput` for one that cannot be waited."""
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not 0 < timeout <= LONGEST_TIMEOUT:  # NaN is refused, too
        raise BadInput(f"timeout={timeout!r}: pass seconds, more than 0 and at most {LONGEST_TIMEOUT:,.0f} (a day).")
    return float(timeout)


def pause_for(seconds: float, ended: threading.Event) -> None:
    """Wait before the next try; an end of all requests ends the wait."""
    ended.wait(seconds)


def clock() -> float:
    """Return the seconds of a clock that only goes forward."""
    return time.monotonic()


class Transport:
    """Asks a server, waits where it is busy, and tries again where it fails. Several threads may ask at once.

    Args:
        variable: environment variable that holds the server's key.
        timeout: seconds to wait for a complete answer.
        notify: called with a sentence where the server makes it wait.
        secrets: besides the key, what no message may repeat.
    """

    def __init__(
        self,
        variable: str | None = None,
        timeout: float = 60.0,
        notify: Callable[[str], object] = silent,
        secrets: Iterable[str] = (),
    ) -> None:
        self.variable, self.timeout, self.notify = variable, check_timeout(timeout), notify
        self._key = read_key(variable)
        self.secrets = (*((self._key,) if self._key else ()), *secrets)
        self._connections = Connections(self.timeout)
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}  # the longest wait of each reason
        self._lost, self._lost_until = 0.0, -math.inf
        self._most_lost = max(LONGEST_IN_ALL, TRIES * self.timeout)

    def request(self, url: str, payload: Any = None, *, texts: int = 0, tries: int = TRIES) -> Answer:
        """Return the server's answer, whatever its status; try again where it is busy, fails or does not answer.

        Args:
            url: of the path.
            payload: of a POST, as JSON; None sends a GET.
            texts: whose vectors the answer may hold.
            tries: at most.

        Raises:
            Stopped: the server does not answer, or is still busy after all tries.
        """
        wait, waited, last, status = _FIRST_WAIT, 0.0, Why(""), 0
        for attempt in range(tries):
            self._refuse_ended()
            began = clock()
            try:
                answer = self._ask(url, payload, texts)
            except (OSError, http.client.HTTPException) as error:
                last, asked, status = explain(error, self.timeout), None, 0
                if _is_refused(error) and attempt:  # the server was there, and is gone
                    break
            else:
                if answer.status not in (*_BUSY, *_BROKEN):
                    return answer
                status = answer.status
                last, asked = Why(f"status {status}: {answer.quote()}"), _seconds(answer)
                if asked is not None and asked > LONGEST_WAIT:
                    raise Stopped(
                        f"{shown(url)} asks to wait {asked:,.0f} s (status {status}), longer than the "
                        f"{LONGEST_WAIT:.0f} s that are waited: try again later.",
                        status,
                    )
            if attempt + 1 >= (_TRIES_BROKEN if status in _BROKEN else tries):
                break
            self._refuse_ended()
            pause = wait if asked is None else asked
            alone = self._lose(began, pause, url, status, last)
            said = last.reason if asked is None else f"status {status}"
            self._tell(pause, said, asked=asked is not None, alone=alone)
            pause_for(pause, self._connections.ended)
            waited, wait = waited + pause, 2 * wait
        tried = f"after {attempt + 1} {'try' if not attempt else 'tries'} and {waited:.0f} s of waiting"
        raise Stopped(f"{shown(url)} gives no answer {tried} ({last.reason}).", status, last)

    def end(self) -> None:
        """End the requests under way, their waits, and all that would follow."""
        self._connections.end()

    def _refuse_ended(self) -> None:
        if self._connections.ended.is_set():
            raise Stopped("the comparison was interrupted.")

    def clean(self, text: str) -> str:
        """Return a name or a fact of the server without the key, should it repeat it."""
        return hide(text, (self._key,) if self._key else ())

    def _ask(self, url: str, payload: Any, texts: int) -> Answer:
        headers = {"Accept": "application/json", "User-Agent": "cenote"}
        body = None
        if payload is not None:
            body, headers["Content-Type"] = json.dumps(payload).encode(), "application/json"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        most = _BYTES_BESIDE + texts * _BYTES_OF_A_TEXT
        try:
            return self._answer(self._connections.send(url, body, headers, most=most, direct=is_local(url)))
        except TooLong as error:
            raise Stopped(
                f"{shown(url)} answers with more than {most / 2**20:.0f} MB, which is more than vectors need: check "
                "the path and the server.",
                error.status,
            ) from error

    def _answer(self, found: Received) -> Answer:
        def header(name: str) -> str:
            return hide(found.headers.get(name) or "", self.secrets)

        kind = header("Content-Type").partition(";")[0].strip()
        wait, date, place = (header(name) for name in ("Retry-After", "Date", "Location"))
        return Answer(found.status, kind, found.body, wait, date, place, self.secrets)

    def _lose(self, began: float, pause: float, url: str, status: int, last: Why) -> bool:
        """Count a failed try and the wait after it; return whether no other request waits as long.

        Raises:
            Stopped: all requests together lost too much time.
        """
        with self._lock:
            until = clock() + pause
            more = max(0.0, until - max(began, self._lost_until))
            if self._lost + more > self._most_lost:
                raise Stopped(
                    f"{shown(url)} makes the comparison wait too long: {self._lost:,.0f} s so far, and {pause:,.0f} s "
                    f"more would be over the {self._most_lost:,.0f} s that are waited in all ({last.reason}). Try "
                    "again later, with fewer texts (--sample) or fewer requests at once (--concurrency).",
                    status,
                    last,
                )
            self._lost += more
            self._lost_until = max(self._lost_until, until)
            return more > pause / 2

    def _tell(self, seconds: float, why: str, *, asked: bool, alone: bool) -> None:
        """Say that a wait begins, unless it was said: eight threads may wait for the same reason."""
        words = f"asks to wait {seconds:.0f} s" if asked else f"is asked again in {seconds:.0f} s"
        with self._lock:
            longer = seconds > self._told.get(why, -1.0)
            self._told[why] = max(seconds, self._told.get(why, 0.0))
            if longer or (alone and seconds >= _LONG):
                self.notify(f"the server {words} ({why})")


def _seconds(answer: Answer) -> float | None:
    """Return the seconds that an answer asks to wait, by a number or a date; None for neither.

    A date is compared with that of the answer: the clocks of two machines differ.
    """
    try:
        found = float(answer.retry_after)
    except ValueError:
        pass
    else:
        return max(0.0, found) if math.isfinite(found) else None
    try:
        wait = parsedate_to_datetime(answer.retry_after) - parsedate_to_datetime(answer.date)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def _is_refused(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), ConnectionRefusedError)


_CHECK = "Check the host and the port."
# The first row that fits counts: a lost connection over TLS is also an SSLError.
_REASONS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (ConnectionRefusedError,),
        "connection refused: nothing listens there",
        "Start the server, or check the host and the port.",
    ),
    (
        (TimeoutError,),
        "no complete answer within {timeout:g} s",
        "Look whether the server works, or wait longer with --timeout (timeout=).",
    ),
    (
        (ConnectionError, http.client.IncompleteRead, ssl.SSLEOFError, ssl.SSLZeroReturnError),
        "the connection was closed before the answer was complete",
        "Look into the log of the server.",
    ),
    (
        (ssl.SSLCertVerificationError,),
        "its certificate is refused ({cause.verify_message})",
        "Give it a certificate that this machine trusts.",
    ),
    ((ssl.SSLError,), "it speaks no https", "Write http:// if the server has no certificate."),
    ((http.client.HTTPException,), "it speaks no http", "Check the port, and whether the server wants https://."),
)


def explain(error: Exception, timeout: float) -> Why:
    """Return why a server did not answer, and what to do."""
    cause = getattr(error, "reason", error)
    for kinds, reason, remedy in _REASONS:
        if isinstance(cause, kinds):
            return Why(reason.format(timeout=timeout, cause=cause), remedy)
    return Why(" ".join(str(cause).split()) or type(cause).__name__, _CHECK)
