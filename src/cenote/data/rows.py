"""Rows of a source of texts: `Text`, or `Fault` for a row that cannot be used."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from numbers import Integral
from typing import NamedTuple

from cenote.errors import BadInput, Value

# What to do about a row that cannot be used.
REMEDY = "Correct or drop the row."


class Text(NamedTuple):
    """One text with its id: `Text("7", "a pool")`."""

    id: str
    text: str


class Kept(Text):
    """A text with the values of other columns of its row, in the order in which they were asked for.

    >>> row = Kept("7", "a pool", ("Caves", 1984))
    >>> row.values, tuple(row)
    (('Caves', 1984), ('7', 'a pool'))
    """

    values: tuple[object, ...]

    def __new__(cls, id: str, text: str, values: tuple[object, ...] = ()) -> Kept:
        """Return the text with the values."""
        row = super().__new__(cls, id, text)
        row.values = values
        return row


class Fault(NamedTuple):
    """A row without a usable text: why (value, place, remedy), and its id if known."""

    why: str
    id: str | None = None


class WrongRecord(Fault):
    """A row of JSON, `value`, that is neither an object nor a string; a table without texts has a remedy of its own."""

    value: object

    @classmethod
    def of(cls, value: object, where: str) -> WrongRecord:
        """Return the row with the remedy of a source of texts."""
        row = cls(f"{where}: the row is {describe_value(value)}. Make it an object with the key 'text', or a string.")
        row.value = value
        return row


Row = Text | Fault


def row_of(name: object, text: object, where: str, remedy: str = "") -> Row:
    """Return a `Text`, or a `Fault` if the id or the text is of another type or cannot be encoded."""
    if isinstance(text, str) and text.isascii() and type(name) is int:  # most rows by far
        return Text(str(name), text)
    if not isinstance(text, str):
        problem = f"the text is {describe_value(text)}, not a string"
    elif isinstance(name, bool) or not isinstance(name, (str, Integral)):  # numpy's integers are `Integral`
        problem = f"the id is {describe_value(name)}, not a string or an integer"
    elif half := lone_surrogate(text) or lone_surrogate(name):
        problem = f"lone surrogate ({half}), which UTF-8 cannot encode"
    else:
        return Text(name if isinstance(name, str) else str(int(name)), text)
    return Fault(f"{where}: {problem}.{f' {remedy}' if remedy else ''}")


def describe_value(value: object) -> str:
    """Return a value as an error message names it: `null`, or its type and a short form."""
    return "null" if value is None else f"{type(value).__name__} {reprlib.repr(value)}"


def lone_surrogate(value: object) -> str | None:
    r"""Return the first lone surrogate of a string, or of the strings in a list or a mapping; None if there is none.

    >>> lone_surrogate("a pool"), lone_surrogate({"tags": ["a", "\udc00"]})
    (None, "'\\udc00'")
    """
    if isinstance(value, str):
        if value.isascii():  # known without a look at the characters
            return None
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return ascii(value[error.start])
    elif isinstance(value, Mapping):
        return lone_surrogate([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        return next(filter(None, map(lone_surrogate, value)), None)
    return None


def raise_faults(rows: Iterable[Value | Fault]) -> Iterator[Value]:
    """Yield the rows; raise `BadInput` at the first `Fault`."""
    for row in rows:
        if isinstance(row, Fault):
            raise BadInput(row.why)
        yield row


def refuse_empty(rows: Iterator[Value], source: str) -> Iterator[Value]:
    """Return the same rows, the first already read; raise `BadInput` if there is none."""
    for first in rows:
        return chain((first,), rows)
    raise BadInput(f"there are no texts in {source}. Give a source with at least one.")


def refuse_surrogates(text: str, name: str) -> None:
    """Raise `BadInput` if `text`, called `name` in the message, holds a lone surrogate."""
    if half := lone_surrogate(text):
        raise BadInput(f"{name} holds a lone surrogate ({half}), which UTF-8 cannot encode.")
