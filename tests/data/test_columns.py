"""Columns of a row: names that are wanted, the text, the id and the values that are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.data.columns import Columns, Wanted, resolve_columns, row_of_record
from cenote.data.rows import Fault, Kept, Text
from cenote.errors import BadInput, UnknownName


def test_names_are_given_alone_or_in_a_list():
    assert Wanted.of("text", "key", "url") == Wanted(("text",), "key", ("url",))
    assert Wanted.of(["title", "text"], None, ["url", "year"]) == Wanted(("title", "text"), None, ("url", "year"))
    assert Wanted.of(None, None, "all").keep == "all"
    assert Wanted.of(None, None, ["all"]).keep == ("all",)  # a column of this name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (((), None, ()), r"columns=\(\) names none: name at least one, or leave it out for 'text'"),
        ((("text", "text"), None, ()), "columns: 'text' is named twice. Name it once"),
        ((5, None, ()), "columns: 5 is no name of a column. Give a name, or a list of names"),
        ((None, "", ()), "id_column: '' is no name of a column"),
        ((None, None, ["a", None]), "keep: None is no name of a column"),
        ((None, None, ("a", "b", "a")), "keep: 'a' is named twice"),
    ],
)
def test_what_is_no_name_is_refused(given, message):
    with pytest.raises(BadInput, match=message):
        Wanted.of(*given)


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["text"], Wanted(), Columns(("text",), None, ())),
        (["id", "text"], Wanted(), Columns(("text",), "id", ())),
        (["id", "key", "text"], Wanted(id_column="key"), Columns(("text",), "key", ())),
        (["id", "text"], Wanted(keep="all"), Columns(("text",), "id", ("text",), complete=True)),
        (["id", "text"], Wanted(columns=("id",), keep="all"), Columns(("id",), "id", ("id", "text"), complete=True)),
        (["a", "b"], Wanted(columns=("b", "a"), keep=("a",)), Columns(("b", "a"), None, ("a",))),
    ],
)
def test_columns_are_found_by_the_names_of_the_first_row(names, wanted, expected):
    assert resolve_columns(names, wanted, "a.csv") == expected


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (
            ["txt"],
            Wanted(),
            r"a\.csv: 'text'; did you mean 'txt'\? There are: txt\. Name the text column with `columns`",
        ),
        (["text"], Wanted(columns=("body",)), r"a\.csv: 'body'\. There are: text\.$"),
        (["text"], Wanted(id_column="id"), r"a\.csv: 'id'.* the id column with `id_column` \(--id-column\)"),
        (
            ["text", "url"],
            Wanted(keep=("urls",)),
            r"'urls'; did you mean 'url'\?.* Columns to keep are named by `keep`",
        ),
        ([], Wanted(), r"'text'\. There are: none\."),
        (
            ["subject", "text"],
            Wanted(columns=("subject,text",)),
            r"a\.csv: 'subject,text'\. Several columns are a tuple: \('subject', 'text'\)\.$",
        ),
        (["subject", "text"], Wanted(keep=("subject, text",)), r"a tuple: \('subject', 'text'\)\.$"),
    ],
)
def test_a_missing_column_is_named_with_the_others(names, wanted, message):
    with pytest.raises(UnknownName, match=message):
        resolve_columns(names, wanted, "a.csv")


def test_a_repeated_column_is_refused_only_if_it_is_read():
    for wanted in (Wanted(columns=("x",)), Wanted(keep=("x",)), Wanted(id_column="x"), Wanted(keep="all")):
        with pytest.raises(BadInput, match=r"a\.csv has 2 columns 'x'\. Rename all but one"):
            resolve_columns(["text", "x", "x"], wanted, "a.csv")
    assert resolve_columns(["text", "x", "x"], Wanted(), "a.csv") == Columns(("text",), None, ())


# Rows.

JOINED = Columns(("title", "text"), None, ())


@given(title=st.none() | st.just("") | st.text(), text=st.none() | st.just("") | st.text())
def test_parts_are_joined_by_one_space_without_those_that_are_null_or_empty(title, text):
    row = row_of_record({"title": title, "text": text}, 3, JOINED, "row 3")
    parts = [part for part in (title, text) if part is not None]
    if not parts:
        assert row.why.startswith("row 3: the text is null, not a string")
    else:
        assert row == Text("3", " ".join(part for part in parts if part != ""))


def test_a_part_of_another_type_is_named():
    assert row_of_record({"title": 5, "text": "a"}, 0, JOINED, "row 0").why.startswith(
        "row 0: the column 'title' is int 5, not a string. Correct or drop the row"
    )


@pytest.mark.parametrize(
    ("record", "columns", "expected"),
    [
        ("a", Columns(("text",), None, ()), Text("7", "a")),
        (("x", "a"), Columns(("text",), None, ()), Text("x", "a")),
        (Text("x", "a"), Columns(("text",), None, ("text",)), Text("x", "a")),
        ({"id": 5, "text": "a"}, Columns(("text",), "id", ()), Text("5", "a")),
        ({"text": "a", "b": 1}, Columns(("text",), None, ()), Text("7", "a")),
        (Fault("row 1: no"), Columns(("text",), None, ()), Fault("row 1: no")),
    ],
)
def test_records_of_every_form_become_rows(record, columns, expected):
    row = row_of_record(record, 7, columns, "row 7")
    assert row == expected
    assert isinstance(row, Kept) == bool(columns.kept)


@pytest.mark.parametrize(
    ("record", "columns", "why"),
    [
        (
            {"id": "x", "text": "a"},
            Columns(("text",), None, ()),
            "row 7: the row has an id, and the first row has none.",
        ),
        ({"text": "a"}, Columns(("text",), "id", ()), "unknown column of row 7: 'id'. There are: text."),
        ("a", Columns(("text",), "id", ()), "unknown column of row 7: 'id'. There are: text."),
        (
            {"text": "a"},
            Columns(("text",), None, ("url",)),
            "unknown column of row 7: 'url'. There are: text. Columns to",
        ),
        ("a", Columns(("body",), None, ()), "unknown column of row 7: 'body'. There are: text."),
        (
            {"text": "a", "url": "\ud800"},
            Columns(("text",), None, ("url",)),
            "row 7: the column 'url' has a lone surrog",
        ),
        (
            {"text": "a", "url": {"x": ["\udc00"]}},
            Columns(("text",), None, ("url",)),
            "row 7: the column 'url' has a lo",
        ),
        (
            {"id": "x", "text": "a", "url": "u"},
            Columns(("text",), "id", ("text",), complete=True),
            "row 7: the row has a column 'url', which the first row does not have, and all columns are kept. Give ev",
        ),
        ({"text": None, "url": 1}, Columns(("text",), None, ("url",)), "row 7: the text is null"),
        (5, Columns(("text",), None, ()), "row 7: the text is int 5, not a string"),
        (("a", "b", "c"), Columns(("text",), None, ()), "row 7: the text is tuple"),
    ],
)
def test_a_bad_row_is_a_fault(record, columns, why):
    fault = row_of_record(record, 7, columns, "row 7")
    assert isinstance(fault, Fault)
    assert fault.why.startswith(why)


def test_names_of_columns_may_be_numbers():
    record = {1: "a", "text": "b"}
    assert row_of_record(record, 0, Columns(("1", "text"), None, ("1",)), "row 0").values == ("a",)
    assert row_of_record(record, 0, Columns(("1", "text"), None, ()), "row 0") == Text("0", "a b")
    assert "'x'. There are: 1, text." in row_of_record(record, 0, Columns(("x",), None, ()), "row 0").why
    every = resolve_columns(("1", "text"), Wanted(keep="all"), "row 0")
    assert row_of_record(record, 0, every, "row 0").values == ("a", "b")


def test_optional_values_may_be_missing_or_unusable():
    columns = Columns(("text",), None, ("title",), optional=True)
    for record in ({"text": "a"}, {"text": "a", "title": None}, {"text": "a", "title": "\ud800"}, "a"):
        assert row_of_record(record, 0, columns, "row 0").values == (None,)
    assert row_of_record({"text": "a", "title": "b"}, 0, columns, "row 0").values == ("b",)


def test_a_row_with_kept_values_is_checked_as_other_rows_are():
    found = [row_of_record(Kept(*row, (1984,)), 0, Columns(("text",), None, ()), "row 0") for row in ODD_ROWS]
    assert found[0] == ("7", "a pool")
    assert found[0].values == (1984,)
    whys = [row.why for row in found[1:]]
    assert whys[0].startswith("row 0: the text is null, not a string")
    assert whys[1].startswith("row 0: the id is float 1.5, not a string or an integer")
    assert whys[2].startswith("row 0: lone surrogate")


def test_a_kept_value_that_cannot_be_encoded_is_a_fault_however_it_comes():
    columns = Columns(("text",), None, ("title",))
    for record in (Kept("1", "a cave", ("half \ud83d",)), {"text": "a cave", "title": "half \ud83d"}):
        found = row_of_record(record, 0, columns, "row 0")
        assert found.why.startswith(r"row 0: the column 'title' has a lone surrogate ('\ud83d')")


ODD_ROWS = [(7, "a pool"), ("8", None), (1.5, "a cave"), ("9", "half \ud83d")]
