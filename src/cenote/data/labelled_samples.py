"""Fixed samples of labelled data, for a quick look."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cenote.data.labelled import (
    Classification,
    Clustering,
    Labelled,
    Retrieval,
    Sts,
    Summarisation,
    pick,
    take,
    take_queries,
)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a sample at most. Relevant documents and candidates stay, even where they are more than `documents`."""

    queries: int = 100
    documents: int = 500
    test: int = 300  # texts to classify
    training: int = 16  # training texts of each label
    texts: int = 300  # texts to cluster
    pairs: int = 500
    summaries: int = 30  # texts with summaries


QUICK = Sizes()
# Data of one table.
Sampled = TypeVar("Sampled", bound=Clustering | Sts | Summarisation)


def sample_labelled(data: Labelled, *, sizes: Sizes = QUICK) -> Labelled:
    """Return a fixed sample of labelled data, with a note of its sizes, or small data unchanged.

    Which queries, documents and summarised texts are drawn depends on their own ids alone, which other texts and pairs
    on their row and label. Every label keeps about its share of the texts.

    >>> data = Clustering(("a pool", "a pond", "light"), ("water", "water", "air"))
    >>> sample = sample_labelled(data, sizes=Sizes(texts=2))
    >>> sorted(sample.labels), sample.notes
    (['air', 'water'], ('This is a fixed sample of 2 of 3 texts.',))
    """
    if isinstance(data, Retrieval):
        return _sample_search(data, sizes)
    if isinstance(data, Classification):
        return _sample_classification(data, sizes)
    if isinstance(data, Clustering):
        return _sample_rows(data, _draw_evenly(data.labels, sizes.texts), data.texts, "texts")
    if isinstance(data, Sts):
        alike = data.subsets or ("",) * len(data.scores)
        return _sample_rows(data, _draw_evenly(alike, sizes.pairs), data.scores, "pairs")
    return _sample_rows(data, _draw(data.ids, sizes.summaries), data.ids, "texts")


def _sample_search(data: Retrieval, sizes: Sizes) -> Retrieval:
    rows = _draw(data.query_ids, sizes.queries)
    asked = take_queries(data, rows)
    needed = {name for grades in asked.judgments.values() for name, grade in grades.items() if grade > 0}
    needed.update(name for names in (asked.candidates or {}).values() for name in names)
    others = [row for row, name in enumerate(data.corpus_ids) if name not in needed]
    drawn = _draw([data.corpus_ids[row] for row in others], max(0, sizes.documents - len(needed)))
    kept = needed | {data.corpus_ids[others[row]] for row in drawn}
    places = [row for row, name in enumerate(data.corpus_ids) if name in kept]
    if len(rows) == len(data.query_ids) and len(places) == len(data.corpus_ids):
        return data
    return replace(
        asked,
        corpus_ids=pick(data.corpus_ids, places),
        titles=pick(data.titles, places),
        texts=pick(data.texts, places),
        judgments={
            query: {name: grade for name, grade in grades.items() if name in kept}
            for query, grades in asked.judgments.items()
        },
        notes=_noted(data.notes, _share(rows, data.query_ids, "queries"), _share(places, data.corpus_ids, "documents")),
    )


def _sample_classification(data: Classification, sizes: Sizes) -> Classification:
    tested = _draw_evenly(data.test.labels, sizes.test)
    ranks = _ranks(data.train.labels)
    trained = [row for row, (rank, _) in enumerate(ranks) if rank < sizes.training]
    if len(tested) == len(data.test.texts) and len(trained) == len(data.train.texts):
        return data
    notes = _noted(
        data.notes,
        _share(tested, data.test.texts, "test texts"),
        _share(trained, data.train.texts, "training texts"),
    )
    return Classification(take(data.train, trained), take(data.test, tested), notes)


def _sample_rows(data: Sampled, rows: Sequence[int], every: Sequence[object], noun: str) -> Sampled:
    """Return some rows, with a note of how many of all they are; all of them without one."""
    if len(rows) == len(every):
        return data
    return replace(take(data, rows), notes=_noted(data.notes, _share(rows, every, noun)))


# Rows are drawn by a hash of an id or a row number: the smallest hashes are the sample.


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=b"cenote sample").digest()


def _draw(ids: Sequence[str], count: int) -> list[int]:
    """Return the rows of `count` ids in their order.

    >>> _draw(["a", "b", "c"], 3), len(_draw(["a", "b", "c"], 2))
    ([0, 1, 2], 2)
    """
    return sorted(sorted(range(len(ids)), key=lambda row: _key(ids[row]))[:count])


def _ranks(labels: Sequence[Hashable]) -> list[tuple[int, bytes]]:
    """Return for each row its rank among the rows of its label, by hash, and its hash."""
    keys = [_key(str(row)) for row in range(len(labels))]
    seen: Counter[Hashable] = Counter()
    ranks = [0] * len(labels)
    for row in sorted(range(len(labels)), key=keys.__getitem__):
        ranks[row] = seen[labels[row]]
        seen[labels[row]] += 1
    return list(zip(ranks, keys, strict=True))


def _draw_evenly(labels: Sequence[Hashable], count: int) -> list[int]:
    """Return `count` rows in their order: of each label the same share, and at least one where there is room.

    >>> rows = _draw_evenly("aaaaaaaabbbbc", 4)
    >>> sorted("aaaaaaaabbbbc"[row] for row in rows)
    ['a', 'a', 'b', 'c']
    """
    totals, ranks = Counter(labels), _ranks(labels)
    order = sorted(range(len(labels)), key=lambda row: (ranks[row][0] / totals[labels[row]], ranks[row][1]))
    return sorted(order[:count])


def _share(rows: Sequence[int], every: Sequence[object], noun: str) -> str:
    return f"{'all' if len(rows) == len(every) else f'{len(rows):,} of'} {len(every):,} {noun}"


def _noted(notes: tuple[str, ...], *shares: str) -> tuple[str, ...]:
    return (*notes, f"This is a fixed sample of {' and '.join(shares)}.")
