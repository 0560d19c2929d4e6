"""The verdict on the user's own queries, and the price of pooling."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.remedies import as_counted, complement, count_fates, name_threshold
from cenote.diagnosis.verdicts.thresholds import MIN_TEXTS, THRESHOLDS
from cenote.records import GivenQueries, ModelDiagnosis, Verdict
from cenote.wording import pluralise, share_estimate, signed_estimate


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on the given queries, if there are any."""
    found = model.queries
    if found is None:
        return
    first, cut, pooled, none = count_fates(found)
    missing = f" Excluded: {'; '.join(part.in_words() for part in found.excluded)}." if found.excluded else ""
    lost, enough = complement(found.found), found.queries >= MIN_TEXTS
    few = "" if enough else f" {pluralise(found.queries, 'query')}: too few for a grade, which takes {MIN_TEXTS}."
    yield Verdict(
        model=model.name,
        subject="your queries",
        grade=THRESHOLDS["search"].grade(lost.value) if enough else "unknown",
        finding=f"Of 100 of your queries, {first} find a text that answers them first. Lost to the cut: {cut}; lost to "
        f"pooling: {pooled}; not found by their tokens either: {none}.",
        evidence=f"{pluralise(found.queries, 'query')}, {found.texts:,} texts: "
        f"{share_estimate(as_counted(found.found, first))} find one first, "
        f"{share_estimate(found.in_ten)} among the first ten; nDCG@10 {found.gain.value:.3f}. "
        "If the tokens of the query rank the first twenty anew, it changes by "
        f"{signed_estimate(found.price)}: the price of pooling.{missing}"
        f"{name_threshold('search', lost) if enough else ''}",
        limit="Only the texts of this sample are searched, those that queries name first: in the whole corpus every "
        f"query has more rivals.{few}",
        advice=_advise(found, cut),
    )


def _advise(found: GivenQueries, cut: int) -> str:
    """Return what finds the queries that are lost."""
    advice = []
    if cut and found.lost_to_cut.low != 0:  # None: too few queries for an interval
        advice.append(f"Windows of the texts find the {cut} that are lost to the cut: embed with `--long windows`.")
    if found.price.low is not None and found.price.low > 0:
        advice.append(
            "Ranking the first results anew pays: by tokens as measured here, or by a model that reads query and text "
            "together, which was not measured."
        )
    return " ".join(advice)
