"""Thresholds of all verdicts, each with its reason: the one table that verdicts, summaries and reports use."""

from __future__ import annotations

from dataclasses import dataclass

from cenote.records import Estimate, Grade

# From the worst to the best; unknown comes last.
GRADES: tuple[Grade, ...] = ("severe", "moderate", "slight", "none", "unknown")


@dataclass(frozen=True)
class Threshold:
    """The values from which a measure counts as slight, moderate and severe, and the reason for them."""

    steps: tuple[float, float, float]
    reason: str

    def grade(self, value: float) -> Grade:
        """Return the grade of a value; higher values are worse."""
        return GRADES[3 - sum(value >= step for step in self.steps)]

    def grade_estimate(self, estimate: Estimate, unit: float = 1.0) -> Grade:
        """Return the grade of an estimate in multiples of `unit`, or unknown if its interval is too wide.

        An interval is too wide if its low end is two grades below the value, or if the value has grade none and the
        high end is moderate.
        """
        if estimate.low is None or estimate.high is None:
            return "unknown"
        _, moderate, _ = self.steps
        grade, low = self.grade(estimate.value / unit), self.grade(estimate.low / unit)
        if grade == "none":
            return "none" if estimate.high / unit < moderate else "unknown"
        return grade if GRADES.index(low) - GRADES.index(grade) < 2 else "unknown"


THRESHOLDS = {
    "truncation": Threshold(
        (0.001, 0.05, 0.25), "share of tokens that the model never reads: no search can find truncated text"
    ),
    "length collapse": Threshold(
        (0.2, 0.5, 1.0),
        "mean cosine of long texts minus that of short texts, in standard deviations of all pairs' cosines, so that "
        "models whose cosines lie close together are judged on the same scale. If both were normally distributed, a "
        "pair of long texts would be closer than a pair of short texts in 56, 64 and 76 of 100 draws instead of 50",
    ),
    "second-order collapse": Threshold(
        (0.05, 0.15, 0.3),
        "mean SOCM over pairs. Published means range from 0.02 (GTE, E5 base) through 0.1 to 0.2 (mpnet, SimCSE) to "
        "0.3 and more (MiniLM-L12, BERT, models never tuned on sentences)",
    ),
    "closeness": Threshold(
        (0.3, 0.6, 0.8),
        "mean cosine of two random texts. Rankings do not depend on it, cut-offs do: users of models that score "
        "unrelated texts at 0.7 to 0.9 took them for matches",
    ),
    "repeated words": Threshold(
        (0.8, 0.9, 0.97),
        "cosine of two different words, each repeated up to the model's limit or to 2,048 tokens (256 if "
        "quick): two texts with nothing in common",
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
    "severe pair": Cutoff(
        0.5, "SOCM of a pair whose means almost coincide while its tokens spread very differently; a round number"
    ),
    "one text": Cutoff(0.5, "share of the truncated tokens from which the figure describes one text and not the texts"),
    "rise": Cutoff(0.05, "a rise of a probe's cosine with length that rounding and tokenization do not explain"),
    "change": Cutoff(
        0.05, "a change by temperature, in standard deviations of all cosines, that is too small to notice"
    ),
    "copies": Cutoff(0.05, "share of copies from which they affect means and intervals"),
}
# Fewer texts or pairs get no verdict.
MIN_TEXTS = round(CUTOFFS["texts"].value)
