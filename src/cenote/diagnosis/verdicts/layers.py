"""The verdict on layers that could not be traced."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.records import NO_LAYERS, ModelDiagnosis, Verdict


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield a verdict if the layers could not be traced; none if the user asked for no trace."""
    reason = model.runs[0].untraced
    if reason not in (None, NO_LAYERS):
        yield Verdict(
            model=model.name,
            subject="layers",
            grade="unknown",
            finding="The layers of this model could not be traced.",
            evidence=f"{reason}",
            limit="All measures that need no trace of the layers are complete.",
            advice="",
        )
