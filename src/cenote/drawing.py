"""The texts of a diagnosis: drawn evenly from a stream of any length, of which only those drawn are kept."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from cenote.corpus import sample as built_in
from cenote.errors import BadInput
from cenote.fingerprints import of_texts
from cenote.functional.bins import at_least
from cenote.results import TextsRead
from cenote.sources import rows_of
from cenote.texts import Fault, Text

# Below it a diagnosis is of these very texts more than of their source.
_BETTER = 100


def draw(texts: Iterable[Text | str] | None, count: int, seed: int, source: str) -> tuple[list[Text], TextsRead]:
    """At most `count` of the texts that are not empty, drawn evenly, in the order in which they came.

    >>> drawn, read = draw(["a pool", "", "a cave", "light", "stone"], 2, 0, "a list")
    >>> [text.id for text in drawn], read.given, read.used, read.empty
    (['3', '4'], 5, 2, 1)

    Every text gets a random key, and those with the smallest keys are drawn: of a stream of any length no more than
    `count` texts are in memory, and each has the same chance. The same texts in the same order and the same seed give
    the same draw.

    Args:
        texts: strings, or (id, text); None reads the built-in corpus.
        count: how many to draw, at least 1.
        seed: of the keys.
        source: what the texts are called.

    Returns:
        The texts, and what there was.
    """
    seed, count = at_least(0, seed, "seed"), at_least(1, count, "sample")
    if isinstance(texts, (str, bytes)):
        raise BadInput("texts is one string: pass a list of texts, or read a file with cenote.texts.read.")
    if texts is not None and not isinstance(texts, Iterable):
        raise BadInput(
            f"texts is a {type(texts).__name__}: pass a list of texts, or read a file with cenote.texts.read."
        )
    generator = np.random.default_rng(seed)
    smallest: list[tuple[float, int, Text]] = []  # a heap; keys are negated, so that the largest of them is on top
    given = empty = 0
    for row, one in enumerate(rows_of(built_in() if texts is None else texts)):
        given += 1
        if isinstance(one, Fault):
            raise BadInput(one.why)
        if not one.text.strip():
            empty += 1
            continue
        entry = (-generator.random(), -row, one)
        if len(smallest) < count:
            heapq.heappush(smallest, entry)
        elif entry > smallest[0]:
            heapq.heapreplace(smallest, entry)
    if not smallest:
        what = f"all {empty} texts are empty" if empty else "there are no texts"
        raise BadInput(f"{what} in {source!r}: a diagnosis needs some to read, better {_BETTER} or more.")
    drawn = [text for _, _, text in sorted(smallest, key=lambda entry: -entry[1])]
    name = "the docstrings of Python's standard library" if texts is None else source
    return drawn, TextsRead(name, given, len(drawn), empty, of_texts(drawn))
