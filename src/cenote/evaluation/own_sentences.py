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

from cenote.account.fates import Figures, find_helped
from cenote.account.pooled_texts import KEPT_NUMBERS
from cenote.account.probes import POSITIONS, Probes, draw_probes
from cenote.account.ranks import AccountReading, count_kept, rank_windows, read_account
from cenote.account.texts import (
    AccountTexts,
    Flags,
    count_in_small_windows,
    tokenise_account,
    tokenise_small_windows,
)
from cenote.comparison_records import LEAST_WITHOUT_LABELS, Cell
from cenote.data.sampling import sample_texts
from cenote.data.texts import Texts
from cenote.encoding.backends import computing_in
from cenote.encoding.batches import NOT_FINITE
from cenote.encoding.passes import WORTH_A_GRAPH, Passes, SharedPasses
from cenote.encoding.tokens import Whole
from cenote.errors import BadInput
from cenote.evaluation.arm_scores import ArmScore, ScoredArm, neighbours_of
from cenote.evaluation.arms import Arm, Grid, Pass, set_to
from cenote.evaluation.items import TOKENS, Items
from cenote.evaluation.reading import blame_temperature, refuse_unread
from cenote.evaluation.runtimes import can_all_have_graphs, estimate_tokens, in_order_of_graphs, longest_limit
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
# Windows are read if they have at most so many times the tokens of a pass: nobody asked for them to take the night.
_WINDOWS = 2
_TOO_LARGE = (
    "{}: the shares lost to the cut and to pooling are left out, since the token vectors of these texts take too much "
    "memory. Take fewer texts (quick, --quick)."
)
_TOO_LONG = (
    "{}: what is lost to pooling is judged by tokens alone, since windows of these long texts have more than "
    f"{_WINDOWS} times the tokens that a pass reads."
)
# What each comparison without labels says of itself.
LIMITS = (
    "Sentences of the texts are the queries: this is coverage, whether a vector leads back to what its text says. It "
    "is not relevance. Rank settings by the form with the sentence left out.",
    "It tells unlike poolings and limits apart, and not near-equal poolings: a difference below "
    f"{100 * LEAST_WITHOUT_LABELS:.0f} points is called neither better nor worse whatever its p, and resolvable is "
    f"{LEAST_WITHOUT_LABELS:g} or more. Settings that differ by temperature alone cannot be resolved.",
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


def are_worth_graphs(passes: Sequence[Pass], probes: Probes, precision: str) -> bool:
    """Return whether graphs read: if every setting can have one, and the texts have many tokens."""
    most = longest_limit([one.group.model for one in passes])
    # A text is read whole, and without each of its sentences.
    tokens = (1 + len(POSITIONS)) * estimate_tokens((text.text for text in probes.texts), most)
    return tokens >= WORTH_A_GRAPH and can_all_have_graphs(passes, precision)


def score_own_sentences(
    passes: Sequence[Pass], probes: Probes, listener: Listener, precision: str, seed: int, *, by_graph: bool
) -> Iterator[ScoredArm]:
    """Score all settings by the share of sentences that find their text, left out and kept, with the account of each.

    Args:
        passes: of all models, those of a model together and its own setting first.
        probes: documents and their sentences.
        listener: hears of the progress.
        precision: in which the models are read, or `auto`.
        seed: of the intervals of reciprocal ranks.
        by_graph: whether graphs read.

    Raises:
        NoGraph: one of the graphs cannot be had.
    """
    helped: dict[str, _Helped] = {}
    shared = SharedPasses(precision) if by_graph else None
    for place, one in enumerate(in_order_of_graphs(passes), 1):
        listener.notify(f"pass {place} of {len(passes)}")
        name = one.arms[0].model
        scored, helped[name] = _score_pass(one, probes, listener, precision, seed, helped.get(name), shared)
        yield from scored


@dataclass(frozen=True, eq=False)
class _Helped:
    """Sentences whose text is found by more than their vectors, in a model's own setting."""

    flags: Flags | None  # [Q] whether tokens or a window do; None where it is not known
    notes: list[str]


def _score_pass(
    one: Pass,
    probes: Probes,
    listener: Listener,
    precision: str,
    seed: int,
    helped: _Helped | None,
    shared: SharedPasses | None,
) -> tuple[list[ScoredArm], _Helped]:
    """Score the settings of a pass; the first one of a model finds what helps."""
    model, changed = one.group.model, None if one.temperature is None else one.arms[0].temperature
    with set_to(model, one.temperature, one.limit), computing_in(model, precision), blame_temperature(changed):
        passes = None if shared is None else shared.of(model, one.arms[0].temperature)
        if passes is not None:
            passes.prepare()
        start = time.perf_counter()
        texts = tokenise_account(model, probes, alternatives=False)
        keeps = helped is None and count_kept(model, texts) <= KEPT_NUMBERS
        reading = read_account(
            model, texts, one.group.others, listener, alternatives=False, keep_tokens=keeps, passes=passes
        )
        copying = reading.documents.seconds_of_tokens + reading.sentences.seconds_of_tokens
        seconds = time.perf_counter() - start - copying  # as of passes that keep no token vectors
        _refuse_unread(texts, reading)
        if helped is None:
            helped = _find_helped(model, one.arms[0].model, texts, reading, listener, passes)
    scored, owners, figures = [], probes.owners, None
    if helped.flags is not None:
        figures = Figures(owners, owners[texts.left_out], len(probes.texts), helped.flags)
    for arm in one.arms:
        setting = one.group.key(arm.pooling)
        without, whole = (_scored(arm, setting, texts, reading, seconds, seed, kept=kept) for kept in (False, True))
        fates = None if figures is None else Shares(**figures.shares(reading.ranks[setting]))
        scored += [without, replace(whole, record=replace(whole.record, fates=fates, notes=helped.notes))]
    return scored, helped


def _find_helped(
    model: SentenceTransformer,
    name: str,
    texts: AccountTexts,
    reading: AccountReading,
    listener: Listener,
    passes: Passes | None,
) -> _Helped:
    """Return which sentences tokens or windows lead to their text, as far as memory and time allow."""
    if not reading.documents.tokens:
        return _Helped(None, [_TOO_LARGE.format(name)])
    if count_in_small_windows(model, texts) > _WINDOWS * texts.tokens:
        return _Helped(find_helped(texts, reading, None, None)[0], [_TOO_LONG.format(name)])
    windows = tokenise_small_windows(model, texts)
    ranks = None if windows is None else rank_windows(model, windows, texts, reading, listener, passes)
    return _Helped(find_helped(texts, reading, None, ranks)[0], [])


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
    """Return the cells of each form by rank, the best first, without claims that labels would not bear out.

    Both forms are ranked by the share with the sentence left out.
    """
    of_settings = {(cell.task, cell.setting): cell for cell in cells}
    forms = list(dict.fromkeys(cell.task for cell in cells))

    def rank(cell: Cell) -> tuple[int, float]:
        return forms.index(cell.task), -of_settings[LEFT_OUT, cell.setting].score

    limited = (_limit_claim(cell, of_settings[cell.task, cell.baseline]) for cell in cells)
    return sorted(limited, key=rank)


def _limit_claim(cell: Cell, base: Cell) -> Cell:
    """Return a cell that claims neither a small difference nor one of temperatures."""
    resolvable = None if cell.resolvable is None else max(cell.resolvable, LEAST_WITHOUT_LABELS)
    if cell.verdict not in ("better", "worse", "not told apart"):
        return replace(cell, resolvable=resolvable)
    if _beside_temperature(cell) == _beside_temperature(base):
        return replace(cell, verdict="cannot be resolved", resolvable=None)
    small = abs(cell.difference.value) < LEAST_WITHOUT_LABELS
    return replace(cell, resolvable=resolvable, verdict="not told apart" if small else cell.verdict)


def _beside_temperature(cell: Cell) -> tuple[object, ...]:
    """Return what a setting is, but for its temperature."""
    return cell.model, cell.pooling, cell.limit, cell.long
