"""`socm`: shapes, hand-computed values, the definition by [D, D] roots, laws, tiles, the published code, bad input;
then `split_halves` and `socm_null`.

References are in float64 with square roots of [D, D] matrices. Where texts leave dimensions empty, these are themselves
only good to some 1e-7: the root of an eigenvalue that should be 0 and is 1e-16 is 1e-8, for each dimension.
"""

import itertools
import math
import re
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from cenote.errors import BadInput
from cenote.functional import second_order as room
from cenote.functional.second_order import (
    REFERENCE_FLOOR,
    reference_bias,
    socm,
    socm_blocks,
    socm_null,
    split_halves,
)


class Figures(NamedTuple):
    """Reference values of the figures of `SecondOrder`, SOCM among them."""

    d_mu: Any
    d_sigma: Any
    normalised: Any
    socm: Any


PARTS = Figures._fields
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def text(n, d=6, seed=0, dtype=torch.float64):
    """Tokens around a mean of length about 2, as spread as a model's: tr S / |mu|^2 is about 1."""
    generator = torch.Generator().manual_seed(1000 * seed + n)
    mean, noise = (torch.randn(k, d, generator=generator, dtype=torch.float64) for k in (1, n))
    return (2 * mean / mean.norm() + 2 * noise / math.sqrt(d)).to(dtype)


def texts(sizes, d=6, dtype=torch.float64):
    return [text(n, d, seed, dtype) for seed, n in enumerate(sizes)]


def moments(tokens):
    tokens = np.asarray(tokens.double() if isinstance(tokens, torch.Tensor) else tokens, dtype=np.float64)
    tokens = tokens / np.linalg.norm(tokens.mean(0))
    mean = tokens.mean(0)
    return mean, (tokens - mean).T @ (tokens - mean) / len(tokens)


def definition(a, b):
    """The figures as the paper writes them, with scipy's root of a matrix, and the normalised d_sigma."""
    (mean, one), (other, two) = moments(a), moments(b)
    root = sqrtm(one)
    d_mu = ((mean - other) ** 2).sum() / 4
    d_sigma = (np.trace(one) + np.trace(two) - 2 * np.trace(sqrtm(root @ two @ root)).real) / 4
    return Figures(d_mu, d_sigma, d_sigma / upper_bound(a, b), (1 - d_mu) * d_sigma)


def upper_bound(a, b):
    """The largest d_sigma of any two texts with these spreads."""
    return (np.trace(moments(a)[1]) + np.trace(moments(b)[1])) / 4


def published(a, b, floor):
    """The definition with a floor added to every eigenvalue before every root."""
    one, two = moments(a)[1], moments(b)[1]
    values, vectors = np.linalg.eigh(one)
    root = vectors * np.sqrt(values.clip(0) + floor) @ vectors.T
    roots = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(0) + floor)
    return (np.trace(one) + np.trace(two) - 2 * roots.sum()) / 4


def assert_same(one, two, tolerance):
    for part in PARTS:
        np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=0, atol=tolerance)


# --- shapes -------------------------------------------------------------------------------------------------------


def test_all_pairs_are_in_the_order_of_pdist():
    from scipy.spatial.distance import pdist, squareform

    given = texts([9, 3, 5, 1, 4])
    result = socm(given, precision="float64")
    unit = np.stack([moments(tokens)[0] for tokens in given])
    np.testing.assert_allclose(result.d_mu, pdist(unit, "sqeuclidean") / 4, atol=1e-14)
    assert all(getattr(result, part).shape == (10,) for part in PARTS)
    square = squareform(result.socm.numpy())
    for i, j in itertools.combinations(range(5), 2):
        assert_same(socm([given[i]], [given[j]], precision="float64"), pick(result, [condensed(5, i, j)]), 1e-13)
        assert square[i, j] == square[j, i] == result.socm[condensed(5, i, j)]


