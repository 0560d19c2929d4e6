"""The rows of a part as a table: columns, windows, the counts of the footer, and int8. Four texts made by hand.

Then the file: its row groups, what readers skip by, and kept columns, which windows repeat.
"""

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cenote.data.texts import Text
from cenote.embedding import parts
from cenote.embedding.corpus import Slice
from cenote.embedding.options import Options
from cenote.embedding.parts import KeptColumns, Part, group_ends, part_of, write_part
from cenote.embedding.rows import Embedded, Rows
from cenote.records import Manifest

# Rows 1 and 5 of the input hold no text; the model reads "c" in three windows.
TEXTS = [Text("a", "one"), Text("b", "two"), Text("c", "three and more"), Text("d", "four")]
SLICE = Slice(3, 10, 6, TEXTS, [10, 12, 13, 14], [{"row": 11, "why": "null"}], "f3")
REJECTED = [{"row": 15, "why": "late"}, {"row": 11, "why": "null"}]
WHOLE = Rows(
    owner=np.arange(4),
    window=np.zeros(4, np.int64),
    start=np.zeros(4, np.int64),
    end=np.array([len(text.text) for text in TEXTS]),
    n_tokens=np.array([3, 4, 18, 8]),
    truncated=np.array([False, False, True, False]),
    vector=np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32),
)
WINDOWS = Rows(
    owner=np.array([0, 1, 2, 2, 2, 3]),
    window=np.array([0, 0, 0, 1, 2, 0]),
    start=np.array([0, 0, 0, 4, 8, 0]),
    end=np.array([3, 3, 5, 9, 14, 4]),
    n_tokens=np.array([3, 4, 5, 6, 9, 8]),
    truncated=np.array([False, False, False, False, True, False]),
    vector=np.array([[number, 0] for number in range(6)], np.float32),
)
IN_WINDOWS = Options(long="windows", window=8, overlap=1)


def part(rows, options, tokens=33, truncated=1, read=30):
    *found, kept = part_of(Embedded(SLICE, REJECTED, rows, tokens, truncated, read), options)
    assert kept is None
    return found


def with_vectors(vectors):
    rows = WHOLE.take(range(len(vectors)))
    return Rows(**{**vars(rows), "vector": np.array(vectors, np.float32)})


def test_a_row_for_each_text():
    footer, table, rejects = part(WHOLE, Options())
    assert table.to_pydict() == {
        "id": ["a", "b", "c", "d"],
        "embedding": [[1, 2], [3, 4], [5, 6], [7, 8]],
        "n_tokens": [3, 4, 18, 8],
        "truncated": [False, False, True, False],
    }
    assert [str(field.type) for field in table.schema] == [
        "string",
        "fixed_size_list<item: float>[2]",
        "int64",
        "bool",
    ]
    assert (footer.index, footer.first, footer.texts, footer.rows, footer.fingerprint) == (3, 10, 6, 4, "f3")
    assert (footer.truncated, footer.tokens, footer.read) == (1, 33, 30)
    assert ([one["row"] for one in rejects], footer.rejected) == ([11, 15], 2)


def test_a_row_for_each_window():
    footer, table, _ = part(WINDOWS, IN_WINDOWS)
    assert table.to_pydict() == {
        "id": ["a#0", "b#0", "c#0", "c#1", "c#2", "d#0"],
        "parent_id": ["a", "b", "c", "c", "c", "d"],
        "window": [0, 0, 0, 1, 2, 0],
        "start": [0, 0, 0, 4, 8, 0],
        "end": [3, 3, 5, 9, 14, 4],
        "embedding": [[number, 0] for number in range(6)],
        "n_tokens": [3, 4, 5, 6, 9, 8],
        "truncated": [False, False, False, False, True, False],
    }
    assert (footer.texts, footer.rows, footer.truncated, footer.tokens) == (6, 6, 1, 33)


def test_rows_that_were_excluded_leave_no_trace_in_the_others():
    footer, table, _ = part(WHOLE.take([0, 3]), Options(on_error="skip"), 11, 0)
    assert table.column("id").to_pylist() == ["a", "d"]
    assert table.column("n_tokens").to_pylist() == [3, 8]
    assert (footer.texts, footer.rows, footer.truncated, footer.tokens) == (6, 2, 0, 11)
    footer, table, _ = part(WINDOWS.take([1, 5]), IN_WINDOWS, 12, 0)
    assert table.column("id").to_pylist() == ["b#0", "d#0"]
    assert footer.rows == 2


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_part_without_rows_keeps_its_columns(dtype):
    footer, table, _ = part(WHOLE.take([]), Options(dtype=dtype), 0, 0)
    assert (footer.rows, footer.tokens, footer.truncated, table.num_rows) == (0, 0, 0, 0)
    assert table.schema.field("embedding").type.list_size == 2
    assert part(WINDOWS.take([]), IN_WINDOWS)[1].num_rows == 0


