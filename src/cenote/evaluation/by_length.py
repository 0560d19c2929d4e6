"""Scores by the length of the text that matters: by the paper's intervals, by quantiles, longest and shortest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.metrics import adjusted_rand_score, v_measure_score

from cenote.errors import BadInput
from cenote.evaluation.differences import effective_sources, sources_of
from cenote.evaluation.items import Items
from cenote.evaluation_records import FEWEST_ITEMS, Division, Part
from cenote.functional.items import mean_of_draws, mean_of_items, rank_correlation_of_items
from cenote.functional.sampling import Floats, Whole
from cenote.records import Estimate
from cenote.wording import percent

# The paper's intervals of length, in tokens; the last one is open above.
_EDGES = (0, 100, 200, 300, 400, 500)
# The score of some rows of the items; of items that share sources, with their sources, and the seed of resamples.
_Score = Callable[[Items, Whole, Whole | None, int], Estimate | None]
# Parts of equal size, and the share that counts as longest and as shortest.
_QUANTILES, _END = 4, 0.2


def parts_by_length(kind: str, items: Items, seed: int) -> tuple[Part, ...]:
    """Return the score of each part of the items, by every text whose length they have."""
    found, sources, score = [], sources_of(kind, items), _scores_of_parts(kind)
    for by, lengths in items.lengths.items():
        known = np.flatnonzero(np.isfinite(lengths))
        for division, name, (low, high), rows in _parts(lengths[known]):
            inside = known[rows]
            enough = effective_sources(items, sources, inside) >= FEWEST_ITEMS
            found.append(
                Part(
                    by=by,
                    division=division,
                    name=name,
                    low=low,
                    high=high,
                    items=len({items.columns["item"][row] for row in inside.tolist()}),
                    score=score(items, inside, sources, seed) if enough else None,
                    entropy=_entropy(items, inside) if enough else None,
                )
            )
    return tuple(found)


def quarters(items: Items) -> Iterator[tuple[str, str, Whole]]:
    """Yield four parts of equal size by the length of each text: which text it is, the part's name and its rows."""
    for by, lengths in items.lengths.items():
        known = np.flatnonzero(np.isfinite(lengths))
        for division, name, _, rows in _parts(lengths[known]):
            if division == "quarter":
                yield by, name, known[rows]


def _parts(lengths: Floats) -> Iterator[tuple[Division, str, tuple[float, float | None], Whole]]:
    """Yield the parts: their division, names, ends and rows. Intervals without an item are passed over."""
    if not len(lengths):
        return
    for low, high in zip(_EDGES, (*_EDGES[1:], None), strict=True):
        rows = np.flatnonzero((lengths >= low) & (lengths < (high or np.inf)))
        if len(rows):
            name = f"{low} to {high - 1} tokens" if high else f"{low} tokens and more"
            yield "interval", name, (float(low), None if high is None else high - 1.0), rows
    order = np.argsort(lengths, kind="stable")
    if lengths[order[0]] == lengths[order[-1]]:
        return
    count = round(_END * len(order))
    others: list[tuple[Division, str, Whole]] = [
        ("quarter", f"quarter {number}", rows) for number, rows in enumerate(np.array_split(order, _QUANTILES), 1)
    ]
    others += [("end", f"shortest {percent(_END)}", order[:count])]
    others += [("end", f"longest {percent(_END)}", order[len(order) - count :])]
    for division, name, rows in others:
        if len(rows):
            ends = float(lengths[rows].min()), float(lengths[rows].max())
            yield division, f"{name}, {ends[0]:.0f} to {ends[1]:.0f} tokens", ends, np.sort(rows)


def _entropy(items: Items, rows: Whole) -> float | None:
    return float(items.numbers("entropy")[rows].mean()) if "entropy" in items.columns else None


def _mean(items: Items, rows: Whole, sources: Whole | None, seed: int) -> Estimate | None:
    return _mean_of(items, rows, sources, seed, score=True)


