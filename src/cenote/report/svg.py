"""Figures and bars as SVG that fits any width: positions are percentages, and letters keep their size.

Colours are classes of page.css, so that light, dark and print need no script. page.js shows the titles of points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from cenote.records import Estimate
from cenote.report.formatting import escape_html, format_number
from cenote.report.plots import Axis, Band, Cloud, Curve, Entry, Figure, Line, Rule, Steps
from cenote.report.series import CONTROL_DASH, Look

# Symbols around (0, 0), by the names of looks.
_SYMBOLS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M-3.7-3.7h7.4v7.4h-7.4z",
    "diamond": "M0-5 5 0 0 5-5 0z",
    "triangle-up": "M0-4.5 4.6 4H-4.6z",
    "cross": "M-1.5-4h3v2.5H4v3H1.5V4h-3V1.5H-4v-3h2.5z",
    "star": "m0-5 1.3 3.4 3.6.2-2.8 2.3.9 3.5L0 2.4l-3 2 .9-3.5-2.8-2.3 3.6-.2z",
    "hexagon": "M0-4.5 4-2.2v4.4L0 4.5-4 2.2v-4.4z",
}
# Fills of the shares of a bar, which differ in pattern and not only in colour: the tile's size and its strokes.
_PATTERNS = {"cut": ("7", "M0 7 7 0M-1 1l2-2M6 8l2-2"), "pooling": ("6", "M0 3h6")}
# A share of a bar has its number inside from here on.
_ROOM = 7
# From here on, the label of an upright line stands to its left.
_LATE = 0.7


def definitions() -> str:
    """Return the symbols and patterns that all figures and bars of a page refer to."""
    symbols = "".join(
        f'<path id="{name}" d="{path}"/><g id="{name}-small"><use href="#{name}" transform="scale(.72)"/></g>'
        for name, path in _SYMBOLS.items()
    )
    patterns = "".join(
        f'<pattern id="fill-{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse">'
        f'<rect width="{size}" height="{size}" class="tile {name}"/><path d="{strokes}" class="stroke {name}"/>'
        "</pattern>"
        for name, (size, strokes) in _PATTERNS.items()
    )
    more = '<circle id="ring" r="6.5"/><path id="end" d="M-4 0h8"/>'
    content = f"<defs>{symbols}{more}{patterns}</defs>"
    return f'<svg class="definitions" width="0" height="0" aria-hidden="true">{content}</svg>\n'


def draw_bar(shares: Sequence[tuple[str, int, str]], label: str, *, numbers: bool = True) -> str:
    """Return a bar of 100: for each share its class, its number, and its words, which are shown when pointed at."""
    drawn, start = "", 0
    for kind, count, words in shares:
        if not count:
            continue
        number = ""
        if numbers and count >= _ROOM:
            number = f'<text x="{_percent((start + count / 2) / 100)}" y="50%">{count}</text>'
        drawn += (
            f'<g class="{kind}"><title>{escape_html(words)}</title>'
            f'<rect x="{start}%" width="{count}%" height="100%"/>{number}</g>'
        )
        start += count
    return f'<svg class="bar" role="img" aria-label="{escape_html(label)}">{drawn}</svg>'


def draw_fill(kind: str) -> str:
    """Return a swatch of a share of a bar."""
    return f'<svg class="sample" aria-hidden="true"><g class="{kind}"><rect width="100%" height="100%"/></g></svg>'


def draw_interval(axis: Axis, found: Estimate | None) -> str:
    """Return a value as a point, and its interval as a line, over the ticks of an axis; its row has both in words."""
    drawn = ""
    for tick in axis.ticks:
        at = _percent(axis.place(tick.value))
        drawn += f'<line x1="{at}" x2="{at}" y2="100%" class="{"grid" if tick.value else "axis"}"/>'
    if found is not None:
        if found.low is not None and found.high is not None:
            low, high = (_percent(axis.place(end)) for end in (found.low, found.high))
            drawn += f'<line x1="{low}" x2="{high}" y1="50%" y2="50%" class="line"/>'
        drawn += f'<use href="#circle" x="{_percent(axis.place(found.value))}" y="50%" class="point"/>'
    return f'<svg class="interval s1" aria-hidden="true">{drawn}</svg>'


def draw_scale(axis: Axis) -> str:
    """Return the labels of an axis, above the intervals that are drawn over it; those at its ends stay within."""
    drawn = ""
    for tick in axis.ticks:
        place = axis.place(tick.value)
        side = "" if place <= 0 else " beside" if place >= 1 else " across"
        drawn += f'<text x="{_percent(place)}" y="1em" class="tick{side}">{tick.label}</text>'
    return f'<svg class="scale" role="img" aria-label="{escape_html(axis.title)}">{drawn}</svg>'


def draw_swatch(entry: Entry) -> str:
    """Return the line and the symbol of a series."""
    look, drawn = entry.look, ""
    if entry.line:
        drawn += f'<path d="M1 6h34" class="line {look.dash}"/>'
    if entry.points:
        drawn += f'<use href="#{_symbol(look)}" x="18" y="6" class="{_point(look)}"/>'
    return f'<svg class="swatch {look.colour}" viewBox="0 0 36 12" aria-hidden="true">{drawn}</svg>'


def draw_figure(figure: Figure) -> str:
    """Return the axes and the marks of a figure; marks of hidden series are there, with the class `off`."""
    hidden = {entry.look.key for entry in figure.legend if not entry.shown}
    drawn = []
    for mark in figure.marks:
        look = getattr(mark, "look", None)
        content = "".join(_DRAW[type(mark)](mark, figure.x, figure.y))
        if isinstance(look, Look):
            off = " off" if look.key in hidden else ""
            content = f'<g class="{look.colour}{off}" data-group="{look.key}">{content}</g>'
        drawn.append(content)
    return f'<svg class="area">{"".join(_draw_axes(figure.x, figure.y))}{"".join(drawn)}</svg>'


def _draw_axes(x: Axis, y: Axis) -> Iterator[str]:
    """Yield grid lines and labels of ticks."""
    for tick in x.ticks:
        at, kind = _percent(x.place(tick.value)), " minor" if tick.minor else ""
        yield f'<line x1="{at}" x2="{at}" y1="0" y2="100%" class="grid"/>'
        yield f'<text x="{at}" y="100%" dy="1.5em" class="tick across{kind}">{tick.label}</text>'
    for tick in y.ticks:
        at = _percent(1 - y.place(tick.value))
        yield f'<line x1="0" x2="100%" y1="{at}" y2="{at}" class="grid"/>'
        yield f'<text x="0" y="{at}" dx="-8" dy=".32em" class="tick beside">{tick.label}</text>'
    yield '<line x1="0" x2="100%" y1="100%" y2="100%" class="axis"/>'


def _draw_line(mark: Line, x: Axis, y: Axis) -> Iterator[str]:
    look, places = mark.look, [_place(at, value, x, y) for at, value in zip(mark.x, mark.y, strict=True)]
    yield _stretched(f'<path d="{_path(places)}" class="line {CONTROL_DASH if mark.dotted else look.dash}"/>')
    for at, ends in zip(mark.x, mark.ends, strict=False):
        if ends is not None:
            (left, low), (_, high) = (_place(at, end, x, y) for end in ends)
            yield f'<line x1="{left:g}%" x2="{left:g}%" y1="{low:g}%" y2="{high:g}%" class="line"/>'
            yield "".join(f'<use href="#end" x="{left:g}%" y="{end:g}%" class="line"/>' for end in (low, high))
    kind = "quiet" if mark.dotted else _point(look)
    for (left, top), label in zip(places, mark.labels, strict=True):
        title = f"<title>{escape_html(label)}</title>"
        yield f'<use href="#{_symbol(look)}" x="{left:g}%" y="{top:g}%" class="{kind}">{title}</use>'


def _draw_steps(mark: Steps, x: Axis, y: Axis) -> Iterator[str]:
    corners = [
        _place(edge, value, x, y) for ends, value in zip(pairwise(mark.edges), mark.y, strict=True) for edge in ends
    ]
    (first, _), (last, bottom) = (_place(edge, 0, x, y) for edge in (mark.edges[0], mark.edges[-1]))
    path = _path([(first, bottom), *corners, (last, bottom)])
    yield _stretched(f'<path d="{path}" class="fill"/><path d="{path}" class="line {mark.look.dash}"/>')
    for (left, top), (right, _), label in zip(corners[::2], corners[1::2], mark.labels, strict=True):
        middle = f'x="{(left + right) / 2:g}%" y="{top:g}%"'
        yield f'<use href="#circle" {middle} class="quiet"><title>{escape_html(label)}</title></use>'


def _draw_band(mark: Band, x: Axis, y: Axis) -> Iterator[str]:
    above, below = (
        [_place(*point, x, y) for point in zip(mark.x, side, strict=True)] for side in (mark.high, mark.low)
    )
    yield _stretched(f'<path d="{_path([*above, *below[::-1]])}z" class="fill"/>')


def _draw_cloud(mark: Cloud, x: Axis, y: Axis) -> Iterator[str]:
    symbol, kind = ("ring", "ring") if mark.rings else (f"{_symbol(mark.look)}-small", f"{_point(mark.look)} faint")
    for pair in mark.pairs:
        left, top = _place(pair.d_mu, pair.d_sigma, x, y)
        # page.js shows the texts and the figures of a pair.
        figures = " ".join(map(format_number, (pair.d_mu, pair.d_sigma, pair.socm)))
        data = f"{pair.first} {pair.second} {figures}"
        yield f'<use href="#{symbol}" x="{left:g}%" y="{top:g}%" class="{kind}" data-pair="{data}"/>'


def _draw_rule(mark: Rule, x: Axis, y: Axis) -> Iterator[str]:
    if mark.upright:
        place = x.place(mark.value)
        at = _percent(place)
        yield f'<line x1="{at}" x2="{at}" y1="0" y2="100%" class="line dash thin"/>'
        side = 'dx="-6" class="note end"' if place > _LATE else 'dx="6" class="note"'
        yield f'<text x="{at}" y="0" dy="1em" {side}>{escape_html(mark.label)}</text>' if mark.label else ""
    else:
        at = _percent(1 - y.place(mark.value))
        yield f'<line x1="0" x2="100%" y1="{at}" y2="{at}" class="line dash thin"/>'
        label = f'<text x="100%" y="{at}" dx="-4" dy="-.4em" class="note end">{escape_html(mark.label)}</text>'
        yield label if mark.label else ""


def _draw_curve(mark: Curve, x: Axis, y: Axis) -> Iterator[str]:
    places = [_place(*point, x, y) for point in zip(mark.x, mark.y, strict=True)]
    yield _stretched(f'<path d="{_path(places)}" class="line dot thin"/>')
    left, top = places[0]
    yield f'<text x="{left:g}%" y="{top:g}%" dx="6" dy="1.1em" class="note">{escape_html(mark.label)}</text>'


_DRAW: dict[type, Callable[[Any, Axis, Axis], Iterator[str]]] = {
    Line: _draw_line,
    Steps: _draw_steps,
    Band: _draw_band,
    Cloud: _draw_cloud,
    Rule: _draw_rule,
    Curve: _draw_curve,
}


def _place(across: float, up: float, x: Axis, y: Axis) -> tuple[float, float]:
    """Return a position in percent from the left and from the top."""
    return round(100 * x.place(across), 2), round(100 * (1 - y.place(up)), 2)


def _percent(part: float) -> str:
    return f"{round(100 * part, 2):g}%"


def _path(places: Iterable[tuple[float, float]]) -> str:
    return f"M{'L'.join(f'{left:g} {top:g}' for left, top in places)}"


def _stretched(content: str) -> str:
    """Return paths in percent, stretched over the figure; their strokes keep their width."""
    return f'<svg viewBox="0 0 100 100" preserveAspectRatio="none">{content}</svg>'


def _symbol(look: Look) -> str:
    return look.symbol.split("-open")[0]


def _point(look: Look) -> str:
    return "point hollow" if "-open" in look.symbol else "point"
