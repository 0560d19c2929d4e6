"""Differences as rows over one axis: a point, its interval, and a band that holds what the data cannot show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cenote.comparison_records import Verdict
from cenote.records import Estimate
from cenote.report import plots
from cenote.report.formatting import escape_html, format_score
from cenote.report.plots import Axis, Tick

# Each verdict has its own shape around (0, 0), so that colour is not needed, and the class of its colour.
_MARKERS: dict[Verdict, tuple[str, str]] = {
    "baseline": ("M0-6.5 6.5 0 0 6.5-6.5 0z", "own"),
    "better": ("M0-6.5 6.5 5H-6.5z", "better"),
    "worse": ("M0 6.5 6.5-5H-6.5z", "worse"),
    "not told apart": ("M-4.8 0a4.8 4.8 0 1 0 9.6 0a4.8 4.8 0 1 0-9.6 0z", "alike"),
    "equal": ("M-5-2.4H5M-5 2.4H5", "unclear"),
    "cannot be resolved": ("M-5.5-5.5 5.5 5.5M5.5-5.5-5.5 5.5", "unclear"),
    "too few items": ("M-4.5-4.5h9v9h-9z", "few"),
    "items not known": ("M-4-6h8v12h-8z", "few"),
}
# All verdicts, in the order of a key.
VERDICTS = tuple(_MARKERS)


@dataclass(frozen=True)
class Row:
    """A setting with its difference; `band` is the smallest difference that the data would show."""

    name: str
    difference: Estimate
    band: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Forest:
    """A figure of rows over one axis."""

    key: str
    title: str
    reading: str
    axis: Axis
    rows: tuple[Row, ...]


def build_axis(title: str, rows: Iterable[Row]) -> Axis:
    """Return an axis that holds 0, all intervals and all bands; only every second label is needed where it is narrow.

    >>> rows = [Row("cls", Estimate(0.01, -0.01, 0.03), 0.02, "not told apart")]
    >>> [tick.label for tick in build_axis("difference", rows).ticks]
    ['−0.02', '−0.01', '0', '+0.01', '+0.02', '+0.03']
    """
    values = [0.0]
    for row in rows:
        values += [part for part in (row.difference.value, row.difference.low, row.difference.high) if part is not None]
        values += [] if row.band is None else [row.band, -row.band]
    axis = plots.round_axis(title, values)
    zero = next((place for place, tick in enumerate(axis.ticks) if tick.value == 0), 0)
    ticks = (
        Tick(tick.value, _signed(tick), minor=(place - zero) % 2 == 1 and len(axis.ticks) > 4)
        for place, tick in enumerate(axis.ticks)
    )
    return replace(axis, ticks=tuple(ticks))


def _signed(tick: Tick) -> str:
    return "0" if tick.value == 0 else f"+{tick.label}" if tick.value > 0 else tick.label


def render_forest(found: Forest) -> str:
    """Return the figure as HTML: its key, a row for each setting, and the axis below."""
    verdicts = [verdict for verdict in VERDICTS if any(row.verdict == verdict for row in found.rows)]
    key = "".join(f"<li>{_swatch(verdict)}{verdict}</li>" for verdict in verdicts)
    bands = any(row.band is not None for row in found.rows)
    key += '<li><svg class="shade" aria-hidden="true"><rect/></svg>found less than 4 times of 5</li>' if bands else ""
    label = escape_html(f"{found.title}. The table below holds the numbers.")
    rows = "".join(_row(row, found.axis) for row in found.rows)
    return (
        f'<figure class="forest" id="{found.key}"><h3>{escape_html(found.title)}</h3>'
        f'<p class="reading">{escape_html(found.reading)}</p><ul class="key">{key}</ul>'
        f'<div class="rows" role="img" aria-label="{label}">{rows}'
        f'<div class="foot"><svg class="scale">{_scale(found.axis)}</svg>'
        f'<span class="across-title">{escape_html(found.axis.title)}</span></div></div></figure>'
    )


def _row(row: Row, axis: Axis) -> str:
    own = row.verdict == "baseline"
    shown = "" if own else f"<small>{escape_html(format_score(row.difference, sign='+'))}</small>"
    return (
        f'<div class="row {_MARKERS[row.verdict][1]}"><bdi class="name">{escape_html(row.name)}</bdi>'
        f'<span class="track"><svg>{_track(row, axis)}</svg></span>'
        f'<span class="said"><b>{row.verdict}</b>{shown}</span></div>'
    )


def _track(row: Row, axis: Axis) -> str:
    drawn = ""
    if row.band is not None:
        low, high = (100 * axis.place(end) for end in (-row.band, row.band))
        drawn += f'<rect x="{low:.2f}%" width="{high - low:.2f}%" height="100%" class="band"/>'
    for tick in axis.ticks:
        at = f"{100 * axis.place(tick.value):.2f}%"
        drawn += f'<line x1="{at}" x2="{at}" y2="100%" class="{"grid" if tick.value else "zero"}"/>'
    found = row.difference
    if found.low is not None and found.high is not None:
        low, high = (100 * axis.place(end) for end in (found.low, found.high))
        drawn += f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="50%" y2="50%" class="line"/>'
    title = escape_html(f"{row.name}: {format_score(found, sign='+')}")
    at = f"{100 * axis.place(found.value):.2f}%"
    path = f'<path d="{_MARKERS[row.verdict][0]}"/>'
    return f'{drawn}<svg x="{at}" y="50%" class="marker"><title>{title}</title>{path}</svg>'


def _scale(axis: Axis) -> str:
    drawn = ""
    ends = {0: " first", len(axis.ticks) - 1: " last"}
    for place, tick in enumerate(axis.ticks):
        kind = f"{' minor' if tick.minor else ''}{ends.get(place, '')}"
        at = f"{100 * axis.place(tick.value):.2f}%"
        drawn += f'<text x="{at}" y="1em" class="tick across{kind}">{tick.label}</text>'
    return drawn


def _swatch(verdict: Verdict) -> str:
    path, kind = _MARKERS[verdict]
    return f'<svg class="swatch-of {kind}" viewBox="-9 -9 18 18" aria-hidden="true"><path d="{path}"/></svg>'
