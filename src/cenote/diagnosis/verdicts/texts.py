"""The verdicts on the texts themselves: texts excluded, copies, few texts, empty texts."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, MIN_TEXTS
from cenote.records import Grade, ModelDiagnosis, TextsRead, Verdict
from cenote.wording import were_excluded


def judge_excluded(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield a verdict for each measure that texts of this model were excluded from."""
    for measure in dict.fromkeys(part.measure for part in model.excluded):
        parts = [part for part in model.excluded if part.measure == measure]
        count = sum(part.count for part in parts)
        noun = "pair" if measure == "the given pairs" else "text"
        yield Verdict(
            model=model.name,
            subject="texts",
            grade="slight",
            finding=f"{were_excluded(count, noun)} from {measure}.",
            evidence=f"{'; '.join(part.in_words() for part in parts)}.",
            limit="What this model computes for them cannot be measured.",
            advice="Check these texts and their tokens.",
        )


def judge_texts(texts: TextsRead, distinct: int) -> Iterator[Verdict]:
    """Yield verdicts on copies, on too few texts and on empty texts; `distinct` counts the different texts."""
    if distinct < texts.used:
        many = 1 - distinct / texts.used >= CUTOFFS["copies"].value
        yield _verdict(
            "unknown" if distinct < MIN_TEXTS else "slight" if many else "fine",
            "All texts are the same." if distinct == 1 else f"Only {distinct} of {texts.used} texts are different.",
            "Pairs of copies count as pairs that lie close together, at the length of the copies.",
        )
    if texts.used < MIN_TEXTS:
        few = "One text is" if texts.used == 1 else f"{texts.used} texts are"
        yield _verdict(
            "unknown",
            f"{few} too few to generalise: the findings may describe nothing else.",
            f"Intervals and length bins need about {MIN_TEXTS} texts or more.",
        )
    if texts.empty:
        finding = f"{were_excluded(texts.empty, 'empty text')}."
        yield _verdict("fine", finding, "A text that holds only white space counts as empty.")


def _verdict(grade: Grade, finding: str, evidence: str) -> Verdict:
    return Verdict(model="", subject="texts", grade=grade, finding=finding, evidence=evidence, limit="", advice="")
