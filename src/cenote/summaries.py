"""From arrays to the records of a diagnosis: what is kept of thousands of numbers, and which texts are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cenote.functional.chance import Interval, change_of_difference, mean_over_pairs
from cenote.functional.concentration import Known
from cenote.functional.length import Estimate as Estimated
from cenote.functional.length import LengthCollapse
from cenote.functional.second_order import SecondOrder, socm
from cenote.functional.spread import checked, unit
from cenote.results import (
    Change,
    Closeness,
    Estimate,
    Excerpt,
    Histogram,
    LayerSummary,
    LeftOut,
    LengthBin,
    LengthCurve,
    Lengths,
    Pair,
    Pairs,
    Passed,
    Repeated,
    Spread,
)
from cenote.surgery.controls import RepeatedWords
from cenote.surgery.profiles import LayerProfile, Undefined
from cenote.surgery.reading import Reading
from cenote.texts import Text
from cenote.thresholds import LIMITS

Progress = Callable[[int, int], object]

# Characters of a text that a picture shows.
_EXCERPT = 240
# Pairs that a picture shows, and the worst that are listed.
_SHOWN, _WORST = 1200, 10
# Ids that are named of texts left out.
_NAMED = 8
# Seconds that a pair of texts takes one core, about: of eigenvalues of the smaller text's Gram matrix.
_SECONDS = (3e-8, 9e-11)  # times n² and n³
_CORES = 2
# Texts whose cosines are taken pair by pair.
_PAIRED = 2000
# Numbers in the largest list of token matrices that is kept: 400 MB of float32.
_NUMBERS = 10**8
# Pairs that are compared, at most: all of 1,414 texts. How well a mean over pairs is known is decided by their texts,
# and the fifty million pairs of 10,000 short texts would take gigabytes.
_COMPARED = 10**6
# Texts of more tokens are not traced.
TRACEABLE = 1024
# The paper's bins for sigma_a, in tokens.
_BIN_OF_SIGMA, _BINS_OF_SIGMA = 50, 10


class Excerpts:
    """The beginnings of the texts that pictures show, each kept once."""

    def __init__(self) -> None:
        self._places: dict[Text, int] = {}

    def place(self, text: Text) -> int:
        """Where the excerpt of a text is."""
        return self._places.setdefault(text, len(self._places))

    def kept(self) -> tuple[Excerpt, ...]:
        """All of them, in their places."""
        return tuple(Excerpt(text.id, _beginning(text.text)) for text in self._places)


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1]}…"


def spread(values: Any) -> Spread:
    """Many values, at least one, in a few.

    >>> spread([0.0, 1.0, 2.0])
    Spread(count=3, mean=1.0, low=0.2, median=1.0, high=1.8)
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    low, median, high = (_short(value) for value in np.quantile(numbers, (0.1, 0.5, 0.9)))
    return Spread(len(numbers), _short(numbers.mean()), low, median, high)


def _short(value: Any) -> float:
    """Nine digits, which float32 does not fill: figures of a page, and not of a proof."""
    return float(f"{float(value):.9g}")


def histogram(values: Any, edges: Any) -> Histogram:
    """How many values lie between the edges; the last bin includes its upper edge."""
    counts, used = np.histogram(values, edges)
    return Histogram(tuple(_short(edge) for edge in used), tuple(counts.tolist()))


def lengths(whole: npt.NDArray[np.int64], read: npt.NDArray[np.int64], limit: int | None) -> Lengths:
    """What a model cuts: `whole` are the texts' tokens, `read` those that it saw."""
    unseen = np.clip(whole - read, 0, None)
    edges = np.unique(np.round(np.geomspace(max(1, whole.min()), whole.max() + 1, 31)).astype(np.int64))
    edges = edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1])
    return Lengths(
        limit=limit,
        tokens=spread(whole),
        histogram=histogram(whole, edges),
        cut=int((unseen > 0).sum()),
        unseen=_short(unseen.sum() / whole.sum()),
        longest=_short(unseen.max() / max(1, unseen.sum())),
    )