def paired(n):
    """The condensed places of (0, n / 2), (1, n / 2 + 1), ..."""
    return [condensed(n, i, i + n // 2) for i in range(n // 2)]


def condensed(n, i, j):
    return list(itertools.combinations(range(n), 2)).index((min(i, j), max(i, j)))


def pick(result, places):
    return Figures(*(getattr(result, part)[places] for part in PARTS))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_gives_the_same_as_torch(dtype):
    arrays = [tokens.numpy().astype(dtype) for tokens in texts([3, 8, 5, 8])]
    tensors = [torch.from_numpy(array) for array in arrays]
    for sequence in (arrays, tuple(arrays), np.stack([arrays[1], arrays[3]])):
        for part in PARTS:
            assert isinstance(getattr(socm(sequence), part), np.ndarray)
            assert getattr(socm(sequence), part).dtype == np.float64
    for split in (slice(None), None), (slice(0, 2), slice(2, 4)):
        made, wanted = (socm(*(x[part] if part else None for part in split)) for x in (arrays, tensors))
        for part in PARTS:
            np.testing.assert_array_equal(getattr(made, part), getattr(wanted, part).numpy())
    i, j, piece = next(socm_blocks(arrays))
    assert all(isinstance(array, np.ndarray) for array in (i, j, *(getattr(piece, part) for part in PARTS)))


def test_torch_modes_and_defaults_of_the_caller_do_not_matter():
    given = texts([4, 7, 5], dtype=torch.float32)
    plain = socm(given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(socm([tokens.requires_grad_() for tokens in given]), plain, 0)
    assert not socm(given).socm.requires_grad
    with torch.inference_mode():
        assert_same(socm(given), plain, 0)
    try:
        torch.set_float32_matmul_precision("medium")
        assert_same(socm(given), socm(given, precision="float64"), 1e-6)
    finally:
        torch.set_float32_matmul_precision("highest")


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", TOLERANCE)
def test_values_computed_by_hand(precision):
    along = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])  # mean (1, 0), S = diag(4, 0)
    across = torch.tensor([[2.0, 4.0], [2.0, -4.0]])  # the same after division by 2, S = diag(0, 4)
    up = torch.tensor([[0.0, 5.0]])  # mean (0, 1), no spread
    down = torch.tensor([[1.0, -2.0], [-1.0, -2.0]])  # mean (0, -1), S = diag(1/4, 0)
    result = socm([along, across, up, down], precision=precision)
    pairs = [(0, 2), (0.5, 1), (0.5, (2 - 0.5) ** 2 / 4), (0.5, 1), (0.5, (4 + 0.25) / 4), (1, 0.25 / 4)]
    np.testing.assert_allclose(result.d_mu, [mu for mu, _ in pairs], atol=1e-15)
    np.testing.assert_allclose(result.d_sigma, [sigma for _, sigma in pairs], atol=TOLERANCE[precision])
    np.testing.assert_allclose(result.socm, [(1 - mu) * sigma for mu, sigma in pairs], atol=TOLERANCE[precision])
    # The largest d_sigma are (4 + 4) / 4, (4 + 0) / 4, (4 + 1/4) / 4, ... and 1.5^2 / 4.25 = 9/17.
    np.testing.assert_allclose(result.normalised, [1, 1, 9 / 17, 1, 1, 1], atol=TOLERANCE[precision])


@pytest.mark.parametrize("precision", TOLERANCE)
def test_values_equal_the_definition_for_full_rank(precision):
    given = texts([9, 30, 12, 9, 100, 31])  # n > D
    expected = np.array([definition(a, b) for a, b in itertools.combinations(given, 2)]).T
    assert_same(socm(given, precision=precision), Figures(*expected), TOLERANCE[precision])
    rows = np.array([definition(a, b) for a, b in zip(given[:3], given[3:], strict=True)]).T
    assert_same(socm(given[:3], given[3:], precision=precision), Figures(*rows), TOLERANCE[precision])


def test_values_equal_the_definition_for_short_texts():
    given = texts([1, 2, 3, 5, 8, 17, 20, 40], d=24, dtype=torch.float32)
    expected = [published(a, b, 0.0) for a, b in itertools.combinations(given, 2)]
    np.testing.assert_allclose(socm(given).d_sigma, expected, atol=1e-6)
    np.testing.assert_allclose(socm(given, precision="float64").d_sigma, expected, atol=5e-7)
    shares = np.array(expected) / [upper_bound(a, b) for a, b in itertools.combinations(given, 2)]
    np.testing.assert_allclose(socm(given).normalised, shares, atol=2e-6)
    np.testing.assert_allclose(socm(given[:4], given[4:]).normalised, [shares[k] for k in paired(8)], atol=2e-6)


def test_float32_is_within_a_millionth_at_the_sizes_of_real_models_and_for_steep_spectra():
    given = texts([4, 16, 33, 64, 100], d=384, dtype=torch.float32)
    assert_same(socm(given), socm(given, precision="float64"), 1e-6)
    expected = [published(a, b, 0.0) for a, b in itertools.combinations(given, 2)]
    np.testing.assert_allclose(socm(given).d_sigma, expected, atol=1e-5)
    scales = torch.logspace(0, -6, 48, dtype=torch.float64)  # spectra over six decades, where squares lose most
    steep = [1 + tokens * scales for tokens in texts([40, 48, 60, 40], d=48)]
    assert_same(socm(steep), socm(steep, precision="float64"), 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_from_its_exact_values(dtype):
    given = texts([4, 9, 15], dtype=dtype)
    assert_same(socm(given), socm([tokens.float() for tokens in given]), 0)


# --- laws and edges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", TOLERANCE)
def test_equal_texts_have_zero_collapse(precision):
    for n in (1, 2, 5, 30):
        result = socm([text(n)], [text(n)], precision=precision)
        assert float(result.d_mu) == pytest.approx(0, abs=1e-15)
        assert 0 <= float(result.d_sigma) <= TOLERANCE[precision]
        assert 0 <= float(result.normalised) <= TOLERANCE[precision]


def test_texts_without_variance():
    single, constant = text(1), text(1, seed=1).expand(7, 6)
    result = socm([single, constant, 3 * single])
    np.testing.assert_allclose(result.socm, [0, 0, 0], rtol=0, atol=1e-30)  # squares of roundings
    assert result.normalised.tolist() == [0, 0, 0]  # and not a quotient of roundings
    spread = text(5)
    for flat in (single, constant):
        result = socm([flat], [spread])
        assert result.d_sigma.item() == pytest.approx(np.trace(moments(spread)[1]) / 4, abs=1e-12)
        assert result.normalised.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 7, 100, 3000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_equal_tokens_have_no_spread_at_any_length(n, dtype):
    flat = [text(1, 384, seed, dtype).expand(n, 384) for seed in range(8)]
    assert socm(flat).normalised.tolist() == [0] * 28


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 10.0])
def test_the_size_of_the_spread_does_not_matter_to_the_normalised_form(precision, scale):
    """Deviations times `scale`: d_sigma has its square as a factor, and so has its largest value."""
    given = [tokens - tokens.mean(0) + text(1, seed=seed + 50) for seed, tokens in enumerate(texts([3, 5, 9, 20, 6]))]
    scaled = [tokens.mean(0) + scale * (tokens - tokens.mean(0)) for tokens in given]
    wide, narrow = socm(given, precision=precision), socm(scaled, precision=precision)
    tolerance = 2e-6 if precision == "float32" else 1e-9  # deviations of 1e-6 have ten digits left
    np.testing.assert_allclose(narrow.normalised, wide.normalised, rtol=0, atol=tolerance)
    np.testing.assert_allclose(narrow.d_sigma, scale**2 * wide.d_sigma, rtol=1e-5)


