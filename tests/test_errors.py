"""Look-ups by name, and the hierarchy of errors."""

import copy

import pytest

from cenote.errors import BadInput, BadRows, CenoteError, UnknownName, choose, first_line, last_line, some

TABLE = {"mean": 1, "max": 2, "mean_sqrt_len": 3}


def test_choose_returns_the_value_of_a_name():
    assert [choose(name, TABLE, "pooling") for name in TABLE] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maen", r"^unknown pooling 'maen'; did you mean 'mean'\? There are: mean, max, mean_sqrt_len\.$"),
        ("MAX", r"unknown pooling 'MAX'; did you mean 'max'\?"),
        ("zzzzzz", r"^unknown pooling 'zzzzzz'\. There are: mean, max, mean_sqrt_len\.$"),
        (None, r"unknown pooling None"),
        (["mean"], r"unknown pooling \['mean'\]"),
    ],
)
def test_an_unknown_name_is_reported_with_a_near_miss_and_the_legal_names(name, message):
    with pytest.raises(UnknownName, match=message):
        choose(name, TABLE, "pooling")


def test_the_names_in_the_message_and_a_remedy_can_be_given():
    with pytest.raises(UnknownName, match=r"There are: mean\.$"):
        choose("q", TABLE, "pooling", shown=["mean"])
    with pytest.raises(UnknownName, match=r"mean_sqrt_len\. Name another\.$"):
        choose("q", TABLE, "pooling", remedy="Name another.")


def test_some_items_are_listed_and_the_rest_counted():
    assert some([]) == ""
    assert some([1, 2], most=2) == "1, 2"
    assert some("abc", most=2) == "a, b and 1 more"


def test_rows_and_problem_survive_a_copy():
    error = BadRows("rows 3, 5 have no token: leave them out.", [3, 5], "no token: leave them out.")
    for one in (error, copy.copy(error)):
        assert (str(one), one.rows, one.problem) == (str(error), (3, 5), "no token: leave them out.")


def test_every_error_is_a_cenote_error():
    assert issubclass(BadRows, BadInput)
    assert issubclass(UnknownName, BadInput)
    assert issubclass(BadInput, CenoteError)
    assert issubclass(BadInput, ValueError)


@pytest.mark.parametrize(
    ("error", "first", "last"),
    [
        (ValueError("\n  one\ntwo \n"), "one", "two"),
        (RuntimeError(""), "RuntimeError", "RuntimeError"),
        (RuntimeError(" \n"), "RuntimeError", "RuntimeError"),
        (KeyError("name"), "'name'", "'name'"),
    ],
)
def test_an_error_without_words_has_the_name_of_its_class(error, first, last):
    assert (first_line(error), last_line(error)) == (first, last)
