"""The verdict on closeness: the cosine of any two texts, regardless of length."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import MIN_TEXTS, THRESHOLDS
from cenote.records import ModelDiagnosis, Verdict
from cenote.wording import pluralise


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on closeness; none for a single text."""
    found = model.runs[0].length.closeness
    if found is None:
        return
    cosine = found.cosine
    enough = model.lengths.tokens.count >= MIN_TEXTS
    grade = THRESHOLDS["closeness"].grade(cosine.mean) if enough else "unknown"
    yield Verdict(
        model=model.name,
        subject="closeness",
        grade=grade,
        finding=f"Two random texts of yours have a cosine of {cosine.mean:.2f} on average; 80 % of the pairs lie "
        f"between {cosine.low:.2f} and {cosine.high:.2f}.",
        evidence=f"{pluralise(cosine.count, 'pair')} of embeddings.",
        limit="This shows where scores lie, not how well they rank; texts on one subject should lie closer.",
        advice=""
        if grade in ("none", "unknown")
        else "Compare scores with this average; choose cut-offs on labelled data.",
    )
