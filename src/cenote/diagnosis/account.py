"""The account: how many sentences of these texts lead back to their text, and what the others are lost to.

No labels are needed: a sentence is a query, and the drawn documents are searched. What a user could do, such as windows
or another pooling, is measured on the same sentences and documents, so that every change is paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats

from cenote.account.fates import FATES, Figures, find_fates, find_helped
from cenote.account.pooled_texts import OWN
from cenote.account.probes import POSITIONS
from cenote.account.ranks import AccountReading, Ranks
from cenote.account.texts import AccountTexts, Flags
from cenote.data.rows import Text
from cenote.diagnosis.summaries import Excerpts, rounded
from cenote.encoding.tokens import Whole
from cenote.functional.retrieval import resampled_means
from cenote.records import Account, Beside, Estimate, Example, Part, Setting

# Texts that a search shows first, and nearest ones of a document. Figures are named for this number.
TEN = 10
# Examples of each fate.
_EXAMPLES = 3
# Parts of equal size by the length of documents that are not cut.
_LENGTHS = 3


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
    # One definition, whatever else is tried: tokens, or the best of the smallest windows.
    windows = next((ranks for name, ranks in others.items() if name.startswith("windows")), None)
    helped, candidates = find_helped(texts, reading, (own, *others.values()), windows)
    fates = find_fates(own, helped)
    drawn, count = probes.owners[texts.left_out], len(probes.texts)

    def estimate(columns: list[Any], documents: Whole) -> list[Estimate]:
        return [rounded(one) for one in resampled_means(columns, documents, seed=seed)]

    figures = Figures(probes.owners, drawn, count, helped)

    def shares(ranks: Ranks, rows: Any = slice(None)) -> dict[str, Estimate]:
        return {fate: rounded(one) for fate, one in figures.shares(ranks, rows).items()}

    settings = {}
    joint = 1 - 0.05 / max(1, 2 * len(others))  # intervals hold for both changes of all settings together
    for name, ranks in others.items():
        settings[name] = Setting(
            **shares(ranks),
            left_out=rounded(figures.left_out(ranks)),
            change=rounded(figures.change(ranks, own, joint)),
            change_left_out=rounded(figures.change_left_out(ranks, own, joint)),
            of_cut=rounded(float((fates["lost_to_cut"] & (ranks.kept == 1)).mean())),
            of_pooling=rounded(float((fates["lost_to_pooling"] & (ranks.kept == 1)).mean())),
            rows=rounded(ranks.rows),
        )
    in_order = estimate([1 / own.kept, own.kept <= TEN], probes.owners)
    removed = estimate([1 / own.left_out], drawn)
    return Account(
        **shares(own),
        documents=len(probes.texts),
        sentences=len(probes),
        reciprocal_rank=in_order[0],
        in_ten=in_order[1],
        left_out=rounded(figures.left_out(own)),
        left_out_reciprocal_rank=removed[0],
        parts=tuple(
            Part(**shares(own, rows), by=by, name=name, sentences=len(rows))
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
