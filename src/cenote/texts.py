r"""Streams of `(id, text)` from files, folders and stdin.

>>> import io
>>> list(read("-", stdin=io.BytesIO(b"a pool\nthat a collapse made\n")))
[Text(id='0', text='a pool'), Text(id='1', text='that a collapse made')]

Nothing here holds a file: a text is read when it is asked for. A new format is one reader and one row of `READERS`.
"""

from __future__ import annotations

import csv
import difflib
import json
import os
import reprlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cenote.errors import BadInput, CenoteWarning, UnknownName, Value, choose, some
from cenote.lines import lines, readable, unzipped, whole_lines

COLUMN = "text"
WHOLE_FILES = (".txt", ".txt.gz", ".md")  # what counts as a text inside a folder
LONGEST_FIELD = 2**26  # of a CSV, in characters; a limit at all, so that a quote never closed cannot fill the memory
BATCH = 1024  # rows of a Parquet file held at once


class Text(NamedTuple):
    """One text and the name it goes by: `Text("7", "a pool")`."""

    id: str
    text: str


class Fault(NamedTuple):
    """A row that holds no text, and why: what it was, where, and what to do; and its id, where that is known."""

    why: str
    id: str | None = None


# A reader yields what makes each text, so that one row that holds none does not end the reading.
Reader = Callable[[Path, str, str | None], Iterator[Callable[[], Text]]]


def read(
    source: str | Path, *, column: str = COLUMN, id_column: str | None = None, stdin: BinaryIO | None = None
) -> Iterator[Text]:
    r"""Texts of a file, a folder, or stdin (`-`), one at a time.

    >>> import io
    >>> [text for _, text in read("-", stdin=io.BytesIO(b"one\r\n\ntwo"))]
    ['one', '', 'two']

    | source | a text is |
    |---|---|
    | `.txt` and stdin | a line; an empty line is an empty text |
    | `.jsonl`, `.ndjson` | a line: a JSON object that holds `column`, or a JSON string; blank lines are skipped |
    | `.csv`, `.tsv` | a row; the first line names the columns |
    | `.parquet` | a row |
    | a folder | a whole file, kept as it is: every `.txt`, `.txt.gz` and `.md` below it, in sorted order |

    All but Parquet may be gzipped, which their first bytes tell. Text is UTF-8, with or without a byte order mark.
    An id is what `id_column` holds; else the column `id`, if the first row has one; else the row's number from 0, and a
    later row that has an `id` is refused. In a folder it is the path below the folder. Ids are not checked for repeats,
    since that would hold them all.

    The first text is read at once, so that a wrong path, suffix or column is told by this call and not when a model has
    been loaded. (For stdin this waits for the first line.)

    Args:
        source: path of a file or folder, or `-`.
        column: where the text is, in formats that have columns.
        id_column: where the id is, in formats that have columns.
        stdin: read in place of the real one, for tests.

    Raises:
        BadInput: with the file, the line or row, what is wrong there, and what to do about it.
    """
    return _sound(read_rows(source, column=column, id_column=id_column, stdin=stdin))


def _sound(rows: Iterator[Text | Fault]) -> Iterator[Text]:
    first = next(rows)  # there is one: `started` saw to it
    if isinstance(first, Fault):
        raise BadInput(first.why)
    return chain((first,), map(_sound_one, rows))


def _sound_one(row: Text | Fault) -> Text:
    if isinstance(row, Fault):
        raise BadInput(row.why)
    return row


def read_rows(
    source: str | Path, *, column: str = COLUMN, id_column: str | None = None, stdin: BinaryIO | None = None
) -> Iterator[Text | Fault]:
    """As `read`, but a row that holds no text is a `Fault` among the texts.

    What is wrong with the file as a whole still raises, and so does a column that the first row does not have.
    """
    if str(source) == "-":
        return started(_made(_txt(Path("stdin"), column, id_column, stdin=stdin or sys.stdin.buffer)), "stdin")
    path = Path(source)
    _refuse_missing(path)
    reader = _folder if path.is_dir() else _reader_of(path)
    return started(_made(reader(path, column, id_column)), str(path))


def _made(rows: Iterator[Callable[[], Text]]) -> Iterator[Text | Fault]:
    for number, make in enumerate(rows):
        try:
            row: Text | Fault = make()
        except BadInput as error:
            # A column that is missing in a later row is a fault of the row, and no longer a name that was misspelt.
            if number == 0 and isinstance(error, UnknownName):
                raise
            row = Fault(str(error))
        yield row


# How a stream starts, and what is refused before it does.


def started(rows: Iterator[Value], name: str) -> Iterator[Value]:
    """The same rows, the first already read: that is where most mistakes show, and to hold none is one."""
    for first in rows:
        return chain((first,), rows)
    raise BadInput(f"there are no texts in {name}. Give a source with at least one.")


def _refuse_missing(path: Path) -> None:
    with readable(str(path)):
        if path.is_file() or path.is_dir():
            return
        if path.exists():
            raise BadInput(f"{path} is a pipe or a device: pipe lines of text into `-`, or write a file of it first.")
        folder = path.parent
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    there = f"{folder} holds: {some(names) or 'nothing'}" if folder.is_dir() else f"there is no folder {folder} either"
    raise BadInput(f"no such file or folder: {path}{hint} Check the path; {there}.")


