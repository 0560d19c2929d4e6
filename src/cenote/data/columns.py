"""Columns of a row: those that make its text, the one of its id, and those that are kept beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cenote.data.rows import REMEDY, Fault, Kept, Row, Text, describe_value, lone_surrogate, row_of
from cenote.errors import BadInput, UnknownName, choose, some

# Columns that are read where none is named.
TEXT, ID = "text", "id"
# The column that search data have beside the text. Without it a document loses its best words.
TITLE = "title"
# Keeps every column but the id.
ALL = "all"

_DROP_OR_NAME = "Correct or drop the row, or name another column."
_NAME = "Name the text column with `columns` (--columns), the id column with `id_column` (--id-column)."
_KEEP = "Columns to keep are named by `keep` (--keep)."


@dataclass(frozen=True)
class Wanted:
    """The columns that a caller asks for. `Wanted.of` checks them."""

    columns: tuple[str, ...] | None = None  # of the text; None: `text`
    id_column: str | None = None  # None: `id` if there is one, else row numbers
    keep: tuple[str, ...] | str = ()  # names, or `all`
    optional: str = ""  # the remedy if the first row lacks a kept column; later ones may, and have None

    @classmethod
    def of(
        cls, columns: str | Sequence[str] | None, id_column: str | None, keep: str | Sequence[str], optional: str = ""
    ) -> Wanted:
        """Return the names as tuples; raise if one is no name, or repeated.

        >>> Wanted.of(["title", "text"], None, "url")
        Wanted(columns=('title', 'text'), id_column=None, keep=('url',), optional='')
        """
        named = None if columns is None else _names_of(columns, "columns")
        if named == ():
            raise BadInput(f"columns={columns!r} names none: name at least one, or leave it out for {TEXT!r}.")
        if id_column is not None:
            _names_of(id_column, "id_column")
        return cls(named, id_column, kept_names(keep), optional)

    @property
    def warns_of_title(self) -> bool:
        """Whether a title outside of the text needs a warning: nobody chose the columns of the text.

        A title that is kept needs one too: the vectors are without it.
        """
        return self.columns is None and self.id_column != TITLE


# The text, and its id if there is one.
PLAIN = Wanted()


def kept_names(keep: str | Sequence[str]) -> tuple[str, ...] | str:
    """Return the names of columns to keep as a tuple, or `all`; raise if one is no name, or repeated.

    >>> kept_names("url"), kept_names(["url", "title"]), kept_names("all")
    (('url',), ('url', 'title'), 'all')
    """
    return ALL if keep == ALL else _names_of(keep, "keep")


def _names_of(given: str | Sequence[str], argument: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    for name in names:
        if not isinstance(name, str) or not name:
            raise BadInput(f"{argument}: {name!r} is no name of a column. Give a name, or a list of names.")
        if names.count(name) > 1:
            raise BadInput(f"{argument}: {name!r} is named twice. Name it once.")
    return names


@dataclass(frozen=True)
class Columns:
    """The columns that are read from every row."""

    text: tuple[str, ...]
    id: str | None  # None: row numbers
    kept: tuple[str, ...]
    optional: bool = False
    complete: bool = False  # whether these are all columns: a row with another one would lose it

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.text, *(() if self.id is None else (self.id,)), *self.kept)))

    @cached_property
    def plain(self) -> bool:
        """Whether a string is a whole row."""
        return (self.text, self.id, self.kept) == ((TEXT,), None, ())


def resolve_columns(names: Sequence[str], wanted: Wanted, where: str) -> Columns:
    """Return the columns to read from rows with columns of these names; raise if one is missing or repeated.

    >>> resolve_columns(["id", "title", "text"], Wanted(keep="all"), "a.csv")
    Columns(text=('text',), id='id', kept=('title', 'text'), optional=False, complete=True)
    """
    counts = Counter(names)
    text = wanted.columns or (TEXT,)
    key = ID if wanted.id_column is None and ID in counts else wanted.id_column
    for name in (*text, *(() if isinstance(wanted.keep, str) else wanted.keep)):
        _refuse_joined(name, counts, where)
    for name in (*text, *(() if key is None else (key,))):
        _refuse_missing_column(name, counts, where)
    every = isinstance(wanted.keep, str)
    kept = tuple(name for name in names if name != key or name in text) if every else tuple(wanted.keep)
    for name in kept:
        _refuse_missing_column(name, counts, where, wanted.optional or _KEEP)
    return Columns(text, key, kept, bool(wanted.optional), every)


def _refuse_joined(name: str, counts: Mapping[str, int], where: str) -> None:
    """Raise if the name is missing, and is the names of several columns, joined as the command line takes them."""
    parts = tuple(part.strip() for part in name.split(","))
    if name not in counts and len(parts) > 1 and all(part in counts for part in parts):
        raise UnknownName(f"unknown column of {where}: {name!r}. Several columns are a tuple: {parts!r}.")


def _refuse_missing_column(name: str, counts: Mapping[str, int], where: str, remedy: str | None = None) -> None:
    if _cell(counts, name, where, remedy) > 1:
        raise BadInput(f"{where} has {counts[name]} columns {name!r}. Rename all but one.")


def _cell(row: Mapping[str, Any], name: str, where: str, remedy: str | None = None) -> Any:
    if name in row:
        return row[name]
    by_name = {str(other): cell for other, cell in row.items()}  # names may be numbers
    shown = [some((other[:60] for other in by_name), 20) or "none"]
    if remedy is None:  # another name was given by the caller, who needs no such advice
        remedy = _NAME if name in (TEXT, ID) else ""
    return choose(name, by_name, f"column of {where}:", shown=shown, remedy=remedy)


def row_of_record(record: Any, number: int, columns: Columns, where: str) -> Row:
    """Return the row of a record; a `Fault` if the record has no usable text, id or kept value.

    >>> columns = Columns(("title", "text"), None, ("year",))
    >>> row = row_of_record({"title": "Cenote", "text": "A pool.", "year": 1984}, 7, columns, "row 7")
    >>> row, row.values
    (Kept(id='7', text='Cenote A pool.'), (1984,))

    Args:
        record: a mapping of columns, a string (a record with the column `text` alone), (id, string), or a row.
        number: number of the row, which is the id if there is no column of ids.
        columns: the columns to read.
        where: place of the record, for messages.
    """
    if columns.plain and isinstance(record, str):  # most rows of Python
        return row_of(number, record, where, REMEDY)
    if isinstance(record, Fault):
        return record
    try:
        if isinstance(record, Kept):
            row = row_of(*record, where, REMEDY)
            return Kept(*row, _checked(record.values, columns, where)) if isinstance(row, Text) else row
        name, cells = _cells_of(record, number, columns, where)
        text = _text_of(cells, columns.text, where)
        row = row_of(name, text, where, _DROP_OR_NAME if cells is record else REMEDY)
        return Kept(*row, _values_of(cells, columns, where)) if columns.kept and isinstance(row, Text) else row
    except BadInput as error:
        return Fault(str(error))


def _cells_of(record: Any, number: int, columns: Columns, where: str) -> tuple[Any, Mapping[str, Any]]:
    """Return the id of a record, and its cells by the names of the columns."""
    if isinstance(record, tuple) and len(record) == 2:
        return record[0], {TEXT: record[1]}
    cells = record if isinstance(record, (dict, Mapping)) else {TEXT: record}  # `Mapping` alone is slow
    if columns.id is not None and (cells is record or isinstance(record, str)):  # any other is no text, which is said
        return _cell(cells, columns.id, where), cells
    if ID in cells:
        raise BadInput(
            f"{where}: the row has an id, and the first row has none. Give every row an id, or no row; or name another "
            "id column."
        )
    return number, cells


def _text_of(cells: Mapping[str, Any], names: tuple[str, ...], where: str) -> Any:
    """Return the text; several columns are joined by a space, as BEIR and mteb join the title and the text."""
    if len(names) == 1:
        return _cell(cells, names[0], where)
    parts = [_cell(cells, name, where) for name in names]
    for name, part in zip(names, parts, strict=True):
        if part is not None and not isinstance(part, str):
            raise BadInput(f"{where}: the column {name!r} is {describe_value(part)}, not a string. {_DROP_OR_NAME}")
    return join_parts(parts)


def join_parts(parts: Sequence[str | None]) -> str | None:
    """Return the text of several columns: joined by a space, without the empty ones; None where all are null.

    >>> join_parts(["A title", None, "a text"])
    'A title a text'
    """
    return None if all(part is None for part in parts) else " ".join(filter(None, parts))


def _values_of(cells: Mapping[str, Any], columns: Columns, where: str) -> tuple[Any, ...]:
    """Return the values of the kept columns."""
    if columns.optional:
        return tuple(None if lone_surrogate(value := cells.get(name)) else value for name in columns.kept)
    if columns.complete and (other := next((name for name in cells if str(name) not in columns.names), None)):
        raise BadInput(
            f"{where}: the row has a column {other!r}, which the first row does not have, and all columns are kept. "
            "Give every row the same columns, null where it has no value, or name the columns to keep with `keep` "
            "(--keep)."
        )
    return _checked(tuple(_cell(cells, name, where, _KEEP) for name in columns.kept), columns, where)


def _checked(values: tuple[Any, ...], columns: Columns, where: str) -> tuple[Any, ...]:
    """Return the values of the kept columns; raise for one that cannot be encoded. Whoever keeps them counts them."""
    for name, value in zip(columns.kept, values, strict=False):
        if half := lone_surrogate(value):
            problem = f"the column {name!r} has a lone surrogate ({half}), which UTF-8 cannot encode"
            raise BadInput(f"{where}: {problem}. {_DROP_OR_NAME}")
    return values
