"""Numbers, counts and names in words."""

import numpy as np
import pytest

from cenote.records import Estimate
from cenote.wording import (
    in_minutes,
    number_duplicates,
    percent,
    round_to_hundred,
    share_estimate,
    signed_estimate,
)


def test_whole_numbers_add_up_to_a_hundred_and_keep_their_order():
    generator = np.random.default_rng(0)
    for _ in range(500):
        shares = generator.dirichlet(np.full(4, 0.5))
        counts = round_to_hundred(shares.tolist())
        assert sum(counts) == 100
        assert max(abs(count - 100 * share) for count, share in zip(counts, shares, strict=True)) < 1
        assert sorted(counts) == [counts[place] for place in np.argsort(shares, kind="stable")]


@pytest.mark.parametrize(
    ("shares", "counts"), [([1.0, 0.0, 0.0, 0.0], [100, 0, 0, 0]), ([0.25] * 4, [25] * 4), ([0.005, 0.995], [1, 99])]
)
def test_whole_numbers_of_shares(shares, counts):
    assert round_to_hundred(shares) == counts


def test_estimates_without_an_interval_are_values_alone():
    assert share_estimate(Estimate(0.5, None, None)) == "50 %"
    assert signed_estimate(Estimate(0.5, None, None)) == "+0.500"
    assert percent(0.996) == "more than 99 %"


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(0.008, 0.0051, 0.012), "0.8 % (0.51 to 1.2 %)"),
        (Estimate(0.998, 0.9955, 0.9995), "more than 99 % (more than 99 to more than 99 %)"),
        (Estimate(0.85, 0.812, 0.88), "85 % (81 to 88 %)"),
    ],
)
def test_the_interval_of_a_share_holds_it(estimate, words):
    assert share_estimate(estimate) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "10 s"),
        (59, "60 s"),
        (60, "1 min"),
        (5369, "89 min"),
        (5370, "1 h 30 min"),
        (7150, "2 h"),
        (7790, "2 h 10 min"),
        (35_700, "10 h"),
        (360_000, "100 h"),
    ],
)
def test_durations(seconds, words):
    assert in_minutes(seconds) == words


def test_a_number_makes_no_name_that_another_has():
    names = ["data", "data", "data (1)", "data (1)", "e5"]
    assert number_duplicates(names) == ("data (2)", "data (3)", "data (1) (1)", "data (1) (2)", "e5")
