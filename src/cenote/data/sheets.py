"""Sheets: files and Python objects that hold rows of texts, each with the names of its columns.

Every format and every kind of object becomes a `Sheet`; from there one path leads to rows.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from cenote.data.columns import ID, TEXT, TITLE, Columns, Wanted, resolve_columns, row_of_record
from cenote.data.rows import Fault, Kept, Row
from cenote.errors import BadInput, CenoteWarning

# A place for messages, and a record: a mapping of columns, a string, (id, string), or a fault.
Placed = tuple[str, Any]
# Rows at the beginning of a sheet that are looked at for the names of its columns.
_FIRST = 1000


@dataclass(frozen=True, eq=False)
class Sheet:
    """One file or one Python object that holds rows."""

    name: str
    head: str  # place of the names, for messages
    names: tuple[str, ...] | None  # of the columns; None if no row shows them
    records: Callable[[Sequence[str]], Iterable[Placed]]  # starts reading; takes the columns that are wanted
    plain: bool = False  # whether it is text without columns
    once: bool = False  # whether it can be read only once
    sparse: bool = False  # whether rows may have other columns: the names are those of the first usable one
    types: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of Arrow, where the sheet has a schema


def plain_sheet(name: str, records: Callable[[], Iterable[Placed]], *, once: bool = False) -> Sheet:
    """Return a sheet of texts without columns."""
    return Sheet(name, name, (TEXT,), lambda _: records(), plain=True, once=once)


def sheet_of_records(name: str, records: Callable[[], Iterable[Placed]], *, once: bool = False) -> Sheet:
    """Return a sheet of records whose columns are those of the first usable one."""
    started = iter(records())
    looked: list[Placed] = []
    head, names = name, None
    for where, record in started:
        looked.append((where, record))
        if not isinstance(record, Fault):
            head, names = where, _names_of_record(record)
        if names is not None or len(looked) == _FIRST:
            break
    if once:
        return Sheet(name, head, names, lambda _: chain(looked, started), once=True, sparse=True)
    return Sheet(name, head, names, lambda _: records(), sparse=True)


def _names_of_record(record: Any) -> tuple[str, ...]:
    return tuple(map(str, record)) if isinstance(record, Mapping) else (TEXT,)


@dataclass(eq=False)
class SheetReader:
    """Rows of several sheets, one sheet after another."""

    sheets: Sequence[Sheet]
    wanted: Wanted
    columns: Columns | None  # None: the first row decides, while it is read
    starts: list[int] = field(default_factory=list, repr=False)  # the first row of each sheet that was reached
    watches_titles: bool = field(init=False, repr=False)  # whether no title outside of the text was seen yet

    def __post_init__(self) -> None:
        self.watches_titles = self.wanted.warns_of_title

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the columns whose values are kept."""
        return _kept(self.wanted) if self.columns is None else self.columns.kept

    def rows(self) -> Iterator[Row]:
        """Start reading; the numbers of rows continue from sheet to sheet."""
        number, columns = 0, self.columns
        for place, sheet in enumerate(self.sheets):
            if place == len(self.starts):
                self.starts.append(number)
            for where, record in sheet.records(self._names_in(sheet)):
                if columns is None and not isinstance(record, Fault):
                    columns = self._columns_of(record, where)
                if self.watches_titles and isinstance(record, (dict, Mapping)):  # `Mapping` alone is slow
                    self._warn_of_title(record.get(TITLE), sheet.name)
                yield record if columns is None else row_of_record(record, number, columns, where)
                number += 1

    def _names_in(self, sheet: Sheet) -> tuple[str, ...]:
        """Return the columns that are read from a sheet: also a title, until one was warned of."""
        names = self.columns.names if self.columns else ()
        titled = self.watches_titles and TITLE not in names and (sheet.names or ()).count(TITLE) == 1
        return (*names, TITLE) if titled else names

    def _columns_of(self, record: Any, where: str) -> Columns:
        """Return the columns of a source whose first row is this record."""
        if isinstance(record, Kept):  # its values have no names
            return Columns(self.wanted.columns or (TEXT,), None, self.kept, bool(self.wanted.optional))
        return resolve_columns(_names_of_record(record), self.wanted, where)

    def _warn_of_title(self, title: Any, name: str) -> None:
        """Warn of the first title that is not read."""
        if isinstance(title, str) and title.strip():
            self.watches_titles = False
            warnings.warn(
                f"{name}: the column {TITLE!r} is not part of the text. Read both with columns=('title', 'text') "
                "(--columns title,text), or the text alone, without this warning, with columns='text' (--columns "
                "text); in Python `embed` and cenote.data.texts.read take columns.",
                CenoteWarning,
                stacklevel=3,
            )

    def types_of(self, column: str) -> list[tuple[str, Any]]:
        """Return the type of a column in each sheet that has rows, None where it states none, with the sheet's name."""
        return [(sheet.name, sheet.types.get(column)) for sheet in self.sheets if sheet.names is not None]

    def name_of_sheet(self, row: int) -> str:
        """Return the name of the sheet that has a row which was read; empty if there is only one sheet."""
        return self.sheets[bisect_right(self.starts, row) - 1].name if len(self.sheets) > 1 else ""


