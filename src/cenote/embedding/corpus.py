"""The texts that `embed` is given: read once before the work begins, then again in slices that never differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from cenote.data.fingerprints import Fingerprint
from cenote.data.rows import Row, rows_of
from cenote.data.texts import Fault, Text
from cenote.errors import BadInput
from cenote.listener import Advance, silent

# Texts and characters after which a slice ends, whichever comes first: what is lost when a machine dies, and the texts
# among which batches of like length are made.
PART_TEXTS, PART_CHARACTERS = 2**14, 2**21
# The remedy for a row that cannot be read.
LEAVE_OUT = "Or leave such rows out: on_error='skip' (--on-error skip)."


@dataclass(frozen=True, eq=False)
class Source:
    """Where texts come from."""

    name: str
    read: Callable[[], Iterator[Row]]
    rereadable: bool  # whether they can be read more than once
    count: int | None  # of the texts, where they are a list

    @classmethod
    def of(cls, texts: Any, name: str) -> Source:
        """Return the source of strings, of (id, text), or of a function that starts reading them."""
        if isinstance(texts, (str, bytes)):
            raise BadInput("texts is one string: pass a list of texts, or read a file with cenote.data.texts.read.")
        if callable(texts):
            return cls(name, lambda: rows_of(texts()), True, None)
        if hasattr(texts, "keys"):  # iterating over a dict or a table gives its keys
            kind = type(texts).__name__
            raise BadInput(
                f"texts is a {kind}: pass a list of its texts, or of (id, text), such as list(texts.items())."
            )
        if not isinstance(texts, Iterable):
            raise BadInput(f"texts is {texts!r}: pass strings, or a function that starts reading them.")
        count = len(texts) if isinstance(texts, Sized) else None
        return cls(name, lambda: rows_of(texts), iter(texts) is not texts, count)


@dataclass(frozen=True)
class Survey:
    """The findings of one reading of all rows."""

    rows: int
    fingerprint: str
    repeated: frozenset[int]  # hashes that several ids have


@dataclass(frozen=True, eq=False)
class Slice:
    """Consecutive rows of the input: those of one part."""

    index: int
    first: int  # its first row in the input, from 0
    rows: int
    texts: list[Text] = field(repr=False)
    places: list[int] = field(repr=False)  # rows of the texts in the input
    rejected: list[dict[str, Any]]  # rows that hold no text, with reasons
    fingerprint: str


def survey(rows: Iterable[Row], *, skip: bool, advance: Advance = silent) -> Survey:
    """Read all rows once, so that a mistake in the last of a million shows before the first is embedded.

    A hash of 8 bytes is kept of each id.

    Args:
        rows: texts and faults.
        skip: whether faults are left for later; else the first is raised.
        advance: called every 10,000 rows with their number.
    """
    whole, hashes, count = Fingerprint(), _Hashes(), 0
    for row in raise_unless_skipped(rows, skip=skip):
        whole.add(_content(row))
        if isinstance(row, Text):
            hashes.add(hash_of(row.id))
        count += 1
        if count % 10_000 == 0:
            advance(10_000)
    return Survey(count, whole.name(), hashes.repeated())


def _content(row: Row) -> tuple[str, ...]:
    """Return what a fingerprint is taken of; of a fault not its reason, which names a file that may be moved."""
    return row if isinstance(row, Text) else ("no text",)


class _Hashes:
    """Hashes in blocks of an array: a list of Python numbers takes four times the memory."""

    def __init__(self) -> None:
        self._blocks: list[Any] = []
        self._last: list[int] = []

    def add(self, value: int) -> None:
        self._last.append(value)
        if len(self._last) == 2**16:
            self._blocks.append(np.array(self._last, np.uint64))
            self._last = []

    def repeated(self) -> frozenset[int]:
        ordered = np.sort(np.concatenate([*self._blocks, np.array(self._last, np.uint64)]))
        return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def raise_unless_skipped(rows: Iterable[Row], *, skip: bool) -> Iterator[Row]:
    """Yield the rows and raise the first fault among them, unless faults are skipped later."""
    for row in rows:
        if isinstance(row, Fault) and not skip:
            raise BadInput(f"{row.why} {LEAVE_OUT}")
        yield row


def refuse_changed(rows: Iterable[Row], surveyed: Survey) -> Iterator[Row]:
    """Yield the rows; raise after the last of them if they are not those of the survey."""
    whole = Fingerprint()
    for row in rows:
        whole.add(_content(row))
        yield row
    if whole.name() != surveyed.fingerprint:
        raise BadInput(
            "the texts changed while they were read: run again with restart (--restart) once they no longer change."
        )


def mark_repeated_ids(rows: Iterable[Row], repeated: frozenset[int] | None) -> Iterator[Row]:
    """Yield the rows, with a fault in place of each whose id an earlier row has.

    Args:
        rows: texts and faults.
        repeated: hashes that several ids have. They may agree by chance, so these ids are compared in full. None where
            no survey was made: then a bit is kept of each id that is its row number, and a hash of any other.
    """
    seen: dict[Any, int] = {}
    numbered = bytearray()  # a bit for every row, set where its id is its number
    for place, row in enumerate(rows):
        if place % 8 == 0:
            numbered.append(0)
        if isinstance(row, Text):
            key: Any = hash_of(row.id)
            if repeated is not None:
                key = row.id if key in repeated else None
            first = seen.get(key)
            # Python refuses to read numbers of thousands of digits: a row number has fewer than 20.
            if first is None and repeated is None and len(row.id) < 20 and row.id.isdecimal():
                number = int(row.id)
                if number < place and str(number) == row.id and numbered[number // 8] >> number % 8 & 1:
                    first = number
            if first is not None:
                yield Fault(
                    f"rows {first} and {place} have the same id {row.id!r}: every vector needs an id of its own. "
                    "Name another id column, or drop one of them.",
                    row.id,
                )
                continue
            if repeated is None and row.id == str(place):
                numbered[place // 8] |= 1 << place % 8
            elif key is not None:
                seen[key] = place
        yield row


def checked_rows(
    source: Source, surveyed: Survey | None, *, skip: bool, rows: Iterable[Row] | None = None
) -> Iterator[Row]:
    """Yield the rows of a source for embedding; a repeated id is a fault, and faults are raised unless skipped.

    Args:
        source: read from its beginning.
        surveyed: what the survey found; None where none was made.
        skip: whether faults are left for later.
        rows: the source's rows, where reading has begun.
    """
    found = source.read() if rows is None else rows
    same = found if surveyed is None else refuse_changed(found, surveyed)
    return raise_unless_skipped(mark_repeated_ids(same, None if surveyed is None else surveyed.repeated), skip=skip)


def slices(rows: Iterable[Row]) -> Iterator[Slice]:
    """Cut rows into slices by their numbers and sizes alone: the same rows make the same slices anywhere."""
    part = _Growing(0, 0)
    for place, row in enumerate(rows):
        part.add(place, row)
        if part.full():
            yield part.done()
            part = _Growing(part.index + 1, place + 1)
    if part.rows:
        yield part.done()


def read_slices(source: Source, surveyed: Survey | None, skip: bool) -> Iterator[Slice]:
    """Yield the slices of a source from its beginning, on whichever machine this is called."""
    return slices(checked_rows(source, surveyed, skip=skip))


class _Growing:
    """A slice while its rows are added."""

    def __init__(self, index: int, first: int) -> None:
        self.index, self.first, self.rows, self.characters = index, first, 0, 0
        self.texts: list[Text] = []
        self.places: list[int] = []
        self.rejected: list[dict[str, Any]] = []
        self.fingerprint = Fingerprint()

    def add(self, place: int, row: Row) -> None:
        self.rows += 1
        self.fingerprint.add(_content(row))
        if isinstance(row, Fault):
            named = {} if row.id is None else {"id": row.id}
            self.rejected.append({"row": place, **named, "why": row.why})
        else:
            self.texts.append(row)
            self.places.append(place)
            self.characters += len(row.text)

    def full(self) -> bool:
        return self.rows >= PART_TEXTS or self.characters >= PART_CHARACTERS

    def done(self) -> Slice:
        return Slice(self.index, self.first, self.rows, self.texts, self.places, self.rejected, self.fingerprint.name())


def hash_of(name: str) -> int:
    """Return 8 bytes of a hash: of two ids it agrees by chance once in 10^19 times."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
