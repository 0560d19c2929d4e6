"""The account: how many sentences of these texts lead back to their text, and what the others are lost to.

No labels are needed: a sentence is a query, and the drawn documents are searched. What a user could do, such as windows
or another pooling, is measured on the same sentences and documents, so that every change is paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from torch import nn

from cenote.data.rows import Text
from cenote.diagnosis.account_texts import AccountTexts, Alternative, Flags, tokenise_account
from cenote.diagnosis.pooled_texts import OWN, Pooled, mean_of_windows, read_pooled
from cenote.diagnosis.probes import POSITIONS, SHORTEST, draw_probes
from cenote.diagnosis.summaries import Excerpts, rounded
from cenote.encoding.tokens import Tokens, Whole
from cenote.functional.retrieval import (
    mean_change,
    nearest,
    own_ranks,
    ranks_of_variants,
    resampled_means,
    token_matches,
)
from cenote.listener import Listener
from cenote.models.properties import width_of
from cenote.models.provenance import pooling_of
from cenote.nn import Pooling
from cenote.records import Account, Beside, Estimate, Example, Part, Setting

# Fewer documents give no account.
FEWEST_DOCUMENTS = 20
# Documents among which the tokens of a sentence look for theirs, besides it.
_MATCHED = 50
# Neighbours of a document, and of a sentence, that are looked at beside the account.
_NEIGHBOURS = 10
# Examples of each fate.
_EXAMPLES = 3
# Parts of equal size by the length of documents that are not cut.
_LENGTHS = 3
# What can become of a sentence.
FATES = ("found", "lost_to_cut", "lost_to_pooling", "not_found")


# Poolings that are tried beside the model's own.
_POOLINGS = ("mean", "cls", "max", "weightedmean", "lasttoken")
# Numbers in the token vectors of documents that are kept at once: 400 MB at half precision.
_NUMBERS = 2 * 10**8


def plan_account(
    model: SentenceTransformer, texts: Sequence[Text], count: int, prompt_name: str | None, seed: int
) -> AccountTexts | str:
    """Draw and tokenise the texts of an account; return why there is none where they do not suffice.

    Args:
        model: the model to diagnose.
        texts: all texts of the diagnosis.
        count: documents, at most; fewer where their token vectors would not fit into memory.
        prompt_name: of the prompt before documents; None takes the model's prompt for documents, if it has one.
        seed: of what is drawn.
    """
    probes = draw_probes(texts, count, seed)
    if len(probes.texts) < FEWEST_DOCUMENTS:
        copies = f", of which {probes.copies:,} are copies," if probes.copies else ""
        return (
            f"only {len(probes.texts)} of {len(texts):,} texts{copies} have three sentences of {SHORTEST} words or "
            f"more, and {FEWEST_DOCUMENTS} are needed"
        )
    found = tokenise_account(model, probes, prompt_name)
    numbers = int(found.documents.lengths.sum()) * width_of(model)
    if numbers > _NUMBERS and len(probes.texts) > FEWEST_DOCUMENTS:
        fewer = max(FEWEST_DOCUMENTS, len(probes.texts) * _NUMBERS // numbers)
        found = tokenise_account(model, draw_probes(texts, fewer, seed), prompt_name)
    return found


def other_poolings(model: SentenceTransformer) -> dict[str, nn.Module]:
    """Return the poolings to try beside the model's own, by the names of their settings."""
    pooling = next((module for module in model if isinstance(module, StPooling)), None)
    if pooling is None:
        return {}
    own, width = pooling_of(model), int(pooling.embedding_dimension)
    return {f"pooling {name}": Pooling(width, name) for name in _POOLINGS if name != own}


class Ranks(NamedTuple):
    """Ranks of the sentences' own documents in one setting, from 1."""

    kept: Whole  # [Q]
    left_out: Whole  # [N] of the sentences that were left out of their documents
    read: Flags  # [Q] whether the model reads the sentence
    rows: float  # vectors for each document


@dataclass(frozen=True, eq=False)
class AccountReading:
    """Vectors of all texts of an account at one temperature, and the ranks in every setting that they give."""

    documents: Pooled
    sentences: Pooled
    remainders: Pooled
    ranks: dict[str, Ranks]  # by setting; the model's own is `OWN`


