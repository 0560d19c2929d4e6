"""Length collapse: whether the same texts lie closer together where more of them is read."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, MIN_TEXTS
from cenote.records import LengthCurve, ModelDiagnosis, Verdict
from cenote.wording import percent, pluralise, signed_estimate

_SUBJECT = "length collapse"
# A change of cosines that is none, whatever their deviation.
_ROUNDING = 0.005


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the description of length collapse of the unchanged model."""
    curve, cuts = model.runs[0].length, model.runs[0].cut_lengths
    natural = _describe_bins(model, curve)
    if cuts is None:
        yield Verdict(
            model=model.name,
            subject=_SUBJECT,
            grade="unknown",
            finding="These texts cannot show what length alone does: too few are long enough to be cut at two lengths, "
            "and have a vector at each.",
            evidence=natural,
            limit=f"The measure cuts the same texts at several lengths, and needs {MIN_TEXTS} of 64 tokens or more.",
            advice="",
        )
        return
    first, last, change = cuts.cuts[0], cuts.cuts[-1], cuts.change
    said = (
        f"cut at {first.tokens} tokens, {cuts.texts} texts have a mean cosine of {first.cosine.value:.2f}; cut at "
        f"{last.tokens}, the same texts have {last.cosine.value:.2f}"
    )
    unit = curve.unit or 0.0
    notable = abs(change.value) >= CUTOFFS["change"].value * unit
    if change.low is not None and change.low > 0 and notable:
        finding = f"Reading more of the same texts draws them together: {said}."
    elif change.high is not None and change.high < 0 and notable:
        finding = f"Reading more of the same texts moves them apart: {said}."
    elif change.high is not None and change.high <= max(_ROUNDING, CUTOFFS["large change"].value * unit):
        finding = f"Reading more of the same texts does not draw them together: {said}."
    else:
        finding = f"These texts do not show whether reading more draws them together: {said}."
    steps = ", ".join(f"{cut.tokens} tokens {cut.cosine.value:.3f}" for cut in cuts.cuts)
    yield Verdict(
        model=model.name,
        subject=_SUBJECT,
        grade="described",
        finding=finding,
        evidence=f"Mean cosine by cut: {steps}. Longest minus shortest: {signed_estimate(change)}. {natural}",
        limit="Closeness alone costs nothing: what it costs a search is the share of sentences found by length of "
        "text. Reading beyond the length that the model was trained for draws texts together too.",
        advice="",
    )


def _describe_bins(model: ModelDiagnosis, curve: LengthCurve) -> str:
    """Describe texts that are long or short by nature."""
    difference = curve.difference
    bins = [bin for bin in curve.bins if bin.cosine is not None]
    if difference is None or len(bins) < 2:
        return "The lengths of the texts differ too little to compare long texts with short ones."
    cut = model.lengths.cut / model.lengths.tokens.count
    truncated = (
        f"; {percent(cut)} of the texts are cut, and count as texts of {model.lengths.limit} tokens" if cut else ""
    )
    across = ""
    if curve.between is not None and bins[0].cosine is not None and bins[-1].cosine is not None:
        across = (
            f" Mean cosines: short with short {bins[0].cosine.value:.2f}, short with long {curve.between:.2f}, long "
            f"with long {bins[-1].cosine.value:.2f}; a short query meets the middle one."
        )
    return (
        f"By nature, texts of {bins[-1].low} or more tokens lie {abs(difference.value):.2f} "
        f"{'closer together' if difference.value >= 0 else 'farther apart'} than texts under {bins[0].high} "
        f"({pluralise(bins[-1].count, 'text')} and {bins[0].count:,}; {signed_estimate(difference)}), and may differ "
        f"in subject{truncated}.{across}{_describe_control(model.words)}"
    )


def _describe_control(words: LengthCurve | None) -> str:
    """Describe word embeddings, in their own deviations: their cosines have another range."""
    if words is None or words.difference is None or words.unit is None:
        return ""
    gain = words.difference.value
    return f" Plain averages of the word embeddings: {gain:+.2f}, or {gain / words.unit:+.1f} standard deviations."
