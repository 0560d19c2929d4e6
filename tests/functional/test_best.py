"""The best rows of a query: against a sort of everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.functional.best import Best, leading

# Few values, so that many scores are equal.
scores = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda values: np.array(values, np.float32))


def sort(values, count):
    return sorted(range(len(values)), key=lambda place: (-values[place], place))[:count]


@given(scores, st.integers(1, 70))
def test_leading_is_a_sort(values, count):
    assert leading(values, count).tolist() == sort(values, count)


@given(scores, st.integers(1, 70), st.integers(0, 4))
def test_leading_leaves_out_what_is_below_a_bound(values, count, least):
    expected = [place for place in sort(values, len(values)) if values[place] >= least][:count]
    assert leading(values, count, least).tolist() == expected


@given(scores, st.integers(1, 20), st.integers(1, 9), st.randoms())
def test_blocks_in_any_order_give_the_same_as_one(values, count, size, random):
    blocks = [np.arange(start, min(start + size, len(values))) for start in range(0, len(values), size)]
    random.shuffle(blocks)
    best = Best(2, count)
    for rows in blocks:
        places = leading(values[rows], count, best.least[1])
        best.offer(1, rows[places], values[rows][places])
    assert best.rows[1].tolist() == sort(values, count)
    assert best.scores[1].tolist() == values[sort(values, count)].tolist()
    assert best.rows[0].size == 0


def test_the_bound_is_set_once_there_are_enough():
    best = Best(1, 2)
    best.offer(0, np.array([0]), np.array([0.5]))
    assert best.least[0] == -np.inf
    best.offer(0, np.array([1]), np.array([0.25]))
    assert best.least[0] == pytest.approx(0.25)
