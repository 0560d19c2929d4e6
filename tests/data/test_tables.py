"""Every source gives the same rows: files, shards, folders, frames, tables, datasets, lists."""

import itertools
import subprocess
import sys
import tracemalloc
from collections import deque
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cenote.data import tables
from cenote.data.rows import Fault, Text
from cenote.data.texts import Wanted, open_texts, read, read_rows
from cenote.errors import BadInput, CenoteWarning, UnknownName

from ..sources import OBJECTS, PATHS, ROWS, SOURCES, write_arrow

pd = pytest.importorskip("pandas")  # comes with datasets
PLAIN = [Text(row["id"], row["text"]) for row in ROWS]
TITLED = "the column 'title' is not part of the text"


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_rows(tmp_path, kind):
    assert list(read(SOURCES[kind](ROWS, tmp_path), columns="text")) == PLAIN


@pytest.mark.parametrize("kind", ["arrow stream", "arrow file", "feather"])
def test_a_name_of_a_column_that_is_not_utf_8_is_damage(tmp_path, kind):
    path = PATHS[kind]([{"id": "1", "text": "a pool", "écoute": 1}], tmp_path)
    content = path.read_bytes()
    assert "écoute".encode() in content
    path.write_bytes(content.replace("é".encode(), b"\xc3("))
    with pytest.raises(BadInput, match=r"damaged Arrow .*utf-8"):
        list(read(path))


@pytest.mark.parametrize("kind", SOURCES)
def test_columns_are_joined_and_kept_from_every_source(tmp_path, kind):
    found = list(read(SOURCES[kind](ROWS, tmp_path), columns=("title", "text"), keep=("year", "title")))
    assert found == [(row["id"], f"{row['title']} {row['text']}") for row in ROWS]
    number = str if kind in ("csv", "tsv") else int  # CSV has strings
    assert [row.values for row in found] == [(number(row["year"]), row["title"]) for row in ROWS]


@pytest.mark.parametrize("kind", SOURCES)
def test_all_columns_but_the_id_are_kept_in_their_order(tmp_path, kind):
    opened = open_texts(SOURCES[kind](ROWS, tmp_path), Wanted.of("text", None, "all"))
    assert opened.reader.kept == ("title", "text", "year")
    assert [row.values[1] for row in opened.read()] == [row["text"] for row in ROWS]


@pytest.mark.parametrize("kind", SOURCES)
def test_rows_without_ids_are_numbered_through_all_files(tmp_path, kind):
    rows = [{"text": row["text"]} for row in ROWS]
    assert list(read(SOURCES[kind](rows, tmp_path))) == [(str(n), row["text"]) for n, row in enumerate(ROWS)]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_title_that_is_not_read_is_said_once(tmp_path, kind):
    source = SOURCES[kind](ROWS, tmp_path)
    opened = open_texts(source)
    with pytest.warns(CenoteWarning, match=f"{TITLED}. Read both with columns=") as said:
        assert list(opened.read()) == PLAIN
    assert len(said) == 1
    assert opened.rereadable == (kind not in ("iterator of mappings", "reader"))
    if opened.rereadable:
        assert list(opened.read()) == PLAIN  # without another warning


@pytest.mark.parametrize("kind", SOURCES)
def test_a_title_of_a_later_row_is_said(tmp_path, kind):
    rows = [{**row, "title": "A cave" if place == 13 else ""} for place, row in enumerate(ROWS)]
    with pytest.warns(CenoteWarning, match=TITLED) as said:
        assert list(open_texts(SOURCES[kind](rows, tmp_path)).read()) == PLAIN
    assert len(said) == 1


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("keep", [("title", "text"), "all"], ids=str)
def test_a_title_that_is_kept_and_not_read_is_said(tmp_path, kind, keep):
    with pytest.warns(CenoteWarning, match=TITLED):
        assert list(open_texts(SOURCES[kind](ROWS, tmp_path), Wanted(keep=keep)).read()) == PLAIN


def test_a_title_that_the_first_row_lacks_is_said():
    rows = [{"text": "a"}, {"title": "A cave", "text": "b"}]
    for texts in (rows, iter(rows), lambda: iter(rows)):
        with pytest.warns(CenoteWarning, match=TITLED):
            assert list(open_texts(texts).read()) == [("0", "a"), ("1", "b")]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_missing_column_raises_before_a_row_is_read(tmp_path, kind):
    source = SOURCES[kind](ROWS, tmp_path)
    for options in ({"columns": "txt"}, {"columns": ("text", "txt")}, {"keep": ["txt"]}, {"id_column": "txt"}):
        with pytest.raises(UnknownName, match=r"unknown column of .*'txt'; did you mean 'text'\? There are: id, title"):
            open_texts(SOURCES[kind](ROWS, tmp_path) if "iter" in kind else source, Wanted.of(**FULL | options))