def test_the_normalised_form_of_axes_that_texts_share():
    """Deviations along the axes 0 to 3 and 2 to 5, all equal: half of the trace of each is shared, and half is left."""
    mean = torch.tensor([[0.0] * 6 + [1.0]], dtype=torch.float64)
    axes = 0.3 * torch.eye(7, dtype=torch.float64)
    one, two = (torch.cat([mean + axes[part], mean - axes[part]]) for part in (slice(0, 4), slice(2, 6)))
    assert socm([one], [two], precision="float64").normalised.item() == pytest.approx(0.5, abs=1e-14)
    shrunk = mean + (two - mean) / 3  # traces of 1 and 1/9, and 2 (1/2) (1/3) of root: 1 - (1/3) / (10/9)
    assert socm([one], [shrunk], precision="float64").normalised.item() == pytest.approx(0.7, abs=1e-14)


def test_repeating_every_token_does_not_matter():
    given, other = text(5), text(9, seed=1)
    for times in (2, 7):
        assert_same(socm([given.repeat(times, 1)], [other]), socm([given], [other]), 1e-6)
    deficient = text(3)[[0, 1, 1, 2, 0, 0]]
    assert socm([deficient], [other]).d_sigma.item() == pytest.approx(definition(deficient, other)[1], abs=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e20])
