"""Numbers in words keep the digits that matter."""

from cenote.records import Estimate
from cenote.wording import estimate_sentence, number_duplicates, percent, pluralise, signed_estimate


def test_percentages_have_two_digits():
    assert [percent(share) for share in (0, 0.004, 0.094, 0.096, 0.5, 0.9949, 0.9951, 1)] == [
        "0 %", "0.4 %", "9.4 %", "10 %", "50 %", "99 %", "more than 99 %", "100 %",
    ]  # fmt: skip


def test_estimates_state_their_interval_if_there_is_one():
    known, bare = Estimate(-0.1, -0.2, 0.0), Estimate(0.25, None, None)
    assert estimate_sentence("Change", known) == "Change: -0.100 (95 % interval -0.200 to +0.000)."
    assert estimate_sentence("Change", bare) == "Change: +0.250."
    assert [signed_estimate(one) for one in (known, bare)] == ["-0.100 (-0.200 to +0.000)", "+0.250"]


def test_only_one_is_singular():
    assert [pluralise(number, "text") for number in (0, 1, 2)] == ["0 texts", "1 text", "2 texts"]


def test_names_that_occur_several_times_are_numbered():
    assert number_duplicates(["a", "b", "a", "a"]) == ("a (1)", "b", "a (2)", "a (3)")
    assert number_duplicates([]) == ()
