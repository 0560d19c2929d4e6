"""The figures over length and over layers, each with a sentence on how to read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cenote.records import Diagnosis, Estimate, LengthBin, Passed
from cenote.report import plots
from cenote.report.formatting import format_bin, format_estimate, format_number, format_spread
from cenote.report.plots import Entry, Figure, Line, Mark, Rule
from cenote.report.series import (
    MEASURES,
    Look,
    Measure,
    Series,
    length_curves,
    measured_layers,
    missing_reasons,
    model_looks,
    repeated_means,
)
from cenote.wording import pluralise

# A histogram whose last bin is this much wider than its first needs a logarithmic axis.
_GEOMETRIC = 3
# A limit that is longer than the longest text by this factor is not drawn.
_NEAR = 1.5
# A bound that lies farther from the data than so many times their range is not drawn.
_FAR = 1.0
_TOKENS = "tokens of the text"
_ONE_BIN = "{}: all texts fall into one bin of length, so there is no line; the table has its figures."


def cut_lengths(series: tuple[Series, ...]) -> Figure:
    """Return the mean cosine of the same texts, cut at several lengths."""
    marks: list[Mark] = []
    legend, places, values = [], [], []
    for one in series:
        if (found := one.run.cut_lengths) is None:
            continue
        x = [cut.tokens for cut in found.cuts]
        labels = [f"{pluralise(found.texts, 'text')} cut at {cut.tokens:,} tokens" for cut in found.cuts]
        drawn, reached = _estimates(one.look, x, [cut.cosine for cut in found.cuts], labels)
        marks.append(drawn)
        legend.append(Entry(one.look))
        places += x
        values += reached
    return Figure(
        key="cut-lengths",
        title="The same texts, cut at several lengths",
        reading="The texts of a line are the same. A line that rises to the right shows that reading more of them "
        "draws them together. Bars are 95 % intervals.",
        x=plots.spread_axis("tokens read of each text", places),
        y=plots.round_axis("mean cosine of two texts", values),
        marks=tuple(marks),
        legend=tuple(legend),
    )


def lengths(diagnosis: Diagnosis) -> Figure:
    """Return the histograms of the texts' lengths, with the limit of each model."""
    looks = zip(model_looks(diagnosis), diagnosis.models, strict=True)
    drawn = [(look, model.lengths) for look, model in looks if model.lengths.histogram.counts]
    histograms = [found.histogram for _, found in drawn]
    marks: list[Mark] = []
    for look, found in drawn:
        counts = [pluralise(count, "text") for count in found.histogram.counts]
        marks.append(plots.steps(look, found.histogram, "{} to {} tokens", found.histogram.counts, counts))
    edges = [edge for one in histograms for edge in one.edges]
    limits = {found.limit: look for look, found in reversed(drawn) if found.limit is not None}
    near = {limit: look for limit, look in limits.items() if limit <= _NEAR * max(edges)}
    marks += [Rule(limit, True, f"limit {limit:,}", look) for limit, look in near.items()]
    growing = any(
        one.edges[0] > 0 and one.edges[-1] - one.edges[-2] > _GEOMETRIC * (one.edges[1] - one.edges[0])
        for one in histograms
    )
    positive = [edge for edge in edges if edge > 0] + list(near)
    return Figure(
        key="lengths",
        title="How long the texts are",
        reading="Each outline counts texts by their number of tokens. The model never reads the tokens to the right of "
        "its dashed line.",
        x=plots.log_axis(_TOKENS, min(positive), max(positive))
        if growing
        else plots.tight_axis(_TOKENS, 0, 1.04 * max([*positive, 1])),
        y=plots.round_axis("texts", [count for one in histograms for count in one.counts], from_zero=True),
        marks=tuple(marks),
        legend=tuple(Entry(look, points=False) for look, _ in drawn),
        notes=tuple(
            f"{look.label}: the limit of {limit:,} tokens lies to the right of this figure, far above these texts."
            for limit, look in limits.items()
            if limit not in near
        ),
    )


