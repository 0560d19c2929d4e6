"""Figures of a cloud: numbers by hand, plain loops and scipy, laws, precision, then what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cenote.errors import BadInput
from cenote.functional import spread as room
from cenote.functional.dispersion import (
    effective_rank,
    mean_cosine,
    pair_means,
    slope,
    spearman,
    uniformities,
    uniformity,
)

CLOUDS = {"mean cosine": mean_cosine, "uniformity": uniformity}


def cloud(n=30, width=5, seed=0, shift=0.3):
    return np.random.default_rng(seed).standard_normal((n, width)) + shift


# --- independent references ---------------------------------------------------------------------------------------


def cosine(x, y):
    product = math.fsum(a * b for a, b in zip(x, y, strict=True))
    return product / math.sqrt(math.fsum(a * a for a in x) * math.fsum(b * b for b in y))


def loop(rows, kernel, weights=None):
    """The mean of a kernel of the cosine over all pairs of different texts, one at a time."""
    weights = [1] * len(rows) if weights is None else weights
    pairs = list(itertools.combinations(range(len(rows)), 2))
    total = math.fsum(weights[i] * weights[j] * kernel(cosine(rows[i], rows[j])) for i, j in pairs)
    return total / math.fsum(weights[i] * weights[j] for i, j in pairs)


def uniform_loop(rows, t=2.0, weights=None):
    return math.log(loop(rows, lambda c: math.exp(-t * (2 - 2 * c)), weights))


# --- by hand ------------------------------------------------------------------------------------------------------


def test_by_hand():
    cross = np.array([[1.0, 0], [-3, 0], [0, 2], [0, -0.5]])
    assert mean_cosine(cross) == pytest.approx(-1 / 3)  # four of six pairs at right angles, two opposite
    assert uniformity(cross) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))
    assert mean_cosine(np.ones((4, 3))) == pytest.approx(1)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    assert effective_rank([1.0]) == 1
    assert effective_rank([0.0, 0.0]) == 0
    assert effective_rank([0.5, 0.25, 0.25]) == pytest.approx(2**1.5)
    assert spearman([1, 2, 3], [3, 1, 2]) == pytest.approx(-0.5)
    assert slope([1, 2, 4], [1, 0, 5]) == pytest.approx(7 / (14 / 3))
    assert slope([0, 1e-200], [0, 1e-200]) == pytest.approx(1)


@pytest.mark.parametrize("n", [2, 3, 30])
def test_as_a_plain_loop(n):
    rows = cloud(n)
    assert mean_cosine(rows) == pytest.approx(loop(rows, lambda c: c), rel=1e-12)
    for t in (0.5, 2, 175):
        assert uniformity(rows, t) == pytest.approx(uniform_loop(rows, t), rel=1e-12)


def test_no_text_is_paired_with_itself_however_often_it_counts():
    rows = room.unit(cloud(6))
    weights = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, size=8).astype(float)
    squares = np.square(weights).sum(1)
    totals = np.square(weights @ rows).sum(1) - squares
    means = pair_means(totals, weights.sum(1), squares)
    even = uniformities(rows, weights)
    for r in range(8):
        assert means[r] == pytest.approx(loop(rows, lambda c: c, weights[r]), rel=1e-12)
        assert even[r] == pytest.approx(uniform_loop(rows, 2.0, weights[r]), rel=1e-12)
    alone = np.array([[6.0, 0, 0, 0, 0, 0]])
    assert np.isnan(pair_means(0.0, [6.0], [36.0]))
    assert np.isnan(uniformities(rows, alone))


def test_ranks_and_slopes_as_scipy():
    generator = np.random.default_rng(0)
    for n, values in ((2, 50), (5, 3), (100, 7), (1000, 10**6)):
        x, y = np.arange(n) % values, generator.integers(0, values, size=n)
        x[0], y[0] = values + 1, values + 2
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert slope(x, y) == pytest.approx(stats.linregress(x, y).slope, rel=1e-10)


def test_effective_rank_as_scipys_entropy():
    values = np.random.default_rng(0).exponential(size=50)
    assert effective_rank(values) == pytest.approx(math.exp(stats.entropy(values)), rel=1e-12)


# --- laws ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(2, 40),
    width=st.integers(1, 8),
    scale=st.floats(1e-6, 1e6),
    order=st.randoms(use_true_random=False),
)
def test_laws_of_a_cloud(seed, n, width, scale, order):
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
@given(x=st.lists(st.integers(-50, 50), min_size=2, max_size=40), seed=st.integers(0, 99))
def test_laws_of_relations(x, seed):
    assume(len(set(x)) > 1)
    y = np.random.default_rng(seed).integers(0, 9, size=len(x))
    y[0] = 99
    r, s = spearman(x, y), slope(x, y)
    assert -1 <= r <= 1
    assert spearman(y, x) == pytest.approx(r, abs=1e-12)
    assert spearman(np.exp(np.array(x) / 9.0), y) == pytest.approx(r, abs=1e-12)  # only the order counts
    assert spearman([-value for value in x], y) == pytest.approx(-r, abs=1e-12)
    assert slope(np.array(x) * 2.0 + 7, y * 3.0 - 1) == pytest.approx(1.5 * s, rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(0, 1e300), min_size=1, max_size=30), scale=st.floats(1e-3, 1e3))
def test_laws_of_effective_rank(values, scale):
    rank = effective_rank(values)
    positive = sum(value > 0 for value in values)
    assert (rank == 0) if not positive else (1 - 1e-9 <= rank <= positive * (1 + 1e-9))
    assert effective_rank([*values[::-1], 0.0]) == pytest.approx(rank, rel=1e-9)
    if min((value for value in values if value), default=1) > 1e-290:
        assert effective_rank([value * scale for value in values]) == pytest.approx(rank, rel=1e-9)


@pytest.mark.parametrize("n", [1, 3, 50])
def test_even_spectra_have_full_rank(n):
    assert effective_rank(np.full(n, 0.3)) == pytest.approx(n)


# --- kinds and precision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", CLOUDS)
def test_any_kind_of_array_will_do(figure):
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
def test_no_norm_under_or_overflows(scale, recwarn):
    rows = np.array([[1.0, 0], [3, 3], [0, 2]])
    for figure in CLOUDS.values():
        assert figure(rows * scale) == pytest.approx(figure(rows), rel=1e-12)
    mixed = rows * np.array([[scale], [1], [1]])
    assert mean_cosine(mixed) == pytest.approx(mean_cosine(rows), rel=1e-12)
    assert not recwarn.list


def test_blocks_do_not_show(monkeypatch):
    rows, weights = room.unit(cloud(23)), np.ones((3, 23))
    expected = mean_cosine(rows), uniformities(rows, weights)
    monkeypatch.setattr(room, "BLOCK", 60)
    assert mean_cosine(rows) == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(uniformities(rows, weights), expected[1], rtol=1e-13)


def test_a_rows_direction_does_not_depend_on_its_neighbours():
    rows = cloud(97, 33)
    whole = room.unit(rows)
    for i in range(97):
        np.testing.assert_array_equal(room.unit(rows[i : i + 1])[0], whole[i])
    np.testing.assert_array_equal(room.unit(np.asfortranarray(rows)), whole)


# --- what is refused ----------------------------------------------------------------------------------------------

BROKEN = np.ones((12, 2))
BROKEN[3, 1], BROKEN[7, 0] = np.nan, -np.inf


@pytest.mark.parametrize("figure", CLOUDS)
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([[1.0, 2.0]], "embeddings is a list: pass a torch tensor"),
        (np.ma.ones((2, 2)), "MaskedArray"),
        (np.ones(3), r"shape \(3,\): pass \[N, D\]"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        (np.ones((2, 3), int), "dtype int64"),
        (torch.ones(2, 3, dtype=torch.int8), "dtype int8"),
        (torch.ones(2, 3, dtype=torch.complex64), "dtype complex64"),
        (torch.eye(3).to_sparse(), "embeddings is a sparse tensor: call .to_dense"),
        (np.ones((2, 3), np.longdouble), "dtype float128"),
        (BROKEN, "NaN or infinity in rows 3, 7: look at"),
        (torch.tensor([[1.0, math.nan], [1, 1]]).bfloat16(), "NaN or infinity in row 0: look"),
        (np.eye(4)[[0, 1, 2, 3]] * [1, 1, 0, 1], "zero vectors in row 2: they have no direction"),
        (np.ones((1, 3)), r"shape \(1, 3\): pairs need at least two"),
        (np.ones((0, 3)), "at least two"),
    ],
)
def test_bad_clouds(figure, embeddings, message):
    with pytest.raises(BadInput, match=message):
        CLOUDS[figure](embeddings)


@pytest.mark.parametrize("t", [0, -1, math.nan, math.inf, 176, True, "2"])
def test_bad_t(t):
    with pytest.raises(BadInput, match="uniformity needs a number above 0 and at most 175"):
        uniformity(cloud(), t)


@pytest.mark.parametrize("figure", [spearman, slope])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2, 3], "x has 2 values, y 3"),
        ([1], [1], "1 values: a relation needs at least two"),
        ([], [], "0 values"),
        ([2, 2, 2], [1, 2, 3], "all 3 values of x are 2: .* different ones"),
        ([1, math.nan, 3], [1, 2, 3], "x holds NaN or infinity at 1"),
        ([1, 2, 3], [math.inf, 2, math.inf], "y holds NaN or infinity at 0, 2"),
        ([[1, 2]], [1, 2], r"x of shape \(1, 2\)"),
        (["a", "b"], [1, 2], "x of shape .* pass one row of numbers"),
        ([[1], [1, 2]], [1, 2], "x of shape .* pass one row of numbers"),
        (None, [1, 2], "x of shape"),
        ([True, False], [1, 2], "dtype bool"),
    ],
)
def test_bad_relations(figure, x, y, message):
    with pytest.raises(BadInput, match=message):
        figure(x, y)


def test_what_one_of_them_can_do():
    assert slope([1, 2, 3], [5, 5, 5]) == 0
    with pytest.raises(BadInput, match="all 3 values of y are 5: ranks need different ones"):
        spearman([1, 2, 3], [5, 5, 5])
    with pytest.raises(BadInput, match="the slope exceeds float64: scale x up"):
        slope([0, 1e-200], [0, 1e200])


def test_bad_eigenvalues():
    with pytest.raises(BadInput, match="eigenvalue -1e-09 is below 0"):
        effective_rank([1, -1e-9])
    with pytest.raises(BadInput, match="eigenvalues holds NaN"):
        effective_rank([1, math.nan])
