"""The verdict on repeated words: whether length alone makes two texts similar."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import ModelDiagnosis, Verdict


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on the probe of repeated words, if it was measured."""
    found = model.runs[0].repeated
    if found is None or not found.cosines:
        return
    once, last = found.cosines[0], found.cosines[-1]
    # Words that are similar from the start show nothing of length.
    rises = last - once >= CUTOFFS["rise"].value
    grade = THRESHOLDS["repeated words"].grade(last) if rises else "none"
    first, second = found.words
    yield Verdict(
        model=model.name,
        subject="repeated words",
        grade=grade,
        finding=f"“{first}” and “{second}” have a cosine of {once:.2f}, and of {last:.2f} when each is repeated to "
        f"{found.tokens[-1]} tokens{'' if grade == 'none' else ': length alone makes different texts similar'}.",
        evidence="The two texts have nothing in common; with length collapse, their cosine rises with length."
        if rises
        else "It does not rise with length, so length alone does not make them similar.",
        limit="This probes two words, not your texts.",
        advice="",
    )