@pytest.mark.parametrize(("dtype", "kind"), [("float32", pa.float32()), ("float16", pa.float16()), ("int8", pa.int8())])
def test_numbers_are_written_in_the_dtype(dtype, kind):
    rows = with_vectors([[0.5, -1.27], [0.1, 0], [0, 0], [-0.5, 0.01]])
    _, table, _ = part(rows, Options(dtype=dtype))
    assert table.schema.field("embedding").type == pa.list_(kind, 2)
    numbers = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(4, 2)
    assert ("scale" in table.column_names) == (dtype == "int8")
    scales = table.column("scale").to_numpy() if dtype == "int8" else np.ones(4)
    allowed = {"float32": 0, "float16": 1e-3, "int8": 0.501 * scales[:, None]}[dtype]
    assert (np.abs(numbers * scales[:, None] - rows.vector) <= allowed).all()


def test_int8_has_a_scale_for_each_row():
    _, table, _ = part(with_vectors([[2.54, 0.02], [-0.0127, 0.0064]]), Options(dtype="int8"))
    assert table.column_names == ["id", "embedding", "scale", "n_tokens", "truncated"]
    assert table.schema.field("scale").type == pa.float32()
    np.testing.assert_allclose(table.column("scale").to_numpy(), [0.02, 0.0001], rtol=1e-6)
    assert table.column("embedding").to_pylist() == [[127, 1], [-127, 64]]


# The file.


@pytest.fixture
def written(tmp_path):
    """`written(table, kept)`: a part that was written, opened."""

    def write(table, kept=None):
        manifest = Manifest(1, False, False, {}, {}, None, None)
        part = Part(0, 0, len(table), len(table), "f0", 0, 0, 0)
        write_part(tmp_path, manifest, part, table, [], kept)
        return parquet.ParquetFile(tmp_path / "part-00000.parquet")

    return write


def table_of(ids, width=4):
    vectors = np.arange(len(ids) * width, dtype=np.float32)
    return pa.table({"id": ids, "embedding": pa.FixedSizeListArray.from_arrays(vectors, width)})


def kept_of(rows=None, **columns):
    values = pa.table(columns)
    return KeptColumns(values, np.arange(len(values)) if rows is None else np.array(rows))


@pytest.mark.parametrize(
    ("ids", "ascending"),
    [
        (["a", "b", "c"], True),
        (["10", "2", "3"], True),  # as strings
        (["8", "9", "10"], False),
        (["Z", "a", "é", "😀"], True),  # by their bytes in UTF-8
        (["b", "a"], False),
        (["a"], True),
    ],
)
def test_the_file_says_whether_its_ids_ascend(written, ids, ascending):
    found = written(table_of(ids))
    sorting = found.metadata.row_group(0).sorting_columns
    assert [one.column_index for one in sorting] == ([0] if ascending else [])
    assert sorted(ids, key=str.encode) == ids or not ascending


def test_windows_ascend_by_their_text_and_their_number(written):
    ids = [*("a" for _ in range(12)), "b"]
    numbers = [*range(12), 0]
    table = pa.table({"id": [f"{name}#{number}" for name, number in zip(ids, numbers, strict=True)], "parent_id": ids})
    table = table.append_column("window", pa.array(numbers)).append_column("embedding", table_of(ids)["embedding"])
    group = written(table, kept_of(title=["t"] * 13)).metadata.row_group(0)
    names = [group.column(one.column_index).path_in_schema for one in group.sorting_columns]
    assert names == ["parent_id", "window"]  # `a#10` comes before `a#2`, so the ids themselves do not ascend


def test_every_column_but_the_vectors_and_long_values_has_its_range_in_each_group_and_page(written):
    columns = {"title": ["t"] * 3, "tags": [["x"], [], None], "meta": [{"k": 1}] * 3, "meta.k": [1, 2, 3]}
    group = written(table_of(["a", "b", "c"]), kept_of(**columns)).metadata.row_group(0)
    kinds = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    vectors = kinds.pop("embedding.list.element")
    assert (vectors.compression, vectors.is_stats_set, vectors.has_column_index) == ("UNCOMPRESSED", False, False)
    assert set(kinds) == {"id", "title", "tags.list.element", "meta.k"}  # the last is the path of two columns
    for one in kinds.values():
        assert (one.compression, one.statistics.has_min_max, one.has_offset_index) == ("ZSTD", True, True)
    assert kinds["id"].statistics.max == "c"
    texts = kept_of(short=["a" * 4096, "b", "c"], long=["a" * 4097, "b", "c"])
    group = written(table_of(["a", "b", "c"]), texts).metadata.row_group(0)
    ranges = {group.column(at).path_in_schema: group.column(at).statistics for at in range(group.num_columns)}
    assert {name: ranges[name].has_min_max for name in ("short", "long")} == {"short": True, "long": False}