def _reader_of(path: Path) -> Reader:
    endings = [ending.lower() for ending in path.suffixes]
    suffix = "".join(endings[-2:] if endings[-1:] == [".gz"] else endings[-1:])
    with _advice("Rename the file or convert it (gzip alone is unpacked), or pipe lines of text into `-`."):
        return choose(suffix, READERS, f"kind of file: {path} ends in")


def _refuse_columns(name: str, column: str, id_column: str | None) -> None:
    """Plain text has no columns; one asked for by name would be silently ignored."""
    asked = id_column if column == COLUMN else column
    if asked is not None:
        raise BadInput(f"{name} is plain text and has no column {asked!r}. Name none, or convert it to .jsonl or .csv.")


@contextmanager
def _advice(remedy: str) -> Iterator[None]:
    try:
        yield
    except UnknownName as error:
        raise UnknownName(f"{error} {remedy}") from None


# The readers.


def _txt(path: Path, column: str, id_column: str | None, stdin: BinaryIO | None = None) -> Iterator[Callable[[], Text]]:
    _refuse_columns(str(path), column, id_column)
    with unzipped(path, stdin) as stream:
        for number, line in lines(stream, str(path)):
            if isinstance(line, BadInput):
                yield partial(_refuse, line)
                continue
            if stdin is not None and number == 1 and line.startswith('{"'):
                warnings.warn(f"{path}: JSON is read as plain text: name a file ending in .jsonl", CenoteWarning, 2)
            text = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
            yield partial(Text, str(number - 1), text)


def _folder(path: Path, column: str, id_column: str | None) -> Iterator[Callable[[], Text]]:
    _refuse_columns(f"the folder {path}", column, id_column)
    with readable(str(path)):
        # Not rglob, which passes over folders it may not read and says nothing.
        errors: list[OSError] = []
        walked = list(os.walk(path, onerror=errors.append))
        below = (Path(folder, name) for folder, _, names in walked for name in names)
        files = [file for file in below if file.name.lower().endswith(WHOLE_FILES)]
        folders = (Path(folder, name) for folder, names, _ in walked for name in names)
        linked = [str(folder) for folder in folders if folder.is_symlink()]
        if errors:
            raise errors[0]
        names = sorted(entry.name for entry in path.iterdir())
    data = [name for name in names if name.lower().endswith(tuple(READERS.keys() - {*WHOLE_FILES}))]
    if data or not files:
        held = f"holds files of many texts: {some(data)}" if data else f"holds no {', '.join(WHOLE_FILES)} file"
        raise BadInput(
            f"the folder {path} {held}; in it are: {some(names) or 'nothing'}. Name one of them, or a folder with one "
            "text per file."
        )
    if linked:
        warnings.warn(f"links to folders are not followed, and were passed over: {some(linked)}", CenoteWarning, 2)
    for name, file in sorted((file.relative_to(path).as_posix(), file) for file in files):
        with unzipped(file) as stream:
            read = [line for _, line in lines(stream, str(file))]
        wrong = next((line for line in read if isinstance(line, BadInput)), None)
        yield partial(_text, name, "".join(map(str, read)), str(file)) if wrong is None else partial(_refuse, wrong)


def _jsonl(path: Path, column: str, id_column: str | None) -> Iterator[Callable[[], Text]]:
    key, known = id_column, id_column is not None
    with unzipped(path) as stream:
        filled = ((number, line) for number, line in lines(stream, str(path)) if not _is_blank(line))
        for row, (number, line) in enumerate(filled):
            if isinstance(line, BadInput):
                yield partial(_refuse, line)
                continue
            if not known and (there := _has_id(line)) is not None:
                key, known = "id" if there else None, True
            yield partial(_of_line, line, row, column, key, f"{path}, line {number}")


def _is_blank(line: str | BadInput) -> bool:
    return isinstance(line, str) and not line.strip(" \t\r\n")


def _has_id(line: str) -> bool | None:
    """Whether a row has an id of its own; None where it is no row at all, which is told as its own fault."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return isinstance(record, dict) and "id" in record


def _of_line(line: str, row: int, column: str, key: str | None, where: str) -> Text:
    record = _record(line.rstrip("\r\n"), column, where)
    if key is None and column != "id" and "id" in record:
        raise BadInput(
            f"{where}: the row has an id, and the first row has none. Give every row one, or none of them; or name "
            "another column of ids."
        )
    return _text(row if key is None else _cell(record, key, where), _cell(record, column, where), where)


def _record(line: str, column: str, where: str) -> dict[str, object]:
    """The object on a line of JSON; a bare string is its own text."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: a number of 5,000 digits raises no JSONDecodeError
        why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise BadInput(f"{where}: not JSON ({why}). Write one whole object per line.") from None
    if isinstance(record, str):
        return {column: record}
    if not isinstance(record, dict):
        raise BadInput(f"{where}: the row is {_kind(record)}. Make it an object that holds {column!r}, or a string.")
    return record


