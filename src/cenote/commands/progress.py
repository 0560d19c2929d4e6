"""How far a long command is: a bar for a person, and a few lines for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# A night's run, told every half minute, is a log of a thousand lines.
EVERY = 30.0  # seconds


class Lines:
    """A line for each step, with how much there is of it if that is known, and one at most every `EVERY` seconds.

    >>> seconds = iter([0.0, 10.0, 40.0])
    >>> tell = Lines(print, clock=lambda: next(seconds))
    >>> tell("reading texts", 0, 1000)
    reading texts: 1,000
    >>> tell("reading texts", 100, 1000)
    >>> tell("reading texts", 400, 1000)
    reading texts: 400 of 1,000, 10 a second, 1 min left
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._step = ""
        self._started = self._said = 0.0
        self._first = 0  # how much was done when the step was first heard of

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note that so much is done, and say it if it is time."""
        now = self._clock()
        if what != self._step:
            self._step, self._started, self._said, self._first = what, now, now, done
            self._write(f"{what}: {total:,}" if total > 1 else what)
        elif now - self._said >= EVERY and (not total or done < total):
            self._said = now
            there = f" of {total:,}" if total else ""
            self._write(f"{what}: {done:,}{there}{self._pace(done, total, now - self._started)}")

    def _pace(self, done: int, total: int, seconds: float) -> str:
        """Rate, once there is one, and time left, where it is known how much is."""
        moved = done - self._first
        if moved <= 0:
            return ""
        rate = moved / seconds
        pace = f"{_short(rate)} a second" if rate >= 1 else f"{_short(1 / rate)} s each"
        return f", {pace}, {_span((total - done) / rate)} left" if total else f", {pace}"


def _short(value: float) -> str:
    """Two digits, or as many as stand before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{_short(seconds / 3600)} h"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, with rate and time left; quiet lines elsewhere. Both on standard error."""
    if not sys.stderr.isatty():
        yield Lines(lambda line: print(f"cenote: {line}", file=sys.stderr, flush=True))
        return
    from tqdm import tqdm

    bar: Any = None
    step = ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal bar, step
        if what != step:
            step = what
            if bar is not None:
                bar.close()
            bar = tqdm(desc=what, total=total or None, initial=done, file=sys.stderr, leave=False, dynamic_ncols=True)
        bar.total = total or None  # a step may begin before anybody knows how long it is
        bar.update(done - bar.n)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()
