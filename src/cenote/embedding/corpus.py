"""The texts that `embed` is given: read once before the work begins, then again in slices that never differ."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from cenote.data.fingerprints import Fingerprint
from cenote.data.rows import Kept, Row
from cenote.data.texts import Fault, Text, Wanted, name_of, open_texts
from cenote.embedding.estimate import LengthCounts
from cenote.embedding.kept import KeptTypes, Stated, content_of, kept_table, size_of, stated_type
from cenote.errors import BadInput
from cenote.listener import Advance, silent
from cenote.wording import pluralise

# Texts and characters after which a slice ends, whichever comes first: what is lost when a machine dies, and the texts
# among which batches of like length are made.
PART_TEXTS, PART_CHARACTERS = 2**14, 2**21
# Bytes of kept values, about, after which a slice ends too: it is held in memory.
PART_KEPT = 2**24
# Rows after which a survey marks the fingerprint: a change shows at the next mark, and not after the last row.
_MARKED = 256
# The remedy for a row that cannot be read, where vectors are written to a folder.
LEAVE_OUT = "Or leave such rows out: on_error='skip' (--on-error skip)."


def _no_file(_row: int) -> str:
    return ""  # a function with a name, so that a source can be pickled


@dataclass(frozen=True, eq=False)
class Source:
    """Where texts come from."""

    name: str
    read: Callable[[], Iterator[Row]]
    rereadable: bool  # whether they can be read more than once
    count: int | None  # of the texts, where they are a list or a table
    keep: Stated = field(default_factory=dict)  # the columns whose values the texts carry
    file_of: Callable[[int], str] = field(default=_no_file, repr=False)  # of a row that was read; "" if one file

    @classmethod
    def of(
        cls,
        texts: Any,
        name: str = "texts",
        *,
        columns: str | Sequence[str] | None = None,
        id_column: str | None = None,
        keep: str | Sequence[str] = (),
    ) -> Source:
        """Return the source of a path, a table, a list or an iterator, or of a function that starts reading.

        Args:
            texts: what `cenote.data.texts.open_texts` takes.
            name: what the manifest calls the texts; `texts` is replaced by the path of a file.
            columns: the column of the text, or several.
            id_column: column of the id.
            keep: columns whose values the texts carry, or `all`.
        """
        opened = open_texts(texts, Wanted.of(columns, id_column, keep))
        return cls(
            name=name_of(texts) if name == "texts" else name,
            read=opened.read,
            rereadable=opened.rereadable,
            count=opened.count,
            keep={column: stated_type(column, opened.reader.types_of(column)) for column in opened.reader.kept},
            file_of=opened.reader.name_of_sheet,
        )


def first_rows(source: Source, limit: int) -> Source:
    """Return the first rows of a source; rows without a text count too."""
    limit = min(limit, sys.maxsize)  # islice takes no more
    count = None if source.count is None else min(source.count, limit)
    return replace(source, read=lambda: islice(source.read(), limit), count=count)


@dataclass(frozen=True)
class Survey:
    """The findings of one reading of all rows."""

    rows: int
    faults: int  # rows without a usable text
    first_fault: str | None  # why the first of them has none
    repeats: int  # rows whose id an earlier row has
    fingerprint: str
    marks: array[int]  # fingerprints of the rows up to each multiple of `_MARKED`
    repeated: frozenset[int]  # hashes that several ids have
    lengths: LengthCounts = field(repr=False)  # of the texts, in characters
    kept: pa.Schema = field(repr=False)  # types of the kept columns


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
    kept: pa.Table | None = field(default=None, repr=False)  # a row for each text; None where nothing is kept


def survey(rows: Iterable[Row], *, skip: bool, keep: Stated | None = None, advance: Advance = silent) -> Survey:
    """Read all rows once, so that a mistake in the last of a million shows before the first is embedded.

    A hash of 8 bytes is held of each id.

    Args:
        rows: texts and faults.
        skip: whether faults are counted; else the first is raised.
        keep: the columns whose values the texts carry.
        advance: called every 10,000 rows with their number.
    """
    whole, lengths, types, count = Fingerprint(), LengthCounts(), KeptTypes(keep or {}), 0
    marks, hashes = array("Q"), array("Q")  # a list of Python numbers takes four times the memory
    first_fault = None
    for row in raise_unless_skipped(rows, skip=skip):
        whole.add(_content(row))
        if isinstance(row, Text):
            hashes.append(hash_of(row.id))
            lengths.add(len(row.text))
            if keep:
                types.add(count, _values(row, keep, count))
        elif first_fault is None:
            first_fault = row.why
        count += 1
        if count % _MARKED == 0:
            marks.append(_mark(whole))
        if count % 10_000 == 0:
            advance(10_000)
    repeats, repeated = _repeated(hashes)
    faults = count - len(hashes)
    return Survey(count, faults, first_fault, repeats, whole.name(), marks, repeated, lengths, types.schema())


def _content(row: Row) -> tuple[str, ...]:
    """Return what a fingerprint is taken of; of a fault not its reason, which names a file that may be moved."""
    if isinstance(row, Kept):
        return (*row, *content_of(row.values))
    return row if isinstance(row, Text) else ("no text",)


def _values(row: Text, keep: Stated, place: int) -> tuple[Any, ...]:
    """Return the values of the kept columns; raise if a text does not carry them."""
    values = row.values if isinstance(row, Kept) else ()
    if len(values) != len(keep):
        raise BadInput(
            f"row {place}: the text carries {pluralise(len(values), 'value')}, and keep names {', '.join(keep)}: pass "
            "a file or a table with these columns, or yield cenote.data.rows.Kept(id, text, values)."
        )
    return values


def _repeated(hashes: array[int]) -> tuple[int, frozenset[int]]:
    """Return how many hashes stand before, and which ones; sorts them in place, since a copy is as large again."""
    ordered = np.asarray(hashes)
    ordered.sort()
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return len(again), frozenset(again.tolist())


def _mark(whole: Fingerprint) -> int:
    return int(whole.name(), 16)


def raise_unless_skipped(rows: Iterable[Row], *, skip: bool, remedy: str = LEAVE_OUT) -> Iterator[Row]:
    """Yield the rows and raise the first fault among them, unless faults are skipped later; `remedy` ends the error."""
    for row in rows:
        if isinstance(row, Fault) and not skip:
            raise BadInput(f"{row.why} {remedy}".rstrip())
        yield row


def refuse_other_texts(rows: Iterable[Row], surveyed: Survey) -> Iterator[Row]:
    """Yield the rows; raise soon after the first that is not the one of the survey, and before one that was added."""
    whole, count = Fingerprint(), 0
    for row in rows:
        if count == surveyed.rows:
            raise BadInput(
                f"rows were added after the {count:,} that were checked before the work: run again with the first "
                f"{count:,} rows alone, which goes on from here, or begin anew with restart (--restart)."
            )
        whole.add(_content(row))
        count += 1
        if count % _MARKED == 0 and _mark(whole) != surveyed.marks[count // _MARKED - 1]:
            _raise_changed(count - _MARKED, count)
        yield row
    if whole.name() != surveyed.fingerprint:
        _raise_changed(count // _MARKED * _MARKED, surveyed.rows)


def _raise_changed(first: int, end: int) -> NoReturn:
    raise BadInput(
        f"the texts changed while they were read, between rows {first} and {end - 1}: run again with restart "
        "(--restart) once they no longer change."
    )


def mark_repeated_ids(
    rows: Iterable[Row], repeated: frozenset[int] | None, file_of: Callable[[int], str] = _no_file
) -> Iterator[Row]:
    """Yield the rows, with a fault in place of each whose id an earlier row has.

    Args:
        rows: texts and faults.
        repeated: hashes that several ids have. They may agree by chance, so these ids are compared in full. None where
            no survey was made: then a bit is kept of each id that is its row number, and a hash of any other.
        file_of: returns the file of a row that was read, "" if there is only one.
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
                files = f" ({file_of(first)} and {file_of(place)})" if file_of(place) else ""
                yield Fault(
                    f"rows {first} and {place}{files} have the same id {row.id!r}: every vector needs an id of its "
                    "own. Name another id column, or drop one of them.",
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
    same = found if surveyed is None else refuse_other_texts(found, surveyed)
    marked = mark_repeated_ids(same, None if surveyed is None else surveyed.repeated, source.file_of)
    return raise_unless_skipped(marked, skip=skip)


def cut_slices(rows: Iterable[Row], keep: Stated | None = None, schema: pa.Schema | None = None) -> Iterator[Slice]:
    """Cut rows into slices by their numbers and sizes alone: the same rows make the same slices anywhere.

    Args:
        rows: texts and faults.
        keep: the columns whose values the texts carry.
        schema: types of these columns; None takes those of the first slice.
    """
    part, keep = _Growing(0, 0), keep or {}
    for place, row in enumerate(rows):
        part.add(place, row, keep)
        if part.full():
            done = part.done(keep, schema)
            schema = None if done.kept is None else done.kept.schema
            yield done
            part = _Growing(part.index + 1, place + 1)
    if part.rows:
        yield part.done(keep, schema)


def read_slices(source: Source, surveyed: Survey | None, skip: bool) -> Iterator[Slice]:
    """Yield the slices of a source from its beginning, on whichever machine this is called."""
    rows = checked_rows(source, surveyed, skip=skip)
    return cut_slices(rows, source.keep, None if surveyed is None else surveyed.kept)


class _Growing:
    """A slice while its rows are added."""

    def __init__(self, index: int, first: int) -> None:
        self.index, self.first, self.rows, self.characters, self.kept = index, first, 0, 0, 0
        self.texts: list[Text] = []
        self.places: list[int] = []
        self.values: list[tuple[Any, ...]] = []
        self.rejected: list[dict[str, Any]] = []
        self.fingerprint = Fingerprint()

    def add(self, place: int, row: Row, keep: Stated) -> None:
        self.rows += 1
        self.fingerprint.add(_content(row))
        if isinstance(row, Fault):
            named = {} if row.id is None else {"id": row.id}
            self.rejected.append({"row": place, **named, "why": row.why})
        else:
            self.texts.append(Text(row.id, row.text))
            self.places.append(place)
            self.characters += len(row.text)
            if keep:
                self.values.append(_values(row, keep, place))
                self.kept += size_of(self.values[-1])

    def full(self) -> bool:
        return self.rows >= PART_TEXTS or self.characters >= PART_CHARACTERS or self.kept >= PART_KEPT

    def done(self, keep: Stated, schema: pa.Schema | None) -> Slice:
        return Slice(
            index=self.index,
            first=self.first,
            rows=self.rows,
            texts=self.texts,
            places=self.places,
            rejected=self.rejected,
            fingerprint=self.fingerprint.name(),
            kept=kept_table(self.places, self.values, keep, schema) if keep else None,
        )


def hash_of(name: str) -> int:
    """Return 8 bytes of a hash: of two ids it agrees by chance once in 10^19 times."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
