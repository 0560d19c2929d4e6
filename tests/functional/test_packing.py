"""`pack` and `interleave`: a plain loop, a brute force for the waste, laws for all lengths, bad input."""

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


def loop(lengths, budget, opening, power):
    """Fill batches text by text, computing cost and waste of each candidate anew."""
    batches = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        wider = [*batches[-1], row] if batches else []
        cost = len(wider) * max((lengths[one] for one in wider), default=0) ** power
        if wider and cost <= budget and waste(lengths, [wider]) <= opening:
            batches[-1] = wider
        else:
            batches.append([row])
    return batches


def test_batches_computed_by_hand():
    assert list(pack([3, 3, 3, 3], budget=6, opening=0)) == [[0, 1], [2, 3]]
    assert list(pack([1, 2, 3], budget=100, opening=0)) == [[2], [1], [0]]
    assert list(pack([1, 2, 3], budget=100, opening=1)) == [[2, 1], [0]]
    assert list(pack([1, 2, 3], budget=100, opening=3)) == [[2, 1, 0]]
    assert list(pack([], budget=1, opening=0)) == []
    assert list(pack([4, 4, 4, 2, 2], budget=32, opening=9, power=2)) == [[0, 1], [2, 3], [4]]


@given(LENGTHS, st.integers(1, 10_000), st.integers(0, 50), st.integers(1, 3))
def test_batches_equal_those_of_a_plain_loop_within_budget_and_waste(lengths, budget, opening, power):
    batches = list(pack(lengths, budget, opening, power=power))
    assert batches == loop(lengths, budget, opening, power)
    assert [row for batch in batches for row in batch] == sorted(
        range(len(lengths)), key=lambda row: (-lengths[row], row)
    )
    for batch in batches:
        assert len(batch) * max(lengths[row] for row in batch) ** power <= budget or len(batch) == 1
        assert waste(lengths, [batch]) <= opening


@pytest.mark.parametrize("made", [np.array, torch.tensor, list, tuple])
def test_lengths_may_be_arrays_tensors_lists_or_tuples(made):
    assert list(pack(made([5, 9, 5]), budget=20, opening=0)) == [[1], [0, 2]]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=25), st.integers(0, 50))
@settings(max_examples=50)
def test_cost_is_at_most_twice_that_of_the_best_partition(lengths, opening):
    """Without a budget; the cost includes opening the first batch."""
    batches = list(pack(lengths, 10**6, opening))
    cost = waste(lengths, batches) + opening * len(batches)
    assert cost <= 2 * least_cost(lengths, 10**6, opening)


@given(LENGTHS, st.integers(1, 200), st.integers(0, 50), st.randoms())
def test_order_of_texts_does_not_change_the_lengths_of_batches(lengths, budget, opening, draw):
    shuffled = draw.sample(lengths, len(lengths))
    one, two = ([[x[row] for row in batch] for batch in pack(x, budget, opening)] for x in (lengths, shuffled))
    assert one == two


def test_a_realistic_corpus_is_padded_by_less_than_two_percent():
    lengths = np.clip(np.random.default_rng(0).lognormal(4, 1, 2**14), 3, 512).astype(int)
    batches = list(pack(lengths, 8192, 128))
    assert waste(lengths, batches) < 0.02 * lengths.sum()  # batches of 32 as they come pad 3.6 times the tokens
    assert len(batches) < 1.1 * lengths.sum() / 8192 + 10


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([3, 0], {}, r"lengths\[1\] is 0"),
        ([3], {"budget": 0}, "budget=0"),
        ([3], {"budget": 2.5}, "budget=2.5"),
        ([3], {"opening": -1}, "opening=-1"),
        ([3], {"power": 0}, "power=0"),
    ],
)
def test_bad_input_is_refused(lengths, options, message):
    with pytest.raises(BadInput, match=message):
        list(pack(lengths, **{"budget": 8, "opening": 0, **options}))


@given(st.integers(0, 300))
def test_interleave_keeps_all_batches_and_the_first_first(count):
    found = interleave(list(range(count)))
    assert sorted(found) == list(range(count))
    assert found[:1] == list(range(count))[:1]
    assert found == interleave(list(range(count)))


def test_any_tenth_of_interleaved_batches_represents_the_whole():
    """The mean place of each tenth is near the middle; in order it would be 0.05 to 0.95."""
    places = np.array(interleave(list(range(1000)))) / 1000
    means = [part.mean() for part in np.split(places, 10)]
    assert max(abs(mean - 0.5) for mean in means) < 0.02
