"""Parts of figures, as plain data for plotly.js. Colours are names that the page replaces when it draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cenote.records import Spread
from cenote.report.formatting import plotly_label
from cenote.report.series import Look

Trace = dict[str, Any]
# Ratio of the largest to the smallest value from which an axis is logarithmic.
_FAR_APART = 25
# Number of decades up to which an axis has room for three ticks in each.
_FEW_DECADES = 4
# Opacity: bands and areas overlap, and their lines must stay visible.
_BAND = "/0.12"
_FILL = "/0.16"


@dataclass(frozen=True)
class Entry:
    """An entry of a figure's legend, which shows or hides the traces of its group."""

    group: str
    label: str
    colour: str
    dash: str | None
    symbol: str | None
    shown: bool = True


@dataclass(frozen=True)
class Figure:
    """A figure: its plot, one sentence on how to read it, and notes on what is missing."""

    key: str
    title: str
    reading: str
    data: tuple[Trace, ...]
    layout: dict[str, Any]
    legend: tuple[Entry, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether the figure has no data."""
        return not self.data


def legend_entry(look: Look, *, shown: bool = True, points: bool = True, line: bool = True) -> Entry:
    """Return the legend entry of a run."""
    return Entry(look.key, look.label, look.colour, look.dash if line else None, look.symbol if points else None, shown)


def layout(
    x: dict[str, Any], y: dict[str, Any], shapes: Sequence[Trace] = (), annotations: Sequence[Trace] = ()
) -> Trace:
    """Return a layout: axes, shapes and annotations. The page adds fonts, colours and margins."""
    return {
        "xaxis": {"zeroline": False, "tickangle": 0, **x},
        "yaxis": {"zeroline": False, **y},
        "shapes": list(shapes),
        "annotations": list(annotations),
    }


def axis(title: str, values: Sequence[float] = (), **more: Any) -> dict[str, Any]:
    """Return an axis, logarithmic if the values are positive and far apart."""
    wide = bool(values) and min(values) > 0 and max(values) > _FAR_APART * min(values)
    named = {"title": {"text": plotly_label(title, 80)}, **more}
    return {**named, **logarithmic(min(values), max(values))} if wide else named


def logarithmic(low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at 1, 2 and 5 of each decade, or at 1 only if there are many decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    at = [step * 10.0**decade for decade in decades for step in steps]
    return {"type": "log", "tickvals": at, "ticktext": [f"{value:,.10g}" for value in at]}


def line(look: Look, x: Sequence[float], y: Sequence[float | None], labels: Sequence[str], **more: Any) -> Trace:
    """Return a line with a symbol and a label at each point; labels are already escaped for plotly."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(x),
        "y": list(y),
        "name": plotly_label(look.label),
        "legendgroup": look.key,
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"color": look.colour, "symbol": look.symbol, "size": 8},
        "hovertext": list(labels),
        "hoverinfo": "text",
        **more,
    }


def band(look: Look, x: Sequence[float], found: Sequence[Spread]) -> Trace:
    """Return the area between the 10 % and 90 % quantiles, which lies behind a line."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [value.high for value in found] + [value.low for value in reversed(found)],
        "fill": "toself",
        "fillcolor": look.colour + _BAND,
        "line": {"width": 0, "color": look.colour + "/0"},
        "legendgroup": look.key,
        "hoverinfo": "skip",
    }


def outline(look: Look, edges: Sequence[float], counts: Sequence[int], labels: Sequence[str], **more: Any) -> Trace:
    """Return a histogram as an outline, so that several can overlap."""
    x, y, text = [edges[0]], [0], [""]
    for start, end, count, label in zip(edges[:-1], edges[1:], counts, labels, strict=True):
        # The point in the middle is for hovering.
        x += [start, (start + end) / 2, end]
        y += [count] * 3
        text += [label] * 3
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, edges[-1]],
        "y": [*y, 0],
        "fill": "tozeroy",
        "fillcolor": look.colour + _FILL,
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "name": plotly_label(look.label),
        "legendgroup": look.key,
        "hovertext": [*text, ""],
        "hoverinfo": "text",
        **more,
    }


def reference_line(value: float, *, upright: bool, colour: str = "@muted", dash: str = "dash") -> Trace:
    """Return a line across the figure at one value."""
    along, across = ("x", "y") if upright else ("y", "x")
    return {
        "type": "line",
        f"{along}0": value,
        f"{along}1": value,
        f"{across}0": 0,
        f"{across}1": 1,
        f"{across}ref": "paper",
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "layer": "below",
    }


def hover_label(title: str, *lines: str) -> str:
    """Return the label of a point: a bold title, and lines that are already escaped for plotly."""
    return "<br>".join((f"<b>{plotly_label(title)}</b>", *lines))


def annotation(text: str, x: float, y: float, **more: Any) -> Trace:
    """Return a text at a position in the figure."""
    return {
        "text": plotly_label(text),
        "x": x,
        "y": y,
        "showarrow": False,
        "font": {"size": 12, "color": "@muted"},
        **more,
    }


def bin_middle(low: int, high: int | None, width: int) -> float:
    """Return the middle of a bin; `width` is assumed for an open one."""
    return low + (width if high is None else high - low) / 2
