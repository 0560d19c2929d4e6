"""The records that `cenote.evaluate` returns: scores of tasks, with intervals, by length, and the worst items."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from cenote.json_records import Result
from cenote.records import Estimate

# Fewer items claim nothing: a score, and no interval.
FEWEST_ITEMS = 30
# The paper's intervals, parts of equal size, and both ends of length.
Division = Literal["interval", "quarter", "end"]


@dataclass(frozen=True)
class Part:
    """The score of a part of the items, by the length of a text in tokens."""

    by: str  # the text that is measured, such as `document`
    division: Division
    name: str  # such as `100 to 199 tokens`, or `longest 20 %`
    low: float  # tokens of the shortest text that the part may hold, or holds
    high: float | None  # of the longest; None for an interval that is open above
    items: int
    score: Estimate | None  # None for fewer than 30 items, or sources if all were of equal size; for equal scores
    entropy: float | None = None  # mean entropy of the predicted probabilities, of a classification


@dataclass(frozen=True)
class Setting:
    """The score of the same items where long texts are read another way, paired with the score of the task."""

    name: str
    score: Estimate
    change: Estimate
    vectors: float  # for each text


@dataclass(frozen=True)
class Position:
    """How many queries find their text first where the words that answer them stand at one place of a longer text."""

    way: str  # how long texts are read
    place: str  # start, middle or end
    items: int
    found: Estimate


@dataclass(frozen=True)
class Worst:
    """One of the items with the lowest values."""

    item: str
    text: str
    value: float
    expected: str
    found: str


@dataclass(frozen=True)
class TaskScore:
    """The score of a task as MTEB computes it, with a 95 % interval, and how it depends on length."""

    name: str
    kind: str
    metric: str
    score: float
    low: float | None
    high: float | None
    items: int
    interval: str  # what the interval is for: other queries, pairs, texts or sources, or other draws of the same texts
    by_length: tuple[Part, ...]
    settings: tuple[Setting, ...]  # other ways to read long texts
    positions: tuple[Position, ...]
    worst: tuple[Worst, ...]
    scores: dict[str, float]  # every figure that MTEB computes of the task
    longest_rank: float | None  # mean rank of the relevant texts that are among the longest 20 %; of a retrieval
    texts: int  # different texts that were read
    cut: int  # of these, texts that the model cuts
    notes: tuple[str, ...]
    data: str  # fingerprint of the data, or the revision of an official task
    split: str
    part_metric: str | None = None  # the measure of the parts by length, where it is another than `metric`
    part_score: Estimate | None = None  # of all items, by that measure


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """The result of `cenote.evaluate`: the scores of a model on tasks."""

    SCHEMA = 1  # version of the JSON format; others are refused
    PAGES = {".html": ("cenote.report.evaluation", "to_html"), ".md": ("cenote.report.evaluation", "to_markdown")}

    schema: int
    model: str
    fingerprint: str
    pooling: str
    temperature: str
    limit: int | None
    tasks: tuple[TaskScore, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    def __repr__(self) -> str:
        """Return a line for each task."""
        lines = [f"Evaluation of {self.model} on {len(self.tasks)} task{'' if len(self.tasks) == 1 else 's'}"]
        return "\n".join([*lines, *(f"{task.name}: {task.metric} {task.score:.4f}" for task in self.tasks)])

    def _repr_html_(self) -> str:
        """Return a table of the scores, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(task.name)}</td><td>{escape(task.metric)}</td><td>{task.score:.4f}</td></tr>"
            for task in self.tasks
        )
        return f"<table><tr><th>task</th><th>metric</th><th>score</th></tr>{rows}</table>"