def test_the_scale_of_a_text_does_not_matter(scale):
    given = texts([4, 9, 15, 1], dtype=torch.float32)
    assert_same(socm([given[0] * scale, *given[1:]]), socm(given), 1e-6)
    assert_same(socm([tokens * scale for tokens in given], precision="float64"), socm(given), 1e-6)


sizes = st.lists(st.integers(1, 14), min_size=2, max_size=7)


@given(sizes, st.integers(0, 99), st.sampled_from(["float32", "float64"]))
@settings(max_examples=25, deadline=None)
def test_symmetry_bounds_rotation_and_order(counts, seed, precision):
    tolerance = TOLERANCE[precision]
    given = [text(n, 8, seed + k) for k, n in enumerate(counts)]
    result = socm(given, precision=precision)
    assert ((result.d_mu >= 0) & (result.d_mu <= 1) & (result.d_sigma >= 0) & (result.socm >= 0)).all()
    assert ((result.normalised >= 0) & (result.normalised <= 1)).all()
    generator = torch.Generator().manual_seed(seed)
    shuffled = [tokens[torch.randperm(len(tokens), generator=generator)] for tokens in given]
    assert_same(socm(shuffled, precision=precision), result, tolerance)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    assert_same(socm([tokens @ turn for tokens in given], precision=precision), result, tolerance)
    assert_same(socm([tokens * (k + 1) for k, tokens in enumerate(given)], precision=precision), result, tolerance)
    order = torch.randperm(len(given), generator=generator).tolist()
    moved = socm([given[i] for i in order], precision=precision)
    places = [condensed(len(given), order[i], order[j]) for i, j in itertools.combinations(range(len(given)), 2)]
    assert_same(moved, pick(result, places), tolerance)
    i, j = zip(*itertools.combinations(range(len(given)), 2), strict=True)
    there, back = [given[k] for k in i], [given[k] for k in j]
    assert_same(socm(there, back, precision=precision), result, tolerance)
    assert_same(socm(back, there, precision=precision), result, tolerance)


def test_the_wasserstein_distance_of_diagonal_gaussians():
    """Covariances that commute: W2^2 = |mu1 - mu2|^2 + sum (s1 - s2)^2 over the deviations of each axis."""
    d = 5
    generator = torch.Generator().manual_seed(0)
    given, means, deviations = [], [], []
    for _ in range(4):
        mean = torch.nn.functional.normalize(torch.randn(d, generator=generator, dtype=torch.float64), dim=0)
        deviation = torch.rand(d, generator=generator, dtype=torch.float64)
        axes = math.sqrt(d) * torch.diag(deviation)
        given.append(3 * torch.cat([mean + axes, mean - axes]))  # S = diag(deviation^2)
        means.append(mean)
        deviations.append(deviation)
    result = socm(given, precision="float64")
    points = torch.cat([torch.stack(means), torch.stack(deviations)], dim=1)
    wasserstein = torch.nn.functional.pdist(points).square()
    np.testing.assert_allclose(result.d_mu + result.d_sigma, wasserstein / 4, atol=1e-12)


