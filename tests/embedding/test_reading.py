"""Reading embeddings back: rows and columns as of numpy, and no more from the disk than is asked for.

The folders are written by `Output` alone: 3,000 rows in two parts, of which each vector is known.
"""

import importlib.util
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cenote.embedding.folder import opened
from cenote.embedding.parts import Part
from cenote.embedding.reading import read_embeddings
from cenote.errors import BadInput, UnknownName
from cenote.functional.quantisation import dequantise, quantise

from .. import folders

ROWS, WIDTH, FIRST = 3000, 4, 1800
VECTORS = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
KINDS = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


def write(folder, vectors, cuts=(FIRST,), scales=None, mark="i"):
    """Parts that end at `cuts`, without any model."""
    bounds = [0, *cuts, len(vectors)]
    with opened(folder, {"dtype": "float32"}, {}, restart=False) as out:
        for index, (start, end) in enumerate(pairwise(bounds)):
            numbers = pa.array(vectors[start:end].ravel(), KINDS[vectors.dtype.name])
            table = pa.table(
                {
                    "id": pa.array([f"{mark}{row}" for row in range(start, end)], pa.string()),
                    "embedding": pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1]),
                    **({} if scales is None else {"scale": scales[start:end]}),
                    "n_tokens": pa.array(range(start, end), pa.int64()),
                    "truncated": pa.array([row % 3 == 0 for row in range(start, end)], pa.bool_()),
                }
            )
            out.write(Part(index, start, end - start, end - start, str(index), 0, 0, 0), table)
        out.finish()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("embeddings") / "out", VECTORS)


@pytest.fixture
def groups(monkeypatch):
    """The row groups that are read, in their order."""
    seen, read = [], parquet.ParquetFile.read_row_group

    def note(file, group, **options):
        seen.append(group)
        assert options == {"columns": ["embedding"]}
        return read(file, group, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", note)
    monkeypatch.setattr(parquet.ParquetFile, "read", lambda *_, **__: pytest.fail("a whole part was read"))
    return seen


# As a whole.


def test_the_schema_is_read_once(folder, monkeypatch):
    opened, read = [], parquet.read_schema
    monkeypatch.setattr(parquet, "read_schema", lambda path: opened.append(path.name) or read(path))
    found = read_embeddings(folder)
    for _ in range(3):
        assert found.shape == (ROWS, WIDTH)
        found.columns.clear()  # a list of one's own
        assert found["truncated"].shape == (ROWS,)
    assert opened == ["part-00000.parquet"]


def test_length_shape_columns_and_ids(folder):
    found = read_embeddings(folder)
    assert (len(found), found.shape) == (ROWS, (ROWS, WIDTH))
    assert found.columns == ["id", "n_tokens", "truncated"]
    assert repr(found) == f"Embeddings({str(folder)!r}, 3,000 rows of 4)"
    assert found.ids == [f"i{row}" for row in range(ROWS)]
    assert found["n_tokens"].tolist() == list(range(ROWS))
    assert found["truncated"].dtype == bool
    assert found["truncated"].sum() == 1000
    assert found.manifest.counts.rows == (FIRST, ROWS - FIRST)


def test_all_vectors_are_read_to_the_last_bit(folder):
    found = read_embeddings(str(folder))
    for whole in (found[:], np.asarray(found), np.stack(list(found))):
        assert whole.dtype == np.float32
        np.testing.assert_array_equal(whole, VECTORS)
    assert np.asarray(found, np.float64).dtype == np.float64


# Rows.


@pytest.mark.parametrize(
    "wanted",
    [
        slice(5),
        slice(1790, 1810),
        slice(None, None, -700),
        slice(2999, 5000),
        slice(7, 7),
        [3, 1, 3, 2500, -1],
        np.array([1023, 1024, 1799, 1800], np.int32),
        np.array([0], np.uint8),
        [],
        np.arange(ROWS) % 400 == 1,
        np.zeros(ROWS, bool),
        5,
        -3000,
        np.int64(1800),
    ],
    ids=str,
)
def test_rows_are_those_of_numpy(folder, wanted):
    found, expected = read_embeddings(folder)[wanted], VECTORS[wanted]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected, strict=True)