ROWS = 8192


@pytest.mark.parametrize(
    ("ids", "most"),
    [
        ([f"d{row:05d}" for row in range(ROWS)], 1),
        ([str(row) for row in range(ROWS)], 2),  # as strings: groups overlap a little
        ([f"d{row:05d}" for row in np.random.default_rng(0).permutation(ROWS)], ROWS // 1024),
    ],
    ids=["ascending", "row numbers", "in no order"],
)
def test_duckdb_and_others_read_only_the_groups_that_may_hold_an_id(written, tmp_path, ids, most):
    found = written(table_of(ids)).metadata
    ranges = [found.row_group(at).column(0).statistics for at in range(found.num_row_groups)]
    assert len(ranges) == ROWS // 1024
    duckdb = pytest.importorskip("duckdb")
    scanned = []
    for wanted in ids[5::1500]:
        may_hold = sum(one.min <= wanted <= one.max for one in ranges)
        query = f"from '{tmp_path / 'part-00000.parquet'}' where id = '{wanted}'"
        assert duckdb.sql(f"select id {query}").fetchall() == [(wanted,)]
        plan = duckdb.sql(f"explain analyze select id, embedding {query}").fetchall()[0][1]
        if shown := re.search(r"Row Groups Scanned: (\d+) / 8", plan):  # older versions do not say it
            assert int(shown.group(1)) == may_hold
        scanned.append(may_hold)
    assert max(scanned) == most


# Kept columns.


def test_kept_columns_stand_after_the_ids_and_follow_the_rows():
    kept = pa.table({"title": ["A", None, "C", "D"], "year": [1, 2, 3, 4]})
    piece = replace(SLICE, kept=kept)
    _, table, _, kept = part_of(Embedded(piece, REJECTED, WINDOWS.take([1, 2, 3, 5]), 9, 0, 9), IN_WINDOWS)
    (group,) = parts._row_groups(table, kept)
    assert group.column_names[:4] == ["id", "title", "year", "parent_id"]
    assert group.select(["id", "title", "year"]).to_pydict() == {
        "id": ["b#0", "c#0", "c#1", "d#0"],
        "title": [None, "C", "C", "D"],
        "year": [2, 3, 3, 4],
    }


def test_a_part_without_rows_keeps_its_kept_columns(written):
    empty = kept_of(rows=[], title=pa.array(["A"], pa.string()), tags=[["x"]])
    found = written(table_of(pa.array([], pa.string())), replace(empty, row=np.zeros(0, np.int64)))
    assert found.schema_arrow.names == ["id", "title", "tags", "embedding"]
    assert found.read().num_rows == 0


@pytest.mark.parametrize("most", [10, 1000])
def test_groups_hold_so_many_bytes_of_kept_values_or_one_row(written, monkeypatch, most):
    monkeypatch.setattr(parts, "_GROUP_BYTES", most)
    titles = ["a" * length for length in (4, 4, 4, 25, 1, 1)]
    found = written(table_of(list("abcdef")), kept_of(title=titles)).metadata
    sizes = [found.row_group(at).num_rows for at in range(found.num_row_groups)]
    assert sizes == ([2, 1, 1, 2] if most == 10 else [6])
    assert group_ends(np.array([len(title) for title in titles]), 1024, most) == np.cumsum(sizes).tolist()


def test_windows_of_a_book_repeat_its_text_neither_in_memory_nor_on_the_disk(written):
    """2,000 windows of a text of 400,000 characters: 800 MB if each row held it."""
    random = np.random.default_rng(0)
    book = "".join(random.choice(list("abcdefghij "), 400_000))
    ids = [f"book#{number}" for number in range(2000)]
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    found = written(table_of(ids), kept_of(rows=[0] * 2000, text=[book]))
    assert pool.max_memory() - before < 400_000_000
    groups = [found.metadata.row_group(at) for at in range(found.metadata.num_row_groups)]
    assert sum(group.num_rows for group in groups) == 2000
    assert max(group.num_rows for group in groups) * len(book) <= 2**26
    assert sum(group.total_byte_size for group in groups) < 20_000_000
    assert set(found.read_row_group(3, columns=["text"]).column("text").to_pylist()) == {book}
