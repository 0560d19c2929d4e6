"""The figures of pairs of texts: whose means coincide while the spreads of their tokens differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cenote.diagnosis.verdicts.thresholds import CUTOFFS
from cenote.records import Pair, Pairs
from cenote.report.formatting import format_number, format_share, plotly_label
from cenote.report.plots import (
    Entry,
    Figure,
    Trace,
    annotation,
    axis,
    hover_label,
    layout,
    legend_entry,
    outline,
    reference_line,
)
from cenote.report.series import Series

# Values of SOCM for lines of equal SOCM; a figure has the highest few that fit.
_LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
_LINES = 4
_STEPS = 60
_SEVERE = CUTOFFS["severe pair"].value
# Length of an axis relative to the outermost point.
_ROOM = 1.06

PairsBySeries = Sequence[tuple[Series, Pairs]]


def scatter(found: PairsBySeries, key: str) -> Figure:
    """Return the pairs by the distance of their means and of their spreads."""
    data: list[Trace] = []
    legend: list[Entry] = []
    points = [pair for _, pairs in found for pair in (*pairs.shown, *pairs.worst)]
    if points:
        data += _equals(points)
    for one, pairs in found:
        if not (pairs.shown or pairs.worst):
            continue
        # The clouds of one model would hide each other, so runs at other temperatures are hidden at first.
        look = {"size": 6, "opacity": 0.55, "color": one.look.colour, "symbol": one.look.symbol}
        ring = {"size": 13, "color": one.look.colour, "symbol": "circle-open", "line": {"width": 2}}
        data += [_cloud(one, pairs.shown, look, ""), _cloud(one, pairs.worst, ring, "one of the ten worst")]
        legend.append(legend_entry(one.look, shown=one.first, line=False))
    return Figure(
        key=key,
        title="Second-order collapse, pair by pair",
        reading="Each point is a pair of texts; those at the upper left are similar after pooling although their "
        "tokens spread differently. Lines join pairs of equal SOCM, rings mark the ten worst. Point at a pair, or "
        "touch it, to read both texts.",
        data=tuple(data),
        layout=layout(
            axis("d_mu, distance of the means", range=[0, _reach(pair.d_mu for pair in points)]),
            axis("d_sigma, distance of the spreads", range=[0, _reach(pair.d_sigma for pair in points)]),
            annotations=[
                annotation(f"SOCM {level:g}", 0, level, xanchor="left", yanchor="top", xshift=6)
                for level in _levels(points)
            ],
        ),
        legend=tuple(legend),
    )


def _reach(values: Iterable[float]) -> float:
    """Return the end of an axis, which is above 0 even if all points lie at 0."""
    return _ROOM * (max(values, default=0) or 1)


def _cloud(one: Series, pairs: Sequence[Pair], marker: Trace, mark: str) -> Trace:
    """Return points with the indices of their texts; the page adds the texts, so that each is stored once."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [pair.d_mu for pair in pairs],
        "y": [pair.d_sigma for pair in pairs],
        "marker": marker,
        "name": plotly_label(one.label),
        "legendgroup": one.look.key,
        "customdata": [[pair.first, pair.second] for pair in pairs],
        "hovertext": [
            f"<b>SOCM {format_number(pair.socm)}</b>{f', {mark}' if mark else ''}<br>{plotly_label(one.label)}"
            for pair in pairs
        ],
        "hoverinfo": "text",
    }


def _levels(points: Sequence[Pair]) -> list[float]:
    highest = max((pair.d_sigma for pair in points), default=0)
    return [level for level in _LEVELS if level < highest][-_LINES:]


def _equals(points: Sequence[Pair]) -> list[Trace]:
    """Return lines of equal SOCM, d_sigma = SOCM / (1 - d_mu), within the range of the points."""
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


def histogram(found: PairsBySeries, key: str) -> Figure:
    """Return the histogram of SOCM over all pairs, as shares, because models may differ in their number of pairs."""
    data, legend, highest = [], [], 0.0
    for one, pairs in found:
        edges, counts = pairs.histogram.edges, pairs.histogram.counts
        if not sum(counts):
            continue
        text = [
            hover_label(
                one.label,
                f"SOCM {format_number(low)} to {format_number(high)}",
                f"{format_share(count / sum(counts))} of pairs",
            )
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
        trace = outline(one.look, edges, counts, text)
        trace["y"] = [count / sum(counts) for count in trace["y"]]
        data.append(trace)
        legend.append(legend_entry(one.look, points=False))
        highest = max(highest, edges[-1])
    severe = highest > _SEVERE
    return Figure(
        key=f"{key}-histogram",
        title="Second-order collapse over all pairs",
        reading="The further an outline reaches to the right, the more pairs of texts coincide after pooling although "
        f"their tokens differ{'; right of the dashed line they are severe' if severe else ''}.",
        data=tuple(data),
        layout=layout(
            axis("SOCM", rangemode="tozero"),
            axis("share of pairs", rangemode="tozero", tickformat=".0%"),
            [reference_line(_SEVERE, upright=True)] if severe else [],
        ),
        legend=tuple(legend),
    )
