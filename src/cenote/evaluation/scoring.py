"""One task scored: by mteb, with intervals, by length, and by other ways to read long texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cenote.data.labelled import Retrieval
from cenote.data.labelled_schemas import SEARCHES
from cenote.encoding.windows import window_sizes
from cenote.errors import BadInput, CenoteError
from cenote.evaluation.by_length import measure_of_parts, parts_by_length, rank_of_longest, score_of_items
from cenote.evaluation.differences import differences_among, sources_of, state_too_few
from cenote.evaluation.items import Items, data_of, items_of
from cenote.evaluation.positions import find_by_position
from cenote.evaluation.reading import AnyReader, TextReader
from cenote.evaluation.task_list import ListedTask
from cenote.evaluation.ways import gives_several, way_of
from cenote.evaluation_records import Position, Setting, TaskScore, Worst
from cenote.models.properties import limit_of
from cenote.records import Estimate
from cenote.wording import percent, pluralise

if TYPE_CHECKING:
    from cenote.evaluation.encoder import EngineEncoder

# The worst items that are shown.
_WORST = 5
# Share of the texts that are cut, from which other ways to read long texts are tried unasked.
WORTH_TRYING = 0.02
# How far the mean over items may be from mteb's score, which it rounds: further, and they are of another measure.
_ROUNDING = 1e-4
# Digits of figures in records.
_DIGITS = 9


@dataclass(frozen=True, eq=False)
class Scored:
    """A task scored in one way to read long texts."""

    metric: str
    figures: dict[str, float]  # all that mteb computes
    items: Items | None
    encoder: EngineEncoder

    @property
    def score(self) -> float:
        """The figure that mteb reports as the score."""
        return self.figures["main_score"]


def score_task(make: Callable[[], Any], kind: str, reader: AnyReader, way: str) -> Scored:
    """Score a fresh task: its random state lives in the task.

    Args:
        make: returns the task, loaded or not.
        kind: of the task.
        reader: reads texts, and keeps their vectors.
        way: how long texts are read.
    """
    # These import mteb, which not all who import this module have.
    from cenote.evaluation.encoder import EngineEncoder
    from cenote.evaluation.recording import watch
    from cenote.evaluation.tasks import load_official, score

    task = make()
    encoder = EngineEncoder(reader, way_of(way), skip_own=getattr(task, "ignore_identical_ids", False))
    load_official(task)
    if kind in SEARCHES:
        encoder.watched = _relevant(task)
    recorded = watch(task, kind)
    found = score(task, encoder)
    metric, name = str(task.metadata.main_score), task.metadata.name
    figures = {one: float(value) for one, value in found.items() if _is_number(value)}
    if "main_score" not in figures:
        raise BadInput(
            f"{name} has no score: its {metric} is {found.get('main_score')}, as where all true scores or all vectors "
            "are the same. Look at the data, and at the model with cenote diagnose."
        )
    return Scored(metric, figures, items_of(kind, task, encoder, recorded, metric), encoder)


def _relevant(task: Any) -> dict[str, list[str]]:
    judgments: Mapping[str, Mapping[str, int]] = data_of(task)["relevant_docs"]
    return {query: [one for one, grade in grades.items() if grade > 0] for query, grades in judgments.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(np.isfinite(value))


def summarise_task(
    task: ListedTask,
    reader: TextReader,
    *,
    long: str,
    others: Sequence[str] | None,
    seed: int,
    moved: Retrieval | None = None,
    quick: bool = False,
) -> tuple[TaskScore, Items | None]:
    """Score a task, and return its record and its items.

    Args:
        task: to score.
        reader: reads texts, and keeps their vectors.
        long: how long texts are read.
        others: other ways to read them; None tries those that users choose, where the model cuts texts.
        seed: of the intervals.
        moved: data whose evidence is moved within longer texts.
        quick: whether only ways that are named are tried.
    """
    reader.forget()  # what other tasks read: batches depend on this task alone, also where a run goes on
    kind, notes = task.kind, list(task.notes)
    own = check_items(score_task(task.make, kind, reader, long), notes)
    texts, cut = own.encoder.seen.counts
    if others is None:
        others = _ways_to_try(kind, own.encoder, notes, long=long, quick=quick)
    estimate, interval, count = Estimate(own.score, None, None), "", 0
    if own.items is not None:
        estimate, interval = score_of_items(kind, own.items, seed)
        count = len(set(own.items.columns["item"]))
        if few := state_too_few(own.items, sources_of(kind, own.items)):
            notes.append(few)
            estimate = Estimate(estimate.value, None, None)
    positions: tuple[Position, ...] = ()
    if moved is not None:
        try:
            positions = find_by_position(moved, reader, own.encoder.sides, (long, *others), seed)
        except BadInput as error:
            notes.append(f"Evidence was not moved within texts: {error}")
    if unusable := [one for one in others if not is_usable(one, kind)]:
        notes.append(f"Not tried, since a task of {kind} needs one vector a text: {', '.join(unusable)}.")
    settings = tuple(
        _compare(one, kind, own, score_task(task.make, kind, reader, one), seed, notes)
        for one in others
        if is_usable(one, kind)
    )
    of_parts = (None, None) if own.items is None else measure_of_parts(kind, own.items, seed)
    record = TaskScore(
        name=task.name,
        kind=kind,
        metric=own.metric,
        score=own.score,
        low=estimate.low,
        high=estimate.high,
        items=count,
        interval=interval,
        by_length=() if own.items is None else parts_by_length(kind, own.items, seed),
        settings=settings,
        positions=positions,
        worst=() if own.items is None else worst_items(kind, own.items),
        scores=dict(sorted(own.figures.items())),
        longest_rank=None if own.items is None else rank_of_longest(own.items),
        texts=texts,
        cut=cut,
        notes=tuple(notes),
        data=task.data,
        split=task.split,
        part_metric=of_parts[0],
        part_score=of_parts[1],
    )
    return record, own.items


def _ways_to_try(kind: str, encoder: EngineEncoder, notes: list[str], *, long: str, quick: bool) -> tuple[str, ...]:
    """Return the ways to read long texts that users choose; note why none is tried where texts are cut."""
    texts, cut = encoder.seen.counts
    if not cut:
        return ()
    share, remedy = cut / texts, "name some (others, --beside)."
    if long != "truncate":
        notes.append(
            f"{percent(share)} of the texts are longer than the model reads. No way beside {long} was tried: {remedy}"
        )
        return ()
    if quick:
        notes.append(f"{percent(share)} of the texts are cut. A quick look tries no other way to read them: {remedy}")
        return ()
    if share < WORTH_TRYING:
        notes.append(
            f"{percent(share)} of the texts are cut. Other ways to read them are tried unasked from "
            f"{percent(WORTH_TRYING)} on: {remedy}"
        )
        return ()
    side = next(side for name, side in encoder.sides.items() if name != "query")  # queries are cut in every way
    try:
        window_sizes(encoder.model, side.prompt_name, None, None, side.task)
    except CenoteError as error:
        notes.append(f"Texts are cut, and windows were not tried: {error}")
        return ()
    return ("window-mean", "windows") if kind in SEARCHES else ("window-mean",)


def is_usable(way: str, kind: str) -> bool:
    """Return whether texts of a kind of task can be read in a way."""
    return kind in SEARCHES or not gives_several(way)


def refuse_unusable(way: str, kind: str, name: str) -> None:
    """Raise where a way gives several vectors for a text, and the task needs one."""
    if not is_usable(way, kind):
        raise BadInput(f"long={way!r} gives several vectors for a text, and {name}, of {kind}, needs one: window-mean.")


@dataclass(frozen=True)
class Cut:
    """How many texts of a side a model cuts."""

    side: str  # query, document, or text
    texts: int
    cut: int
    limit: int | None  # tokens


def cuts_of(encoder: EngineEncoder) -> list[Cut]:
    """Return how many queries, documents or texts a model cuts now, each at their own limit."""
    seen = ((side, encoder.sides[side].task, [*cut.values()]) for side, cut in encoder.seen.cut.items())
    return [Cut(side, len(cut), sum(cut), limit_of(encoder.model, task)) for side, task, cut in seen]


def note_cuts(model: str, cuts: Sequence[Cut]) -> list[str]:
    """Return a note for each side of which a model cuts texts.

    >>> note_cuts("minilm", [Cut("query", 20, 0, 32), Cut("document", 1200, 300, 256)])
    ['minilm cuts 25 % of 1,200 documents at 256 tokens.']
    """
    return [
        f"{model} cuts {percent(one.cut / one.texts)} of {pluralise(one.texts, one.side)} at "
        f"{'its limit' if one.limit is None else f'{one.limit:,} tokens'}."
        for one in cuts
        if one.cut
    ]


def check_items(found: Scored, notes: list[str]) -> Scored:
    """Return what was scored, without items whose values do not average to the score; note why there are none."""
    if found.items is None:
        notes.append(f"The values of single items are not known for {found.metric}: there is no interval.")
        return found
    mean = float(found.items.numbers("value").mean())
    if abs(mean - found.score) <= _ROUNDING:
        return found
    notes.append(
        f"The values of single items are of another measure than {found.metric} (their mean is {mean:.4f}): there is "
        "no interval."
    )
    return replace(found, items=None)


def _compare(name: str, kind: str, own: Scored, other: Scored, seed: int, notes: list[str]) -> Setting:
    """Return another way to read long texts, with the change of the score, paired by items as `compare` does."""
    score, change = Estimate(other.score, None, None), Estimate(other.score - own.score, None, None)
    said: list[str] = []
    items = None if own.items is None else check_items(other, said).items
    notes += [f"{name}: {note}" for note in said]
    if own.items is not None and items is not None:
        found = differences_among(kind, [own.items], [items], set(own.items.columns["item"]), seed)
        if found is not None:
            (change,), (score, _) = found, score_of_items(kind, items, seed)
    return Setting(name=name, score=score, change=change, vectors=round(other.encoder.vectors_per_text, 3))


def worst_items(kind: str, items: Items) -> tuple[Worst, ...]:
    """Return the items with the lowest values, with what was expected and what was found."""
    if kind not in _SHOWN:
        return ()
    order = np.argsort(items.numbers("value"), kind="stable")[:_WORST]
    return tuple(_worst(kind, items, row) for row in order.tolist())


def _worst(kind: str, items: Items, row: int) -> Worst:
    expected, found = _SHOWN[kind](items, row)
    columns = items.columns
    value = round(float(columns["value"][row]), _DIGITS)
    return Worst(str(columns["item"][row]), str(columns["text"][row]), value, expected, found)


def _first(items: Items, name: str, row: int) -> str:
    """Return the first of some documents, with its text."""
    ids, text = items.columns[name][row], items.columns[f"{name}_text"][row]
    return f"{ids[0]}: {text}" if ids else ""


# What was expected of an item, and what was found.
_SHOWN: dict[str, Callable[[Items, int], tuple[str, str]]] = {
    **dict.fromkeys(
        SEARCHES,
        lambda items, row: (_first(items, "relevant", row), _first(items, "found", row)),
    ),
    "classification": lambda items, row: (
        items.columns["label"][row],
        f"{items.columns['predicted'][row]} ({items.columns['probability'][row]:.2f})",
    ),
    "sts": lambda items, row: (
        f"{items.columns['score'][row]:.2f}",
        f"{items.columns['cosine'][row]:.3f}: {items.columns['second'][row]}",
    ),
}
