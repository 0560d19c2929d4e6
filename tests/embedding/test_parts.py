"""From vectors to the rows of a part: columns, windows, what the footer counts, and int8.

Everything is made by hand, so that each number can be counted: four texts, one of them in three windows.
"""

import numpy as np
import pyarrow as pa
import pytest

from cenote.data.texts import Text
from cenote.embedding.corpus import Stretch
from cenote.embedding.parts import part_of
from cenote.embedding.vectorising import Options, Prepared, Read
from cenote.encoding.tokens import Tokenised
from cenote.encoding.windows import Window

TEXTS = [Text("a", "one"), Text("b", "two"), Text("c", "three and more"), Text("d", "four")]
# Rows 1 and 5 of the input hold no text; of "c" the model reads three windows, of the others all at once.
PLACES, OWNERS = [10, 12, 13, 14], [0, 1, 2, 2, 2, 3]
SPANS = [Window(0, 3), Window(0, 3), Window(0, 5), Window(4, 9), Window(8, 14), Window(0, 4)]


def tokens(lengths, whole):
    return Tokenised({}, np.concatenate([[0], np.cumsum(lengths)]), np.array(whole, np.int64), {})


def read(rows, vectors, *, windows, rejected=()):
    stretch = Stretch(3, 10, 6, TEXTS, PLACES, [{"row": 11, "why": "null"}], "f3")
    if windows:
        pieces, owners, spans = tokens([3, 4, 5, 6, 7, 8], [3, 4, 5, 6, 9, 8]), np.array(OWNERS), SPANS
    else:
        pieces, owners, spans = tokens([3, 4, 8, 8], [3, 4, 18, 8]), np.arange(4), [SPANS[0]] * 4
    whole, cut = np.array([3, 4, 18, 8]), np.array([False, False, True, False])
    prepared = Prepared(
        stretch,
        [{"row": 15, "why": "late"}, *rejected, *stretch.rejected],
        [0, 1, 2, 3],
        pieces,
        owners,
        spans,
        whole,
        cut,
    )
    return Read(prepared, np.array(vectors, np.float32), rows)


def test_one_row_for_each_text():
    vectors = [[1, 2], [3, 4], [5, 6], [7, 8]]
    part, table, rejects = part_of(read([0, 1, 2, 3], vectors, windows=False), Options())
    assert table.to_pydict() == {
        "id": ["a", "b", "c", "d"],
        "embedding": vectors,
        "n_tokens": [3, 4, 18, 8],
        "truncated": [False, False, True, False],
    }
    assert [str(field.type) for field in table.schema] == [
        "string",
        "fixed_size_list<item: float>[2]",
        "int64",
        "bool",
    ]
    assert (part.index, part.first, part.texts, part.rows, part.fingerprint) == (3, 10, 6, 4, "f3")
    assert (part.truncated, part.tokens) == (1, 33)
    assert ([one["row"] for one in rejects], part.rejected) == ([11, 15], 2)


def test_texts_that_are_left_out_leave_no_trace_in_the_rows():
    part, table, _ = part_of(read([0, 3], [[1, 2], [7, 8]], windows=False), Options(on_error="skip"))
    assert table.column("id").to_pylist() == ["a", "d"]
    assert table.column("n_tokens").to_pylist() == [3, 8]
    assert (part.texts, part.rows, part.truncated, part.tokens) == (6, 2, 0, 11)


def test_one_row_for_each_window():
    found = read([0, 1, 2, 3, 4, 5], [[number, 0] for number in range(6)], windows=True)
    part, table, _ = part_of(found, Options(long="windows", window=5, overlap=1))
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
    assert (part.texts, part.rows, part.truncated, part.tokens) == (6, 6, 1, 33)


def test_windows_of_a_text_that_is_left_out():
    found = read([1, 5], [[1, 0], [5, 0]], windows=True)
    part, table, _ = part_of(found, Options(long="windows", window=5, overlap=1, on_error="skip"))
    assert table.column("id").to_pylist() == ["b#0", "d#0"]
    assert (part.rows, part.truncated, part.tokens) == (2, 0, 12)


def test_nothing_left():
    nothing = read([], np.zeros((0, 2)), windows=False)
    for dtype in ("float32", "float16", "int8"):
        part, table, _ = part_of(nothing, Options(dtype=dtype))
        assert (part.rows, part.tokens, part.truncated, table.num_rows) == (0, 0, 0, 0)
        assert table.schema.field("embedding").type.list_size == 2
    windows = read([], np.zeros((0, 2)), windows=True)
    assert part_of(windows, Options(long="windows", window=5, overlap=1))[1].num_rows == 0


@pytest.mark.parametrize(("dtype", "kind"), [("float32", pa.float32()), ("float16", pa.float16()), ("int8", pa.int8())])
def test_numbers_are_written_as_asked(dtype, kind):
    found = read([0, 1, 2, 3], [[0.5, -1.27], [0.1, 0], [0, 0], [-0.5, 0.01]], windows=False)
    options = Options(dtype=dtype)
    _, table, _ = part_of(found, options)
    assert table.schema.field("embedding").type == pa.list_(kind, 2)
    numbers = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(4, 2)
    assert ("scale" in table.column_names) == (dtype == "int8")
    scales = table.column("scale").to_numpy() if dtype == "int8" else np.ones(4)
    allowed = {"float32": 0, "float16": 1e-3, "int8": 0.501 * scales[:, None]}[dtype]
    assert (np.abs(numbers * scales[:, None] - found.vectors) <= allowed).all()


def test_int8_has_a_scale_for_each_row():
    _, table, _ = part_of(read([0, 1], [[2.54, 0.02], [-0.0127, 0.0064]], windows=False), Options(dtype="int8"))
    assert table.column_names == ["id", "embedding", "scale", "n_tokens", "truncated"]
    assert table.schema.field("scale").type == pa.float32()
    np.testing.assert_allclose(table.column("scale").to_numpy(), [0.02, 0.0001], rtol=1e-6)
    assert table.column("embedding").to_pylist() == [[127, 1], [-127, 64]]
