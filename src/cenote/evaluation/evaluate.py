"""`evaluate`: MTEB's own scores of a model on official tasks and on labelled folders, by length, with intervals."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO, BACKENDS, PRECISIONS, missing_packages
from cenote.data.labelled import KINDS, Labelled, Retrieval, fingerprint_of_files, read_labelled
from cenote.data.labelled_samples import sample_labelled
from cenote.errors import BadInput, CenoteError, choose
from cenote.evaluation.results import Results, default_folder, write_items
from cenote.evaluation_records import Evaluation, TaskScore
from cenote.listener import Listener, Progress, silent
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.hub import why_unreachable
from cenote.models.loading import load
from cenote.models.properties import limit_of
from cenote.models.provenance import behaviour_of, name_of, pooling_of, temperature_of, versions_of
from cenote.wording import number_duplicates

if TYPE_CHECKING:
    from cenote.evaluation.reading import TextReader

# Packages whose versions a score depends on.
_PYTHON = (3, 11)  # that mteb needs
_PACKAGES = ("mteb", "scikit-learn", "scipy", "datasets", "tokenizers", "pytrec-eval-terrier")
# Entries of a network's config that say where it is from.
_PLACES = ("_name_or_path", "transformers_version")
# The package of a backend that is not torch.
_RUNTIMES = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}


@dataclass(frozen=True, eq=False)
class _Task:
    """A task to score: where it is from, and what its data are."""

    name: str
    kind: str
    make: Callable[[], Any]  # returns the task of mteb, fresh each time
    data: str  # fingerprint of local data, or revision of an official task
    official: str | None  # the name of the official task that it is, or that local data are of
    split: str
    notes: tuple[str, ...] = ()
    local: Labelled | None = None


@dataclass(frozen=True)
class _Request:
    """How tasks are scored."""

    long: str
    others: tuple[str, ...] | None
    quick: bool
    positions: bool
    backend: str
    precision: str
    seed: int
    listener: Listener


def evaluate(
    model: SentenceTransformer | str | Path,
    tasks: str | Sequence[str] | None = None,
    data: str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    *,
    official: str | None = None,
    kind: str | None = None,
    split: str = "test",
    long: str = "truncate",
    others: Sequence[str] | None = None,
    quick: bool = False,
    positions: bool = False,
    backend: str = AUTO,
    precision: str = AUTO,
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
        long: how long texts are read: truncate, window-mean, windows or `segments 8`.
        others: other ways to read long texts, scored beside it; None tries windows where texts are cut.
        quick: whether to score fixed samples of the data, and no other ways that are not named.
        positions: whether to move the evidence of local searches to the start, the middle and the end of longer texts.
        backend: torch, openvino, onnx, or auto: OpenVINO where it can run and is faster, else torch.
        precision: float32, bfloat16, float16, or auto: that of the weights.
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
    request = _check(long, others, backend, precision, quick, positions, seed, listener)
    _refuse_missing_packages()
    waiting = _collect(tasks, data, official, kind, split, quick)
    for task in waiting:
        _refuse_ways(task, request)
    loaded = model if isinstance(model, SentenceTransformer) else loader(model)
    results = Results(None if cache is False else default_folder() if cache is True else Path(cache))
    scored = _score_all(loaded, waiting, request, results, None if items is None else Path(items))
    return Evaluation(
        schema=Evaluation.SCHEMA,
        model=name or name_of(model, loaded),
        fingerprint=fingerprint_of_weights(loaded),
        pooling=pooling_of(loaded),
        temperature=temperature_of(loaded),
        limit=limit_of(loaded),
        tasks=tuple(scored),
        settings={"long": long, "quick": quick, "seed": int(seed), "split": split},
        versions=versions_of(*_PACKAGES),
    )


def _check(
    long: str,
    others: Sequence[str] | None,
    backend: str,
    precision: str,
    quick: bool,
    positions: bool,
    seed: int,
    listener: Listener,
) -> _Request:
    """Check what needs neither mteb nor data."""
    from cenote.evaluation.ways import way_of

    if isinstance(others, str):
        raise BadInput(f"others={others!r}: pass a list of names.")
    for way in (long, *(others or ())):
        way_of(way)
    choose(backend, dict.fromkeys((*BACKENDS, AUTO)), "backend")
    choose(precision, dict.fromkeys((*PRECISIONS, AUTO)), "precision")
    beside = None if others is None and not quick else tuple(others or ())
    return _Request(long, beside, quick, positions, backend, precision, seed, listener)


def _refuse_missing_packages() -> None:
    version = platform.python_version_tuple()
    if tuple(map(int, version[:2])) < _PYTHON:
        raise CenoteError(f"evaluate needs mteb, which needs Python 3.11 or newer; this is {'.'.join(version)}.")
    if missing := missing_packages("eval"):
        raise CenoteError(f"evaluate: {missing}.")


def _collect(
    tasks: str | Sequence[str] | None, data: Any, official: str | None, kind: str | None, split: str, quick: bool
) -> list[_Task]:
    """Return all tasks, their local data read and checked."""
    names = [tasks] if isinstance(tasks, str) else list(tasks or ())
    folders = _folders(data)
    if not names and not folders:
        raise BadInput("there is nothing to evaluate on: name tasks of MTEB (tasks, --tasks) or data (data, --data).")
    if kind is not None:
        choose(kind, dict.fromkeys(KINDS), "kind of task")
    if official is not None and (names or len(folders) != 1):
        raise BadInput(f"official={official!r} (--as) says which task one folder is of: give one folder, and no tasks.")
    if quick and names:
        raise BadInput("quick (--quick) samples local data; official tasks are scored whole.")
    found = [_local(called, where, official, kind, split, quick) for called, where in folders.items()]
    if names:
        from cenote.evaluation.tasks import cells_of, load_official

        cells = cells_of(names)
        if why_unreachable():  # what is not in the cache is reported before any work
            for cell in cells:
                load_official(cell.make())
        found += [_Task(one.name, one.kind, one.make, one.revision, one.task, one.split) for one in cells]
    called = number_duplicates([task.name for task in found])
    return [replace(task, name=name) for task, name in zip(found, called, strict=True)]


def _folders(data: Any) -> dict[str, Any]:
    """Return what data are given, by unique names."""
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return dict(data)
    if isinstance(data, get_args(Labelled)):
        return {data.kind: data}
    several = [data] if isinstance(data, (str, Path)) else list(data)
    names = number_duplicates([_name_of(one) for one in several])
    return dict(zip(names, several, strict=True))


def _name_of(path: str | Path) -> str:
    """Return the name of a folder, or of a file without its endings."""
    return re.sub(r"(\.[A-Za-z]+)+$", "", Path(path).resolve().name)


def _local(name: str, given: Any, official: str | None, kind: str | None, split: str, quick: bool) -> _Task:
    from cenote.evaluation.tasks import local_task, official_with

    if isinstance(given, (str, Path)):
        data: Labelled = read_labelled(given, kind, split)
        fingerprint = fingerprint_of_files(given, kind, split)
    else:
        data, fingerprint = given, _fingerprint_of(given)
    if quick:
        data = sample_labelled(data)

    def make() -> Any:
        return local_task(name, data) if official is None else official_with(official, data)

    make()  # errors come before the work
    return _Task(name, data.kind, make, fingerprint, official, split, data.notes, data)


def _fingerprint_of(data: Labelled) -> str:
    return hashlib.sha256(repr(sorted(vars(data).items())).encode()).hexdigest()[:16]


def _refuse_ways(task: _Task, request: _Request) -> None:
    from cenote.evaluation.scoring import refuse_unusable

    refuse_unusable(request.long, task.kind, task.name)


def _score_all(
    model: SentenceTransformer, waiting: Sequence[_Task], request: _Request, results: Results, items: Path | None
) -> list[TaskScore]:
    """Return the scores of all tasks, those that are known from the results."""
    from cenote.evaluation.reading import TextReader

    reader = TextReader(model, request.backend, request.precision, request.listener)
    configuration = _configuration(reader, request)
    scored = []
    for number, task in enumerate(waiting, 1):
        described = {"name": task.name, "official": task.official, "kind": task.kind, "data": task.data}
        settings = {**configuration, **described, "split": task.split, "notes": task.notes}
        key = results.key_of(settings)
        found = results.find(key)
        if found is None:
            request.listener.notify(f"task {number} of {len(waiting)}: {task.name}")
            found = _score(task, reader, request)
            results.keep(key, settings, *found)
        record, table = found
        if items is not None and table is not None:
            items.mkdir(parents=True, exist_ok=True)
            write_items(items / f"{_as_file_name(task.name)}.parquet", table)
        scored.append(record)
    return scored


def _as_file_name(name: str) -> str:
    return re.sub(r"[^\w.,() -]+", "-", name)


def _score(task: _Task, reader: TextReader, request: _Request) -> tuple[TaskScore, Any]:
    import pyarrow as pa

    from cenote.evaluation.scoring import summarise_task

    reader.listener = request.listener.labelled(f"{task.name}: ")
    record, items = summarise_task(
        task.name,
        task.kind,
        task.make,
        reader,
        long=request.long,
        others=request.others,
        seed=request.seed,
        notes=task.notes,
        data=task.data,
        split=task.split,
        moved=task.local if request.positions and isinstance(task.local, Retrieval) else None,
    )
    return record, None if items is None else pa.table(items.columns)


def _configuration(reader: TextReader, request: _Request) -> dict[str, Any]:
    """Return everything besides the data that a score depends on."""
    model = reader.model
    network: Any = getattr(getattr(model[0], "model", None), "config", None)
    return {
        "weights": fingerprint_of_weights(model, every=True),
        "network": {} if network is None else {k: v for k, v in network.to_dict().items() if k not in _PLACES},
        **behaviour_of(model),
        "prompts": dict(model.prompts),
        "default_prompt": model.default_prompt_name,
        "similarity": str(model.similarity_fn_name),
        "device": model.device.type,
        "backend": reader.backend,
        "precision": reader.precision,
        "long": request.long,
        "others": request.others,
        "quick": request.quick,
        "positions": request.positions,
        "seed": request.seed,
        "versions": versions_of(*_PACKAGES, *_RUNTIMES.get(reader.backend, ())),
    }
