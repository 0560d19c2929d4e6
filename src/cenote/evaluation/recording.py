"""The values of single items, noted while mteb scores a task.

mteb returns means. Each kind of task passes the values of its items through one method or object, which is watched
here; the score stays mteb's own. A new kind is one function and one row of `_WATCHES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from mteb.abstasks import AbsTaskClustering

# Figures of a task, by names that depend on its kind.
Recorded = dict[str, Any]


def watch(task: Any, kind: str) -> Recorded:
    """Return figures that are filled while the task is scored; none for kinds of tasks that are not watched."""
    found: Recorded = {}
    begin = _WATCHES.get(kind)
    # A classification by cross-validation tests other texts in every experiment.
    if begin is not None and not getattr(task, "is_cross_validation", False):
        begin(task, found)
    return found


def _watch_retrieval(task: Any, found: Recorded) -> None:
    own = task.task_specific_scores

    def note(scores: Any, qrels: Any, results: Any, *args: Any, **kwargs: Any) -> Any:
        found.update(scores=scores, judgments=qrels, results=results)
        return own(scores, qrels, results, *args, **kwargs)

    task.task_specific_scores = note


def _watch_classification(task: Any, found: Recorded) -> None:
    """Note the probabilities of every experiment, by the order of the classes."""
    own = task.evaluator_model
    if not hasattr(own, "predict_proba"):
        return
    found.update(probabilities=[], classes=[], predicted=[])

    class Watched(type(own)):  # type: ignore[misc]
        def predict(self, vectors: Any) -> Any:
            labels = super().predict(vectors)
            found["probabilities"].append(self.predict_proba(vectors).astype(np.float32))
            found["classes"].append(self.classes_)
            found["predicted"].append(labels)
            return labels

    Watched.__name__ = type(own).__name__
    task.evaluator_model = Watched(**own.get_params())


class _NotingRandom(random.Random):
    """Notes what is drawn from it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[list[int]] = []  # each draw, with replacement
        self.sampled: list[int] | None = None  # the texts that draws are from, where these are not all

    def choices(self, population: Any, *args: Any, **kwargs: Any) -> list[Any]:
        found = super().choices(population, *args, **kwargs)
        self.drawn.append(found)
        return found

    def sample(self, population: Any, *args: Any, **kwargs: Any) -> list[Any]:
        self.sampled = super().sample(population, *args, **kwargs)
        return self.sampled


def _watch_clustering(task: Any, found: Recorded) -> None:
    """Note which texts every draw holds, and their clusters. Legacy tasks cluster sets of texts, and draw none."""
    if not isinstance(task, AbsTaskClustering):
        return
    generator = _NotingRandom()
    generator.setstate(task.rng_state.getstate())
    task.rng_state = generator
    found["generator"] = generator
    _note_predictions(task, found)


def _watch_sts(task: Any, found: Recorded) -> None:
    own = task._calculate_scores

    def note(scores: Any, human: Any) -> Any:
        found.update(scores=scores, human=human)
        return own(scores, human)

    task._calculate_scores = note


def _note_predictions(task: Any, found: Recorded) -> None:
    """Note what mteb would write into a folder of predictions."""
    own = task._evaluate_subset

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        return own(*args, **{**kwargs, "prediction_folder": True})

    def save(predictions: Any, *_: Any, **__: Any) -> None:
        found["predictions"] = predictions

    task._evaluate_subset, task._save_task_predictions = evaluate, save


_WATCHES: dict[str, Callable[[Any, Recorded], None]] = {
    "retrieval": _watch_retrieval,
    "reranking": _watch_retrieval,
    "classification": _watch_classification,
    "clustering": _watch_clustering,
    "sts": _watch_sts,
    "summarisation": _note_predictions,
}
