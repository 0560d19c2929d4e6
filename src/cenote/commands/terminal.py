"""The one place that prints: notes, warnings and lines of results, without characters that command a terminal."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TextIO

# Names of files, models, columns and prompts come from others. Control characters colour, move and overwrite what is
# shown; overrides of the direction of writing show other words than are there; halves of characters cannot be printed.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""Return a text with escapes for characters that command a terminal, or that an encoding lacks.

    The escapes are those of JSON: JSON with them holds the same.

    >>> printable("a\x1b[31m pool\n"), printable("caf\xe9 \u202e", "ascii")
    ('a\\u001b[31m pool\n', 'caf\\u00e9 \\u202e')
    """
    shown = _COMMANDS.sub(lambda found: _escape(found[0]), text)
    try:
        shown.encode(encoding)
    except UnicodeEncodeError:
        return "".join(one if one.encode(encoding, "ignore") else _escape(one) for one in shown)
    return shown


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def show(text: str, stream: TextIO | None = None) -> None:
    """Print a line, to standard output or another stream."""
    out = sys.stdout if stream is None else stream
    print(printable(text, out.encoding or "utf-8"), file=out, flush=True)


def say(text: str) -> None:
    """Print a line to standard error, also into a log."""
    show(f"cenote: {text}", sys.stderr)


def note(text: str) -> None:
    """Tell a person at a terminal what takes so long."""
    if sys.stderr.isatty():
        say(text)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    say(f"warning: {text}")


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table, with columns of equal width.

    >>> list(table([("task", "score"), ("SciFact", "0.645")]))
    ['task     score', 'SciFact  0.645']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def in_columns(name: str, width: int, text: str) -> str:
    """Return a name with a text beside it, wrapped to the terminal."""
    indent = " " * (width + 2)
    return textwrap.fill(
        text,
        max(40 + len(indent), shutil.get_terminal_size().columns - 1),
        initial_indent=f"{name:<{width}}  ",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
