"""Closeness: the cosine of any two texts, regardless of length."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.records import ModelDiagnosis, Verdict
from cenote.wording import pluralise


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the description of closeness; none for a single text."""
    found = model.runs[0].length.closeness
    if found is None:
        return
    cosine = found.cosine
    yield Verdict(
        model=model.name,
        subject="closeness",
        grade="described",
        finding=f"Two random texts of yours have a cosine of {cosine.mean:.2f} on average; 80 % of the pairs lie "
        f"between {cosine.low:.2f} and {cosine.high:.2f}.",
        evidence=f"{pluralise(cosine.count, 'pair')} of vectors.",
        limit="This shows where scores lie, not how well they rank: texts on one subject should lie closer.",
        advice="A cut-off for scores has to be chosen on labelled pairs of your own; 0.7 means nothing by itself.",
    )
