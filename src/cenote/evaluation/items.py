"""Values of single items: a table for each task, whose column `value` averages to the task's score.

A kind of task is one function here: from what was recorded to columns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import v_measure_score

from cenote.functional.items import rank_products
from cenote.functional.sampling import Floats

if TYPE_CHECKING:  # these import mteb
    from cenote.evaluation.encoder import EngineEncoder, Seen
    from cenote.evaluation.recording import Recorded

_Columns = dict[str, list[Any]]

# Columns of texts that comparisons do not need, and that take the most room.
_TEXTUAL = ("second", "relevant_text", "found_text")
# The attribute of a task that names its labels, where these are numbers.
LABEL_NAMES = "cenote_label_names"
# The length of a text in tokens is in the columns whose names end so.
TOKENS = "_tokens"
# Measures of mteb for a single query, by their names in its scores of tasks.
_OF_QUERIES = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
# Documents that are named for each query, and characters of the first that are kept.
_NAMED, _SHOWN = 3, 300


@dataclass(frozen=True, eq=False)
class Items:
    """The items of a task, column by column."""

    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def only(self, names: Collection[str]) -> Items:
        """Return the items of these names."""
        rows = [row for row, name in enumerate(self.columns["item"]) if name in names]
        return Items({name: [column[row] for row in rows] for name, column in self.columns.items()})

    def for_comparison(self) -> Items:
        """Return the items without the texts that a comparison does not need."""
        return Items({name: column for name, column in self.columns.items() if name not in _TEXTUAL})

    def numbers(self, name: str) -> Floats:
        """Return a column as an array."""
        return np.asarray(self.columns[name], np.float64)

    @property
    def lengths(self) -> dict[str, Floats]:
        """The lengths of the items' texts, by the name of the text."""
        names = [name for name in self.columns if name.endswith(TOKENS)]
        return {name.removesuffix(TOKENS): self.numbers(name) for name in names}


def items_of(kind: str, task: Any, encoder: EngineEncoder, recorded: Recorded, metric: str) -> Items | None:
    """Return the items of a scored task; None where they are not known."""
    build, needed = _BUILDERS.get(kind, (None, ()))
    if build is None or not all(recorded.get(name) for name in needed):
        return None
    columns = build(task, data_of(task), encoder, recorded, metric)
    return None if columns is None else Items(columns)


def data_of(task: Any) -> Any:
    """Return the data that are scored: those of the first split and the first subset."""
    split, subset = task.eval_splits[0], task.hf_subsets[0]
    return task.dataset[subset][split] if subset in task.dataset else task.dataset[split]


def _of_retrieval(task: Any, data: Any, encoder: EngineEncoder, found: Recorded, metric: str) -> _Columns | None:  # noqa: ARG001
    """A query is an item."""
    measure = _measure_of(metric)
    if measure is None:
        return None
    texts = dict(zip(data["queries"]["id"], data["queries"]["text"], strict=True))
    tokens = encoder.document_tokens
    names = [name for name in found["scores"] if name in texts]
    relevant = [[one for one, grade in found["judgments"][name].items() if grade > 0] for name in names]
    ranked = [sorted(found["results"][name].items(), key=_order, reverse=True)[:_NAMED] for name in names]
    pairs = zip(names, relevant, strict=True)
    known = [[tokens[one] for one in some if one in tokens] for some in relevant]
    columns: _Columns = {
        "item": names,
        "text": [str(texts[name]) for name in names],
        "value": [measure(found, name) for name in names],
        f"query{TOKENS}": [encoder.query_tokens[name] for name in names],
        f"document{TOKENS}": [float(np.mean(some)) if some else float("nan") for some in known],
        "relevant": relevant,
        "ranks": [[encoder.ranks[name].get(one, 0.0) for one in some] for name, some in pairs],
        "relevant_tokens_each": [[int(tokens.get(one, 0)) for one in some] for some in relevant],
        "found": [[one for one, _ in some] for some in ranked],
    }
    for name, lists in (("relevant_text", relevant), ("found_text", columns["found"])):
        columns[name] = [encoder.documents.get(some[0], "")[:_SHOWN] if some else "" for some in lists]
    return columns


def _measure_of(metric: str) -> Callable[[Recorded, str], float] | None:
    """Return the value of a query in the measure that is the task's score; None for a measure that is not known."""
    kind, _, depth = ("recall_at_1" if metric == "accuracy" else metric).rpartition("_at_")
    if kind == "mrr":
        return lambda found, name: _reciprocal_rank(found, name, int(depth))
    if kind not in _OF_QUERIES:
        return None
    return lambda found, name: float(found["scores"][name][f"{_OF_QUERIES[kind]}_{depth}"])


def _reciprocal_rank(found: Recorded, name: str, depth: int) -> float:
    grades = found["judgments"][name]
    order = sorted(found["results"][name].items(), key=_order, reverse=True)[:depth]
    return next((1 / rank for rank, (one, _) in enumerate(order, 1) if grades.get(one, 0) > 0), 0.0)


def _order(one: tuple[str, float]) -> tuple[float, str]:
    """Return the key by which mteb sorts results."""
    return one[1], one[0]


