"""Figures as plain data: axes with round ticks, lines, areas and pairs of texts. `cenote.report.svg` draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cenote.records import Histogram, Pair, Spread
from cenote.report.formatting import format_number
from cenote.report.series import Look

# Ratio of the largest to the smallest value from which an axis is logarithmic.
_FAR_APART = 25
# Number of decades up to which an axis has room for three ticks in each.
_FEW_DECADES = 4
# Ticks of an axis, about.
_TICKS = 5
# Layers up to which each has a tick.
_FEW_LAYERS = 16
# Room beside the outermost values, in parts of their range.
_ROOM = 0.04


@dataclass(frozen=True)
class Tick:
    """A tick of an axis. A minor one has no label where there is little room."""

    value: float
    label: str
    minor: bool = False


@dataclass(frozen=True)
class Axis:
    """The title, the ends and the ticks of an axis."""

    title: str
    low: float
    high: float
    ticks: tuple[Tick, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value is drawn, from 0 at the low end to 1 at the high one.

        >>> Axis("tokens", 1, 100, (), log=True).place(10), Axis("tokens", 0, 10, ()).place(1)
        (0.5, 0.1)
        """
        low, high, at = (math.log10(one) if self.log else one for one in (self.low, self.high, value))
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Line:
    """A line with a symbol at each point, or a dotted one without symbols; labels are shown at the points."""

    look: Look
    x: tuple[float, ...]
    y: tuple[float, ...]
    labels: tuple[str, ...]
    ends: tuple[tuple[float, float] | None, ...] = ()  # of the intervals of points
    dotted: bool = False


@dataclass(frozen=True)
class Steps:
    """A histogram as a filled outline, so that several can overlap; labels are shown at the steps."""

    look: Look
    edges: tuple[float, ...]
    y: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Band:
    """The area between two values."""

    look: Look
    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Cloud:
    """Pairs of texts, by the distances of their means and of their spreads."""

    look: Look
    pairs: tuple[Pair, ...]
    rings: bool = False


@dataclass(frozen=True)
class Rule:
    """A dashed line across the figure at one value, with a label at its end if it has one."""

    value: float
    upright: bool
    label: str = ""
    look: Look | None = None


@dataclass(frozen=True)
class Curve:
    """A dotted curve, with a label at its start."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class Entry:
    """An entry of a figure's legend, which shows or hides a series."""

    look: Look
    shown: bool = True
    points: bool = True
    line: bool = True


Mark = Line | Steps | Band | Cloud | Rule | Curve


