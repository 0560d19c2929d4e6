"""Files of labelled data: those that a folder has, and their columns by role, whatever the columns are called.

Rows are read as all tables are, by `cenote.data.formats`; another name of a column is a word in `ROLES`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cenote.data.formats import READERS
from cenote.data.lines import ZIPPED, readable
from cenote.data.rows import REMEDY, WrongRecord, describe_value, raise_faults, refuse_surrogates
from cenote.errors import BadInput, some

# The formats of tables. Others that `cenote.data.texts` reads may lie beside data: results in JSON, a page of Markdown.
_TABLES = (".jsonl", ".ndjson", ".csv", ".tsv")
FORMATS = (*_TABLES, *(f"{suffix}{zipped}" for suffix in _TABLES for zipped in ZIPPED), ".parquet")
FOLDERS = ("qrels", "candidates", "top_ranked")  # folders within a folder, with a file per split
NAMING = "Columns of other names: evaluate, compare and tune take --data-columns text=review,label=stars."
UNNAMED: Mapping[str, str] = MappingProxyType({})


class Record(NamedTuple):
    """One row of a file: where it is, and its cells by the names of the columns."""

    where: str
    cells: Mapping[str, object]


# Files of a folder.


def suffix_of(name: str) -> str:
    """Return the suffix of a file of a known format, empty for any other file.

    >>> suffix_of("test.JSONL.gz"), suffix_of("corpus.v2.csv"), suffix_of("SOURCE.md")
    ('.jsonl.gz', '.csv', '')
    """
    return max((suffix for suffix in FORMATS if name.lower().endswith(suffix)), key=len, default="")


def is_read(folder: Path, file: Path) -> bool:
    """Return whether a file of this place and name is read with a labelled folder."""
    usable = suffix_of(file.name) and not file.name.startswith(".")
    return bool(usable) and file.parent in (folder, *(folder / name for name in FOLDERS))


def list_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder by their names in lower case without suffix: `test`, `qrels/test`."""
    with readable(str(folder)):
        places = [folder, *(folder / name for name in FOLDERS)]
        paths = [path for place in places if place.is_dir() for path in sorted(place.iterdir()) if path.is_file()]
    found: dict[str, list[Path]] = {}
    for path in paths:
        if is_read(folder, path):
            name = path.relative_to(folder).as_posix().lower().removesuffix(suffix_of(path.name))
            found.setdefault(name, []).append(path)
    return found


def single(paths: Sequence[Path]) -> Path:
    """Return the one path; raise if the same table is there in two formats or under two names."""
    if len(paths) > 1:
        raise BadInput(f"{paths[0]} and {paths[1]} hold the same table. Remove one of them.")
    return paths[0]


# Rows of a file.


def read_records(path: Path) -> Iterator[Record]:
    """Yield the rows of a file of any format."""
    sheet = READERS[suffix_of(path.name)](path)
    named = [name for name in sheet.names or () if name]  # columns without a name are no duplicates
    for name, count in Counter(named).items():
        if count > 1:
            raise BadInput(f"{path} has {count} columns {name!r}. Rename all but one.")
    for where, record in sheet.records(named):
        (cells,) = raise_faults([record.value if isinstance(record, WrongRecord) else record])
        if not isinstance(cells, Mapping):
            remedy = "Make it an object with the names of columns as keys."
            raise BadInput(f"{where}: the row is {describe_value(cells)}. {remedy}")
        yield Record(where, cells)


def first_record(path: Path) -> Record:
    """Return the first row of a file; raise if there is none."""
    for record in read_records(path):
        return record
    raise BadInput(f"{path} has no rows. Give a file with at least one.")


# Cells. Each function takes a value, and the words that name it in a message: "a.csv, line 2: the text".


def text_of(value: object, said: str) -> str:
    """Return a text.

    >>> text_of(None, "a.csv, line 2: the text")
    Traceback (most recent call last):
    ...
    cenote.errors.BadInput: a.csv, line 2: the text is null, not a string. Correct or drop the row.
    """
    if not isinstance(value, str):
        raise BadInput(f"{said} is {describe_value(value)}, not a string. {REMEDY}")
    refuse_surrogates(value, said)
    return value


def text_or_null(value: object, said: str) -> str:
    """Return a text; a null is an empty text."""
    return "" if value is None else text_of(value, said)


def name_of(value: object, said: str) -> str:
    """Return an id as a string.

    >>> name_of("d7", "an id"), name_of(7, "an id")
    ('d7', '7')
    """
    if isinstance(value, bool) or not isinstance(value, (str, Integral)):
        raise BadInput(f"{said} is {describe_value(value)}, not a string or an integer. {REMEDY}")
    return text_of(value, said) if isinstance(value, str) else str(int(value))


