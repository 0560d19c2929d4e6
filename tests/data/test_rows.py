"""Rows given in Python: texts with ids, and a fault in place of anything else."""

import numpy as np
import pytest

from cenote.data.rows import Fault, Text, lone_surrogate, raise_faults, refuse_empty, refuse_surrogates, row_of
from cenote.data.texts import open_texts
from cenote.errors import BadInput


def rows_of(texts):
    return open_texts(texts).read()


def test_a_string_gets_its_row_number_and_a_pair_its_own_id():
    assert list(rows_of(["a", ("x", "b"), Text("y", "c"), "", ("z", "")])) == [
        ("0", "a"),
        ("x", "b"),
        ("y", "c"),
        ("3", ""),
        ("z", ""),
    ]
    assert all(isinstance(row, Text) for row in rows_of(["a", ("x", "b")]))
    assert list(rows_of([(7, "b"), (np.int32(8), "c")])) == [Text("7", "b"), Text("8", "c")]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (None, "row 1: the text is null, not a string."),
        (7, "row 1: the text is int 7, not a string."),
        (b"bytes", "row 1: the text is bytes b'bytes'"),
        (["a", "b"], "row 1: the text is list ['a', 'b']"),
        (("x", None), "row 1: the text is null"),
        ((7.5, "text"), "row 1: the id is float 7.5, not a string or an integer"),
        ((True, "text"), "row 1: the id is bool True"),
        ((None, "text"), "row 1: the id is null"),
        (("x", "half \ud800"), "row 1: lone surrogate ('\\ud800'), which UTF-8 cannot encode."),
        (("\udfff", "text"), "row 1: lone surrogate ('\\udfff')"),
        (("a", "b", "c"), "row 1: the text is tuple ('a', 'b', 'c')"),
    ],
)
def test_anything_else_is_a_fault_in_its_place(row, why):
    first, fault, last = rows_of(["a", row, "c"])
    assert (first, last) == (("0", "a"), ("2", "c"))
    assert isinstance(fault, Fault)
    assert fault.why.startswith(why)
    with pytest.raises(BadInput, match=r"^row 1: "):
        list(raise_faults(rows_of(["a", row, "c"])))


def test_faults_of_a_reader_pass_through_unchanged():
    fault = Fault("a.jsonl, line 3: not JSON.")
    assert list(rows_of([fault])) == [fault]


def test_a_remedy_ends_the_fault():
    assert row_of("0", None, "a.csv, line 2", "Drop it.") == Fault(
        "a.csv, line 2: the text is null, not a string. Drop it."
    )


def test_an_empty_source_is_refused_and_another_loses_no_row():
    assert list(refuse_empty(iter("abc"), "x")) == ["a", "b", "c"]
    with pytest.raises(BadInput, match=r"there are no texts in x\. Give a source with at least one"):
        refuse_empty(iter(()), "x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", None),
        ("\U0001f573", None),
        ("a\ud800", "'\\ud800'"),
        ({"a": [1, None, ("\udc00",)]}, "'\\udc00'"),
        ({"\udc00": 1}, "'\\udc00'"),
        (b"\xff", None),
        (5, None),
    ],
)
def test_lone_surrogates_are_found_at_any_depth(value, expected):
    assert lone_surrogate(value) == expected


def test_lone_surrogates_are_refused():
    refuse_surrogates("🕳️", "a text")
    with pytest.raises(BadInput, match="pair 3 holds a lone surrogate"):
        refuse_surrogates("\udc00", "pair 3")
