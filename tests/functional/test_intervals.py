"""Confidence intervals: against plain loops and tables, draws from known distributions, and bad input."""

import itertools
import math

import numpy as np
import pytest
import torch

from cenote.errors import BadInput
from cenote.functional.intervals import (
    FEWEST_WITH_INTERVAL,
    change_of_difference,
    change_of_mean,
    mean_over_pairs,
    percentile_interval,
)
from cenote.records import Estimate

from .helpers import unit

# Student's t quantiles from printed tables, by degrees of freedom: two-sided 95 % and 99 %.
STUDENT = {
    9: (2.262, 3.250),
    10: (2.228, 3.169),
    11: (2.201, 3.106),
    12: (2.179, 3.055),
    29: (2.045, 2.756),
}


def by_loop(values, first, second, confidence=0.95):
    """The definition, pair by pair, with a printed quantile."""
    mean = sum(values) / len(values)
    total = 0.0
    for p, q in itertools.product(range(len(values)), repeat=2):
        if {first[p], second[p]} & {first[q], second[q]}:
            total += (values[p] - mean) * (values[q] - mean)
    alone = sum((value - mean) ** 2 for value in values)
    fewest = min(len(set(first)), len(set(second)))
    variance = max(total, alone) / len(values) ** 2 * fewest / (fewest - 1)
    reach = STUDENT[fewest - 1][confidence == 0.99] * math.sqrt(variance)
    return mean, (mean - reach, mean + reach)


def all_pairs():
    first, second = np.triu_indices(14, 1)
    own = np.random.default_rng(3).normal(size=14)
    return own[first] + own[second] + np.random.default_rng(4).normal(size=len(first)) / 3, first, second


def queries_that_share_negatives():
    generator = np.random.default_rng(5)
    first = np.repeat(np.arange(15), 3)
    second = np.concatenate([15 + generator.permutation(12)[:3] for _ in range(15)])  # no pair twice
    return generator.normal(size=45), first, second


