"""Columns kept beside vectors: types that hold all rows, values that fit no type, and the values as tables."""

import datetime
import decimal
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cenote.data.rows import Kept
from cenote.embedding import kept
from cenote.embedding.kept import KeptTypes, content_of, kept_table, size_of
from cenote.errors import BadInput

DAY, NOON = datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc)


@pytest.fixture(params=[4096, 1], ids=["one block", "a row a block"])
def blocks(request, monkeypatch):
    """However rows are blocked, types and errors are the same."""
    monkeypatch.setattr(kept, "_BLOCK", request.param)


def schema_of(*values):
    types = KeptTypes({"x": None})
    for row, value in enumerate(values):
        types.add(row, (value,))
    return types.schema()


# Types.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None, "b"], pa.string()),
        ([1, None, -5], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([float("nan"), 1], pa.float64()),
        ([True, None], pa.bool_()),
        ([DAY], pa.date32()),
        ([NOON], pa.timestamp("us", "UTC")),
        ([b"a"], pa.binary()),
        ([decimal.Decimal("1.5"), decimal.Decimal("10.25")], pa.decimal128(4, 2)),
        ([np.int64(3), 4], pa.int64()),
        ([np.array([1.0, 2.0])], pa.list_(pa.float64())),
        ([None, None], pa.string()),
        ([[], None], pa.list_(pa.string())),
        ([[], [1]], pa.list_(pa.int64())),
        ([{"a": 1}, {"b": ["x"]}], pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        ([{"a": None}], pa.struct([("a", pa.string())])),
        ([[{"a": 1}], [{"a": 0.5}]], pa.list_(pa.struct([("a", pa.float64())]))),
    ],
    ids=str,
)
@pytest.mark.usefixtures("blocks")
def test_a_type_holds_the_values_of_all_rows_and_gives_them_back(values, expected):
    schema = schema_of(*values)
    assert schema.field("x").type == expected
    table = kept_table(range(len(values)), [(value,) for value in values], {"x": None}, schema)
    found = table.column("x").to_pylist()
    for one, value in zip(found, values, strict=True):
        if isinstance(value, dict):
            assert {name: inner for name, inner in one.items() if inner is not None} == {
                name: inner for name, inner in value.items() if inner is not None
            }
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            assert one == value
        else:
            np.testing.assert_equal(one, value.tolist() if isinstance(value, np.ndarray) else value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, 1, None, "n.d."], "int 1 in row 1 and str 'n.d.' in row 3 have no type in common (int64 and string)"),
        ([1, 2.5, True], "int 1 in row 0 and bool True in row 2 have no type in common (double and bool)"),
        ([{"a": 1}, {"a": "x"}], "dict {'a': 1} in row 0 and dict {'a': 'x'} in row 1 have no type in common"),
        ([[1], "x"], "list [1] in row 0 and str 'x' in row 1 have no type in common"),
        ([DAY, NOON], "in row 0 and datetime datetime.date"),  # a day would lose the hour
        ([NOON.replace(tzinfo=None), NOON], "have no type in common (timestamp[us] and timestamp[us, tz=UTC])"),
        ([1.5, decimal.Decimal("1.5")], "have no type in common (double and decimal128(2, 1))"),
        (["a", 2**63], "int 9223372036854775808 in row 1 has no Arrow type"),
        ([object], "in row 0 has no Arrow type"),
        (["\ud800"], "str '\\ud800' in row 0 has no Arrow type"),
        ([{1: 2}], "dict {1: 2} in row 0 has no Arrow type"),
        ([2**53 + 1, 0.5], "has fractions, so that its type is double, which rounds int 9007199254740993 in row 0"),
        ([0.5, 3, 2**53 + 1], "which rounds int 9007199254740993 in row 2"),
        ([{"m": 2**53 + 1}, {"m": 0.5}], "which rounds dict {'m': 9007199254740993} in row 0"),
        (
            [[{"m": [0.5]}], [{"m": [1, 2**53 + 1]}]],
            "its type is list<item: struct<m: list<item: double>>>, which rounds",
        ),
        ([{}], "has the type struct<>, which Parquet cannot hold"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("blocks")
def test_values_that_fit_no_type_are_named_with_their_rows(values, message):
    with pytest.raises(BadInput) as caught:
        schema_of(*values)
    said = str(caught.value)
    assert said.startswith("column 'x' of keep")
    assert message in said
    assert said.endswith("Change these values, or leave the column out of keep (--keep).")


def test_times_of_pandas_keep_their_nanoseconds():
    pandas = pytest.importorskip("pandas")
    times = [pandas.Timestamp("2020-01-01 12:00", tz="UTC"), None, pandas.Timestamp("2020-01-01 12:00:00.000000001Z")]
    spans = [pandas.Timedelta(5), None, pandas.Timedelta("1s")]
    for values, kind in ((times, pa.timestamp("ns", "UTC")), (spans, pa.duration("ns"))):
        schema = schema_of(*values)
        assert schema.field("x").type == kind
        found = kept_table(range(3), [(value,) for value in values], {"x": None}, schema).column("x").to_pylist()
        assert [one if one is None else one.value for one in found] == [v if v is None else v.value for v in values]
    assert schema_of(times[0]).field("x").type == pa.timestamp("us", "UTC")


EAST = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    "wrap", [lambda time: time, lambda time: [time], lambda time: {"at": time}], ids=["plain", "list", "struct"]
)
@pytest.mark.usefixtures("blocks")
def test_times_of_several_zones_are_written_in_utc(wrap):
    values = [wrap(NOON), wrap(NOON.astimezone(EAST)), wrap(NOON.astimezone(EAST) + datetime.timedelta(1))]
    schema = schema_of(*values)
    found = kept_table(range(3), [(value,) for value in values], {"x": None}, schema).column("x")
    assert "timestamp[us, tz=UTC]" in str(found.type)
    assert found.to_pylist() == values
    assert schema_of(wrap(NOON.astimezone(EAST))) == schema


