"""Figures keep the digits that mean something."""

from cenote.phrases import counted, interval, percent, told_apart, value
from cenote.results import Estimate


def test_percent():
    assert [percent(share) for share in (0, 0.004, 0.094, 0.096, 0.5, 0.9949, 0.9951, 1)] == [
        "0 %", "0.4 %", "9.4 %", "10 %", "50 %", "99 %", "more than 99 %", "100 %",
    ]  # fmt: skip


def test_intervals_and_counts():
    known, bare = Estimate(-0.1, -0.2, 0.0), Estimate(0.25, None, None)
    assert interval("Change", known) == "Change: -0.100 (95 % interval -0.200 to +0.000)."
    assert (interval("Change", bare), value(bare)) == ("Change: +0.250.", "+0.250")
    assert value(known) == "-0.100 (-0.200 to +0.000)"
    assert [counted(number, "text") for number in (0, 1, 2)] == ["0 texts", "1 text", "2 texts"]


def test_names_that_stand_for_several_are_numbered():
    assert told_apart(["a", "b", "a", "a"]) == ("a (1)", "b", "a (2)", "a (3)")
    assert told_apart([]) == ()
