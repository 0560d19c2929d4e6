"""Labelled data in two halves: one to choose on, one to confirm on. Items of one source are in the same half."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from cenote.data.labelled import Classification, Labelled, Retrieval, Sts, take, take_queries


def halve(data: Labelled, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Return a development half and a held-out half.

    Queries with the same relevant documents, pairs with the same first text, and copies of a text stay together. A
    corpus is in both. The texts that a classifier learns from are halved too, label by label, so that the luck of one
    training is in one half.

    >>> from cenote.data.labelled import Clustering
    >>> data = Clustering(tuple("abcdefgh"), tuple("xyxyxyxy"))
    >>> development, held_out = halve(data)
    >>> sorted(development.texts + held_out.texts) == sorted(data.texts), len(development.texts)
    (True, 4)
    """
    rows = _split(_sources(data)[0], seed)
    if isinstance(data, Retrieval):
        return take_queries(data, rows[0]), take_queries(data, rows[1])
    if isinstance(data, Classification):
        learnt = _split_by(data.train.labels, data.train.texts, seed)
        halves = zip(learnt, rows, strict=True)
        first, second = (replace(data, train=take(data.train, a), test=take(data.test, b)) for a, b in halves)
        return first, second
    return take(data, rows[0]), take(data, rows[1])


def sizes_of_sources(data: Labelled) -> tuple[list[int], str]:
    """Return how many items each source has, and what sources are.

    >>> from cenote.data.labelled import Clustering
    >>> sizes_of_sources(Clustering(tuple("abca"), tuple("xyxx")))
    ([2, 1, 1], 'texts')
    """
    sources, noun = _sources(data)
    return list(Counter(sources).values()), noun


def _sources(data: Labelled) -> tuple[Sequence[Hashable], str]:
    """Return the source of each item, and what sources are: `cenote.evaluation.differences` tests by the same ones."""
    if isinstance(data, Retrieval):
        return [_relevant(data.judgments[query]) for query in data.query_ids], "sets of relevant documents"
    if isinstance(data, Classification):
        return data.test.texts, "test texts"
    if isinstance(data, Sts):
        return data.first, "first texts of pairs"
    return data.texts, "texts"


def _relevant(grades: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(name for name, grade in grades.items() if grade > 0))


def _split_by(labels: Sequence[str], sources: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Return the rows of two halves, which have the same share of every label."""
    halves: tuple[list[int], list[int]] = ([], [])
    for label in dict.fromkeys(labels):
        rows = [row for row, one in enumerate(labels) if one == label]
        for half, part in zip(halves, _split([sources[row] for row in rows], seed), strict=True):
            half.extend(rows[place] for place in part)
    return sorted(halves[0]), sorted(halves[1])


def _split(sources: Sequence[Hashable], seed: int) -> tuple[list[int], list[int]]:
    """Return the rows of two halves: sources are taken by a hash until half of the rows are there."""
    rows: dict[str, list[int]] = {}
    for row, source in enumerate(sources):
        rows.setdefault(repr(source), []).append(row)
    halves: tuple[list[int], list[int]] = ([], [])
    for source in sorted(rows, key=lambda one: _key(one, seed)):
        halves[2 * len(halves[0]) >= len(sources)].extend(rows[source])
    return sorted(halves[0]), sorted(halves[1])


def _key(source: str, seed: int) -> bytes:
    salt = f"cenote {seed}".encode()
    return hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest()