# --- tiles and blocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constants", [{}, {"_ROWS": 1}, {"_ROWS": 30}, {"_ROWS": 40, "_SLACK": 0.9, "_TILES": 1}])
@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_tiles_do_not_matter(monkeypatch, constants, floor):
    for name, value in constants.items():
        monkeypatch.setattr(room, name, value)
    monkeypatch.setattr(room, "_PAIRED_ROWS", 2 * constants.get("_ROWS", 512))
    given = texts([1, 9, 2, 20, 9, 10, 3, 3, 9, 11, 1, 30], d=16, dtype=torch.float32)
    i, j = zip(*itertools.combinations(range(len(given)), 2), strict=True)
    expected = [published(given[a], given[b], floor) for a, b in zip(i, j, strict=True)]
    bounds = np.array([upper_bound(given[a], given[b]) for a, b in zip(i, j, strict=True)])
    shares = np.where(bounds == 0, 0, expected / np.where(bounds == 0, 1, bounds))  # two texts of one token each
    np.testing.assert_allclose(socm(given, floor=floor).d_sigma, expected, atol=1e-6)
    np.testing.assert_allclose(socm(given, floor=floor).normalised, shares, atol=2e-6)
    paired = socm([given[a] for a in i], [given[b] for b in j], floor=floor)
    np.testing.assert_allclose(paired.d_sigma, expected, atol=1e-6)
    np.testing.assert_allclose(paired.normalised, shares, atol=2e-6)
    turned = socm([given[b] for b in j], [given[a] for a in i], floor=floor)
    expected = [published(given[b], given[a], floor) for a, b in zip(i, j, strict=True)]
    np.testing.assert_allclose(turned.d_sigma, expected, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 30, 512])
def test_blocks_equal_the_whole(monkeypatch, rows):
    monkeypatch.setattr(room, "_ROWS", rows)
    monkeypatch.setattr(room, "_TILES", 2)
    given = texts([1, 9, 2, 20, 9, 10, 3, 3, 9, 11, 1, 30], dtype=torch.float32)
    whole, pieces = socm(given), list(socm_blocks(given))
    assert len(pieces) > 4 or rows == 512
    i, j = (torch.cat([piece[k] for piece in pieces]).tolist() for k in (0, 1))
    assert sorted(zip(i, j, strict=True)) == list(itertools.combinations(range(12), 2))
    places = [condensed(12, a, b) for a, b in zip(i, j, strict=True)]
    together = Figures(*(torch.cat([getattr(piece[2], part) for piece in pieces]) for part in PARTS))
    assert_same(together, pick(whole, places), 0)
    for piece, again in zip(pieces, socm_blocks(given), strict=True):
        assert torch.equal(piece[0], again[0])
        assert_same(piece[2], again[2], 0)
    rows = torch.cat([i for i, _, _ in socm_blocks(given[:6], given[6:])])
    assert sorted(rows.tolist()) == list(range(6))


def test_rows_are_compared_with_their_own_partner():
    first, second = texts([4, 1, 9, 30, 4, 12, 2, 7]), texts([7, 9, 2, 30, 40, 1, 1, 7])[::-1]
    result = socm(first, second, precision="float64")
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        assert_same(pick(result, [k]), socm([a], [b], precision="float64"), 1e-13)


def test_threads_do_not_matter_and_are_restored():
    given = texts(range(1, 30), d=16, dtype=torch.float32)
    alone = socm(given)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert_same(socm(given), alone, 0)
        for _ in socm_blocks(given):
            assert torch.get_num_threads() == 3  # while the caller is at work, too
    finally:
        torch.set_num_threads(before)


