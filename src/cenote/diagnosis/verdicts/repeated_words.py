"""Repeated words: whether length alone makes two texts similar."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.records import ModelDiagnosis, Verdict
from cenote.wording import pluralise


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the description of the probe of repeated words, if it was measured."""
    pairs = [one for one in model.runs[0].repeated if one.cosines]
    if not pairs:
        return
    once, last = ([one.cosines[end] for one in pairs] for end in (0, -1))
    rising = sum(after > before for before, after in zip(once, last, strict=True))
    lowest = sum(min(one.cosines) for one in pairs) / len(pairs)
    yield Verdict(
        model=model.name,
        subject="repeated words",
        grade="described",
        finding=f"{pluralise(len(pairs), 'pair')} of words have a mean cosine of {sum(once) / len(pairs):.2f}, and of "
        f"{sum(last) / len(pairs):.2f} when each word is repeated to {pairs[0].tokens[-1]} tokens.",
        evidence=f"It rises in {rising} of {len(pairs)} pairs. In between it may be lower, {lowest:.2f} on average at "
        "the lowest: the page has the whole curve.",
        limit="This probes repeated words, not your texts.",
        advice="",
    )
