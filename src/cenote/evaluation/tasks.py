"""Tasks of mteb: its own by name, and labelled data as tasks of the same classes, scored by the same code."""

from __future__ import annotations

import difflib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import datasets
import mteb
from datasets import Dataset, DatasetDict
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskClusteringLegacy,
    AbsTaskRetrieval,
    AbsTaskSTS,
    AbsTaskSummarization,
)
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.abstasks.task_metadata import TaskMetadata

from cenote.data.labelled import Classification, Clustering, Labelled, Labels, Retrieval, Sts, Summarisation
from cenote.errors import BadInput, UnknownName, some
from cenote.evaluation.items import LABEL_NAMES
from cenote.models.hub import why_unreachable

# mteb's name of a kind, the class of its tasks, their category and main score. mteb's classes take the defaults of
# official tasks, except that all texts of a clustering are embedded.
_SPLIT, _SUBSET = "test", "default"
# The modality of the tasks that can be scored, by mteb's name.
_TEXT = "text"


@dataclass(frozen=True)
class _Form:
    """How mteb describes a kind of task."""

    mteb_type: str
    base: Any  # the class of its tasks
    category: str
    main_score: str
    attributes: Mapping[str, Any]


_FORMS = {
    "retrieval": _Form("Retrieval", AbsTaskRetrieval, "t2t", "ndcg_at_10", {}),
    "reranking": _Form("Reranking", AbsTaskRetrieval, "t2t", "map_at_1000", {}),
    "classification": _Form("Classification", AbsTaskClassification, "t2c", "accuracy", {}),
    "clustering": _Form(
        "Clustering", AbsTaskClustering, "t2c", "v_measure", {"max_fraction_of_documents_to_embed": None}
    ),
    "sts": _Form("STS", AbsTaskSTS, "t2t", "cosine_spearman", {}),
    # Ranks do not depend on the ends of the scale.
    "summarisation": _Form(
        "Summarization", AbsTaskSummarization, "t2t", "cosine_spearman", {"min_score": 0, "max_score": 5}
    ),
}
# The kind of an official task, by mteb's name of it.
KINDS = {form.mteb_type: kind for kind, form in _FORMS.items()}


def local_task(name: str, data: Labelled) -> Any:
    """Return a task of the data's kind, filled with the data.

    Args:
        name: what the task is called.
        data: as `read_labelled` reads it.
    """
    form = _FORMS[data.kind]
    metadata = TaskMetadata(
        name=name,
        description=f"Local data: {name}",
        dataset={"path": "local", "revision": "local"},
        type=form.mteb_type,
        category=form.category,
        modalities=[_TEXT],
        eval_splits=[_SPLIT],
        eval_langs=["eng-Latn"],
        main_score=form.main_score,
    )
    task: Any = type(f"Local{form.mteb_type}", (form.base,), {"metadata": metadata, **form.attributes})()
    return fill(task, data)


def official_task(name: str) -> Any:
    """Return a fresh task of mteb by its name; nothing is downloaded yet."""
    try:
        return mteb.get_task(name)
    except KeyError:
        names = [task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)]
        near = difflib.get_close_matches(name, [*names, *_benchmarks()], n=3)
        hint = f" Did you mean {some(near)}?" if near else ""
        path = " It is a path: labelled data are named by data (--data)." if os.path.exists(name) else ""  # noqa: PTH110
        raise UnknownName(f"mteb has no task or benchmark {name!r}.{path or hint}") from None


@dataclass(frozen=True)
class TaskPart:
    """One split and one subset, such as a language, of an official task: what a score is of."""

    task: str
    split: str
    subset: str
    name: str  # of the task, with the split and the subset where it has several
    kind: str
    revision: str

    def make(self) -> Any:
        """Return the task with this split and subset only."""
        return narrow(official_task(self.task), self.split, self.subset)


def narrow(task: Any, split: str, subset: str) -> Any:
    """Return the task with one split and one subset only."""
    task._eval_splits, task.hf_subsets = [split], [subset]
    return task


def parts_of(names: Sequence[str]) -> list[TaskPart]:
    """Return what is to be scored of tasks and benchmarks; a benchmark may take some splits or languages of a task."""
    benchmarks, tasks = _benchmarks(), list[Any]()
    for name in names:
        found = mteb.get_benchmark(name).tasks if name in benchmarks else [official_task(name)]
        for one in found:
            tasks += one.tasks if isinstance(one, AbsTaskAggregate) else [one]
    _refuse_other_than_text(tasks)
    made = []
    for task in tasks:
        splits, subsets, metadata = list(task.eval_splits), list(task.hf_subsets), task.metadata
        for split in splits:
            for subset in subsets:
                parts = [part for part, every in ((subset, subsets), (split, splits)) if len(every) > 1]
                name = f"{metadata.name} ({', '.join(parts)})" if parts else metadata.name
                revision = f"{metadata.dataset.get('path')} {metadata.dataset.get('revision')} {split} {subset}"
                kind = KINDS.get(metadata.type, metadata.type)
                made.append(TaskPart(metadata.name, split, subset, name, kind, revision))
    return list(dict.fromkeys(made))


