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
PART_TEXTS, PART_CHARACTERS = 2**14, 2**21
# What can be done about a row that cannot be read.
LEAVE_OUT = "Or leave such rows out: on_error='skip' (--on-error skip)."

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
        name: Any
        name, text = one if isinstance(one, tuple) and len(one) == 2 else (row, one)
        name = str(int(name)) if isinstance(name, (int, np.integer)) and not isinstance(name, bool) else name
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
    for row in sound(rows, skip=skip):
        whole.add(_words(row))
        if isinstance(row, Text):
            hashes.add(hash_of(row.id))
        count += 1
        if count % 10_000 == 0:
            progress(count)
    return Survey(count, whole.name(), hashes.repeated())


def _words(row: Row) -> tuple[str, ...]:
    """What a fingerprint is of: of a fault not the reason, which names a file that may be moved."""
    return row if isinstance(row, Text) else ("no text",)


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


def sound(rows: Iterable[Row], *, skip: bool) -> Iterator[Row]:
    """The same rows; a fault among them is raised, unless it is to be skipped by who comes next."""
    for row in rows:
        if isinstance(row, Fault) and not skip:
            raise BadInput(f"{row.why} {LEAVE_OUT}")
        yield row


def unchanged(rows: Iterable[Row], looked: Survey) -> Iterator[Row]:
    """The same rows; that they are those of the survey is known, and raised if not, when the last has been read."""
    whole = Fingerprint()
    for row in rows:
        whole.add(_words(row))
        yield row
    if whole.name() != looked.fingerprint:
        raise BadInput(
            "the texts changed while they were read: run again with restart (--restart) when they are still."
        )


def told_apart(rows: Iterable[Row], suspected: frozenset[int] | None) -> Iterator[Row]:
    """The same rows, a fault in place of each whose id an earlier row has.

    Args:
        rows: texts and faults.
        suspected: hashes that several ids have, which may agree by chance: those ids are told apart letter by letter.
            None where nobody looked: of an id that is the number of its row a bit is kept, of any other its hash.
    """
    seen: dict[Any, int] = {}
    numbered = bytearray()  # a bit for every row, set where its id is its number
    for place, row in enumerate(rows):
        if place % 8 == 0:
            numbered.append(0)
        if isinstance(row, Text):
            key: Any = hash_of(row.id)
            if suspected is not None:
                key = row.id if key in suspected else None
            first = seen.get(key)
            if first is None and suspected is None and _is_number(row.id) and (number := int(row.id)) < place:
                first = number if str(number) == row.id and numbered[number // 8] >> number % 8 & 1 else None
            if first is not None:
                yield Fault(
                    f"rows {first} and {place} have the same id {row.id!r}: their vectors could not be told apart. "
                    "Name another id column, or drop one of them.",
                    row.id,
                )
                continue
            if suspected is None and row.id == str(place):
                numbered[place // 8] |= 1 << place % 8
            elif key is not None:
                seen[key] = place
        yield row


def _is_number(name: str) -> bool:
    """Whether an id may be the number of a row; Python refuses to read numbers of thousands of digits."""
    return len(name) < 20 and name.isdecimal()


def checked(rows: Iterable[Row], looked: Survey | None, *, skip: bool) -> Iterator[Row]:
    """The same rows, as they were looked through; an id that is repeated is a fault, and a fault is raised.

    Args:
        rows: texts and faults.
        looked: what was seen then; None where nobody looked.
        skip: whether a fault is left for who comes next, or raised.
    """
    apart = told_apart(rows, None) if looked is None else told_apart(unchanged(rows, looked), looked.suspected)
    return sound(apart, skip=skip)


def stretches(rows: Iterable[Row]) -> Iterator[Stretch]:
    """The rows in parts, by their numbers and sizes alone: the same rows make the same parts, whoever reads them."""
    part = _Part(0, 0)
    for place, row in enumerate(rows):
        part.add(place, row)
        if part.full():
            yield part.done()
            part = _Part(part.index + 1, place + 1)
    if part.rows:
        yield part.done()


def stretches_anew(reread: Callable[[], Iterable[Row]], looked: Survey | None, *, skip: bool) -> Iterator[Stretch]:
    """The parts of texts that are read from their beginning, wherever this is called."""
    return stretches(checked(reread(), looked, skip=skip))


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
        self.fingerprint.add(_words(row))
        if isinstance(row, Fault):
            named = {} if row.id is None else {"id": row.id}
            self.rejected.append({"row": place, **named, "why": row.why})
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
