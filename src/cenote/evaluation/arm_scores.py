"""The score of one setting on one task, with the values of its items: what comparisons are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from cenote.data.labelled import texts_of
from cenote.encoding.passes import SharedPasses
from cenote.encoding.vectors import Vectors
from cenote.errors import BadInput
from cenote.evaluation.arms import Arm, Pass, set_to
from cenote.evaluation.configuration import configuration_of
from cenote.evaluation.items import Items
from cenote.evaluation.reading import TextReader, blame_temperature
from cenote.evaluation.results import Results
from cenote.evaluation.runtimes import in_order_of_graphs
from cenote.evaluation.scoring import check_items, cuts_of, note_cuts, score_task
from cenote.evaluation.task_list import ListedTask
from cenote.functional.agreement import FEWEST_WITH_OTHERS, nearest_others
from cenote.functional.units import to_unit
from cenote.listener import Listener
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.records import Estimate, Shares

if TYPE_CHECKING:  # it imports mteb
    from cenote.evaluation.encoder import EngineEncoder

# Texts whose neighbours are noted.
_TEXTS = 1000


@dataclass(frozen=True)
class ArmScore:
    """The score of one setting on one task, and what it cost."""

    metric: str
    score: float
    items: int
    dimensions: int
    vectors: float  # for each text
    seconds: float  # of the reading of the texts, which settings of one pass share
    texts: int
    neighbours: list[list[int]]  # of each of some texts the nearest, by their numbers; none of several vectors a text
    notes: list[str]
    reciprocal_rank: Estimate | None = None  # the mean, of own sentences
    fates: Shares | None = None  # what becomes of own sentences that are kept in their texts


class Subject(Protocol):
    """A task, or own sentences, as records name it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def kind(self) -> str:
        """Its kind, by which items are compared."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the data."""
        ...


@dataclass(frozen=True, eq=False)
class ScoredArm:
    """A setting's score with its items."""

    task: Subject
    arm: Arm
    record: ArmScore
    items: Items | None
    kept: bool = False  # whether it was computed before, by another call


def score_passes(
    passes: Sequence[Pass],
    tasks: Sequence[ListedTask],
    results: Results[ArmScore],
    listener: Listener,
    precision: str,
    by_graph: Collection[str],
) -> Iterator[ScoredArm]:
    """Score all settings on every task: each pass reads the texts of a task once for all its settings.

    A task whose texts are all among those of the task before, as the clustering of a set may follow its
    classification, takes the vectors that were read for that one, and their share of the time.

    Args:
        passes: of all models.
        tasks: to score.
        results: keeps scores.
        listener: hears of the progress.
        precision: in which the models are read, or `auto`.
        by_graph: names of the tasks that graphs read.

    Raises:
        NoGraph: one of the graphs cannot be had.
    """
    models = {id(one.group.model): one.group.model for one in passes}
    weights = {key: fingerprint_of_weights(model, every=True) for key, model in models.items()}
    shared = SharedPasses(precision)
    follows = [False]
    for before, task in pairwise(tasks):
        follows.append(_is_read(before, task) and (before.name in by_graph) == (task.name in by_graph))
    for place, one in enumerate(in_order_of_graphs(passes), 1):
        model, reader = one.group.model, None
        for number, task in enumerate(tasks, 1):
            listener.notify(f"pass {place} of {len(passes)}: task {number} of {len(tasks)}, {task.name}")
            with set_to(model, one.temperature, one.limit):
                if reader is None or not follows[number - 1]:
                    reader = TextReader(model, "torch", precision, poolings=one.group.others)
                reader.listener = listener.labelled(f"{task.name}: ")
                graph = shared.of(model, one.arms[0].temperature) if task.name in by_graph else None
                with reader.read_by(graph):
                    configuration = configuration_of(reader, weights=weights[id(model)], limit=one.limit)
                    yield from _score_pass(one, task, reader, configuration, results)


def _is_read(before: ListedTask, task: ListedTask) -> bool:
    """Return whether the task before reads all texts of a task, as far as the data of both are here."""
    if before.local is None or task.local is None:
        return False
    return set(texts_of(before.local)) >= set(texts_of(task.local))


def _score_pass(
    one: Pass, task: ListedTask, reader: TextReader, configuration: dict[str, Any], results: Results[ArmScore]
) -> Iterator[ScoredArm]:
    described = {
        "name": task.name,
        "official": task.official,
        "kind": task.kind,
        "data": task.data,
        "split": task.split,
    }
    for arm in one.arms:
        if arm.pooling in one.group.foreign:
            compared, keeping = {}, Results(None, ArmScore)
        else:
            compared, keeping = one.group.settings(arm.pooling), results
        setting = {"arm": vars(arm), "compared": compared}
        changed = None if one.temperature is None else arm.temperature
        with blame_temperature(changed):
            record, table, known = keeping.find_or_make(
                {**configuration, **described, **setting},
                {"arm": vars(arm), **described},
                partial(_score, task, arm, reader.pooled(one.group.key(arm.pooling)), changed),
            )
        yield ScoredArm(task, arm, record, None if table is None else Items(table.to_pydict()), kept=known)


def _score(task: ListedTask, arm: Arm, reader: TextReader, changed: str | None) -> tuple[ArmScore, pa.Table | None]:
    """Score one setting; its reader keeps what the pass has read, and an error leaves a changed temperature to name."""
    try:
        found = score_task(task.make, task.kind, reader, arm.long)
    except BadInput as error:
        own = f"temperature {arm.temperature}, " if changed is None else ""
        at = f"{arm.pooling}, {own}{arm.long}"
        raise BadInput(f"{task.name} cannot be scored at {at}: {error}") from error
    notes = note_cuts(arm.model, cuts_of(found.encoder)) if arm.long == "truncate" else []
    found = check_items(found, notes)
    items = found.items and found.items.for_comparison()
    width, neighbours = _neighbours(found.encoder)
    work, (texts, _) = reader.work, found.encoder.seen.counts
    share = min(1.0, texts / max(1, work.texts))  # of what was read for the task before, too
    record = ArmScore(
        metric=found.metric,
        score=found.score,
        items=0 if items is None else len(items),
        dimensions=width,
        vectors=round(found.encoder.vectors_per_text, 3),
        seconds=share * (work.seconds + (work.seconds_of_windows if arm.long != "truncate" else 0)),
        texts=round(share * work.texts),
        neighbours=neighbours,
        notes=notes,
    )
    return record, None if items is None else pa.table(items.columns)


def _neighbours(encoder: EngineEncoder) -> tuple[int, list[list[int]]]:
    """Return the width of vectors, and of some documents or texts the nearest among them."""
    side = "document" if "document" in encoder.seen.tokens else "text"
    if side not in encoder.seen.tokens:
        return 0, []
    texts = list(encoder.seen.tokens[side])
    texts = texts[:: -(-len(texts) // _TEXTS)]
    vectors, owners = encoder.way(encoder.reader, texts, encoder.sides[side])
    width = int(vectors.shape[1])
    if len(owners) != len(texts):
        return width, []
    return width, neighbours_of(vectors)


def neighbours_of(vectors: Vectors) -> list[list[int]]:
    """Return the nearest of each vector among the others by cosine; none for few vectors."""
    return nearest_others(to_unit(vectors)) if len(vectors) >= FEWEST_WITH_OTHERS else []
