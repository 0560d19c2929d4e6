"""Fingerprints of texts."""

from cenote.data.fingerprints import Fingerprint
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
    assert Fingerprint(base).name() == Fingerprint(iter(base)).name()
    assert len({Fingerprint(texts).name() for texts in (base, *others)}) == 6
    assert Fingerprint([Text("0", "\ud800")]).name()  # a lone surrogate is a text too
