"""The input of `embed`: looked through once before hours of work, then read in parts that never differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from cenote.errors import BadInput
from cenote.fingerprints import Fingerprint
from cenote.texts import Fault, Text

# Texts and characters after which a part ends, whichever comes first: what is lost when a machine dies, and within
# which texts of like length are found.
PART_TEXTS, PART_CHARACTERS = 2**14, 2**22

Row = Text | Fault
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Survey:
    """What was seen when all rows were read once."""

    rows: int
    fingerprint: str
    suspected: frozenset[int]  # hashes that several ids have


@dataclass(frozen=True, eq=False)
class Stretch:
    """Consecutive rows of the input, those of one part."""

    index: int
    first: int  # row of the input with which it begins, from 0
    rows: int
    texts: list[Text] = field(repr=False)
    places: list[int] = field(repr=False)  # rows of the texts
    rejected: list[dict[str, Any]]  # rows that hold no text, with the reasons
    fingerprint: str


def rows_of(given: Iterable[Any]) -> Iterator[Row]:
    """Strings, or (id, text), as texts; a string goes by its row number. What is neither is a fault.

    >>> list(rows_of(["a pool", ("b", "a cave"), None]))[:2]
    [Text(id='0', text='a pool'), Text(id='b', text='a cave')]
    """
    for row, one in enumerate(given):
        if isinstance(one, Fault):
            yield one
            continue
        name, text = one if isinstance(one, tuple) and len(one) == 2 else (row, one)
        name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        wrong = [value for value in (text, name) if not isinstance(value, str)]
        if wrong:
            what = "null" if wrong[0] is None else f"of type {type(wrong[0]).__name__}"
            yield Fault(f"row {row}: the {'text' if wrong[0] is text else 'id'} is {what}, not a string.")
            continue
        try:
            f"{name}{text}".encode()
        except UnicodeEncodeError as error:
            yield Fault(f"row {row}: half a character, a lone surrogate, which UTF-8 cannot hold: {error}.")
        else:
            yield Text(name, text)


def survey(rows: Iterable[Row], *, skip: bool, progress: Progress = lambda _: None) -> Survey:
    """Read all rows once: what is wrong with the last of a million shows before the first is embedded.

    Of ids a hash of 8 bytes is kept.

    Args:
        rows: texts and faults.
        skip: whether a fault is left for later, or raised.
        progress: told now and then how many rows have been read.
    """
    whole, hashes, count = Fingerprint(), _Hashes(), 0
    for row in rows:
        if isinstance(row, Fault) and not skip:
            raise BadInput(f"{row.why} Or leave such rows out: on_error='skip' (--on-error skip).")
        whole.add(row)
        if isinstance(row, Text):
            hashes.add(hash_of(row.id))
        count += 1
        if count % 10_000 == 0:
            progress(count)
    return Survey(count, whole.name(), hashes.repeated())


class _Hashes:
    """Hashes in blocks: a list of a million Python numbers takes four times the memory."""

    def __init__(self) -> None:
        self._blocks: list[Any] = []
        self._fresh: list[int] = []

    def add(self, value: int) -> None:
        self._fresh.append(value)
        if len(self._fresh) == 2**16:
            self._blocks.append(np.array(self._fresh, np.uint64))
            self._fresh = []

    def repeated(self) -> frozenset[int]:
        every = np.sort(np.concatenate([*self._blocks, np.array(self._fresh, np.uint64)]))
        return frozenset(every[1:][every[1:] == every[:-1]].tolist())


def refuse_repeated(rows: Iterable[Row], suspected: frozenset[int]) -> None:
    """Name the first id that occurs twice; ids whose hashes agree by chance are told apart letter by letter."""
    seen: dict[str, int] = {}
    for place, row in enumerate(rows):
        if isinstance(row, Text) and hash_of(row.id) in suspected:
            if row.id in seen:
                raise BadInput(f"{_repeated(row.id, seen[row.id], place)} Name another id column, or drop one of them.")
            seen[row.id] = place


def _repeated(name: str, first: int, second: int) -> str:
    return f"rows {first} and {second} have the same id {name!r}: their vectors could not be told apart."


def stretches(rows: Iterable[Row], suspected: frozenset[int] = frozenset()) -> Iterator[Stretch]:
    """The rows in parts, by their numbers and sizes alone: the same rows make the same parts, whoever reads them.

    Args:
        rows: texts and faults.
        suspected: hashes that several ids have; of those that are the same, the first is kept.
    """
    seen: dict[str, int] = {}
    part = _Part(0, 0)
    for place, row in enumerate(rows):
        if isinstance(row, Text) and hash_of(row.id) in suspected:
            if row.id in seen:
                row = Fault(_repeated(row.id, seen[row.id], place))
            else:
                seen[row.id] = place
        part.add(place, row)
        if part.full():
            yield part.done()
            part = _Part(part.index + 1, place + 1)
    if part.rows:
        yield part.done()


def stretches_anew(reread: Callable[[], Iterable[Row]], suspected: frozenset[int]) -> Iterator[Stretch]:
    """The parts of texts that are read from their beginning, wherever this is called."""
    return stretches(reread(), suspected)


class _Part:
    """A stretch as it grows."""

    def __init__(self, index: int, first: int) -> None:
        self.index, self.first, self.rows, self.characters = index, first, 0, 0
        self.texts: list[Text] = []
        self.places: list[int] = []
        self.rejected: list[dict[str, Any]] = []
        self.fingerprint = Fingerprint()

    def add(self, place: int, row: Row) -> None:
        self.rows += 1
        self.fingerprint.add(row)
        if isinstance(row, Fault):
            self.rejected.append({"row": place, "why": row.why})
        else:
            self.texts.append(row)
            self.places.append(place)
            self.characters += len(row.text)

    def full(self) -> bool:
        return self.rows >= PART_TEXTS or self.characters >= PART_CHARACTERS

    def done(self) -> Stretch:
        return Stretch(
            self.index, self.first, self.rows, self.texts, self.places, self.rejected, self.fingerprint.name()
        )


def hash_of(name: str) -> int:
    """Eight bytes that tell one id from another, but for one pair in 10^19."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
