"""Columns of labelled data that a call names, in every kind and table."""

from dataclasses import replace

import pytest

from cenote.data.labelled import KINDS, fingerprint_of_files, read_labelled
from cenote.errors import BadInput

from .test_labelled import CANDIDATES, CORPUS, PAIRS, QUERIES, SEARCH, SUMMARIES, TEST, TRAIN, folder, renamed, write

EVERY_KIND = {
    "retrieval": SEARCH,
    "reranking": SEARCH | {"candidates.jsonl": CANDIDATES},
    "classification": {"train.csv": TRAIN, "test.csv": TEST},
    "clustering": {"test.csv": TEST},
    "sts": {"test.csv": [row | {"subset": "a"} for row in PAIRS]},
    "summarisation": {"test.jsonl": SUMMARIES},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alone", [False, True], ids=["of all tables", "of one table"])
def test_every_column_can_have_a_name_of_its_own(tmp_path, kind, alone):
    """A role is read by the name that is given: one name for all tables, or one for each."""
    odd, names = {}, {}
    for file, rows in EVERY_KIND[kind].items():
        table = file.partition(".")[0]
        own = {name: f"my {table if alone else ''} {name}" for row in rows for name in row if name != "systems"}
        odd[file] = renamed(rows, **own)
        names |= {f"{table}.{name}" if alone else name: column for name, column in own.items()}
    usual, odd = folder(tmp_path / "usual", EVERY_KIND[kind]), folder(tmp_path / "odd", odd)
    with pytest.raises(BadInput, match="--data-columns"):
        read_labelled(odd)
    found, expected = read_labelled(odd, data_columns=names), read_labelled(usual)
    assert repr(replace(found, notes=())) == repr(replace(expected, notes=()))


def test_a_named_column_comes_before_one_of_a_usual_name(tmp_path):
    rows = [{"text": "a summary", "label": "1", "body": "a pool", " Topic": "water"}]
    path = write(tmp_path / "test.csv", [*rows, {**rows[0], " Topic": "stone"}])
    data = read_labelled(path, data_columns={"text": "body", "label": "topic"})
    assert (data.texts, data.labels) == (("a pool", "a pool"), ("water", "stone"))
    assert "In test.csv the text is 'body'; not used: text." in data.notes
    named, plain = (fingerprint_of_files(path, data_columns=columns) for columns in ({"text": "body"}, None))
    assert named != plain


def test_the_kind_reads_all_columns_that_are_named(tmp_path):
    rows = [{"text1": "a pool", "text2": "a pond", "score": place, "topic": f"t{place}"} for place in range(2)]
    path = write(tmp_path / "pairs.csv", rows)
    assert read_labelled(path).kind == "sts"
    data = read_labelled(path, data_columns={"text": "text1", "label": "topic"})
    assert (data.kind, data.labels) == ("clustering", ("t0", "t1"))


def test_a_column_of_one_table_leaves_the_others_alone(tmp_path):
    queries = [{"id": row["id"], "text": "x", "title": row["text"]} for row in QUERIES]
    path = folder(tmp_path, {**SEARCH, "queries.jsonl": queries})
    data = read_labelled(path, data_columns={"queries.text": "title"})
    assert (data.texts, data.queries) == (("a pool", "a pond", "a cave"), ("water?", "stone?"))


def test_an_optional_column_may_be_missing_in_the_first_row(tmp_path):
    path = folder(tmp_path, {**SEARCH, "corpus.jsonl": renamed(reversed(CORPUS), title="heading")})
    assert read_labelled(path, data_columns={"title": "heading"}).titles == ("", "", "Pools")
    with pytest.raises(BadInput, match="no row has the column 'head', which is named for the title"):
        read_labelled(path, data_columns={"title": "head"})


@pytest.mark.parametrize(
    ("tables", "columns", "says"),
    [
        ({"test.csv": TEST}, {"txt": "body"}, "unknown column of labelled data .* 'txt'; did you mean 'text'"),
        ({"test.csv": TEST}, {"tests.text": "body"}, "table 'tests'; did you mean 'test'"),
        ({"test.csv": TEST}, {"label": "labels"}, "named for 'label' .* 'labels'; did you mean 'label'"),
        ({"test.csv": TEST, "notes.csv": [{"stars": 1}]}, {"label": "stars"}, "test.csv, named for 'label'"),
        (
            {"train.csv": [{**TRAIN[0], "topic": 1}], "test.csv": TEST},
            {"label": "topic"},
            "test.csv, named for 'label'",
        ),
        (SEARCH, {"label": "topic"}, "'label' .*: retrieval reads no such column. It reads: id, text, title"),
        ({"test.csv": TEST}, {"title": "text"}, "no kind reads title"),
        (SEARCH, {"text": "body"}, r"corpus.jsonl, named for 'text' .* Of one table alone it is TABLE.text=body\."),
        ({"test.csv": PAIRS}, {"text1": "text1", "text2": "text1"}, "column 'text1' is named for 2 roles"),
    ],
)
def test_a_name_that_cannot_be_read_is_refused(tmp_path, tables, columns, says):
    with pytest.raises(BadInput, match=says):
        read_labelled(folder(tmp_path, tables), data_columns=columns)


def test_a_file_that_is_no_table_is_named_whatever_columns_are_given(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("a pool")
    with pytest.raises(BadInput, match="is no table"):
        read_labelled(path, data_columns={"text": "a"})
