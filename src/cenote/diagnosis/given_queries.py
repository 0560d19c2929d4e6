"""The user's own queries: how many find their text, what the others are lost to, and the price of pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote._nn.modules import has_offsets
from cenote.account.fates import FATES
from cenote.account.pooled_texts import KEPT_NUMBERS, OWN, Pooled, read_pooled
from cenote.account.texts import Flags, split_texts
from cenote.data.rows import Text, refuse_surrogates
from cenote.diagnosis.account import TEN
from cenote.diagnosis.summaries import excluded, rounded
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, Whole, tokenise
from cenote.errors import BadInput, some
from cenote.functional.retrieval import ROUNDING, best_of, nearest, resampled_means, token_matches
from cenote.listener import Listener
from cenote.models.properties import limit_of, prompt_name_for, tokenizer_of, width_of
from cenote.records import Estimate, Excluded, GivenQueries

Floats = npt.NDArray[np.float64]

# Texts that the tokens of a query rank anew.
_RERANKED = 20


@dataclass(frozen=True)
class Queries:
    """Queries with the ids of the texts that answer them."""

    texts: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]  # ids of each query's texts

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all texts that answer a query."""
        return frozenset().union(*self.relevant)


def check_queries(queries: Iterable[tuple[str, str]] | None) -> Queries:
    """Return the queries, each once, with the ids of all its texts.

    >>> found = check_queries([("what is a pool?", "a"), ("what is a cave?", "b"), ("what is a pool?", "c")])
    >>> found.texts, sorted(found.relevant[0])
    (('what is a pool?', 'what is a cave?'), ['a', 'c'])
    """
    found: dict[str, set[str]] = {}
    for row, query in enumerate(queries if queries is not None else []):
        if not isinstance(query, (tuple, list)) or len(query) != 2 or not all(isinstance(one, str) for one in query):
            raise BadInput(f"query {row} is {query!r}: pass its text and the id of the text that answers it.")
        refuse_surrogates(query[0], f"query {row}")
        if not query[0].strip():
            raise BadInput(f"query {row} is empty: leave it out.")
        found.setdefault(query[0], set()).add(query[1])
    return Queries(tuple(found), tuple(map(frozenset, found.values())))


def refuse_unnamed(queries: Queries, texts: Sequence[Text], sample: int) -> None:
    """Raise where no query names one of the texts, or where the sample has no room for all texts that they name."""
    if len(queries.ids) > sample:
        raise BadInput(
            f"the queries name {len(queries.ids):,} texts, and the sample has {sample:,}: raise it (--sample)."
        )
    if queries.texts and queries.ids.isdisjoint(text.id for text in texts):
        ids = some(sorted(queries.ids), 3)
        raise BadInput(
            f"none of {len(queries.texts):,} queries names one of the texts: their ids are {ids}. The id beside a "
            "query is that of the text that answers it."
        )


def search_queries(
    model: SentenceTransformer,
    queries: Queries,
    texts: Sequence[Text],
    prompt_name: str | None,
    seed: int,
    listener: Listener,
    passes: Passes | None = None,
) -> GivenQueries | None:
    """Search for the queries among the texts, by vectors, by windows and by tokens; None where there is no query.

    Args:
        model: any `SentenceTransformer`.
        queries: of which some may name no text.
        texts: to search.
        prompt_name: of the prompt before texts; None takes the model's prompt for documents, if it has one.
        seed: of the intervals.
        listener: hears of the progress.
        passes: of the model; None takes torch's.
    """
    if not queries.texts:
        return None
    asked, relevant, missing = _places_of(queries, texts)
    prompt = prompt_name_for(model, prompt_name, "document")
    contents = [text.text for text in texts]
    documents = tokenise(model, contents, prompt, "document")
    asking = tokenise(model, asked, prompt_name_for(model, None, "query"), "query")
    whole = int(documents.lengths.sum()) * width_of(model) <= KEPT_NUMBERS  # else those of the nearest texts are kept
    read_side = partial(read_pooled, model, poolings={}, listener=listener, passes=passes)
    read_documents = partial(read_side, task="document")
    read = read_documents(documents, keep_tokens=whole, step="reading texts to search")
    found = read_side(asking, task="query", keep_tokens=True, step="reading queries")
    scores = found.vectors[OWN] @ read.vectors[OWN].T
    near = nearest(found.vectors[OWN], read.vectors[OWN], _RERANKED)
    own = np.array([named[np.argmax(scores[row, named])] for row, named in enumerate(relevant)])
    candidates = np.concatenate([own[:, None], near], 1)
    tokens, places_of = read.tokens, candidates
    if not whole:
        needed = np.unique(candidates)
        near_ones = documents.take(needed.tolist())
        tokens = read_documents(near_ones, keep_tokens=True, step="reading the nearest texts").tokens
        places_of = np.searchsorted(needed, candidates)
    matched = token_matches(found.tokens, tokens, np.arange(len(asked)), places_of)
    reranked, by_token = _rerank(near, own, matched, relevant)
    vectors, owners = _read_windows(model, contents, documents, read, prompt, read_documents)
    by_window = _first_is(best_of(found.vectors[OWN] @ vectors.T, owners), relevant)
    fates = _fates(_first_is(scores, relevant), by_window, by_token, documents.truncated[own])
    before, after = (_gain_at_ten(order, relevant) for order in (near, reranked))
    in_ten = np.array([bool(np.isin(order[:TEN], named).any()) for order, named in zip(near, relevant, strict=True)])
    columns = [*fates, in_ten, before, after, after - before]
    estimates: list[Estimate] = [rounded(one) for one in resampled_means(columns, own, seed=seed)]
    return GivenQueries(
        **dict(zip(FATES, estimates[:4], strict=True)),
        queries=len(asked),
        texts=len(texts),
        in_ten=estimates[4],
        gain=estimates[5],
        reranked=estimates[6],
        price=estimates[7],
        excluded=missing,
    )


