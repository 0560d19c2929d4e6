"""Arrays summarised as the records of a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cenote.data.texts import Text
from cenote.diagnosis.reading import Reading
from cenote.diagnosis.selection import BIN_OF_SIGMA, BINS_OF_SIGMA, bin_of_sigma
from cenote.diagnosis.verdicts.thresholds import CUTOFFS
from cenote.encoding.tokens import Whole
from cenote.functional.concentration import Known
from cenote.functional.dispersion import check_embeddings
from cenote.functional.intervals import FEWEST_WITH_INTERVAL, change_of_difference, change_of_mean, mean_over_pairs
from cenote.functional.length import LengthCollapse
from cenote.functional.second_order import FEWEST_TO_SPLIT, SecondOrder, socm, split_halves
from cenote.functional.units import to_unit
from cenote.records import (
    Change,
    Closeness,
    Estimate,
    Excerpt,
    Excluded,
    Histogram,
    LayerSummary,
    LengthCurve,
    Lengths,
    Pair,
    Pairs,
    Passed,
    SocmNull,
    Spread,
)
from cenote.surgery.profiles import LayerProfile, Undefined

Progress = Callable[[int, int], object]
Value = TypeVar("Value")

# Characters of an excerpt.
_EXCERPT = 240
# Pairs that a figure shows, and the worst pairs that are listed.
_SHOWN, _WORST = 1200, 10
# Of all pairs, the share that lie closest and can be confused; pairs that one text may stand in.
_CLOSE, _USES = 0.1, 2
# Ids that are named where texts are excluded.
_NAMED = 8
# Texts among which all cosines are taken.
_PAIRED = 2000


class Excerpts:
    """Collects the beginnings of texts that figures and tables show, each once."""

    def __init__(self) -> None:
        self._places: dict[Text, int] = {}

    def place(self, text: Text) -> int:
        """Return the place of a text's excerpt; add it if it is new."""
        return self._places.setdefault(text, len(self._places))

    def kept(self) -> tuple[Excerpt, ...]:
        """Return all excerpts, in their places."""
        return tuple(Excerpt(text.id, _beginning(text.text)) for text in self._places)


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1]}…"


def summarise(values: Any) -> Spread:
    """Return the mean and the quantiles of values, at least one.

    >>> summarise([0.0, 1.0, 2.0])
    Spread(count=3, mean=1.0, low=0.2, median=1.0, high=1.8)
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    low, median, high = (_rounded_float(value) for value in np.quantile(numbers, (0.1, 0.5, 0.9)))
    return Spread(len(numbers), _rounded_float(numbers.mean()), low, median, high)


def _rounded_float(value: Any) -> float:
    """Round to nine digits, more than a float32 has."""
    return float(f"{float(value):.9g}")


def _histogram(values: Any, edges: Any) -> Histogram:
    """Count values between edges; the last bin includes its upper edge."""
    counts, used = np.histogram(values, edges)
    return Histogram(tuple(_rounded_float(edge) for edge in used), tuple(counts.tolist()))


def summarise_lengths(whole: Whole, read: Whole, limit: int | None, declared: int | None = None) -> Lengths:
    """Summarise what a model cuts: `whole` are the tokens of the texts, `read` those that it sees.

    `declared` is the limit that the model's folder declares.
    """
    unseen = np.clip(whole - read, 0, None)
    edges = np.unique(np.round(np.geomspace(max(1, whole.min()), whole.max() + 1, 31)).astype(np.int64))
    edges = edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1])
    return Lengths(
        limit=limit,
        tokens=summarise(whole),
        histogram=_histogram(whole, edges),
        cut=int((unseen > 0).sum()),
        unseen=_rounded_float(unseen.sum() / whole.sum()),
        longest=_rounded_float(unseen.max() / max(1, unseen.sum())),
        declared=declared if limit and declared and limit > declared else None,
    )


def _closeness(vectors: npt.NDArray[Any], seed: int) -> Closeness | None:
    """Summarise the cosines of all pairs of embeddings, among some drawn at random where there are very many."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:_PAIRED])
    if len(chosen) < 2:
        return None
    rows = to_unit(check_embeddings(vectors[chosen]))
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return Closeness(summarise(cosines), _rounded_float(cosines.std()))


def length_curve(vectors: Any, read: Any, edges: Any, seed: int) -> LengthCurve:
    """Measure length collapse of embeddings by their token counts, and the closeness of all texts."""
    collapse = LengthCollapse(edges, seed=seed)
    collapse.update(vectors, read)
    curve = replace(collapse.compute(), between=collapse.cosine_between(0, len(edges) - 1) if len(edges) > 1 else None)
    return replace(rounded(curve), closeness=_closeness(vectors, seed))