def test_progress_ends_with_all_pairs(monkeypatch):
    monkeypatch.setattr(room, "_ROWS", 10)
    monkeypatch.setattr(room, "_TILES", 1)
    seen = []
    socm(texts([3, 5, 9, 4, 2]), progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 2
    assert seen[-1] == (10, 10)
    assert seen == sorted(seen)


# --- the published figures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("floor", [REFERENCE_FLOOR, 1e-3])
def test_values_with_a_floor_equal_a_plain_implementation(precision, floor):
    given = texts([1, 4, 4, 12, 40, 64], d=48, dtype=torch.float32)
    expected = [published(a, b, floor) for a, b in itertools.combinations(given, 2)]
    got, tolerance = socm(given, precision=precision, floor=floor), 1e-6 if precision == "float32" else 1e-10
    np.testing.assert_allclose(got.d_sigma, expected, atol=tolerance)
    bounds = [upper_bound(a, b) for a, b in itertools.combinations(given, 2)]
    np.testing.assert_allclose(got.normalised, np.array(expected) / bounds, atol=2 * tolerance)


@pytest.mark.parametrize("d", [384, 768])
def test_the_floor_explains_the_published_figures(d):
    """With a second text of rank r, and a first of more, D - r eigenvalues are 0 but for the floor under their roots.

    The r others gain some 1e-9 under roots of a hundredth and more.
    """
    a, b = text(7, d), text(5, d, seed=1)
    exact, given = socm([a], [b], precision="float64").d_sigma.item(), published(a, b, REFERENCE_FLOOR)
    assert exact - given == pytest.approx(2 * (d - 4) * math.sqrt(REFERENCE_FLOOR) / 4, abs=1e-6)
    assert exact - given == pytest.approx(reference_bias(d), rel=0.03)
    floored = socm([a], [b], precision="float64", floor=REFERENCE_FLOOR).d_sigma.item()
    assert floored == pytest.approx(given, abs=1e-10)


# --- bad input ----------------------------------------------------------------------------------------------------


def test_too_many_pairs_are_refused_with_a_time_and_a_remedy():
    given = texts([3] * 40)
    message = r"780 pairs are more than limit=100 and would take about 1 s here.*random.sample\(texts, 14\).*blocks"
    with pytest.raises(BadInput, match=message):
        socm(given, limit=100)
    assert len(socm(given[:14], limit=100).socm) == 91
    with pytest.raises(BadInput, match=r"40 pairs are more than limit=39 .* the same rows of both"):
        socm(given, given, limit=39)
    assert len(socm(given, limit=math.inf).socm) == 780


def test_the_time_is_estimated_in_proportion_to_pairs(monkeypatch):
    clock = iter([0.0, 2.5])
    monkeypatch.setattr(room.time, "perf_counter", lambda: next(clock))
    with pytest.raises(BadInput, match=f"about {2.5 * 4950 / 276:.0f} s here"):
        socm(texts([2] * 100), limit=1000)


GOOD = torch.tensor([[1.0, 2.0], [3.0, 5.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([GOOD],), "first holds one text and second is None"),
        (([],), "first is empty"),
        (([GOOD], []), "second is empty"),
        (([GOOD] * 3, [GOOD] * 2), "first holds 3 texts but second 2: pairs are row by row"),
        (([GOOD, GOOD], [GOOD, GOOD[:, :1]]), r"first\[0\] has width 2, second\[1\] 1"),
        (([GOOD, GOOD * math.nan],), r"first\[1\] has NaN or inf"),
        (([GOOD], [GOOD * math.inf]), r"second\[0\] has NaN or inf"),
        (([GOOD, torch.cat([GOOD, -GOOD])],), r"first\[1\] has tokens whose mean is zero"),
    ],
)
def test_bad_texts_are_refused(arguments, message):
    for function in (socm, lambda *given: list(socm_blocks(*given))):
        with pytest.raises(BadInput, match=message):
            function(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"floor": -1e-9}, "floor=-1e-09: pass 0"),
        ({"floor": True}, "floor=True"),
        ({"floor": math.nan}, "floor=nan"),
        ({"limit": 0}, "limit=0: pass the largest"),
        ({"limit": None}, "limit=None"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        socm([GOOD, GOOD], **options)
    if "limit" not in options:
        with pytest.raises(BadInput, match=re.escape(message)):
            socm_blocks([GOOD, GOOD], **options)  # at once, before the first piece


# --- halves of the same text --------------------------------------------------------------------------------------


def identified(sizes, kind=torch.from_numpy):
    """Texts whose token r is (k, r + 1) in text k."""
    return [kind(np.stack([np.full(n, k + 1.0), np.arange(n) + 1.0], axis=1)) for k, n in enumerate(sizes)]


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_halves_part_the_tokens_of_each_text(kind):
    sizes = [4, 5, 6, 7, 31, 200, 4]
    given = identified(sizes, kind)
    first, second = split_halves(given)
    assert [len(half) for half in first] == [2, 2, 3, 3, 15, 100, 2]
    assert [len(half) for half in second] == [2, 3, 3, 4, 16, 100, 2]
    for whole, one, two in zip(given, first, second, strict=True):
        assert type(one) is type(two) is type(whole)
        assert one.dtype == two.dtype == whole.dtype
        assert all((np.diff(np.asarray(half)[:, 1]) > 0).all() for half in (one, two))  # in the order of the text
        np.testing.assert_array_equal(sorted([*one.tolist(), *two.tolist()]), whole)


def test_halves_are_copies_of_either_kind_and_any_memory_layout():
    given = np.arange(40, dtype=np.float32).reshape(2, 10, 2)
    plain = split_halves([*given])
    for same in (given, torch.from_numpy(given), [*given.astype(">f4")], [*np.asfortranarray(given)]):
        for half, wanted in zip(split_halves(same), plain, strict=True):
            np.testing.assert_array_equal(np.stack([np.asarray(x) for x in half]), np.stack(wanted))
    plain[0][0][:] = -1
    assert (given >= 0).all()


def test_the_same_seed_gives_the_same_halves():
    given = identified([30, 30, 12])
    drawn = {seed: [half.tolist() for half in itertools.chain(*split_halves(given, seed))] for seed in (0, 0, 1, 2)}
    again = split_halves(given, seed=1)
    assert [half.tolist() for half in itertools.chain(*again)] == drawn[1]
    assert [half.tolist() for half in itertools.chain(*split_halves(given))] == drawn[0]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]
    rows = again[0][0][:, 1].tolist(), again[0][1][:, 1].tolist()
    assert rows[0] != rows[1]  # each text has its own draw, ...
    alone = split_halves([torch.ones(9, 2, dtype=torch.float64), given[1], given[0]], seed=1)
    assert alone[0][1].tolist() == again[0][1].tolist()  # ... which does not depend on the other texts


