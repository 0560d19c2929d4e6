"""The figures of pairs of texts: whose means coincide while the spreads of their tokens differ."""

from __future__ import annotations

from collections.abc import Sequence

from cenote.diagnosis.verdicts.thresholds import CUTOFFS
from cenote.records import Pair, Pairs
from cenote.report import plots
from cenote.report.formatting import format_number, format_share, plotly_label
from cenote.report.plots import Entry, Figure, Part
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
    points = [pair for _, pairs in found for pair in (*pairs.shown, *pairs.worst)]
    highest = max((pair.d_sigma for pair in points), default=0)
    # The axes end above 0 even if all points lie at 0.
    right, top = _ROOM * (max((pair.d_mu for pair in points), default=0) or 1), _ROOM * (highest or 1)
    levels = [level for level in _LEVELS if level < highest][-_LINES:]
    data = [_equals(level, right, top) for level in levels]
    legend = []
    for one, pairs in found:
        if not (pairs.shown or pairs.worst):
            continue
        look = {"size": 6, "opacity": 0.55, "color": one.look.colour, "symbol": one.look.symbol}
        ring = {"size": 13, "color": one.look.colour, "symbol": "circle-open", "line": {"width": 2}}
        data += [_cloud(one, pairs.shown, look), _cloud(one, pairs.worst, ring, ", one of the ten worst")]
        # The clouds of one model would hide each other, so runs at other temperatures are hidden at first.
        legend.append(Entry(one.look, shown=one.first, line=False))
    return Figure(
        key=key,
        title="Second-order collapse, pair by pair",
        reading="Each point is a pair of texts; those at the upper left are similar after pooling although their "
        "tokens spread differently. Lines join pairs of equal SOCM, rings mark the ten worst. Point at a pair, or "
        "touch it, to read both texts.",
        data=tuple(data),
        layout=plots.layout(
            plots.axis("d_mu, distance of the means", range=[0, right]),
            plots.axis("d_sigma, distance of the spreads", range=[0, top]),
            annotations=[
                plots.annotation(f"SOCM {level:g}", 0, level, xanchor="left", yanchor="top", xshift=6)
                for level in levels
            ],
        ),
        legend=tuple(legend),
    )


def _cloud(one: Series, pairs: Sequence[Pair], marker: Part, mark: str = "") -> Part:
    """Return points with the indices of their texts; the page adds the texts, so that each is stored once."""
    label = plotly_label(one.label)
    return plots.trace(
        "markers",
        [pair.d_mu for pair in pairs],
        [pair.d_sigma for pair in pairs],
        marker=marker,
        name=label,
        legendgroup=one.look.key,
        customdata=[[pair.first, pair.second] for pair in pairs],
        hovertext=[f"<b>SOCM {format_number(pair.socm)}</b>{mark}<br>{label}" for pair in pairs],
        hoverinfo="text",
    )


def _equals(level: float, right: float, top: float) -> Part:
    """Return the line of equal SOCM, d_sigma = SOCM / (1 - d_mu), within the axes."""
    steps = [right * step / _STEPS for step in range(_STEPS + 1)]
    x = [at for at in steps if at < 1 and level / (1 - at) <= top]
    style = {"color": "@muted", "dash": "dot", "width": 1.2}
    return plots.trace("lines", x, [level / (1 - at) for at in x], line=style, hoverinfo="skip")


def histogram(found: PairsBySeries, key: str) -> Figure:
    """Return the histogram of SOCM over all pairs, as shares, because models may differ in their number of pairs."""
    data, legend, highest = [], [], 0.0
    for one, pairs in found:
        if not (total := sum(pairs.histogram.counts)):
            continue
        shares = [f"{format_share(count / total)} of pairs" for count in pairs.histogram.counts]
        outline = plots.outline(one.look, pairs.histogram, "SOCM {} to {}", shares)
        data.append(outline | {"y": [count / total for count in outline["y"]]})
        legend.append(Entry(one.look, points=False))
        highest = max(highest, pairs.histogram.edges[-1])
    severe = highest > _SEVERE
    return Figure(
        key=f"{key}-histogram",
        title="Second-order collapse over all pairs",
        reading="The further an outline reaches to the right, the more pairs of texts coincide after pooling although "
        f"their tokens differ{'; right of the dashed line they are severe' if severe else ''}.",
        data=tuple(data),
        layout=plots.layout(
            plots.axis("SOCM", rangemode="tozero"),
            plots.axis("share of pairs", rangemode="tozero", tickformat=".0%"),
            [plots.reference_line(_SEVERE, upright=True)] if severe else [],
        ),
        legend=tuple(legend),
    )