def rounded(value: Value) -> Value:
    """Round every float of a record to the digits of a report."""
    made: Any = value
    if isinstance(value, float):
        made = _rounded_float(value)
    elif isinstance(value, tuple):
        made = tuple(rounded(part) for part in value)
    elif is_dataclass(value):
        made = replace(made, **{field.name: rounded(getattr(value, field.name)) for field in fields(value)})
    return cast("Value", made)


def measure_change(
    before: tuple[Reading, Compared | None], after: tuple[Reading, Compared | None], edges: Any, tried: int
) -> Change:
    """Return what changes from one reading of the same texts to another; each comes with its compared pairs.

    Intervals hold for all `tried` changes together, since the best of several looks better than it is.
    """
    confidence = 1 - 0.05 / tried
    lengths = before[0].lengths
    places = np.searchsorted(edges, lengths, side="right") - 1
    places[[*before[0].unread, *after[0].unread]] = -1
    short, long = (np.flatnonzero(places == place) for place in (0, len(edges) - 1))
    difference = at_short = at_long = socms = None
    if len(edges) > 1 and min(len(short), len(long)) > 1:
        rows = [*short, *long]  # without texts that have no vector
        vectors = before[0].vectors[rows], after[0].vectors[rows]
        ends = range(len(short)), range(len(short), len(rows))
        difference = rounded(change_of_difference(*vectors, *ends, confidence=confidence))
        at_short, at_long = (
            rounded(change_of_mean(*(rows[list(end)] for rows in vectors), confidence=confidence)) for end in ends
        )
    if before[1] is not None and after[1] is not None and before[1].rows == after[1].rows:
        values = after[1].found.socm - before[1].found.socm
        texts = np.triu_indices(len(before[1].rows), 1)
        socms = rounded(mean_over_pairs(values, *texts, confidence=confidence))
    return Change(difference=difference, short=at_short, long=at_long, socm=socms)


def excluded(measure: str, found: Iterable[tuple[str, str]]) -> tuple[Excluded, ...]:
    """Return the texts that a measure leaves out, given as (id, reason), grouped by reason.

    >>> excluded("layers", [("a", "too long"), ("b", "too long")])
    (Excluded(measure='layers', why='too long', count=2, ids=('a', 'b')),)
    """
    groups: dict[str, list[str]] = {}
    for name, why in found:
        groups.setdefault(why, []).append(name)
    return tuple(Excluded(measure, why, len(names), tuple(names[:_NAMED])) for why, names in groups.items())


@dataclass(frozen=True, eq=False)
class Compared:
    """Second-order collapse of all pairs of some texts, in condensed order."""

    rows: list[int]  # places of the texts
    found: SecondOrder[Any]


def compare_all_pairs(reading: Reading, rows: Sequence[int], progress: Progress) -> Compared | None:
    """Compute second-order collapse of all pairs of the texts whose tokens were kept."""
    rows = [row for row in rows if row in reading.tokens]
    if len(rows) < 2:
        return None
    return Compared(rows, socm([reading.tokens[row] for row in rows], limit=np.inf, progress=progress))


def summarise_all_pairs(compared: Compared, texts: Sequence[Text], excerpts: Excerpts, seed: int) -> Pairs:
    """Summarise all pairs, with the worst of them."""
    sides = np.triu_indices(len(compared.rows), 1)
    mean = rounded(mean_over_pairs(compared.found.socm, *sides))

    def text(row: int, side: int) -> Text:
        return texts[compared.rows[int(sides[side][row])]]

    return _pairs(compared.found, mean, text, sides, len(compared.rows), excerpts, seed)