@given(rows=st.lists(st.integers(-ROWS, ROWS - 1), max_size=30))
def test_any_rows_in_any_order(folder, rows):
    np.testing.assert_array_equal(read_embeddings(folder)[rows], VECTORS[np.array(rows, int)])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (3000, "rows 3000: there are 3,000, counted from 0"),
        ([0, -3001, 9999], "rows -3001, 9999: there are"),
        ([0.5], "pass a slice, whole numbers, or a mask of 3000"),
        (np.ones(7, bool), "or a mask of 3000"),
        (None, "rows None: pass a slice"),
        ([[0, 1]], "rows have 2 dimensions: pass a flat list"),
        (["i0", "i1"], "pass a slice, whole numbers"),
    ],
)
def test_bad_rows_are_refused(folder, wanted, message):
    with pytest.raises(BadInput, match=message):
        read_embeddings(folder)[wanted]


def test_an_unknown_column_is_refused(folder):
    found = read_embeddings(folder)
    with pytest.raises(UnknownName, match=r"unknown column 'n_token'; did you mean 'n_tokens'\?"):
        found["n_token"]
    with pytest.raises(UnknownName, match=r"There are: id, n_tokens, truncated\."):
        found["embedding"]


# By id, and in batches.


def test_ids_give_their_vectors_in_their_order(folder):
    found = read_embeddings(folder)
    np.testing.assert_array_equal(found.of(["i2999", "i0", "i2999"]), VECTORS[[2999, 0, 2999]])
    np.testing.assert_array_equal(found.of(f"i{row}" for row in (1799, 1800)), VECTORS[1799:1801])
    assert found.of([]).shape == (0, WIDTH)
    with pytest.raises(BadInput, match=r"there is no id 'x', 'I0' in "):
        found.of(["i1", "x", "I0"])


def test_ids_are_looked_up_in_no_more_parts_than_hold_them(tmp_path, monkeypatch):
    found = read_embeddings(write(tmp_path / "out", VECTORS[:10], cuts=(0, 4, 8)))
    (tmp_path / "out" / "part-00003.parquet").unlink()
    np.testing.assert_array_equal(found.of(["i7", "i0", "i7", "i4"]), VECTORS[[7, 0, 7, 4]])
    with pytest.raises(BadInput, match=r"part-00003\.parquet is missing"):
        found.of(["i7", "i8"])


def test_a_number_stands_for_the_id_of_its_digits(tmp_path):
    found = read_embeddings(write(tmp_path / "out", VECTORS[:30], cuts=(7,), mark=""))
    np.testing.assert_array_equal(found.of([12, "3", np.int64(29)]), VECTORS[[12, 3, 29]])
    np.testing.assert_array_equal(found.of(range(30)), VECTORS[:30])
    np.testing.assert_array_equal(found.of(np.array([12, 3])), VECTORS[[12, 3]])
    with pytest.raises(BadInput, match="there is no id '30', '-1' in "):
        found.of([30, 2, -1])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("12", "ids='12': pass a list of ids"),
        (b"12", "ids=b'12': pass a list"),
        (12, "ids=12: pass a list"),
        ([1.0], r"id 1\.0: an id is a string, or a whole number"),
        ([None], "id None: an id is"),
        ([True], "id True: an id is"),
    ],
)
def test_bad_ids_are_refused(folder, ids, message):
    with pytest.raises(BadInput, match=message):
        read_embeddings(folder).of(ids)


@given(rows=st.lists(st.integers(0, ROWS - 1), max_size=30))
def test_any_ids_in_any_order(folder, rows):
    np.testing.assert_array_equal(read_embeddings(folder).of(f"i{row}" for row in rows), VECTORS[np.array(rows, int)])


@pytest.mark.parametrize("rows", [1, 700, 1024, 100_000])
def test_batches_hold_every_row_once_and_no_more_at_a_time(folder, rows):
    names, vectors = [], []
    for some, numbers in read_embeddings(folder).batches(rows):
        assert len(some) == len(numbers) <= rows
        names += some
        vectors.append(numbers)
    assert names == [f"i{row}" for row in range(ROWS)]
    np.testing.assert_array_equal(np.concatenate(vectors), VECTORS)


@pytest.mark.parametrize("rows", [0, -1])
def test_batches_without_rows_are_refused(folder, rows):
    with pytest.raises(BadInput, match=f"rows={rows}: a batch has at least 1"):
        next(read_embeddings(folder).batches(rows))


# No more than is asked for.


def test_opening_a_folder_reads_no_rows(folder, groups, monkeypatch):
    monkeypatch.setattr(parquet, "read_table", lambda *_, **__: pytest.fail("a table was read"))
    monkeypatch.setattr(parquet, "read_schema", lambda *_, **__: pytest.fail("a part was opened"))
    assert len(read_embeddings(folder)) == ROWS
    assert groups == []


