"""Items of two settings, paired: what each item adds to the difference of their scores.

A new kind of task whose score is no mean is a function and a row of `_VALUES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from scipy.stats import rankdata

from cenote.data.labelled_schemas import SEARCHES
from cenote.errors import BadInput
from cenote.evaluation.items import Items
from cenote.evaluation_records import FEWEST_ITEMS
from cenote.functional.influence import spearman_values, values_over_draws
from cenote.functional.intervals import effective_count
from cenote.functional.paired import Paired, compare_paired
from cenote.functional.sampling import Floats, Whole
from cenote.records import Estimate

# Columns that say what an item is, in all settings. Kept items lack the second text of a pair, so that its human score
# stands for it.
_CONTENT = ("text", "score")


@dataclass(frozen=True, eq=False)
class Values:
    """The items of one setting: their values average to its score."""

    names: list[str]
    values: Floats  # [N]
    draws: Floats | None = None  # [K]
    outcomes: Floats | None = None  # [M], higher is better; None takes the values

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("two items have the same name, so that items of two settings cannot be paired")

    def of(self, names: list[str]) -> Floats:
        """Return the values of items, in the order of these names."""
        if self.names == names:
            return self.values
        places = {name: place for place, name in enumerate(self.names)}
        found: Floats = self.values[[places[name] for name in names]]
        return found


def values_of(kind: str, items: Items) -> Values:
    """Return what each item adds to the score of a setting."""
    return _VALUES.get(kind, _means)(items)


def _means(items: Items) -> Values:
    return Values(items.columns["item"], items.numbers("value"))


def _classified(items: Items) -> Values:
    """A text's value is the share of the classifiers, each trained on its own draw, that are right."""
    correct = np.asarray(items.columns["correct"], np.float64)  # [N, K]
    return Values(items.columns["item"], correct.mean(1), correct.mean(0) - correct.mean())


def _ranked(items: Items) -> Values:
    scores, cosines = items.numbers("score"), items.numbers("cosine")
    misplaced = np.abs(rankdata(scores) - rankdata(cosines))
    return Values(items.columns["item"], spearman_values(scores, cosines), None, -misplaced)


def _clustered(items: Items) -> Values:
    """A text's value is its share in the v-measures of the draws that hold it; the outcomes are the draws."""
    names = list(dict.fromkeys(items.columns["item"]))
    places = {name: place for place, name in enumerate(names)}
    texts = np.array([places[name] for name in items.columns["item"]], np.int64)
    draws = np.asarray(items.columns["draw"], np.int64)
    labels, clusters = items.columns["label"], items.columns["cluster"]
    values, left = values_over_draws(labels, clusters, texts, draws, len(names))
    _, first = np.unique(draws, return_index=True)
    return Values(names, values, left, items.numbers("value")[first])


_VALUES: dict[str, Callable[[Items], Values]] = {
    "classification": _classified,
    "clustering": _clustered,
    "sts": _ranked,
}


def sources_of(kind: str, items: Items) -> Whole | None:
    """Return the source of each item, as a number; None where each has its own.

    Queries with the same relevant documents, such as those on one meeting, share a source. So do pairs with the same
    first text, sentences of one text, and other items with the same text. `cenote.data.labelled_halves` splits by the
    same sources.
    """
    column = "relevant" if kind in SEARCHES else "source" if "source" in items.columns else "text"
    if column not in items.columns:
        return None
    found = _number([tuple(sorted(one)) if isinstance(one, list) else one for one in items.columns[column]])
    return None if len(set(found)) == len(set(items.columns["item"])) else np.array(found)


def _number(keys: Sequence[Hashable]) -> list[int]:
    """Return a number for each key, the same for the same key, in the order of their first."""
    numbers = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]


def count_sources(items: Items, sources: Whole | None, rows: Whole | None = None) -> int:
    """Return how many sources some rows of the items have, or how many items where each has its own."""
    units = items.columns["item"] if sources is None else sources.tolist()
    return len(set(units if rows is None else [units[row] for row in rows.tolist()]))


def effective_sources(items: Items, sources: Whole | None, rows: Whole | None = None) -> float:
    """Return how many sources of equal size say as much as those of some rows of the items."""
    names = items.columns["item"]
    units = names if sources is None else sources.tolist()
    places = range(len(names)) if rows is None else rows.tolist()
    sizes = Counter(unit for unit, _ in {(units[row], names[row]) for row in places})  # a clustered text has many rows
    return effective_count(list(sizes.values())) if sizes else 0.0


