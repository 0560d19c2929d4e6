"""The runtime of settings that are compared: graphs read for all of them, or torch does.

The two round differently, so that a setting read by one is not compared with a setting read by the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from sentence_transformers import SentenceTransformer

from cenote.data.labelled import texts_of
from cenote.encoding.passes import WORTH_A_GRAPH, can_have_a_graph
from cenote.evaluation.arms import Pass, set_to
from cenote.evaluation.task_list import ListedTask
from cenote.models.properties import limit_of

# Characters of a token, about.
_CHARACTERS = 4


def tasks_by_graph(tasks: Sequence[ListedTask], passes: Sequence[Pass], precision: str) -> set[str]:
    """Return the names of the tasks that graphs read: those with many tokens, if every setting can have a graph."""
    if not can_all_have_graphs(passes, precision):
        return set()
    return {task.name for task in tasks if has_many_tokens(task, passes[0].group.model)}


def can_all_have_graphs(passes: Sequence[Pass], precision: str) -> bool:
    """Return whether every setting can have a graph."""
    for one in passes:
        with set_to(one.group.model, one.temperature, one.limit):
            if not can_have_a_graph(one.group.model, precision):
                return False
    return True


def has_many_tokens(task: ListedTask, model: SentenceTransformer) -> bool:
    """Return whether a model reads so many tokens of a task that a graph is worth its making.

    A task of MTEB is not read beforehand, and is taken to have many.
    """
    if task.local is None:
        return True
    most = limit_of(model, "document") or WORTH_A_GRAPH
    return sum(min(len(text) // _CHARACTERS, most) for text in texts_of(task.local)) >= WORTH_A_GRAPH
