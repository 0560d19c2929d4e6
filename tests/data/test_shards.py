"""Several files as one source: patterns, lists, folders, datasets folders; the columns that all of them need."""

import gzip
import io
import json
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from cenote.data import sheets
from cenote.data.rows import Text
from cenote.data.texts import Wanted, name_of, open_texts, read, read_rows
from cenote.errors import BadInput, CenoteWarning

from ..sources import ROWS, save_dataset, write_csv, write_jsonl, write_parquet, write_shards


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def line(**record):
    return f"{json.dumps(record)}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Patterns and lists.


def test_a_pattern_is_read_in_the_order_of_the_names(here):
    for name in ("b", "a10", "a2", ".hidden", "deep/c"):
        save(here / f"{name}.jsonl", line(text=name))
    (here / "folder.jsonl").mkdir()
    assert [text for _, text in read("*.jsonl")] == ["a10", "a2", "b"]
    assert [text for _, text in read(here / "**" / "*.jsonl")] == ["a10", "a2", "b", "deep/c"]
    assert [text for _, text in read("[b]*.jsonl")] == ["b"]


def test_a_file_whose_name_has_wildcards_is_no_pattern(here):
    save(here / "a[1].jsonl", line(text="itself"))
    save(here / "a1.jsonl", line(text="another"))
    assert [text for _, text in read("a[1].jsonl")] == ["itself"]


def test_a_list_is_read_in_its_own_order_and_may_mix_kinds_and_patterns(here):
    write_jsonl(ROWS[:3], here / "b.jsonl")
    write_parquet(ROWS[3:5], here / "a.parquet")
    write_jsonl(ROWS[5:], here / "c.jsonl.gz", gzip.compress)
    expected = [(row["id"], row["text"]) for row in ROWS]
    assert list(read(["b.jsonl", "*.parquet", Path("c.jsonl.gz")], columns="text")) == expected
    assert list(open_texts([Path("b.jsonl"), "*.parquet", "c.jsonl.gz"], Wanted(("text",))).read()) == expected


def test_lines_of_several_files_are_numbered_on_and_markdown_has_its_path(here):
    save(here / "a.txt", "one\ntwo\n")
    save(here / "b.txt", "three")
    save(here / "notes" / "c.md", "# Four\n")
    assert list(read(["a.txt", "b.txt", "notes/c.md"])) == [
        ("0", "one"),
        ("1", "two"),
        ("2", "three"),
        ("notes/c.md", "# Four\n"),
    ]


def test_a_list_of_strings_is_one_of_paths_for_a_reader_and_one_of_texts_for_a_verb(here):
    save(here / "a.jsonl", line(text="inside"))
    assert [text for _, text in read(["a.jsonl"])] == ["inside"]
    with pytest.warns(
        CenoteWarning, match=r"the first text, 'a\.jsonl', is the name of a file, which is not read: for f"
    ):
        assert [text for _, text in open_texts(["a.jsonl", "b"]).read()] == ["a.jsonl", "b"]


def test_an_empty_shard_has_no_columns_to_miss(here):
    for name, content in (("a", ""), ("b", line(id="x", text="a")), ("c", "\n\n")):
        save(here / f"{name}.jsonl", content)
    assert list(read("*.jsonl")) == [("x", "a")]
    with pytest.raises(BadInput, match=r"there are no texts in a\.jsonl, c\.jsonl\. Give a source"):
        read(["a.jsonl", "c.jsonl"])


def test_rows_know_their_file(here):
    opened = open_texts(write_shards(ROWS, here), Wanted(("text",)))
    assert sum(1 for _ in opened.read()) == len(ROWS)
    names = [Path(opened.reader.name_of_sheet(row)).name for row in range(len(ROWS))]
    assert names == ["part-0.jsonl"] * 2 + ["part-1.jsonl"] * 5 + ["part-2.jsonl"] * 17
    assert open_texts(["a pool"]).reader.name_of_sheet(0) == ""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "shards/*.jsn",
            r"no file matches the pattern 'shards/\*\.jsn'\. Check it; the folder shards holds: other, part-0",
        ),
        (
            "none/*/a*.jsonl",
            r"no file matches the pattern 'none/\*/a\*\.jsonl'\. Check it; the folder none is missing too",
        ),
        ("?.txt", r"no file matches the pattern '\?\.txt'\. Check it; this folder holds: shards"),
        (["shards/part-0.jsonl", "no.jsonl"], r"no such file or folder: no\.jsonl"),
        (["shards/part-0.jsonl", "-"], r"- is standard input and goes with no file: give one of them"),
        (["shards/part-0.jsonl", 5], r"5 stands among paths: pass paths alone"),
        (["shards/part-0.jsonl", "shards/other"], r"the folder shards/other holds no texts"),
    ],
)
def test_files_that_are_missing_are_named(here, source, message):
    write_shards(ROWS, here)
    (here / "shards" / "other.jsonl").rename(here / "shards" / "other")
    with pytest.raises(BadInput, match=message):
        read(source)


