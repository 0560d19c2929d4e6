"""The figures over length and over layers, each with a sentence on how to read it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cenote.records import Diagnosis, LengthBin, Passed
from cenote.report import plots
from cenote.report.formatting import format_bin, format_estimate, format_number, format_spread, plotly_label
from cenote.report.plots import Entry, Figure, Part
from cenote.report.series import MEASURES, Series, length_curves, measured_layers, missing_reasons, model_looks
from cenote.wording import pluralise

# A histogram whose last bin is this much wider than its first needs a logarithmic axis.
_GEOMETRIC = 3
# Number of layers up to which each has a tick.
_FEW_LAYERS = 16


def lengths(diagnosis: Diagnosis) -> Figure:
    """Return the histograms of the texts' lengths, with the limit of each model."""
    data, shapes, labels, legend = [], [], [], []
    drawn = [
        (look, model.lengths)
        for look, model in zip(model_looks(diagnosis), diagnosis.models, strict=True)
        if model.lengths.histogram.counts
    ]
    histograms = [found.histogram.edges for _, found in drawn]
    log = any(edges[0] > 0 and edges[-1] - edges[-2] > _GEOMETRIC * (edges[1] - edges[0]) for edges in histograms)
    for place, (look, found) in enumerate(drawn):
        counts = [pluralise(count, "text") for count in found.histogram.counts]
        data.append(plots.outline(look, found.histogram, "{} to {} tokens", counts))
        legend.append(Entry(look, points=False))
        if found.limit is not None:
            shapes.append(plots.reference_line(found.limit, upright=True, colour=look.colour))
            at = math.log10(found.limit) if log else found.limit
            # At different heights, so that the labels of two equal limits do not overlap.
            height, where = 1 - 0.08 * place, {"yref": "paper", "xanchor": "left", "yanchor": "top", "xshift": 5}
            labels.append(plots.annotation(f"limit {found.limit:,}", at, height, **where))
    positive = [edge for edges in histograms for edge in edges if edge > 0]
    x_axis = plots.logarithmic(min(positive), max(positive)) if log else {"rangemode": "tozero"}
    return Figure(
        key="lengths",
        title="How long the texts are",
        reading="Each outline counts texts by their number of tokens. The model never reads the tokens to the right of "
        "its dashed line.",
        data=tuple(data),
        layout=plots.layout(
            plots.axis("tokens of the text", **x_axis), plots.axis("texts", rangemode="tozero"), shapes, labels
        ),
        legend=tuple(legend),
    )


def closeness(series: tuple[Series, ...]) -> Figure:
    """Return the mean cosine by length of each run and control."""
    data, legend, places = [], [], []
    for look, curve in length_curves(series):
        found = [(one, one.cosine) for one in curve.bins if one.cosine is not None]
        if not found:
            continue
        x = _middles([one for one, _ in found])
        places += x
        labels = [f"{_describe_bin(one)}<br>cosine {format_estimate(cosine)}" for one, cosine in found]
        up = [0 if cosine.high is None else cosine.high - cosine.value for _, cosine in found]
        down = [0 if cosine.low is None else cosine.value - cosine.low for _, cosine in found]
        error = {"type": "data", "array": up, "arrayminus": down, "color": look.colour, "thickness": 1.5, "width": 4}
        data.append(plots.line(look, x, [cosine.value for _, cosine in found], labels, error_y=error))
        legend.append(Entry(look))
    return Figure(
        key="closeness",
        title="How close texts of similar length lie",
        reading="A line that rises to the right shows that longer texts lie closer together, which is length collapse. "
        "Bars are 95 % intervals; dotted lines are the control: plain averages of the model's word embeddings.",
        data=tuple(data),
        layout=plots.layout(plots.axis("tokens of the text", places), plots.axis("mean cosine of two texts")),
        legend=tuple(legend),
    )


def _middles(bins: Sequence[LengthBin] | Sequence[Passed]) -> list[float]:
    """Return where bins are drawn; an open one is drawn as wide as the last closed one."""
    width = next((one.high - one.low for one in bins[::-1] if one.high is not None), 0)
    return [one.low + (width if one.high is None else one.high - one.low) / 2 for one in bins]


def _describe_bin(found: LengthBin | Passed) -> str:
    return f"{format_bin(found.low, found.high)} tokens, {pluralise(found.count, 'text')}"