def closeness(vectors: npt.NDArray[Any], seed: int) -> Closeness | None:
    """The cosines of all pairs of embeddings, of some drawn at random where there are very many."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:_PAIRED])
    if len(chosen) < 2:
        return None
    rows = unit(checked(vectors[chosen]))
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return Closeness(spread(cosines), _short(cosines.std()))


def curve(vectors: Any, read: Any, edges: Any, seed: int) -> LengthCurve:
    """Length collapse of embeddings by their texts' tokens."""
    collapse = LengthCollapse(edges, seed=seed, spectrum=False)
    collapse.update(vectors, read)
    found = collapse.compute()
    bins = tuple(
        LengthBin(
            low=bin.low,
            high=bin.high,
            count=bin.count,
            cosine=_estimate(bin.cosine),
            distance=None if bin.distance is None else _short(bin.distance),
            uniformity=_estimate(bin.uniformity),
            effective_rank=None if bin.matched_rank is None else _short(bin.matched_rank),
        )
        for bin in found.bins
    )
    return LengthCurve(
        closeness=closeness(vectors, seed),
        bins=bins,
        difference=_estimate(found.difference),
        rank_correlation=_estimate(found.rank_correlation),
        slope_per_doubling=_estimate(found.slope_per_doubling),
        notes=found.notes,
    )


def _estimate(found: Estimated | None) -> Estimate | None:
    if found is None:
        return None
    low, high = (None, None) if found.interval is None else (_short(end) for end in found.interval)
    return Estimate(_short(found.value), low, high)


def _estimated(found: tuple[float, Interval]) -> Estimate:
    low, high = (None, None) if found[1] is None else (_short(end) for end in found[1])
    return Estimate(_short(found[0]), low, high)


def change(
    before: tuple[Reading, Compared | None], after: tuple[Reading, Compared | None], edges: Any, tried: int
) -> Change:
    """What changes from one reading of the same texts to another, each with its pairs.

    Intervals are those of the `tried` changes together: the best of several looks better than it is.
    """
    confidence = 1 - 0.05 / tried
    lengths = before[0].lengths
    places = np.searchsorted(edges, lengths, side="right") - 1
    places[[*before[0].unread, *after[0].unread]] = -1
    short, long = (np.flatnonzero(places == place) for place in (0, len(edges) - 1))
    difference = socms = None
    if len(edges) > 1 and min(len(short), len(long)) > 1:
        vectors = before[0].vectors, after[0].vectors
        difference = _estimated(change_of_difference(*vectors, short, long, confidence=confidence))
    if before[1] is not None and after[1] is not None and before[1].rows == after[1].rows:
        values = after[1].found.socm - before[1].found.socm
        texts = np.triu_indices(len(before[1].rows), 1)
        socms = _estimated(mean_over_pairs(values, *texts, confidence=confidence))
    return Change(difference, socms)


def spread_out(read: npt.NDArray[np.int64], count: int, seed: int) -> list[int]:
    """Places of `count` texts of all lengths, given as tokens: from each part of the lengths as many, at random.

    Those of more tokens than `TRACEABLE` are left out: attention takes heads x tokens² numbers, several times over.
    """
    generator = np.random.default_rng(seed)
    order = [row for row in np.argsort(read, kind="stable").tolist() if read[row] <= TRACEABLE]
    parts = [part for part in np.array_split(np.array(order), min(count, len(order))) if len(part)]
    return sorted(int(generator.choice(part)) for part in parts)


def affordable(read: npt.NDArray[np.int64], width: int, seconds: float, seed: int) -> list[int]:
    """Places of as many texts, drawn at random, as have all their pairs compared in about so long, in little memory.

    `read` are their tokens. By a formula and not by the clock, so that the same texts are chosen on a slower day. Of
    however short texts there are no more than a million pairs.
    """
    order = np.random.default_rng(seed).permutation(len(read))
    read = read[order]
    a, b = _SECONDS
    cost = a * read.astype(np.float64) ** 2 + b * read.astype(np.float64) ** 3

    def fits(count: int) -> bool:
        # With texts from the longest to the shortest, each is the smaller one of as many pairs as came before it.
        dearest_first = np.sort(cost[:count])[::-1]
        quick = bool((dearest_first * np.arange(count)).sum() <= seconds * _CORES)
        return quick and count * (count - 1) // 2 <= _COMPARED and within(read[:count], width)

    most = max((count for count in _steps(len(read)) if fits(count)), default=2)
    return sorted(order[:most].tolist())


