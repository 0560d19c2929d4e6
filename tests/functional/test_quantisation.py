"""Quantised vectors: plain Python numbers, laws of rounding, and bad input."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cenote.functional.quantisation import STEPS, dequantise, quantise

ELEMENTS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
VECTORS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=ELEMENTS)


def test_scales_and_numbers_computed_by_hand():
    numbers, scales = quantise(np.array([[1.0, -4, 0], [-2, 1, 1.5], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(scales[:2], [4 / 127, 2 / 127], rtol=1e-7)
    assert numbers.tolist() == [[32, -127, 0], [-127, 64, 95], [0, 0, 0]]
    assert (numbers.dtype, scales.dtype) == (np.int8, np.float32)
    assert dequantise(numbers, scales)[2].tolist() == [0, 0, 0]
    got = dequantise(np.array([[1, -127], [4, 0]], np.int8), np.array([0.5, 2.0], np.float32))
    assert (got.dtype, got.tolist()) == (np.float32, [[0.5, -63.5], [8.0, 0.0]])


def within_half_a_scale(vectors, numbers, scales):
    assert np.abs(numbers.astype(int)).max() <= STEPS
    for row, small, scale in zip(vectors.tolist(), numbers.tolist(), scales.tolist(), strict=True):
        for value, number in zip(row, small, strict=True):
            # Exact: half a step, and the rounding of the quotient, which is 2^-24 of at most 127 steps.
            error = abs(Fraction(value) - number * Fraction(scale))
            assert error <= Fraction(scale) * (Fraction(1, 2) + Fraction(STEPS, 2**23))


@given(VECTORS)
def test_every_number_is_within_half_its_scale(vectors):
    numbers, scales = quantise(vectors)
    within_half_a_scale(vectors, numbers, scales)
    exact = (numbers.astype(np.float64) * scales[:, None].astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(dequantise(numbers, scales), exact)


@pytest.mark.parametrize("size", [3.4e38, 1.0, 1e-37, 2e-43, 1.4e-45, 0.0])
def test_vectors_of_any_magnitude_are_within_half_their_scale(size):
    vectors = (np.array([[1.0, -0.7, 0.004], [0.3, -1, 0]]) * size).astype(np.float32)
    within_half_a_scale(vectors, *quantise(vectors))


@given(VECTORS)
def test_other_vectors_do_not_change_a_quantised_vector(vectors):
    numbers, scales = quantise(vectors)
    wild = np.concatenate([vectors * np.float32(1e9), vectors])
    np.testing.assert_array_equal(quantise(wild)[0][len(vectors) :], numbers)
    np.testing.assert_array_equal(quantise(wild)[1][len(vectors) :], scales)


@given(VECTORS)
def test_opposite_vectors_differ_by_their_signs(vectors):
    np.testing.assert_array_equal(quantise(-vectors)[0], -quantise(vectors)[0])
    np.testing.assert_array_equal(quantise(-vectors)[1], quantise(vectors)[1])


def test_no_vectors():
    numbers, scales = quantise(np.zeros((0, 3), np.float32))
    assert (numbers.shape, scales.shape, dequantise(numbers, scales).shape) == ((0, 3), (0,), (0, 3))
