"""The parts of a figure, as the plain data that plotly.js draws. Colours are names until the page draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cenote.report.series import Look
from cenote.report.writing import in_label
from cenote.results import Spread

Trace = dict[str, Any]
# Values this many times apart do not fit on a straight axis.
_FAR_APART = 25
# Decades up to which an axis has room for three numbers in each.
_FEW_DECADES = 4
# Bands lie over each other; the lines in them carry the meaning.
_BAND = "/0.12"
_FILL = "/0.16"


@dataclass(frozen=True)
class Entry:
    """A line of a figure's legend, which switches the traces of its group on and off."""

    group: str
    label: str
    colour: str
    dash: str | None
    symbol: str | None
    shown: bool = True


@dataclass(frozen=True)
class Figure:
    """What is drawn, how to read it in one sentence, and what is not there and why."""

    key: str
    title: str
    reading: str
    data: tuple[Trace, ...]
    layout: dict[str, Any]
    legend: tuple[Entry, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.data


def entry(look: Look, *, shown: bool = True, points: bool = True, line: bool = True) -> Entry:
    """The legend's line for a run."""
    return Entry(look.key, look.label, look.colour, look.dash if line else None, look.symbol if points else None, shown)


def layout(x: dict[str, Any], y: dict[str, Any], shapes: Sequence[Trace] = (), words: Sequence[Trace] = ()) -> Trace:
    """Axes, and lines and words that belong to no trace. The page adds fonts, colours and margins."""
    return {
        "xaxis": {"zeroline": False, "tickangle": 0, **x},
        "yaxis": {"zeroline": False, **y},
        "shapes": list(shapes),
        "annotations": list(words),
    }


def axis(title: str, values: Sequence[float] = (), **more: Any) -> dict[str, Any]:
    """An axis; a logarithmic one where `values` are positive and far apart."""
    wide = bool(values) and min(values) > 0 and max(values) > _FAR_APART * min(values)
    named = {"title": {"text": in_label(title, 80)}, **more}
    return {**named, **logarithmic(min(values), max(values))} if wide else named


def logarithmic(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis with its numbers written out: 1, 2 and 5 of each decade, or the 1 alone of many decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    at = [step * 10.0**decade for decade in decades for step in steps]
    return {"type": "log", "tickvals": at, "ticktext": [f"{value:,.10g}" for value in at]}


def line(look: Look, x: Sequence[float], y: Sequence[float | None], labels: Sequence[str], **more: Any) -> Trace:
    """A line with a symbol for each point; `labels` are ready for plotly."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(x),
        "y": list(y),
        "name": in_label(look.label),
        "legendgroup": look.key,
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"color": look.colour, "symbol": look.symbol, "size": 8},
        "hovertext": list(labels),
        "hoverinfo": "text",
        **more,
    }


def band(look: Look, x: Sequence[float], found: Sequence[Spread]) -> Trace:
    """What lies between the lowest and the highest tenth, as an area behind the line."""
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


def steps(look: Look, edges: Sequence[float], counts: Sequence[int], labels: Sequence[str], **more: Any) -> Trace:
    """A histogram as an outline, so that several can lie over each other."""
    x, y, text = [edges[0]], [0], [""]
    for start, end, count, label in zip(edges[:-1], edges[1:], counts, labels, strict=True):
        # The middle is there to be pointed at.
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
        "name": in_label(look.label),
        "legendgroup": look.key,
        "hovertext": [*text, ""],
        "hoverinfo": "text",
        **more,
    }


def marker_line(value: float, *, upright: bool, colour: str = "@muted", dash: str = "dash") -> Trace:
    """A line across the whole figure at one value."""
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


def words(text: str, x: float, y: float, **more: Any) -> Trace:
    """Words at a place in the figure."""
    return {"text": in_label(text), "x": x, "y": y, "showarrow": False, "font": {"size": 12, "color": "@muted"}, **more}


def middle(low: int, high: int | None, width: int) -> float:
    """Where a bin is drawn: in its middle; an open one as if it were as wide as the last closed one."""
    return low + (width if high is None else high - low) / 2
