"""Readers of file formats. A new format is one function here and one row of `READERS`.

A reader yields a `Text` or a `Fault` for each row, so that one bad row does not end the reading. It raises `BadInput`
if the rest of the file cannot be read.
"""

from __future__ import annotations

import csv
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cenote.data.lines import lines, readable, unzipped
from cenote.data.rows import Fault, Row, Text, describe_value, raise_faults, row_of
from cenote.errors import BadInput, CenoteWarning, UnknownName, Value, choose, some

COLUMN = "text"
WHOLE_FILES = (".txt", ".txt.gz", ".md")  # files that are one text each inside a folder
LONGEST_FIELD = 2**26  # characters of a CSV field; a limit, so that an unclosed quote cannot fill the memory
BATCH = 1024  # rows of a Parquet file in memory at once

REMEDY = "Correct or drop the row, or name another column."

# (path, column of the text, column of the id)
Reader = Callable[[Path, str, str | None], Iterator[Row]]


def read_lines(path: Path, column: str, id_column: str | None, stdin: BinaryIO | None = None) -> Iterator[Row]:
    """Yield a text for each line of a file or of `stdin`."""
    _refuse_columns(str(path), column, id_column)
    with unzipped(path, stdin) as stream:
        for number, line in lines(stream, str(path)):
            if isinstance(line, Fault):
                yield line
                continue
            if stdin is not None and number == 1 and line.startswith('{"'):
                warnings.warn(f"{path}: JSON is read as plain text: name a file ending in .jsonl", CenoteWarning, 2)
            text = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
            yield Text(str(number - 1), text)


def read_folder(path: Path, column: str, id_column: str | None) -> Iterator[Row]:
    """Yield a text for each text file below a folder, in sorted order."""
    _refuse_columns(f"the folder {path}", column, id_column)
    with readable(str(path)):
        walked = list(os.walk(path, onerror=_raise))  # not rglob, which skips unreadable folders without an error
        below = (Path(folder, name) for folder, _, names in walked for name in names)
        files = [file for file in below if file.name.lower().endswith(WHOLE_FILES)]
        folders = (Path(folder, name) for folder, names, _ in walked for name in names)
        linked = [str(folder) for folder in folders if folder.is_symlink()]
        names = sorted(entry.name for entry in path.iterdir())
    data = [name for name in names if name.lower().endswith(tuple(READERS.keys() - {*WHOLE_FILES}))]
    if data or not files:
        none = f"no {', '.join(WHOLE_FILES)} file; it contains: {some(names) or 'nothing'}"
        held = f"files of many texts: {some(data)}" if data else none
        raise BadInput(f"the folder {path} holds {held}. Name one of these files, or a folder with one text per file.")
    if linked:
        warnings.warn(f"links to folders are not followed: {some(linked)}", CenoteWarning, 2)
    for name, file in sorted((file.relative_to(path).as_posix(), file) for file in files):
        with unzipped(file) as stream:
            read = [line for _, line in lines(stream, str(file))]
        fault = next((line for line in read if isinstance(line, Fault)), None)
        yield fault or row_of(name, "".join(map(str, read)), str(file), REMEDY)


def _raise(error: OSError) -> None:
    raise error


def read_jsonl(path: Path, column: str, id_column: str | None) -> Iterator[Row]:
    """Yield a text for each line of JSON: an object with the columns, or a bare string. Blank lines are skipped."""
    key, key_known = id_column, id_column is not None
    row = 0
    with unzipped(path) as stream:
        for number, line in lines(stream, str(path)):
            if isinstance(line, str) and not line.strip(" \t\r\n"):
                continue
            where = f"{path}, line {number}"
            record = line if isinstance(line, Fault) else _parse_record(line.rstrip("\r\n"), column, where)
            if not key_known and not isinstance(record, Fault):
                key, key_known = "id" if isinstance(record, dict) and "id" in record else None, True
            try:
                yield record if isinstance(record, Fault) else _from_record(record, row, column, key, where)
            except UnknownName as error:
                if row == 0:  # a misspelt column; in a later row it is a fault of the row
                    raise
                yield Fault(str(error))
            row += 1


def _parse_record(line: str, column: str, where: str) -> dict[str, object] | str | Fault:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: a number of 5,000 digits raises no JSONDecodeError
        why = f"{error.msg}: column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return Fault(f"{where}: not JSON ({why}). Write one object per line.")
    if isinstance(record, (str, dict)):
        return record
    kind = describe_value(record)
    return Fault(f"{where}: the row is {kind}. Make it an object with the key {column!r}, or a string.")


def _from_record(record: dict[str, object] | str, row: int, column: str, key: str | None, where: str) -> Row:
    if isinstance(record, str):
        record = {column: record}
    elif key is None and column != "id" and "id" in record:
        return Fault(
            f"{where}: the row has an id, and the first row has none. Give every row an id, or no row; or name "
            "another id column."
        )
    name = row if key is None else _cell(record, key, where)
    return row_of(name, _cell(record, column, where), where, REMEDY)


