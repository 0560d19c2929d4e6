"""A uniform sample of a stream of texts of any length, with only the sample in memory."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from cenote.data.builtin import BUILTIN, read_builtin
from cenote.data.fingerprints import Fingerprint
from cenote.data.rows import Text, raise_faults
from cenote.data.texts import name_of, open_texts
from cenote.errors import BadInput, check_at_least
from cenote.records import TextsRead

# With fewer texts a diagnosis describes these texts more than their source.
_BETTER = 100


def sample_texts(
    texts: Any, count: int, seed: int, source: str = "texts", keep: Collection[str] = ()
) -> tuple[list[Text], TextsRead]:
    """Return a uniform sample of the non-empty texts, in their order, and counts of what was read.

    >>> sample, read = sample_texts(["a pool", "", "a cave", "light", "stone"], 2, 0, "a list")
    >>> [text.id for text in sample], read.given, read.used, read.empty
    (['3', '4'], 5, 2, 1)

    Every text gets a random key, and those with the smallest keys are the sample. The same texts in the same order with
    the same seed give the same sample.

    Args:
        texts: what `cenote.data.texts.open_texts` takes: a path, a list, a table; None reads the built-in corpus.
        count: texts of the sample at most, at least 1.
        seed: seed of the keys.
        source: name of the texts in messages and in the record; `texts` is replaced by the path of a file.
        keep: ids of texts that are drawn first, whatever their keys.
    """
    seed, count = check_at_least(0, seed, "seed"), check_at_least(1, count, "sample")
    rows = open_texts(read_builtin() if texts is None else texts).read()
    source = name_of(texts) if source == "texts" else source
    generator = np.random.default_rng(seed)
    given = empty = 0

    def keyed() -> Iterator[tuple[float, int, Text]]:
        nonlocal given, empty
        for row, text in enumerate(raise_faults(rows)):
            given += 1
            if text.text.strip():
                yield generator.random() - (text.id in keep), row, text
            else:
                empty += 1

    by_row = sorted(heapq.nsmallest(count, keyed()), key=itemgetter(1))
    if not by_row:
        problem = f"all {empty} texts are empty" if empty else "there are no texts"
        raise BadInput(f"{problem} in {source!r}: give at least one text, better {_BETTER} or more.")
    sample = [text for _, _, text in by_row]
    name = BUILTIN if texts is None else source
    fingerprint = Fingerprint(sample).name()
    return sample, TextsRead(source=name, given=given, used=len(sample), empty=empty, fingerprint=fingerprint)