def test_rows_are_named_by_their_numbers_in_the_input():
    types = KeptTypes({"ok": None, "year": None})
    for row, values in ((17, ("a", 1984)), (40, ("b", "n.d."))):
        types.add(row, values)
    with pytest.raises(BadInput, match=r"'year' of keep: int 1984 in row 17 and str 'n\.d\.' in row 40"):
        types.schema()


def test_whole_numbers_beyond_what_a_float_holds_are_kept_where_there_are_no_fractions():
    assert schema_of(2**53 + 1, -(2**62)).field("x").type == pa.int64()
    assert schema_of(2**53, -(2**53), 0.5).field("x").type == pa.float64()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=1), inner),
    max_leaves=4,
)


@given(values=st.lists(VALUES, min_size=1, max_size=6))
def test_any_values_are_written_and_read_back_or_refused_by_name(values):
    try:
        schema = schema_of(*values)
        table = kept_table(range(len(values)), [(value,) for value in values], {"x": None}, schema)
    except BadInput:
        return
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    assert parquet.read_table(pa.BufferReader(sink.getvalue())).num_rows == len(values)
    # Row for row, since a type that another row widened may not lose a null, a number or a key.
    for one, value in zip(table.column("x").to_pylist(), values, strict=True):
        assert (one is None) == (value is None)
        if isinstance(value, (bool, int, float)) and value == value:
            assert one == value
        if isinstance(value, dict):
            assert value.keys() <= one.keys()


def test_types_are_found_in_flat_memory():
    def peak(rows):
        types = KeptTypes({"title": None, "year": None})
        tracemalloc.start()
        for row in range(rows):
            types.add(row, (f"The pool of row {row}", row))
        types.schema()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(40_000) < 1.5 * peak(8_000)


def test_the_types_of_long_values_are_found_a_few_at_a_time():
    types = KeptTypes({"text": None})
    types.add(0, ("a",))
    tracemalloc.start()
    for row in range(100):
        types.add(row, (chr(97 + row % 26) * 1_000_000,))
    types.schema()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20_000_000  # of 100 MB


