"""Bytes to lines: open, unzip, decode."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from cenote.data.rows import Fault
from cenote.errors import BadInput

# Bytes of a line, and characters of a CSV field: a limit, since a file of a few MB can unpack to a line of many GB.
LONGEST = 2**26
# Suffixes of zipped files.
ZIPPED = (".gz", ".zst")
_GZIP = b"\x1f\x8b"
# A frame of zstd; and frames to skip, with which seekable files and those of pzstd begin.
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60)))


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn errors of reading into `BadInput` with the name of the source."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, _BadZstd) as error:
        kind = "zstd" if isinstance(error, _BadZstd) else "gzip"
        raise BadInput(
            f"{name}: the {kind} data is cut short or damaged ({error}). Download or zip it again."
        ) from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error}). Check the path and its permissions.") from None


def is_endless(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device: opening one may wait for ever, reading it may not end."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_endless(path: Path) -> None:
    """Raise if a path is a pipe, a socket or a device."""
    if is_endless(path):
        raise BadInput(
            f"{path} is a pipe, a socket or a device. Pipe lines of text into `-`, or write them into a file first."
        )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file as bytes; raise `BadInput` with its name for what cannot be read to an end."""
    with readable(str(path)):
        refuse_endless(path)
        with path.open("rb") as raw:
            yield raw


@contextmanager
def unzipped(path: Path, stdin: BinaryIO | None = None) -> Iterator[io.BufferedIOBase]:
    """Open a file or `stdin` as bytes, unzipped if its first bytes are those of gzip or zstd, whatever the suffix."""
    with readable(str(path)), nullcontext(stdin) if stdin else opened(path) as raw:
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
        start = buffered.peek(4)[:4]
        # A pipe may give a single byte, which is enough for gzip: no text starts with \x1f.
        if start and _GZIP.startswith(start[:2]):
            yield io.BufferedReader(gzip.GzipFile(fileobj=buffered))
        elif start in _ZSTD:
            yield io.BufferedReader(_Zstd(buffered))
        else:
            yield buffered


class _BadZstd(Exception):
    """Damage to zstd data: Arrow raises `OSError` for it, as for a disk that cannot be read."""


class _Zstd(io.RawIOBase):
    """The content of a zstd stream, unpacked by pyarrow, which Cenote needs in any case."""

    def __init__(self, stream: io.BufferedReader) -> None:
        import pyarrow as pa

        self._unpacked: Any = pa.CompressedInputStream(stream, "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content: bytes = self._unpacked.read(len(buffer))
        except OSError as error:
            if error.errno is not None:
                raise
            raise _BadZstd(str(error)) from None
        buffer[: len(content)] = content
        return len(content)


def lines(stream: io.BufferedIOBase | BinaryIO, name: str, most: int = LONGEST) -> Iterator[tuple[int, str | Fault]]:
    r"""Yield lines with their ends and their numbers from 1; a `Fault` in place of one that is not UTF-8 or too long.

    Bytes are split, since only "\n" ends a line: str.splitlines also splits at U+2028, U+0085, form feeds and more.

    >>> list(lines(io.BytesIO(b"a pool\ncaf\xe9"), "x"))[0]
    (1, 'a pool\n')
    """
    offset = 0
    for number, raw in enumerate(iter(partial(stream.readline, most + 1), b""), 1):
        if len(raw) > most:
            yield (
                number,
                Fault(
                    f"{name}, line {number}: longer than {most:,} bytes. Cut the text into several, or drop the line."
                ),
            )
            offset += len(raw) + (0 if raw.endswith(b"\n") else _skip_line(stream))
            continue
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


def _skip_line(stream: io.BufferedIOBase | BinaryIO) -> int:
    """Read to the end of a line, and return its bytes."""
    size = 0
    while piece := stream.readline(2**20):
        size += len(piece)
        if piece.endswith(b"\n"):
            break
    return size
