"""Values of single items: a table for each task, whose column `value` averages to the task's score.

A kind of task is one function here: from what was recorded to columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import v_measure_score

from cenote.evaluation.encoder import EngineEncoder, Seen
from cenote.evaluation.recording import Recorded
from cenote.functional.items import rank_products
from cenote.functional.sampling import Floats

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

    def numbers(self, name: str) -> Floats:
        """Return a column as an array."""
        return np.asarray(self.columns[name], np.float64)

    @property
    def lengths(self) -> dict[str, Floats]:
        """The lengths of the items' texts, by the name of the text."""
        names = [name for name in self.columns if name.endswith(TOKENS)]
        return {name.removesuffix(TOKENS): self.numbers(name) for name in names}


def items_of(kind: str, task: Any, encoder: EngineEncoder, recorded: Recorded, metric: str) -> Items | None:
    """Return the items of a scored task; None for a kind whose items are not known."""
    build = _BUILDERS.get(kind)
    found = recorded.figures
    if build is None or not found:
        return None
    return Items(build(_data_of(task), encoder, found, metric))


def _data_of(task: Any) -> Any:
    """Return the split of a task's data that is scored."""
    split = task.metadata.eval_splits[0]
    return task.dataset["default"][split] if "default" in task.dataset else task.dataset[split]


def _of_retrieval(data: Any, encoder: EngineEncoder, found: Mapping[str, Any], metric: str) -> dict[str, list[Any]]:
    """A query is an item."""
    texts = dict(zip(data["queries"]["id"], data["queries"]["text"], strict=True))
    contents = _documents(data)
    tokens = encoder.seen.tokens["document"]
    documents = {name: tokens[content] for name, content in contents.items()}
    names = [name for name in found["scores"] if name in texts]
    columns: dict[str, list[Any]] = {"item": names, "text": [texts[name] for name in names]}
    columns["value"] = [_of_query(found, name, metric) for name in names]
    columns[f"query{TOKENS}"] = [encoder.seen.tokens["query"][texts[name].strip()] for name in names]
    relevant = [[one for one, grade in found["judgments"][name].items() if grade > 0] for name in names]
    means = [[documents[one] for one in some if one in documents] for some in relevant]
    columns[f"document{TOKENS}"] = [float(np.mean(some)) if some else float("nan") for some in means]
    ranked = [sorted(found["results"][name].items(), key=lambda one: -one[1])[:_NAMED] for name in names]
    columns["relevant"] = relevant
    columns["ranks"] = [
        [encoder.ranks[name].get(one, 0) for one in some] for name, some in zip(names, relevant, strict=True)
    ]
    columns["relevant_tokens_each"] = [[int(documents.get(one, 0)) for one in some] for some in relevant]
    columns["found"] = [[one for one, _ in some] for some in ranked]
    for name, lists in (("relevant_text", relevant), ("found_text", columns["found"])):
        columns[name] = [contents.get(some[0], "")[:_SHOWN] if some else "" for some in lists]
    return columns


def _of_query(found: Mapping[str, Any], name: str, metric: str) -> float:
    """Return the value of a query in the measure that is the task's score."""
    kind, _, depth = metric.rpartition("_at_")
    if kind == "mrr":
        grades = found["judgments"][name]
        order = sorted(found["results"][name].items(), key=lambda one: one[1], reverse=True)[: int(depth)]
        return next((1 / rank for rank, (one, _) in enumerate(order, 1) if grades.get(one, 0) > 0), 0.0)
    return float(found["scores"][name][f"{_OF_QUERIES[kind]}_{depth}"])


def _documents(data: Any) -> dict[str, str]:
    """Return every document as the model reads it: with its title."""
    titles = data["corpus"]["title"] if "title" in data["corpus"].column_names else [""] * len(data["corpus"])
    rows = zip(data["corpus"]["id"], titles, data["corpus"]["text"], strict=True)
    return {name: f"{title} {text}".strip() if title else text.strip() for name, title, text in rows}


def _of_classification(
    data: Any,
    encoder: EngineEncoder,
    found: Mapping[str, Any],
    metric: str,  # noqa: ARG001  of any metric
) -> dict[str, list[Any]]:
    """A text is an item; its value is the share of experiments that label it correctly."""
    texts, labels = list(data["text"]), np.asarray(data["label"])
    correct = np.mean([np.asarray(one) == labels for one in found["predicted"]], 0)
    each = [np.clip(one, 1e-12, 1) for one in found["probabilities"]]
    entropy = np.mean([-(one * np.log(one)).sum(1) for one in each], 0)
    classes = np.unique(np.concatenate(found["classes"]))
    summed = np.zeros((len(texts), len(classes)))
    for one, some in zip(each, found["classes"], strict=True):
        summed[:, np.searchsorted(classes, some)] += one
    best = summed.argmax(1)
    return {
        "item": [str(row) for row in range(len(texts))],
        "text": texts,
        "value": correct.tolist(),
        f"text{TOKENS}": _tokens(encoder.seen, texts),
        "label": [str(label) for label in labels.tolist()],
        "predicted": [str(label) for label in classes[best].tolist()],
        "probability": (summed[np.arange(len(texts)), best] / len(each)).tolist(),
        "entropy": entropy.tolist(),
    }