def read_csv(path: Path, column: str, id_column: str | None, *, delimiter: str) -> Iterator[Row]:
    """Yield a text for each row of a table; the first line names the columns."""
    with unzipped(path) as stream:
        # Quoted fields hold line ends: a line that is not UTF-8 leaves the later ones without a meaning.
        whole = raise_faults(line for _, line in lines(stream, str(path)))
        rows = csv_rows(whole, delimiter, str(path))
        _, header = next(rows, ("", None))
        if header is None:
            return
        key = _id_column(header, column, id_column, str(path))
        at, key_at = header.index(column), None if key is None else header.index(key)
        for number, (where, row) in enumerate(rows):
            if len(row) == len(header):
                yield row_of(number if key_at is None else row[key_at], row[at], where, REMEDY)
            else:
                yield Fault(
                    f"{where}: {len(row)} fields, but the first line has {len(header)}. Put fields that hold "
                    f"{delimiter!r} or a line end in double quotes."
                )


_csv_limit = threading.Lock()


def csv_rows(lines: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a CSV, each with the place where it starts. Blank lines are skipped, as everywhere in CSV."""
    # Python 3.10's csv refuses NUL. UTF-8 never decodes to a lone surrogate, so one can stand in for it.
    masked = (line.replace("\0", "\udc00") for line in lines)
    # Strict, since otherwise a stray quote silently joins fields and rows.
    reader = csv.reader(masked, delimiter=delimiter, strict=True)
    row: list[str] | None = []
    while row is not None:
        where = f"{name}, line {reader.line_num + 1}"
        with _csv_limit:  # the limit is global to the process: raised for one row, then restored
            before = csv.field_size_limit(LONGEST_FIELD)
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise BadInput(
                    f"{where}: not CSV ({error}). Check the double quotes: close each quoted field, and double the "
                    "quotes inside it."
                ) from None
            finally:
                csv.field_size_limit(before)
        if row:
            yield where, [cell.replace("\udc00", "\0") for cell in row]


def read_parquet(path: Path, column: str, id_column: str | None) -> Iterator[Row]:
    """Yield a text for each row of a Parquet file."""
    from pyarrow import ArrowException, parquet

    row = 0
    with readable(str(path)), path.open("rb") as raw:
        try:
            # Buffered, without pre-buffering: otherwise the column of a whole row group, often the whole file, is read.
            file = parquet.ParquetFile(raw, buffer_size=2**20, pre_buffer=False)
            key = _id_column(file.schema_arrow.names, column, id_column, str(path))
            for batch in file.iter_batches(BATCH, columns=[column] if key in (None, column) else [key, column]):
                for at, text in enumerate(batch.column(column)):
                    name = row if key is None else batch.column(key)[at].as_py()
                    yield row_of(name, text.as_py(), f"{path}, row {row} (from 0)", REMEDY)
                    row += 1
        except (ArrowException, UnicodeDecodeError, OSError) as error:
            raise BadInput(f"{path}, row {row} (from 0): damaged Parquet ({error}). Write the file again.") from None


# Columns and cells.


def _refuse_columns(name: str, column: str, id_column: str | None) -> None:
    """Raise if a column is named: plain text has none, and the name would be silently ignored."""
    named = id_column if column == COLUMN else column
    if named is not None:
        raise BadInput(f"{name} is plain text and has no column {named!r}. Name none, or convert it to .jsonl or .csv.")


def _id_column(names: Sequence[str], column: str, id_column: str | None, name: str) -> str | None:
    """Return the column of ids, None for row numbers; raise if the text or id column is missing or repeated."""
    key = "id" if id_column is None and "id" in names else id_column
    for wanted in (column, key):
        if wanted is not None and _cell({each: names.count(each) for each in names}, wanted, name) > 1:
            raise BadInput(f"{name} has {names.count(wanted)} columns {wanted!r}. Rename all but one.")
    return key


def _cell(row: Mapping[str, Value], key: str, where: str) -> Value:
    if key in row:
        return row[key]
    shown = [some((name[:60] for name in row), 20) or "none"]
    # A column of another name was named by the caller, who needs no such advice.
    remedy = "Name the text column with `column` (--column), the id column with `id_column` (--id-column)."
    return choose(key, row, f"column of {where}:", shown=shown, remedy=remedy if key in (COLUMN, "id") else "")


# The one list of formats: the look-up and the error message derive from it.
READERS: dict[str, Reader] = {
    ".txt": read_lines,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": partial(read_csv, delimiter=","),
    ".tsv": partial(read_csv, delimiter="\t"),
}
READERS |= {f"{suffix}.gz": reader for suffix, reader in READERS.items()} | {".parquet": read_parquet}
