"""Fingerprints of texts: short hashes that change when the texts, their ids or their order change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from cenote.data.rows import Text

DIGITS = 16


def fingerprint_of_texts(texts: Iterable[Text]) -> str:
    """Return the fingerprint of texts, their ids and their order.

    >>> fingerprint_of_texts([Text("0", "a pool")]), fingerprint_of_texts([Text("1", "a pool")])
    ('c1f825379b1b683a', 'f91d80f9055be8d3')
    """
    whole = Fingerprint()
    for text in texts:
        whole.add(text)
    return whole.name()


class Fingerprint:
    """The fingerprint of texts that are added one by one."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, text: Sequence[str]) -> None:
        """Add the next text, as its id and its content."""
        for part in text:
            data = part.encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "little"))
            self._digest.update(data)

    def name(self) -> str:
        """Return the fingerprint of all texts so far."""
        return self._digest.hexdigest()[:DIGITS]