def read_account(
    model: SentenceTransformer,
    texts: AccountTexts,
    poolings: Mapping[str, nn.Module],
    listener: Listener,
    *,
    alternatives: bool = True,
) -> AccountReading:
    """Read all texts of an account, and rank the documents for every sentence.

    Args:
        model: the model that they were tokenised for.
        texts: of the account.
        poolings: other poolings of the same tokens, by the names of their settings.
        listener: hears of the progress.
        alternatives: whether to read windows and whatever else the texts come with.
    """

    def read(tokens: Tokens, task: str, step: str, keep: bool = False) -> Pooled:
        return read_pooled(model, tokens, poolings, task=task, keep_tokens=keep, listener=listener, step=step)

    documents = read(texts.documents, "document", "reading documents", keep=True)
    sentences = read(texts.sentences, "query", "reading sentences", keep=True)
    remainders = read(texts.remainders, "document", "reading documents without a sentence")
    own, left_out = texts.probes.owners, texts.left_out
    ranks = {}
    for name in documents.vectors:
        queries, whole, without = (one.vectors[name] for one in (sentences, documents, remainders))
        kept = own_ranks(queries, whole, own)
        ranks[name] = Ranks(kept, ranks_of_variants(queries[left_out], without, whole, own[left_out]), texts.read, 1)
    poolings = {}
    for other in texts.alternatives if alternatives else ():
        pieces = [read(one.tokens, "document", other.step) for one in (other.documents, other.remainders)]
        ranks |= _rank_alternative(other, texts, documents, sentences, remainders, pieces)
    return AccountReading(documents, sentences, remainders, ranks)


def _rank_alternative(
    other: Alternative, texts: AccountTexts, documents: Pooled, sentences: Pooled, remainders: Pooled, pieces: Any
) -> dict[str, Ranks]:
    """Rank the documents by the best of their pieces, and by the mean of them."""
    own, left_out, queries = texts.probes.owners, texts.left_out, sentences.vectors[OWN]
    whole, owners, weights = other.documents.merge(documents, texts.documents.lengths, pieces[0])
    without, places, others = other.remainders.merge(remainders, texts.remainders.lengths, pieces[1])
    best = Ranks(
        own_ranks(queries, whole, own, owners=owners),
        ranks_of_variants(queries[left_out], without, whole, own[left_out], owners=owners, variant_owners=places),
        other.read,
        len(owners) / len(texts.documents),
    )
    if not other.windows:
        return {other.name: best}
    means = mean_of_windows(whole, owners, weights, len(texts.documents))
    variants = mean_of_windows(without, places, others, len(texts.remainders))
    mean = Ranks(
        own_ranks(queries, means, own),
        ranks_of_variants(queries[left_out], variants, means, own[left_out]),
        other.read,
        1,
    )
    return {f"{other.name}, best": best, f"{other.name}, mean": mean}


def summarise_account(
    texts: AccountTexts, reading: AccountReading, tempered: Mapping[str, Ranks], excerpts: Excerpts, seed: int
) -> Account:
    """Summarise an account.

    Args:
        texts: of the account.
        reading: at the model's own temperature.
        tempered: ranks at other temperatures, by the names of their settings.
        excerpts: takes the texts of examples.
        seed: of the intervals.
    """
    probes, own = texts.probes, reading.ranks[OWN]
    others = {name: ranks for name, ranks in {**reading.ranks, **tempered}.items() if name != OWN}
    lost = np.any([ranks.kept > 1 for ranks in (own, *others.values())], 0)
    matched, candidates = _match_tokens(texts, reading, lost)
    helped = matched | np.any([ranks.kept == 1 for ranks in others.values() if ranks.rows > 1] or [matched], 0)
    fates = _fates(own, helped)
    drawn = probes.owners[texts.left_out]

    def estimate(columns: list[Any], documents: Whole) -> list[Estimate]:
        return [rounded(one) for one in resampled_means(columns, documents, seed=seed)]

    def shares(found: Mapping[str, Flags], rows: Any = slice(None)) -> dict[str, Estimate]:
        return dict(zip(FATES, estimate([found[fate][rows] for fate in FATES], probes.owners[rows]), strict=True))

    settings = {}
    joint = 1 - 0.05 / max(1, len(others))  # intervals of changes hold for all settings together
    for name, ranks in others.items():
        gained = (ranks.kept == 1).astype(float) - (own.kept == 1)
        gained_left_out = (ranks.left_out == 1).astype(float) - (own.left_out == 1)
        settings[name] = Setting(
            **shares(_fates(ranks, helped)),
            left_out=estimate([ranks.left_out == 1], drawn)[0],
            change=rounded(mean_change(gained, probes.owners, confidence=joint)),
            change_left_out=rounded(mean_change(gained_left_out, drawn, confidence=joint)),
            rows=rounded(ranks.rows),
        )
    in_order = estimate([1 / own.kept, own.kept <= _NEIGHBOURS], probes.owners)
    removed = estimate([own.left_out == 1, 1 / own.left_out], drawn)
    return Account(
        **shares(fates),
        documents=len(probes.texts),
        sentences=len(probes),
        reciprocal_rank=in_order[0],
        in_ten=in_order[1],
        left_out=removed[0],
        left_out_reciprocal_rank=removed[1],
        parts=tuple(
            Part(**shares(fates, rows), by=by, name=name, sentences=len(rows))
            for by, name, rows in _parts(texts)
            if len(rows)
        ),
        settings=settings,
        examples=tuple(_examples(texts, fates, candidates, excerpts, seed)),
        beside=_beside(texts, reading),
        few=probes.few,
        unsplit=probes.unsplit,
        repeated=rounded(probes.repeated),
        prompts=texts.prompts,
    )


