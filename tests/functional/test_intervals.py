"""Intervals of means over pairs and of changes: against plain loops, scipy, draws from known laws, and refusals."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from cenote.errors import BadInput
from cenote.functional.intervals import LEAST, _quantile, change_of_difference, mean_over_pairs


def by_loop(values, first, second, confidence=0.95):
    """The definition, pair by pair, with scipy's own t."""
    mean = sum(values) / len(values)
    total = 0.0
    for p, q in itertools.product(range(len(values)), repeat=2):
        if {first[p], second[p]} & {first[q], second[q]}:
            total += (values[p] - mean) * (values[q] - mean)
    alone = sum((value - mean) ** 2 for value in values)
    fewest = min(len(set(first)), len(set(second)))
    variance = max(total, alone) / len(values) ** 2 * fewest / (fewest - 1)
    reach = scipy.stats.t.ppf((1 + confidence) / 2, fewest - 1) * math.sqrt(variance)
    return mean, (mean - reach, mean + reach)


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_all_pairs_of_texts_by_a_loop(confidence):
    first, second = np.triu_indices(14, 1)
    own = np.random.default_rng(3).normal(size=14)
    values = own[first] + own[second] + np.random.default_rng(4).normal(size=len(first)) / 3
    mean, interval = mean_over_pairs(values, first, second, confidence=confidence)
    wanted, ends = by_loop(values.tolist(), first.tolist(), second.tolist(), confidence)
    assert mean == pytest.approx(wanted, abs=1e-12)
    assert interval == pytest.approx(ends, rel=0.01)


def test_queries_that_share_their_negatives_by_a_loop():
    chance = np.random.default_rng(5)
    first = [row for row in range(15) for _ in range(3)]
    second = (15 + chance.integers(0, 12, size=45)).tolist()
    while len(set(zip(first, second, strict=True))) < 45:  # a pair that stands twice is another matter
        second = (15 + chance.integers(0, 12, size=45)).tolist()
    values = chance.normal(size=45)
    mean, interval = mean_over_pairs(values, first, second)
    wanted, ends = by_loop(values.tolist(), first, second)
    assert mean == pytest.approx(wanted, abs=1e-12)
    assert interval == pytest.approx(ends, rel=0.01)


@pytest.mark.parametrize("freedom", [8, 15, 60, 1000])
def test_the_quantile_is_students(freedom):
    for confidence in (0.9, 0.95, 0.99):
        assert _quantile(confidence, freedom) == pytest.approx(
            scipy.stats.t.ppf((1 + confidence) / 2, freedom), rel=0.01
        )


@pytest.mark.parametrize(
    ("texts", "kernel", "truth", "least"),
    [
        # 94, 94 and 91 in 100 by long simulation; of 600 draws three and a half deviations less are 3 in 100
        (20, lambda a, b: a + b, 0.0, 0.905),
        (60, lambda a, b: a + b, 0.0, 0.905),
        (20, lambda a, b: np.abs(a - b), 2 / math.sqrt(math.pi), 0.87),
    ],
)
def test_the_interval_covers_what_it_should(texts, kernel, truth, least):
    generator, hits = np.random.default_rng(0), 0
    first, second = np.triu_indices(texts, 1)
    for _ in range(600):
        own = generator.normal(size=texts)
        _, (low, high) = mean_over_pairs(kernel(own[first], own[second]), first, second)
        hits += low <= truth <= high
    assert least <= hits / 600 <= 0.985


def test_shared_second_texts_widen_it():
    """Thirty queries against twelve shared passages, each of which has a level of its own."""
    generator, hits = np.random.default_rng(0), 0
    first = np.repeat(np.arange(30), 4)
    for _ in range(400):
        second = generator.integers(0, 12, size=120)
        values = generator.normal(size=12)[second] + generator.normal(size=120) / 5
        _, (low, high) = mean_over_pairs(values, first, second + 30)
        hits += low <= 0 <= high
    assert 0.9 <= hits / 400 <= 0.99


def _difference(rows, short, long):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = [np.mean([unit[a] @ unit[b] for a, b in itertools.combinations(side, 2)]) for side in (long, short)]
    return means[0] - means[1]


def test_the_change_is_the_difference_of_differences():
    generator = np.random.default_rng(2)
    before, after = generator.normal(size=(2, 40, 6)) + 0.5
    short, long = range(20), range(20, 40)
    value, (low, high) = change_of_difference(before, after, list(short), list(long))
    assert value == pytest.approx(_difference(after, short, long) - _difference(before, short, long), abs=1e-12)
    assert low < value < high
    same, interval = change_of_difference(torch.tensor(before), before * 3, list(short), list(long))
    assert abs(same) < 1e-15
    assert np.abs(interval).max() < 1e-12  # what two readings share cancels


def test_the_change_covers_none_where_there_is_none():
    """After a rotation and fresh noise of the same size, nothing has changed but by chance."""
    generator, hits = np.random.default_rng(1), 0
    for _ in range(200):
        shared = generator.normal(size=(50, 8)) + 1
        before, after = (shared + generator.normal(size=(50, 8)) for _ in range(2))
        _, (low, high) = change_of_difference(before, after, range(25), range(25, 50))
        hits += low <= 0 <= high
    assert 0.91 <= hits / 200 <= 1


def test_few_texts_have_no_interval():
    for count in (LEAST - 1, LEAST):
        first, second = np.triu_indices(count, 1)
        mean, interval = mean_over_pairs(np.ones(len(first)), first, second)
        assert mean == 1.0
        assert interval == (None if count < LEAST else (1.0, 1.0))
    rows = np.random.default_rng(0).normal(size=(2 * LEAST, 3))
    assert change_of_difference(rows, rows, range(LEAST - 1), range(LEAST, 2 * LEAST))[1] is None
    assert mean_over_pairs([1.0, 2.0], [0, 0], [1, 2]) == (1.5, None)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mean_over_pairs([1.0, 2.0], [0], [1]), "2 values, 1 first and 1 second texts"),
        (lambda: mean_over_pairs([], [], []), "one pair at least"),
        (lambda: mean_over_pairs([np.nan], [0], [1]), "NaN"),
        (lambda: mean_over_pairs([1.0], ["a text"], ["b"]), "texts are given as <U6: number them"),
        (lambda: mean_over_pairs([1.0], [0], [0.5]), "texts are given as float64: number them"),
        (lambda: mean_over_pairs(np.ones(45), *np.triu_indices(10, 1), confidence=95), "confidence=95"),
        (lambda: change_of_difference(np.ones((3, 2)), np.ones((4, 2)), [0], [1]), "3 embeddings before and 4 after"),
        (lambda: change_of_difference(np.ones((3, 2)), np.ones((3, 2)), [0], [1, 2]), "1 short and 2 long"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(BadInput, match=match):
        call()