def within(read: npt.NDArray[np.int64], width: int) -> bool:
    """Whether the tokens of texts of these lengths fit into what is kept."""
    return bool(read.sum() * width <= _NUMBERS)


def left_out(measure: str, found: Iterable[tuple[str, str]]) -> tuple[LeftOut, ...]:
    """Ids, and why a measure does without them, by reason.

    >>> left_out("layers", [("a", "too long"), ("b", "too long")])
    (LeftOut(measure='layers', why='too long', count=2, ids=('a', 'b')),)
    """
    groups: dict[str, list[str]] = {}
    for name, why in found:
        groups.setdefault(why, []).append(name)
    return tuple(LeftOut(measure, why, len(names), tuple(names[:_NAMED])) for why, names in groups.items())


def some_pairs(
    read: npt.NDArray[np.int64], width: int, seed: int, texts: npt.NDArray[np.int64] | None = None
) -> list[int]:
    """Places of as many pairs, drawn at random, as have their tokens kept; `read [P, 2]` are both texts' tokens.

    No more than a million: a few texts may stand in any number of pairs.

    `texts [P, 2]` tells which texts these are: the tokens of one that stands in several pairs are kept once.
    """
    order = np.random.default_rng(seed).permutation(len(read))[:_COMPARED]
    read = read[order]
    if texts is not None:
        first = np.unique(texts[order], return_index=True)[1]
        once = np.zeros(read.size, bool)
        once[first] = True
        read = np.where(once.reshape(-1, 2), read, 0)
    kept = np.cumsum(read.sum(1)) * width <= _NUMBERS
    return sorted(order[: max(1, int(kept.sum()))].tolist())


def _steps(count: int) -> list[int]:
    """Numbers of texts to choose among, few and readable: 2, 5, 10, 20 ... and all."""
    steps = [int(digit * 10**power) for power in range(1, 6) for digit in (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)]
    return [step for step in (2, 3, 5, *steps) if step < count] + [count]


@dataclass(frozen=True, eq=False)
class Compared:
    """All pairs of some texts, in condensed order."""

    rows: list[int]  # places of the texts
    found: SecondOrder[Any]


def compare(reading: Reading, rows: Sequence[int], progress: Progress) -> Compared | None:
    """Second-order collapse over all pairs of those of the texts whose tokens were kept."""
    rows = [row for row in rows if row in reading.tokens]
    if len(rows) < 2:
        return None
    return Compared(rows, socm([reading.tokens[row] for row in rows], limit=np.inf, progress=progress))


def all_pairs(compared: Compared, texts: Sequence[Text], excerpts: Excerpts, seed: int) -> Pairs:
    """The same in a few figures, with the worst pairs."""
    sides = np.triu_indices(len(compared.rows), 1)
    mean = _estimated(mean_over_pairs(compared.found.socm, *sides))

    def text(row: int, side: int) -> Text:
        return texts[compared.rows[int(sides[side][row])]]

    return _pairs(compared.found, mean, text, len(compared.rows), excerpts, seed)