def _mean_of_correlations(items: Items, rows: Whole, sources: Whole | None, seed: int) -> Estimate | None:
    return _mean_of(items, rows, sources, seed, score=False)


def _mean_of(items: Items, rows: Whole, sources: Whole | None, seed: int, *, score: bool) -> Estimate:
    values, units = items.numbers("value")[rows], None if sources is None else sources[rows]
    return mean_of_items(values, sources=units, seed=seed, score=score)


def _correlation(items: Items, rows: Whole, sources: Whole | None, seed: int) -> Estimate | None:
    """Return Spearman's correlation within the part, which is not the mean of the items' shares in the whole."""
    try:
        return rank_correlation_of_items(
            items.numbers("score")[rows],
            items.numbers("cosine")[rows],
            sources=None if sources is None else sources[rows],
            seed=seed,
        )
    except BadInput:  # all scores of the part are the same
        return None


def _of_draws(measure: Callable[..., float]) -> _Score:
    """Return a score that is the mean of a measure over draws of texts, as each was clustered."""

    def score(items: Items, rows: Whole, sources: Whole | None, seed: int) -> Estimate | None:  # noqa: ARG001  draws are all there is
        draws, labels, clusters = (np.asarray(items.columns[name])[rows] for name in ("draw", "label", "cluster"))
        return mean_of_draws([measure(labels[draws == draw], clusters[draws == draw]) for draw in np.unique(draws)])

    return score


_SCORES: dict[str, _Score] = {
    "sts": _correlation,
    "clustering": _of_draws(v_measure_score),
    "summarisation": _mean_of_correlations,
}
# Of fewer texts the v-measure is higher: 0.03 for 2,000 texts in 20 random clusters, and 0.46 for 100. So parts have
# the adjusted Rand index, which does not depend on how many they are (Hubert and Arabie, 1985).
_OF_PARTS: dict[str, tuple[str, _Score]] = {"clustering": ("adjusted Rand index", _of_draws(adjusted_rand_score))}


def _scores_of_parts(kind: str) -> _Score:
    return _OF_PARTS[kind][1] if kind in _OF_PARTS else _SCORES.get(kind, _mean)


def measure_of_parts(kind: str, items: Items, seed: int) -> tuple[str, Estimate | None] | tuple[None, None]:
    """Return the measure of parts and its value for all items, where it is another than that of the score."""
    if kind not in _OF_PARTS or not items.lengths:
        return None, None
    name, score = _OF_PARTS[kind]
    return name, score(items, np.arange(len(items)), None, seed)


def score_of_items(kind: str, items: Items, seed: int) -> tuple[Estimate, str]:
    """Return the score of all items with its interval, and what the interval is for."""
    every, sources = np.arange(len(items)), sources_of(kind, items)
    found = _SCORES.get(kind, _mean)(items, every, sources, seed)
    return found or Estimate(float(items.numbers("value").mean()), None, None), _INTERVALS[kind][sources is not None]


# What an interval is for, where each item has a source of its own, and where items share sources.
_SEARCH = ("other queries", "other relevant documents with their queries")
_TEXTS = ("other texts", "other texts")
_INTERVALS = {
    "retrieval": _SEARCH,
    "reranking": _SEARCH,
    "classification": _TEXTS,
    "summarisation": _TEXTS,
    "sts": ("other pairs", "other first texts with their pairs"),
    "clustering": ("other draws of the same texts",) * 2,
}


def rank_of_longest(items: Items) -> float | None:
    """Return the mean rank of the relevant documents that are among the longest 20 % of all relevant ones."""
    if "ranks" not in items.columns:
        return None
    ranks = np.array([rank for some in items.columns["ranks"] for rank in some], np.float64)
    lengths = np.array([length for some in items.columns["relevant_tokens_each"] for length in some], np.float64)
    ranked = ranks > 0  # documents that the corpus does not hold have none
    ranks, lengths = ranks[ranked], lengths[ranked]
    count = round(_END * len(ranks))
    if count < FEWEST_ITEMS:
        return None
    return float(ranks[np.argsort(-lengths, kind="stable")[:count]].mean())