# Types that the source states.


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ([pa.float32()], pa.float32()),
        ([pa.uint64(), pa.uint64()], pa.uint64()),
        ([None], None),
        ([pa.int64(), None], None),
        ([pa.int32(), pa.int64()], None),  # the values of both are read for their type
        ([pa.large_string(), pa.string(), pa.dictionary(pa.int8(), pa.large_string())], pa.string()),
        ([pa.list_(pa.field("element", pa.large_binary()))], pa.list_(pa.binary())),
        ([pa.large_list(pa.float16())], pa.list_(pa.float16())),
        ([pa.list_(pa.float32(), 2)], pa.list_(pa.float32(), 2)),
        ([pa.map_(pa.large_string(), pa.uint8())], pa.map_(pa.string(), pa.uint8())),
        ([pa.struct([("a", pa.null())])], pa.struct([("a", pa.string())])),
        ([pa.run_end_encoded(pa.int32(), pa.int16())], pa.int16()),
        ([pa.timestamp("s", "Asia/Tokyo")], pa.timestamp("ms", "Asia/Tokyo")),
        ([pa.date64()], pa.date32()),
        ([pa.list_(pa.uuid())], None),
    ],
    ids=str,
)
def test_the_type_of_a_column_is_that_of_its_files_without_their_layout(stated, expected):
    assert kept.stated_type("x", [(f"{place}.parquet", kind) for place, kind in enumerate(stated)]) == expected


@pytest.mark.parametrize("other", [pa.timestamp("us", "UTC"), pa.timestamp("ns"), None])
def test_files_with_and_without_nanoseconds_are_refused(other):
    with pytest.raises(BadInput) as caught:
        kept.stated_type("x", [("a.parquet", pa.timestamp("ns", "UTC")), ("b.parquet", other)])
    said = str(caught.value)
    assert said.startswith(
        f"column 'x' of keep has the type timestamp[ns, tz=UTC] in a.parquet and {other or 'none'} in b"
    )
    assert said.endswith("Write files with one type, or leave the column out of keep (--keep).")


def test_a_stated_type_is_written_as_it_is_whatever_the_values_show():
    columns = {"x": pa.uint8(), "y": None}
    types = KeptTypes(columns)
    for row, values in enumerate([(1, 1), (None, 0.5)]):
        types.add(row, values)
    assert types.schema() == pa.schema([("x", pa.uint8()), ("y", pa.float64())])
    found = kept_table([0, 1], [(1, 1), (None, 0.5)], columns, types.schema())
    assert found.to_pydict() == {"x": [1, None], "y": [1.0, 0.5]}
    assert kept_table([], [], columns).schema == pa.schema([("x", pa.uint8()), ("y", pa.string())])


# Tables.


def test_a_table_without_rows_has_its_columns():
    assert kept_table([], [], {"title": None}).schema == pa.schema([("title", pa.string())])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("n.d.", pa.int64()),
        (1.0, pa.int64()),  # which Arrow would take
        ({"a": 1, "b": 2}, pa.struct([("a", pa.int64())])),  # and here drop `b`
        (1.5, pa.string()),
        ([1], pa.string()),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_the_types_of_the_first_part_is_named_with_the_remedy(value, kind):
    with pytest.raises(BadInput) as caught:
        kept_table([7, 8, 9], [(None,), (value,), (None,)], {"x": None}, pa.schema([("x", kind)]))
    said = str(caught.value)
    assert said.startswith(f"column 'x' of keep: {type(value).__name__} ")
    assert f"in row 8 does not fit the type {kind}." in said
    assert "pass a file or a list, which is read to its end beforehand, or leave the column out of keep" in said


def test_a_narrower_value_takes_the_type_of_the_first_part():
    found = kept_table([0, 1], [(1,), (None,)], {"x": None}, pa.schema([("x", pa.float64())]))
    assert found.column("x").to_pylist() == [1.0, None]


# Fingerprints and sizes.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), ("1",)),
        ((1,), (1.0,)),
        ((None,), ("null",)),
        ((None,), ("",)),
        ((True,), (1,)),
        ((DAY,), (DAY.replace(day=2),)),
        (({"a": [1]},), ({"a": [2]},)),
        ((np.arange(5000),), (np.arange(5000) * (np.arange(5000) != 2500),)),  # numpy prints them alike
        ((b"a",), (b"b",)),
        (({1: 2},), ({1: 3},)),
        (("a", "b"), ("ab", "")),
    ],
    ids=str,
)
def test_other_values_have_another_content(one, other):
    assert list(content_of(one)) == list(content_of(one))
    assert list(content_of(one)) != list(content_of(other))


def test_sizes_are_about_those_in_memory():
    assert size_of("a" * 100) == 100
    assert size_of([0.5] * 768) == 768 * 8
    assert size_of(np.zeros(768, np.float32)) == 768 * 4
    assert size_of({"a": "abc", "b": [None, 1]}) == 3 + 16
    assert size_of(Kept("1", "a", ("title", 5)).values) == 13