@pytest.mark.parametrize(
    ("wanted", "read"),
    [
        (0, [0]),
        (slice(1000, 1030), [0, 1]),
        (slice(1795, 1805), [1, 0]),
        ([1900, 3, 2, 1901], [0, 0]),
        ([2999] * 50, [1]),
        (slice(0, 0), []),
        (slice(None), [0, 1, 0, 1]),
    ],
)
def test_only_row_groups_that_hold_a_row_are_read_each_once(folder, groups, wanted, read):
    _ = read_embeddings(folder)[wanted]
    assert groups == read


def test_columns_are_read_without_the_vectors(folder, groups, monkeypatch):
    asked, read = [], parquet.read_table

    def note(path, columns, **options):
        asked.append(columns)
        return read(path, columns=columns, **options)

    monkeypatch.undo()
    monkeypatch.setattr(parquet, "read_table", note)
    _ = read_embeddings(folder)["n_tokens"]
    assert asked == [["n_tokens"], ["n_tokens"]]


# Other numbers, other widths.


def test_int8_is_multiplied_by_its_scales(tmp_path):
    numbers, scales = quantise(VECTORS)
    found = read_embeddings(write(tmp_path / "out", numbers, scales=scales))
    expected = dequantise(numbers, scales)
    for one in (found[:], np.concatenate([vectors for _, vectors in found.batches()])):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, expected)
    np.testing.assert_array_equal(found[[2999, 0, 1800]], expected[[2999, 0, 1800]])
    np.testing.assert_array_equal(found.of(["i7"]), expected[[7]])
    np.testing.assert_array_equal(found["scale"], scales)
    assert (np.abs(found[:] - VECTORS) <= scales[:, None] / 2 * (1 + 1e-6)).all()
    assert found[[]].dtype == np.float32


def test_float16_stays_float16(tmp_path):
    found = read_embeddings(write(tmp_path / "out", VECTORS.astype(np.float16)))
    assert found[5:7].dtype == found[[]].dtype == np.float16
    np.testing.assert_array_equal(found[:], VECTORS.astype(np.float16))


def test_parts_may_have_no_rows(tmp_path):
    """All texts of a part may be left out."""
    found = read_embeddings(write(tmp_path / "out", VECTORS[:10], cuts=(0, 4, 4, 10)))
    np.testing.assert_array_equal(found[:], VECTORS[:10])
    np.testing.assert_array_equal(found[[9, 3, 4]], VECTORS[[9, 3, 4]])
    assert found.ids == [f"i{row}" for row in range(10)]
    nothing = read_embeddings(write(tmp_path / "none", VECTORS[:0], cuts=()))
    assert (nothing.shape, nothing[:].shape, nothing.ids, list(nothing)) == ((0, 4), (0, 4), [], [])


def test_a_part_without_rows_has_no_vectors(tmp_path):
    scales = np.ones(10, np.float32)
    for name, vectors, more in (("float", VECTORS[:10], None), ("int8", np.ones((10, WIDTH), np.int8), scales)):
        found = read_embeddings(write(tmp_path / name, vectors, cuts=(0, 4, 4), scales=more))
        for number, rows in enumerate((0, 4, 0, 6)):
            numbers, (tokens,) = found.part(number, "n_tokens")
            assert (numbers.shape, numbers.dtype, tokens.shape) == ((rows, WIDTH), np.float32, (rows,))


# Columns of which some values are missing.


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [2**53 + 1, None, 2**53 + 3, 2**53 + 5]),
        (pa.uint64(), [2**64 - 1, 1, 2, None]),
        (pa.int8(), [None, 1, 2, 3]),
        (pa.bool_(), [None, True, False, True]),
        (pa.string(), ["a", None, "b", "c"]),
    ],
    ids=str,
)
def test_no_value_of_a_column_changes_where_another_is_missing(tmp_path, kind, values):
    """Each value lies in a part of its own: all parts have one type."""
    ids = {"id": pa.array(list("abcd")), "kept": pa.array(values, kind)}
    folders.write(tmp_path / "out", VECTORS[:4], ids, cuts=(0, 1, 1, 2, 3, 4))
    found = read_embeddings(tmp_path / "out")
    assert found["kept"].dtype == object
    assert found["kept"].tolist() == values == [row["kept"] for row in found.describe(range(4))]


