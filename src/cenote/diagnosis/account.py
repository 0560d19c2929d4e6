"""The account: how many sentences of these texts lead back to their text, and what the others are lost to.

No labels are needed: a sentence is a query, and the drawn documents are searched. What a user could do, such as windows
or another pooling, is measured on the same sentences and documents, so that every change is paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from cenote.account.pooled_texts import OWN
from cenote.account.probes import POSITIONS
from cenote.account.ranks import AccountReading, Ranks
from cenote.account.texts import AccountTexts, Flags
from cenote.data.rows import Text
from cenote.diagnosis.summaries import Excerpts, rounded
from cenote.encoding.tokens import Whole
from cenote.functional.retrieval import (
    jackknife,
    nearest,
    resampled_means,
    token_matches,
    without_each_document,
)
from cenote.records import Account, Beside, Estimate, Example, Part, Setting

# Documents among which the tokens of a sentence look for theirs, besides it.
_MATCHED = 50
# Texts that a search shows first, and nearest ones of a document. Figures are named for this number.
TEN = 10
# Examples of each fate.
_EXAMPLES = 3
# Parts of equal size by the length of documents that are not cut.
_LENGTHS = 3
# What can become of a sentence.
FATES = ("found", "lost_to_cut", "lost_to_pooling", "not_found")


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
    # One definition, whatever else is tried: tokens, or the best of the smallest windows.
    windows = next((ranks for name, ranks in others.items() if name.startswith("windows")), own)
    helped = matched | (windows.kept == 1)
    fates = _fates(own, helped)
    drawn, count = probes.owners[texts.left_out], len(probes.texts)

    def estimate(columns: list[Any], documents: Whole) -> list[Estimate]:
        return [rounded(one) for one in resampled_means(columns, documents, seed=seed)]

    figures = _Figures(probes.owners, drawn, count, helped)
    settings = {}
    joint = 1 - 0.05 / max(1, 2 * len(others))  # intervals hold for both changes of all settings together
    for name, ranks in others.items():
        settings[name] = Setting(
            **figures.shares(ranks),
            left_out=figures.left_out(ranks),
            change=figures.change(ranks, own, joint),
            change_left_out=figures.change_left_out(ranks, own, joint),
            of_cut=rounded(float((fates["lost_to_cut"] & (ranks.kept == 1)).mean())),
            of_pooling=rounded(float((fates["lost_to_pooling"] & (ranks.kept == 1)).mean())),
            rows=rounded(ranks.rows),
        )
    in_order = estimate([1 / own.kept, own.kept <= TEN], probes.owners)
    removed = estimate([1 / own.left_out], drawn)
    return Account(
        **figures.shares(own),
        documents=len(probes.texts),
        sentences=len(probes),
        reciprocal_rank=in_order[0],
        in_ten=in_order[1],
        left_out=figures.left_out(own),
        left_out_reciprocal_rank=removed[0],
        parts=tuple(
            Part(**figures.shares(own, rows), by=by, name=name, sentences=len(rows))
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
        similarity=texts.similarity,
        unread=int((~reading.documents.vectors[OWN].any(1)).sum()),
    )


@dataclass(frozen=True, eq=False)
class _Figures:
    """Shares and changes with intervals for other documents: each document is taken away in turn.

    What finds the document of a sentence besides its vector, `helped`, is fixed meanwhile.
    """

    owners: Whole  # [Q] the document of each sentence
    drawn: Whole  # [N] the document of each sentence that is left out
    count: int  # documents
    helped: Flags  # [Q] whether tokens or a window find the document

    def shares(self, ranks: Ranks, rows: Any = slice(None)) -> dict[str, Estimate]:
        """Return the share of each fate among some of the sentences."""
        made, documents = {}, len(np.unique(self.owners[rows]))
        for fate, flags in _fates(ranks, self.helped).items():
            values = flags[rows].astype(float)
            freed = np.full(len(values), float(fate == "found"))
            without = without_each_document(
                values, freed, ranks.kept[rows], ranks.rivals[rows], self.owners[rows], self.count
            )
            made[fate] = rounded(jackknife(float(values.mean()), without, documents=documents))
        return made

    def left_out(self, ranks: Ranks) -> Estimate:
        """Return the share that finds its document without the sentence."""
        return rounded(jackknife(float((ranks.left_out == 1).mean()), self._without_left_out(ranks)))

    def change(self, ranks: Ranks, own: Ranks, confidence: float) -> Estimate:
        """Return the change of the share found from the model's own setting to another."""
        value = float((ranks.kept == 1).mean() - (own.kept == 1).mean())
        without = self._without(ranks) - self._without(own)
        return rounded(jackknife(value, without, confidence=confidence, share=False))

    def change_left_out(self, ranks: Ranks, own: Ranks, confidence: float) -> Estimate:
        """Return the same change where the sentence is left out of its document."""
        value = float((ranks.left_out == 1).mean() - (own.left_out == 1).mean())
        without = self._without_left_out(ranks) - self._without_left_out(own)
        return rounded(jackknife(value, without, confidence=confidence, share=False))

    def _without(self, ranks: Ranks) -> Any:
        values = (ranks.kept == 1).astype(float)
        return without_each_document(values, np.ones(len(values)), ranks.kept, ranks.rivals, self.owners, self.count)

    def _without_left_out(self, ranks: Ranks) -> Any:
        values = (ranks.left_out == 1).astype(float)
        return without_each_document(
            values, np.ones(len(values)), ranks.left_out, ranks.left_out_rivals, self.drawn, self.count
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
    """Yield the parts of the sentences: the criterion, the name of the part, the rows of its sentences."""
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
    ten = np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=1, kind="stable")[:, :TEN]
    cosines = documents @ documents.T
    np.fill_diagonal(cosines, -np.inf)
    counts = np.bincount(np.argsort(-cosines, axis=1, kind="stable")[:, :TEN].ravel(), minlength=len(documents))
    return Beside(
        slope=slope,
        tokens=rounded(float(lengths.mean())),
        tokens_of_ten=rounded(float(lengths[ten].mean())),
        hubness=rounded(float(stats.skew(counts))) if np.ptp(counts) else 0.0,
        never=rounded(float((counts == 0).mean())),
    )
