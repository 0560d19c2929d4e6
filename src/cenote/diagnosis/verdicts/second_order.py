"""The verdicts on second-order collapse: how much mean pooling hides of how the tokens of texts differ."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, MIN_TEXTS, THRESHOLDS
from cenote.records import ModelDiagnosis, Pairs, Spread, Verdict
from cenote.wording import percent, pluralise, signed_estimate

_SUBJECT = "second-order collapse"
# Poolings whose vector has the direction of the mean; second-order collapse describes no others.
_MEAN_POOLINGS = ("mean", "mean_sqrt_len", "mean_sqrt_len_tokens")


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield a verdict on the given pairs and one on pairs of the texts.

    Each has its own subject, so that a list by subject shows both.
    """
    run = model.runs[0]
    if run.given_pairs is not None:
        yield _judge_pairs(model, run.given_pairs, f"{_SUBJECT}, given pairs", "the given pairs")
    if run.pairs is not None:
        more = ""
        if run.layers and isinstance(spread := run.layers[-1].measures.get("concentration"), Spread):
            more = f" In the last layer, the variance of a text's tokens is {spread.median:.2f} times its squared mean."
        yield _judge_pairs(model, run.pairs, _SUBJECT, "pairs of these texts", more)
    if run.pairs is None and run.given_pairs is None:
        yield Verdict(
            model=model.name,
            subject=_SUBJECT,
            grade="unknown",
            finding="There is no pair of texts to compare.",
            evidence="The measure needs at least two texts.",
            limit="",
            advice="Diagnose more texts.",
        )


def _judge_pairs(model: ModelDiagnosis, pairs: Pairs, subject: str, which: str, more: str = "") -> Verdict:
    grade = THRESHOLDS[_SUBJECT].grade_estimate(pairs.mean)
    mean = f"mean SOCM is {pairs.mean.value:.2f} over {which}"
    number = f"{pluralise(pairs.pairs, 'pair')} of {pluralise(pairs.texts, 'text')}"
    hidden = {"none": "little of how texts differ", "slight": "some of how texts differ"}
    finding = f"Mean pooling hides {hidden.get(grade, 'much of how the tokens of these texts differ')}: {mean}."
    enough = pairs.pairs >= MIN_TEXTS and pairs.texts >= MIN_TEXTS
    if enough and pairs.mean.low is None:
        grade, finding = "unknown", f"Nearly all pairs share one text, and describe only that text: {mean}."
    elif grade == "unknown" or not enough:
        grade, finding = "unknown", f"{number} are too few for a verdict: {mean}."
    elif model.pooling not in _MEAN_POOLINGS:
        grade, finding = "unknown", f"This model pools by {model.pooling}; for mean pooling, {mean}."
    left_out = f" Left out: {'; '.join(part.in_words() for part in pairs.left_out)}." if pairs.left_out else ""
    return Verdict(
        model=model.name,
        subject=subject,
        grade=grade,
        finding=finding,
        evidence=f"Mean: {signed_estimate(pairs.mean)}. {number}: {percent(pairs.severe)} of the pairs are over "
        f"{CUTOFFS['severe pair'].value:g}, 90 % are below {pairs.socm.high:.2f}. SOCM is 0 if the tokens of two texts "
        "spread in the same way; it grows if they spread differently while their means lie close."
        f"{left_out}{more}",
        limit="SOCM describes token clouds and does not rank models: across twelve models it correlates with benchmark "
        "scores (Spearman -0.68), but there are exceptions such as all-MiniLM. Long texts have a higher SOCM.",
        advice="Where fine differences matter, rerank with a model that reads both texts together, or fine-tune with "
        "your own hard negatives: fine-tuned encoders mostly concentrate their tokens."
        if grade in ("moderate", "severe")
        else "",
    )