def test_whole_columns_keep_their_types(tmp_path):
    columns = {
        "id": pa.array(list("abc")),
        "year": pa.array([1, 2, 3], pa.int16()),
        "yes": pa.array([True, False, True]),
    }
    folders.write(tmp_path / "out", VECTORS[:3], columns, cuts=(0, 0, 1, 3))
    found = read_embeddings(tmp_path / "out")
    assert (found["year"].dtype, found["yes"].dtype) == (np.int16, bool)


# Missing or damaged files.


def test_a_folder_that_is_not_complete_is_refused(tmp_path):
    with opened(tmp_path / "out", {}, {}, restart=False):
        pass
    with pytest.raises(
        BadInput, match="is not complete: run the same embed again, which goes on where the last run ended"
    ):
        read_embeddings(tmp_path / "out")
    with pytest.raises(BadInput, match="is not an output of embed"):
        read_embeddings(tmp_path / "nowhere")


CUT = r"part-00001\.parquet cannot be read .*: delete it, and run the same embed"
SPOILED = {
    "missing": (lambda path: path.unlink(), r"part-00001\.parquet is missing: run the same embed again"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:99]), CUT),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_part_that_is_spoiled_while_the_folder_is_open_is_named(tmp_path, how):
    folder = write(tmp_path / "out", VECTORS[:10], cuts=(5,))
    found = read_embeddings(folder)
    spoil, message = SPOILED[how]
    spoil(folder / "part-00001.parquet")
    np.testing.assert_array_equal(found[:5], VECTORS[:5])
    reads = (lambda: found[5:], lambda: found.ids, lambda: list(found.batches()), lambda: found.of(["i9"]))
    for read in reads:
        with pytest.raises(BadInput, match=message):
            read()
    with pytest.raises(BadInput, match=r"part-00001\.parquet is (missing|a damaged part)"):
        read_embeddings(folder)


def test_a_part_that_the_system_refuses_to_read_is_not_called_damaged(tmp_path, monkeypatch):
    found = read_embeddings(write(tmp_path / "out", VECTORS[:10], cuts=(5,)))

    def denied(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(parquet, "ParquetFile", denied)
    with pytest.raises(BadInput, match=r"cannot be read .*Too many open files\): check its permissions and its disk"):
        found[:]


def test_an_id_with_half_a_character_is_refused(tmp_path):
    found = read_embeddings(write(tmp_path / "out", VECTORS[:10], cuts=(5,)))
    with pytest.raises(BadInput, match="holds a lone surrogate"):
        found.of(["\ud800"])


def test_a_flipped_bit_is_noticed(tmp_path):
    folder = write(tmp_path / "out", VECTORS[:2000])
    path = folder / "part-00000.parquet"
    whole = path.read_bytes()
    columns = parquet.read_metadata(path).row_group(1)
    spots = {columns.column(at).path_in_schema: columns.column(at) for at in range(columns.num_columns)}
    found = read_embeddings(folder)
    reads = {"id": (lambda: found.ids, lambda: found.of(["i1999"])), "n_tokens": (lambda: found["n_tokens"],)}
    reads["embedding.list.element"] = (lambda: found[1500], lambda: list(found.batches()), lambda: found.of(["i1500"]))
    for name, readers in reads.items():
        data = bytearray(whole)
        data[spots[name].data_page_offset + spots[name].total_compressed_size - 3] ^= 1
        path.write_bytes(data)
        for read in readers:
            with pytest.raises(BadInput, match=r"part-00000\.parquet cannot be read .*: delete it, and run the same"):
                read()
    path.write_bytes(whole)
    np.testing.assert_array_equal(found[:], VECTORS[:2000])


# Others read it too.


def test_pandas_and_datasets_read_the_folder(folder):
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("datasets is not installed")
    from datasets import Dataset

    found = Dataset.from_parquet(sorted(str(path) for path in folder.glob("*.parquet")), cache_dir=str(folder.parent))
    assert found.num_rows == ROWS
    np.testing.assert_array_equal(np.array(found[1805]["embedding"], np.float32), VECTORS[1805])


def test_duckdb_reads_the_folder(folder):
    duckdb = pytest.importorskip("duckdb")
    (row,) = duckdb.read_parquet(f"{folder}/*.parquet").filter("id = 'i1805'").select("embedding").fetchall()
    np.testing.assert_array_equal(np.array(row[0], np.float32), VECTORS[1805])


def test_polars_reads_the_folder(folder):
    polars = pytest.importorskip("polars")
    found = polars.read_parquet(folder / "*.parquet")
    np.testing.assert_array_equal(found["embedding"].to_numpy(), VECTORS)
