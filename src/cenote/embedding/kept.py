"""Columns kept beside vectors: their Arrow types, found while texts are surveyed, and their values as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow import compute, parquet

from cenote.data.rows import describe_value
from cenote.errors import BadInput

Values = tuple[Any, ...]

# Rows whose types are found together, and bytes of their values after which a block ends too.
_BLOCK, _BLOCK_BYTES = 4096, 2**22
# A float64 holds every whole number up to this one.
_EXACT = 2**53
# What pyarrow raises for values that have no type, or none in common.
_ERRORS = (pa.ArrowException, OverflowError, TypeError, ValueError)
_REMEDY = "Change these values, or leave the column out of keep (--keep)."


class KeptTypes:
    """The Arrow types of kept columns, widened block by block, in flat memory.

    >>> types = KeptTypes(["year", "tags"])
    >>> types.add(0, (1984, None))
    >>> types.add(1, (0.5, ["cave"]))
    >>> {field.name: str(field.type) for field in types.schema()}
    {'year': 'double', 'tags': 'list<item: string>'}
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._columns = [_Column(name) for name in names]
        self._rows: list[int] = []
        self._values: list[Values] = []
        self._bytes = 0

    def add(self, row: int, values: Values) -> None:
        """Add the values of one row; errors name its number in the input."""
        self._rows.append(row)
        self._values.append(values)
        self._bytes += size_of(values)
        if len(self._rows) >= _BLOCK or self._bytes >= _BLOCK_BYTES:
            self._widen()

    def schema(self) -> pa.Schema:
        """Return the types of all rows so far. Nulls alone have the type of strings."""
        self._widen()
        schema = pa.schema([(column.name, _without_nulls(column.type)) for column in self._columns])
        for field in schema:
            _refuse_unwritable(field)
        return schema

    def _widen(self) -> None:
        for place, column in enumerate(self._columns):
            column.widen(self._rows, [values[place] for values in self._values])
        self._rows, self._values, self._bytes = [], [], 0


class _Column:
    """A column with the type of its values so far."""

    def __init__(self, name: str) -> None:
        self.name, self.type = name, pa.null()
        self.first = ""  # the first value that is not null, in words with its row
        self.rounded = ""  # likewise the first whole number that a float64 rounds

    def widen(self, rows: Sequence[int], values: Sequence[Any]) -> None:
        """Widen the type to that of more values; raise for the first that has no type in common with others."""
        try:
            kinds = _arrays_by_kind(values)
            wide = _unify(self.type, *(array.type for array, _ in kinds))
        except _ERRORS as error:
            self._raise_misfit(rows, values, error)
        for array, places in kinds:
            if not self.rounded and (place := _rounded(array)) is not None:
                self.rounded = _in_words(rows[places[place]], values[places[place]])
        if self.rounded and pa.types.is_floating(wide):
            raise BadInput(
                f"column {self.name!r} of keep has fractions, so that its type is {wide}, which rounds "
                f"{self.rounded}. {_REMEDY}"
            )
        if not self.first and kinds:
            place = kinds[0][1][0]
            self.first = _in_words(rows[place], values[place])
        self.type = wide

    def _raise_misfit(self, rows: Sequence[int], values: Sequence[Any], error: Exception) -> NoReturn:
        """Raise for the first value without a type, or without one in common with those before it."""
        kind, first = self.type, self.first
        for row, value in zip(rows, values, strict=True):
            if value is None:
                continue
            here = _in_words(row, value)
            try:
                own = _array([value]).type
            except _ERRORS as cause:
                problem = f"{here} has no Arrow type ({cause})"
                raise BadInput(f"column {self.name!r} of keep: {problem}. {_REMEDY}") from error
            try:
                kind = _unify(kind, own)
            except _ERRORS:
                raise BadInput(
                    f"column {self.name!r} of keep: {first} and {here} have no type in common ({kind} and {own}). "
                    f"{_REMEDY}"
                ) from error
            first = first or here
        raise BadInput(f"column {self.name!r} of keep: rows {rows[0]} to {rows[-1]} have no type ({error}). {_REMEDY}")


