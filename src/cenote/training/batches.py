"""The order of a training: which pairs are in which step, a pure function of the pairs, the batch size and the seed.

Nothing here has a state: the batches of a step do not depend on how the training came there, so that one that was
killed goes on with the pairs that it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from cenote.errors import BadInput
from cenote.functional.draws import number_of

# Rows of an order that are numbers of Python at once.
_BLOCK = 2**16


class Hashes(Sequence[Sequence[int]]):
    """The hashes of the texts of each pair, eight bytes a text.

    >>> Hashes(np.array([1, 10, 2, 20, 21], np.uint64), np.array([0, 2, 5]))[1]
    [2, 20, 21]
    """

    def __init__(self, flat: npt.NDArray[np.uint64], offsets: npt.NDArray[np.integer[Any]]) -> None:
        self.flat, self.offsets = flat, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: Any) -> Any:
        return self.flat[self.offsets[row] : self.offsets[row + 1]].tolist()

    @property
    def queries(self) -> npt.NDArray[np.uint64]:
        """The hashes of all queries."""
        return self.flat.take(self.offsets[:-1])

    @property
    def positives(self) -> npt.NDArray[np.uint64]:
        """The hashes of all positives."""
        return self.flat.take(self.offsets[:-1] + 1)

    @cached_property
    def known(self) -> Known:
        """The positives of queries that have several: sorted once, and looked up in every epoch."""
        return Known(self)


class Partners:
    """The texts that a text is paired with, by hashes, sixteen bytes a pair.

    >>> partners = Partners(np.array([1, 2, 1], np.uint64), np.array([10, 20, 30], np.uint64))
    >>> partners.within(1, {20, 30}), partners.within(2, {30})
    (30, None)
    """

    def __init__(self, texts: npt.NDArray[np.uint64], partners: npt.NDArray[np.uint64]) -> None:
        order = np.lexsort((partners, texts))
        self.texts, self.partners = texts[order], partners[order]

    def within(self, text: int, others: Collection[int]) -> int | None:
        """Return the lowest partner of a text that is among others, None if there is none."""
        if not len(self.texts) or not others:
            return None
        one = np.uint64(text)  # as a number of Python it would be compared as a float
        own = self.partners[self.texts.searchsorted(one) : self.texts.searchsorted(one, "right")]
        if len(own) <= len(others):
            return next((partner for partner in own.tolist() if partner in others), None)
        # A query may have very many positives: the few others are looked up among them.
        sought = np.sort(np.fromiter(others, np.uint64, len(others)))
        places = own.searchsorted(sought).clip(max=len(own) - 1)
        found = sought[own[places] == sought]
        return int(found[0]) if len(found) else None


class Known:
    """Which texts are known to be positives of which queries, of queries with several: others have only their own."""

    def __init__(self, hashes: Hashes) -> None:
        queries, positives = hashes.queries, hashes.positives
        _, group, counts = np.unique(queries, return_inverse=True, return_counts=True)
        several = counts[group] > 1
        self.positives = Partners(queries[several], positives[several])
        self.queries = Partners(positives[several], queries[several])


# The column of a row that states its epoch.
EPOCH_COLUMN = "epoch"


class Place(NamedTuple):
    """A pair in the training: the epoch, and the row of the pair."""

    epoch: int
    row: int


@dataclass(frozen=True)
class Counts:
    """Batches of the first epoch, and pairs that false negatives or too few pairs kept out."""

    batches: int
    moved: int  # pairs in a later batch than their place in the order says, where they bring no false negative
    left_over: int  # pairs that are in no batch: too few for a full one, or too alike


def batches_of_epoch(hashes: Hashes, size: int, seed: int, epoch: int, negatives: int = 0) -> Iterator[list[int]]:
    """Yield the rows of each batch of an epoch: all full, and no pair brings another one a false negative, by hashes.

    A text that is the query or the positive of one pair would be a negative of another one that has it too, and so
    wrong. So would be a positive that another row of the pairs gives a query of the batch. A pair that brings such a
    text, or such a query, waits for a later batch. Negatives may be equal; those that a pair gives its own query are
    taken at its word, also where another row has one of them as a positive.

    >>> pairs = Hashes(np.array([1, 10, 2, 10, 3, 30, 4, 40], np.uint64), np.array([0, 2, 4, 6, 8]))
    >>> [sorted(batch) for batch in batches_of_epoch(pairs, 2, seed=0, epoch=0)]
    [[0, 2], [1, 3]]

    Args:
        hashes: of the query, the positive and the negatives of each pair.
        size: pairs in a batch.
        seed: of the order, and of the negatives that are drawn.
        epoch: from 0; each has another order.
        negatives: of each pair, drawn from its own.
    """
    waiting: dict[int, deque[int]] = {}  # rows by the text that kept them out of a batch
    rows = _rows_of_epoch(len(hashes), seed, epoch)
    more = True
    while more:
        batch = _Batch(hashes, size, (seed, epoch), negatives)
        for text in list(waiting):
            _take_waiting(batch, text, waiting)
        while not batch.full and (row := next(rows, None)) is not None:
            if (kept_out_by := batch.take(row)) is not None:
                waiting.setdefault(kept_out_by, deque()).append(row)
        more = batch.full
        if more:
            yield batch.rows


class _Batch:
    """A batch that is being filled."""

    def __init__(self, hashes: Hashes, size: int, key: tuple[int, int], negatives: int) -> None:
        self.hashes, self.known, self.size, self.key, self.negatives = hashes, hashes.known, size, key, negatives
        self.rows: list[int] = []
        self.queries: set[int] = set()
        self.pairs: set[int] = set()  # texts that are a query or a positive
        self.texts: set[int] = set()  # all texts

    @property
    def full(self) -> bool:
        return len(self.rows) == self.size

    def take(self, row: int) -> int | None:
        """Add a row, or return the text that keeps it out."""
        texts: list[int] = self.hashes[row]
        pair, every = texts[:2], texts[2:]
        chosen = [every[one] for one in draw_rows(len(every), self.negatives, (*self.key, row))] if every else []
        for text in pair:
            if text in self.texts:
                return text
        for text in chosen:
            if text in self.pairs:
                return text
        query, positive = pair
        for text in (positive, *chosen):
            if self.known.queries.within(text, self.queries) is not None:
                return text
        if (other := self.known.positives.within(query, self.texts)) is not None:
            return other
        self.queries.add(query)
        self.rows.append(row)
        self.pairs.update(pair)
        self.texts.update(pair, chosen)
        return None


def _take_waiting(batch: _Batch, text: int, waiting: dict[int, deque[int]]) -> None:
    """Move rows that waited for a text into the batch, until it is full or the text is in it again."""
    queue = waiting[text]
    while queue and not batch.full:
        found = batch.take(queue[0])
        if found == text:
            return
        row = queue.popleft()
        if found is not None:
            waiting.setdefault(found, deque()).append(row)
    if not queue:
        del waiting[text]


def _rows_of_epoch(count: int, seed: int, epoch: int) -> Iterator[int]:
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count, _BLOCK):
        yield from order[start : start + _BLOCK].tolist()


def count_batches(order: Order) -> Counts:
    """Count the batches of the first epoch, and the pairs that false negatives kept out of a batch."""
    count = len(order.hashes)
    batch_of = np.full(count, -1)
    batches = 0
    for batches, rows in enumerate(order.of_epoch(0), 1):
        batch_of[rows] = batches - 1
    # Without false negatives the row at place i of the order is in batch i // size.
    rows_in_order = np.fromiter(_rows_of_epoch(count, order.seed, 0), int, count)
    moved = int((batch_of[rows_in_order] > np.arange(count) // order.size).sum())
    return Counts(batches, moved, int((batch_of < 0).sum()))


@dataclass(frozen=True)
class Order:
    """The batches of a whole training, as a sampler of torch: the trainer sees one long epoch."""

    hashes: Hashes
    size: int
    steps: int
    seed: int
    negatives: int = 0  # of each pair

    def __len__(self) -> int:
        return self.steps

    @property
    def unfilled(self) -> BadInput:
        """The error of an order that has no batch."""
        return BadInput(
            f"no batch of {self.size} pairs can be filled without false negatives (a text that two of them have, or a "
            f"positive of one's query in another): {len(self.hashes):,} pairs are too few, or too alike. Choose a "
            "smaller batch (batch_size, --batch-size)."
        )

    def of_epoch(self, epoch: int) -> Iterator[list[int]]:
        """Yield the rows of each batch of an epoch."""
        return batches_of_epoch(self.hashes, self.size, self.seed, epoch, self.negatives)

    def __iter__(self) -> Iterator[list[Place]]:
        step, epoch = 0, 0
        while step < self.steps:
            before = step
            for batch in self.of_epoch(epoch):
                yield [Place(epoch, row) for row in batch]
                step += 1
                if step == self.steps:
                    return
            if step == before:
                raise self.unfilled
            epoch += 1


class Rows(Dataset[dict[str, Any]]):
    """The columns of pairs at their places: `query`, `positive`, `negative_1` ..., `scores` and `epoch`.

    Args:
        table: a `datasets.Dataset` of pairs.
        negatives: of each row, drawn from its own in each epoch.
        scored: whether to give the scores.
        seed: of what is drawn.
    """

    def __init__(self, table: Any, negatives: int, scored: bool, seed: int) -> None:
        self.table, self.negatives, self.scored, self.seed = table, negatives, scored, seed

    def __len__(self) -> int:
        return len(self.table)

    def __getitems__(self, places: Sequence[Place]) -> list[dict[str, Any]]:
        """Return the rows of a batch, the shortest positives first: texts of similar length share a pass."""
        rows = self.table[[place.row for place in places]]
        found = [
            self._row(place, {name: column[at] for name, column in rows.items()}) for at, place in enumerate(places)
        ]
        return sorted(found, key=lambda row: len(row["positive"]))

    def _row(self, place: Place, cells: dict[str, Any]) -> dict[str, Any]:
        chosen = draw_rows(len(cells["negatives"]), self.negatives, (self.seed, place.epoch, place.row))
        row = {"query": cells["query"], "positive": cells["positive"]}
        row |= {f"negative_{at}": cells["negatives"][one] for at, one in enumerate(chosen, 1)}
        if self.scored:
            row["scores"] = [cells["scores"][0], *(cells["scores"][1 + one] for one in chosen)]
        return {**row, EPOCH_COLUMN: place.epoch}


def draw_rows(count: int, some: int, key: Sequence[int]) -> list[int]:
    """Return `some` of `count` numbers, in ascending order, drawn by a key.

    >>> draw_rows(3, 3, (0, 0, 0)), draw_rows(5, 2, (0, 0, 0)), draw_rows(5, 2, (0, 2, 0))
    ([0, 1, 2], [2, 4], [1, 2])
    """
    if some >= count:
        return list(range(count))
    generator = np.random.default_rng(number_of(*key))
    return sorted(generator.choice(count, some, replace=False).tolist())