def closeness(series: tuple[Series, ...]) -> Figure:
    """Return the mean cosine by length of each run and control."""
    marks: list[Mark] = []
    legend, places, values = [], [], []
    notes = []
    for look, curve in length_curves(series):
        found = [(one, one.cosine) for one in curve.bins if one.cosine is not None]
        if len(found) < 2:
            notes += [_ONE_BIN.format(look.label)] if found else []
            continue
        x = _middles([one for one, _ in found])
        drawn, reached = _estimates(look, x, [cosine for _, cosine in found], [_describe_bin(one) for one, _ in found])
        marks.append(drawn)
        legend.append(Entry(look))
        places += x
        values += reached
    return Figure(
        key="closeness",
        title="Texts that are short or long by nature",
        reading="These differ in content too, so a rise may come from either. Dotted lines are the control: plain "
        "averages of the model's word embeddings. Bars are 95 % intervals.",
        x=plots.spread_axis(_TOKENS, places),
        y=plots.round_axis("mean cosine of two texts", values),
        marks=tuple(marks),
        legend=tuple(legend),
        notes=tuple(notes),
    )


def _estimates(
    look: Look, x: Sequence[float], found: Sequence[Estimate], labels: Iterable[str]
) -> tuple[Line, list[float]]:
    """Return a line of cosines with their intervals, and all values that it reaches."""
    texts = [f"{label}\ncosine {format_estimate(one)}" for label, one in zip(labels, found, strict=True)]
    ends = [None if one.low is None or one.high is None else (one.low, one.high) for one in found]
    values = [one.value for one in found]
    reached = values + [end for one in ends if one is not None for end in one]
    return replace(plots.line(look, x, values, texts), ends=tuple(ends)), reached


def _middles(bins: Sequence[LengthBin] | Sequence[Passed]) -> list[float]:
    """Return where bins are drawn; an open one is drawn as wide as the last closed one."""
    width = next((one.high - one.low for one in bins[::-1] if one.high is not None), 0)
    return [one.low + (width if one.high is None else one.high - one.low) / 2 for one in bins]


def _describe_bin(found: LengthBin | Passed) -> str:
    return f"{format_bin(found.low, found.high)} tokens, {pluralise(found.count, 'text')}"


def by_layer(series: tuple[Series, ...], key: str, name: str) -> Figure:
    """Return a measure by layer: a line and a band for its spread over texts, and its bound as a dotted line."""
    measure = MEASURES[name]
    marks: list[Mark] = []
    legend, values = [], []
    for one in series:
        if not (found := measured_layers(one.run.layers, name)):
            continue
        values += [part for value in found.values() for part in (value.low, value.mean, value.high)]
        labels = [
            f"layer {index}, {pluralise(value.count, 'value')}\n{measure.short} {format_spread(value)}"
            for index, value in found.items()
        ]
        # The bands of other temperatures would hide that of the unchanged model.
        marks += [plots.band(one.look, found, list(found.values()))] if one.first else []
        marks.append(plots.line(one.look, found, [value.mean for value in found.values()], labels))
        legend.append(Entry(one.look))
    bounds, notes = _bounds(series, measure, values) if values else ([], [])
    values += [value for bound in bounds for value in bound.y]
    marks += bounds
    if measure.neutral is not None and values and min(values) <= measure.neutral <= max(values):
        marks.append(Rule(measure.neutral, upright=False))
    missing = missing_reasons(series, (name, measure.bound) if measure.bound else (name,))
    return Figure(
        key=key,
        title=measure.title,
        reading=measure.reading,
        x=plots.layer_axis(max((len(one.run.layers) for one in series), default=0)),
        y=plots.round_axis(measure.axis, values),
        marks=tuple(marks),
        legend=tuple(legend),
        notes=(*notes, *missing),
        decision=measure.decision,
    )