def kept_table(
    rows: Sequence[int], values: Sequence[Values], names: Sequence[str], schema: pa.Schema | None = None
) -> pa.Table:
    """Return the values of some rows as columns; raise for the first value that does not fit.

    >>> kept_table([7, 9], [("Caves",), (None,)], ["title"]).to_pydict()
    {'title': ['Caves', None]}

    Args:
        rows: numbers of the rows, which errors name.
        values: of each row.
        names: of the columns.
        schema: types of the columns; None takes those of the values.
    """
    if schema is None:
        types = KeptTypes(names)
        for row, kept in zip(rows, values, strict=True):
            types.add(row, kept)
        schema = types.schema()
    columns = []
    for place, field in enumerate(schema):
        column = [one[place] for one in values]
        try:
            # A struct would drop keys that its type lacks, and a whole number takes 1.0: types are compared first.
            if _unify(field.type, *(array.type for array, _ in _arrays_by_kind(column))) != field.type:
                raise ValueError("its type is wider")
            columns.append(pa.array(column, field.type))
        except _ERRORS as error:
            _raise_unfit(rows, column, field, error)
    return pa.Table.from_arrays(columns, schema=schema)


def _raise_unfit(rows: Sequence[int], values: Sequence[Any], field: pa.Field, error: Exception) -> NoReturn:
    """Raise for the first value that a type does not hold."""
    found = f"a value in rows {rows[0]} to {rows[-1]}"
    for row, value in zip(rows, values, strict=True):
        try:
            fits = value is None or _unify(field.type, _array([value]).type) == field.type
        except _ERRORS:
            fits = False
        if not fits:
            found = _in_words(row, value)
            break
    raise BadInput(
        f"column {field.name!r} of keep: {found} does not fit the type {field.type}. Where texts can be read only "
        "once, types are those of the first part: pass a file or a list, which is read to its end beforehand, or leave "
        "the column out of keep (--keep)."
    ) from error


def content_of(values: Values) -> Iterator[str]:
    r"""Yield each value as a fingerprint takes it: the same string for the same value, another for any other.

    >>> list(content_of(("1", 1, 1.0, None, ["a", {"b": b"c"}])))
    ['"1"', '1', '1.0', 'null', '["a", {"b": "b\'c\'"}]']
    """
    for value in values:
        try:
            yield json.dumps(value, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError, RecursionError):  # keys that are no strings: the survey refuses such a value
            yield repr(value)


def _plain(value: Any) -> Any:
    """Return what JSON has no type for as one that it has: arrays as lists, dates and others in words."""
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def size_of(value: Any) -> int:
    """Return about how many bytes a value takes: of strings their characters, of each number 8.

    >>> size_of("pool"), size_of([1, 2, {"a": "cave"}]), size_of(None)
    (4, 20, 8)
    """
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    return int(getattr(value, "nbytes", 8))


def _arrays_by_kind(values: Sequence[Any]) -> list[tuple[pa.Array, list[int]]]:
    """Return the values as arrays, those of each Python type together, with their places; nulls are left out.

    Together, Arrow would take a time for a date, and a time with a zone for one without.
    """
    places: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            places.setdefault((type(value), getattr(value, "tzinfo", None) is None), []).append(place)
    return [(_array([values[place] for place in some]), some) for some in places.values()]


def _array(values: Sequence[Any]) -> pa.Array:
    """Return values as an Arrow array of the type that Arrow infers; times of pandas keep their nanoseconds."""
    array = pa.array(values)
    if pa.types.is_timestamp(array.type) and any(getattr(value, "nanosecond", 0) for value in values):
        return pa.array(values, pa.timestamp("ns", array.type.tz))
    if pa.types.is_duration(array.type) and any(getattr(value, "nanoseconds", 0) for value in values):
        return pa.array(values, pa.duration("ns"))
    return array


def _unify(*kinds: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of all these types; raise if there is none."""
    schemas = [pa.schema([("", kind)]) for kind in kinds]
    wide = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    if pa.types.is_floating(wide) and any(map(pa.types.is_decimal, kinds)):  # which Arrow does not convert
        raise pa.ArrowTypeError("decimals and floats")
    return wide


def _rounded(array: pa.Array) -> int | None:
    """Return the place of the first whole number that a float64 may round, None where there is none."""
    if not pa.types.is_integer(array.type):
        return None
    ends = compute.min_max(array).as_py()
    if max(-ends["min"], ends["max"]) <= _EXACT:
        return None
    return next(place for place, value in enumerate(array.to_pylist()) if abs(value) > _EXACT)


def _without_nulls(kind: pa.DataType) -> pa.DataType:
    """Return a type with strings in place of nulls, of which nothing is known, at any depth."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_nulls(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _without_nulls(field.type)) for field in kind])
    return kind


def _refuse_unwritable(field: pa.Field) -> None:
    """Raise for a column that Parquet cannot hold."""
    try:
        parquet.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowException as error:
        raise BadInput(
            f"column {field.name!r} of keep has the type {field.type}, which Parquet cannot hold ({error}). {_REMEDY}"
        ) from error


def _in_words(row: int, value: Any) -> str:
    return f"{describe_value(value)} in row {row}"
