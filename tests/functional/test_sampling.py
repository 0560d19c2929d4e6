"""Keys of texts: shapes, equality and randomness; the sample of smallest keys; bootstrap resamples."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from cenote.functional.sampling import Sample, bootstrap, count_places, keys_of, resamples, smallest


def texts(n=50, width=6, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, width)), generator.integers(1, 100, size=n)


def sample_of(rows, lengths, seed=0):
    return Sample(keys_of(rows, lengths, seed), rows, lengths)


# --- keys ---------------------------------------------------------------------------------------------------------


def test_each_text_has_one_key():
    rows, lengths = texts()
    keys = keys_of(rows, lengths, 0)
    assert (keys.shape, keys.dtype) == ((50,), np.uint64)
    assert len(set(keys.tolist())) == 50
    assert keys_of(rows[:0], lengths[:0], 0).shape == (0,)


def test_a_key_depends_on_the_text_alone():
    rows, lengths = texts()
    keys = keys_of(rows, lengths, 0)
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(keys_of(rows[order], lengths[order], 0), keys[order])
    assert [keys_of(rows[i : i + 1], lengths[i : i + 1], 0)[0] for i in range(50)] == keys.tolist()
    np.testing.assert_array_equal(keys_of(np.asfortranarray(rows), lengths, 0), keys)
    np.testing.assert_array_equal(keys_of(rows.astype(">f8"), lengths, 0), keys)


def test_dtype_and_sign_of_zero_do_not_change_a_key():
    rows, lengths = texts()
    half = rows.astype(np.float16)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(keys_of(half.astype(dtype), lengths, 0), keys_of(half, lengths, 0))
    rows[3] = 0.0
    keys = keys_of(rows, lengths, 0)
    rows[3] = -0.0
    np.testing.assert_array_equal(keys_of(rows, lengths, 0), keys)


def test_any_difference_changes_the_key():
    rows, lengths = texts()
    keys = keys_of(rows, lengths, 0)
    assert not (keys_of(rows, lengths + 1, 0) == keys).any()
    assert not (keys_of(rows, lengths, 1) == keys).any()
    assert not (keys_of(rows[:, ::-1], lengths, 0) == keys).any()
    assert not (keys_of(-rows, lengths, 0) == keys).any()
    for column in range(rows.shape[1]):
        nudged = rows.copy()
        nudged[:, column] = np.nextafter(nudged[:, column], 9)
        assert not (keys_of(nudged, lengths, 0) == keys).any()


@pytest.mark.parametrize("kind", ["gaussian", "float32", "whole numbers", "few bits", "one hot"])
def test_keys_are_uniform_even_for_regular_rows(kind):
    n = 4096
    rows = {
        "gaussian": lambda: texts(n)[0],
        "float32": lambda: texts(n)[0].astype(np.float32),
        "whole numbers": lambda: np.arange(2.0 * n).reshape(n, 2),
        "few bits": lambda: grid(n),
        "one hot": lambda: np.eye(n),
    }[kind]()
    keys = keys_of(rows, np.ones(n, np.int64), 0)
    assert kstest(keys / 2.0**64, "uniform").pvalue > 1e-4
    bits = (keys[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)  # of 64 bits none is off by five deviations
    together = np.corrcoef(bits.T) - np.eye(64)
    assert np.abs(together).max() < 6 / np.sqrt(n)  # of 2,016 pairs none goes together


def grid(n):
    """All combinations of eight values in four columns: few bits in which rows differ."""
    return np.stack(np.unravel_index(np.arange(n), (8,) * 4), axis=1) / 4 - 1


# --- the sample ---------------------------------------------------------------------------------------------------


def test_the_sample_is_the_texts_with_the_smallest_keys():
    rows, lengths = texts(200)
    got = smallest(30, [sample_of(rows, lengths)])
    order = sorted(range(200), key=lambda i: int(keys_of(rows, lengths, 0)[i]))[:30]
    np.testing.assert_array_equal(got.rows, rows[order])
    np.testing.assert_array_equal(got.lengths, lengths[order])
    assert len(got) == 30
    assert len(smallest(300, [sample_of(rows, lengths)])) == 200


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(40)),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    size=st.integers(2, 50),
    copies=st.integers(1, 5),
)
def test_parts_and_their_order_do_not_matter(order, cuts, size, copies):
    rows, lengths = texts(40)
    rows[:copies], lengths[:copies] = rows[0], lengths[0]
    whole = smallest(size, [sample_of(rows, lengths)])
    edges = [0, *sorted(cuts), 40]
    parts = [np.array(order[a:b], int) for a, b in itertools.pairwise(edges)]
    kept = Sample(np.zeros(0, np.uint64), np.zeros((0, 6)), np.zeros(0, np.int64))
    for part in parts:
        kept = smallest(size, [kept, sample_of(rows[part], lengths[part])])
    for got in (kept, smallest(size, [smallest(size, [sample_of(rows[part], lengths[part])]) for part in parts])):
        np.testing.assert_array_equal(got.keys, whole.keys)
        np.testing.assert_array_equal(got.rows, whole.rows)
        np.testing.assert_array_equal(got.lengths, whole.lengths)


def test_every_text_is_sampled_equally_often():
    rows, lengths = texts(40)
    rows = np.round(rows, 1)  # a coarse grid, as half precision would have
    seeds, size = 1000, 10
    hits = collections.Counter()
    for seed in range(seeds):
        hits.update(np.argsort(keys_of(rows, lengths, seed))[:size].tolist())
    share, deviation = size / 40, np.sqrt(seeds * (size / 40) * (1 - size / 40))
    assert max(abs(hits[i] - seeds * share) for i in range(40)) < 4.5 * deviation


# --- resamples ----------------------------------------------------------------------------------------------------


def test_bootstrap_weights_count_the_draws():
    chosen, weights = bootstrap(7, 50, (3, 1))
    assert (chosen.shape, weights.shape) == ((50, 7), (50, 7))
    for row, weight in zip(chosen.tolist(), weights.tolist(), strict=True):
        counts = collections.Counter(row)
        assert weight == [counts[i] for i in range(7)]
    again = bootstrap(7, 50, (3, 1))
    np.testing.assert_array_equal(again[0], chosen)
    assert not np.array_equal(bootstrap(7, 50, (3, 2))[0], chosen)


def test_bootstrap_weights_have_multinomial_moments():
    _, weights = bootstrap(5, 20000, (0,))
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.03)
    np.testing.assert_allclose(np.cov(weights.T), np.eye(5) - 0.2, atol=0.04)


@pytest.mark.parametrize("at_once", [1, 30, 10**6])
def test_blocks_of_resamples_are_those_of_one_draw(at_once):
    chosen, weights = bootstrap(7, 50, (3, 1))
    blocks = list(resamples(7, 50, np.random.default_rng((3, 1)), at_once))
    assert max(map(len, blocks)) == min(50, max(1, at_once // 7))
    np.testing.assert_array_equal(np.concatenate(blocks), chosen)
    np.testing.assert_array_equal(np.concatenate([count_places(block) for block in blocks]), weights)
