"""Notes, warnings and columns that commands print."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence


def say(text: str) -> None:
    """Print a line to standard error, also into a log."""
    print(f"cenote: {text}", file=sys.stderr, flush=True)


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
