"""Thresholds of all verdicts, each with its reason: the one table that verdicts, summaries and reports use."""

from __future__ import annotations

from dataclasses import dataclass

from cenote.records import Grade

# From the worst to the best, then what is not known, then what is not judged.
GRADES: tuple[Grade, ...] = ("severe", "moderate", "slight", "fine", "unknown", "described")


@dataclass(frozen=True)
class Threshold:
    """The values from which a measure counts as slight, moderate and severe, and the reason for them."""

    steps: tuple[float, float, float]
    reason: str

    def grade(self, value: float) -> Grade:
        """Return the grade of a value; higher values are worse."""
        return GRADES[3 - sum(value >= step for step in self.steps)]


THRESHOLDS = {
    "search": Threshold(
        (0.1, 0.25, 0.5),
        "share of the sentences, or of the given queries, that do not find their text first among the texts searched: "
        "one in ten, one in four, every other one",
    ),
    "truncation": Threshold(
        (0.02, 0.1, 0.25),
        "share of the sentences that are not read in their text and do not find it: one in fifty, one in ten, one in "
        "four",
    ),
    "pooling": Threshold(
        (0.05, 0.15, 0.3),
        "share of the sentences that are read, and found by tokens or by a window, but not by the single vector of "
        "their text: one in twenty, one in seven, one in three",
    ),
}


@dataclass(frozen=True)
class Cutoff:
    """A single value at which a verdict changes, and the reason for it."""

    value: float
    reason: str


CUTOFFS = {
    "texts": Cutoff(
        20, "fewer texts or pairs describe little more than themselves: a mean is known to a fifth of its spread"
    ),
    "repeated sentences": Cutoff(
        0.05, "share of the sentences that stand in several texts, which no search can tell apart"
    ),
    "nearly all": Cutoff(0.5, "share of unread tokens from which the account cannot rank settings"),
    "severe pair": Cutoff(
        0.5, "a high SOCM, by the paper; a round number. Most such pairs have means that lie far apart"
    ),
    "one text": Cutoff(0.5, "share of the truncated tokens from which the figure describes one text and not the texts"),
    "change": Cutoff(
        0.05, "a change of closeness by length, in standard deviations of all cosines, that is too small to notice"
    ),
    "large change": Cutoff(0.2, "the same, so large that an interval which holds it cannot say that there is none"),
    "copies": Cutoff(0.05, "share of copies from which they affect means and intervals"),
}
# Fewer texts or pairs get no verdict.
MIN_TEXTS = round(CUTOFFS["texts"].value)
