"""The figures of pairs of texts: which means coincide while the spreads of their tokens differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cenote.report.plots import Entry, Figure, Trace, axis, entry, layout, marker_line, steps, words
from cenote.report.series import Series
from cenote.report.writing import in_label, number, share
from cenote.results import Pair, Pairs
from cenote.thresholds import LIMITS

# Values at which a line of equal SOCM may be drawn; a figure has the highest few that fit.
_LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
_LINES = 4
_STEPS = 60
SEVERE = LIMITS["severe pair"].value
# Free space beyond the outermost point.
_ROOM = 1.06

Found = Sequence[tuple[Series, Pairs]]


def scatter(found: Found, key: str) -> Figure:
    """Every shown pair by how far apart its means lie, and how differently its tokens spread."""
    data: list[Trace] = []
    legend: list[Entry] = []
    points = [pair for _, pairs in found for pair in (*pairs.shown, *pairs.worst)]
    if points:
        data += _equals(points)
    for one, pairs in found:
        if not (pairs.shown or pairs.worst):
            continue
        # More than one cloud for a model would hide each other: the runs at other temperatures wait to be asked for.
        look = {"size": 6, "opacity": 0.55, "color": one.look.colour, "symbol": one.look.symbol}
        ring = {"size": 13, "color": one.look.colour, "symbol": "circle-open", "line": {"width": 2}}
        data += [_cloud(one, pairs.shown, look, ""), _cloud(one, pairs.worst, ring, "one of the ten worst")]
        legend.append(entry(one.look, shown=one.first, line=False))
    return Figure(
        key,
        "Second-order collapse, pair by pair",
        "Each point is a pair of texts; those at the upper left are alike after pooling although their tokens spread "
        "differently. Lines join pairs of equal SOCM, rings mark the ten worst. Point at a pair, or touch it, to read "
        "both texts.",
        tuple(data),
        layout(
            axis("d_mu, distance of the means", range=[0, _reach(pair.d_mu for pair in points)]),
            axis("d_sigma, distance of the spreads", range=[0, _reach(pair.d_sigma for pair in points)]),
            words=_level_labels(points),
        ),
        tuple(legend),
    )


def _reach(values: Iterable[float]) -> float:
    """How far an axis goes; an axis has to go somewhere even if all points lie at its start."""
    return _ROOM * (max(values, default=0) or 1)


def _cloud(one: Series, pairs: Sequence[Pair], marker: Trace, mark: str) -> Trace:
    """Points that know their pair; the page puts the two texts into the label, so that each is stored once."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [pair.d_mu for pair in pairs],
        "y": [pair.d_sigma for pair in pairs],
        "marker": marker,
        "name": in_label(one.label),
        "legendgroup": one.look.key,
        "customdata": [[pair.first, pair.second] for pair in pairs],
        "hovertext": [
            f"<b>SOCM {number(pair.socm)}</b>{f', {mark}' if mark else ''}<br>{in_label(one.label)}" for pair in pairs
        ],
        "hoverinfo": "text",
    }


def _levels(points: Sequence[Pair]) -> list[float]:
    highest = max((pair.d_sigma for pair in points), default=0)
    return [level for level in _LEVELS if level < highest][-_LINES:]


def _equals(points: Sequence[Pair]) -> list[Trace]:
    """Lines of equal SOCM: d_sigma = SOCM / (1 - d_mu), as far as there are points."""
    right, top = _reach(pair.d_mu for pair in points), _reach(pair.d_sigma for pair in points)
    lines: list[Trace] = []
    for level in _levels(points):
        x = [right * step / _STEPS for step in range(_STEPS + 1)]
        inside = [(at, level / (1 - at)) for at in x if at < 1 and level / (1 - at) <= top]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [at for at, _ in inside],
                "y": [value for _, value in inside],
                "line": {"color": "@muted", "dash": "dot", "width": 1.2},
                "hoverinfo": "skip",
            }
        )
    return lines


def _level_labels(points: Sequence[Pair]) -> list[Trace]:
    return [words(f"SOCM {level:g}", 0, level, xanchor="left", yanchor="top", xshift=6) for level in _levels(points)]


def histogram(found: Found, key: str) -> Figure:
    """How the SOCM of all pairs is spread, as shares: models may have been given different numbers of pairs."""
    data, legend, highest = [], [], 0.0
    for one, pairs in found:
        edges, counts = pairs.histogram.edges, pairs.histogram.counts
        if not sum(counts):
            continue
        text = [
            f"<b>{in_label(one.label)}</b><br>SOCM {number(low)} to {number(high)}<br>"
            f"{share(count / sum(counts))} of pairs"
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
        trace = steps(one.look, edges, counts, text)
        trace["y"] = [count / sum(counts) for count in trace["y"]]
        data.append(trace)
        legend.append(entry(one.look, points=False))
        highest = max(highest, edges[-1])
    severe = highest > SEVERE
    return Figure(
        f"{key}-histogram",
        "Second-order collapse over all pairs",
        "The further an outline reaches to the right, the more pairs of texts coincide after pooling though their "
        f"tokens differ{'; right of the dashed line they are severe' if severe else ''}.",
        tuple(data),
        layout(
            axis("SOCM", rangemode="tozero"),
            axis("share of pairs", rangemode="tozero", tickformat=".0%"),
            [marker_line(SEVERE, upright=True)] if severe else [],
        ),
        tuple(legend),
    )