def label_of(value: object, said: str) -> str:
    """Return a label as a string.

    >>> label_of("sport", "a label"), label_of(3, "a label")
    ('sport', '3')
    """
    if isinstance(value, str) and not value.strip():
        raise BadInput(f"{said} is empty. Give every row one label, or drop the row.")
    if isinstance(value, Decimal) and value.is_finite():  # 4.5 may be 4.50 in another file
        value = f"{value.normalize():f}"
    if not isinstance(value, (str, Real)) or value != value:  # numpy's numbers are `Real`
        raise BadInput(f"{said} is {describe_value(value)}, not a string or a number. Give every row one label.")
    return text_of(str(value), said)


def number_of(value: object, said: str) -> float:
    """Return a finite number.

    >>> number_of("3.5", "a score"), number_of(4, "a score")
    (3.5, 4.0)
    """
    try:
        usable = isinstance(value, (str, Real, Decimal)) and not isinstance(value, bool)
        number = float(value) if usable else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{said} is {describe_value(value)}, not a finite number. {REMEDY}")
    return number


def grade_of(value: object, said: str) -> int:
    """Return a whole number.

    >>> grade_of("2", "a grade"), grade_of(1.0, "a grade")
    (2, 1)
    """
    number = number_of(value, said)
    if not number.is_integer():
        raise BadInput(f"{said} is {number}, not a whole number. {REMEDY}")
    return int(number)