def _of_clustering(
    data: Any,
    encoder: EngineEncoder,
    found: Mapping[str, Any],
    metric: str,  # noqa: ARG001
) -> dict[str, list[Any]]:
    """A text in a draw is an item; its value is the v-measure of the draw, since a cluster has no value for a text."""
    generator = found["generator"]
    rows = list(range(len(data))) if generator.sampled is None else generator.sampled
    texts, labels = list(data["sentences"]), [one[0] if isinstance(one, list) else one for one in data["labels"]]
    assignments = found["predictions"]["Level 0"]
    drawn = [[rows[place] for place in draw] for draw in generator.drawn[: len(assignments)]]
    values = [
        v_measure_score([labels[row] for row in draw], some) for draw, some in zip(drawn, assignments, strict=True)
    ]
    flat = [row for draw in drawn for row in draw]
    return {
        "item": [str(row) for row in flat],
        "draw": [number for number, draw in enumerate(drawn) for _ in draw],
        "value": [value for value, draw in zip(values, drawn, strict=True) for _ in draw],
        f"text{TOKENS}": _tokens(encoder.seen, [texts[row] for row in flat]),
        "label": [str(labels[row]) for row in flat],
        "cluster": [cluster for some in assignments for cluster in some],
    }


def _of_sts(
    data: Any,
    encoder: EngineEncoder,
    found: Mapping[str, Any],
    metric: str,  # noqa: ARG001
) -> dict[str, list[Any]]:
    """A pair is an item; its value is the product of both standardised ranks, whose mean is Spearman's correlation."""
    first, second = (list(data[name]) for name in ("sentence1", "sentence2"))
    tokens = [np.asarray(_tokens(encoder.seen, side)) for side in (first, second)]
    cosines = found["scores"]["cosine_scores"]
    return {
        "item": [str(row) for row in range(len(first))],
        "text": first,
        "second": second,
        "value": rank_products(found["human"], cosines).tolist(),
        f"pair{TOKENS}": np.mean(tokens, 0).tolist(),
        "score": list(found["human"]),
        "cosine": list(cosines),
    }


def _of_summarisation(
    data: Any,
    encoder: EngineEncoder,
    found: Mapping[str, Any],
    metric: str,  # noqa: ARG001
) -> dict[str, list[Any]]:
    """A text is an item; its value is the correlation over its summaries. Texts with equal scores have none."""
    recorded = found["predictions"]
    kept = _kept(list(data["relevance"]), recorded["human_scores"])
    pairs = zip(recorded["human_scores"], recorded["cosine_scores"], strict=True)
    machine = [data["machine_summaries"][row] for row in kept]
    return {
        "item": [str(row) for row in kept],
        "text": [data["text"][row] for row in kept],
        "value": [float(rank_products(human, cosines).mean()) for human, cosines in pairs],
        f"summary{TOKENS}": [float(np.mean(_tokens(encoder.seen, some))) for some in machine],
    }


def _kept(scores: Sequence[Sequence[float]], recorded: Sequence[Sequence[float]]) -> list[int]:
    """Return the rows whose scores were recorded: mteb passes over a text whose summaries all have one score."""
    rows, waiting = [], list(recorded)
    for row, some in enumerate(scores):
        if waiting and len(some) == len(waiting[0]) and np.array_equal(_ranks(some), _ranks(waiting[0])):
            rows.append(row)
            waiting.pop(0)
    return rows


def _ranks(values: Sequence[float]) -> Any:
    return np.unique(values, return_inverse=True)[1]


def _tokens(seen: Seen, texts: Sequence[str]) -> list[int]:
    return [seen.tokens["text"][text] for text in texts]


_BUILDERS: dict[str, Callable[[Any, EngineEncoder, Mapping[str, Any], str], dict[str, list[Any]]]] = {
    "retrieval": _of_retrieval,
    "reranking": _of_retrieval,
    "classification": _of_classification,
    "clustering": _of_clustering,
    "sts": _of_sts,
    "summarisation": _of_summarisation,
}
