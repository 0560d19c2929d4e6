"""The best rows of a query: against a sort of everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.functional.best import Best, best_of_each, reach

# Few values, so that many scores are equal.
scores = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda values: np.array(values, np.float32))


def sort(values, count):
    return sorted(range(len(values)), key=lambda place: (-values[place], place))[:count]


@given(
    scores,
    st.integers(1, 70),
    st.floats(-1, 5),
    st.floats(0, 2),
    st.randoms(),
)
def test_no_row_that_may_be_among_the_best_is_below_the_reach(values, count, least, error, random):
    """Whichever estimates are off by up to the error: every row that ties with the last of the best is in reach."""
    estimates = values + np.array([random.uniform(-error, error) for _ in values])
    last = max([least, *sorted(values.tolist(), reverse=True)[count - 1 : count]])
    assert (estimates[values >= last] >= reach(estimates, count, least, error) - 1e-9).all()


@given(scores, st.integers(1, 70))
def test_without_an_error_only_rows_that_tie_with_the_best_are_in_reach(values, count):
    best = values[sort(values, count)]
    found = values[values >= reach(values, count, -np.inf, 0.0)]
    assert sorted(found.tolist()) == sorted(value for value in values.tolist() if value >= best.min())


def test_an_unknown_error_keeps_every_row():
    assert reach(np.array([0.1, np.nan, np.inf]), 1, 0.5, np.inf) == -np.inf


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40))
def test_the_best_of_each_text_is_its_first_of_the_highest_score(pairs):
    texts, values = np.array(sorted(pairs, key=lambda pair: pair[0])).T
    expected = {}
    for place, (text, value) in enumerate(zip(texts.tolist(), values.tolist(), strict=True)):
        if text not in expected or value > values[expected[text]]:
            expected[text] = place
    assert best_of_each(texts, values.astype(float)).tolist() == list(expected.values())


@given(scores, st.integers(1, 20), st.integers(1, 9), st.randoms())
def test_blocks_in_any_order_give_the_same_as_one(values, count, size, random):
    blocks = [np.arange(start, min(start + size, len(values))) for start in range(0, len(values), size)]
    random.shuffle(blocks)
    best = Best(2, count)
    for rows in blocks:
        places = np.flatnonzero(values[rows] >= reach(values[rows], count, best.least[1], 0.0))
        best.offer(1, rows[places], values[rows][places])
    assert best.rows[1].tolist() == sort(values, count)
    assert best.scores[1].tolist() == values[sort(values, count)].tolist()
    assert best.rows[0].size == 0
    best.replace(1, np.array([9, 7]), np.array([0.5, 0.5]))
    assert (best.rows[1].tolist(), best.scores[1].tolist()) == ([7, 9][:count], [0.5, 0.5][:count])


def test_the_bound_is_set_once_there_are_enough():
    best = Best(1, 2)
    best.offer(0, np.array([0]), np.array([0.5]))
    assert best.least[0] == -np.inf
    best.offer(0, np.array([1]), np.array([0.25]))
    assert best.least[0] == pytest.approx(0.25)
