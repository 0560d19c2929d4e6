"""Progress of a long command: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cenote.commands.terminal import say

# Seconds between lines: a run of a night logs a thousand.
EVERY = 30.0


class Lines:
    """Write a line at the start of each step, with its total if known, and then at most one every `EVERY` seconds.

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
        self._started = self._written = 0.0
        self._first = 0  # what was done already when the step began

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report how much of a step is done."""
        now = self._clock()
        if step != self._step:
            self._step, self._started, self._written, self._first = step, now, now, done
            self._write(f"{step}: {total:,}" if total > 1 else step)
        elif now - self._written >= EVERY and (not total or done < total):
            self._written = now
            of_total = f" of {total:,}" if total else ""
            self._write(f"{step}: {done:,}{of_total}{self._pace(done, total, now - self._started)}")

    def _pace(self, done: int, total: int, seconds: float) -> str:
        """Return the rate, if anything was done, and the time left, if the total is known."""
        moved = done - self._first
        if moved <= 0:
            return ""
        rate = moved / seconds
        pace = f"{_short(rate)} a second" if rate >= 1 else f"{_short(1 / rate)} s each"
        return f", {pace}, {_span((total - done) / rate)} left" if total else f", {pace}"


def _short(value: float) -> str:
    """Return a number with two digits, or with all digits before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{_short(seconds / 3600)} h"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a progress callback: a bar with rate and time left on a terminal, `Lines` elsewhere, on standard error."""
    if not sys.stderr.isatty():
        yield Lines(say)
        return
    from tqdm import tqdm

    bar = tqdm(disable=True)  # before the first step

    def tell(step: str, done: int, total: int) -> None:
        nonlocal bar
        if bar.disable or step != bar.desc:
            bar.close()
            bar = tqdm(desc=step, total=total or None, initial=done, file=sys.stderr, leave=False, dynamic_ncols=True)
        bar.total = total or None  # the total may become known during the step
        bar.update(done - bar.n)

    try:
        yield tell
    finally:
        bar.close()
