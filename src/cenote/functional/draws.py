"""Draws without a state: a number that depends on a key alone, the same in any process, order and version of Python."""

from __future__ import annotations

from hashlib import blake2b


def number_of(*key: object) -> int:
    """Return a whole number of 64 bits that a key gives; other keys give numbers that look unrelated.

    A training that goes on after a stop, and loader workers, thus draw what an uninterrupted process would.

    >>> number_of(0, 1, "a pool") % 4, number_of(0, 2, "a pool") % 4
    (3, 3)
    """
    digest = blake2b("/".join(map(str, key)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