@dataclass(frozen=True)
class Figure:
    """A figure: its marks, how to read it, and notes on what is missing.

    `decision` says what the figure would change in a decision; a figure that has it is folded.
    """

    key: str
    title: str
    reading: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    legend: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    decision: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the figure shows nothing."""
        return not self.legend

    @property
    def has_pairs(self) -> bool:
        """Whether points are pairs of texts, which the page shows."""
        return any(isinstance(mark, Cloud) for mark in self.marks)


def round_axis(title: str, values: Iterable[float], *, from_zero: bool = False, share: bool = False) -> Axis:
    """Return an axis that ends at round numbers around the values.

    >>> axis = round_axis("cosine", [0.11, 0.34])
    >>> axis.low, axis.high, [tick.label for tick in axis.ticks]
    (0.1, 0.35, ['0.10', '0.15', '0.20', '0.25', '0.30', '0.35'])
    """
    low, high = _ends(values, from_zero)
    step = _round_step((high - low) / _TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(title, _clean(first * step), _clean(last * step), _label_ticks(range(first, last + 1), step, share))


def spread_axis(title: str, values: Iterable[float]) -> Axis:
    """Return an axis that ends beside the values: a logarithmic one if they are positive and far apart."""
    found = list(values)
    if found and min(found) > 0 and max(found) > _FAR_APART * min(found):
        return log_axis(title, min(found), max(found))
    low, high = _ends(found, from_zero=False)
    room = _ROOM * (high - low)
    return tight_axis(title, low - room, high + room)


def tight_axis(title: str, low: float, high: float) -> Axis:
    """Return an axis with these ends."""
    step = _round_step((high - low) / _TICKS)
    return Axis(title, low, high, _label_ticks(range(math.ceil(low / step), math.floor(high / step) + 1), step))


def layer_axis(count: int) -> Axis:
    """Return the axis of a number of layers."""
    step = 1 if count <= _FEW_LAYERS else _round_step(count / _TICKS)
    ticks = (
        Tick(float(at), f"{at:,}", minor=count > _FEW_LAYERS / 2 and step == 1 and at % 2 == 1)
        for at in range(0, max(1, count), int(step))
    )
    return Axis("layer, the first is 0", -0.3, max(1, count) - 0.7, tuple(ticks))


def log_axis(title: str, low: float, high: float) -> Axis:
    """Return a logarithmic axis with ticks at 1, 2 and 5 of each decade, or at 1 only if there are many decades.

    >>> [tick.label for tick in log_axis("tokens", 3, 500).ticks]
    ['5', '10', '20', '50', '100', '200', '500']
    """
    room = (high / low) ** _ROOM if high > low else 1.5
    ends = low / room, high * room
    decades = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    steps = (1, 2, 5) if len(decades) <= _FEW_DECADES + 1 else (1,)
    ticks = (
        Tick(value, f"{value:,.10g}", minor=step != 1 and len(decades) > 2)
        for decade in decades
        for step in steps
        if ends[0] <= (value := step * 10.0**decade) <= ends[1]
    )
    return Axis(title, *ends, tuple(ticks), log=True)


def _ends(values: Iterable[float], from_zero: bool) -> tuple[float, float]:
    """Return the ends of the values, some way apart."""
    found = [*values, 0.0] if from_zero else list(values) or [0.0]
    low, high = min(found), max(found)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    around = abs(low) / 10 or 1.0
    return (0.0, around) if from_zero else (low - around, high + around)


def _round_step(wanted: float) -> float:
    """Return a step of 1, 2 or 5 and zeros, as near to the wanted one as its steps allow.

    >>> [_round_step(wanted) for wanted in (0.013, 0.046, 30, 0.8)]
    [0.01, 0.05, 20.0, 1.0]
    """
    decade = 10.0 ** math.floor(math.log10(wanted))
    return _clean(min((1, 2, 5, 10), key=lambda step: abs(math.log(step * decade / wanted))) * decade)


def _clean(value: float) -> float:
    """Return the value without errors of rounding in its last digits."""
    return float(f"{value:.10g}")


def _label_ticks(places: Iterable[int], step: float, share: bool = False) -> tuple[Tick, ...]:
    digits = max(0, -math.floor(math.log10(step * (100 if share else 1)) + 1e-9))
    ticks = []
    for place in places:
        value = _clean(place * step)
        label = f"{abs(value) * (100 if share else 1):,.{digits}f}{' %' if share else ''}"
        ticks.append(Tick(value, f"−{label}" if value < 0 else label))
    return tuple(ticks)


def line(look: Look, x: Iterable[float], y: Iterable[float], labels: Iterable[str], *, dotted: bool = False) -> Line:
    """Return a line whose labels begin with the name of the series."""
    return Line(look, tuple(x), tuple(y), tuple(f"{look.label}\n{label}" for label in labels), dotted=dotted)


def band(look: Look, x: Iterable[float], found: Sequence[Spread]) -> Band:
    """Return the area between the 10 % and 90 % quantiles, which lies behind a line."""
    return Band(look, tuple(x), tuple(value.low for value in found), tuple(value.high for value in found))


def steps(look: Look, histogram: Histogram, ranges: str, y: Iterable[float], values: Iterable[str]) -> Steps:
    """Return a histogram, with the ends of each bin in the format `ranges` and its value in words as labels."""
    labels = (
        f"{look.label}\n{ranges.format(format_number(start), format_number(end))}\n{value}"
        for (start, end), value in zip(pairwise(histogram.edges), values, strict=True)
    )
    return Steps(look, histogram.edges, tuple(y), tuple(labels))
