"""The figures over length and over layers: what is drawn, and the sentence that says how to read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cenote.phrases import counted
from cenote.report.plots import (
    Figure,
    Trace,
    axis,
    band,
    entry,
    layout,
    line,
    logarithmic,
    marker_line,
    middle,
    steps,
    words,
)
from cenote.report.series import CONTROL_DASH, MEASURES, Look, Series, curves, looks_of, measured, reasons
from cenote.report.writing import bin_label, estimate, in_label, number, spread
from cenote.results import Diagnosis, Histogram, LengthBin, Lengths

# A histogram whose last bin is this much wider than its first was made for a logarithmic axis.
_GEOMETRIC = 3
# Layers up to which each has its number at the axis.
_FEW_LAYERS = 16


def lengths(diagnosis: Diagnosis) -> Figure:
    """How long the texts are, and where each model cuts."""
    data: list[Trace] = []
    shapes, labels, legend = [], [], []
    drawn = [
        (look, model.lengths)
        for look, model in zip(looks_of(diagnosis), diagnosis.models, strict=True)
        if model.lengths.histogram.counts
    ]
    log = any(_is_geometric(found.histogram) for _, found in drawn)
    for place, (look, found) in enumerate(drawn):
        edges, counts = found.histogram.edges, found.histogram.counts
        text = [
            f"<b>{in_label(look.label)}</b><br>{number(low)} to {number(high)} tokens<br>{counted(count, 'text')}"
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
        data.append(steps(look, edges, counts, text))
        legend.append(entry(look, points=False))
        if found.limit is not None:
            shapes.append(marker_line(found.limit, upright=True, colour=look.colour))
            at = math.log10(found.limit) if log else found.limit
            # One cut below the other, so that two models that cut at the same place can both be read.
            labels.append(
                words(
                    f"cut at {found.limit:,}",
                    at,
                    1 - 0.08 * place,
                    yref="paper",
                    xanchor="left",
                    yanchor="top",
                    xshift=5,
                )
            )
    return Figure(
        "lengths",
        "How long the texts are",
        "Each outline counts texts by their number of tokens; what stands right of a model's dashed line is cut off, "
        "and the model never sees it.",
        tuple(data),
        layout(
            axis("tokens of the text", **_token_axis(drawn, log)),
            axis("texts", rangemode="tozero"),
            shapes,
            labels,
        ),
        tuple(legend),
    )


def _token_axis(drawn: Sequence[tuple[Look, Lengths]], log: bool) -> dict[str, Any]:
    if not log:
        return {"rangemode": "tozero"}
    edges = [edge for _, found in drawn for edge in found.histogram.edges if edge > 0]
    return logarithmic(min(edges), max(edges))


def _is_geometric(found: Histogram) -> bool:
    edges = found.edges
    return edges[0] > 0 and edges[-1] - edges[-2] > _GEOMETRIC * (edges[1] - edges[0])


def closeness(series: tuple[Series, ...]) -> Figure:
    """Mean cosine by length, of the models and of their words alone."""
    data, legend, places = [], [], []
    for look, curve in curves(series):
        bins = [found for found in curve.bins if found.cosine is not None]
        if not bins:
            continue
        x = _middles(bins)
        places += x
        cosines = [found.cosine for found in bins if found.cosine is not None]
        labels = [
            f"<b>{in_label(look.label)}</b><br>{bin_label(found.low, found.high)} tokens, "
            f"{counted(found.count, 'text')}<br>cosine {estimate(found.cosine)}"
            for found in bins
        ]
        error = {
            "type": "data",
            "array": [0 if one.high is None else one.high - one.value for one in cosines],
            "arrayminus": [0 if one.low is None else one.value - one.low for one in cosines],
            "color": look.colour,
            "thickness": 1.5,
            "width": 4,
        }
        data.append(line(look, x, [one.value for one in cosines], labels, error_y=error))
        legend.append(entry(look))
    return Figure(
        "closeness",
        "How close texts of like length lie",
        "A line that rises to the right says that longer texts lie closer together, which is length collapse; bars are "
        "95 % intervals, and dotted lines are the control: plain averages of the model's word embeddings.",
        tuple(data),
        layout(axis("tokens of the text", places), axis("mean cosine of two texts")),
        tuple(legend),
    )


def _middles(bins: Sequence[LengthBin]) -> list[float]:
    widths = [found.high - found.low for found in bins if found.high is not None]
    return [middle(found.low, found.high, widths[-1] if widths else 0) for found in bins]


def by_layer(
    series: tuple[Series, ...], key: str, title: str, reading: str, measure: str, bound: str | None = None
) -> Figure:
    """A measure of every layer, with a band for its spread over texts, and what bounds it as a dotted line."""
    data, legend, everything = [], [], []
    for one in series:
        if not (found := measured(one.run.layers, measure)):
            continue
        x, values = [index for index, _ in found], [value for _, value in found]
        everything += [part for value in values for part in (value.low, value.mean, value.high)]
        labels = [
            f"<b>{in_label(one.label)}</b><br>layer {index}, {counted(value.count, 'value')}"
            f"<br>{MEASURES[measure].short} {spread(value)}"
            for index, value in found
        ]
        # The bands of other temperatures would lie over their model's own and hide it.
        data += [band(one.look, x, values)] if one.first else []
        data.append(line(one.look, x, [value.mean for value in values], labels))
        legend.append(entry(one.look))
        limits = measured(one.run.layers, bound) if bound else ()
        if bound and limits:
            data.append(_bound(one, bound, limits))
            everything += [value.mean for _, value in limits]
    return Figure(
        key,
        title,
        reading,
        tuple(data),
        layout(_layers_axis(series), axis(MEASURES[measure].axis, everything), _threshold(measure, everything)),
        tuple(legend),
        reasons(series, (measure, bound) if bound else (measure,)),
    )


def _bound(one: Series, bound: str, limits: Any) -> Trace:
    labels = [
        f"<b>{in_label(one.label)}</b><br>layer {index}<br>{MEASURES[bound].short} {spread(value)}"
        for index, value in limits
    ]
    return _dotted(one, [index for index, _ in limits], [value.mean for _, value in limits], labels)


def _dotted(one: Series, x: Sequence[float], y: Sequence[float], labels: Sequence[str]) -> Trace:
    """What a run is held against, in the colour of the run."""
    look = {"color": one.look.colour, "dash": CONTROL_DASH, "width": 1.5}
    return line(one.look, x, y, labels, mode="lines", line=look)


def _layers_axis(series: tuple[Series, ...]) -> dict[str, Any]:
    deepest = max((len(one.run.layers) for one in series), default=0)
    every: dict[str, Any] = {"dtick": 1} if deepest <= _FEW_LAYERS else {}
    return axis("layer, the first is 0", **every)


def _threshold(measure: str, everything: Sequence[float]) -> list[Trace]:
    """Below 1 lambda contracts; at log rate 0 nothing changes. A line there, where it would lie among the values."""
    at = {"contraction": 1.0, "filter_rate": 0.0, "attention_rate": 0.0}.get(measure)
    if at is None or not everything or not min(everything) <= at <= max(everything):
        return []
    return [marker_line(at, upright=False)]


def passed(series: tuple[Series, ...]) -> Figure:
    """sigma_a of the last layer by length, and what Theorem 3 expects of it."""
    data, legend, places = [], [], []
    for one in series:
        if not (bins := one.run.passed):
            continue
        widths = [found.high - found.low for found in bins if found.high is not None]
        x = [middle(found.low, found.high, widths[-1] if widths else 0) for found in bins]
        labels = [
            f"<b>{in_label(one.label)}</b><br>{bin_label(found.low, found.high)} tokens, {counted(found.count, 'text')}"
            f"<br>σₐ {number(found.sigma_a)}"
            for found in bins
        ]
        data.append(line(one.look, x, [found.sigma_a for found in bins], labels))
        legend.append(entry(one.look))
        places += x
        expected = {place: found.theorem3 for place, found in zip(x, bins, strict=True) if found.theorem3 is not None}
        if expected:
            labels = [
                f"<b>{in_label(one.label)}</b><br>{bin_label(found.low, found.high)} tokens"
                f"<br>σₐ by Theorem 3 {number(found.theorem3)}"
                for found in bins
                if found.theorem3 is not None
            ]
            data.append(_dotted(one, list(expected), list(expected.values()), labels))
    return Figure(
        "passed",
        "What the last layer's attention lets through, by length",
        "σₐ is the largest share of the differences between tokens that attention can keep: a line that falls to the "
        "right says that more is averaged away in longer texts. Dotted: what Theorem 3 expects of the texts' lengths "
        "and the variance of each head's logits; it is an estimate and no bound.",
        tuple(data),
        layout(axis("tokens of the text", places), axis("σₐ, mean over heads", rangemode="tozero")),
        tuple(legend),
        reasons(series, ("sigma_a", "logit_variance", "sigma_a_bound")),
    )


def repeated(series: tuple[Series, ...]) -> Figure:
    """The cosine of two words, each repeated, by how often."""
    data, legend = [], []
    places: list[int] = []
    pairs = sorted({one.run.repeated.words for one in series if one.run.repeated is not None})
    for one in series:
        if (found := one.run.repeated) is None or not found.tokens:
            continue
        labels = [
            f"<b>{in_label(one.label)}</b><br>{in_label(' and '.join(found.words))}<br>{tokens:,} tokens, "
            f"cosine {number(cosine)}"
            for tokens, cosine in zip(found.tokens, found.cosines, strict=True)
        ]
        data.append(line(one.look, found.tokens, found.cosines, labels))
        legend.append(entry(one.look))
        places += found.tokens
    said = " or ".join(f"“{first} {first} …” against “{second} {second} …”" for first, second in pairs)
    return Figure(
        "repeated",
        "One word repeated against another",
        f"The texts are {said}: nothing but their length changes, so a cosine that rises to the right is the model's "
        "own doing and not that of what the texts say.",
        tuple(data),
        layout(axis("tokens of each text", places), axis("cosine of the two")),
        tuple(legend),
    )