def test_every_pair_of_tokens_is_drawn_equally_often():
    """Of five tokens, ten first halves of two: each is drawn in 1,000 of 10,000 texts, give or take 30."""
    first, _ = split_halves([torch.arange(1.0, 6.0).view(5, 1)] * 10_000)
    pairs, counts = torch.stack(first).flatten(1).unique(dim=0, return_counts=True)
    assert len(pairs) == 10
    assert (counts - 1000).abs().max() < 5 * 30


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_null_equals_the_definition_for_each_text(precision, seed):
    given = texts([20, 41, 14, 100, 20])  # halves of more tokens than dimensions
    expected = []
    for one, two in zip(*split_halves(given, seed), strict=True):
        expected.append(definition(one, two))
    null = socm_null(given, seed, precision=precision)
    assert_same(null, Figures(*np.array(expected).T), TOLERANCE[precision])


def test_the_null_equals_the_definition_for_short_texts():
    given = texts([4, 5, 9, 20, 33], d=24, dtype=torch.float32)
    halves = list(zip(*split_halves(given), strict=True))
    for floor in (0.0, 1e-4):
        null = socm_null(given, floor=floor)
        np.testing.assert_allclose(null.d_sigma, [published(*pair, floor) for pair in halves], atol=1e-6)
        expected = [published(*pair, floor) / upper_bound(*pair) for pair in halves]
        np.testing.assert_allclose(null.normalised, expected, atol=2e-6)


def test_the_null_of_two_pairs_of_opposite_deviations_by_hand():
    """(1, ±1, 0) and (1, 0, ±1): halves are these two pairs, or each has one token of either.

    In the first case means are equal, deviations (0, 1, 0) and (0, 0, 1): d_sigma is (1 + 1) / 4. In the others
    means like (1, 1/2, 1/2) and (1, -1/2, -1/2) have the cosine 1/3, and the deviation of both is ±(0, 1/2, -1/2) for
    tokens of mean norm sqrt(3/2).
    """
    tokens = torch.tensor([[1.0, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1]], dtype=torch.float64)
    seen = []
    for seed in range(40):
        first = split_halves([tokens], seed)[0][0]
        apart = first[:, 1].abs().tolist() in ([1, 1], [0, 0])
        expected = Figures(0, 0.5, 1, 0.5) if apart else Figures(1 / 3, 0, 0, 0)
        assert_same(socm_null([tokens], seed, precision="float64"), expected, 1e-14)
        seen.append(apart)
    assert 0 < sum(seen) < 40


