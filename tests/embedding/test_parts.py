"""The rows of a part as a table: columns, windows, the counts of the footer, and int8. Four texts made by hand."""

import numpy as np
import pyarrow as pa
import pytest

from cenote.data.texts import Text
from cenote.embedding.corpus import Slice
from cenote.embedding.options import Options
from cenote.embedding.parts import part_of
from cenote.embedding.rows import Embedded, Rows

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


def part(rows, options, tokens=33, truncated=1):
    return part_of(Embedded(SLICE, REJECTED, rows, tokens, truncated), options)


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
    assert (footer.truncated, footer.tokens) == (1, 33)
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
