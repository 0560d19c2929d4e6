"""Columns kept beside vectors: their Arrow types, stated by the source or found in a survey, and tables of values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow import compute, parquet

from cenote.data.rows import describe_value
from cenote.errors import BadInput

Values = tuple[Any, ...]
# Kept columns with the types that their source states; None where the values show it.
Stated = Mapping[str, pa.DataType | None]

# Rows whose types are found together, and bytes of their values after which a block ends too.
_BLOCK, _BLOCK_BYTES = 4096, 2**22
# A float64 holds every whole number up to this one.
_EXACT = 2**53
# What pyarrow raises for values that have no type, or none in common.
_ERRORS = (pa.ArrowException, OverflowError, TypeError, ValueError)
_REMEDY = "Change these values, or leave the column out of keep (--keep)."


def stated_type(name: str, types: Sequence[tuple[str, pa.DataType | None]]) -> pa.DataType | None:
    """Return the type in which a column is written whose files state one; None where values have to show it.

    Types that differ in their layout alone are one: a dictionary of strings, or strings of another width, are strings.

    >>> stated_type("year", [("a.parquet", pa.uint16()), ("b.parquet", pa.uint16())])
    DataType(uint16)
    >>> stated_type("kind", [("a.parquet", pa.dictionary(pa.int8(), pa.large_string())), ("b.parquet", pa.string())])
    DataType(string)

    Args:
        name: of the column.
        types: of the column in each file, with the name of the file.
    """
    try:
        plain = [(file, None if kind is None else _rebuilt(kind, _written)) for file, kind in types]
    except pa.ArrowTypeError:  # an extension
        return None
    kinds = {kind for _, kind in plain}
    if len(kinds) == 1:
        return kinds.pop()
    for file, kind in plain:
        if getattr(kind, "unit", None) == "ns":  # Python has no such times, so values would not show their zone
            other, unlike = next(one for one in plain if one[1] != kind)
            raise BadInput(
                f"column {name!r} of keep has the type {kind} in {file} and {unlike or 'none'} in {other}. Write files "
                "with one type, or leave the column out of keep (--keep)."
            )
    return None


class KeptTypes:
    """The Arrow types of kept columns, widened block by block, in flat memory.

    >>> types = KeptTypes({"year": None, "tags": None, "size": pa.uint8()})
    >>> types.add(0, (1984, None, 1))
    >>> types.add(1, (0.5, ["cave"], 2))
    >>> {field.name: str(field.type) for field in types.schema()}
    {'year': 'double', 'tags': 'list<item: string>', 'size': 'uint8'}
    """

    def __init__(self, columns: Stated) -> None:
        self._columns = [_Column(name, stated) for name, stated in columns.items()]
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
        schema = pa.schema([(column.name, _rebuilt(column.type, _written)) for column in self._columns])
        for field in schema:
            _refuse_unwritable(field)
        return schema

    def _widen(self) -> None:
        for place, column in enumerate(self._columns):
            column.widen(self._rows, [values[place] for values in self._values])
        self._rows, self._values, self._bytes = [], [], 0


class _Column:
    """A column with the type of its values so far."""

    def __init__(self, name: str, stated: pa.DataType | None) -> None:
        self.name, self.stated, self.type = name, stated is not None, stated or pa.null()
        self.first = ""  # the first value that is not null, in words with its row
        self.rounded: dict[str, str] = {}  # likewise the first whole number that a float64 rounds, by its path

    def widen(self, rows: Sequence[int], values: Sequence[Any]) -> None:
        """Widen the type to that of more values; raise for the first that has no type in common with others."""
        if self.stated:
            return
        try:
            kinds = _arrays_by_kind(values)
            wide = _unify(self.type, *(array.type for array, _ in kinds))
        except _ERRORS as error:
            self._raise_misfit(rows, values, error)
        for array, places in kinds:
            self._note_large(array, [(rows[place], values[place]) for place in places])
        self._refuse_rounded(wide)
        if not self.first and kinds:
            place = kinds[0][1][0]
            self.first = _in_words(rows[place], values[place])
        self.type = wide

    def _note_large(self, array: pa.Array, rows: Sequence[tuple[int, Any]]) -> None:
        """Note the first whole number, at each place in nested values, that a float64 may round."""
        for path, leaf in _leaves(array):
            if path not in self.rounded and _is_large(leaf):
                owners = ((row, value) for row, value in rows if _is_large(dict(_leaves(_array([value]))).get(path)))
                self.rounded[path] = _in_words(*next(owners))

    def _refuse_rounded(self, kind: pa.DataType) -> None:
        """Raise if a type has floats for whole numbers that they round."""
        for path, leaf in _leaves(pa.array([], kind)):
            if path in self.rounded and pa.types.is_floating(leaf.type):
                raise BadInput(
                    f"column {self.name!r} of keep has fractions, so that its type is {kind}, which rounds "
                    f"{self.rounded[path]}. {_REMEDY}"
                )

    def _raise_misfit(self, rows: Sequence[int], values: Sequence[Any], error: Exception) -> NoReturn:
        """Raise for the first value without a type, or without one in common with those before it."""
        kind, first = self.type, self.first
        for row, value in zip(rows, values, strict=True):
            if value is None:
                continue
            here = _in_words(row, value)
            try:
                array = _array([value])
            except _ERRORS as cause:
                problem = f"{here} has no Arrow type ({cause})"
                raise BadInput(f"column {self.name!r} of keep: {problem}. {_REMEDY}") from error
            try:
                kind = _unify(kind, array.type)
            except _ERRORS:
                raise BadInput(
                    f"column {self.name!r} of keep: {first} and {here} have no type in common ({kind} and "
                    f"{array.type}). {_REMEDY}"
                ) from error
            self._note_large(array, [(row, value)])
            self._refuse_rounded(kind)
            first = first or here
        raise BadInput(f"column {self.name!r} of keep: rows {rows[0]} to {rows[-1]} have no type ({error}). {_REMEDY}")


def kept_table(
    rows: Sequence[int], values: Sequence[Values], columns: Stated, schema: pa.Schema | None = None
) -> pa.Table:
    """Return the values of some rows as columns; raise for the first value that does not fit.

    >>> kept_table([7, 9], [("Caves",), (None,)], {"title": None}).to_pydict()
    {'title': ['Caves', None]}

    Args:
        rows: numbers of the rows, which errors name.
        values: of each row.
        columns: the columns, with the types that their source states.
        schema: types of the columns; None takes those stated, or of the values.
    """
    if schema is None:
        types = KeptTypes(columns)
        for row, kept in zip(rows, values, strict=True):
            types.add(row, kept)
        schema = types.schema()
    arrays = []
    for place, field in enumerate(schema):
        column = [one[place] for one in values]
        try:
            # A struct would drop keys that its type lacks, and a whole number takes 1.0: types are compared first.
            if columns[field.name] is None and not _fit(column, field.type):
                raise ValueError("its type is wider")
            arrays.append(_array_of(column, field.type))
        except _ERRORS as error:
            _raise_unfit(rows, column, field, error)
    return pa.Table.from_arrays(arrays, schema=schema)


def _fit(values: Sequence[Any], kind: pa.DataType) -> bool:
    return bool(_unify(kind, *(array.type for array, _ in _arrays_by_kind(values))) == kind)


def _array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values as an array of a type."""
    # Nanoseconds are numpy's, which have no zone: they count from the same moment.
    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz:
        return pa.array(values, pa.timestamp("ns")).cast(kind)
    return pa.array(values, kind)


