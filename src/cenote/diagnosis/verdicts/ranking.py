"""All verdicts of a diagnosis: what a search loses first, then the most costly.

A verdict states a finding, its evidence, the limit of that evidence, and advice. Where the texts do not suffice for a
verdict, it says so instead of guessing. A new verdict is a module with a function `judge`, and a line in `_JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from cenote.diagnosis.verdicts import (
    closeness,
    given_queries,
    layers,
    length_collapse,
    pooling,
    repeated_words,
    search,
    second_order,
    temperature,
    truncation,
)
from cenote.diagnosis.verdicts.texts import judge_excluded, judge_texts
from cenote.diagnosis.verdicts.thresholds import GRADES, MIN_TEXTS
from cenote.records import ModelDiagnosis, TextsRead, Verdict

# In the order of a reader's questions: what is lost, to what, and what is only described.
_JUDGES: tuple[Callable[[ModelDiagnosis], Iterator[Verdict]], ...] = (
    search.judge,
    given_queries.judge,
    truncation.judge,
    pooling.judge,
    temperature.judge,
    length_collapse.judge,
    second_order.judge,
    closeness.judge,
    repeated_words.judge,
    layers.judge,
)
# Subjects that generalise from the texts, which takes enough different ones.
_GENERAL = ("length collapse", "second-order collapse", "closeness", "temperature")


def collect_verdicts(texts: TextsRead, models: tuple[ModelDiagnosis, ...], distinct: int) -> tuple[Verdict, ...]:
    """Return all verdicts: search first, then by grade, and within a grade in the order of `_JUDGES`.

    `distinct` is the number of different texts.
    """
    found = [verdict for model in models for judge in _JUDGES for verdict in judge(model)]
    if distinct < MIN_TEXTS:
        found = [_withdraw(verdict, distinct) if verdict.subject in _GENERAL else verdict for verdict in found]
    found += [verdict for model in models for verdict in judge_excluded(model)]
    found += judge_texts(texts, distinct)
    return tuple(sorted(found, key=_rank))


def _withdraw(verdict: Verdict, distinct: int) -> Verdict:
    """Return the verdict as unknown, for want of different texts."""
    if verdict.grade == "unknown":
        return verdict
    finding = f"There are too few different texts for this verdict: {distinct}."
    return replace(verdict, grade="unknown", finding=finding, advice="Diagnose more texts.")


def _rank(verdict: Verdict) -> tuple[bool, int]:
    # What a search loses comes first, whatever its grade: the others say to what.
    return verdict.subject not in ("search", "your queries"), GRADES.index(verdict.grade)