def _bounds(series: tuple[Series, ...], measure: Measure, values: Sequence[float]) -> tuple[list[Line], list[str]]:
    """Return the bounds as lines. One that lies far from all values is a note: the values would be a flat line."""
    drawn, far = [], []
    reach = _FAR * (max(values) - min(values))
    for one in series:
        if measure.bound is None or not (limits := measured_layers(one.run.layers, measure.bound)):
            continue
        short, y = MEASURES[measure.bound].short, [value.mean for value in limits.values()]
        if max(y) > max(values) + reach or min(y) < min(values) - reach:
            far.append(f"{one.label}, {format_number(min(y))} to {format_number(max(y))}")
            continue
        labels = [f"layer {index}\n{short} {format_spread(value)}" for index, value in limits.items()]
        drawn.append(plots.line(one.look, limits, y, labels, dotted=True))
    if not far or measure.bound is None:
        return drawn, []
    return drawn, [
        f"The {MEASURES[measure.bound].short} lies outside this figure, far from these texts: {'; '.join(far)}."
    ]


def passed(series: tuple[Series, ...]) -> Figure:
    """Return sigma_a of the last layer by length, and the estimate of Theorem 3."""
    marks: list[Mark] = []
    legend, places, values, notes = [], [], [], []
    for one in series:
        bins = one.run.passed
        if len(bins) < 2:
            notes += [_ONE_BIN.format(one.label)] if bins else []
            continue
        x = _middles(bins)
        places += x
        labels = [f"{_describe_bin(found)}\nσₐ {format_number(found.sigma_a)}" for found in bins]
        marks.append(plots.line(one.look, x, [found.sigma_a for found in bins], labels))
        legend.append(Entry(one.look))
        values += [found.sigma_a for found in bins]
        expected = [(place, found) for place, found in zip(x, bins, strict=True) if found.theorem3 is not None]
        labels = [
            f"{format_bin(found.low, found.high)} tokens\nσₐ by Theorem 3 {format_number(found.theorem3)}"
            for _, found in expected
        ]
        y = [found.theorem3 for _, found in expected if found.theorem3 is not None]
        if expected:
            marks.append(plots.line(one.look, [place for place, _ in expected], y, labels, dotted=True))
        values += y
    if values and max(values) > 1:
        marks.append(Rule(1, upright=False, label="keeps all differences"))
    return Figure(
        key="passed",
        title="What the last layer's attention lets through, by length",
        reading="σₐ is the largest factor by which attention can scale the differences between tokens, as a mean over "
        "heads; above 1 it can widen them. The paper expects it to fall with length. Dotted lines are its estimate "
        "by Theorem 3, which is no bound: most heads exceed it.",
        x=plots.spread_axis(_TOKENS, places),
        y=plots.round_axis("σₐ, mean over heads", values, from_zero=True),
        marks=tuple(marks),
        legend=tuple(legend),
        notes=(*notes, *missing_reasons(series, ("sigma_a", "logit_variance", "sigma_a_bound"))),
        decision="Where σₐ does not fall with length, attention gives no reason to shorten texts or to set a "
        "temperature.",
    )


def repeated(series: tuple[Series, ...]) -> Figure:
    """Return the mean cosine of pairs of repeated words by their number of tokens."""
    marks: list[Mark] = []
    legend = []
    values: list[float] = []
    places: list[int] = []
    for one in series:
        found = repeated_means(one.run)
        if len(found) < 2:
            continue
        labels = [
            f"{pluralise(count, 'pair')} of words\n{tokens:,} tokens, mean cosine {format_number(cosine)}"
            for tokens, (cosine, count) in found.items()
        ]
        cosines = [cosine for cosine, _ in found.values()]
        marks.append(plots.line(one.look, list(found), cosines, labels))
        legend.append(Entry(one.look))
        places += found
        values += cosines
    return Figure(
        key="repeated",
        title="Pairs of different words, each repeated",
        reading="The texts are “dog dog …” against “cat cat …”, and other pairs. Only their length changes, so a "
        "cosine that rises to the right comes from the model, not from the content of the texts.",
        x=plots.spread_axis("tokens of each text", places),
        y=plots.round_axis("cosine of the two", values),
        marks=tuple(marks),
        legend=tuple(legend),
        decision="It changes no setting: it shows repeated words and not your texts.",
    )