def _table(path: Path, column: str, id_column: str | None, *, delimiter: str) -> Iterator[Callable[[], Text]]:
    with unzipped(path) as stream:
        rows = _rows(whole_lines(stream, str(path)), delimiter, str(path))
        _, header = next(rows, ("", None))
        if header is None:
            return
        key = _key(header, column, id_column, str(path))
        at, key_at = header.index(column), None if key is None else header.index(key)
        for number, (where, row) in enumerate(rows):
            if len(row) == len(header):
                yield partial(_text, number if key_at is None else row[key_at], row[at], where)
                continue
            fields = f"{where}: {len(row)} fields, but the first line has {len(header)}."
            mend = f"Put fields that hold {delimiter!r} or a line end in double quotes."
            yield partial(_refuse, BadInput(f"{fields} {mend}"))


def _refuse(error: BadInput) -> Text:
    raise error


_csv_limit = threading.Lock()


def _rows(lines: Iterable[tuple[int, str]], delimiter: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """Rows of a CSV, each with the place where it starts. Blank lines are no rows, as everywhere in CSV."""
    # Python 3.10's csv refuses NUL. No lone surrogate comes out of UTF-8, so one can stand in for it.
    masked = (line.replace("\0", "\udc00") for _, line in lines)
    # Strict, since else a stray quote joins fields and rows, and nobody is told.
    reader = csv.reader(masked, delimiter=delimiter, strict=True)
    row: list[str] | None = []
    while row is not None:
        where = f"{name}, line {reader.line_num + 1}"
        with _csv_limit:  # the limit is the whole process's: raised for one row, and put back
            before = csv.field_size_limit(LONGEST_FIELD)
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise BadInput(
                    f"{where}: not CSV ({error}). Check the double quotes: each that opens a field must close it, "
                    "and those inside it are written twice."
                ) from None
            finally:
                csv.field_size_limit(before)
        if row:
            yield where, [cell.replace("\udc00", "\0") for cell in row]


def _parquet(path: Path, column: str, id_column: str | None) -> Iterator[Callable[[], Text]]:
    from pyarrow import ArrowException, parquet

    row = 0
    with readable(str(path)), path.open("rb") as raw:
        try:
            # Buffered, and not in advance: else a row group's column is read whole, and many a file is one row group.
            file = parquet.ParquetFile(raw, buffer_size=2**20, pre_buffer=False)
            key = _key(file.schema_arrow.names, column, id_column, str(path))
            for batch in file.iter_batches(BATCH, columns=[column] if key in (None, column) else [key, column]):
                for at, text in enumerate(batch.column(column)):
                    name = row if key is None else batch.column(key)[at].as_py()
                    yield partial(_text, name, text.as_py(), f"{path}, row {row} (from 0)")
                    row += 1
        except (ArrowException, UnicodeDecodeError, OSError) as error:
            raise BadInput(f"{path}, row {row} (from 0): not sound Parquet ({error}). Write the file again.") from None


# From cells to texts.


def _key(names: Sequence[str], column: str, id_column: str | None, name: str) -> str | None:
    """The column of ids, or None for row numbers; both columns are known to be there, and once."""
    key = "id" if id_column is None and "id" in names else id_column
    for wanted in (column, key):
        if wanted is not None and _cell({each: names.count(each) for each in names}, wanted, name) > 1:
            raise BadInput(f"{name} has {names.count(wanted)} columns {wanted!r}. Rename all but one.")
    return key


def _cell(row: Mapping[str, Value], key: str, where: str) -> Value:
    if key in row:
        return row[key]
    with _advice("Name the text's with `column` (--column), the id's with `id_column` (--id-column)."):
        return choose(key, row, f"column of {where}:", shown=[some((name[:60] for name in row), 20) or "none"])


def _text(name: object, text: object, where: str) -> Text:
    mend = "Mend or drop the row, or name another column."
    if not isinstance(text, str):
        raise BadInput(f"{where}: the text is {_kind(text)}, not a string. {mend}")
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise BadInput(f"{where}: the id is {_kind(name)}, not a string or an integer. {mend}")
    try:
        (whole := f"{name}{text}").encode()
    except UnicodeEncodeError as error:
        half = f"half a surrogate pair ({whole[error.start]!a})"
        raise BadInput(f"{where}: {half}, which UTF-8 cannot hold. {mend}") from None
    return Text(str(name), text)


def refuse_half_characters(text: str, name: str) -> None:
    """Refuse a string that no file can hold and no tokenizer reads; `name` is what the message calls it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{name} holds half a character, a lone surrogate: {error}.") from error


def _kind(value: object) -> str:
    return "null" if value is None else f"{type(value).__name__} {reprlib.repr(value)}"


# The one list of formats: the look-up and the error text derive from it.
READERS: dict[str, Reader] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": partial(_table, delimiter=","),
    ".tsv": partial(_table, delimiter="\t"),
}
READERS |= {f"{suffix}.gz": reader for suffix, reader in READERS.items()} | {".parquet": _parquet}
