"""The estimate before the work: lengths in classes, and tokens that are predicted against tokens that are counted."""

import tracemalloc

import numpy as np
import pytest

from cenote.embedding.embed import _rate
from cenote.embedding.estimate import LengthCounts, Rate, estimate_in_words, expected_tokens
from cenote.embedding.options import Options
from cenote.encoding.backend_choice import sample_lengths
from cenote.encoding.tokens import count_tokens, tokenise
from cenote.encoding.windows import tokenise_windows, window_sizes

WORDS = ["the", "pool", "of", "a", "cave", "holds", "light", "and", "water,", "deep", "below", "stone;", "shore"]


def texts_of(count, seed=0):
    """Return texts of mixed lengths, some of them longer than the demo model reads."""
    random = np.random.default_rng(seed)
    lengths = random.lognormal(4.5, 1, count).astype(int) + 1
    return [" ".join(random.choice(WORDS, length)) for length in lengths]


def lengths_of(texts):
    lengths = LengthCounts()
    for text in texts:
        lengths.add(len(text))
    return lengths


# Lengths.


def test_classes_hold_every_text_and_character_and_are_narrow():
    random = np.random.default_rng(0)
    given = [0, 1, 2, 10**6, *random.lognormal(6, 2, 40_000).astype(int).tolist()]
    lengths = LengthCounts()
    for length in given:
        lengths.add(length)
    counts, means = lengths.counted()
    assert counts.sum() == len(given)
    assert counts @ means == pytest.approx(sum(given))
    assert (np.diff(means) > 0).all()
    # Sorted by length, every text is within a class's width of the mean of its class.
    of_each = np.repeat(means, counts)
    assert (np.abs(np.sort(given) - of_each) <= 0.1 * of_each + 1).all()


def test_lengths_take_flat_memory():
    lengths = LengthCounts()
    tracemalloc.start()
    for length in range(100_000):
        lengths.add(length)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**21


# Tokens.


@pytest.mark.parametrize(
    ("options", "there", "read"),
    [
        (Options(), 2 * 10 + 8, 28),  # each text has 2 tokens around 4 or 20
        (Options(long="windows", window=8, overlap=2), 28, 4 + 2 + 20 + 2 + 2 * (2 + 2)),  # 8 and 6 and 6 new ones
    ],
)
def test_tokens_by_hand(options, there, read):
    lengths = LengthCounts()
    for length in (8, 40):
        lengths.add(length)
    found = expected_tokens(lengths, Rate(2, 2.0, 1.0), options, 10 if options.window else None)
    assert found == (there, read)
    assert expected_tokens(lengths, Rate(2, 2.0, 1.0), Options(), 10) == (28, 6 + 10)


@pytest.mark.parametrize("long", ["truncate", "windows"])
def test_the_tokens_are_within_a_tenth_of_those_counted(demo, long):
    texts, prompt = texts_of(600), None
    size, overlap = window_sizes(demo, prompt, None, None)
    options = Options(long=long, **({"window": size, "overlap": overlap} if long == "windows" else {}))
    sample = sample_lengths(texts[:300])
    rate = _rate(demo, sample, tokenise(demo, sample), options, 1.0)
    there, read = expected_tokens(lengths_of(texts), rate, options, 256)
    counted = count_tokens(demo, texts)
    assert there == pytest.approx(counted.sum(), rel=0.1)
    if long == "truncate":
        expected = np.minimum(counted, 256).sum()
    else:
        long_ones = [text for text, tokens in zip(texts, counted, strict=True) if tokens > 256]
        windows = [tokenise_windows(demo, text, size, overlap, prompt, None)[1] for text in long_ones]
        expected = counted[counted <= 256].sum() + sum(int(tokens.lengths.sum()) for tokens in windows)
        assert len(long_ones) > 50
    assert read == pytest.approx(expected, rel=0.1)
    assert abs(expected / counted.sum() - 1) > 0.05  # so that the two are told apart


# Words.


@pytest.mark.parametrize(
    ("read", "speed", "words"),
    [
        (12_345, 1000, "1 text, about 12,000 tokens: about 10 s"),
        (12_345, 1, "1 text, about 12,000 tokens: about 3 h 20 min"),
        (9_000, 100, "1 text, about 12,000 tokens, of which about 9,000 are read: about 2 min"),
        (13_456, 100, "1 text, about 12,000 tokens, read as about 13,000 in windows: about 2 min"),
    ],
)
def test_the_estimate_in_words(read, speed, words):
    assert estimate_in_words(1, 12_345, read, speed) == words