@given(st.lists(st.integers(4, 14), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_laws_of_the_null(counts, seed):
    given = [text(n, 8, seed + k) for k, n in enumerate(counts)]
    null = socm_null(given, seed)
    assert all(getattr(null, part).shape == (len(counts),) for part in PARTS)
    assert ((null.d_mu >= 0) & (null.d_mu <= 1) & (null.normalised >= 0) & (null.normalised <= 1)).all()
    assert_same(socm_null(given, seed), null, 0)
    first, second = split_halves(given, seed)
    assert_same(socm(second, first), null, 1e-6)
    assert_same(socm_null([tokens * (k + 2) for k, tokens in enumerate(given)], seed), null, 1e-6)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q
    assert_same(socm_null([tokens @ turn for tokens in given], seed), null, 1e-6)
    arrays = socm_null([tokens.numpy() for tokens in given], seed)
    assert all(isinstance(getattr(arrays, part), np.ndarray) for part in PARTS)
    assert_same(arrays, null, 0)


def test_texts_of_equal_tokens_have_a_null_of_zero():
    null = socm_null([text(1).expand(n, 6) for n in (4, 5, 50)])
    np.testing.assert_allclose(null.socm, 0, rtol=0, atol=1e-30)
    assert null.normalised.tolist() == [0, 0, 0]


def test_the_null_falls_as_tokens_are_added():
    """Two samples of one distribution: the normalised form is far from 0 with fewer tokens than dimensions."""
    means = [socm_null([text(n, 32, seed) for seed in range(20)]).normalised.mean().item() for n in (8, 32, 256, 2048)]
    assert means[0] > 0.7
    assert means == sorted(means, reverse=True)
    assert means[3] < 0.02


def test_halves_of_different_texts_equal_the_null_unless_their_shapes_differ():
    """Deviations along the first or the last eight of sixteen axes, with as many tokens as axes."""
    generator = torch.Generator().manual_seed(0)

    def sample(part):
        tokens = torch.zeros(16, 16)
        tokens[:, part] = torch.randn(16, 8, generator=generator)
        return tokens + 4

    low, high = slice(0, 8), slice(8, 16)
    same, mixed = ([sample(part) for _ in range(100) for part in parts] for parts in ((low, low), (low, high)))
    nulls = [socm_null(clouds).normalised.mean().item() for clouds in (same, mixed)]
    others = [socm(first[:-1], second[1:]).normalised for first, second in map(split_halves, (same, mixed))]
    assert nulls[0] == pytest.approx(nulls[1], rel=0.05)
    assert nulls[0] > 0.25  # though nothing differs but the draw
    assert others[0].mean().item() == pytest.approx(nulls[0], rel=0.05)
    assert others[1].numpy() == pytest.approx(1, abs=1e-6)


def test_progress_of_the_null_ends_with_all_texts():
    seen = []
    socm_null(texts([9, 4, 30]), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)


@pytest.mark.parametrize("function", [split_halves, socm_null])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([text(9), text(3)],), r"tokens[1] has 3 tokens: leave out texts of fewer than 4, since each half needs two"),
        (([text(1)],), r"tokens[0] has 1 token: leave out"),
        (([],), "tokens is empty"),
        ((text(9),), "tokens[0] has shape (6,) and not two dimensions"),
        (([text(9)], -1), "seed=-1: pass a whole number of at least 0"),
        (([text(9)], True), "seed=True"),
        (([text(9)], 0.5), "seed=0.5"),
    ],
)
def test_what_cannot_be_halved_is_refused(function, arguments, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        function(*arguments)


def test_the_null_refuses_what_socm_refuses():
    with pytest.raises(BadInput, match=r"first\[1\] has NaN or inf"):
        socm_null([text(9), text(9) * math.nan])
    with pytest.raises(BadInput, match="unknown precision 'half'"):
        socm_null([text(9)], precision="half")
    with pytest.raises(BadInput, match="floor=-1: pass 0"):
        socm_null([text(9)], floor=-1)