FULL = {"columns": "text", "id_column": None, "keep": ()}


@pytest.mark.parametrize(
    "kind", sorted(OBJECTS.keys() - {"list of paths", "iterator of mappings", "reader", "iterable dataset"})
)
def test_objects_in_memory_know_their_number_of_rows(tmp_path, kind):
    assert open_texts(OBJECTS[kind](ROWS, tmp_path), Wanted.of(**FULL)).count == len(ROWS)


@pytest.mark.parametrize("kind", PATHS)
def test_files_do_not_know_it(tmp_path, kind):
    assert open_texts(PATHS[kind](ROWS, tmp_path), Wanted.of(**FULL)).count is None


# Single columns and other forms of tables.


@pytest.mark.parametrize(
    "build",
    [
        lambda texts: pd.Series(texts, name="other"),
        lambda texts: pytest.importorskip("polars").Series(texts),
        pa.array,
        lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
        lambda texts: pa.record_batch({"text": texts}),
        lambda texts: pytest.importorskip("datasets").Dataset.from_dict({"text": texts})["text"],
    ],
    ids=["pandas", "polars", "array", "chunked array", "batch", "datasets"],
)
def test_a_column_is_a_list_of_texts(build):
    assert list(read(build(["a pool", "a cave", ""]))) == [("0", "a pool"), ("1", "a cave"), ("2", "")]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_type_of_strings_is_read(kind):
    column = (
        pa.array(["a", None, "c"]).cast(kind) if not pa.types.is_string_view(kind) else pa.array(["a", None, "c"], kind)
    )
    first, second, third = read_rows(pa.table({"text": column}))
    assert (first, third) == (("0", "a"), ("2", "c"))
    assert second.why.startswith("the Table, row 1 (from 0): the text is null")


def test_values_keep_their_types_also_where_they_are_nested():
    cells = {"tags": ["a", "b"], "place": {"lat": 1.5}, "raw": b"\x00", "none": None}
    (row,) = read([{"text": "x", **cells}], keep="all")
    assert row.values == ("x", *cells.values())
    (row,) = read(pa.Table.from_pylist([{"text": "x", **cells}]), keep=tuple(cells))
    assert row.values == tuple(cells.values())


# pandas.


def test_the_index_is_an_id_only_if_it_is_named():
    frame = pd.DataFrame({"key": ["x", "y"], "text": ["a", "b"]}).set_index("key")
    assert list(read(frame)) == [("0", "a"), ("1", "b")]
    assert list(read(frame, id_column="key")) == [("x", "a"), ("y", "b")]
    with pytest.raises(UnknownName, match=r"column of the DataFrame: 'id'\. There are: text"):
        read(frame, id_column="id")


def test_objects_of_several_types_spoil_only_their_rows():
    frame = pd.DataFrame({"text": ["a", 5, None, float("nan"), "e"], "mixed": [1, "b", None, [2], 1.5]}, dtype=object)
    first, number, null, missing, last = read_rows(frame, keep="mixed")
    assert (first, first.values, last, last.values) == (("0", "a"), (1,), ("4", "e"), (1.5,))
    assert "row 1 (from 0): the text is int 5, not a string" in number.why
    for row in (null, missing):
        assert "the text is null" in row.why


def test_one_object_of_another_type_spoils_no_other_row():
    frame = pd.DataFrame({"id": [1, 2.5, "x"], "text": ["good", "fine", b"bad"]}, dtype=object)
    first, second, third = read_rows(frame)
    assert first == ("1", "good")
    assert "row 1 (from 0): the id is float 2.5" in second.why
    assert "row 2 (from 0): the text is bytes b'bad'" in third.why


def test_names_that_are_numbers_and_repeated_names():
    assert list(read(pd.DataFrame([["a"], ["b"]]), columns="0")) == [("0", "a"), ("1", "b")]
    with pytest.raises(BadInput, match=r"the DataFrame has 2 columns 'text'\. Rename all but one"):
        read(pd.DataFrame([["a", "b"]], columns=["text", "text"]))


# Damage.


