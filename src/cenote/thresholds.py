"""What counts as how much, and why: the one table that verdicts, summaries and pages go by."""

from __future__ import annotations

from dataclasses import dataclass

from cenote.results import Estimate, Grade

SEVERITY: tuple[Grade, ...] = ("severe", "moderate", "slight", "none", "unknown")


@dataclass(frozen=True)
class Threshold:
    """From what value on a measure counts as slight, moderate or severe, and why there."""

    slight: float
    moderate: float
    severe: float
    reason: str

    def grade(self, value: float) -> Grade:
        """The grade of a value: higher is worse."""
        steps: tuple[tuple[float, Grade], ...] = (
            (self.severe, "severe"),
            (self.moderate, "moderate"),
            (self.slight, "slight"),
        )
        return next((grade for least, grade in steps if value >= least), "none")

    def of_estimate(self, found: Estimate, unit: float = 1.0) -> Grade:
        """That of the value; unknown where the interval reaches down by two grades, or from none up to moderate."""
        if found.low is None or found.high is None:
            return "unknown"
        grade, low = self.grade(found.value / unit), self.grade(found.low / unit)
        if grade == "none":
            return "none" if found.high / unit < self.moderate else "unknown"
        return grade if SEVERITY.index(low) - SEVERITY.index(grade) < 2 else "unknown"


THRESHOLDS = {
    "truncation": Threshold(
        0.001,
        0.05,
        0.25,
        "share of tokens never seen: what is cut cannot be found at all, whatever becomes of the rest",
    ),
    "length collapse": Threshold(
        0.2,
        0.5,
        1.0,
        "mean cosine of long texts minus that of short ones, in deviations of the cosines of all pairs, so that models "
        "whose cosines lie close together are held to the same measure. Were both bell-shaped, a pair of long texts "
        "would be the closer one in 56, 64 and 76 of 100 draws against a pair of short ones, instead of in 50",
    ),
    "second-order collapse": Threshold(
        0.05,
        0.15,
        0.3,
        "mean SOCM over pairs. Published means run from 0.02 (GTE, E5 base) by 0.1 to 0.2 (mpnet, SimCSE) to 0.3 and "
        "more (MiniLM-L12, BERT, never tuned on sentences)",
    ),
    "closeness": Threshold(
        0.3,
        0.6,
        0.8,
        "mean cosine of two texts drawn at random. Ranks do not depend on it, cut-offs do: users of models that score "
        "unrelated texts at 0.7 to 0.9 took those for matches",
    ),
    "repeated words": Threshold(
        0.8,
        0.9,
        0.97,
        "cosine of one word repeated up to the model's limit, or 2,048 tokens (256 when quick), and another: two texts "
        "with nothing in common",
    ),
}


@dataclass(frozen=True)
class Limit:
    """A value at which something else is said, and why there."""

    value: float
    reason: str


LIMITS = {
    "texts": Limit(
        20, "fewer texts, or pairs, say little of more than themselves: a mean is known to a fifth of its spread"
    ),
    "severe pair": Limit(
        0.5, "SOCM of a pair whose means all but coincide while its tokens spread quite differently; a round number"
    ),
    "one text": Limit(0.5, "share of what is cut, from which the figure is of one text and not of the texts"),
    "rise": Limit(0.05, "a rise of a probe's cosine with length that more than rounding and tokenisation explain"),
    "change": Limit(0.05, "a change by temperature, in deviations of the cosines, below which nobody would notice it"),
    "copies": Limit(0.05, "share of copies from which they weigh on means and intervals"),
}
# Of fewer texts, or pairs, nothing is said.
ENOUGH = round(LIMITS["texts"].value)
