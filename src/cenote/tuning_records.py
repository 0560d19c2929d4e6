"""The records that `cenote.tune` returns: a temperature chosen on one half of the data, and tried on the other."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from cenote.json_records import Result
from cenote.records import Estimate

# What a temperature depends on.
Form = Literal["constant", "length", "role"]


@dataclass(frozen=True)
class Tried:
    """A temperature that was tried on the development half."""

    temperature: str  # in words
    form: Form
    query: float | None  # of a form by role; of a constant both are the same; None by length
    document: float | None
    gain: Estimate  # relative change of the score, on average over tasks
    tasks: tuple[float, ...]  # relative change of each task


@dataclass(frozen=True)
class Confirmed:
    """The chosen temperature on the held-out half of one task, or on all of them."""

    task: str  # `all` for the mean of relative changes
    kind: str
    metric: str
    items: int
    before: float  # the score at the model's own temperature; of all tasks the mean of their scores
    after: float
    difference: Estimate  # after minus before; of all tasks the mean of their relative changes, as in `resolvable`
    relative: float
    p: float | None  # of one test for all tasks; of all tasks together that of one test
    resolvable: float | None  # the smallest difference that the test of `p` would find four times of five


@dataclass(frozen=True, repr=False)
class Tuning(Result):
    """The result of `cenote.tune`: a temperature with its gain on held-out data, or none."""

    SCHEMA = 1  # version of the JSON format; others are refused
    PAGES = {".html": ("cenote.report.tuning", "to_html"), ".md": ("cenote.report.tuning", "to_markdown")}

    schema: int
    model: str
    pooling: str
    own: str  # the model's own temperature, in words
    recommendation: Any  # a number, a schedule by length, one of these for each role; None where nothing helps
    answer: str  # in a sentence
    chosen: str | None  # the best temperature of the development half, in words; None where none was better
    gain: Estimate | None  # relative, of the chosen temperature on the held-out half; None where none was read
    expected: Estimate  # relative, of choosing so, by cross-validation within the development half
    tried: tuple[Tried, ...]  # on the development half
    tasks: tuple[str, ...]
    held_out: tuple[Confirmed, ...]
    needed: int | None  # items of a half that would show the paper's gain of 0.53 % four times of five
    notes: tuple[str, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    def __repr__(self) -> str:
        """Return the answer."""
        return f"Tuning of {self.model}: {self.answer}"

    def _repr_html_(self) -> str:
        """Return the answer and a row for each temperature, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(one.temperature)}</td><td>{100 * one.gain.value:+.2f} %</td></tr>" for one in self.tried
        )
        return f"<p>{escape(self.answer)}</p><table><tr><th>temperature</th><th>development</th></tr>{rows}</table>"