def by_layer(series: tuple[Series, ...], key: str, name: str) -> Figure:
    """Return a measure by layer: a line and a band for its spread over texts, and its bound as a dotted line."""
    measure = MEASURES[name]
    data: list[Part] = []
    legend, everything = [], []
    for one in series:
        if not (found := measured_layers(one.run.layers, name)):
            continue
        everything += [part for value in found.values() for part in (value.low, value.mean, value.high)]
        labels = [
            f"layer {index}, {pluralise(value.count, 'value')}<br>{measure.short} {format_spread(value)}"
            for index, value in found.items()
        ]
        # The bands of other temperatures would hide that of the unchanged model.
        data += [plots.band(one.look, list(found), list(found.values()))] if one.first else []
        data.append(plots.line(one.look, found, [value.mean for value in found.values()], labels))
        legend.append(Entry(one.look))
        if measure.bound and (limits := measured_layers(one.run.layers, measure.bound)):
            y = [value.mean for value in limits.values()]
            everything += y
            short = MEASURES[measure.bound].short
            labels = [f"layer {index}<br>{short} {format_spread(value)}" for index, value in limits.items()]
            data.append(plots.line(one.look, limits, y, labels, dotted=True))
    deepest = max((len(one.run.layers) for one in series), default=0)
    ticks: Part = {"dtick": 1} if deepest <= _FEW_LAYERS else {}
    shapes = []
    if measure.neutral is not None and everything and min(everything) <= measure.neutral <= max(everything):
        shapes.append(plots.reference_line(measure.neutral, upright=False))
    return Figure(
        key=key,
        title=measure.title,
        reading=measure.reading,
        data=tuple(data),
        layout=plots.layout(plots.axis("layer, the first is 0", **ticks), plots.axis(measure.axis, everything), shapes),
        legend=tuple(legend),
        notes=missing_reasons(series, (name, measure.bound) if measure.bound else (name,)),
    )


def passed(series: tuple[Series, ...]) -> Figure:
    """Return sigma_a of the last layer by length, and the estimate of Theorem 3."""
    data, legend, places = [], [], []
    for one in series:
        if not (bins := one.run.passed):
            continue
        x = _middles(bins)
        places += x
        labels = [f"{_describe_bin(found)}<br>σₐ {format_number(found.sigma_a)}" for found in bins]
        data.append(plots.line(one.look, x, [found.sigma_a for found in bins], labels))
        legend.append(Entry(one.look))
        if expected := [(place, found) for place, found in zip(x, bins, strict=True) if found.theorem3 is not None]:
            labels = [
                f"{format_bin(found.low, found.high)} tokens<br>σₐ by Theorem 3 {format_number(found.theorem3)}"
                for _, found in expected
            ]
            x, y = [place for place, _ in expected], [found.theorem3 for _, found in expected]
            data.append(plots.line(one.look, x, y, labels, dotted=True))
    return Figure(
        key="passed",
        title="What the last layer's attention lets through, by length",
        reading="σₐ is the largest share of the differences between tokens that attention can keep. A line that falls "
        "to the right shows that longer texts lose more. Dotted lines are the estimate of Theorem 3 from the texts' "
        "lengths and the variance of each head's logits; it is not a bound.",
        data=tuple(data),
        layout=plots.layout(
            plots.axis("tokens of the text", places), plots.axis("σₐ, mean over heads", rangemode="tozero")
        ),
        legend=tuple(legend),
        notes=missing_reasons(series, ("sigma_a", "logit_variance", "sigma_a_bound")),
    )


def repeated(series: tuple[Series, ...]) -> Figure:
    """Return the cosine of two repeated words by their number of tokens."""
    data, legend = [], []
    places: list[int] = []
    pairs = sorted({one.run.repeated.words for one in series if one.run.repeated is not None})
    for one in series:
        if (found := one.run.repeated) is None or not found.tokens:
            continue
        words = plotly_label(" and ".join(found.words))
        labels = [
            f"{words}<br>{tokens:,} tokens, cosine {format_number(cosine)}"
            for tokens, cosine in zip(found.tokens, found.cosines, strict=True)
        ]
        data.append(plots.line(one.look, found.tokens, found.cosines, labels))
        legend.append(Entry(one.look))
        places += found.tokens
    texts = " or ".join(f"“{first} {first} …” against “{second} {second} …”" for first, second in pairs)
    return Figure(
        key="repeated",
        title="Two different words, each repeated",
        reading=f"The texts are {texts}. Only their length changes, so a cosine that rises to the right comes from the "
        "model, not from the content of the texts.",
        data=tuple(data),
        layout=plots.layout(plots.axis("tokens of each text", places), plots.axis("cosine of the two")),
        legend=tuple(legend),
    )
