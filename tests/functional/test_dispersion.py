"""Dispersion of embeddings: numbers by hand, plain loops, laws, precision, then bad input."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional import dispersion
from cenote.functional.dispersion import (
    effective_rank,
    mean_cosine,
    mean_over_weighted_pairs,
    to_vector,
    uniformity,
    weighted_mean_cosine,
    weighted_uniformity,
)
from cenote.functional.units import to_unit

CLOUDS = {"mean cosine": mean_cosine, "uniformity": uniformity}


def cloud(n=30, width=5, seed=0, shift=0.3):
    return np.random.default_rng(seed).standard_normal((n, width)) + shift


# --- independent references ---------------------------------------------------------------------------------------


def cosine(x, y):
    product = math.fsum(a * b for a, b in zip(x, y, strict=True))
    return product / math.sqrt(math.fsum(a * a for a in x) * math.fsum(b * b for b in y))


def loop(rows, kernel, weights=None):
    """Average a kernel of the cosine over all pairs of different texts, one pair at a time."""
    weights = [1] * len(rows) if weights is None else weights
    pairs = list(itertools.combinations(range(len(rows)), 2))
    total = math.fsum(weights[i] * weights[j] * kernel(cosine(rows[i], rows[j])) for i, j in pairs)
    return total / math.fsum(weights[i] * weights[j] for i, j in pairs)


def uniform_loop(rows, t=2.0, weights=None):
    return math.log(loop(rows, lambda c: math.exp(-t * (2 - 2 * c)), weights))


# --- by hand ------------------------------------------------------------------------------------------------------


def test_figures_computed_by_hand():
    cross = np.array([[1.0, 0], [-3, 0], [0, 2], [0, -0.5]])
    assert mean_cosine(cross) == pytest.approx(-1 / 3)  # four of six pairs at right angles, two opposite
    assert uniformity(cross) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))
    assert mean_cosine(np.ones((4, 3))) == pytest.approx(1)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    assert effective_rank([1.0]) == 1
    assert effective_rank([0.0, 0.0]) == 0
    assert effective_rank([0.5, 0.25, 0.25]) == pytest.approx(2**1.5)
    for n in (1, 3, 50):
        assert effective_rank(np.full(n, 0.3)) == pytest.approx(n)


@pytest.mark.parametrize("n", [2, 3, 30])
def test_figures_equal_plain_loops(n):
    rows = cloud(n)
    assert mean_cosine(rows) == pytest.approx(loop(rows, lambda c: c), rel=1e-12)
    for t in (0.5, 2, 175):
        assert uniformity(rows, t) == pytest.approx(uniform_loop(rows, t), rel=1e-12)


def test_copies_of_a_text_are_not_paired():
    rows = to_unit(cloud(6))
    weights = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, size=8).astype(float)
    means = weighted_mean_cosine(rows, weights)
    even = weighted_uniformity(rows, weights)
    for r in range(8):
        assert means[r] == pytest.approx(loop(rows, lambda c: c, weights[r]), rel=1e-12)
        assert even[r] == pytest.approx(uniform_loop(rows, 2.0, weights[r]), rel=1e-12)
    alone = np.array([[6.0, 0, 0, 0, 0, 0]])
    assert np.isnan(mean_over_weighted_pairs(0.0, [6.0], [36.0]))
    assert np.isnan(weighted_uniformity(rows, alone))


def test_effective_rank_is_the_exponential_of_the_entropy():
    values = np.random.default_rng(0).exponential(size=50).tolist()
    shares = [value / math.fsum(values) for value in values]
    assert effective_rank(values) == pytest.approx(math.exp(-math.fsum(p * math.log(p) for p in shares)), rel=1e-12)


# --- laws ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(2, 40),
    width=st.integers(1, 8),
    scale=st.floats(1e-6, 1e6),
    order=st.randoms(use_true_random=False),
)
def test_rotation_scale_and_order_do_not_matter_and_bounds_hold(seed, n, width, scale, order):
    rows = cloud(n, width, seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
    places = order.sample(range(n), n)
    own = np.random.default_rng(seed).uniform(0.1, 10, size=(n, 1))
    for figure in CLOUDS.values():
        value = figure(rows)
        for same in (rows @ turn, rows * scale, rows * own, rows[places]):
            assert figure(same) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert -1 / (n - 1) - 1e-12 <= mean_cosine(rows) <= 1 + 1e-12
    assert -8 - 1e-9 <= uniformity(rows) <= 1e-9
    assert uniformity(rows) >= -4 * (1 - mean_cosine(rows)) - 1e-9  # Jensen: the log of a mean of exponentials


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(0, 1e300), min_size=1, max_size=30), scale=st.floats(1e-3, 1e3))
@example(values=[1.0, 1.0, 5e-324], scale=1.0)  # the least share is 0
def test_effective_rank_is_between_one_and_the_number_of_positive_eigenvalues(values, scale):
    rank = effective_rank(values)
    positive = sum(value > 0 for value in values)
    assert (rank == 0) if not positive else (1 - 1e-9 <= rank <= positive * (1 + 1e-9))
    assert effective_rank([*values[::-1], 0.0]) == pytest.approx(rank, rel=1e-9)
    if min((value for value in values if value), default=1) > 1e-290:
        assert effective_rank([value * scale for value in values]) == pytest.approx(rank, rel=1e-9)


# --- kinds and precision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", CLOUDS)
def test_dtype_and_kind_of_array_do_not_matter(figure):
    rows, figure = cloud(200, 32).astype(np.float16), CLOUDS[figure]
    exact = figure(rows.astype(np.float64))
    locked = rows.copy()
    locked.flags.writeable = False
    for same in (rows, locked, rows.astype(">f4"), np.asfortranarray(rows), torch.from_numpy(rows)):
        assert figure(same) == exact
    assert figure(torch.from_numpy(rows).float().requires_grad_()) == exact
    rounded = torch.from_numpy(rows).bfloat16()
    assert figure(rounded) == figure(rounded.double().numpy())
    assert isinstance(exact, float)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e160, 1e300])
def test_norms_neither_underflow_nor_overflow(scale, recwarn):
    rows = np.array([[1.0, 0], [3, 3], [0, 2]])
    for figure in CLOUDS.values():
        assert figure(rows * scale) == pytest.approx(figure(rows), rel=1e-12)
    mixed = rows * np.array([[scale], [1], [1]])
    assert mean_cosine(mixed) == pytest.approx(mean_cosine(rows), rel=1e-12)
    assert not recwarn.list


def test_blocks_do_not_matter(monkeypatch):
    rows, weights = to_unit(cloud(23)), np.ones((3, 23))
    expected = mean_cosine(rows), weighted_uniformity(rows, weights)
    monkeypatch.setattr(dispersion, "BLOCK", 60)
    assert mean_cosine(rows) == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(weighted_uniformity(rows, weights), expected[1], rtol=1e-13)


# --- bad input ----------------------------------------------------------------------------------------------------

BROKEN = np.ones((12, 2))
BROKEN[3, 1], BROKEN[7, 0] = np.nan, -np.inf


@pytest.mark.parametrize("figure", CLOUDS)
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones(3), r"shape \(3,\): pass \[N, D\]"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        (BROKEN, "NaN or infinity in rows 3, 7: check"),
        (torch.tensor([[1.0, math.nan], [1, 1]]).bfloat16(), "NaN or infinity in row 0: check"),
        (np.eye(4)[[0, 1, 2, 3]] * [1, 1, 0, 1], "zero vectors in row 2: they have no direction"),
        (np.ones((1, 3)), r"shape \(1, 3\): pairs need at least two"),
        (np.ones((0, 3)), "at least two"),
    ],
)
def test_bad_embeddings_are_refused(figure, embeddings, message):
    with pytest.raises(BadInput, match=message):
        CLOUDS[figure](embeddings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *(
            (lambda t=t: uniformity(cloud(), t), "a number above 0 and at most 175")
            for t in (0, math.nan, 176, True, "2")
        ),
        (lambda: effective_rank([1, -1e-9]), "eigenvalue -1e-09 is below 0"),
        (lambda: effective_rank([1, math.nan]), "eigenvalues holds NaN"),
        (lambda: to_vector([1, math.nan, 3], "x"), "x holds NaN or infinity at 1: leave"),
        (lambda: to_vector([math.inf, 2, math.inf], "x"), "x holds NaN or infinity at 0, 2"),
        (lambda: to_vector([[1, 2]], "x"), r"x has shape \(1, 2\)"),
        (lambda: to_vector(["a", "b"], "x"), "pass one row of numbers"),
        (lambda: to_vector([[1], [1, 2]], "x"), "pass one row of numbers"),
        (lambda: to_vector(None, "x"), "x has shape"),
        (lambda: to_vector([True, False], "x"), "dtype bool"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()
