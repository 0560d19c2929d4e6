"""`evaluate`: MTEB's own scores of a model on official tasks and on labelled folders, by length, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote.choices import (
    AUTO,
    BACKENDS,
    COMPUTE_PRECISIONS,
    INT8,
    Auto,
    BackendName,
    ComputePrecision,
    KindName,
    LongName,
)
from cenote.data.labelled import Retrieval
from cenote.data.labelled_schemas import Asked
from cenote.errors import BadInput, UnsupportedModel, check_at_least, choose
from cenote.evaluation.configuration import configuration_of, settings_of_data
from cenote.evaluation.reading import TextReader
from cenote.evaluation.results import (
    Results,
    file_of_items,
    folder_of,
    refuse_overwriting,
    refuse_same_files,
    write_items,
)
from cenote.evaluation.scoring import refuse_unusable, summarise_task
from cenote.evaluation.task_list import PACKAGES, ListedTask, list_tasks, named_data, refuse_missing_packages
from cenote.evaluation.ways import list_ways, way_of
from cenote.evaluation_records import Evaluation, TaskScore
from cenote.listener import Listener, Progress, silent
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.loading import load
from cenote.models.properties import limit_of, limit_of_documents
from cenote.models.provenance import name_of, pooling_of, temperature_of, versions_of
from cenote.storage import refuse_unwritable


@dataclass(frozen=True)
class _Request:
    """How tasks are scored."""

    long: str
    others: tuple[str, ...] | None  # None tries windows where texts are cut
    quick: bool
    positions: bool
    backend: str
    precision: str
    seed: int
    listener: Listener

    def settings(self) -> dict[str, Any]:
        """Return what a score depends on, besides the model, what runs it, and the data."""
        return {
            "long": self.long,
            "others": None if self.others is None else list(self.others),
            "quick": self.quick,
            "positions": self.positions,
            "seed": self.seed,
        }


# Kinds of tasks whose texts are queries and documents.
_WITH_SIDES = ("retrieval", "reranking")


def evaluate(
    model: SentenceTransformer | str | Path,
    tasks: str | Sequence[str] | None = None,
    data: str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    *,
    official: str | None = None,
    kind: KindName | None = None,
    split: str = "test",
    data_columns: Mapping[str, str] | None = None,
    long: LongName | str = "truncate",
    others: Sequence[LongName | str] | None = None,
    quick: bool = False,
    positions: bool = False,
    backend: BackendName | Auto = AUTO,
    precision: ComputePrecision | Auto = AUTO,
    items: str | Path | None = None,
    cache: str | Path | bool = True,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] = load,
) -> Evaluation:
    """Score a model on official tasks of MTEB and on labelled folders, by MTEB's own code.

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes.
        tasks: names of tasks or benchmarks of MTEB, such as `SciFact` or `MTEB(eng, v2)`.
        data: labelled folders or files, or a mapping of names to them; see `cenote.data.labelled.read_labelled`.
        official: name of the task of MTEB that the data are of: its prompts and settings are used.
        kind: of the data; None tells it by files and columns.
        split: of the data.
        data_columns: your names of the columns of `data`: `{"text": "review", "label": "stars"}`.
        long: how long texts are read: truncate, window-mean, windows or `segments 8`.
        others: other ways, scored beside it; None tries windows where texts are cut, `segments` is a curve of sizes.
        quick: whether to score fixed samples of the data, and no other ways that are not named.
        positions: whether to move the evidence of local searches to the start, the middle and the end of longer texts.
        backend: torch, openvino, onnx, or auto: OpenVINO where it can run and is faster, else torch.
        precision: float32, bfloat16, float16, int8 (OpenVINO, on CPUs that multiply integers), or auto: that of the
            weights.
        items: folder to write the values of single items to, a Parquet file for each task.
        cache: folder that keeps scores; True for the user's cache, False for none.
        seed: of the intervals.
        name: what the evaluation calls the model; None: as it was given.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence on what happens.
        loader: loads a model that is given by name, once the data are checked.

    Returns:
        An `Evaluation`: plain data, with `to_json`, `from_json` and `save`.
    """
    listener = Listener(progress or silent, notify or silent)
    request = _check(long, others, backend, precision, quick, positions, seed, items, listener)
    refuse_missing_packages("evaluate")
    asked = Asked(kind, split, data_columns or {})
    if items is not None:
        refuse_overwriting(Path(items), named_data(data))
    waiting = list_tasks(tasks, data, official, asked, quick)
    _refuse_unusable(waiting, request, items)
    results = Results(folder_of(cache), TaskScore)
    loaded = model if isinstance(model, SentenceTransformer) else loader(model)
    if not all(task.kind in _WITH_SIDES for task in waiting):
        limit_of(loaded)  # a Router without a route for other texts is refused before the work
    reader, scored = _read_and_score(loaded, waiting, request, results, None if items is None else Path(items))
    return Evaluation(
        schema=Evaluation.SCHEMA,
        model=name or name_of(model, loaded),
        fingerprint=fingerprint_of_weights(loaded),
        pooling=pooling_of(loaded),
        temperature=temperature_of(loaded),
        limit=limit_of_documents(loaded),
        tasks=tuple(scored),
        settings={
            **request.settings(),
            "backend": reader.backend,
            "precision": reader.precision,
            **settings_of_data(asked, official, waiting),
        },
        versions=versions_of(*PACKAGES),
    )


def _check(
    long: str,
    others: Sequence[str] | None,
    backend: str,
    precision: str,
    quick: bool,
    positions: bool,
    seed: int,
    items: str | Path | None,
    listener: Listener,
) -> _Request:
    """Check what needs neither mteb nor data."""
    if isinstance(others, str):
        raise BadInput(f"others={others!r}: pass a list of names.")
    way_of(long)
    beside = None if others is None else tuple(way for way in list_ways(others) if way != long)
    if items is not None:
        refuse_unwritable(Path(items))
    choose(backend, dict.fromkeys((*BACKENDS, AUTO)), "backend")
    choose(precision, dict.fromkeys((*COMPUTE_PRECISIONS, AUTO)), "precision")
    seed = check_at_least(0, seed, "seed")
    return _Request(long, beside, quick, positions, backend, precision, seed, listener)


def _refuse_unusable(waiting: Sequence[ListedTask], request: _Request, items: str | Path | None) -> None:
    """Raise for a way that a task cannot use, places of evidence where nothing is searched, and a file of two tasks."""
    if items is not None:
        refuse_same_files(Path(items), [task.name for task in waiting])
    for task in waiting:
        refuse_unusable(request.long, task.kind, task.name)
    if request.positions and not any(isinstance(task.local, Retrieval) for task in waiting):
        raise BadInput("positions (--positions) moves evidence within local searches, and none of the data is one.")


def _read_and_score(
    model: SentenceTransformer,
    waiting: Sequence[ListedTask],
    request: _Request,
    results: Results[TaskScore],
    items: Path | None,
) -> tuple[TextReader, list[TaskScore]]:
    """Return what has read the texts, and the scores; torch reads where a graph was chosen and cannot be used."""
    reader = TextReader(model, request.backend, request.precision, request.listener)
    try:
        return reader, _score_all(reader, waiting, request, results, items)
    except UnsupportedModel as error:
        if request.backend != AUTO or reader.backend == "torch" or request.precision == INT8:
            raise
        request.listener.notify(f"torch reads all tasks: {error}")
    reader = TextReader(model, "torch", request.precision, request.listener)
    return reader, _score_all(reader, waiting, request, results, items)


def _score_all(
    reader: TextReader,
    waiting: Sequence[ListedTask],
    request: _Request,
    results: Results[TaskScore],
    items: Path | None,
) -> list[TaskScore]:
    """Return the scores of all tasks, those that are known from the results."""
    configuration = configuration_of(reader, **request.settings())
    scored = []
    for number, task in enumerate(waiting, 1):
        described = {"name": task.name, "official": task.official, "kind": task.kind, "data": task.data}
        settings = {**configuration, **described, "split": task.split, "notes": task.notes}
        place = f"{number} of {len(waiting)}"
        record, table, _ = results.find_or_make(settings, settings, partial(_score, task, place, reader, request))
        if items is not None and table is not None:
            items.mkdir(parents=True, exist_ok=True)
            write_items(file_of_items(items, task.name), table)
        scored.append(record)
    return scored


def _score(task: ListedTask, place: str, reader: TextReader, request: _Request) -> tuple[TaskScore, Any]:
    import pyarrow as pa

    request.listener.notify(f"task {place}: {task.name}")
    reader.listener = request.listener.labelled(f"{task.name}: ")
    record, items = summarise_task(
        task,
        reader,
        long=request.long,
        others=request.others,
        quick=request.quick,
        seed=request.seed,
        moved=task.local if request.positions and isinstance(task.local, Retrieval) else None,
    )
    return record, None if items is None else pa.table(items.columns)
