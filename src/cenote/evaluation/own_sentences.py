"""Settings compared without labels: sentences of texts are queries, and each should find the text that it is from.

It is the account of `diagnose` in its plainest form. A sentence is searched for among whole texts, and again with the
sentence removed from its own text, which is nearer to relevance.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.account.fates import Figures, find_helped
from cenote.account.pooled_texts import KEPT_NUMBERS
from cenote.account.probes import POSITIONS, Probes, draw_probes
from cenote.account.ranks import AccountReading, Ranks, count_kept, rank_windows, read_account
from cenote.account.texts import AccountTexts, tokenise_account
from cenote.comparison_records import Cell
from cenote.data.sampling import sample_texts
from cenote.data.texts import Texts
from cenote.encoding.backends import computing_in
from cenote.encoding.batches import NOT_FINITE
from cenote.encoding.tokens import Whole
from cenote.errors import BadInput
from cenote.evaluation.arm_scores import ArmScore, ScoredArm, neighbours_of
from cenote.evaluation.arms import Arm, Grid, Pass, set_to
from cenote.evaluation.items import TOKENS, Items
from cenote.evaluation.reading import blame_temperature, refuse_unread
from cenote.evaluation.scoring import Cut, note_cuts
from cenote.functional.retrieval import resampled_means
from cenote.listener import Listener
from cenote.records import Shares

# The name of the kind, whose items are sentences.
KIND = "own sentences"
# The name of the form by which settings are ranked.
LEFT_OUT = "sentence left out"
# The name of the other form.
KEPT = "sentence kept"
# Texts that are searched, at most, and in a quick look.
_TEXTS, _QUICK = 1000, 200
# Texts that are drawn from.
_SAMPLE = 100_000
# Smaller differences are not called better or worse: word weights raised the share found by .01 to .02, and nDCG not.
LEAST = 0.03
_TOO_LARGE = (
    "What is lost to the cut and to pooling is not told apart: the token vectors of these texts take too much memory. "
    "Take fewer texts (quick, --quick)."
)
# What each comparison without labels says of itself.
LIMITS = (
    "Sentences of the texts are the queries: this is coverage, whether a vector leads back to what its text says. It "
    "is not relevance. Rank settings by the form with the sentence left out.",
    "It tells unlike poolings and limits apart. Near-equal poolings and temperatures it does not: a difference below "
    f"{100 * LEAST:.0f} points is called neither better nor worse.",
)


@dataclass(frozen=True)
class OwnSentences:
    """Sentences that are searched for: in texts without them, or in whole texts."""

    name: str
    kind: str = KIND
    notes: tuple[str, ...] = ()


def draw_own_sentences(texts: Texts, grid: Grid, quick: bool, seed: int) -> Probes:
    """Draw documents and their sentences; raise for too few, and for ways to read that need labels."""
    if grid.long != ("truncate",):
        raise BadInput(f"long={list(grid.long)}: without labels texts are cut at the limit; vary limits instead.")
    drawn, _ = sample_texts(texts, _SAMPLE, seed)
    probes = draw_probes(drawn, _QUICK if quick else _TEXTS, seed)
    if few := probes.why_too_few():
        raise BadInput(f"{few}.")
    return probes


def score_own_sentences(
    passes: Sequence[Pass], probes: Probes, listener: Listener, precision: str, seed: int = 0
) -> Iterator[ScoredArm]:
    """Score all settings by the share of sentences that find their text, left out and kept, with the account of each.

    Args:
        passes: of all models, those of a model together and its own setting first.
        probes: documents and their sentences.
        listener: hears of the progress.
        precision: in which the models are read, or `auto`.
        seed: of the intervals of reciprocal ranks.
    """
    numbered = ((f"pass {place} of {len(passes)}", one) for place, one in enumerate(passes, 1))
    for _, own in groupby(numbered, lambda one: one[1].arms[0].model):
        yield from _score_model(own, probes, listener, precision, seed)


def _score_model(
    passes: Iterable[tuple[str, Pass]], probes: Probes, listener: Listener, precision: str, seed: int
) -> Iterator[ScoredArm]:
    """Score the settings of one model; the tokens and windows of its own tell what all of them lose to pooling."""
    first: tuple[AccountTexts, AccountReading, Ranks | None] | None = None
    settings: dict[Arm, Ranks] = {}
    scored: list[ScoredArm] = []
    for said, one in passes:
        listener.notify(said)
        model, changed = one.group.model, None if one.temperature is None else one.arms[0].temperature
        with set_to(model, one.temperature, one.limit), computing_in(model, precision), blame_temperature(changed):
            start = time.perf_counter()
            texts = tokenise_account(model, probes, alternatives=first is None)
            keeps = first is None and count_kept(model, texts) <= KEPT_NUMBERS
            reading = read_account(model, texts, one.group.others, listener, alternatives=False, keep_tokens=keeps)
            seconds = time.perf_counter() - start
            _refuse_unread(texts, reading)
            if first is None:
                first = texts, reading, rank_windows(model, texts, reading, listener) if keeps else None
        for arm in one.arms:
            setting = one.group.key(arm.pooling)
            settings[arm] = reading.ranks[setting]
            scored += [_scored(arm, setting, texts, reading, seconds, seed, kept=kept) for kept in (False, True)]
    yield from scored if first is None else _add_fates(scored, settings, *first)


def _add_fates(
    scored: Sequence[ScoredArm],
    settings: Mapping[Arm, Ranks],
    texts: AccountTexts,
    reading: AccountReading,
    windows: Ranks | None,
) -> Iterator[ScoredArm]:
    """Yield the settings of a model, those with the sentence kept with what becomes of the sentences."""
    known = bool(reading.documents.tokens)
    helped = (
        find_helped(texts, reading, [*settings.values()], windows)[0] if known else np.zeros(len(texts.probes), bool)
    )
    figures = Figures(texts.probes.owners, texts.probes.owners[texts.left_out], len(texts.probes.texts), helped)
    for one in scored:
        if one.task.name == LEFT_OUT:
            yield one
        elif known:
            yield replace(one, record=replace(one.record, fates=Shares(**figures.shares(settings[one.arm]))))
        else:
            yield replace(one, record=replace(one.record, notes=[_TOO_LARGE]))


def _refuse_unread(texts: AccountTexts, reading: AccountReading) -> None:
    """Raise for a text without a vector, which would count as not found."""
    documents = [text.text for text in texts.probes.texts]
    sides = (reading.documents, documents), (reading.remainders, documents), (reading.sentences, texts.probes.sentences)
    for found, said in sides:
        refuse_unread(found.refused | dict.fromkeys(np.flatnonzero(~found.finite).tolist(), NOT_FINITE), said)


def state_limits(models: Mapping[str, SentenceTransformer]) -> list[str]:
    """Return what a comparison without labels says of itself, and of the models."""
    others = {name: str(model.similarity_fn_name) for name, model in models.items()}
    return [
        *LIMITS,
        *(
            f"Texts were searched by cosine; the own measure of {name} is {measure}."
            for name, measure in others.items()
            if measure != "cosine"
        ),
    ]


def _scored(
    arm: Arm, pooling: str, texts: AccountTexts, reading: AccountReading, seconds: float, seed: int, *, kept: bool
) -> ScoredArm:
    """Return the share of sentences that find their text in one setting, kept in it or left out of it."""
    ranks = reading.ranks[pooling].kept if kept else reading.ranks[pooling].left_out
    rows: Whole = np.arange(len(texts.probes)) if kept else texts.left_out
    found = (ranks == 1).astype(float)
    owners = texts.probes.owners[rows]
    sentences, documents = texts.probes.sentences, texts.documents
    vectors = reading.documents.vectors[pooling]
    items = Items(
        {
            # By the row of the text: its id may be that of another too.
            "item": [f"{owner}, {POSITIONS[row % len(POSITIONS)]}" for owner, row in zip(owners, rows, strict=True)],
            "text": [sentences[row] for row in rows],
            "value": found.tolist(),
            "source": owners.tolist(),  # no two of these texts are the same
            f"document{TOKENS}": documents.full_lengths[owners].tolist(),
        }
    )
    cut = Cut("text", len(documents), int(documents.truncated.sum()), arm.limit)
    record = ArmScore(
        metric="share found",
        score=float(found.mean()),
        items=len(items),
        dimensions=int(vectors.shape[1]),
        vectors=1.0,
        seconds=0.0 if kept else seconds,  # one reading is for both forms
        texts=0 if kept else len(documents) + len(texts.sentences) + len(texts.remainders),
        neighbours=neighbours_of(vectors),
        notes=[] if kept else note_cuts(arm.model, [cut]),
        reciprocal_rank=resampled_means([1 / ranks], owners, seed=seed)[0],
    )
    return ScoredArm(OwnSentences(KEPT if kept else LEFT_OUT), arm, record, items)


def limit_claims(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells without verdicts that labels would not bear out."""
    return [
        replace(cell, verdict="not told apart")
        if cell.verdict in ("better", "worse") and abs(cell.difference.value) < LEAST
        else cell
        for cell in cells
    ]
