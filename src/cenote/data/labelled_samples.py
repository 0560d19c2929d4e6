"""Fixed samples of labelled data, for a quick look."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

from cenote.data.labelled import Classification, Clustering, Labelled, Labels, Retrieval, Sts, Summarisation
from cenote.errors import Value


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


def sample_labelled(data: Labelled, *, sizes: Sizes = QUICK) -> Labelled:
    """Return a fixed sample of labelled data, with a note of its sizes, or small data unchanged.

    Which queries, documents and summarised texts are drawn depends on their own ids alone, which other texts and pairs
    on their row and label. Every label keeps about its share of the texts.

    >>> data = Clustering(("a pool", "a pond", "light"), ("water", "water", "air"))
    >>> sample = sample_labelled(data, sizes=Sizes(texts=2))
    >>> sorted(sample.labels), sample.notes
    (['air', 'water'], ('This is a fixed sample of 2 of 3 texts.',))
    """
    sample: Labelled = _sample(data, sizes)
    return sample


@singledispatch
def _sample(data: Labelled, sizes: Sizes) -> Labelled:
    raise TypeError(f"no sample of {type(data).__name__}, {sizes}")


@_sample.register
def _(data: Retrieval, sizes: Sizes) -> Retrieval:
    rows = _draw(data.query_ids, sizes.queries)
    query_ids = _take(data.query_ids, rows)
    candidates = data.candidates and {query: data.candidates[query] for query in query_ids}
    needed = {name for query in query_ids for name, grade in data.judgments[query].items() if grade > 0}
    needed.update(name for names in (candidates or {}).values() for name in names)
    others = [row for row, name in enumerate(data.corpus_ids) if name not in needed]
    drawn = _draw([data.corpus_ids[row] for row in others], max(0, sizes.documents - len(needed)))
    kept = needed | {data.corpus_ids[others[row]] for row in drawn}
    places = [row for row, name in enumerate(data.corpus_ids) if name in kept]
    if len(rows) == len(data.query_ids) and len(places) == len(data.corpus_ids):
        return data
    judgments = {
        query: {name: grade for name, grade in data.judgments[query].items() if name in kept} for query in query_ids
    }
    return Retrieval(
        corpus_ids=_take(data.corpus_ids, places),
        titles=_take(data.titles, places),
        texts=_take(data.texts, places),
        query_ids=query_ids,
        queries=_take(data.queries, rows),
        judgments=judgments,
        candidates=candidates,
        notes=_noted(data.notes, _share(rows, data.query_ids, "queries"), _share(places, data.corpus_ids, "documents")),
    )


@_sample.register
def _(data: Classification, sizes: Sizes) -> Classification:
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
    return Classification(_take_labels(data.train, trained), _take_labels(data.test, tested), notes)


@_sample.register
def _(data: Clustering, sizes: Sizes) -> Clustering:
    rows = _draw_evenly(data.labels, sizes.texts)
    if len(rows) == len(data.texts):
        return data
    notes = _noted(data.notes, _share(rows, data.texts, "texts"))
    return Clustering(_take(data.texts, rows), _take(data.labels, rows), notes)


@_sample.register
def _(data: Sts, sizes: Sizes) -> Sts:
    rows = _draw_evenly(data.subsets or ("",) * len(data.scores), sizes.pairs)
    if len(rows) == len(data.scores):
        return data
    return Sts(
        _take(data.first, rows),
        _take(data.second, rows),
        _take(data.scores, rows),
        data.subsets and _take(data.subsets, rows),
        _noted(data.notes, _share(rows, data.scores, "pairs")),
    )


@_sample.register
def _(data: Summarisation, sizes: Sizes) -> Summarisation:
    rows = _draw(data.ids, sizes.summaries)
    if len(rows) == len(data.ids):
        return data
    return replace(
        data,
        ids=_take(data.ids, rows),
        texts=_take(data.texts, rows),
        human=_take(data.human, rows),
        machine=_take(data.machine, rows),
        scores=_take(data.scores, rows),
        notes=_noted(data.notes, _share(rows, data.ids, "texts")),
    )


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


def _take(values: Sequence[Value], rows: Sequence[int]) -> tuple[Value, ...]:
    return tuple(values[row] for row in rows)


def _take_labels(given: Labels, rows: Sequence[int]) -> Labels:
    return Labels(_take(given.texts, rows), _take(given.labels, rows))


def _share(rows: Sequence[int], every: Sequence[object], noun: str) -> str:
    return f"{'all' if len(rows) == len(every) else f'{len(rows):,} of'} {len(every):,} {noun}"


def _noted(notes: tuple[str, ...], *shares: str) -> tuple[str, ...]:
    return (*notes, f"This is a fixed sample of {' and '.join(shares)}.")
