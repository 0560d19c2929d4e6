"""Settings compared without labels: sentences of texts are queries, and each should find the text that it is from.

It is the account of `diagnose` in its plainest form. A sentence is searched for among whole texts, and again with the
sentence removed from its own text, which is nearer to relevance.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.account.probes import POSITIONS, Probes, draw_probes
from cenote.account.ranks import AccountReading, read_account
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
from cenote.evaluation.reading import refuse_unread
from cenote.evaluation.scoring import Cut, note_cuts
from cenote.listener import Listener

# The name of the kind, whose items are sentences.
KIND = "own sentences"
# The name of the form by which settings are ranked.
LEFT_OUT = "sentence left out"
# Texts that are searched, at most, and in a quick look.
_TEXTS, _QUICK = 1000, 200
# Texts that are drawn from.
_SAMPLE = 100_000
# Smaller differences are not called better or worse: word weights raised the share found by .01 to .02, and nDCG not.
LEAST = 0.03
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
    passes: Sequence[Pass], probes: Probes, listener: Listener, precision: str
) -> Iterator[ScoredArm]:
    """Score all settings by the share of sentences that find their text, left out and kept."""
    tasks = [OwnSentences(LEFT_OUT), OwnSentences("sentence kept")]
    for place, one in enumerate(passes, 1):
        listener.notify(f"pass {place} of {len(passes)}")
        model = one.group.model
        with set_to(model, one.temperature, one.limit), computing_in(model, precision):
            start = time.perf_counter()
            texts = tokenise_account(model, probes, alternatives=False)
            reading = read_account(model, texts, one.group.others, listener, alternatives=False)
            seconds = time.perf_counter() - start
        _refuse_unread(texts, reading)
        for arm in one.arms:
            for task, rows, kept in zip(tasks, (texts.left_out, np.arange(len(probes))), (False, True), strict=True):
                yield _scored(task, arm, one.group.key(arm.pooling), texts, reading, rows, kept, seconds)


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
    task: OwnSentences,
    arm: Arm,
    pooling: str,
    texts: AccountTexts,
    reading: AccountReading,
    rows: Whole,
    kept: bool,
    seconds: float,
) -> ScoredArm:
    """Return the share of sentences that find their text in one setting."""
    ranks = reading.ranks[pooling]
    found = ((ranks.kept if kept else ranks.left_out) == 1).astype(float)
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
    )
    return ScoredArm(task, arm, record, items)


def limit_claims(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells without verdicts that labels would not bear out."""
    return [
        replace(cell, verdict="not told apart")
        if cell.verdict in ("better", "worse") and abs(cell.difference.value) < LEAST
        else cell
        for cell in cells
    ]
