r"""Streams of `(id, text)` from files, folders, standard input and Python objects.

>>> import io
>>> list(read("-", stdin=io.BytesIO(b"a pool\nthat a collapse made\n")))
[Text(id='0', text='a pool'), Text(id='1', text='that a collapse made')]

Texts are read one by one, as they are consumed. The formats of files are in `cenote.data.formats`, tables in
`cenote.data.tables`, and what several files are in `cenote.data.shards`.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, MappingView, Sequence, Set, Sized
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from cenote.data.columns import ALL, PLAIN, Wanted
from cenote.data.formats import READERS, is_json_object, records_of_json_lines, texts_of_lines
from cenote.data.lines import lines, unzipped
from cenote.data.rows import Fault, Kept, Row, Text, raise_faults, refuse_empty
from cenote.data.shards import NoFile, open_files
from cenote.data.sheets import Sheet, SheetReader, plain_sheet, read_sheets, sheet_of_records
from cenote.data.tables import sheet_of_table
from cenote.errors import BadInput, CenoteWarning, some

__all__ = [
    "READERS",
    "Fault",
    "Kept",
    "Row",
    "Text",
    "TextSource",
    "Texts",
    "Wanted",
    "name_of",
    "open_texts",
    "read",
    "read_rows",
]


# Bytes of a name of a file, on any system.
_LONGEST_NAME = 255
# Lines at the beginning of standard input that may be blank before one that says whether it is JSON.
_MOST_BLANK = 1000
# An array of objects or of strings, of which a line may hold the beginning; the beginning of an object.
_STARTS_JSON = re.compile(r'\{$|\[\s*(?:$|\{\s*(?:$|")|"(?:[^"\\]|\\.)*"\s*(?:$|[,\]]))')
# Texts that a verb of Python takes: a path, a list or an iterator, a table. See `open_texts`.
Texts = str | Path | Iterable[Any]


def read(
    source: Any,
    *,
    columns: str | Sequence[str] | None = None,
    id_column: str | None = None,
    keep: str | Sequence[str] = (),
    stdin: BinaryIO | None = None,
) -> Iterator[Text]:
    r"""Return an iterator over the texts of files, of a folder, of standard input (`-`), or of a Python object.

    >>> import io
    >>> [text for _, text in read("-", stdin=io.BytesIO(b"one\r\n\ntwo"))]
    ['one', '', 'two']
    >>> list(read([{"id": "a", "title": "Cenote", "text": "A pool."}], columns=("title", "text")))
    [Text(id='a', text='Cenote A pool.')]

    | source | a text is |
    |---|---|
    | `.txt` | a line; an empty line is an empty text |
    | `.md` | the whole file |
    | `.jsonl`, `.ndjson` | a line: a JSON object with columns, or a JSON string; blank lines are skipped |
    | `.json` | an element of an array of objects or strings; JSON lines are recognised |
    | `.csv`, `.tsv` | a row; the first line names the columns |
    | `.parquet`, `.arrow`, `.feather` | a row |
    | `-`, standard input | a line; if the first one that is not blank is a JSON object, lines are JSON |
    | a pattern, `shards/*.jsonl`, or a list of paths or patterns | those of the files, read one after another |
    | a folder of shards | those of its data files, in sorted order; they have the same columns |
    | a folder that `Dataset.save_to_disk` wrote | a row |
    | any other folder | a whole file, unchanged: every `.txt` and `.md` below it, in sorted order |
    | a pandas, polars or Arrow table, a dataset of Hugging Face | a row |
    | a list or an iterator of Python | a mapping with columns, (id, text), or a string |

    Text files may be zipped by gzip or zstd, which is detected from the first bytes. Text is UTF-8, with or without a
    byte order mark. The id comes from `id_column`; by default from the column `id` if the first row has one, else it
    is the row number from 0, counted through all files, and a later row with an `id` is an error. In a folder of texts
    it is the path below the folder, and of a single `.md` file its path. The index of a pandas frame is no id, unless
    `id_column` names it. Repeated ids are not detected, since that would keep all ids in memory.

    The first text is read by this call, so a wrong path, suffix or column raises here and not when a model has been
    loaded. (On standard input this waits for a line that is not blank.) All files are opened by it, and a file that
    lacks a column raises before a row is read.

    Args:
        source: one of the sources of the table. A list of strings is a list of paths.
        columns: the column of the text, or several, which are joined by a space in this order, without parts that are
            null or empty; None: `text`.
        id_column: column of the id.
        keep: columns whose values are kept beside each text, which is a `Kept` then; `all`: every column but the id.
        stdin: stream to read in place of standard input, for tests.

    Raises:
        BadInput: with the file, the line or row, the problem, and the remedy.
    """
    rows = read_rows(source, columns=columns, id_column=id_column, keep=keep, stdin=stdin)
    return refuse_empty(raise_faults(rows), "the source")  # which is not empty: this raises a fault of the first row


def read_rows(
    source: Any,
    *,
    columns: str | Sequence[str] | None = None,
    id_column: str | None = None,
    keep: str | Sequence[str] = (),
    stdin: BinaryIO | None = None,
) -> Iterator[Row]:
    """Like `read`, but yield a `Fault` for a row without a usable text.

    Damage to a file as a whole still raises, and so does a column that the first usable row does not have.
    """
    wanted = Wanted.of(columns, id_column, keep)
    is_path = isinstance(source, (str, Path)) or _is_list_of((str, Path), source)
    opened = _open(source, wanted, stdin) if is_path else open_texts(source, wanted)
    return refuse_empty(opened.read(), opened.name)


@dataclass(frozen=True, eq=False)
class TextSource:
    """Texts of any kind, opened: errors of files as a whole, and of names of columns, have been raised."""

    name: str
    reader: SheetReader
    rereadable: bool  # whether they can be read more than once
    count: int | None = None  # of the rows, if that is known without reading them

    def read(self) -> Iterator[Row]:
        """Start reading."""
        return self.reader.rows()


def open_texts(texts: Any, wanted: Wanted = PLAIN) -> TextSource:
    """Open the texts that a verb of Python takes: a path, or a Python object. Here a list of strings is one of texts.

    >>> opened = open_texts(["a pool", ("b", "a cave")])
    >>> list(opened.read()), opened.rereadable, opened.count
    ([Text(id='0', text='a pool'), Text(id='b', text='a cave')], True, 2)

    Args:
        texts: a source that `read` takes; a list of paths holds `pathlib.Path` objects. Or a function that starts
            reading anew.
        wanted: the columns to read.
    """
    if isinstance(texts, str):
        return _open_path_or_text(texts, wanted)
    if isinstance(texts, Path) or _is_list_of(Path, texts):
        return _open(texts, wanted)
    name = f"the {type(texts).__name__}"
    if (sheet := sheet_of_table(texts, name, wanted.id_column)) is None:
        sheet = _sheet_of_python(texts, name, wanted)
    count = len(texts) if isinstance(texts, Sized) and not sheet.once else None
    return TextSource(name, read_sheets([sheet], wanted), not sheet.once, count)


def _open_path_or_text(text: str, wanted: Wanted) -> TextSource:
    """Open a path; if no file has it, the error says how a text is passed."""
    remedy = "A single text is passed in a list: [text]."
    if any(len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for name in text.split("/")):
        raise BadInput(f"no file has so long a name: {text[:60]!r}... {remedy}")
    try:
        return _open(text, wanted)
    except NoFile as error:
        raise NoFile(f"{error} {remedy}") from None


def name_of(source: Any) -> str:
    """Return what records call the texts that a verb takes: the path or the paths, else `texts`.

    >>> name_of("a.jsonl"), name_of([Path("a.jsonl"), Path("b.jsonl")]), name_of(["a pool", "a cave"])
    ('a.jsonl', 'a.jsonl, b.jsonl', 'texts')
    """
    if isinstance(source, (str, Path)):
        return "standard input" if str(source) == "-" else str(source)
    return some(source) if _is_list_of(Path, source) else "texts"


def _is_list_of(kind: Any, source: Any) -> bool:
    """Return whether a source is a list whose first item is of a type."""
    return isinstance(source, (list, tuple)) and bool(source) and isinstance(source[0], kind)


def _open(source: str | Path | Sequence[str | Path], wanted: Wanted, stdin: BinaryIO | None = None) -> TextSource:
    """Open a path or a list of paths."""
    if source in ("-", Path("-")):
        return TextSource("stdin", read_sheets([_sheet_of_stdin(stdin or sys.stdin.buffer)], wanted), False)
    name = str(source) if isinstance(source, (str, Path)) else some(source)
    return TextSource(name, read_sheets(open_files(source), wanted), True)


def _sheet_of_stdin(stdin: BinaryIO) -> Sheet:
    """Return the lines of standard input; JSON lines if the first one that is not blank is an object."""
    numbered = _numbered_lines(stdin)
    looked, first = [], ""
    for line in islice(numbered, _MOST_BLANK):
        looked.append(line)
        if first := line[1].strip(" \t\r\n") if isinstance(line[1], str) else line[1].why:
            break
    every = chain(looked, numbered)
    if _STARTS_JSON.match(first):
        raise BadInput(
            f"standard input starts as a JSON array or as an object over several lines: {first[:60]!r}. Pipe an object "
            "per line (jq -c '.[]' writes an array so), or write a .json file. To read it as plain text, write it into "
            "a .txt file."
        )
    if is_json_object(first):
        warnings.warn(
            "standard input: lines are read as JSON, since the first one is a JSON object. To read them as plain text, "
            "write them into a .txt file.",
            CenoteWarning,
            stacklevel=2,
        )
        return sheet_of_records("stdin", lambda: records_of_json_lines(every, "stdin"), once=True)
    return plain_sheet("stdin", lambda: texts_of_lines(every, "stdin"), once=True)


def _numbered_lines(stdin: BinaryIO) -> Iterator[tuple[int, str | Fault]]:
    with unzipped(Path("stdin"), stdin) as stream:
        yield from lines(stream, "stdin")


def _sheet_of_python(texts: Any, name: str, wanted: Wanted) -> Sheet:
    """Return the sheet of an iterable, or of a function that returns one; raise for any other object."""
    if callable(texts):
        # It may read a file: it is not started only to look at the first record, unless that names what is kept.
        if wanted.keep == ALL:
            return sheet_of_records(name, lambda: _placed(texts()))
        return Sheet(name, name, None, lambda _: _placed(texts()))
    if hasattr(texts, "keys"):  # iterating over a mapping gives its keys
        of_tables = any(hasattr(value, "column_names") for value in texts.values())
        one = f"texts[{next(iter(texts))!r}]" if of_tables else ""
        remedy = f"one of its splits: {one}" if one else "a list of its texts, or of (id, text): list(texts.items())"
        raise BadInput(f"texts is a {type(texts).__name__}: pass {remedy}.")
    if hasattr(texts, "collect"):
        raise BadInput(f"texts is a {type(texts).__name__}, which is not computed yet: pass texts.collect().")
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise BadInput(f"texts is {texts!r}: pass strings, (id, text), mappings, a table, or the path of a file.")
    if isinstance(texts, (list, tuple)) and texts and _names_file(texts[0]):
        warnings.warn(
            f"the first text, {texts[0]!r}, is the name of a file, which is not read: for files pass pathlib.Path "
            "objects.",
            CenoteWarning,
            stacklevel=2,
        )
    return sheet_of_records(name, lambda: _placed(texts), once=not _is_collection(texts))


def _is_collection(texts: Any) -> bool:
    """Return whether an iterable has the same items each time. A length does not show it: tqdm on a stream has one."""
    return isinstance(texts, (Set, MappingView)) or (isinstance(texts, Sized) and hasattr(texts, "__getitem__"))


def _placed(records: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"row {number}", record) for number, record in enumerate(records))


def _names_file(text: Any) -> bool:
    return isinstance(text, str) and text.lower().endswith(tuple(READERS)) and os.path.isfile(text)  # noqa: PTH113
