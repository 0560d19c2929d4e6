"""Numbers of keys: uniform, of every part of the key, and the same for ever."""

from collections import Counter
from hashlib import blake2b

from scipy.stats import chisquare

from cenote.functional.draws import number_of


def test_numbers_are_uniform_and_depend_on_every_part_of_the_key():
    counts = Counter(number_of(0, "spans", 0, "place", f"doc-{number}") % 7 for number in range(7000))
    assert sorted(counts) == list(range(7))
    assert chisquare(list(counts.values())).pvalue > 1e-3  # the key is fixed: this cannot fail now and then
    keys = [(seed, way, number, name) for seed in (0, 1) for way in ("a", "b") for number in (0, 1) for name in "xy"]
    assert len({number_of(*key) for key in keys}) == len(keys)


def test_a_text_that_is_not_unicode_has_a_number():
    expected = blake2b(b"3/\xed\xa0\x80", digest_size=8).digest()
    assert number_of(3, "\ud800") == int.from_bytes(expected, "big")
