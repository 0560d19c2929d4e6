"""The figures of pairs of texts: whose means coincide while the spreads of their tokens differ."""

from __future__ import annotations

from collections.abc import Sequence

from cenote.diagnosis.verdicts.thresholds import CUTOFFS
from cenote.records import Pairs
from cenote.report import plots
from cenote.report.formatting import format_share
from cenote.report.plots import Cloud, Curve, Entry, Figure, Mark, Rule
from cenote.report.series import Series

# Values of SOCM for lines of equal SOCM; a figure has the highest few that fit.
_LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
_LINES = 4
_STEPS = 60
_HIGH = CUTOFFS["severe pair"].value
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
    marks: list[Mark] = [_equals(level, right, top) for level in levels]
    legend = []
    for one, pairs in found:
        if pairs.shown or pairs.worst:
            marks += [Cloud(one.look, pairs.shown), Cloud(one.look, pairs.worst, rings=True)]
            # The clouds of one model would hide each other, so runs at other temperatures are hidden at first.
            legend.append(Entry(one.look, shown=one.first, line=False))
    return Figure(
        key=key,
        title="Second-order collapse, pair by pair",
        reading="Each point is a pair of texts; those at the upper left are similar after pooling although their "
        "tokens spread differently. Lines join pairs of equal SOCM, rings mark the ten worst of those that lie close "
        "together. Point at a pair, or touch it, to read both texts.",
        x=plots.tight_axis("d_mu, distance of the means", 0, right),
        y=plots.tight_axis("d_sigma, distance of the spreads", 0, top),
        marks=tuple(marks),
        legend=tuple(legend),
        decision="It changes no setting. If your users must tell the ringed pairs apart, test these as labelled "
        "queries.",
    )


def _equals(level: float, right: float, top: float) -> Curve:
    """Return the line of equal SOCM, d_sigma = SOCM / (1 - d_mu), within the axes."""
    steps = [right * step / _STEPS for step in range(_STEPS + 1)]
    x = tuple(at for at in steps if at < 1 and level / (1 - at) <= top)
    return Curve(x, tuple(level / (1 - at) for at in x), f"SOCM {level:g}")


def histogram(found: PairsBySeries, key: str) -> Figure:
    """Return the histogram of SOCM over all pairs, as shares, because models may differ in their number of pairs."""
    marks: list[Mark] = []
    legend, edges, shares = [], [0.0], []
    for one, pairs in found:
        if total := sum(pairs.histogram.counts):
            parts = [count / total for count in pairs.histogram.counts]
            words = [f"{format_share(part)} of pairs" for part in parts]
            marks.append(plots.steps(one.look, pairs.histogram, "SOCM {} to {}", parts, words))
            legend.append(Entry(one.look, points=False))
            edges += pairs.histogram.edges
            shares += parts
    if max(edges) > _HIGH:
        marks.append(Rule(_HIGH, upright=True, label=f"{_HIGH:g}"))
    return Figure(
        key=f"{key}-histogram",
        title="Second-order collapse over all pairs",
        reading="The further an outline reaches to the right, the more pairs of texts coincide after pooling although "
        "their tokens differ.",
        x=plots.tight_axis("SOCM", 0, max(edges) or 1),
        y=plots.round_axis("share of pairs", shares, from_zero=True, share=True),
        marks=tuple(marks),
        legend=tuple(legend),
        decision="It changes no setting: SOCM does not predict which searches fail. Compare it with the halves of "
        "texts in the table.",
    )
