"""The verdict on truncation: how many sentences are lost because the model stops reading before them."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.remedies import (
    READ_THE_END,
    advise,
    as_counted,
    count_fates,
    describe_setting,
    name_threshold,
)
from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import Account, Grade, ModelDiagnosis, Verdict
from cenote.wording import percent, pluralise, share_estimate

_COUNTED = (
    "Counted in the model's own tokens, special tokens and prompt included; very long texts are tokenized in pieces."
)


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on truncation; none for a model without a limit."""
    lengths = model.lengths
    if lengths.limit is None and not lengths.cut:
        return
    if not lengths.cut and not _is_cut_in_search(model):
        yield Verdict(
            model=model.name,
            subject="truncation",
            grade="fine",
            finding="Nothing is truncated: the model reads every text to its end.",
            evidence=_count_texts(model),
            limit=_COUNTED,
            advice="",
        )
    elif isinstance(model.account, str):
        yield _describe(model, "described", f"Whether a search misses them was not measured. {_COUNTED}")
    elif not any(part.by == "reading" for part in model.account.parts):
        yield _describe(model, "fine", f"All sentences that were searched for are read. {_COUNTED}")
    else:
        yield _judge_loss(model, model.account)


def _describe(model: ModelDiagnosis, grade: Grade, limit: str) -> Verdict:
    """Return the verdict where no sentence lies behind the cut."""
    share = percent(model.lengths.unseen)
    finding = f"{share[0].upper()}{share[1:]} of the tokens of your texts are never read by this model."
    return Verdict(
        model=model.name,
        subject="truncation",
        grade=grade,
        finding=finding if model.lengths.cut else "The search cuts some of your texts.",
        evidence=_count_texts(model),
        limit=limit,
        advice="",
    )


def _judge_loss(model: ModelDiagnosis, account: Account) -> Verdict:
    lost = account.lost_to_cut
    count = count_fates(account)[1]
    unread = next(part for part in account.parts if part.name == "not read")
    grade = THRESHOLDS["truncation"].grade(lost.value)
    return Verdict(
        model=model.name,
        subject="truncation",
        grade=grade,
        finding=f"Of 100 sentences, the cut loses {count}: the model stops before them, at {model.lengths.limit} "
        "tokens, and what it read does not lead to their text.",
        evidence=f"{share_estimate(as_counted(lost, count))} of the sentences. "
        f"{unread.sentences:,} of {account.sentences:,} are unread; {percent(unread.found.value)} of these find their "
        f"text all the same. {_describe_windows(account)}{_count_texts(model)}"
        f"{name_threshold('truncation', lost)}",
        limit=f"Whether the ends of texts matter, only the queries of your users can tell. {_COUNTED}",
        advice="" if grade == "fine" else advise(account, READ_THE_END),
    )


def _describe_windows(account: Account) -> str:
    """Return how many of the sentences that are lost to the cut each window finds, of 100 of all sentences."""
    found = {name: 100 * one.of_cut for name, one in account.settings.items() if name.startswith("windows")}
    if not found:
        return ""
    told = "; ".join(f"{describe_setting(name)}: {value:.1f}" for name, value in found.items())
    return f"Of 100 sentences, settings find so many lost ones again: {told}. "


def _count_texts(model: ModelDiagnosis) -> str:
    """Return how many texts are cut, and how long the longest are."""
    lengths = model.lengths
    if not lengths.cut:
        read = ", but some are as the search reads them, with its own prompt" if _is_cut_in_search(model) else ""
        return f"No text of {lengths.tokens.count:,} is longer than the limit of {lengths.limit} tokens{read}."
    told = (
        f"{lengths.cut:,} of {pluralise(lengths.tokens.count, 'text')} {'is' if lengths.cut == 1 else 'are'} longer "
        f"than the limit, with {percent(lengths.unseen)} of all tokens behind it; the longest 10 % of the texts have "
        f"{lengths.tokens.high:,.0f} tokens or more"
    )
    if lengths.longest >= CUTOFFS["one text"].value:
        told += f"; one text alone has {percent(lengths.longest)} of the truncated tokens"
    if lengths.declared is not None:
        told += (
            f". The limit was raised from the {lengths.declared} tokens that the model declares: the vectors of longer "
            "texts draw together for that alone"
        )
    return f"{told}."


def _is_cut_in_search(model: ModelDiagnosis) -> bool:
    """Return whether a text that is searched is cut: the search may put another prompt before texts."""
    return not isinstance(model.account, str) and any(part.name == "cut" for part in model.account.parts)