def _fates(ranks: Ranks, helped: Flags) -> dict[str, Flags]:
    """Return which sentences meet each fate: every sentence meets one."""
    found = ranks.kept == 1
    cut = ~found & ~ranks.read
    pooled = ~found & ranks.read & helped
    return dict(zip(FATES, (found, cut, pooled, ~(found | cut | pooled)), strict=True))


def _match_tokens(texts: AccountTexts, reading: AccountReading, lost: Flags) -> tuple[Flags, Whole]:
    """Return which of the lost sentences find their document by its tokens, and the documents nearest to each sentence.

    The nearest documents and the sentence's own are ranked anew by the sum of the best cosines of its tokens.
    """
    queries, documents, owners = reading.sentences, reading.documents, texts.probes.owners
    near = nearest(queries.vectors[OWN], documents.vectors[OWN], _MATCHED + 1)
    rows = np.flatnonzero(lost)
    candidates = np.concatenate([owners[rows, None], near[rows]], 1)
    scores = token_matches(queries.tokens, documents.tokens, rows, candidates)
    scores[:, 1:][candidates[:, 1:] == owners[rows, None]] = -np.inf
    matched = np.zeros(len(owners), bool)
    matched[rows] = scores[:, 0] > scores[:, 1:].max(1)
    return matched, near


def _parts(texts: AccountTexts) -> Iterator[tuple[str, str, Whole]]:
    """Yield parts of the sentences: what they are told apart by, their name, and which they are."""
    probes = texts.probes
    for place, name in enumerate(POSITIONS):
        yield "position", name, np.flatnonzero(probes.positions == place)
    lengths, cut = texts.documents.lengths, texts.documents.truncated
    whole = np.flatnonzero(~cut)
    edges = np.unique(np.quantile(lengths[whole], np.arange(1, _LENGTHS) / _LENGTHS)) if len(whole) else np.zeros(0)
    bins = np.digitize(lengths[whole], edges, right=True)
    for place in np.unique(bins):
        part = whole[bins == place]
        name = f"{lengths[part].min()} to {lengths[part].max()} tokens"
        yield "length", name, np.flatnonzero(np.isin(probes.owners, part))
    yield "length", "cut", np.flatnonzero(cut[probes.owners])
    if not texts.read.all():
        yield "reading", "read", np.flatnonzero(texts.read)
        yield "reading", "not read", np.flatnonzero(~texts.read)


def _examples(
    texts: AccountTexts, fates: Mapping[str, Flags], near: Whole, excerpts: Excerpts, seed: int
) -> Iterator[Example]:
    """Yield some sentences of each fate, with their document and the one that is found instead."""
    probes, generator = texts.probes, np.random.default_rng(seed)
    for fate in FATES:
        rows = np.flatnonzero(fates[fate])
        for row in np.sort(generator.permutation(rows)[:_EXAMPLES]).tolist():
            owner = int(probes.owners[row])
            document, instead = probes.texts[owner], next(place for place in near[row].tolist() if place != owner)
            sentence = Text(document.id, probes.sentences[row])
            yield Example(
                fate=fate,
                position=POSITIONS[probes.positions[row]],
                sentence=excerpts.place(sentence),
                document=excerpts.place(document),
                instead=None if fate == "found" else excerpts.place(probes.texts[instead]),
            )


def _beside(texts: AccountTexts, reading: AccountReading) -> Beside:
    """Measure the effects of length and hubs on the scores of documents that a sentence is not of."""
    queries, documents, owners = reading.sentences.vectors[OWN], reading.documents.vectors[OWN], texts.probes.owners
    lengths = texts.documents.lengths
    scores = queries @ documents.T
    scores[np.arange(len(owners)), owners] = np.nan
    means, doublings = np.nanmean(scores, 0), np.log2(np.maximum(lengths, 1))
    slope = None
    if np.ptp(doublings):
        fit = stats.linregress(doublings, means)
        reach = float(stats.t.ppf(0.975, len(means) - 2) * fit.stderr)
        slope = rounded(Estimate(float(fit.slope), float(fit.slope) - reach, float(fit.slope) + reach))
    ten = np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=1, kind="stable")[:, :_NEIGHBOURS]
    cosines = documents @ documents.T
    np.fill_diagonal(cosines, -np.inf)
    counts = np.bincount(np.argsort(-cosines, axis=1, kind="stable")[:, :_NEIGHBOURS].ravel(), minlength=len(documents))
    return Beside(
        slope=slope,
        tokens=rounded(float(lengths.mean())),
        tokens_of_ten=rounded(float(lengths[ten].mean())),
        hubness=rounded(float(stats.skew(counts))) if np.ptp(counts) else 0.0,
        never=rounded(float((counts == 0).mean())),
    )
