"""The runtime of settings that are compared: graphs read for all of them, or torch does.

The two round differently, so that a setting read by one is not compared with a setting read by the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sentence_transformers import SentenceTransformer

from cenote.data.labelled import Classification, texts_of
from cenote.encoding.passes import WORTH_A_GRAPH, NoGraph, can_have_a_graph
from cenote.evaluation.arms import Pass, set_to
from cenote.evaluation.task_list import ListedTask
from cenote.models.properties import limit_of_documents

# Characters of a token, about, and special tokens of a text.
_CHARACTERS, _SPECIAL = 4, 2
# Texts of a label that mteb's classifiers learn from, at most: ten draws of 16.
_LEARNT = 160

Tasks = TypeVar("Tasks")
Result = TypeVar("Result")


def read_alike(
    read: Callable[[Tasks], Result], by_graph: Tasks, by_torch: Tasks, notify: Callable[[str], object]
) -> tuple[Result, Tasks]:
    """Return what is read by graphs, or all of it by torch where one graph cannot be had; and which of the two it is.

    Args:
        read: takes what graphs read.
        by_graph: what they are to read.
        by_torch: nothing, in the same form.
        notify: told why torch reads.
    """
    try:
        return read(by_graph), by_graph
    except NoGraph as error:
        notify(f"{error}. So that all settings are read alike, it reads them all")
    return read(by_torch), by_torch


def in_order_of_graphs(passes: Sequence[Pass]) -> list[Pass]:
    """Return passes in an order in which those that share a graph follow each other."""

    def graph_of(one: Pass) -> tuple[int, str]:
        return id(one.group.model), one.arms[0].temperature

    graphs = list(dict.fromkeys(map(graph_of, passes)))
    return sorted(passes, key=lambda one: graphs.index(graph_of(one)))


def tasks_by_graph(tasks: Sequence[ListedTask], passes: Sequence[Pass], precision: str) -> frozenset[str]:
    """Return the names of the tasks that graphs read: those with many tokens, if every setting can have a graph."""
    if not can_all_have_graphs(passes, precision):
        return frozenset()
    most = longest_limit([one.group.model for one in passes])
    return frozenset(task.name for task in tasks if has_many_tokens(task, most))


def can_all_have_graphs(passes: Sequence[Pass], precision: str) -> bool:
    """Return whether every setting can have a graph, as far as is known beforehand."""
    for one in passes:
        with set_to(one.group.model, one.temperature, one.limit):
            if not can_have_a_graph(one.group.model, precision):
                return False
    return True


def longest_limit(models: Iterable[SentenceTransformer]) -> int:
    """Return the most tokens that one of several models reads of a text."""
    return max(limit_of_documents(model) or WORTH_A_GRAPH for model in models)


def has_many_tokens(task: ListedTask, most: int) -> bool:
    """Return whether so many tokens of a task are read, `most` of a text, that a graph is worth its making.

    A task of MTEB is not read beforehand, and is taken to have many.
    """
    if task.local is None:
        return True
    texts: Sequence[str] = texts_of(task.local)
    if isinstance(task.local, Classification):
        learnt = _LEARNT * len({*task.local.train.labels})
        texts = [*task.local.train.texts[:learnt], *task.local.test.texts]
    return estimate_tokens(texts, most) >= WORTH_A_GRAPH


def estimate_tokens(texts: Iterable[str], most: int) -> int:
    """Return about how many tokens of unlike texts are read, `most` of each.

    >>> estimate_tokens(["a pool", "a pool", "light " * 100], 20)
    23
    """
    return sum(min(len(text) // _CHARACTERS + _SPECIAL, most) for text in {*texts})
