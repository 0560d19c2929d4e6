"""The callbacks of a long job: progress, notices, and the question whether to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

# Called with the name of a step, how much of it is done, and how much there is (0: unknown).
Progress = Callable[[str, int, int], object]
Advance = Callable[[int], object]  # called with how much more of a step is done


def silent(*_: object) -> None:
    """Report nothing."""


def never() -> bool:
    """Do not stop."""
    return False


@dataclass(frozen=True)
class Listener:
    """The callbacks of a job: they report its progress and its choices, and may stop it."""

    progress: Progress = silent
    notify: Callable[[str], object] = silent  # called with a sentence
    stop: Callable[[], bool] = never  # asked between parts of the work
    label: str = ""  # stands before the name of every step

    def step(self, name: str, total: int = 0, done: int = 0) -> Step:
        """Announce a step of the work, of which `done` is done already."""
        step = Step(self, f"{self.label}{name}", total, done)
        step(0)
        return step

    def labelled(self, label: str) -> Listener:
        """Return the same listener, with a label before the name of every step."""
        return replace(self, label=label)


@dataclass
class Step:
    """One step of a job. Call it with how much more is done."""

    listener: Listener
    name: str
    total: int
    done: int

    def __call__(self, more: int) -> None:
        """Report that so much more is done."""
        self.reach(self.done + more)

    def reach(self, done: int, _total: int = 0) -> None:
        """Report how much is done in all; fits where a function reports `(done, total)`."""
        self.done = done
        self.listener.progress(self.name, done, self.total)
