"""Bytes to lines: open, unzip, decode."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from cenote.data.rows import Fault
from cenote.errors import BadInput


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn errors of reading into `BadInput` with the name of the source."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{name}: the gzip data is cut short or damaged ({error}). Download or zip it again.") from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error}). Check the path and its permissions.") from None


@contextmanager
def unzipped(path: Path, stdin: BinaryIO | None = None) -> Iterator[io.BufferedIOBase]:
    """Open a file or `stdin` as bytes, unzipped if its first bytes are those of gzip; the suffix does not count."""
    with readable(str(path)), nullcontext(stdin) if stdin else path.open("rb") as raw:
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
        start = buffered.peek(2)[:2]  # a pipe may give a single byte, which is enough: no text starts with \x1f
        zipped = start and b"\x1f\x8b".startswith(start)
        yield io.BufferedReader(gzip.GzipFile(fileobj=buffered)) if zipped else buffered


def lines(stream: io.BufferedIOBase, name: str) -> Iterator[tuple[int, str | Fault]]:
    r"""Yield lines with their ends and their numbers from 1; in place of a line that is not UTF-8, a `Fault`.

    Bytes are split, since only "\n" ends a line: str.splitlines also splits at U+2028, U+0085, form feeds and more.

    >>> list(lines(io.BytesIO(b"a pool\ncaf\xe9"), "x"))[0]
    (1, 'a pool\n')
    """
    offset = 0
    for number, raw in enumerate(stream, 1):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        try:
            text: str | Fault = line.decode()
        except UnicodeDecodeError as error:
            at = f"byte {offset + len(raw) - len(line) + error.start}, 0x{line[error.start]:02x}"
            text = Fault(
                f"{name}, line {number}: not UTF-8 ({at}). Correct or drop the line; if the whole file is in another "
                "encoding, convert it: iconv -f latin1 -t utf-8."
            )
        offset += len(raw)
        if text:  # a file that is only a byte order mark has no line
            yield number, text
