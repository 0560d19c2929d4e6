"""Bins of text length: edges by hand, laws for all lengths, and bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional.bins import FEWEST_IN_BIN, check_edges, check_lengths, length_bins


def test_edges_computed_by_hand():
    lengths = np.arange(1, 1001)
    assert length_bins(lengths, 4) == (0, 200, 500, 800)  # windows 188 to 313, 438 to 563, 688 to 813
    assert length_bins(lengths, 10) == (0, 100, 200, 300, 400, 500, 600, 700, 800, 900)
    assert length_bins(lengths, 1) == (0,)
    assert length_bins(lengths[:39]) == (0,)
    assert length_bins(lengths[:40]) == (0, 21)  # no rounder one leaves 20 on each side
    assert length_bins(lengths[:79]) == (0, 40)
    assert length_bins(lengths[:80]) == (0, 50)  # the window 31 to 50
    assert length_bins([7] * 500) == (0,)
    assert length_bins([7] * 50 + [8] * 50) == (0, 8)


def test_bins_of_a_fixed_width():
    lengths = [3, 120, 260]
    assert length_bins(lengths, width=50) == (0, 50, 100, 150, 200, 250)
    assert length_bins(lengths, width=20) == tuple(range(0, 200, 20))  # ten at most, the last open above
    assert length_bins(lengths, 100, width=20) == tuple(range(0, 261, 20))
    assert length_bins(lengths, width=1000) == (0,)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 600),
    spread=st.floats(0, 2),
    shift=st.integers(1, 2000),
    bins=st.integers(1, 15),
)
def test_bins_increase_from_zero_and_hold_enough_texts(seed, n, spread, shift, bins):
    lengths = np.random.default_rng(seed).lognormal(4, spread, size=n).astype(int) + shift
    edges = length_bins(lengths, bins)
    assert check_edges(edges) == edges
    assert edges[0] == 0
    assert len(edges) <= bins
    counts = np.histogram(lengths, [*edges, math.inf])[0]
    assert counts.min() >= min(n, FEWEST_IN_BIN)
    assert counts.sum() == n
    np.random.default_rng(1).shuffle(lengths)
    assert length_bins(lengths, bins) == edges


def test_large_corpora_get_even_bins_with_readable_edges():
    lengths = np.random.default_rng(0).lognormal(5, 1, size=20000).astype(int) + 1
    edges = length_bins(lengths)
    assert len(edges) == 10
    counts = np.histogram(lengths, [*edges, math.inf])[0]
    assert counts.min() >= 1000  # half of what even bins would have
    assert all(edge % 5 == 0 for edge in edges)


def test_lengths_and_edges_may_be_lists_arrays_or_tensors():
    for lengths in ([1, 2, 300], np.array([1.0, 2, 300]), torch.tensor([1, 2, 300]), torch.tensor([1, 2, 300]).half()):
        got = check_lengths(lengths)
        assert got.dtype == np.int64
        assert got.tolist() == [1, 2, 300]
    assert check_lengths([]).shape == (0,)
    assert check_edges(torch.tensor([0, 10])) == (0, 10)
    assert check_edges(range(0, 30, 10)) == (0, 10, 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: length_bins([3, 0, 5, -1]),
            r"lengths\[1\] is 0 \(so are 3\): pass whole numbers of tokens, at least 1",
        ),
        (lambda: length_bins([3, 2.5]), r"lengths\[1\] is 2.5: pass whole"),
        (lambda: length_bins([1e300]), r"lengths\[0\] is 1e\+300"),
        (lambda: length_bins([3, math.nan]), "lengths holds NaN or infinity at 1"),
        (lambda: length_bins([[1, 2]]), r"lengths has shape \(1, 2\)"),
        (lambda: length_bins([]), "lengths is empty"),
        (lambda: check_edges([]), r"edges are \[\]: pass at least one"),
        (lambda: check_edges([0, 50, 50]), r"edges are \[0, 50, 50\], which do not increase"),
        (lambda: check_edges([50, 0]), r"\[50, 0\], which do not increase"),
        (lambda: check_edges([-1, 5]), r"edges are \[-1, 5\]: .* whole numbers of at least 0"),
        (lambda: check_edges([0, 2.5]), "whole numbers"),
        (lambda: check_edges([0, math.inf]), "edges holds NaN or infinity at 1"),
        (lambda: check_edges(5), r"edges has shape \(\)"),
        (lambda: length_bins([1, 2], bins=0), "bins=0: pass a whole number of at least 1"),
        (lambda: length_bins([1, 2], bins=2.0), "bins=2.0"),
        (lambda: length_bins([1, 2], width=0), "width=0"),
        (lambda: length_bins([1, 2], width=True), "width=True"),
    ],
)
def test_bad_lengths_edges_and_options_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()
