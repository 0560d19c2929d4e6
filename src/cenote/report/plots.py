"""Parts of figures, as plain data for plotly.js. Colours are names that the page replaces when it draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cenote.records import Histogram, Spread
from cenote.report.formatting import format_number, plotly_label
from cenote.report.series import CONTROL_DASH, Look

# A part of a figure: a trace, an axis, a shape.
Part = dict[str, Any]
Values = Iterable[float | None]
# Ratio of the largest to the smallest value from which an axis is logarithmic.
_FAR_APART = 25
# Number of decades up to which an axis has room for three ticks in each.
_FEW_DECADES = 4
# Opacity: bands and areas overlap, and their lines must stay visible.
_BAND, _FILL = 0.12, 0.16


@dataclass(frozen=True)
class Entry:
    """An entry of a figure's legend, which shows or hides the traces of its group."""

    look: Look
    shown: bool = True
    points: bool = True
    line: bool = True


@dataclass(frozen=True)
class Figure:
    """A figure: its plot, one sentence on how to read it, and notes on what is missing."""

    key: str
    title: str
    reading: str
    data: tuple[Part, ...]
    layout: Part
    legend: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_pairs(self) -> bool:
        """Whether points are pairs of texts, which the page shows."""
        return any("customdata" in trace for trace in self.data)


def layout(x: Part, y: Part, shapes: Sequence[Part] = (), annotations: Sequence[Part] = ()) -> Part:
    """Return a layout: axes, shapes and annotations. The page adds fonts, colours and margins."""
    return {
        "xaxis": {"zeroline": False, "tickangle": 0, **x},
        "yaxis": {"zeroline": False, **y},
        "shapes": list(shapes),
        "annotations": list(annotations),
    }


def axis(title: str, values: Sequence[float] = (), **more: Any) -> Part:
    """Return an axis, logarithmic if the values are positive and far apart."""
    wide = bool(values) and min(values) > 0 and max(values) > _FAR_APART * min(values)
    named = {"title": {"text": plotly_label(title, 80)}, **more}
    return {**named, **logarithmic(min(values), max(values))} if wide else named


def logarithmic(low: float, high: float) -> Part:
    """Return a logarithmic axis with ticks at 1, 2 and 5 of each decade, or at 1 only if there are many decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    at = [step * 10.0**decade for decade in decades for step in steps]
    return {"type": "log", "tickvals": at, "ticktext": [f"{value:,.10g}" for value in at]}


def trace(mode: str, x: Values, y: Values, **style: Any) -> Part:
    """Return lines or points."""
    return {"type": "scatter", "mode": mode, "x": list(x), "y": list(y), **style}


def line(look: Look, x: Values, y: Values, labels: list[str], *, dotted: bool = False, **more: Any) -> Part:
    """Return a line with a symbol at each point, or a dotted one without.

    The label of a point follows the name of the series, and is already escaped for plotly.
    """
    name = plotly_label(look.label)
    return trace(
        "lines" if dotted else "lines+markers",
        x,
        y,
        name=name,
        legendgroup=look.key,
        line={"color": look.colour, "dash": CONTROL_DASH if dotted else look.dash, "width": 1.5 if dotted else 2},
        marker={"color": look.colour, "symbol": look.symbol, "size": 8},
        hovertext=[f"<b>{name}</b><br>{label}" for label in labels],
        hoverinfo="text",
        **more,
    )


def band(look: Look, x: Sequence[float], found: Sequence[Spread]) -> Part:
    """Return the area between the 10 % and 90 % quantiles, which lies behind a line."""
    return trace(
        "lines",
        [*x, *reversed(x)],
        [value.high for value in found] + [value.low for value in reversed(found)],
        fill="toself",
        fillcolor=f"{look.colour}/{_BAND}",
        line={"width": 0, "color": f"{look.colour}/0"},
        legendgroup=look.key,
        hoverinfo="skip",
    )


def outline(look: Look, histogram: Histogram, ranges: str, values: Sequence[str]) -> Part:
    """Return a histogram as an outline, so that several can overlap.

    Labels hold the ends of a bin in the format `ranges`, and its value in words.
    """
    name = plotly_label(look.label)
    x, y, text = [histogram.edges[0]], [0], [""]
    for (start, end), count, value in zip(pairwise(histogram.edges), histogram.counts, values, strict=True):
        # The point in the middle is for hovering.
        x += [start, (start + end) / 2, end]
        y += [count] * 3
        text += [f"<b>{name}</b><br>{ranges.format(format_number(start), format_number(end))}<br>{value}"] * 3
    return trace(
        "lines",
        [*x, histogram.edges[-1]],
        [*y, 0],
        fill="tozeroy",
        fillcolor=f"{look.colour}/{_FILL}",
        line={"color": look.colour, "dash": look.dash, "width": 2},
        name=name,
        legendgroup=look.key,
        hovertext=[*text, ""],
        hoverinfo="text",
    )


def reference_line(value: float, *, upright: bool, colour: str = "@muted") -> Part:
    """Return a dashed line across the figure at one value."""
    along, across = ("x", "y") if upright else ("y", "x")
    ends = {f"{along}0": value, f"{along}1": value, f"{across}0": 0, f"{across}1": 1, f"{across}ref": "paper"}
    return {"type": "line", **ends, "line": {"color": colour, "dash": "dash", "width": 1.5}, "layer": "below"}


def annotation(text: str, x: float, y: float, **more: Any) -> Part:
    """Return a text at a position in the figure."""
    font = {"size": 12, "color": "@muted"}
    return {"text": plotly_label(text), "x": x, "y": y, "showarrow": False, "font": font, **more}
