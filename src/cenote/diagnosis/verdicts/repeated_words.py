"""Repeated words: whether length alone makes two texts similar."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.records import ModelDiagnosis, Verdict


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the description of the probe of repeated words, if it was measured."""
    found = model.runs[0].repeated
    if found is None or not found.cosines:
        return
    first, second = found.words
    yield Verdict(
        model=model.name,
        subject="repeated words",
        grade="described",
        finding=f"“{first}” and “{second}” have a cosine of {found.cosines[0]:.2f}, and of {found.cosines[-1]:.2f} "
        f"when each is repeated to {found.tokens[-1]} tokens.",
        evidence="Between these lengths the cosine may fall and rise: the page has the whole curve.",
        limit="This probes two words, not your texts.",
        advice="",
    )
