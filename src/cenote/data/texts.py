r"""Streams of `(id, text)` from files, folders and stdin.

>>> import io
>>> list(read("-", stdin=io.BytesIO(b"a pool\nthat a collapse made\n")))
[Text(id='0', text='a pool'), Text(id='1', text='that a collapse made')]

Texts are read one by one, as they are consumed. The formats are in `cenote.data.formats`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cenote.data.formats import COLUMN, READERS, Reader, read_folder, read_lines
from cenote.data.lines import readable
from cenote.data.rows import Fault, Row, Text, raise_faults, refuse_empty
from cenote.errors import BadInput, choose, some

__all__ = ["READERS", "Fault", "Row", "Text", "read", "read_rows"]


def read(
    source: str | Path, *, column: str = COLUMN, id_column: str | None = None, stdin: BinaryIO | None = None
) -> Iterator[Text]:
    r"""Return an iterator over the texts of a file, a folder, or stdin (`-`).

    >>> import io
    >>> [text for _, text in read("-", stdin=io.BytesIO(b"one\r\n\ntwo"))]
    ['one', '', 'two']

    | source | a text is |
    |---|---|
    | `.txt` and stdin | a line; an empty line is an empty text |
    | `.jsonl`, `.ndjson` | a line: a JSON object that holds `column`, or a JSON string; blank lines are skipped |
    | `.csv`, `.tsv` | a row; the first line names the columns |
    | `.parquet` | a row |
    | a folder | a whole file, unchanged: every `.txt`, `.txt.gz` and `.md` below it, in sorted order |

    All formats but Parquet may be gzipped; this is detected from the first bytes. Text is UTF-8, with or without a byte
    order mark. The id comes from `id_column`; by default from the column `id` if the first row has one, else it is the
    row number from 0, and a later row with an `id` is an error. In a folder it is the path below the folder. Repeated
    ids are not detected, since that would keep all ids in memory.

    The first text is read by this call, so a wrong path, suffix or column raises here and not when a model has been
    loaded. (On stdin this waits for the first line.)

    Args:
        source: path of a file or folder, or `-`.
        column: column of the text, in formats with columns.
        id_column: column of the id, in formats with columns.
        stdin: stream to read in place of standard input, for tests.

    Raises:
        BadInput: with the file, the line or row, the problem, and the remedy.
    """
    return refuse_empty(raise_faults(read_rows(source, column=column, id_column=id_column, stdin=stdin)), str(source))


def read_rows(
    source: str | Path, *, column: str = COLUMN, id_column: str | None = None, stdin: BinaryIO | None = None
) -> Iterator[Row]:
    """Like `read`, but yield a `Fault` for a row without a usable text.

    Damage to the file as a whole still raises, and so does a column that the first row does not have.
    """
    if str(source) == "-":
        return refuse_empty(read_lines(Path("stdin"), column, id_column, stdin=stdin or sys.stdin.buffer), "stdin")
    path = Path(source)
    refuse_missing(path)
    reader: Reader = read_folder
    if not path.is_dir():
        endings = [ending.lower() for ending in path.suffixes]
        suffix = "".join(endings[-2:] if endings[-1:] == [".gz"] else endings[-1:])
        remedy = "Rename the file or convert it (gzip alone is unpacked), or pipe lines of text into `-`."
        reader = choose(suffix, READERS, f"kind of file: {path} ends in", remedy=remedy)
    return refuse_empty(reader(path, column, id_column), str(path))


def refuse_missing(path: Path) -> None:
    with readable(str(path)):
        if path.is_file() or path.is_dir():
            return
        if path.exists():
            raise BadInput(
                f"{path} is a pipe or a device. Pipe lines of text into `-`, or write them into a file first."
            )
        folder = path.parent
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        called = "this folder" if folder == Path() else f"the folder {folder}"
        holds = f"{called} holds: {some(names) or 'nothing'}" if folder.is_dir() else f"{called} is missing too"
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise BadInput(f"no such file or folder: {path}{hint} Check the path; {holds}.")
