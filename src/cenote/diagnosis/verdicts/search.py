"""The verdict on search: how many sentences lead back to their text, and what the others are lost to."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.remedies import (
    advise,
    as_counted,
    complement,
    count_fates,
    kinds_ranked,
    list_parts,
    name_threshold,
)
from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import Account, ModelDiagnosis, Verdict
from cenote.wording import percent, pluralise, share_estimate

# Advised where the verdicts on search, truncation and pooling are all fine.
NOTHING = f"Nothing needs to be done: fewer than {100 * THRESHOLDS['search'].steps[0]:.0f} of 100 sentences are lost."


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on search."""
    account = model.account
    if isinstance(account, str):
        yield Verdict(
            model=model.name,
            subject="search",
            grade="unknown",
            finding="These texts cannot show what a search over them loses.",
            evidence=f"Sentences of the texts are searched for in the texts: {account.removesuffix('.')}.",
            limit="All other measures are complete.",
            advice="Diagnose more texts, or longer ones: the search needs texts of several sentences.",
        )
        return
    found, cut, pooled, none = count_fates(account)
    lost = complement(account.found)
    repeated = ""
    if account.repeated >= CUTOFFS["repeated sentences"].value:
        share = percent(account.repeated)
        repeated = f" {share} of the sentences stand in several texts: no search can know which one is meant."
    yield Verdict(
        model=model.name,
        subject="search",
        grade=THRESHOLDS["search"].grade(lost.value),
        finding=f"Of 100 sentences of your texts, {found} find their text first. Lost to the cut: {cut}; lost to "
        f"pooling: {pooled}; not found by their tokens either: {none}.",
        evidence=f"{account.sentences:,} sentences, searched for among {pluralise(account.documents, 'text')}: "
        f"{share_estimate(as_counted(account.found, found))} find their text first, "
        f"{share_estimate(account.in_ten)} among the first ten. "
        f"With the sentence left out of its text, {share_estimate(account.left_out)} find it."
        f"{list_parts(account, 'position', '{} sentences')}{list_parts(account, 'length', 'texts of {}')}{repeated}"
        f"{_count_unread(account)}{_name_prompts(account)}"
        f"{name_threshold('search', lost)}",
        limit="The search for sentences shows whether a text is found by what it says (coverage), not whether it "
        "answers a question (relevance): a sentence shares words with its text, which are often enough to find it. "
        f"{pluralise(account.documents, 'text')} are searched; among more texts, fewer sentences find theirs."
        f"{_name_limits(model, account)}",
        advice=NOTHING if _is_fine(account) else advise(account, kinds_ranked(model)),
    )


def _is_fine(account: Account) -> bool:
    """Return whether neither this verdict, by the number that it shows, nor those on the two causes find a loss."""
    lost = {
        "search": (100 - count_fates(account)[0]) / 100,
        "truncation": account.lost_to_cut.value,
        "pooling": account.lost_to_pooling.value,
    }
    return all(THRESHOLDS[subject].grade(share) == "fine" for subject, share in lost.items())


def _name_limits(model: ModelDiagnosis, account: Account) -> str:
    """Name what the account cannot tell for these texts and this model."""
    told = ""
    if model.lengths.unseen >= CUTOFFS["nearly all"].value:
        told += " Most of these texts is never read: the account shows that, and ranks no other settings."
    if account.similarity != "cosine":
        told += f" Texts were searched by cosine; the model's own measure is {account.similarity}."
    return told


def _count_unread(account: Account) -> str:
    """Count the texts that no search can find, whose sentences are among those lost."""
    if not account.unread:
        return ""
    have, their = ("has", "its") if account.unread == 1 else ("have", "their")
    return f" {pluralise(account.unread, 'text')} {have} no vector, and {their} sentences count as lost."


def _name_prompts(account: Account) -> str:
    """Name the prompts of both sides, where there are any."""
    sides = zip(("sentences", "texts"), account.prompts, strict=True)
    named = [f"{side} with the prompt {name!r}" for side, name in sides if name is not None]
    return f" Read: {', '.join(named)}." if named else ""