def test_values_out_of_range_of_python_are_faults_of_their_rows():
    times = pa.array([0, 10**15, 1], pa.timestamp("s"))
    first, second, third = read_rows(pa.table({"text": ["a", "b", "c"], "time": times}), keep="time")
    assert (first, third) == (("0", "a"), ("2", "c"))
    assert isinstance(second, Fault)
    assert "the Table, row 1 (from 0): damaged, or out of Python's range" in second.why


def test_nanoseconds_are_read_without_pandas(tmp_path):
    times = pa.array([1, None, 10**18 + 1], pa.timestamp("ns", "UTC"))
    spans, day = times.cast(pa.int64()).cast(pa.duration("ns")), pa.array([0, 1, 1000], pa.time64("ns"))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"], "time": times, "span": spans}), path)
    script = (
        "import sys; sys.modules['pandas'] = None; from cenote.data.texts import read; "
        f"print([row.values for row in read({str(path)!r}, keep=('time', 'span'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([row.values for row in read(path, keep=("time", "span"))])
    found = [row.values for row in read(path, keep=("time", "span"))]
    assert found[0] == (np.datetime64(1, "ns"), np.timedelta64(1, "ns"))
    assert found[1:] == [(None, None), (np.datetime64(10**18 + 1, "ns"), np.timedelta64(10**18 + 1, "ns"))]
    first, second, third = read_rows(pa.table({"text": ["a", "b", "c"], "day": day}), keep="day")
    assert (first.values[0].isoformat(), third.values[0].microsecond) == ("00:00:00", 1)
    assert "would lose data: 1" in second.why


def test_bytes_that_are_not_utf8_are_a_fault_of_their_row():
    column = pa.array([b"a"] * 100 + [b"\xff"] + [b"c"] * 100).cast(pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(column), column.buffers())
    rows = list(read_rows(pa.table({"text": strings})))
    assert [isinstance(row, Fault) for row in rows] == [False] * 100 + [True] + [False] * 100
    assert "row 100 (from 0): damaged" in rows[100].why


# Other objects.


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: pytest.importorskip("polars").LazyFrame({"text": ["a"]}),
            r"a LazyFrame, which is not computed yet: pass ",
        ),
        (lambda: datasets().DatasetDict({"train": datasets().Dataset.from_dict({"text": ["a"]})}), r"texts\['train'\]"),
        (lambda: {"a": "one"}, r"texts is a dict: pass a list of its texts, or of \(id, text\): list\(texts\.items"),
        (lambda: b"bytes", r"texts is b'bytes': pass strings"),
        (lambda: 5, r"texts is 5: pass strings, \(id, text\), mappings, a table, or the path of a file"),
    ],
    ids=["lazy", "splits", "mapping", "bytes", "number"],
)
def test_other_objects_are_refused_with_the_remedy(build, message):
    for read_any in (open_texts, read_rows):
        with pytest.raises(BadInput, match=message):
            read_any(build())


def datasets():
    return pytest.importorskip("datasets")


def test_a_stream_of_a_dataset_without_known_columns():
    stream = datasets().IterableDataset.from_generator(lambda: iter(ROWS))
    assert stream.column_names is None
    assert list(read(stream, columns="text", keep="all")) == PLAIN


def test_a_dataset_with_a_transform_is_refused():
    dataset = datasets().Dataset.from_dict({"text": ["a"]})
    dataset.set_transform(lambda batch: {"text": [text.upper() for text in batch["text"]]})
    with pytest.raises(BadInput, match=r"the Dataset has a transform .*dataset\.map\(.*dataset\.with_format\(None\)"):
        open_texts(dataset)
    assert list(read(dataset.with_format(None))) == list(read(dataset.with_format("numpy"))) == [("0", "a")]


class Streamed:
    """A wrapper of a stream, as tqdm is: it has a length, and starts the same stream whenever it is read."""

    def __init__(self, stream, length):
        self.stream, self.length = stream, length

    def __iter__(self):
        yield from self.stream

    def __len__(self):
        return self.length() if callable(self.length) else self.length


@pytest.mark.parametrize("length", [2, lambda: len(None)], ids=["known", "unknown"])
def test_a_wrapper_of_a_stream_is_read_once(length):
    opened = open_texts(Streamed(iter([{"title": "", "text": "a"}, {"title": "", "text": "b"}]), length))
    assert (opened.rereadable, opened.count) == (False, None)
    assert list(opened.read()) == [("0", "a"), ("1", "b")]


