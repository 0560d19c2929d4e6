"""Cosines and shared neighbours against plain loops."""

import math

import numpy as np
import pytest

from cenote.errors import BadInput
from cenote.functional.agreement import (
    FEWEST_WITH_OTHERS,
    average_overlap,
    cosine_of,
    cosines,
    nearest_others,
    shared_nearest,
)
from cenote.functional.units import to_unit

DRAWN = np.random.default_rng(0)
LEFT = DRAWN.standard_normal((30, 6))
RIGHT = LEFT + 0.5 * DRAWN.standard_normal((30, 6))


def by_loops(vectors, count):
    """The nearest others of each row, by cosine."""
    found = []
    for place, own in enumerate(vectors):
        similar = [(-(own @ one) / math.sqrt((own @ own) * (one @ one)), at) for at, one in enumerate(vectors)]
        found.append([at for _, at in sorted(similar) if at != place][:count])
    return found


def test_cosines_are_those_of_a_loop():
    expected = [a @ b / math.sqrt((a @ a) * (b @ b)) for a, b in zip(LEFT, RIGHT, strict=True)]
    np.testing.assert_allclose(cosines(LEFT, RIGHT), expected, rtol=1e-12)
    assert cosine_of(LEFT[0], RIGHT[0]) == pytest.approx(expected[0])
    assert math.isnan(cosines(np.full((1, 2), np.nan), np.ones((1, 2)))[0])
    assert cosines(np.zeros((1, 2)), np.ones((1, 2))).tolist() == [0]


@pytest.mark.parametrize("count", [1, 10])
def test_nearest_others_and_what_they_share(count):
    one, other = by_loops(LEFT, count), by_loops(RIGHT, count)
    assert [set(row) for row in nearest_others(to_unit(LEFT), count)] == [set(row) for row in one]
    shares = [len({*a} & {*b}) / count for a, b in zip(one, other, strict=True)]
    assert shared_nearest(LEFT, RIGHT, count).tolist() == shares
    assert 0 < np.mean(shares) < 1
    assert shared_nearest(LEFT, 3 * LEFT, count).tolist() == [1.0] * 30


@pytest.mark.parametrize("count", [0, 1, 11])
def test_texts_all_of_whose_others_are_nearest_share_nothing_that_is_known(count):
    with pytest.raises(BadInput, match=f"{count} texts share all of their 10 nearest others: pass 12 or more"):
        shared_nearest(LEFT[:count], RIGHT[:count])
    assert min(shared_nearest(LEFT[:FEWEST_WITH_OTHERS], RIGHT[:FEWEST_WITH_OTHERS])) < 1


def test_average_overlap_is_the_mean_share_of_the_first_places():
    generator = np.random.default_rng(0)
    for _ in range(20):
        one, other = (generator.permutation(15)[:10].tolist() for _ in range(2))
        shares = []
        for depth in range(1, 11):
            common = 0
            for text in one[:depth]:
                common += text in other[:depth]
            shares.append(common / depth)
        assert average_overlap(one, other) == pytest.approx(sum(shares) / 10)
        assert average_overlap(one, one) == 1
    turned = list(range(10))
    assert average_overlap(turned, turned[::-1]) < 0.4  # all ten are shared, in another order
    first, last = ([*turned[:place], 99, *turned[place + 1 :]] for place in (0, 9))
    assert average_overlap(turned, first) < average_overlap(turned, last) == pytest.approx(0.99)


def test_rankings_of_other_lengths_are_refused():
    for one, other in (([], []), ([1], [1, 2])):
        with pytest.raises(BadInput, match="pass as many of both, at least one"):
            average_overlap(one, other)
