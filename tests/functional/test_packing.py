"""Batches by token count: a brute force for the waste, laws for all lengths, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional.packing import interleave, pack

LENGTHS = st.lists(st.integers(1, 60), max_size=40)


def waste(lengths, batches):
    return sum(max(lengths[row] for row in batch) - lengths[row] for batch in batches for row in batch)


def least_cost(lengths, budget, opening):
    """Over all partitions of the sorted lengths into runs within the budget: padding, and `opening` for each run."""
    ordered = sorted(lengths, reverse=True)
    best = [0] + [None] * len(ordered)
    for end in range(1, len(ordered) + 1):
        for start in range(end):
            run = ordered[start:end]
            if len(run) == 1 or len(run) * run[0] <= budget:
                cost = best[start] + opening + sum(run[0] - length for length in run)
                best[end] = cost if best[end] is None else min(best[end], cost)
    return best[-1]


def test_by_hand():
    assert list(pack([3, 3, 3, 3], budget=6, opening=0)) == [[0, 1], [2, 3]]
    assert list(pack([1, 2, 3], budget=100, opening=0)) == [[2], [1], [0]]
    assert list(pack([1, 2, 3], budget=100, opening=1)) == [[2, 1], [0]]
    assert list(pack([1, 2, 3], budget=100, opening=3)) == [[2, 1, 0]]
    assert list(pack([], budget=1, opening=0)) == []


@pytest.mark.parametrize("made", [np.array, torch.tensor, list, tuple])
def test_every_form_of_lengths(made):
    assert list(pack(made([5, 9, 5]), budget=20, opening=0)) == [[1], [0, 2]]


@given(LENGTHS, st.integers(1, 200), st.integers(0, 50))
def test_laws(lengths, budget, opening):
    batches = list(pack(lengths, budget, opening))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        area = len(batch) * max(lengths[row] for row in batch)
        assert area <= budget or len(batch) == 1
        assert waste(lengths, [batch]) <= opening
    flat = [row for batch in batches for row in batch]
    assert flat == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=25), st.integers(0, 50))
@settings(max_examples=50)
def test_no_dearer_than_twice_the_best_partition(lengths, opening):
    """Where the budget does not matter; the first batch has to be opened anyhow."""
    batches = list(pack(lengths, 10**6, opening))
    cost = waste(lengths, batches) + opening * len(batches)
    assert cost <= 2 * least_cost(lengths, 10**6, opening)


@given(LENGTHS, st.integers(1, 200), st.integers(0, 50), st.randoms())
def test_batches_have_the_same_lengths_in_every_order(lengths, budget, opening, draw):
    shuffled = draw.sample(lengths, len(lengths))
    one, two = (
        [[given[row] for row in batch] for batch in pack(given, budget, opening)] for given in (lengths, shuffled)
    )
    assert one == two


def test_padding_of_a_real_corpus_is_next_to_nothing():
    lengths = np.clip(np.random.default_rng(0).lognormal(4, 1, 2**14), 3, 512).astype(int)
    batches = list(pack(lengths, 8192, 128))
    assert waste(lengths, batches) < 0.02 * lengths.sum()  # batches of 32 as they come pad 3.6 times the tokens
    assert len(batches) < 1.1 * lengths.sum() / 8192 + 10


@pytest.mark.parametrize(
    ("lengths", "budget", "opening", "said"),
    [
        ([3, 0], 8, 0, r"lengths\[1\] is 0"),
        ([3], 0, 0, "budget=0"),
        ([3], 2.5, 0, "budget=2.5"),
        ([3], 8, -1, "opening=-1"),
    ],
)
def test_refused(lengths, budget, opening, said):
    with pytest.raises(BadInput, match=said):
        list(pack(lengths, budget, opening))


@given(st.integers(0, 300))
def test_mixed_has_all_and_the_first_first(count):
    found = interleave(list(range(count)))
    assert sorted(found) == list(range(count))
    assert found[:1] == list(range(count))[:1]
    assert found == interleave(list(range(count)))


def test_what_was_done_tells_what_is_left():
    """After any tenth of the batches the mean place is near the middle: in order it would be 0.05 to 0.95."""
    places = np.array(interleave(list(range(1000)))) / 1000
    means = [part.mean() for part in np.split(places, 10)]
    assert max(abs(mean - 0.5) for mean in means) < 0.02
    assert all(a != b for a, b in pairwise(places))