def given_pairs(
    reading: Reading,
    pairs: Sequence[tuple[str, str]],
    excerpts: Excerpts,
    seed: int,
    progress: Progress,
    numbers: Sequence[int],
) -> Pairs:
    """Second-order collapse of the user's own pairs, which were read one after another; `numbers` is their names."""
    sides = [[reading.tokens[2 * row + side] for row in range(len(pairs))] for side in (0, 1)]
    found = socm(*sides, limit=np.inf, progress=progress)
    places = {text: place for place, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
    mean = _estimated(mean_over_pairs(found.socm, *([places[pair[side]] for pair in pairs] for side in (0, 1))))

    def text(row: int, side: int) -> Text:
        return Text(f"pair {numbers[row]}", pairs[row][side])

    return _pairs(found, mean, text, len(places), excerpts, seed)


def _pairs(
    found: SecondOrder[Any],
    mean: Estimate,
    text: Callable[[int, int], Text],
    texts: int,
    excerpts: Excerpts,
    seed: int,
) -> Pairs:
    """The figures of pairs; `text(row, side)` is asked only for those that are shown."""
    values = found.socm
    shown = np.sort(np.random.default_rng(seed).permutation(len(values))[:_SHOWN])

    def pair(row: int) -> Pair:
        parts = (_short(part[row]) for part in (found.d_mu, found.d_sigma, values))
        return Pair(excerpts.place(text(row, 0)), excerpts.place(text(row, 1)), *parts)

    top = max(1.0, float(np.ceil(10 * values.max()) / 10))
    return Pairs(
        texts=texts,
        pairs=len(values),
        mean=mean,
        d_mu=spread(found.d_mu),
        d_sigma=spread(found.d_sigma),
        socm=spread(values),
        severe=_short((values > LIMITS["severe pair"].value).mean()),
        histogram=histogram(values, np.linspace(0, top, round(20 * top) + 1)),
        shown=tuple(pair(row) for row in shown.tolist()),
        worst=tuple(pair(row) for row in _worst(values)),
    )


def _worst(values: npt.NDArray[Any]) -> list[int]:
    """Places of the highest values, from the top; of those with the same nine digits, the first ones."""
    count = min(_WORST, len(values))
    least = float(np.partition(values, -count)[-count])
    near = np.flatnonzero(values >= least - 1e-7 * abs(least))  # those that share its nine digits, and some more
    order = np.lexsort((near, -np.array([_short(value) for value in values[near]])))
    found: list[int] = near[order][:_WORST].tolist()
    return found


def layers(found: Sequence[LayerProfile]) -> tuple[LayerSummary, ...]:
    """Each layer's measures over its texts and heads, or why they are not defined."""
    names = [field.name for field in fields(LayerProfile) if field.name != "index"]
    return tuple(LayerSummary(layer.index, {name: _summary(getattr(layer, name)) for name in names}) for layer in found)


def _summary(value: Tensor | Known | Undefined) -> Spread | str:
    if isinstance(value, Undefined):
        return value.reason
    values = value.values if isinstance(value, Known) else value
    return spread(values) if len(values) else "none of the texts has two tokens"


def passed(reading: Reading) -> tuple[Passed, ...]:
    """sigma_a of the last layer and Theorem 3's estimate by length, means over heads and texts in the paper's bins."""
    if not reading.layers or isinstance(sigma := reading.layers[-1].sigma_a, Undefined):
        return ()
    each, tokens = sigma.mean(1).numpy(), reading.lengths[reading.traced]
    places = np.minimum(tokens // _BIN_OF_SIGMA, _BINS_OF_SIGMA - 1)
    bound = reading.layers[-1].sigma_a_bound  # of each text and head; one token has no logits that vary
    expected, bins = (
        (bound.values.numpy(), places[bound.defined.nonzero()[:, 0].numpy()])
        if isinstance(bound, Known)
        else (each[:0], places[:0])
    )
    return tuple(
        Passed(
            low=int(place) * _BIN_OF_SIGMA,
            high=None if place == _BINS_OF_SIGMA - 1 else (int(place) + 1) * _BIN_OF_SIGMA,
            count=int((places == place).sum()),
            sigma_a=_short(each[places == place].mean()),
            theorem3=_short(expected[bins == place].mean()) if place in bins else None,
        )
        for place in np.unique(places)
    )


def repeated(found: RepeatedWords) -> Repeated:
    """The probe of two words, in plain numbers."""
    return Repeated(found.words, found.tokens, tuple(_short(cosine) for cosine in found.cosines))
