"""Second-order collapse: how much the tokens of texts differ where their means do not, beside what chance gives."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.records import ModelDiagnosis, Pairs, SocmNull, Spread, Verdict
from cenote.wording import pluralise, signed_estimate

_SUBJECT = "second-order collapse"
# Poolings whose vector has the direction of the mean; second-order collapse describes no others.
_MEAN_POOLINGS = ("mean", "mean_sqrt_len")


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the description of the given pairs and one of pairs of the texts.

    Each has its own subject, so that a list by subject shows both.
    """
    run = model.runs[0]
    if run.given_pairs is not None:
        yield _describe(model, run.given_pairs, None, f"{_SUBJECT}, given pairs", "the given pairs")
    if run.pairs is not None:
        more = ""
        if run.layers and isinstance(spread := run.layers[-1].measures.get("concentration"), Spread):
            more = f" In the last layer, the variance of a text's tokens is {spread.median:.2f} times its squared mean."
        yield _describe(model, run.pairs, run.null, _SUBJECT, "pairs of these texts", more)
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


def _describe(
    model: ModelDiagnosis, pairs: Pairs, null: SocmNull | None, subject: str, which: str, more: str = ""
) -> Verdict:
    beside = ""
    if null is not None:
        beside = (
            f" Two random halves of one text have {null.same.value:.2f}, from the number of tokens alone; halves of "
            f"two texts have {null.different.value:.2f}. Normalised by spread: {null.same_normalised:.2f} and "
            f"{null.different_normalised:.2f}."
        )
    pooled = "" if model.pooling in _MEAN_POOLINGS else f" This model pools by {model.pooling}: SOCM is about the mean."
    excluded = f" Excluded: {'; '.join(part.in_words() for part in pairs.excluded)}." if pairs.excluded else ""
    return Verdict(
        model=model.name,
        subject=subject,
        grade="described",
        finding=f"Mean SOCM is {pairs.mean.value:.2f} over {which}.{beside}",
        evidence=f"Mean: {signed_estimate(pairs.mean)}, over {pluralise(pairs.pairs, 'pair')} of "
        f"{pluralise(pairs.texts, 'text')}; normalised by the spread of both texts, {pairs.normalised.mean:.2f} of 1. "
        f"SOCM mostly follows the spread of tokens.{pooled}{excluded}{more}",
        limit="SOCM describes token vectors. It grows with the length of texts, and shows neither whether a search "
        "fails nor which of two models is better. What pooling costs a search is under “pooling”.",
        advice="",
    )
