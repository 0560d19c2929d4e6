"""Formats of files. A new format is a function here or in `cenote.data.tables`, and a row of `READERS`.

A reader takes a path, looks for the names of the columns, and returns a `Sheet`, whose records are read later. One bad
row is a `Fault` in its place and does not end the reading; `BadInput` is raised if the rest of the file cannot be read.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from cenote.data.lines import LONGEST, ZIPPED, lines, unzipped
from cenote.data.rows import Fault, WrongRecord, raise_faults
from cenote.data.sheets import Placed, Sheet, plain_sheet, sheet_of_records
from cenote.data.tables import read_arrow, read_parquet
from cenote.errors import BadInput

Reader = Callable[[Path], Sheet]
# Lines with their ends and their numbers from 1; a fault in place of a line that is not UTF-8.
Numbered = Iterable[tuple[int, str | Fault]]


def _lines_of(path: Path, most: int = LONGEST) -> Iterator[tuple[int, str | Fault]]:
    with unzipped(path) as stream:
        yield from lines(stream, str(path), most)


# Plain text.


def read_lines(path: Path) -> Sheet:
    """Return a sheet with a text for each line."""
    return plain_sheet(str(path), lambda: texts_of_lines(_lines_of(path), str(path)))


def texts_of_lines(numbered: Numbered, name: str) -> Iterator[Placed]:
    """Yield the lines without their ends."""
    for number, line in numbered:
        if isinstance(line, str) and line.endswith("\n"):
            line = line.removesuffix("\n").removesuffix("\r")
        yield f"{name}, line {number}", line


def read_whole(path: Path, name: str = "") -> Sheet:
    """Return a sheet with the file as one text, whose id is `name` or the path."""

    def records() -> Iterator[Placed]:
        read, left = list[str](), LONGEST
        for _, line in _lines_of(path):
            fault = line if isinstance(line, Fault) else None
            if fault is None and (left := left - len(line)) < 0:
                fault = Fault(f"{path}: longer than {LONGEST:,} characters. Cut the text into several files.")
            if fault is not None:
                yield str(path), fault
                return
            read.append(str(line))
        yield str(path), (name or path.as_posix(), "".join(read))

    return plain_sheet(str(path), records)


# JSON.


def read_jsonl(path: Path) -> Sheet:
    """Return a sheet with a record for each line: an object with the columns, or a bare string."""
    return sheet_of_records(str(path), lambda: records_of_json_lines(_lines_of(path), str(path)))


def records_of_json_lines(numbered: Numbered, name: str) -> Iterator[Placed]:
    """Yield the record of each line that is not blank."""
    for number, line in numbered:
        where = f"{name}, line {number}"
        if isinstance(line, Fault):
            yield where, line
        elif line.strip(" \t\r\n"):
            yield where, _record_of_line(line.rstrip("\r\n"), where)


def is_json_object(line: str) -> bool:
    """Return whether a line is a JSON object.

    >>> is_json_object('{"text": "a pool"}'), is_json_object("{a pool}"), is_json_object("5")
    (True, False, False)
    """
    return isinstance(_record_of_line(line.rstrip("\r\n"), ""), dict)


def _record_of_line(line: str, where: str) -> Any:
    try:
        return _checked_record(json.loads(line), where)
    except (ValueError, RecursionError) as error:  # ValueError: a number of 5,000 digits raises no JSONDecodeError
        why = f"{error.msg}: column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return Fault(f"{where}: not JSON ({why}). Write one object per line.")


def _checked_record(record: Any, where: str) -> Any:
    """Return an object or a string; a fault in place of anything else."""
    return record if isinstance(record, (str, dict)) else WrongRecord.of(record, where)


def read_json(path: Path) -> Sheet:
    """Return a sheet of an array of objects or strings; of JSON lines if the file starts with no bracket."""
    with unzipped(path) as stream:
        start = stream.read(2**12).removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        return sheet_of_records(str(path), lambda: _records_of_array(path))
    _, first = next(records_of_json_lines(_lines_of(path), str(path)), ("", ""))
    if isinstance(first, Fault):
        raise BadInput(
            f"{path} holds neither a JSON array nor JSON lines. Write an array of objects, [{{...}}, ...], or an "
            "object per line."
        )
    return read_jsonl(path)


def _records_of_array(path: Path) -> Iterator[Placed]:
    """Yield the elements of an array, parsed one by one."""
    window, row = _Window(_pieces_of(path)), 0
    window.take("[")
    ended = window.take("]")
    while not ended:
        where = f"{path}, row {row} (from 0)"
        yield where, _checked_record(window.element(where), where)
        row += 1
        if not window.take(","):
            ended = window.take("]")
            if not ended:
                raise BadInput(f"{where}: not JSON (no comma or bracket follows). Write the file again.")
    if window.skip_space():
        raise BadInput(f"{path}: more follows after the array. Write one array, or JSON lines into a .jsonl file.")


# Characters of a file that are decoded at once.
_PIECE = 2**16


def _pieces_of(path: Path) -> Iterator[str]:
    """Yield the characters of a file, at least one at a time."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with unzipped(path) as stream:
        try:
            while piece := stream.read(_PIECE):
                if characters := decoder.decode(piece):
                    yield characters
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            deque(raise_faults(line for _, line in _lines_of(path)), maxlen=0)  # raises with the line and the byte


