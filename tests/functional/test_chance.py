"""Intervals of means over pairs and of changes, against plain loops, against draws from a known law, and refusals."""

import itertools

import numpy as np
import pytest
import torch

from cenote.errors import BadInput
from cenote.functional.chance import LEAST, change_of_difference, mean_over_groups, mean_over_pairs
from cenote.functional.sampling import bootstrap


def test_the_mean_over_pairs_is_that_of_a_loop_resample_by_resample():
    count = 12
    values = np.random.default_rng(3).normal(size=count * (count - 1) // 2)
    table = dict(zip(itertools.combinations(range(count), 2), values, strict=True))
    chosen, _ = bootstrap(count, 1000, (5, count))
    means = []
    for drawn in chosen.tolist():
        pairs = [table[min(a, b), max(a, b)] for a, b in itertools.combinations(drawn, 2) if a != b]
        means.append(np.mean(pairs))
    mean, interval = mean_over_pairs(values, seed=5)
    assert mean == pytest.approx(values.mean(), abs=1e-14)
    assert interval == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-12)


def test_the_interval_of_pairs_covers_what_it_should():
    """v_ij = a_i + a_j has the mean 2 E[a]: in 95 of 100 draws of texts the interval holds it, or nearly so."""
    generator, hits = np.random.default_rng(0), 0
    first, second = np.triu_indices(60, 1)
    for turn in range(200):
        own = generator.normal(1.0, 1.0, size=60)
        _, (low, high) = mean_over_pairs(own[first] + own[second], seed=turn)
        hits += low <= 2.0 <= high
    assert 178 <= hits <= 199


def test_groups_are_drawn_whole():
    """Twenty values of each of thirty groups that agree within a group: as uncertain as thirty values, not as 600."""
    own = np.random.default_rng(1).normal(size=30)
    _, (low, high) = mean_over_groups(np.repeat(own, 20), np.repeat(np.arange(30), 20))
    _, (alone_low, alone_high) = mean_over_groups(own, np.arange(30))
    assert (low, high) == pytest.approx((alone_low, alone_high), abs=1e-12)
    assert high - low == pytest.approx(2 * 1.96 * own.std() / np.sqrt(30), rel=0.15)
    assert mean_over_groups([1.0, 2.0, 6.0], ["a", "b", "b"]) == (3.0, None)


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
    assert np.abs(interval).max() < 1e-15  # what two readings share cancels in every resample


def test_few_texts_have_no_interval():
    few = LEAST - 1
    assert mean_over_pairs(np.ones(few * (few - 1) // 2)) == (1.0, None)
    assert mean_over_pairs(np.ones(LEAST * (LEAST - 1) // 2))[1] == (1.0, 1.0)
    rows = np.random.default_rng(0).normal(size=(2 * few, 3))
    assert change_of_difference(rows, rows, range(few), range(few, 2 * few))[1] is None


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mean_over_pairs([1.0, 2.0]), "2 values: pass one for every pair"),
        (lambda: mean_over_pairs([]), "0 values"),
        (lambda: mean_over_pairs([np.nan] * 3), "NaN"),
        (lambda: mean_over_pairs(np.ones(45), seed=-1), "seed"),
        (lambda: mean_over_groups([1.0], [1, 2]), "1 values and 2 groups"),
        (lambda: mean_over_groups([], []), "at least one"),
        (lambda: change_of_difference(np.ones((3, 2)), np.ones((4, 2)), [0], [1]), "3 embeddings before and 4 after"),
        (lambda: change_of_difference(np.ones((3, 2)), np.ones((3, 2)), [0], [1, 2]), "1 short and 2 long"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(BadInput, match=match):
        call()