@pytest.mark.parametrize("confidence", [0.95, 0.99])
@pytest.mark.parametrize("pairs", [all_pairs, queries_that_share_negatives])
def test_mean_over_pairs_equals_a_plain_loop(pairs, confidence):
    values, first, second = pairs()
    mean = mean_over_pairs(values, first, second, confidence=confidence)
    wanted, ends = by_loop(values.tolist(), first.tolist(), second.tolist(), confidence)
    assert mean.value == pytest.approx(wanted, abs=1e-12)
    assert (mean.low, mean.high) == pytest.approx(ends, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("freedom", STUDENT)
def test_intervals_use_students_quantile(freedom):
    """Pairs that share no text: the interval is that of a mean of independent values."""
    values = np.random.default_rng(freedom).normal(size=freedom + 1)
    texts = np.arange(freedom + 1)
    for confidence, quantile in zip((0.95, 0.99), STUDENT[freedom], strict=True):
        mean = mean_over_pairs(values, texts, texts + 100, confidence=confidence)
        error = math.sqrt(math.fsum((values - values.mean()) ** 2) / freedom / (freedom + 1))
        assert (mean.high - mean.low) / 2 == pytest.approx(quantile * error, rel=3e-4)


def share_covered(draw, truth, draws):
    """The share of `draws` intervals that hold the truth; `draw(generator)` makes one."""
    generator = np.random.default_rng(0)
    made = [draw(generator) for _ in range(draws)]
    return sum(one.low <= truth <= one.high for one in made) / draws


@pytest.mark.parametrize(
    ("texts", "kernel", "truth", "least"),
    [
        # 94, 94 and 91 in 100 by long simulation; of 600 draws three and a half deviations less are 3 in 100
        (20, lambda a, b: a + b, 0.0, 0.905),
        (60, lambda a, b: a + b, 0.0, 0.905),
        (20, lambda a, b: np.abs(a - b), 2 / math.sqrt(math.pi), 0.87),
    ],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(texts, kernel, truth, least):
    first, second = np.triu_indices(texts, 1)

    def draw(generator):
        own = generator.normal(size=texts)
        return mean_over_pairs(kernel(own[first], own[second]), first, second)

    assert least <= share_covered(draw, truth, 600) <= 0.985


def test_the_interval_accounts_for_shared_second_texts():
    """Thirty queries against twelve shared passages, each of which has a level of its own."""

    def draw(generator):
        second = generator.integers(0, 12, size=120)
        values = generator.normal(size=12)[second] + generator.normal(size=120) / 5
        return mean_over_pairs(values, np.repeat(np.arange(30), 4), second + 30)

    assert 0.9 <= share_covered(draw, 0, 400) <= 0.99


def difference_of(rows, short, long):
    x = unit(rows)
    means = [np.mean([x[a] @ x[b] for a, b in itertools.combinations(side, 2)]) for side in (long, short)]
    return means[0] - means[1]


def test_the_change_is_the_difference_of_differences():
    generator = np.random.default_rng(2)
    before, after = generator.normal(size=(2, 40, 6)) + 0.5
    sides = range(20), range(20, 40)
    change = change_of_difference(before, after, *sides)
    assert change.value == pytest.approx(difference_of(after, *sides) - difference_of(before, *sides), abs=1e-12)
    assert change.low < change.value < change.high
    same = change_of_difference(torch.tensor(before), before * 3, *sides)
    assert abs(same.value) < 1e-15
    assert max(abs(same.low), abs(same.high)) < 1e-12  # shared parts cancel


def test_the_interval_of_a_change_covers_zero_if_nothing_changed():
    """After a rotation and fresh noise of the same size, nothing has changed but by chance."""

    def draw(generator):
        shared = generator.normal(size=(50, 8)) + 1
        before, after = (shared + generator.normal(size=(50, 8)) for _ in range(2))
        return change_of_difference(before, after, range(25), range(25, 50))

    assert 0.91 <= share_covered(draw, 0, 200) <= 1


def test_the_change_of_a_mean_is_that_of_all_pairs():
    before, after = np.random.default_rng(2).normal(size=(2, 12, 6)) + 0.5
    change = change_of_mean(before, torch.tensor(after), confidence=0.99)
    cosines = [[x[a] @ x[b] for a, b in itertools.combinations(range(12), 2)] for x in (unit(before), unit(after))]
    first, second = zip(*itertools.combinations(range(12), 2), strict=True)
    wanted, ends = by_loop(np.subtract(*cosines[::-1]).tolist(), first, second, 0.99)
    assert change.value == pytest.approx(wanted, abs=1e-12)
    assert (change.low, change.high) == pytest.approx(ends, rel=1e-3, abs=1e-3)
    same = change_of_mean(before, before * 3)
    assert max(abs(same.value), abs(same.low), abs(same.high)) < 1e-12


def test_the_two_ends_of_a_difference_are_changes_of_means():
    before, after = np.random.default_rng(3).normal(size=(2, 40, 6)) + 0.5
    short, long = (change_of_mean(before[side], after[side]) for side in (slice(0, 20), slice(20, 40)))
    both = change_of_difference(before, after, range(20), range(20, 40))
    assert both.value == pytest.approx(long.value - short.value, abs=1e-12)
    reach = [(one.high - one.low) / 2 for one in (short, long, both)]
    assert reach[2] == pytest.approx(math.hypot(*reach[:2]), rel=0.01)  # the two groups are independent


def test_the_interval_of_the_change_of_a_mean_covers_zero_if_nothing_changed():
    def draw(generator):
        shared = generator.normal(size=(25, 8)) + 1
        before, after = (shared + generator.normal(size=(25, 8)) for _ in range(2))
        return change_of_mean(before, after)

    # 93 in 100 by long simulation; of 400 draws three and a half deviations less are 4 in 100
    assert 0.885 <= share_covered(draw, 0, 400) <= 0.99


def test_few_texts_have_no_interval():
    for count in (FEWEST_WITH_INTERVAL - 1, FEWEST_WITH_INTERVAL):
        first, second = np.triu_indices(count, 1)
        ends = (None, None) if count < FEWEST_WITH_INTERVAL else (1.0, 1.0)
        assert mean_over_pairs(np.ones(len(first)), first, second) == Estimate(1.0, *ends)
    rows = np.random.default_rng(0).normal(size=(2 * FEWEST_WITH_INTERVAL, 3))
    change = change_of_difference(
        rows, rows, range(FEWEST_WITH_INTERVAL - 1), range(FEWEST_WITH_INTERVAL, 2 * FEWEST_WITH_INTERVAL)
    )
    assert (change.low, change.high) == (None, None)
    for count in (FEWEST_WITH_INTERVAL - 1, FEWEST_WITH_INTERVAL):
        assert (change_of_mean(rows[:count], rows[:count]).low is None) is (count < FEWEST_WITH_INTERVAL)
    assert mean_over_pairs([1.0, 2.0], [0, 0], [1, 2]) == Estimate(1.5, None, None)


@pytest.mark.parametrize(("count", "known"), [(9, False), (10, True)])
def test_sides_that_share_no_text_need_ten_texts_each(count, known):
    first, second = (side.ravel() for side in np.meshgrid(np.arange(count), np.arange(count) + 100))
    values = np.random.default_rng(0).normal(size=len(first))
    assert (mean_over_pairs(values, first, second).low is not None) is known


def test_percentile_intervals_computed_by_hand():
    assert percentile_interval(np.arange(11.0)[::-1], 0.8) == pytest.approx((1, 9))
    assert percentile_interval(np.array([np.nan, 3.0, np.nan, 1.0]), 0.5) == pytest.approx((1.5, 2.5))
    assert percentile_interval(np.array([2.0]), 0.95) == (2, 2)
    assert percentile_interval(np.array([np.nan]), 0.95) == (None, None)
    assert percentile_interval(np.zeros(0), 0.95) == (None, None)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mean_over_pairs([1.0, 2.0], [0], [1]), "2 values, 1 first and 1 second texts"),
        (lambda: mean_over_pairs([], [], []), "one pair at least"),
        (lambda: mean_over_pairs([np.nan], [0], [1]), "NaN"),
        (lambda: mean_over_pairs([1.0], ["a text"], ["b"]), "texts have dtype <U6: number them"),
        (lambda: mean_over_pairs([1.0], [0], [0.5]), "texts have dtype float64: number them"),
        (lambda: mean_over_pairs(np.ones(45), *np.triu_indices(10, 1), confidence=95), "confidence=95"),
        (lambda: mean_over_pairs([1.0], [0], [1], confidence=95), "confidence=95"),
        (lambda: change_of_difference(np.ones((3, 2)), np.ones((4, 2)), [0], [1]), "3 embeddings before and 4 after"),
        (lambda: change_of_difference(np.ones((3, 2)), np.ones((3, 2)), [0], [1, 2]), "1 short and 2 long"),
        (
            lambda: change_of_mean(np.ones((3, 2)), np.ones((4, 2))),
            "3 embeddings before and 4 after: pass those of the",
        ),
        (lambda: change_of_mean(np.ones((1, 2)), np.ones((1, 2))), "of the same texts, two at least"),
        (lambda: change_of_mean(np.ones((3, 2)), np.ones((3, 2)), confidence=95), "confidence=95"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(BadInput, match=match):
        call()
