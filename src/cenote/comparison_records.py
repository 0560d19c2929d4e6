"""The records that `cenote.compare` returns: settings on the same items, with what the items can and cannot resolve."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from cenote.json_records import Result
from cenote.records import Estimate, Shares

# How a setting stands to its baseline. `equal`: no item differs; `cannot be resolved`: so few differ that no result
# could be significant, or without labels the temperature alone does; `too few items`, `items not known`: nothing is
# claimed.
Verdict = Literal[
    "baseline", "better", "worse", "not told apart", "equal", "cannot be resolved", "too few items", "items not known"
]
# Verdicts on settings that were not tested.
_NO_CLAIM: tuple[Verdict, ...] = ("too few items", "items not known")
# Smaller differences of own sentences are not called better or worse: word weights raised the share found by .01 to
# .02, and nDCG not.
LEAST_WITHOUT_LABELS = 0.03
# Fewer texts are read too fast to time.
FEW_TEXTS = 500


@dataclass(frozen=True)
class ByLength:
    """A difference among the items of one quarter by length."""

    by: str  # the text whose length it is
    name: str
    items: int
    difference: Estimate


@dataclass(frozen=True)
class Cell:
    """One setting on one task, and its difference from the setting that it is compared with."""

    setting: str  # its name
    model: str
    pooling: str
    temperature: str
    limit: int | None  # tokens after which texts are cut
    long: str  # how longer texts are read
    task: str  # `all` for the mean over tasks
    kind: str
    metric: str
    score: float
    baseline: str  # the setting that it is compared with; its own name for a baseline
    difference: Estimate
    relative: float | None  # the difference over the score of the baseline
    p: float | None  # of one test for all settings and tasks; None for a baseline
    p_alone: float | None  # as if there were no other
    effect: float | None  # the mean difference of items over its standard deviation
    wins: int
    losses: int
    ties: int
    resolvable: float | None  # the smallest difference that would be found four times of five; .03 or more of sentences
    verdict: Verdict
    neighbours: float | None  # average overlap of the ten nearest texts with those of the baseline
    by_length: tuple[ByLength, ...] = ()
    items: int = 0  # queries, texts, pairs or sentences
    reciprocal_rank: Estimate | None = None  # the mean over own sentences; None for labelled data
    fates: Shares | None = None  # what becomes of own sentences that are kept in their texts


@dataclass(frozen=True)
class Cost:
    """The price of a setting: time and the size of its vectors."""

    setting: str
    dimensions: int
    vectors: float  # for each text
    seconds: float  # for 1,000 texts; settings that share a pass have its time
    texts: int


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """The result of `cenote.compare`: the score of each setting, and how it differs from the model's own."""

    SCHEMA = 1  # version of the JSON format; others are refused
    PAGES = {".html": ("cenote.report.comparison", "to_html"), ".md": ("cenote.report.comparison", "to_markdown")}

    schema: int
    models: tuple[str, ...]
    cells: tuple[Cell, ...]
    costs: tuple[Cost, ...]
    labelled: bool  # False: the account of own sentences in place of labels
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    def of(self, task: str) -> tuple[Cell, ...]:
        """Return the cells of a task."""
        return tuple(cell for cell in self.cells if cell.task == task)

    def answer(self, task: str) -> str:
        """Return what the cells of a task say, in a sentence or two."""
        cells = [cell for cell in self.of(task) if cell.verdict != "baseline"]
        own = [cell.setting for cell in self.of(task) if cell.verdict == "baseline"]
        than = own[0] if len(own) == 1 else "its baseline"
        if cells and all(cell.verdict in _NO_CLAIM for cell in cells):
            return f"Nothing can be claimed: {' or '.join(dict.fromkeys(cell.verdict for cell in cells))}."
        said = {
            verdict: "; ".join(cell.setting for cell in cells if cell.verdict == verdict)
            for verdict in ("better", "worse")
        }
        found = f"Better than {than}: {said['better']}." if said["better"] else f"Nothing is better than {than}."
        found += f" Worse: {said['worse']}." if said["worse"] else ""
        sizes = sorted(cell.resolvable for cell in cells if cell.resolvable is not None)
        if sizes:
            most = f", in some settings {sizes[-1]:.4f}" if sizes[-1] > sizes[0] else ""
            found += f" These items would show differences from {sizes[0]:.4f} on{most}."
            if not self.labelled:
                found += f" Without labels no difference below {LEAST_WITHOUT_LABELS:g} is claimed."
        return found

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, the mean over all last where there are several."""
        return tuple(dict.fromkeys(cell.task for cell in self.cells))

    def __repr__(self) -> str:
        """Return a line for each cell."""
        lines = [f"Comparison of {len({cell.setting for cell in self.cells})} settings"]
        return "\n".join([*lines, *(f"{one.task}: {one.setting} {one.score:.4f}, {one.verdict}" for one in self.cells)])

    def _repr_html_(self) -> str:
        """Return a table of the cells, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(cell.task)}</td><td>{escape(cell.setting)}</td><td>{cell.score:.4f}</td>"
            f"<td>{cell.difference.value:+.4f}</td><td>{cell.verdict}</td></tr>"
            for cell in self.cells
        )
        return (
            f"<table><tr><th>task</th><th>setting</th><th>score</th><th>difference</th><th>verdict</th></tr>{rows}"
            "</table>"
        )