class _Window:
    """The characters of a file that are in memory: an element of an array, and what was read with it."""

    _space = re.compile(r"[ \t\r\n]*")
    _decode = staticmethod(json.JSONDecoder().raw_decode)

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces, self._text, self._at, self._line = pieces, "", 0, 1

    def skip_space(self) -> bool:
        """Go to the next character that is no space; return whether there is one."""
        while True:
            found = self._space.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return True
            if not self._grow():
                return False

    def take(self, character: str) -> bool:
        """Go past a character and the space before it, if it comes next; return whether it does."""
        came = self.skip_space() and self._text[self._at] == character
        self._at += came
        return came

    def element(self, where: str) -> Any:
        """Go past a value of JSON and the space before it, and return it."""
        self.skip_space()
        while True:
            if len(self._text) - self._at > LONGEST:
                raise BadInput(f"{where}: longer than {LONGEST:,} characters. Cut the text into several.")
            try:
                value, end = self._decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, ValueError) and self._grow():  # it may end in the next piece
                    continue
                line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
                why = f"{getattr(error, 'msg', error)}: line {self._line + line - 1}"
                raise BadInput(f"{where}: not JSON ({why}). Write the file again.") from None
            if end + len("e+") < len(self._text) or not self._grow():  # a number may go on in the next piece
                self._at = end
                return value

    def _grow(self) -> bool:
        """Read as much again as is left of the window, so that a long element is not parsed often."""
        left = self._text[self._at :]
        more = "".join(islice(self._pieces, 1 + len(left) // _PIECE))
        if more:
            self._line += self._text.count("\n", 0, self._at)
            self._text, self._at = left + more, 0
        return bool(more)


# CSV.


def read_csv(path: Path, *, delimiter: str) -> Sheet:
    """Return a sheet with a record for each row of a table; the first line names the columns."""
    for _, header in _csv_rows_of(path, delimiter):
        return Sheet(str(path), str(path), _names_in(header), partial(_records_of_csv, path, delimiter))
    return Sheet(str(path), str(path), None, lambda _: ())


def _records_of_csv(path: Path, delimiter: str, names: Sequence[str]) -> Iterator[Placed]:
    rows = _csv_rows_of(path, delimiter)
    header = _names_in(next(rows)[1])
    places = [(name, header.index(name)) for name in names if name in header]
    for where, row in rows:
        if len(row) == len(header):
            yield where, {name: row[place] for name, place in places}
        else:
            fault = Fault(
                f"{where}: {len(row)} fields, but the first line, which names the columns, has {len(header)}. Put "
                f"fields that hold {delimiter!r} or a line end in double quotes."
            )
            yield where, fault


def _names_in(header: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns, without the blanks that some write after each comma."""
    return tuple(name.strip() for name in header)


def _csv_rows_of(path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    # Quoted fields hold line ends: a line that is not UTF-8 leaves the later ones without a meaning.
    return _csv_rows(raise_faults(line for _, line in _lines_of(path)), delimiter, str(path))


_csv_limit = threading.Lock()


def _csv_rows(lines: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a CSV, each with the place where it starts. Blank lines are skipped, as everywhere in CSV."""
    # Python 3.10's csv refuses NUL. UTF-8 never decodes to a lone surrogate, so one can stand in for it.
    masked = (line.replace("\0", "\udc00") for line in lines)
    # Strict, since otherwise a stray quote silently joins fields and rows.
    reader = csv.reader(masked, delimiter=delimiter, strict=True)
    row: list[str] | None = []
    while row is not None:
        where = f"{name}, line {reader.line_num + 1}"
        with _csv_limit:  # the limit is global to the process: raised for one row, then restored
            before = csv.field_size_limit(LONGEST)
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


# The one list of formats: the look-up and the error message derive from it.
_TEXTS: dict[str, Reader] = {".txt": read_lines, ".md": read_whole}
_RECORDS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": partial(read_csv, delimiter=","),
    ".tsv": partial(read_csv, delimiter="\t"),
}
_ARROW: dict[str, Reader] = {".parquet": read_parquet, ".arrow": read_arrow, ".feather": read_arrow}


def _or_zipped(readers: dict[str, Reader]) -> dict[str, Reader]:
    return {f"{suffix}{zipped}": reader for zipped in ("", *ZIPPED) for suffix, reader in readers.items()}


# Files that are one text each inside a folder.
WHOLE_FILES = tuple(_or_zipped(_TEXTS))
READERS: dict[str, Reader] = _or_zipped(_TEXTS | _RECORDS) | _ARROW
