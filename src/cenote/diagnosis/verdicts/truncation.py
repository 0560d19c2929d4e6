"""The verdict on truncation: the share of the texts' tokens that a model never reads."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import ModelDiagnosis, Verdict
from cenote.wording import percent, pluralise


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on truncation; none for a model without a limit."""
    lengths = model.lengths
    if lengths.limit is None and not lengths.cut:
        return
    finding, advice = "Nothing is truncated: the model reads every text to its end.", ""
    evidence = (
        f"{lengths.cut:,} of {pluralise(lengths.tokens.count, 'text')} {'is' if lengths.cut == 1 else 'are'} longer "
        f"than the model's limit of {lengths.limit} tokens"
    )
    if lengths.cut:
        share = percent(lengths.unseen)
        finding = f"{share[0].upper()}{share[1:]} of your texts' tokens are never read by this model."
        advice = (
            "Embed long texts in windows: cenote embed --long windows writes a vector for each window, all of them "
            "searchable; --long window-mean writes their mean. Or choose a model with a higher limit. Raising "
            "max_seq_length helps only up to the length that the model was trained for."
        )
        evidence += f"; the longest 10 % of the texts have {lengths.tokens.high:,.0f} tokens or more"
        if lengths.longest >= CUTOFFS["one text"].value:
            evidence += f"; one text alone has {percent(lengths.longest)} of the truncated tokens"
    yield Verdict(
        model=model.name,
        subject="truncation",
        grade=THRESHOLDS["truncation"].grade(lengths.unseen),
        finding=finding,
        evidence=f"{evidence}.",
        limit="Counted in the model's own tokens, special tokens and prompt included; very long texts are tokenized in "
        "pieces.",
        advice=advice,
    )
