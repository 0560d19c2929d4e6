"""Forms of vectors: plain Python numbers, laws of rounding, and what is refused."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cenote.errors import BadInput
from cenote.functional.forms import STEPS, normalised, quantised, restored, scales_of

ELEMENTS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
VECTORS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=ELEMENTS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_normalised_as_plain_python(dtype):
    vectors = np.random.default_rng(0).standard_normal((5, 7)).astype(dtype)
    got = normalised(vectors)
    assert got.dtype == dtype
    for row, made in zip(vectors.tolist(), got.tolist(), strict=True):
        length = math.sqrt(math.fsum(value * value for value in row))
        np.testing.assert_allclose(made, [value / length for value in row], rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_normalised_where_squares_leave_float32(size):
    np.testing.assert_allclose(normalised(np.array([[3, 4]], np.float32) * np.float32(size)), [[0.6, 0.8]], rtol=1e-6)


def test_normalised_of_none():
    assert normalised(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_zero_has_no_direction():
    with pytest.raises(BadInput, match="vectors 1, 2 are zero"):
        normalised(np.array([[1.0, 0], [0, 0], [0, 0]], np.float32))


def test_scales_and_numbers_by_hand():
    vectors = np.array([[1.0, -4, 0], [-2, 2, 0]], np.float32)
    scales = scales_of(vectors)
    np.testing.assert_allclose(scales, [2 / 127, 4 / 127, 1], rtol=1e-7)
    numbers, clipped = quantised(vectors, scales)
    assert (numbers.tolist(), clipped) == ([[64, -127, 0], [-127, 64, 0]], 0)
    assert numbers.dtype == np.int8


@given(VECTORS)
def test_every_number_is_within_half_a_step(vectors):
    scales = scales_of(vectors)
    numbers, clipped = quantised(vectors, scales)
    assert clipped == 0
    assert scales.dtype == np.float32
    for row, small in zip(vectors.tolist(), numbers.tolist(), strict=True):
        for value, number, scale in zip(row, small, scales.tolist(), strict=True):
            # Exact: half a step, and the rounding of the quotient, which is 2^-24 of at most 127 steps.
            error = abs(Fraction(value) - number * Fraction(scale))
            assert error <= Fraction(scale) * (Fraction(1, 2) + Fraction(STEPS, 2**23)) + Fraction(2) ** -149 * STEPS
    np.testing.assert_allclose(restored(numbers, scales), vectors, rtol=0, atol=0.5001 * scales.max() + 1e-38)


@given(VECTORS)
def test_an_opposite_differs_by_its_signs(vectors):
    scales = scales_of(vectors)
    np.testing.assert_array_equal(quantised(-vectors, scales)[0], -quantised(vectors, scales)[0])


@given(VECTORS, st.integers(0, 2**32 - 1))
def test_numbers_beyond_the_scales_are_clipped_and_counted(vectors, seed):
    scales = scales_of(vectors)
    beyond = np.random.default_rng(seed).random(vectors.shape) < 0.3
    wild = np.where(beyond, scales * 300, vectors).astype(np.float32)
    numbers, clipped = quantised(wild, scales.tolist())
    assert clipped == beyond.sum()
    assert (numbers[beyond] == STEPS).all()
    assert np.abs(numbers.astype(int)).max() <= STEPS


def test_restored_is_float32():
    got = restored(np.array([[1, -127]], np.int8), [0.5, 2.0])
    assert (got.dtype, got.tolist()) == (np.float32, [[0.5, -254.0]])
