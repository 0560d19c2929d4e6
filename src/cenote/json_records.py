"""Records to JSON and back: frozen dataclasses of plain data, checked against their annotations."""

from __future__ import annotations

import importlib
import json
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from cenote.errors import BadInput
from cenote.storage import write_result

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

Record = TypeVar("Record")


def to_json(record: Any) -> str:
    """Return a record as JSON."""
    return json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(cls: type[Record], text: str) -> Record:
    """Read a record that `to_json` wrote. Raise `BadInput` for anything else.

    >>> from cenote.records import Histogram
    >>> from_json(Histogram, to_json(Histogram((0.0, 1.0), (3,))))
    Histogram(edges=(0.0, 1.0), counts=(3,))

    A class that states its version as `SCHEMA` reads that version only.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"not valid JSON: {error}.") from error
    found, wanted = data.get("schema") if isinstance(data, dict) else None, getattr(cls, "SCHEMA", None)
    if wanted is not None and found != wanted:
        raise BadInput(f"the JSON has schema {found!r}, but this version of Cenote reads schema {wanted}.")
    try:
        return typing.cast("Record", from_data(cls, data))
    except ValueError as error:
        raise BadInput(f"the JSON does not hold a {cls.__name__}: {error}.") from error


class Result:
    """The result of a verb: a record that is written as JSON, and read again, and that pages render."""

    # What renders it, by the suffix of a file: a module and a function.
    PAGES: ClassVar[Mapping[str, tuple[str, str]]]

    def to_json(self) -> str:
        """Return the result as JSON, the same bytes for the same result."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a result that `to_json` wrote."""
        return from_json(cls, text)

    def save(self, path: str | Path, *, command: str | None = None) -> None:
        """Write the result to a file: a page (.html), Markdown (.md), or all figures (.json).

        The page and the Markdown name `command` as the command line that made the result.
        """
        suffix = Path(path).suffix
        if suffix == ".json":
            content = self.to_json()
        elif suffix in self.PAGES:
            module, function = self.PAGES[suffix]
            content = getattr(importlib.import_module(module), function)(self, command=command)
        else:
            raise BadInput(f"{str(path)!r}: name a file that ends in {', '.join(self.PAGES)} or .json.")
        write_result(Path(path), content.encode())


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def from_data(kind: Any, data: Any) -> Any:
    """Convert parsed JSON to the annotated type. Raise `ValueError` if it does not fit."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_record(kind, data)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in inner:
            return None
        kinds = [one for one in inner if one is not type(None)]
        fitting = (one for one in kinds if is_dataclass(one) == isinstance(data, dict))
        return from_data(next(fitting, kinds[0]), data)
    if origin in (tuple, list):
        if not isinstance(data, list):
            raise ValueError(f"expected a list, found {data!r}")
        kinds = [inner[0]] * len(data) if origin is list or inner[1:] == (Ellipsis,) else list(inner)
        if len(kinds) != len(data):
            raise ValueError(f"expected {len(kinds)} values, found {len(data)}")
        return origin(from_data(one, part) for one, part in zip(kinds, data, strict=True))
    if origin is dict and isinstance(data, dict):
        return {key: from_data(inner[1], value) for key, value in data.items()}
    if origin is Literal:
        if data not in inner:
            raise ValueError(f"expected one of {', '.join(inner)}, found {data!r}")
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError as error:
            raise ValueError(f"{reprlib.repr(data)} is too large for a number") from error
    if kind is not Any and not isinstance(data, origin or kind):
        raise ValueError(f"expected {(origin or kind).__name__}, found {data!r}")
    return data


def _read_record(kind: Any, data: Any) -> Any:
    """Convert a JSON object to a record. Fields with a default may be missing: earlier files lack them."""
    if not isinstance(data, dict):
        raise ValueError(f"expected {kind.__name__}, found {data!r}")
    hints = typing.get_type_hints(kind)
    if unknown := data.keys() - {one.name for one in fields(kind)}:
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    if missing := [one.name for one in fields(kind) if one.default is MISSING and one.name not in data]:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**{name: from_data(hints[name], value) for name, value in data.items()})