def _refuse_other_than_text(tasks: Sequence[Any]) -> None:
    other = {
        task.metadata.name: task.metadata.modalities for task in tasks if list(task.metadata.modalities) != [_TEXT]
    }
    if other:
        name, modalities = next(iter(other.items()))
        more = f" (and {len(other) - 1} other tasks)" if len(other) > 1 else ""
        raise BadInput(f"{name}{more} is a task of {' and '.join(modalities)}: name tasks of text alone.")


def _benchmarks() -> list[str]:
    return [benchmark.name for benchmark in mteb.get_benchmarks()]


def official_with(name: str, data: Labelled) -> Any:
    """Return an official task that is filled with local data: its prompts and settings are the official ones."""
    task = official_task(name)
    wanted, form = KINDS.get(task.metadata.type), _FORMS[data.kind]
    if wanted != data.kind or not isinstance(task, (form.base, AbsTaskClusteringLegacy)):
        kind = wanted or task.metadata.type
        raise BadInput(f"{name} (--as) is a task of {kind}, and the data are of {data.kind}: name another task.")
    if isinstance(task, AbsTaskClusteringLegacy):
        raise BadInput(f"{name} (--as) scores several sets of texts, and a folder holds one: name a newer version.")
    split = task.eval_splits[0]
    return fill(narrow(task, split, _SUBSET), data, split)


def fill(task: Any, data: Labelled, split: str = _SPLIT) -> Any:
    """Put data into a task, in place of what it would download."""
    task.dataset = _dataset(data, task, split)
    task.data_loaded = True
    return task


@singledispatch
def _dataset(data: Any, task: Any, split: str) -> Any:
    raise TypeError(f"no task for {type(data).__name__}, {task}, {split}")


@_dataset.register
def _(data: Retrieval, task: Any, split: str) -> Any:  # noqa: ARG001  every kind takes the task
    corpus = Dataset.from_dict({"id": data.corpus_ids, "title": data.titles, "text": data.texts})
    queries = Dataset.from_dict({"id": data.query_ids, "text": data.queries})
    relevant = {query: dict(grades) for query, grades in data.judgments.items()}
    candidates = None if data.candidates is None else {query: list(names) for query, names in data.candidates.items()}
    parts = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": candidates}
    return {_SUBSET: {split: parts}}


@_dataset.register
def _(data: Classification, task: Any, split: str) -> Any:
    names = sorted({*data.train.labels, *data.test.labels})
    numbers = {label: number for number, label in enumerate(names)}
    setattr(task, LABEL_NAMES, names)

    def rows(some: Labels) -> Dataset:
        # Two classes need numbers, and none need names.
        labels = [numbers[label] for label in some.labels]
        return Dataset.from_dict({task.input_column_name: some.texts, task.label_column_name: labels})

    return DatasetDict({task.train_split: rows(data.train), split: rows(data.test)})


@_dataset.register
def _(data: Clustering, task: Any, split: str) -> Any:
    return DatasetDict(
        {split: Dataset.from_dict({task.input_column_name: data.texts, task.label_column_name: data.labels})}
    )


@_dataset.register
def _(data: Sts, task: Any, split: str) -> Any:
    first, second = task.column_names
    return DatasetDict({split: Dataset.from_dict({first: data.first, second: data.second, "score": data.scores})})


@_dataset.register
def _(data: Summarisation, task: Any, split: str) -> Any:
    columns = {
        task.text_column_name: data.texts,
        task.human_summaries_column_name: data.human,
        task.machine_summaries_column_name: data.machine,
        task.relevancy_column_name: data.scores,
    }
    return DatasetDict({split: Dataset.from_dict(columns)})


def load_official(task: Any) -> None:
    """Load the data of an official task, in the form of mteb's second version."""
    if not task.data_loaded:
        _download(task)
    if isinstance(task, AbsTaskRetrieval):  # mteb converts too, but only once it scores
        task.convert_v1_dataset_format_to_v2(num_proc=None)


def _download(task: Any) -> None:
    """Download the data of an official task, or take them from the cache; raise at once where neither can be."""
    problem = why_unreachable()
    try:
        with _quiet(), _offline() if problem else nullcontext():
            task.load_data()
    except Exception as error:  # datasets and the hub's library have classes of their own
        name = task.metadata.name
        why = f"the hub cannot be reached ({problem}), and its data are not in the cache" if problem else str(error)
        raise BadInput(
            f"{name} cannot be loaded: {why}. Load it once where there is a network (cenote evaluate keeps what it "
            f"downloads), or give your own copy of its data: --data FOLDER --as {name}."
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the libraries from asking a hub that does not answer, which they do for minutes."""
    import huggingface_hub

    flags: list[tuple[Any, str]] = [(one, "HF_HUB_OFFLINE") for one in (datasets.config, huggingface_hub.constants)]
    before = [getattr(module, name, False) for module, name in flags]
    for module, name in flags:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(flags, before, strict=True):
            setattr(module, name, value)


def score(task: Any, encoder: Any) -> dict[str, Any]:
    """Return the figures that mteb computes for a task of one split and one subset."""
    with _quiet():
        result = mteb.evaluate(
            encoder,
            task,
            cache=None,  # its own cache does not know the pooling, the temperature or the data
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"show_progress_bar": False},
        )
    (scores,) = result.task_results
    (figures,) = scores.scores[task.eval_splits[0]]
    found: dict[str, Any] = figures
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what mteb, datasets and scikit-learn say while they score."""
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    loggers = [logging.getLogger(name) for name in ("mteb", "datasets", "sentence_transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
