"""The sample is uniform, reproducible, in order, and alone in memory."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from scipy.stats import chisquare

from cenote.data.sampling import sample_texts
from cenote.data.texts import Text
from cenote.errors import BadInput


def numbered(count):
    return (f"text {row}" for row in range(count))


def test_the_order_is_kept_empty_texts_are_dropped_and_the_seed_decides():
    texts = ["a", "", Text("x", "b"), " \n", "c", ("y", "d")]
    sample, read = sample_texts(texts, 10, 0, "a list")
    assert sample == [("0", "a"), ("x", "b"), ("4", "c"), ("y", "d")]
    assert (read.source, read.given, read.used, read.empty) == ("a list", 6, 4, 2)
    first, again, other = (sample_texts(numbered(1000), 50, seed, "x") for seed in (3, 3, 4))
    assert first == again
    assert first[0] != other[0]
    places = [int(text.id) for text in first[0]]
    assert places == sorted(set(places))
    assert len(places) == 50
    assert sample_texts(numbered(1000), np.int64(50), np.int64(3), "x") == first
    assert sample_texts(["a", "b"], 1, 0, "x")[1].fingerprint != sample_texts(["a", "b"], 2, 0, "x")[1].fingerprint


def test_texts_with_the_smallest_keys_are_sampled():
    keys = np.random.default_rng(7).random(500)
    expected = np.sort(np.argsort(keys)[:20])
    assert [int(text.id) for text in sample_texts(numbered(500), 20, 7, "x")[0]] == expected.tolist()


def test_every_position_has_the_same_chance():
    counts = np.zeros(40)
    for seed in range(2000):
        for text in sample_texts(numbered(40), 10, seed, "x")[0]:
            counts[int(text.id)] += 1
    assert counts.sum() == 20_000
    assert chisquare(counts).pvalue > 1e-3  # the seeds are fixed: this cannot fail now and then


class Long(str):
    """A string that can be watched."""

    __slots__ = ("__weakref__",)


def test_a_long_stream_is_not_kept_in_memory():
    alive, most = weakref.WeakSet(), 0

    def stream():
        nonlocal most
        for row in range(60_000):
            text = Long(f"{row} " + "water " * 200)
            if row % 100 == 0:
                alive.add(text)
            if row % 20_000 == 0:
                gc.collect()
                most = max(most, len(alive))
            yield text

    tracemalloc.start()
    try:
        sample, read = sample_texts(stream(), 100, 0, "a stream")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (read.given, read.used, len(sample)) == (60_000, 100, 100)
    assert most <= 20  # one in a hundred is watched, and one in two thousand of these is sampled
    assert peak < 2_000_000  # 60,000 such texts are 72 MB, a hundred 0.12


@pytest.mark.parametrize(
    ("texts", "count", "seed", "message"),
    [
        (["a"], True, 0, "sample=True: pass a whole number of at least 1"),
        (["a"], 0, 0, "sample=0: pass a whole number of at least 1"),
        (["a"], 1, -1, "seed=-1: pass a whole number of at least 0"),
        (b"bytes", 1, 0, r"texts is b'bytes': pass strings, \(id, text\)"),
        (3, 1, 0, "texts is 3: pass strings"),
        ([None], 1, 0, "row 0: the text is null, not a string"),
        (["a", "\ud800"], 1, 0, "row 1: lone surrogate"),
        ([], 1, 0, "there are no texts in 'x'"),
        ([" "], 1, 0, "all 1 texts are empty in 'x'"),
    ],
)
def test_bad_input(texts, count, seed, message):
    with pytest.raises(BadInput, match=message):
        sample_texts(texts, count, seed, "x")
