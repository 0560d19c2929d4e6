"""Look-ups by name, and the family of errors."""

import copy

import pytest

from cenote.errors import BadInput, BadRows, CenoteError, UnknownName, choose, some

TABLE = {"mean": 1, "max": 2, "mean_sqrt_len": 3}


def test_choose_finds():
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
def test_choose_explains(name, message):
    with pytest.raises(UnknownName, match=message):
        choose(name, TABLE, "pooling")


def test_choose_lists_what_it_is_told_to():
    with pytest.raises(UnknownName, match=r"There are: mean\.$"):
        choose("q", TABLE, "pooling", shown=["mean"])


def test_some():
    assert some([]) == ""
    assert some([1, 2], most=2) == "1, 2"
    assert some("abc", most=2) == "a, b and 1 more"


def test_rows_and_their_problem_travel_with_the_message():
    error = BadRows("rows 3, 5 have no token: leave them out.", [3, 5], "no token: leave them out.")
    for one in (error, copy.copy(error)):
        assert (str(one), one.rows, one.problem) == (str(error), (3, 5), "no token: leave them out.")


def test_family():
    assert issubclass(BadRows, BadInput)
    assert issubclass(UnknownName, BadInput)
    assert issubclass(BadInput, CenoteError)
    assert issubclass(BadInput, ValueError)