def _places_of(queries: Queries, texts: Sequence[Text]) -> tuple[list[str], list[Whole], tuple[Excluded, ...]]:
    """Return the queries that name some of the texts, the places of these texts, and the queries that name none."""
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text.id, []).append(place)
    relevant = [
        np.array(sorted(place for one in ids for place in places.get(one, ())), np.int64) for ids in queries.relevant
    ]
    lost_ids = (", ".join(sorted(ids)) for ids, found in zip(queries.relevant, relevant, strict=True) if not len(found))
    missing = excluded("the given queries", ((name, "the id names none of the texts") for name in lost_ids))
    kept = [row for row, found in enumerate(relevant) if len(found)]
    if not kept:
        raise BadInput(f"none of {len(relevant):,} queries names one of the texts. {missing[0].in_words()}.")
    return [queries.texts[row] for row in kept], [relevant[row] for row in kept], missing


def _rerank(near: Whole, own: Whole, matched: Floats, relevant: Sequence[Whole]) -> tuple[Whole, Flags]:
    """Return the nearest texts in the order of their tokens, and which queries find their text by tokens.

    `matched [Q, 1 + N]` holds the scores of each query's own text, then of its nearest texts.
    """
    reranked = np.take_along_axis(near, np.argsort(-matched[:, 1:], axis=1, kind="stable"), 1)
    by_token = np.array([order[0] in named for order, named in zip(reranked, relevant, strict=True)])
    by_token |= matched[:, 0] > np.where(near == own[:, None], -np.inf, matched[:, 1:]).max(1)
    return reranked, by_token


def _fates(by_vector: Flags, by_window: Flags, by_token: Flags, truncated: Flags) -> list[Flags]:
    """Return for each of `FATES` which queries have it, by what finds their text."""
    lost = ~by_vector
    cut = lost & by_window & ~by_token & truncated
    pooled = lost & ~cut & (by_token | by_window)
    return [by_vector, cut, pooled, lost & ~cut & ~pooled]


def _read_windows(
    model: SentenceTransformer,
    contents: list[str],
    documents: Tokens,
    read: Pooled,
    prompt: str | None,
    read_documents: Callable[..., Pooled],
) -> tuple[Any, Whole]:
    """Return the vectors of the windows of cut texts and of all others, and the text of each."""
    limit, whole = limit_of(model, "document"), read.vectors[OWN]
    if limit is None or not has_offsets(tokenizer_of(model, "document")) or not documents.truncated.any():
        return whole, np.arange(len(whole))
    pieces = split_texts(model, contents, documents, limit, prompt)
    found = read_documents(pieces.tokens, step="reading windows to search")
    vectors, owners, _ = pieces.merge(read, documents.lengths, found)
    return vectors, owners


def _first_is(scores: Any, relevant: Sequence[Whole]) -> Flags:
    """Return for which queries a text that answers them scores more than every other text."""
    first = np.zeros(len(relevant), bool)
    for row, named in enumerate(relevant):
        others = np.delete(scores[row], named)
        first[row] = not len(others) or scores[row, named].max() > others.max() + ROUNDING
    return first


def _gain_at_ten(order: Whole, relevant: Sequence[Whole]) -> Floats:
    """Return nDCG@10 of each query, by the order of the texts found."""
    discounts = 1 / np.log2(np.arange(2, TEN + 2))
    gains = np.array(
        [np.isin(row[:TEN], named) @ discounts[: len(row[:TEN])] for row, named in zip(order, relevant, strict=True)]
    )
    best = np.array([discounts[: len(named)].sum() for named in relevant])
    found: Floats = gains / best
    return found