def _of_classification(task: Any, data: Any, encoder: EngineEncoder, found: Recorded, metric: str) -> _Columns | None:  # noqa: ARG001
    """A text is an item; its value is the share of experiments that label it correctly."""
    texts, labels = list(data[task.input_column_name]), np.asarray(data[task.label_column_name])
    correct = np.array([np.asarray(one) == labels for one in found["predicted"]])
    each = [np.clip(one, 1e-12, 1) for one in found["probabilities"]]
    entropy = np.mean([-(one * np.log(one)).sum(1) for one in each], 0)
    classes = np.unique(np.concatenate(found["classes"]))
    summed = np.zeros((len(texts), len(classes)))
    for one, some in zip(each, found["classes"], strict=True):
        summed[:, np.searchsorted(classes, some)] += one
    best = summed.argmax(1)
    names = getattr(task, LABEL_NAMES, None)

    def named(label: Any) -> str:
        return str(label if names is None else names[int(label)])

    return {
        "item": [str(row) for row in range(len(texts))],
        "text": texts,
        "value": correct.mean(0).tolist(),
        "correct": correct.T.tolist(),
        f"text{TOKENS}": _tokens(encoder.seen, texts),
        "label": [named(label) for label in labels.tolist()],
        "predicted": [named(label) for label in classes[best].tolist()],
        "probability": (summed[np.arange(len(texts)), best] / len(each)).tolist(),
        "entropy": entropy.tolist(),
    }


def _of_clustering(task: Any, data: Any, encoder: EngineEncoder, found: Recorded, metric: str) -> _Columns | None:  # noqa: ARG001
    """A text in a draw is an item; its value is the v-measure of the draw, since a cluster has no value for a text."""
    generator = found["generator"]
    rows = list(range(len(data))) if generator.sampled is None else generator.sampled
    texts = list(data[task.input_column_name])
    labels = [one[0] if isinstance(one, list) else one for one in data[task.label_column_name]]
    assignments = found["predictions"]["Level 0"]
    drawn = [[rows[place] for place in draw] for draw in generator.drawn[: len(assignments)]]
    pairs = zip(drawn, assignments, strict=True)
    values = [v_measure_score([labels[row] for row in draw], clusters) for draw, clusters in pairs]
    flat = [row for draw in drawn for row in draw]
    return {
        "item": [str(row) for row in flat],
        "text": [texts[row] for row in flat],
        "draw": [number for number, draw in enumerate(drawn) for _ in draw],
        "value": [value for value, draw in zip(values, drawn, strict=True) for _ in draw],
        f"text{TOKENS}": _tokens(encoder.seen, [texts[row] for row in flat]),
        "label": [str(labels[row]) for row in flat],
        "cluster": [cluster for some in assignments for cluster in some],
    }


def _of_sts(task: Any, data: Any, encoder: EngineEncoder, found: Recorded, metric: str) -> _Columns | None:  # noqa: ARG001
    """A pair is an item; its value is the product of both standardised ranks, whose mean is Spearman's correlation."""
    first, second = (list(data[name]) for name in task.column_names)
    tokens = [np.asarray(_tokens(encoder.seen, side)) for side in (first, second)]
    cosines = found["scores"]["cosine_scores"]
    if not np.ptp(cosines) or not np.ptp(found["human"]):
        return None
    return {
        "item": [str(row) for row in range(len(first))],
        "text": first,
        "second": second,
        "value": rank_products(found["human"], cosines).tolist(),
        f"pair{TOKENS}": np.mean(tokens, 0).tolist(),
        "score": [float(score) for score in data["score"]],
        "cosine": list(cosines),
    }


def _of_summarisation(task: Any, data: Any, encoder: EngineEncoder, found: Recorded, metric: str) -> _Columns | None:  # noqa: ARG001
    """A text is an item; its value is the correlation over its summaries. mteb passes over texts with equal scores."""
    recorded = found["predictions"]
    human, machine = data[task.human_summaries_column_name], data[task.machine_summaries_column_name]
    kept = _kept(task, encoder, human, machine, recorded["cosine_scores"])
    if len(kept) != len(recorded["cosine_scores"]):
        return None
    pairs = zip(recorded["human_scores"], recorded["cosine_scores"], strict=True)
    return {
        "item": [str(row) for row in kept],
        "text": [data[task.text_column_name][row] for row in kept],
        "value": [float(rank_products(scores, cosines).mean()) for scores, cosines in pairs],
        f"summary{TOKENS}": [float(np.mean(_tokens(encoder.seen, machine[row]))) for row in kept],
    }


def _kept(
    task: Any, encoder: EngineEncoder, human: Any, machine: Any, recorded: Sequence[Sequence[float]]
) -> list[int]:
    """Return the texts that mteb did not pass over: those whose cosines, computed anew, are the ones recorded."""
    side, rows = encoder.side_of(task.metadata), list[int]()
    for row in range(len(human)):
        if len(rows) == len(recorded):
            break
        wanted = recorded[len(rows)]
        vectors = [encoder.way(encoder.reader, list(some), side)[0] for some in (machine[row], human[row])]
        unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in vectors]
        cosines = (unit[0] @ unit[1].T).max(1)
        if len(cosines) == len(wanted) and np.allclose(cosines, wanted, atol=1e-5):
            rows.append(row)
    return rows


def _tokens(seen: Seen, texts: Sequence[str]) -> list[int]:
    return [seen.tokens["text"][text] for text in texts]


# For each kind what makes its columns, and the figures that this needs.
_BUILDERS: dict[str, tuple[Callable[..., _Columns | None], tuple[str, ...]]] = {
    "retrieval": (_of_retrieval, ("scores", "judgments", "results")),
    "reranking": (_of_retrieval, ("scores", "judgments", "results")),
    "classification": (_of_classification, ("predicted", "probabilities", "classes")),
    "clustering": (_of_clustering, ("generator", "predictions")),
    "sts": (_of_sts, ("scores", "human")),
    "summarisation": (_of_summarisation, ("predictions",)),
}