def state_too_few(items: Items, sources: Whole | None) -> str:
    """Return a note that items, or their sources, are too few to claim anything; nothing where they are enough."""
    count, of_sources = len(set(items.columns["item"])), count_sources(items, sources)
    effective = effective_sources(items, sources)
    if effective >= FEWEST_ITEMS:
        return ""
    if of_sources == count:
        return f"{count} items are too few to claim anything; {FEWEST_ITEMS} are needed."
    few = f"{count} items of {of_sources} sources are too few to claim anything"
    if of_sources < FEWEST_ITEMS:
        return f"{few}; {FEWEST_ITEMS} sources are needed."
    return (
        f"{few}: some sources have so many items that all say as much as {int(effective)} of equal size, and "
        f"{FEWEST_ITEMS} are needed."
    )


def state_variance(items: Sequence[Items], pairs: Paired) -> str:
    """Return a note that items do not vary, and what to do; nothing where some item differs between settings.

    Args:
        items: of the baselines.
        pairs: the differences of the settings from these.
    """
    if pairs.values.any():
        return ""
    same = {value for one in items for value in one.columns["value"]}
    if len(same) == 1:
        return (
            f"every item has the value {same.pop():g}, so that no setting can be better or worse: give data that are "
            "harder, or easier where all fail."
        )
    return (
        "no item differs between the settings: they order these texts alike, as where all texts are the same or a "
        "pooling is a multiple of another. Give texts that differ, or settings that are less alike."
    )


def common_names(items: Sequence[Items]) -> list[str]:
    """Return the names of the items that all settings have, in an order that does not depend on that of the data."""
    return sorted(set.intersection(*(set(one.columns["item"]) for one in items)))


def pair(kind: str, baseline: Sequence[Items], settings: Sequence[Items]) -> Paired | None:
    """Return the differences of settings, each from its baseline; None where they have no items in common."""
    names = common_names([*baseline, *settings])
    if not names:
        return None
    pairs = [(values_of(kind, one), values_of(kind, other)) for one, other in zip(baseline, settings, strict=True)]
    differences = [other.of(names) - one.of(names) for one, other in pairs]
    draws = [None if one.draws is None or other.draws is None else other.draws - one.draws for one, other in pairs]
    outcomes = [_outcomes(one, other) for one, other in pairs]
    return Paired(
        values=np.array(differences),
        sources=_sources_by_name(kind, baseline[0], names),
        draws=None if any(one is None for one in draws) else np.array(draws),
        outcomes=None if any(one is None for one in outcomes) else np.array(outcomes),
        identity=_identify(baseline[0], names),
    )


def _identify(items: Items, names: Sequence[str]) -> str | None:
    """Return a digest of the names and texts of some items; None where the texts are not known.

    Names alone do not tell data sets apart: the items of many are numbered by row.
    """
    if "text" not in items.columns:
        return None
    columns = [items.columns[name] for name in ("item", *_CONTENT) if name in items.columns]
    known = {name: content for name, *content in zip(*columns, strict=True)}
    digest = blake2b(digest_size=16)
    for name in names:
        digest.update(repr((name, *known[name])).encode())
    return digest.hexdigest()


def _sources_by_name(kind: str, items: Items, names: Sequence[str]) -> Whole | None:
    sources = sources_of(kind, items)
    if sources is None:
        return None
    known = dict(zip(items.columns["item"], sources.tolist(), strict=True))
    found = _number([known[name] for name in names])
    return None if len(set(found)) == len(names) else np.array(found)


def _outcomes(one: Values, other: Values) -> Floats | None:
    if one.outcomes is None or other.outcomes is None or len(one.outcomes) != len(other.outcomes):
        return None
    found: Floats = other.outcomes - one.outcomes
    return found


def differences_among(
    kind: str, baseline: Sequence[Items], settings: Sequence[Items], names: Collection[str], seed: int
) -> list[Estimate] | None:
    """Return the differences among some of the items; None where these have no scores of their own.

    Parts of a clustering have none: their texts were clustered among all others.
    """
    if kind == "clustering":
        return None
    try:
        paired = pair(kind, [one.only(names) for one in baseline], [one.only(names) for one in settings])
    except BadInput:  # all scores of the part are the same
        return None
    if paired is None or paired.effective < FEWEST_ITEMS:
        return None
    found = compare_paired([paired], seed=seed, fewest=FEWEST_ITEMS, flips=1).tasks[0]
    return [Estimate(one.value, one.low, one.high) for one in found]
