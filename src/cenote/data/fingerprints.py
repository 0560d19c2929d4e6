"""Fingerprints of texts: short hashes that change when the texts, their ids or their order change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from cenote.data.rows import Text

DIGITS = 16


class Fingerprint:
    """The fingerprint of texts, their ids and their order. More texts can be added one by one.

    >>> Fingerprint([Text("0", "a pool")]).name(), Fingerprint([Text("1", "a pool")]).name()
    ('c1f825379b1b683a', 'f91d80f9055be8d3')
    """

    def __init__(self, texts: Iterable[Text] = ()) -> None:
        self._digest = hashlib.sha256()
        for text in texts:
            self.add(text)

    def add(self, text: Sequence[str]) -> None:
        """Add the next text, as its id and its content."""
        for part in text:
            data = part.encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "little"))
            self._digest.update(data)

    def name(self) -> str:
        """Return the fingerprint of all texts so far."""
        return self._digest.hexdigest()[:DIGITS]