def summarise_given_pairs(
    found: SecondOrder[Any],
    pairs: Sequence[tuple[str, str]],
    numbers: Sequence[int],
    excerpts: Excerpts,
    seed: int,
) -> Pairs:
    """Summarise second-order collapse of the user's own pairs; `numbers` are their places among those given."""
    places = {text: place for place, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
    sides = tuple(np.array([places[pair[side]] for pair in pairs]) for side in (0, 1))
    mean = rounded(mean_over_pairs(found.socm, *sides))

    def text(row: int, side: int) -> Text:
        return Text(f"pair {numbers[row]}", pairs[row][side])

    return _pairs(found, mean, text, sides, len(places), excerpts, seed)


def _pairs(
    found: SecondOrder[Any],
    mean: Estimate,
    text: Callable[[int, int], Text],
    sides: tuple[Whole, ...],
    texts: int,
    excerpts: Excerpts,
    seed: int,
) -> Pairs:
    """Summarise pairs; `text(row, side)` is called only for those that are shown."""
    values = found.socm
    shown = np.sort(np.random.default_rng(seed).permutation(len(values))[:_SHOWN])

    def pair(row: int) -> Pair:
        return Pair(
            first=excerpts.place(text(row, 0)),
            second=excerpts.place(text(row, 1)),
            d_mu=_rounded_float(found.d_mu[row]),
            d_sigma=_rounded_float(found.d_sigma[row]),
            socm=_rounded_float(values[row]),
        )

    top = max(1.0, float(np.ceil(10 * values.max()) / 10))
    return Pairs(
        texts=texts,
        pairs=len(values),
        mean=mean,
        d_mu=summarise(found.d_mu),
        d_sigma=summarise(found.d_sigma),
        socm=summarise(values),
        normalised=summarise(found.normalised),
        severe=_rounded_float((values > CUTOFFS["severe pair"].value).mean()),
        histogram=_histogram(values, np.linspace(0, top, round(20 * top) + 1)),
        shown=tuple(pair(row) for row in shown.tolist()),
        worst=tuple(pair(row) for row in _worst(values, found.d_mu, *sides)),
    )


def _worst(values: npt.NDArray[Any], d_mu: npt.NDArray[Any], first: Whole, second: Whole) -> list[int]:
    """Return the pairs of the highest values among the tenth whose means lie closest, no text in more than two.

    Only texts whose vectors lie close can be confused. Of values equal to nine digits, the first one is taken.
    """
    close = np.flatnonzero(d_mu <= np.quantile(d_mu, _CLOSE))
    order = np.lexsort((close, -np.array([_rounded_float(value) for value in values[close]])))
    uses = dict.fromkeys((*first.tolist(), *second.tolist()), 0)
    found: list[int] = []
    for row in close[order].tolist():
        sides = first[row], second[row]
        if max(uses[side] for side in sides) < _USES:
            found.append(row)
            for side in sides:
                uses[side] += 1
        if len(found) == _WORST:
            break
    return found


def summarise_null(reading: Reading, rows: Sequence[int], seed: int) -> SocmNull | None:
    """Measure second-order collapse between halves of the texts whose tokens were kept; None where they are too few."""
    usable = [row for row in rows if row in reading.tokens and len(reading.tokens[row]) >= FEWEST_TO_SPLIT]
    if len(usable) < FEWEST_WITH_INTERVAL:
        return None
    usable.sort(key=lambda row: (len(reading.tokens[row]), row))  # neighbours have like lengths
    first, second = split_halves([reading.tokens[row] for row in usable], seed)
    same, different = socm(first, second, limit=np.inf), socm(first[:-1], second[1:], limit=np.inf)

    places = np.arange(len(usable))  # a text stands in one pair with itself, and in two pairs of neighbours
    return SocmNull(
        texts=len(usable),
        same=rounded(mean_over_pairs(same.socm, places, places + len(places))),
        different=rounded(mean_over_pairs(different.socm, places[:-1], places[1:])),
        same_normalised=_rounded_float(same.normalised.mean()),
        different_normalised=_rounded_float(different.normalised.mean()),
    )


def summarise_layers(found: Sequence[LayerProfile]) -> tuple[LayerSummary, ...]:
    """Summarise each layer's measures over texts and heads; a measure that is not defined says why."""
    names = [field.name for field in fields(LayerProfile) if field.name != "index"]
    return tuple(
        LayerSummary(layer.index, {name: _summarise_measure(getattr(layer, name)) for name in names}) for layer in found
    )


def _summarise_measure(value: Tensor | Known | Undefined) -> Spread | str:
    if isinstance(value, Undefined):
        return value.reason
    values = value.values if isinstance(value, Known) else value
    return summarise(values) if len(values) else "none of the texts has two tokens"


def summarise_sigma_a(reading: Reading) -> tuple[Passed, ...]:
    """Average the last layer's sigma_a and Theorem 3's estimate over heads and texts, by the paper's bins of length."""
    profiled = [(layers[-1], rows) for layers, rows in reading.last_layers if layers]
    if not profiled or any(isinstance(layer.sigma_a, Undefined) for layer, _ in profiled):
        return ()
    each = np.concatenate([layer.sigma_a.mean(1).numpy() for layer, _ in profiled])  # type: ignore[union-attr]
    places = bin_of_sigma(reading.lengths[[row for _, rows in profiled for row in rows]])
    bounds = [layer.sigma_a_bound for layer, _ in profiled]  # [N, H]; undefined for texts of one token
    known = [bound for bound in bounds if isinstance(bound, Known)]
    expected, bins = each[:0], places[:0]
    if known:
        expected = np.concatenate([bound.values.numpy() for bound in known])
        bins = places[np.concatenate([bound.defined.numpy() for bound in known]).nonzero()[0]]
    return tuple(
        Passed(
            low=int(place) * BIN_OF_SIGMA,
            high=None if place == BINS_OF_SIGMA - 1 else (int(place) + 1) * BIN_OF_SIGMA,
            count=int((places == place).sum()),
            sigma_a=_rounded_float(each[places == place].mean()),
            theorem3=_rounded_float(expected[bins == place].mean()) if place in bins else None,
        )
        for place in np.unique(places)
    )
