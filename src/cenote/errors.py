"""What Cenote raises, and the one way to look a name up in a table.

Every message says what was given, what is allowed, where, and what to do about it. The command line prints
the message alone; a traceback is for our own mistakes only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


class CenoteError(Exception):
    """Anything Cenote refuses to do. Catch this to catch them all."""


class BadInput(CenoteError, ValueError):
    """What was given cannot be used: a shape, a value, a file. Also a `ValueError`."""


class BadRows(BadInput):
    """Some texts of a batch cannot be used: `rows` says which, and `problem` what they have and what to do about it."""

    def __init__(self, message: str, rows: Iterable[int] = (), problem: str = "") -> None:
        super().__init__(message)  # alone, so that a copy can be made of it as of any other exception
        self.rows, self.problem = tuple(rows), problem


class UnknownName(BadInput):
    """A name that is in none of our tables. Carries the near misses in its message."""


class UnsupportedModel(CenoteError):
    """A model whose attention cannot be reached, or not in the way that was asked for. Names the module."""


class CenoteWarning(UserWarning):
    """Something was assumed or chosen that the user may not want."""


def choose(name: str, table: Mapping[str, Value], what: str, *, shown: Iterable[str] | None = None) -> Value:
    """Look `name` up in `table`, or say what there is and what was probably meant.

    `shown` limits the names that the message lists, for tables that hold aliases too.

    >>> choose("mean", {"mean": 1, "max": 2}, "pooling")
    1
    >>> choose("maen", {"mean": 1, "max": 2}, "pooling")
    Traceback (most recent call last):
    ...
    cenote.errors.UnknownName: unknown pooling 'maen'; did you mean 'mean'? There are: mean, max.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    near = difflib.get_close_matches(str(name).lower(), list(table), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise UnknownName(f"unknown {what} {name!r}{hint} There are: {', '.join(shown or table)}.")


def some(items: Iterable[object], most: int = 8) -> str:
    """The first few of many, for a message: `1, 4, 9 and 12 more`.

    >>> some(range(3)), some(range(30), most=2)
    ('0, 1, 2', '0, 1 and 28 more')
    """
    every = [str(item) for item in items]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")