def read_sheets(sheets: Sequence[Sheet], wanted: Wanted) -> SheetReader:
    """Return a reader of sheets with the same columns; raise if one lacks a column, before a row of any is read."""
    _refuse_mixture(sheets)
    for sheet in sheets:
        if sheet.plain:
            _refuse_columns(sheet, wanted)
    known = [sheet for sheet in sheets if sheet.names is not None]
    if not known:
        return SheetReader(sheets, wanted, None)
    first = known[0]
    columns = resolve_columns(first.names or (), wanted, first.head)
    for sheet in known[1:]:
        _refuse_other_columns(sheet, first, columns, wanted)
    return SheetReader(sheets, wanted, columns)


def _kept(wanted: Wanted) -> tuple[str, ...]:
    return () if isinstance(wanted.keep, str) else wanted.keep


def _refuse_mixture(sheets: Sequence[Sheet]) -> None:
    plain = next((sheet for sheet in sheets if sheet.plain), None)
    table = next((sheet for sheet in sheets if not sheet.plain), None)
    if plain is not None and table is not None:
        raise BadInput(f"{plain.name} is plain text, and {table.name} has columns. Name files of one kind.")


def _refuse_columns(sheet: Sheet, wanted: Wanted) -> None:
    """Raise if a column is named: plain text has none, and the name would be silently ignored."""
    named = [name for name in (*(wanted.columns or ()), *_kept(wanted)) if name != TEXT]
    if wanted.id_column is not None:
        named.append(wanted.id_column)
    if named:
        raise BadInput(
            f"{sheet.name} is plain text and has no column {named[0]!r}. Name none, or convert it to .jsonl or .csv."
        )


def _refuse_other_columns(sheet: Sheet, first: Sheet, columns: Columns, wanted: Wanted) -> None:
    names = sheet.names or ()
    for name in columns.names:
        if name not in names and not (wanted.optional and name in columns.kept):
            remedy = "leave the column out of `keep` (--keep)" if name in columns.kept else "name other columns"
            raise BadInput(
                f"{sheet.name} has no column {name!r}, which {first.name} has. Name files with the same columns, or "
                f"{remedy}."
            )
        if names.count(name) > 1:
            raise BadInput(f"{sheet.name} has {names.count(name)} columns {name!r}. Rename all but one.")
    other = next((name for name in names if columns.complete and name not in columns.names), None)
    remedy = "name the columns to keep with `keep` (--keep)"
    if columns.id is None and ID in names:
        other, remedy = ID, "name another id column with `id_column` (--id-column)"
    if other is not None:
        raise BadInput(
            f"{sheet.name} has a column {other!r}, which {first.name} does not have. Name files with the same columns, "
            f"or {remedy}."
        )