def _each(cell: Callable[[object, str], Any], value: object, said: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadInput(f"{said} are {describe_value(value)}, not a list. {REMEDY}")
    return tuple(cell(item, f"{said}, number {number},") for number, item in enumerate(value, 1))


def rating_of(value: object, said: str) -> float:
    """Return the human score of a summary: a number, or the aspect `relevance` of several."""
    if not isinstance(value, Mapping):
        return number_of(value, said)
    if "relevance" not in value:
        raise BadInput(f"{said} have no 'relevance': {some(value) or 'nothing'}. {REMEDY}")
    return number_of(value["relevance"], f"{said} 'relevance',")


# Roles of columns.


@dataclass(frozen=True)
class Role:
    """The role of a column: its name in messages, the names that columns of the role have, and how a cell is read."""

    noun: str
    columns: tuple[str, ...]  # in lower case with "_" for "-" and " "; the first that a file has counts
    cell: Callable[[object, str], Any]


_TEXT = ("text", "sentence", "content", "body", "document")
ROLES: dict[str, Role] = {
    "id": Role("id", ("id", "_id", "doc_id", "docid", "pid", "query_id", "qid", "corpus_id"), name_of),
    "title": Role("title", ("title",), text_or_null),
    "text": Role("text", _TEXT, text_of),
    "query": Role("query", (*_TEXT, "query", "question"), text_of),
    "query_id": Role("query id", ("query_id", "queryid", "qid"), name_of),
    "document_id": Role("document id", ("doc_id", "docid", "pid", "corpus_id", "document_id"), name_of),
    "document_ids": Role("document ids", ("doc_ids", "docids", "corpus_ids", "document_ids"), partial(_each, name_of)),
    "grade": Role("grade", ("score", "relevance", "grade", "rel", "label"), grade_of),
    "label": Role("label", ("label", "labels", "category", "class", "intent"), label_of),
    "first": Role("first text", ("text1", "sentence1", "first"), text_of),
    "second": Role("second text", ("text2", "sentence2", "second"), text_of),
    "score": Role("score", ("score", "similarity", "relevance", "label"), number_of),
    "subset": Role("subset", ("subset",), text_or_null),
    "human": Role("human summaries", ("human_summaries",), partial(_each, text_of)),
    "machine": Role("machine summaries", ("machine_summaries",), partial(_each, text_of)),
    "ratings": Role("scores of summaries", ("scores", "relevance"), partial(_each, rating_of)),
}


def plain_name(column: str) -> str:
    """Return the name of a column without blanks at its ends, in lower case and with "_" for "-" and " "."""
    return column.strip().lower().replace("-", "_").replace(" ", "_")


@lru_cache(maxsize=1024)
def by_plain_name(columns: tuple[str, ...]) -> Mapping[str, str]:
    """Return the columns by their plain names; of several with the same one the first.

    >>> dict(by_plain_name(("Query-ID", "text", " Text")))
    {'query_id': 'Query-ID', 'text': 'text'}
    """
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(plain_name(column), column)
    return MappingProxyType(plain)


@lru_cache(maxsize=1024)
def columns_of(role: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that can have a role, the first choice first.

    >>> columns_of("query_id", ("Query-ID", "corpus-id", "score")), columns_of("text", ("body", "n", "text"))
    (('Query-ID',), ('text', 'body'))
    """
    plain = by_plain_name(columns)
    return tuple(plain[name] for name in ROLES[role].columns if name in plain)


@dataclass(frozen=True, eq=False)
class RoleColumns:
    """Columns by role; `places` says where each row of a file is."""

    values: Mapping[str, tuple[Any, ...]]
    places: tuple[str, ...]
    notes: tuple[str, ...]

    def __getitem__(self, role: str) -> tuple[Any, ...]:
        return self.values[role]


def read_columns(
    path: Path, roles: Sequence[str], optional: Sequence[str] = (), *, named: Mapping[str, str] = UNNAMED
) -> RoleColumns:
    """Read the columns of some roles; optional ones are None in rows that lack them.

    The first row decides which columns have the roles, except those that are named.
    """
    every = (*roles, *optional)
    found: dict[str, list[Any]] = {role: [] for role in every}
    places: list[str] = []
    first = first_record(path)
    chosen = {role: named.get(role) or _required(role, first) for role in roles}
    for where, cells in read_records(path):
        places.append(where)
        for role in every:
            column = chosen.get(role) or _present(role, cells, named)
            if role in chosen and column not in cells:
                raise _lacks(Record(where, cells), f"no {column!r}, which the first row has", REMEDY)
            cell, said = ROLES[role].cell, f"{where}: the {ROLES[role].noun}"
            found[role].append(None if column is None else cell(cells[column], said))
    for role in set(named) & set(optional):
        if not any(value is not None for value in found[role]):
            raise BadInput(f"{path}: no row has the column {named[role]!r}, which is named for the {ROLES[role].noun}.")
    notes = (_ignored(role, chosen[role], tuple(first.cells), path) for role in roles)
    return RoleColumns({role: tuple(cells) for role, cells in found.items()}, tuple(places), tuple(filter(None, notes)))


def check_columns(columns: Mapping[str, Sequence[Any]], where: str) -> RoleColumns:
    """Return columns of data in memory by role, their cells read as those of files; raise unless they are as long.

    The columns have no places: their rows are counted from 0.
    """
    counts = {role: len(column) for role, column in columns.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count:,} of the {ROLES[role].noun}" for role, count in counts.items())
        raise BadInput(f"{where}: columns of several lengths: {said}. Give one value of each in every row.")
    values = {}
    for role, column in columns.items():
        cell, noun = ROLES[role].cell, ROLES[role].noun
        values[role] = tuple(cell(value, f"{where}, row {row}: the {noun}") for row, value in enumerate(column))
    return RoleColumns(values, (), ())


def _present(role: str, cells: Mapping[str, object], named: Mapping[str, str]) -> str | None:
    """Return the column of an optional role in a row; a key of JSON lines may be missing in the first row alone."""
    if role in named:
        return named[role] if named[role] in cells else None
    return next(iter(columns_of(role, tuple(cells))), None)


def _required(role: str, record: Record) -> str:
    for column in columns_of(role, tuple(record.cells)):
        return column
    known = ROLES[role].columns
    remedy = f"Give it one of the names {', '.join(known)}. {NAMING}"
    raise _lacks(record, f"no column of the {ROLES[role].noun}", remedy)


def _lacks(record: Record, lacking: str, remedy: str) -> BadInput:
    return BadInput(f"{record.where}: {lacking}; the columns are: {some(record.cells, 20) or 'none'}. {remedy}")


def _ignored(role: str, chosen: str, columns: tuple[str, ...], path: Path) -> str:
    others = [column for column in columns_of(role, columns) if column != chosen]
    return f"In {path.name} the {ROLES[role].noun} is {chosen!r}; not used: {some(others)}." if others else ""


# Checks and notes of ids and texts.

_EMPTY = "Empty texts of"


def refuse_repeated(ids: Sequence[str], where: object) -> None:
    """Raise if an id of a file, or of a part of data in memory, occurs more than once.

    >>> refuse_repeated(["a", "b", "a"], Path("corpus.csv"))
    Traceback (most recent call last):
    ...
    cenote.errors.BadInput: corpus.csv: ids that occur more than once: 1 (a). Give every row an id of its own.
    """
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        counted = count_ids(repeated, "ids that occur more than once")
        raise BadInput(f"{where}: {counted} Give every row an id of its own.")


def empty_ids(ids: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Return the ids of texts without a character that is not white space.

    >>> empty_ids(["a", "b"], ["a pool", " "])
    ['b']
    """
    return [name for name, text in zip(ids, texts, strict=True) if not text.strip()]


def count_empty(texts: Sequence[str], name: str, notes: Sequence[str] = ()) -> str:
    """Return a note that counts the empty texts of a file, empty if there are none or `notes` count them already.

    >>> count_empty(["a pool", " "], "test.csv")
    'Empty texts of test.csv were kept: 1.'
    """
    count = sum(not text.strip() for text in texts)
    counted = any(note.startswith(_EMPTY) for note in notes)
    return f"{_EMPTY} {name} were kept: {count:,}." if count and not counted else ""


def count_ids(ids: Sequence[str], statement: str) -> str:
    """Return a note that counts ids and names the first, empty if there are none.

    >>> count_ids(["a", "b", "a", "c", "d"], "Empty queries were kept"), count_ids([], "Empty queries were kept")
    ('Empty queries were kept: 5 (a, b, c and 1 more).', '')
    """
    return f"{statement}: {len(ids):,} ({some(dict.fromkeys(ids), 3)})." if ids else ""


def join_notes(*parts: Iterable[str]) -> tuple[str, ...]:
    """Return all notes that are not empty.

    >>> join_notes(["one", ""], ["two"])
    ('one', 'two')
    """
    return tuple(note for part in parts for note in part if note)