@pytest.mark.parametrize(
    "build",
    [list, tuple, dict.fromkeys, set, deque, lambda texts: dict(enumerate(texts)).values(), np.array],
    ids=["list", "tuple", "keys", "set", "deque", "values", "array"],
)
def test_collections_are_read_again(build):
    given = build(["a", "b"])
    opened = open_texts(given.keys() if isinstance(given, dict) else given)
    assert (opened.rereadable, opened.count) == (True, 2)
    assert sorted(opened.read()) == sorted(opened.read())
    assert {row.text for row in opened.read()} == {"a", "b"}


@pytest.mark.parametrize("name", ["datasets", "pandas", "polars"])
def test_a_module_of_the_callers_own_may_have_the_name_of_a_package(monkeypatch, name):
    own = ModuleType(name)
    own.Dataset = own.DataFrame = type("Dataset", (list,), {"__module__": name + ".own"})
    monkeypatch.setitem(sys.modules, name, own)
    assert list(read(own.Dataset([{"text": "a pool"}]))) == list(open_texts(["a pool"]).read()) == [("0", "a pool")]


@pytest.mark.parametrize(
    ("rows", "later"),
    [
        (["a", {"id": "x", "text": "b"}], "row 1: the row has an id, and the first row has none"),
        ([{"id": "x", "text": "a"}, {"text": "b"}], "unknown column of row 1: 'id'"),
        ([("x", "a"), {"id": "y", "text": "b"}], "row 1: the row has an id, and the first row has none"),
    ],
)
def test_a_function_has_the_rules_of_the_list_that_it_returns(rows, later):
    for texts in (rows, lambda: rows, lambda: iter(rows)):
        first, second = open_texts(texts).read()
        assert first.text == "a"
        assert second.why.startswith(later)
    with pytest.raises(UnknownName, match=r"column of row 0: 'key'"):
        list(open_texts(lambda: ["a"], Wanted(id_column="key")).read())


# Memory and imports.


@pytest.mark.parametrize("kind", ["arrow stream", "pandas", "table", "dataset", "reader"])
def test_tables_become_python_objects_in_pieces(tmp_path, kind):
    rows = [{"text": f"{row} " + "word " * 400} for row in range(4000)]  # 8 MB
    source = SOURCES[kind](rows, tmp_path)
    next(read(SOURCES[kind](rows[:1], tmp_path) if kind == "reader" else source))  # imports on first use
    tracemalloc.start()
    assert sum(1 for _ in read(source)) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


def test_a_batch_as_large_as_the_file_is_read_in_pieces(monkeypatch):
    alive = []
    whole = tables.to_list
    monkeypatch.setattr(tables, "to_list", lambda column: alive.append(len(column)) or whole(column))
    assert len(list(read(pa.table({"text": ["a"] * 1000})))) == 1000
    assert max(alive) == tables.PIECE


def test_reading_text_files_imports_no_package_of_tables(tmp_path):
    path = PATHS["csv"](ROWS, tmp_path)
    script = (
        f"import sys; from cenote.data.texts import read; list(read({str(path)!r}, columns='text')); "
        "print({'pandas', 'polars', 'datasets', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_frame_is_read_where_pandas_is_old(monkeypatch):
    """Before 2.2 its frames had no Arrow interface."""
    frame = pd.DataFrame({"id": ["x"], "text": ["a"]})
    monkeypatch.delattr(pd.DataFrame, "__arrow_c_stream__")
    assert list(read(frame)) == [("x", "a")]


def test_a_reader_is_read_once_and_slowly():
    started = []

    def batches():
        for number in range(100):
            started.append(number)
            yield pa.record_batch({"text": [f"{number}"] * 10})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"text": pa.string()}), batches())
    assert [row.text for row in itertools.islice(read(reader), 11)] == ["0"] * 10 + ["1"]
    assert len(started) < 5


@pytest.mark.parametrize("form", [pa.ipc.new_stream, pa.ipc.new_file], ids=["stream", "file"])
def test_values_that_point_outside_of_an_arrow_file_are_refused(form, tmp_path):
    """Pyarrow would read there, and the process would crash."""
    path = write_arrow([{"text": "12345"}, {"text": "1234567"}], tmp_path / "a.arrow", form)
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 5, 12))
    broken = b"".join(number.to_bytes(4, "little") for number in (0, 5, 2**31 - 8))
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, broken))
    with pytest.raises(BadInput, match=r"row 0 \(from 0\): damaged Arrow"):
        list(read(path))
