"""The verdict on length collapse: whether long texts lie closer to each other than short ones."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.temperature import best_change, known_changes
from cenote.diagnosis.verdicts.thresholds import MIN_TEXTS, THRESHOLDS
from cenote.records import LengthCurve, ModelDiagnosis, Verdict
from cenote.wording import percent, pluralise, signed_estimate

_SUBJECT = "length collapse"


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on length collapse of the unchanged model."""
    curve = model.runs[0].length
    difference, unit = curve.difference, curve.unit
    if difference is None or difference.low is None or unit is None:
        yield Verdict(
            model=model.name,
            subject=_SUBJECT,
            grade="unknown",
            finding="These texts cannot show whether there is length collapse.",
            evidence=_reason_not_measured(model, curve),
            limit=f"The measure needs at least {MIN_TEXTS} short and {MIN_TEXTS} long texts, better hundreds.",
            advice="Diagnose more texts, or texts of more varied length.",
        )
        return
    grade = THRESHOLDS[_SUBJECT].grade_estimate(difference, unit)
    if difference.low <= 0 and grade != "none":
        grade = "unknown"
    slope = curve.slope_per_doubling
    bins = [bin for bin in curve.bins if bin.cosine is not None]
    texts = (
        f"texts of {bins[-1].low} or more tokens are {abs(difference.value):.2f} "
        f"{'closer to' if difference.value >= 0 else 'farther from'} each other than texts under {bins[0].high}"
    )
    if grade == "none":
        finding = f"No {'notable ' if difference.value > 0 else ''}length collapse: {texts}."
    elif grade != "unknown":
        finding = f"{texts.capitalize()}: {grade} length collapse."
    elif difference.low <= 0:
        finding = f"Inconclusive: {texts}, which may be chance."
        if slope and slope.low is not None and slope.high is not None and not slope.low <= 0 <= slope.high:
            finding += f" Over all lengths, closeness {'rises' if slope.value > 0 else 'falls'} with length."
    else:
        finding = (
            f"{texts.capitalize()}, which is more than chance; these texts do not show whether it is little or much."
        )
    trend = f" Each doubling of length adds: {signed_estimate(slope)}." if slope else ""
    cut, limit = model.lengths.cut / model.lengths.tokens.count, model.lengths.limit
    truncated = f"; {percent(cut)} of the texts are truncated, and count as texts of {limit} tokens" if cut else ""
    yield Verdict(
        model=model.name,
        subject=_SUBJECT,
        grade=grade,
        finding=finding,
        evidence=f"Mean cosine, long minus short texts: {signed_estimate(difference)}. That is "
        f"{difference.value / unit:+.1f} times the standard deviation of all pairs' cosines "
        f"({unit:.3f}).{_describe_control(model.words)}{trend}",
        limit="Long and short texts may differ in subject, which this measure cannot separate from length. Length is "
        f"counted in tokens that the model reads{truncated}.",
        advice={"none": "", "unknown": "Diagnose more texts."}.get(grade, _advise(model)),
    )


def _advise(model: ModelDiagnosis) -> str:
    """Say what to do against length collapse, depending on the temperatures tried."""
    if best := best_change(model):
        temperature = f"Temperature {best[0].temperature} keeps long texts farther apart: check it on labelled data. Or"
    elif known_changes(model):
        temperature = "None of the temperatures tried keeps long texts apart. Instead,"
    else:
        temperature = "Try an attention temperature below 1 for long texts (diagnose with temperatures). Or"
    return f"{temperature} split long texts, or compare scores only among texts of similar length."


def _reason_not_measured(model: ModelDiagnosis, curve: LengthCurve) -> str:
    """Say why long and short texts cannot be compared."""
    tokens, limit = model.lengths.tokens, model.lengths.limit
    if tokens.count < 2 * MIN_TEXTS:
        return f"There are {pluralise(tokens.count, 'text')}, too few for two groups of {MIN_TEXTS}."
    if curve.closeness is not None and curve.unit is None:
        return "All pairs of embeddings have the same cosine, so there is no scale for a difference."
    if len(curve.bins) > 1:
        return " ".join(note[0].upper() + note[1:] for note in curve.notes)
    if limit is not None and tokens.low >= limit:
        return f"Nearly all texts are truncated to {limit} tokens, so the model reads only one length."
    few = f"he lengths of the texts differ too little for two groups of {MIN_TEXTS}."
    return f"After truncation to {limit} tokens, t{few}" if model.lengths.cut else f"T{few}"


def _describe_control(words: LengthCurve | None) -> str:
    """Describe the length collapse of word embeddings, in their own deviations: their cosines have another range."""
    if words is None or words.difference is None or words.unit is None:
        return ""
    gain = words.difference.value
    if gain <= 0:
        return " Control: plain averages of the word embeddings show no length collapse."
    return (
        f" Control: plain averages of the word embeddings, before any attention, are {gain:.2f} closer for long texts, "
        f"{gain / words.unit:.1f} times their own standard deviation."
    )
