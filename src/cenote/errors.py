"""Exceptions and warnings of Cenote, the look-up of names in tables, and lists and errors in words.

Every message has the value, what is allowed, the place, and the remedy. The command line prints the message alone.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


class CenoteError(Exception):
    """Base class of all errors that Cenote raises on purpose."""


class BadInput(CenoteError, ValueError):
    """An unusable input: a shape, a value, a file. Also a `ValueError`."""


class BadRows(BadInput):
    """Unusable texts in a batch: `rows` are their positions, `problem` says what is wrong and what to do."""

    def __init__(self, message: str, rows: Iterable[int] = (), problem: str = "") -> None:
        super().__init__(message)  # the message alone, so that copy and pickle work
        self.rows, self.problem = tuple(rows), problem


class UnknownName(BadInput):
    """A name that is not in a table. The message suggests a near miss."""


class Usage(BadInput):
    """A wrong use of options of the command line, rather than of what they name."""


class UnsupportedModel(CenoteError):
    """A model whose architecture does not allow the operation. The message names the module."""


class CenoteWarning(UserWarning):
    """An assumption or a choice that the user may not want."""


def first_line(error: Exception) -> str:
    r"""Return the first line of an error's message, or the name of its class.

    >>> first_line(ValueError(" no such file\n  at line 3")), first_line(ValueError(""))
    ('no such file', 'ValueError')
    """
    return _lines_of(error)[0]


def last_line(error: Exception) -> str:
    r"""Return the last line of an error's message, where runtimes of C++ and Ray say why, or the name of its class.

    >>> last_line(ValueError("Exception from core.cpp:104:\n no such operator\n")), last_line(ValueError(" "))
    ('no such operator', 'ValueError')
    """
    return _lines_of(error)[-1]


def _lines_of(error: Exception) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def choose(
    name: str, table: Mapping[str, Value], what: str, *, shown: Iterable[str] | None = None, remedy: str = ""
) -> Value:
    """Return `table[name]`; raise `UnknownName` with a near miss and the legal names if it is missing.

    `shown` replaces the names in the message, for tables with aliases. `remedy` ends the message.

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
    names = ", ".join(table if shown is None else shown)
    raise UnknownName(f"unknown {what} {name!r}{hint} There are: {names}.{f' {remedy}' if remedy else ''}")


def check_at_least(least: int, value: Any, name: str) -> int:
    """Return `value` as an int, or raise `BadInput` if it is not a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise BadInput(f"{name}={value!r}: pass a whole number of at least {least}.")
    return int(value)


def some(items: Iterable[object], most: int = 8) -> str:
    """Join the first `most` items, and count the rest: `1, 4, 9 and 12 more`.

    >>> some(range(3)), some(range(30), most=2)
    ('0, 1, 2', '0, 1 and 28 more')
    """
    every = [str(item) for item in items]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")
