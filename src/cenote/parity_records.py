"""The records that `cenote.parity` returns: whether two sides give the same vectors, how far apart they are, why."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from cenote.json_records import Result
from cenote.records import Estimate, TextsRead

# The least cosine that counts as agreement: half precision stays above it, and most wrong settings fall below it.
LEAST = 0.999
# The least cosine of two computations of one model at float32.
FLOAT32 = 0.99999
# How far the ratio of two norms may be from 1: half precision stays within a tenth of it.
NORM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Norms:
    """The norms of the vectors of one side."""

    least: float
    mean: float
    greatest: float
    unit: bool  # whether all are 1, within a hundredth


@dataclass(frozen=True)
class Side:
    """One of the two sides: a local model or a server."""

    name: str  # as it was given; of a server its address, without keys
    kind: str  # local, openai or tei
    model: str  # the name of the served model, or the pooling and the temperature of a local one
    dimensions: int
    norms: Norms | None
    declared: dict[str, str]  # facts that the side states of itself, such as its token limit


@dataclass(frozen=True)
class LengthPart:
    """The agreement of texts of some length, in tokens of the left model before it cuts them."""

    low: int
    high: int | None  # None for an interval that is open above
    texts: int
    least: float
    mean: float
    differ: int  # texts below the threshold


@dataclass(frozen=True)
class Worst:
    """One of the texts with the lowest cosines."""

    id: str
    text: str
    tokens: int
    cosine: float
    norm_ratio: float


@dataclass(frozen=True)
class Way:
    """The right side against itself: the same texts, asked for in another way."""

    name: str
    texts: int
    least: float | None  # cosine with its first answers; None where it gave none
    changed: int  # texts below the threshold
    misplaced: int  # texts of these that got the vector of another text
    least_with_left: float | None  # cosine of these answers with the left model
    stopped: str  # why the server stopped answering, or nothing


@dataclass(frozen=True)
class Trial:
    """The left model with other settings, on texts that differ and on some that agree."""

    kind: str  # pooling, prompt, window, modules, tokens, text, temperature, precision; several with "and"
    setting: str
    texts: int
    least: float
    mean: float
    explained: float  # share of the texts that differ and agree with this setting


@dataclass(frozen=True)
class Finding:
    """One way in which the sides differ: the likely cause, and what to do."""

    kind: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class Refused:
    """A text without a vector that could be compared."""

    id: str
    side: str  # left or right
    reason: str


@dataclass(frozen=True, repr=False)
class Parity(Result):
    """The result of `cenote.parity`: whether two sides give the same vectors, and the likely cause if not."""

    SCHEMA = 1  # version of the JSON format; others are refused
    PAGES = {".html": ("cenote.report.parity", "to_html"), ".md": ("cenote.report.parity", "to_markdown")}

    schema: int
    agrees: bool
    least_cosine: float | None  # None where no vectors could be compared, as of different widths
    mean_cosine: float | None
    cause: str | None  # the findings in one line; None if the sides agree, or if no cause was found
    threshold: float
    threshold_reason: str
    compared: int  # texts with a vector on both sides
    close: float | None  # share of texts with a cosine of at least 0.999
    neighbours: Estimate | None  # share of the ten nearest texts that are the same on both sides
    norm_ratio: tuple[float, float, float] | None  # right over left: least, median, greatest
    complete: bool  # whether the right side answered to the end
    left: Side
    right: Side
    findings: tuple[Finding, ...]
    by_length: tuple[LengthPart, ...]
    worst: tuple[Worst, ...]
    ways: tuple[Way, ...]
    trials: tuple[Trial, ...]
    refused: tuple[Refused, ...]
    notes: tuple[str, ...]
    texts: TextsRead
    settings: dict[str, Any]
    versions: dict[str, str]

    def __repr__(self) -> str:
        """Return two lines: the sides, and whether they agree."""
        return f"Parity of {self.left.name} and {self.right.name} on {self.compared:,} texts\n{self.verdict}"

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        least = "no cosine" if self.least_cosine is None else f"least cosine {self.least_cosine:.6f}"
        if self.agrees:
            words = {FLOAT32: "as close as float32 rounds", LEAST: "as close as half precision rounds"}
            reached = (meaning for bound, meaning in words.items() if (self.least_cosine or 0) >= bound)
            return f"agrees: {least}, {next(reached, f'above the threshold of {self.threshold:g} that was given')}"
        return f"does not agree: {least}; {self.cause or 'no setting that was tried explains it'}"

    def _repr_html_(self) -> str:
        """Return both lines, for notebooks."""
        return "".join(f"<p>{escape(line)}</p>" for line in repr(self).splitlines())
