"""Vectors of norm 1: plain Python numbers, any range of numbers, and zeros."""

import math

import numpy as np
import pytest

from cenote.errors import BadInput
from cenote.functional.units import normalise, to_unit


def by_loop(row):
    length = math.sqrt(math.fsum(value * value for value in row))
    return [value / length for value in row]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_both_equal_plain_python(dtype):
    vectors = np.random.default_rng(0).standard_normal((5, 7)).astype(dtype)
    expected = [by_loop(row) for row in vectors.tolist()]
    narrow, wide = normalise(vectors), to_unit(vectors)
    assert (narrow.dtype, wide.dtype) == (dtype, np.float64)
    np.testing.assert_allclose(narrow, expected, rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(wide, expected, rtol=1e-15)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_may_leave_float32(size):
    np.testing.assert_allclose(normalise(np.array([[3, 4]], np.float32) * np.float32(size)), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e160, 1e300])
def test_squares_may_leave_float64(size, recwarn):
    np.testing.assert_allclose(to_unit(np.array([[3.0, 4.0], [0.0, 2.0]]) * size), [[0.6, 0.8], [0.0, 1.0]], rtol=1e-12)
    assert not recwarn.list


def test_zeros_stay_or_are_refused(recwarn):
    vectors = np.array([[1.0, 0], [0, 0], [0, 0]], np.float32)
    assert to_unit(vectors).tolist() == vectors.tolist()
    assert to_unit(vectors[1:]).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(BadInput, match="vectors 1, 2 are zero"):
        normalise(vectors)
    assert not recwarn.list


def test_a_vector_that_is_not_finite_has_no_finite_direction():
    vectors = np.array([[np.nan, 1.0], [3.0, 4.0]])
    assert np.isnan(to_unit(vectors)).tolist() == [[True, True], [False, False]]


def test_no_vectors():
    for make in (normalise, to_unit):
        assert make(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_a_unit_vector_does_not_depend_on_other_rows():
    rows = np.random.default_rng(0).standard_normal((97, 33))
    whole = to_unit(rows)
    for i in range(97):
        np.testing.assert_array_equal(to_unit(rows[i : i + 1])[0], whole[i])
    np.testing.assert_array_equal(to_unit(np.asfortranarray(rows)), whole)