def _raise_unfit(rows: Sequence[int], values: Sequence[Any], field: pa.Field, error: Exception) -> NoReturn:
    """Raise for the first value that a type does not hold."""
    found = f"a value in rows {rows[0]} to {rows[-1]}"
    for row, value in zip(rows, values, strict=True):
        try:
            fits = _fit([value], field.type)
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
    r"""Yield each value as a fingerprint takes it: the same string for the same value, another for another of its type.

    Values of other types may share one, as bytes and their `repr` do: the manifest holds the types of the columns. A
    tuple has the string of a list, as which it is written.

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
    """Return values as an Arrow array of the type that Arrow infers, with times in UTC and in the units of pandas."""
    array = pa.array(values)
    if pa.types.is_timestamp(array.type) and any(getattr(value, "nanosecond", 0) for value in values):
        array = pa.array(values, pa.timestamp("ns", array.type.tz))
    if pa.types.is_duration(array.type) and any(getattr(value, "nanoseconds", 0) for value in values):
        return pa.array(values, pa.duration("ns"))
    kind = _rebuilt(array.type, _in_utc)  # Arrow takes the zone of the first value, so that it depends on the block
    return array if kind == array.type else array.cast(kind)


def _unify(*kinds: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of all these types; raise if there is none."""
    schemas = [pa.schema([("", kind)]) for kind in kinds]
    wide = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    if pa.types.is_floating(wide) and any(map(pa.types.is_decimal, kinds)):  # which Arrow does not convert
        raise pa.ArrowTypeError("decimals and floats")
    return wide


def _leaves(array: pa.Array, path: str = "") -> Iterator[tuple[str, pa.Array]]:
    """Yield the innermost values of lists and structs, each with its path."""
    if pa.types.is_list(array.type):
        yield from _leaves(array.flatten(), f"{path}[]")
    elif pa.types.is_struct(array.type):
        for field, inner in zip(array.type, array.flatten(), strict=True):
            yield from _leaves(inner, f"{path}.{field.name}")
    else:
        yield path, array


def _is_large(array: pa.Array | None) -> bool:
    """Return whether a whole number is one that a float64 may round."""
    if array is None or not pa.types.is_integer(array.type):
        return False
    ends = compute.min_max(array).as_py()
    return ends["min"] is not None and max(-ends["min"], ends["max"]) > _EXACT


# The types that are written for others: of one meaning, and such that Parquet has them. By name, since earlier versions
# of pyarrow have no views.
_WRITTEN_AS = {
    "null": pa.string(),  # nothing is known of it
    "large_string": pa.string(),
    "string_view": pa.string(),
    "large_binary": pa.binary(),
    "binary_view": pa.binary(),
    "date64[ms]": pa.date32(),
    "time32[s]": pa.time32("ms"),
}
_LISTS = [
    getattr(pa.types, name, lambda _: False)
    for name in ("is_list", "is_large_list", "is_list_view", "is_large_list_view")
]


def _written(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        raise pa.ArrowTypeError(f"{kind} is an extension")
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    return _WRITTEN_AS.get(str(kind), kind)


def _in_utc(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp(kind.unit, "UTC") if pa.types.is_timestamp(kind) and kind.tz else kind


def _rebuilt(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type with its innermost types changed, and without the layouts of lists, dictionaries and fields."""
    of = partial(_rebuilt, change=change)
    if pa.types.is_map(kind):
        return pa.map_(of(kind.key_type), of(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, of(field.type)) for field in kind])
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return of(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(of(kind.value_type), kind.list_size)
    if any(is_list(kind) for is_list in _LISTS):
        return pa.list_(of(kind.value_type))
    return change(kind)


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
