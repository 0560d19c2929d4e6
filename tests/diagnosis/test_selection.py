"""The texts and pairs that measures look at: of all lengths, and within time and memory."""

import numpy as np

from cenote.diagnosis import selection
from cenote.diagnosis.selection import (
    bin_of_sigma,
    select_by_length,
    select_for_pairs,
    select_for_tracing,
    select_pairs,
)


def test_texts_to_trace_are_of_all_lengths():
    read = 1 + 10 * np.arange(100)
    rows = select_for_tracing(read, 10, seed=0)
    assert len(rows) == 10
    assert all(10 * part <= row < 10 * part + 10 for part, row in enumerate(rows))
    assert select_for_tracing(read, 10, seed=0) == rows != select_for_tracing(read, 10, seed=1)
    assert select_for_tracing(read[:3], 10, seed=0) == [0, 1, 2]
    assert select_for_tracing(np.array([5, 4000, 7]), 10, seed=0) == [0, 2]  # too long to trace


def test_every_bin_of_length_has_as_many_traced_texts_as_it_can():
    lengths = np.array([10] * 300 + [120] * 150 + [480] * 40 + [2000] * 500)
    chosen = [0, 1, 2, 310, 455]
    rows = select_by_length(lengths, 100, chosen, seed=0)
    assert not set(rows) & set(chosen)
    assert np.bincount(bin_of_sigma(lengths[[*rows, *chosen]])).tolist() == [100, 0, 100, 0, 0, 0, 0, 0, 0, 40]
    assert select_by_length(lengths, 100, chosen, seed=0) == rows != select_by_length(lengths, 100, chosen, seed=1)
    assert select_by_length(lengths, 0, chosen, seed=0) == select_by_length(lengths[:0], 100, [], seed=0) == []
    assert bin_of_sigma(np.array([0, 49, 50, 449, 450, 9999])).tolist() == [0, 0, 1, 8, 9, 9]


def test_more_texts_are_paired_in_more_time_and_fewer_long_ones():
    short, long = np.full(300, 4), np.full(300, 250)
    assert len(select_for_pairs(short, 384, 5, 0)) == 300
    few, more = (len(select_for_pairs(long, 384, seconds, 0)) for seconds in (0.05, 5))
    assert 2 <= few < more < 300
    assert len(select_for_pairs(np.full(300, 500), 10**5, 10**9, 0)) < 10  # memory
    assert select_for_pairs(long, 384, 5, 0) == select_for_pairs(long, 384, 5, 0)
    assert select_for_pairs(long[:1], 384, 5, 0) == [0]


def test_at_most_a_million_pairs_are_compared(monkeypatch):
    assert len(select_for_pairs(np.full(1000, 8), 384, 100, 0)) == 1000  # all, 499,500 pairs
    assert len(select_for_pairs(np.full(1414, 8), 384, 100, 0)) == 1414
    assert len(select_for_pairs(np.full(10_000, 8), 384, 100, 0)) == 1000
    assert selection._PAIRS == 10**6
    monkeypatch.setattr(selection, "_PAIRS", 1000)
    assert len(select_pairs(np.full((1005, 2), 8), 384, 0, np.array([[0, 1]]).repeat(1005, 0))) == 1000


def test_as_many_pairs_are_selected_as_fit_into_memory():
    read = np.full((1000, 2), 100)
    texts = np.arange(2000).reshape(1000, 2)
    assert select_pairs(read, 384, 0, texts) == list(range(1000))
    chosen = select_pairs(read, 10**4, 0, texts)
    assert len(chosen) == 50
    assert chosen == sorted(chosen)
    assert len(select_pairs(read, 10**9, 0, texts)) == 1
