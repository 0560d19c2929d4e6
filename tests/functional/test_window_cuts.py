"""Windows of long texts and runs of windows: by hand, against the rules place by place, laws, and bad input."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional import window_cuts
from cenote.functional.landmarks import sentence
from cenote.functional.window_cuts import average_runs, cut_windows, even_runs

PIECES = st.lists(
    st.sampled_from(["a", "pool", "collapse", ".", "! ", " ", "\n", "  ", "深", "。", "😀", "שלום"]), max_size=80
)


def spans_of(text):
    """Tokens like word pieces: three letters at most, punctuation alone, no white space."""
    return [match.span() for match in re.finditer(r"\w{1,3}|[^\w\s]", text)]


def in_words(text, spans, found):
    return [text[spans[first][0] : spans[last - 1][1]] for first, last in found]


def breaks(text, spans):
    """Return the tokens after the end of a sentence (as for landmarks), and after the end of a word."""
    sentences = [place for place in sentence(text, spans) if 0 < place < len(spans)]
    words = [place for place in range(1, len(spans)) if spans[place - 1][1] < spans[place][0]]
    return sentences, words


def plainly(text, spans, size, overlap):
    """The rules of the docstring, place by place."""
    sentences, words = breaks(text, spans)
    found, first = [], 0
    while len(spans) - first > size:
        full = first + size
        ends = [place for place in sentences if full - size // 4 <= place <= full]
        ends = ends or [place for place in words if full - size // 2 <= place <= full]
        last = max(ends, default=full)
        found.append((first, last))
        starts = [place for place in sentences if last - overlap <= place < last]
        starts = starts or [place for place in words if last - overlap <= place < last]
        first = min(starts, default=last - overlap)
    return [*found, (first, len(spans))]


def test_windows_computed_by_hand():
    text = "One two three. Four five six. Seven eight."
    spans = [(m.start(), m.end()) for m in re.finditer(r"\w+|\.", text)]
    assert in_words(text, spans, cut_windows(text, spans, 8, 0)) == ["One two three. Four five six.", "Seven eight."]
    assert in_words(text, spans, cut_windows(text, spans, 5, 0)) == ["One two three.", "Four five six.", "Seven eight."]
    assert in_words(text, spans, cut_windows(text, spans, 6, 0))[0] == "One two three. Four five"
    assert in_words(text, spans, cut_windows(text, spans, 8, 1)) == ["One two three. Four five six.", ". Seven eight."]
    assert cut_windows("", [], 8, 3) == [(0, 0)]
    assert cut_windows("a b", [(0, 1), (2, 3)], 2, 0) == [(0, 2)]


def test_a_word_longer_than_a_window_is_cut():
    text = "a" * 30
    assert cut_windows(text, spans_of(text), 4, 1) == [(0, 4), (3, 7), (6, 10)]


@given(PIECES, st.integers(1, 24), st.data())
@settings(max_examples=400)
def test_windows_cover_the_text_by_the_rules_of_the_docstring(parts, size, data):
    text = "".join(parts)
    spans = spans_of(text)
    overlap = data.draw(st.integers(0, (size - 1) // 2))
    found = cut_windows(text, spans, size, overlap)
    assert found == plainly(text, spans, size, overlap)
    assert (found[0][0], found[-1][1]) == (0, len(spans))
    assert all(last - first <= size and (first < last or not spans) for first, last in found)
    for (first, last), (after, end) in pairwise(found):
        assert first < after <= last < end  # progress, and nothing lies between
        assert last - after <= overlap


def test_white_space_may_belong_to_the_next_token():
    text = "one two three four five six"
    spans = [(m.start(), m.end()) for m in re.finditer(r" ?\w{1,2}", text)]
    assert in_words(text, spans, cut_windows(text, spans, 6, 0))[0] == "one two"


class Counted(list):
    """Counts how often an item is read, in all lists together."""

    reads = 0

    def __getitem__(self, place):
        Counted.reads += 1
        return super().__getitem__(place)

    def __iter__(self):
        return map(self.__getitem__, range(len(self)))


def test_the_work_is_linear_in_the_tokens(monkeypatch):
    """Each window looks its ends up; eight times the tokens are eight times the work, and a little for the search."""
    for name in ("sentence", "_words"):
        find = getattr(window_cuts, name)
        monkeypatch.setattr(window_cuts, name, lambda text, spans, find=find: Counted(find(text, spans)))

    def work(count):
        text = "a pool. " * count
        starts = range(0, len(text), 8)
        spans = Counted(span for start in starts for span in ((start, start + 1), (start + 2, start + 6)))
        Counted.reads = 0
        assert len(cut_windows(text, spans, 100, 10)) > count / 50
        return Counted.reads

    assert work(8000) < 9 * work(1000)


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(1, 50))
def test_runs_are_those_of_array_split(counts, most):
    found, first = iter(even_runs(counts, most)), 0
    for count in counts:
        for run in np.array_split(np.arange(first, first + count), min(count, most)):
            assert next(found) == (run[0], run[-1] + 1)
        first += count
    assert next(found, None) is None


def test_there_is_at_least_one_run():
    with pytest.raises(BadInput, match="most=0"):
        even_runs([3], 0)


@pytest.mark.parametrize("unit", [False, True])
def test_the_mean_of_a_run_is_weighted_by_tokens(unit):
    generator = np.random.default_rng(0)
    vectors, tokens = generator.normal(size=(9, 4)).astype(np.float32), generator.integers(1, 50, 9)
    rows = np.array([0, 0, 0, 1, 3, 3, 4, 7, 7])
    expected = []
    for row in dict.fromkeys(rows.tolist()):
        own = [place for place in range(9) if rows[place] == row]
        mean = sum(float(tokens[place]) * vectors[place].astype(float) for place in own) / sum(tokens[own])
        expected.append(mean / np.linalg.norm(mean) if unit and len(own) > 1 else mean)
    means = average_runs(vectors, tokens, rows, unit=unit)
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    np.testing.assert_array_equal(means[[1, 3]], vectors[[3, 6]])  # of one window: to the bit


@pytest.mark.parametrize("unit", [False, True])
def test_the_mean_of_opposite_vectors_stays_zero(unit):
    vectors = np.array([[1, 0], [-1, 0], [0.6, 0.8]], np.float32)
    means = average_runs(vectors, np.array([5, 5, 7]), np.array([2, 2, 4]), unit=unit)
    np.testing.assert_array_equal(means, np.array([[0, 0], [0.6, 0.8]], np.float32))


@pytest.mark.parametrize(
    ("size", "overlap", "said"), [(0, 0, "size=0"), (8, 4, "overlap=4"), (8, -1, "overlap=-1"), (1, 1, "fewer than")]
)
def test_bad_sizes_are_refused(size, overlap, said):
    with pytest.raises(BadInput, match=said):
        cut_windows("a", [(0, 1)], size, overlap)
