"""The order of a training: which pairs are in which step, a pure function of the pairs, the batch size and the seed.

Nothing here has a state: the batches of a step do not depend on how the training came there, so that one that was
killed goes on with the pairs that it would have seen.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from cenote.errors import BadInput

# Rows of an order that are numbers of Python at once.
_BLOCK = 2**16


class Hashes(Sequence[Sequence[int]]):
    """The hashes of the texts of each pair, eight bytes a text.

    >>> Hashes(np.array([1, 10, 2, 20, 21], np.uint64), np.array([0, 2, 5]))[1]
    [2, 20, 21]
    """

    def __init__(self, flat: npt.NDArray[np.uint64], ends: npt.NDArray[np.integer[Any]]) -> None:
        self.flat, self.ends = flat, ends

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: Any) -> Any:
        return self.flat[self.ends[row] : self.ends[row + 1]].tolist()


class Place(NamedTuple):
    """A pair in the training: the epoch, and the row of the pair."""

    epoch: int
    row: int


@dataclass(frozen=True)
class Counts:
    """Batches of an epoch, and pairs that equal texts kept out of one."""

    batches: int
    deferred: int  # pairs that wait for a later batch, since a text of theirs is in this one
    left_out: int  # pairs that no batch of the epoch took: equal texts, or too few for a full batch


def batches_of_epoch(hashes: Sequence[Sequence[int]], size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Yield the rows of each batch of an epoch: all full, and without a text that two rows have.

    A text that is the positive of one pair would be a negative of another one, and so wrong where both have it. A pair
    whose text is in the batch already waits for the next one.

    >>> pairs = [(1, 10), (2, 10), (3, 30), (4, 40)]
    >>> [sorted(batch) for batch in batches_of_epoch(pairs, 2, seed=0, epoch=0)]
    [[0, 2], [1, 3]]

    Args:
        hashes: of the texts of each pair.
        size: pairs in a batch.
        seed: of the order.
        epoch: from 0; each has another order.
    """
    waiting: deque[int] = deque()
    rows = _rows_of_epoch(len(hashes), seed, epoch)
    more = True
    while more:
        batch: list[int] = []
        taken: set[int] = set()
        more = False
        for row in _first(waiting, rows):
            if taken.isdisjoint(hashes[row]):
                batch.append(row)
                taken.update(hashes[row])
                if len(batch) == size:
                    more = True
                    break
            else:
                waiting.append(row)
        if more:
            yield batch


def _rows_of_epoch(count: int, seed: int, epoch: int) -> Iterator[int]:
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count, _BLOCK):
        yield from order[start : start + _BLOCK].tolist()


def _first(waiting: deque[int], rows: Iterator[int]) -> Iterator[int]:
    """Yield the rows that wait, each once, and then the others."""
    for _ in range(len(waiting)):
        yield waiting.popleft()
    for row in rows:  # noqa: UP028  `yield from` would close `rows` with this generator, at the end of the first batch
        yield row


def count_batches(hashes: Sequence[Sequence[int]], size: int, seed: int) -> Counts:
    """Count the batches of the first epoch, and the pairs that equal texts kept out of a batch."""
    batch_of = np.full(len(hashes), -1)
    batches = 0
    for batches, rows in enumerate(batches_of_epoch(hashes, size, seed, 0), 1):
        batch_of[rows] = batches - 1
    # Without equal texts the row at place i of the order is in batch i // size.
    order = np.fromiter(_rows_of_epoch(len(hashes), seed, 0), int, len(hashes))
    deferred = int((batch_of[order] > np.arange(len(hashes)) // size).sum())
    return Counts(batches, deferred, int((batch_of < 0).sum()))


@dataclass(frozen=True)
class Order:
    """The batches of a whole training, as a sampler of torch: the trainer sees one long epoch."""

    hashes: Sequence[Sequence[int]]
    size: int
    steps: int
    seed: int

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Place]]:
        step, epoch = 0, 0
        while step < self.steps:
            before = step
            for batch in batches_of_epoch(self.hashes, self.size, self.seed, epoch):
                yield [Place(epoch, row) for row in batch]
                step += 1
                if step == self.steps:
                    return
            if step == before:
                raise BadInput(
                    f"no batch of {self.size} pairs can be filled without a text that two of them have: "
                    f"{len(self.hashes):,} pairs are too few, or too alike. Choose a smaller batch size."
                )
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
        return {**row, "epoch": place.epoch}


def draw_rows(count: int, some: int, key: Sequence[int]) -> list[int]:
    """Return `some` of `count` numbers, in ascending order, drawn by a key.

    >>> draw_rows(3, 3, (0, 0, 0)), draw_rows(5, 2, (0, 0, 0)), draw_rows(5, 2, (0, 2, 0))
    ([0, 1, 2], [2, 4], [1, 2])
    """
    if some >= count:
        return list(range(count))
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "big"))
    return sorted(generator.choice(count, some, replace=False).tolist())