@pytest.mark.parametrize("text", ["A pool that a collapse made.", "Is 2*3 = 6? " * 99, "x" * 5000, "a\0b", ""])
def test_a_text_in_the_place_of_a_path_is_refused_with_the_remedy(here, text):
    with pytest.raises(BadInput, match=r"A single text is passed in a list: \[text\]\.$") as caught:
        open_texts(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("source", ["*.jsonl", "-"])
def test_a_path_that_is_found_is_no_text(here, monkeypatch, source):
    save(here / "a.jsonl", line(txt="a"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a pool")))
    with pytest.raises(BadInput, match=r"no column 'body'|unknown column") as caught:
        open_texts(source, Wanted(columns=("body",)))
    assert "single text" not in str(caught.value)


# Columns that differ.


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (
            {"text": "a", "url": 1},
            {"text": "b"},
            {"keep": "url"},
            r"b\.jsonl has no column 'url', which a\.jsonl has\. .*k",
        ),
        ({"text": "a", "url": 1}, {"text": "b"}, {"keep": "all"}, r"b\.jsonl has no column 'url', which a\.jsonl has"),
        (
            {"id": 1, "text": "a"},
            {"text": "b"},
            {},
            r"b\.jsonl has no column 'id', which a\.jsonl has\. Name files with",
        ),
        ({"text": "a"}, {"id": 1, "text": "b"}, {}, r"b\.jsonl has a column 'id', which a\.jsonl does not have"),
        ({"text": "a"}, {"body": "b"}, {}, r"b\.jsonl has no column 'text', which a\.jsonl has"),
        (
            {"text": "a"},
            {"text": "b", "url": 1},
            {"keep": "all"},
            r"b\.jsonl has a column 'url', which a\.jsonl does not have\. .*or name the columns to keep with `keep`",
        ),
        (
            {"t": "", "text": "a"},
            {"text": "b"},
            {"columns": ["t", "text"]},
            r"b\.jsonl has no column 't', which a\.jsonl",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_shards_of_different_columns_are_refused_before_a_row_is_read(
    here, monkeypatch, first, second, options, message, suffix
):
    for name, record in (("a", first), ("b", second)):
        {"jsonl": write_jsonl, "parquet": write_parquet}[suffix]([record] * 3, here / f"{name}.{suffix}")
    monkeypatch.setattr(sheets, "row_of_record", lambda *_: pytest.fail("a row was read"))
    with pytest.raises(BadInput, match=message.replace("jsonl", suffix)):
        read_rows([f"a.{suffix}", f"b.{suffix}"], **options)


def test_other_columns_may_differ_in_a_list(here):
    save(here / "a.jsonl", line(text="a", url=1))
    save(here / "b.jsonl", line(text="b", year=2))
    assert [text for _, text in read(["a.jsonl", "b.jsonl"])] == ["a", "b"]


def test_plain_text_does_not_go_with_columns(here):
    save(here / "a.jsonl", line(text="a"))
    save(here / "b.txt", "b\n")
    with pytest.raises(BadInput, match=r"b\.txt is plain text, and a\.jsonl has columns\. Name files of one kind"):
        read(["a.jsonl", "b.txt"])


def test_a_key_that_a_later_line_lacks_is_a_fault_of_the_row(here):
    save(here / "a.jsonl", line(text="a", url=1) + line(text="b"))
    first, second = read_rows("a.jsonl", keep="url")
    assert (first, first.values) == (Text("0", "a"), (1,))
    assert second.why.startswith("unknown column of a.jsonl, line 2: 'url'. There are: text.")


def test_a_key_that_the_first_line_lacks_is_a_fault_where_all_are_kept(here):
    save(here / "a.jsonl", line(text="a") + line(text="b", url="u") + line(text="c"))
    first, second, third = read_rows("a.jsonl", keep="all")
    assert (first.values, third.values) == (("a",), ("c",))
    assert second.why.startswith("a.jsonl, line 2: the row has a column 'url', which the first row does not have")
    assert [row.values for row in read_rows("a.jsonl", keep="text")] == [("a",), ("b",), ("c",)]


# Folders.


def test_a_folder_of_shards_leaves_out_marks_and_other_files(here):
    folder = write_shards(ROWS, here)
    for name in ("_SUCCESS", ".part-0.jsonl", "_part.jsonl", "log.png"):
        (folder / name).write_bytes(b"\xff")
    assert len(list(read(folder, columns="text"))) == len(ROWS)


def test_a_folder_of_different_tables_is_refused(here):
    """As of BEIR: queries are no documents."""
    save(here / "data" / "corpus.jsonl", line(_id="1", title="", text="a"))
    save(here / "data" / "queries.jsonl", line(_id="1", text="b"))
    message = (
        r"data holds different tables: .*corpus\.jsonl has a column 'title', and .*queries\.jsonl has none\. Name the f"
    )
    with pytest.raises(BadInput, match=message):
        read("data")


def test_rows_of_one_table_may_lack_columns_that_others_have(here):
    save(here / "data" / "a.jsonl", line(text="a", url="u"))
    save(here / "data" / "b.jsonl", line(text="b") + line(text="c", url="u"))
    assert [text for _, text in read("data")] == ["a", "b", "c"]
    write_parquet([{"text": "a"}], here / "data" / "a.parquet")
    write_parquet([{"text": "b", "url": "u"}], here / "data" / "b.parquet")
    for path in (here / "data").glob("*.jsonl"):
        path.unlink()
    with pytest.raises(BadInput, match=r"data holds different tables: .*b\.parquet has a column 'url'"):
        read("data")


def test_shards_below_a_folder_of_shards_are_said(here):
    save(here / "data" / "a.jsonl", line(text="a"))
    save(here / "data" / "more" / "b.jsonl", line(text="b"))
    with pytest.warns(CenoteWarning, match=r"data: files of many texts in its folders are not read: more/b\.jsonl"):
        assert [text for _, text in read("data")] == ["a"]
    with pytest.warns(CenoteWarning, match=r"data/\*: folders that match are not read: data/more$"):
        assert [text for _, text in read("data/*")] == ["a"]
    assert [text for _, text in read("data/**")] == ["a", "b"]
    (here / "data" / "more" / "b.jsonl").rename(here / "data" / "more" / "b.png")
    assert [text for _, text in read("data/*")] == ["a"]


@pytest.mark.parametrize("source", ["data", "data/*", "texts"])
def test_a_file_beside_its_zipped_self_is_refused(here, source):
    for path in ("data/a.jsonl", "texts/a.md"):
        save(here / path, line(text="a"))
        (here / f"{path}.gz").write_bytes(gzip.compress(line(text="a").encode()))
    message = (
        r"a\.(jsonl|md) and .*a\.(jsonl|md)\.gz would both be read\. Delete one of them, or name the files to read"
    )
    with pytest.raises(BadInput, match=message):
        read(source)
    assert len(list(read(["data/a.jsonl", "data/a.jsonl.gz"]))) == 2


def test_json_files_beside_shards_are_not_read_and_said(here):
    folder = write_shards(ROWS, here)
    save(folder / "manifest.json", "{}")
    with pytest.warns(CenoteWarning, match=r"\.json files beside other data are not read: manifest\.json"):
        assert len(list(read(folder, columns="text"))) == len(ROWS)


def test_json_files_alone_are_shards_and_beside_texts_are_none(here):
    save(here / "arrays" / "a.json", '["one"]')
    save(here / "arrays" / "b.json", '["two"]')
    assert [text for _, text in read("arrays")] == ["one", "two"]
    save(here / "texts" / "a.txt", "one")
    save(here / "texts" / "meta.json", "{}")
    assert list(read("texts")) == [("a.txt", "one")]


def test_files_of_many_texts_below_single_texts_are_said(here):
    save(here / "docs" / "README.md", "one")
    save(here / "docs" / "data" / "train.csv", "text\na\n")
    with pytest.warns(CenoteWarning, match=r"docs: files of many texts in its folders are not read: data/train\.csv"):
        assert list(read("docs")) == [("README.md", "one")]
    (here / "docs" / "README.md").unlink()
    with pytest.raises(
        BadInput, match=r"the folder docs holds no texts: .*; its folders hold data/train\.csv\. Name a file"
    ):
        read("docs")


@pytest.mark.parametrize("name", ["a.md.gz", "b.txt.zst"])
def test_zipped_texts_of_a_folder_are_read(here, name):
    (here / "docs").mkdir()
    (here / "docs" / name).write_bytes(gzip.compress(b"one"))
    assert list(read("docs")) == [(name, "one")]


# Folders of datasets.


def test_a_datasets_folder_is_read_in_its_own_order(here):
    folder = save_dataset(ROWS, here)
    state = json.loads((folder / "state.json").read_text())
    assert len(state["_data_files"]) == 3
    state["_data_files"].reverse()
    (folder / "state.json").write_text(json.dumps(state))
    assert [text.id for text in read(folder, columns="text")] == [
        f"doc-{row}" for row in (*range(16, 24), *range(8, 16), *range(8))
    ]


def test_splits_are_named(here):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    one = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(str(here / "both"))
    with pytest.raises(BadInput, match=r"both holds the splits test, train\. Name one of them: both/NAME"):
        read("both")
    assert len(list(read("both/train", columns="text"))) == len(ROWS)


@pytest.mark.parametrize("state", ["", "{}", "[]", '{"_data_files": [{}]}', '{"_data_files": null}'])
def test_a_damaged_datasets_folder_is_refused(here, state):
    folder = save_dataset(ROWS, here)
    (folder / "state.json").write_text(state)
    with pytest.raises(BadInput, match=r"state\.json is damaged .*\. Save the dataset again"):
        read(folder)


def test_a_selection_of_an_early_release_is_refused(here):
    folder = save_dataset(ROWS, here)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(BadInput, match=r"dataset holds a selection of rows\. Load it with `datasets`"):
        read(folder)


# Titles.


@pytest.mark.parametrize(
    ("records", "options"),
    [
        ([{"title": "", "text": "a"}], {}),
        ([{"title": None, "text": "a"}], {}),
        ([{"title": 5, "text": "a"}], {}),
        ([{"title": "T", "text": "a"}], {"columns": "text"}),
        ([{"title": "T", "text": "a"}], {"columns": ("title", "text")}),
        ([{"title": "T", "text": "a"}], {"id_column": "title"}),
        ([{"headline": "T", "text": "a"}], {}),
    ],
)
def test_no_warning_of_a_title_that_is_empty_read_or_refused(here, records, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(read(write_jsonl(records, here / "a.jsonl"), **options))) == 1


@pytest.mark.parametrize("second", ["b.jsonl", "b.csv"])
def test_a_title_of_a_later_file_is_said(here, second):
    save(here / "a.jsonl", line(text="a"))
    (write_jsonl if second == "b.jsonl" else write_csv)([{"title": "A cave", "text": "b"}], here / second)
    with pytest.warns(CenoteWarning, match=rf"{second}: the column 'title' is not part of the text"):
        assert [text for _, text in read(["a.jsonl", second])] == ["a", "b"]


# Names.


def test_a_source_is_called_by_its_paths():
    assert name_of("a.jsonl") == name_of(Path("a.jsonl")) == "a.jsonl"
    assert name_of("-") == "standard input"
    assert name_of([Path(f"{number}.txt") for number in range(10)]).endswith("7.txt and 2 more")
    assert {name_of(source) for source in (["a", "b"], [("a", "b")], [{"text": "a"}], iter("ab"), None, 5)} == {"texts"}


def test_a_folder_that_cannot_be_read_is_reported(here, monkeypatch):
    (here / "docs").mkdir()

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", "docs")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInput, match=r"docs cannot be read .*Permission denied"):
        read("docs")


def test_a_tilde_is_the_home_also_in_a_pattern(tmp_path, monkeypatch):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.txt").write_text("a pool\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for path in ("~/shards/*.txt", Path("~/shards/a.txt"), "~/shards/a.txt"):
        assert [text.text for text in read(path)] == ["a pool"]
    with pytest.raises(BadInput, match=r"no such file or folder: ~of-nobody/a\.txt"):
        read("~of-nobody/a.txt")
