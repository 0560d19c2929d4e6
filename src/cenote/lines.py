"""From bytes to lines: the one place that opens, unzips and decodes."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from cenote.errors import BadInput


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what goes wrong while reading into an error that names what was read."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{name}: the gzip data is cut short or damaged ({error}). Fetch or zip it again.") from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error}). Check the path and its permissions.") from None


@contextmanager
def unzipped(path: Path, stdin: BinaryIO | None = None) -> Iterator[io.BufferedIOBase]:
    """The bytes of a file or of `stdin`, unzipped. The first of them tell, since names lie and stdin has none."""
    with readable(str(path)), nullcontext(stdin) if stdin else path.open("rb") as raw:
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
        start = buffered.peek(2)[:2]  # of a pipe perhaps a single byte; no text starts with \x1f, so that one is enough
        zipped = start and b"\x1f\x8b".startswith(start)
        yield io.BufferedReader(gzip.GzipFile(fileobj=buffered)) if zipped else buffered


def lines(stream: io.BufferedIOBase, name: str) -> Iterator[tuple[int, str | BadInput]]:
    r"""Lines with their numbers from 1 and their ends; of one that is not UTF-8 what is wrong with it.

    Split as bytes, since only "\n" ends a line: str.splitlines would also split at U+2028, U+0085, form feeds and more.

    >>> list(lines(io.BytesIO(b"a pool\ncaf\xe9"), "x"))[0]
    (1, 'a pool\n')
    """
    offset = 0
    for number, raw in enumerate(stream, 1):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        try:
            text: str | BadInput = line.decode()
        except UnicodeDecodeError as error:
            at = f"byte {offset + len(raw) - len(line) + error.start}, 0x{line[error.start]:02x}"
            text = BadInput(
                f"{name}, line {number}: not UTF-8 ({at}). Mend or drop the line; or if the whole file is in another "
                "encoding, convert it: iconv -f latin1 -t utf-8."
            )
        offset += len(raw)
        if text:  # a file of nothing but a byte order mark has no line
            yield number, text


def whole_lines(stream: io.BufferedIOBase, name: str) -> Iterator[tuple[int, str]]:
    """The same, where a line that is not UTF-8 leaves those around it without a meaning: it is raised."""
    for number, line in lines(stream, name):
        if isinstance(line, BadInput):
            raise line
        yield number, line
