"""Scores over items and their intervals, against scipy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.intervals import FEWEST_WITH_INTERVAL
from cenote.functional.items import (
    mean_of_draws,
    mean_of_items,
    rank_correlation_of_items,
    rank_products,
)


@pytest.mark.parametrize("count", [30, 300])
def test_the_interval_of_a_mean_is_the_bca_bootstrap_of_scipy(count):
    values = np.random.default_rng(count).beta(0.3, 0.5, count)
    found = mean_of_items(values)
    expected = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, random_state=1).confidence_interval
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.06 * width)
    assert mean_of_items(values) == found != mean_of_items(values, seed=1)


def test_the_interval_of_a_mean_covers_the_truth():
    """Values of nDCG have many ones and zeros."""
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(400):
        values = np.where(generator.random(100) < 0.4, 1.0, generator.beta(1, 3, 100) * (generator.random(100) < 0.7))
        found = mean_of_items(values, seed=seed)
        inside += found.low <= 0.4 + 0.6 * 0.7 * 0.25 <= found.high
    assert 0.92 * 400 <= inside <= 0.98 * 400


def test_few_items_and_equal_items():
    assert mean_of_items(np.arange(FEWEST_WITH_INTERVAL - 1)).low is None
    unequal = np.repeat(np.arange(40), [1] * 39 + [20])
    assert mean_of_items(np.arange(59), sources=unequal).low is None
    found = mean_of_items(np.ones(50))
    assert (found.value, found.low, found.high) == (1, None, None)


def test_a_score_of_zeros_and_ones_has_at_least_the_rule_of_three():
    most = 1 - 0.025 ** (1 / 50)
    none, every = (mean_of_items(np.full(50, value), score=True) for value in (0, 1))
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(most))
    assert (every.value, every.low, every.high) == (1, pytest.approx(1 - most), 1)
    two = mean_of_items([1] * 2 + [0] * 98, score=True)
    assert two.high >= 1 - 0.025 ** (1 / 100)
    assert mean_of_items(np.full(50, 0.3), score=True).low is None
    pairs = mean_of_items(np.zeros(50), sources=np.arange(50) // 2, score=True)
    assert pairs.high == pytest.approx(1 - 0.025 ** (1 / 25))
    assert mean_of_items(np.zeros(9), score=True).low is None


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_values_that_are_no_list_of_numbers_are_refused(values):
    with pytest.raises(BadInput, match="pass a list of finite numbers, at least one"):
        mean_of_items(values)


def test_a_rank_correlation_is_that_of_scipy_and_its_interval_holds_it():
    generator = np.random.default_rng(3)
    first = generator.normal(size=200).round(1)  # with ties
    second = first + generator.normal(size=200)
    found = rank_correlation_of_items(first, second)
    assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)
    low, high = found.low, found.high
    reach = 1.96 * np.sqrt((1 + found.value**2 / 2) / 197)  # Bonett and Wright
    assert np.tanh(np.arctanh(found.value) - reach) == pytest.approx(low, abs=0.04)
    assert np.tanh(np.arctanh(found.value) + reach) == pytest.approx(high, abs=0.04)
    assert rank_products(first, second).mean() == pytest.approx(found.value)


def test_a_rank_correlation_of_one_value_is_refused():
    with pytest.raises(BadInput, match="5 and 5 values: pass as many of both, at least two, which are not all equal"):
        rank_correlation_of_items([1] * 5, range(5))
    with pytest.raises(BadInput, match="4 and 5 values"):
        rank_correlation_of_items(range(4), range(5))


def test_a_rank_correlation_of_nan_is_refused():
    for pair in (([*range(19), np.nan], range(20)), (range(20), [*range(19), np.nan])):
        with pytest.raises(BadInput, match="a value is NaN, which has no rank"):
            rank_correlation_of_items(*pair)


def test_equal_orders_have_no_interval():
    found = rank_correlation_of_items(range(50), np.arange(50) ** 3)
    assert (found.value, found.low, found.high) == (pytest.approx(1), None, None)
    twins = rank_correlation_of_items(range(50), range(50), sources=np.arange(50) // 2)
    assert (twins.low, twins.high) == (None, None)


def test_the_interval_of_draws_is_that_of_student():
    values = [0.41, 0.44, 0.40, 0.46, 0.43]
    found = mean_of_draws(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert mean_of_draws([0.4, 0.5]).low is None


@pytest.mark.parametrize("count", [1, 8])
def test_copies_of_an_item_are_one_source(count):
    """However often each item is repeated, the intervals stay those of the sources."""
    generator = np.random.default_rng(3)
    x, y, z = (np.repeat(generator.normal(size=80) + row * np.linspace(0, 3, 80), count) for row in range(3))
    sources = np.repeat(np.arange(80), count)
    found = (
        mean_of_items(x, sources=sources),
        rank_correlation_of_items(y, z, sources=sources),
    )
    alone = (
        mean_of_items(x[::count]),
        rank_correlation_of_items(y[::count], z[::count]),
    )
    for one, other in zip(found, alone, strict=True):
        assert one.value == pytest.approx(other.value)
        assert one.high - one.low == pytest.approx(other.high - other.low, rel=0.15)
    assert mean_of_items(x[: 9 * count], sources=sources[: 9 * count]).low is None
