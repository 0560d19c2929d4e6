"""Hard negatives of pairs, by sentence-transformers: positives of other texts that a model puts near the query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from cenote.data.pairs import Pair
from cenote.listener import Advance, silent

# Candidates that are looked at for each negative that is asked for, since those within the margin are passed over.
_CANDIDATES = 10
# Pairs of a query that have negatives. For every query as many more candidates are looked at as one has pairs, so that
# memory would grow with the square of a title that many texts share.
_OF_QUERY = 10
# Queries that are compared with all candidates at a time, and texts that are encoded between reports of progress.
_BLOCK = 1024


class _Reporting:
    """The model as `mine_hard_negatives` uses it, which reports progress in place of a bar for each call."""

    def __init__(self, model: SentenceTransformer, advance: Advance) -> None:
        self.model, self.advance = model, advance

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode_query(self, texts: Sequence[str], **options: Any) -> Any:
        """Encode queries."""
        return self._encode(self.model.encode_query, texts, options)

    def encode_document(self, texts: Sequence[str], **options: Any) -> Any:
        """Encode documents."""
        return self._encode(self.model.encode_document, texts, options)

    def _encode(self, encode: Callable[..., Any], texts: Sequence[str], options: dict[str, Any]) -> Any:
        blocks = []
        for start in range(0, len(texts), _BLOCK):
            block = list(texts[start : start + _BLOCK])
            blocks.append(encode(block, **{**options, "show_progress_bar": False}))
            self.advance(len(block))
        return np.concatenate(blocks)


def find_negatives(
    pairs: Sequence[Pair],
    texts: Sequence[int],
    model: SentenceTransformer,
    count: int,
    *,
    range_min: int,
    margin: float,
    advance: Advance = silent,
) -> list[tuple[str, ...]]:
    """Return the negatives of each pair, the nearest first: at most `count`, each from another text.

    Candidates are the positives of all pairs. Those of the text that the query was drawn from are left out, since they
    would often answer it, and of every other text the nearest one counts. `mine_hard_negatives` knows nothing of texts,
    so it is asked for more than `count`. Where more than 10 pairs have the same query, the first 10 get negatives.

    Args:
        pairs: to find negatives of, no two with the same query and positive.
        texts: the text that each pair was drawn from, as a number.
        model: ranks the candidates, with its prompts of queries and documents.
        count: negatives of a pair.
        range_min: nearest other texts that are passed over.
        margin: how far below the similarity of the positive a negative has to be, as a share of that similarity.
        advance: called with how many more texts are encoded: at most two for each pair.
    """
    holders: dict[str, set[int]] = {}  # texts that a positive was drawn from
    own: dict[str, set[int]] = {}  # and those of a query: a title may be that of several texts
    positives: dict[int, set[str]] = {}
    asked: dict[str, list[Pair]] = {}  # pairs of a query that have negatives
    for text, pair in zip(texts, pairs, strict=True):
        holders.setdefault(pair.positive, set()).add(text)
        own.setdefault(pair.query, set()).add(text)
        positives.setdefault(text, set()).add(pair.positive)
        if len(same := asked.setdefault(pair.query, [])) < _OF_QUERY:
            same.append(pair)
    of_text = max(map(len, positives.values()))
    wanted = of_text * (range_min + count + min(_OF_QUERY, max(map(len, own.values()))))
    given = list(chain.from_iterable(asked.values()))
    found = mine_hard_negatives(
        Dataset.from_dict({"query": [pair.query for pair in given], "positive": [pair.positive for pair in given]}),
        cast("SentenceTransformer", _Reporting(model, advance)),
        corpus=list(holders),
        range_max=wanted + of_text * (_CANDIDATES - 1) * count,
        relative_margin=margin,
        num_negatives=wanted,
        output_format="labeled-list",
        faiss_batch_size=_BLOCK,
        verbose=False,  # it would print to standard output
    )
    ranked = {(row["query"], row["positive"][0]): row["positive"][1:] for row in found}
    every = (_one_of_each(ranked.get((pair.query, pair.positive), ()), holders, own[pair.query]) for pair in pairs)
    return [tuple(others)[range_min : range_min + count] for others in every]


def _one_of_each(ranked: Iterable[str], holders: dict[str, set[int]], own: set[int]) -> Iterator[str]:
    """Yield the positives of other texts, the nearest of each.

    >>> list(_one_of_each(["a", "b", "c", "d"], {"a": {1}, "b": {2}, "c": {2}, "d": {3}}, {1}))
    ['b', 'd']
    """
    passed = set(own)
    for positive in ranked:
        if passed.isdisjoint(holders[positive]):
            passed |= holders[positive]
            yield positive
