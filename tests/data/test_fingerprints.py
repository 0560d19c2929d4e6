"""Fingerprints of texts."""

from cenote.data.fingerprints import fingerprint_of_texts
from cenote.data.texts import Text


def test_texts_ids_and_order_change_the_fingerprint():
    base = [Text("0", "a pool"), Text("1", "a cave")]
    others = [
        base[::-1],
        base[:1],
        [Text("0", "a poo"), Text("l1", "a cave")],
        [Text("0", "a pool"), Text("1", "a cave ")],
        [Text("0a", " pool"), Text("1", "a cave")],
    ]
    assert fingerprint_of_texts(base) == fingerprint_of_texts(iter(base))
    assert len({fingerprint_of_texts(texts) for texts in (base, *others)}) == 6
    assert fingerprint_of_texts([Text("0", "\ud800")])  # a lone surrogate is a text too
