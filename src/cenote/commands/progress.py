"""Progress of a long command: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cenote.commands.terminal import printable, say
from cenote.wording import in_minutes

# Seconds between lines: a run of a night logs a thousand.
EVERY = 30.0


class Pace:
    """The rate of a step, by how much of it was done at what time.

    >>> pace = Pace()
    >>> pace.reach(100, now=0.0)
    >>> pace.reach(300, now=10.0)
    >>> pace.rate, pace.seconds(400)
    (20.0, 20.0)
    """

    def __init__(self) -> None:
        self.done, self._now = 0, 0.0
        self._start: tuple[int, float] | None = None  # what was done at the first report, and its time

    def reach(self, done: int, now: float) -> None:
        """Note how much is done at a time."""
        self.done, self._now = done, now
        self._start = self._start or (done, now)

    @property
    def rate(self) -> float | None:
        """How much is done in a second; None as long as nothing was done."""
        done, start = self._start or (self.done, self._now)
        return (self.done - done) / (self._now - start) if self.done > done and self._now > start else None

    def seconds(self, more: int) -> float | None:
        """Return the time that so much more takes; None as long as nothing was done."""
        return None if self.rate is None else more / self.rate


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
        self._step, self._written, self._pace = "", 0.0, Pace()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report how much of a step is done."""
        now = self._clock()
        begins = step != self._step
        if begins:
            self._step, self._written, self._pace = step, now, Pace()
            self._write(f"{step}: {total:,}" if total > 1 else step)
        self._pace.reach(done, now)
        if not begins and now - self._written >= EVERY and (not total or done < total):
            self._written = now
            of_total = f" of {total:,}" if total else ""
            self._write(f"{step}: {done:,}{of_total}{_rate_in_words(self._pace, total)}")


def _rate_in_words(pace: Pace, total: int) -> str:
    """Return the rate, if anything was done, and the time left, if the total is known."""
    rate, left = pace.rate, pace.seconds(total - pace.done)
    if rate is None or left is None:
        return ""
    shown = f"{_short(rate)} a second" if rate >= 1 else f"{_short(1 / rate)} s each"
    return f", {shown}, {in_minutes(left)} left" if total else f", {shown}"


def _short(value: float) -> str:
    """Return a number with two digits, or with all digits before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


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
        name = printable(step)
        if bar.disable or name != bar.desc:
            bar.close()
            bar = tqdm(desc=name, total=total or None, initial=done, file=sys.stderr, leave=False, dynamic_ncols=True)
        bar.total = total or None  # the total may become known during the step
        bar.update(done - bar.n)

    try:
        yield tell
    finally:
        bar.close()
