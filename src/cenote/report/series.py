"""The series of a report, one for each model and temperature, and their names, colours, symbols and dashes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cenote.records import Diagnosis, LayerSummary, LengthCurve, ModelDiagnosis, Run, Spread, Verdict
from cenote.report.formatting import join_names
from cenote.wording import number_duplicates

# Classes of page.css, which defines a colour for each, in light and dark.
COLOURS = ("s1", "s2", "s3", "s4", "s5", "s6")
# The lists differ in length, so that a seventh model has the first one's colour but not its symbol.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
# For controls and bounds only.
CONTROL_DASH = "dot"
# A folder in the cache of the hub, whose last part is only a hash.
_SNAPSHOT = re.compile(r".*models--.+--([^/\\]+)[/\\]snapshots[/\\][^/\\]+")


@dataclass(frozen=True)
class Measure:
    """A measure of layers: its name, its meaning, and the words of its figure if it has one."""

    short: str
    meaning: str
    title: str = ""
    reading: str = ""
    decision: str = ""  # what the figure would change in a decision
    axis: str = ""
    bound: str | None = None  # the measure of the dotted line
    neutral: float | None = None  # a value that is marked with a line


# In the order of the glossary; keys as in `LayerSummary.measures`.
MEASURES = {
    "concentration": Measure(
        short="spread / mean",
        meaning="how far a text's tokens lie from their mean, S(X) / |μ|²; low means concentrated",
        title="Spread of tokens, layer by layer",
        reading="A line that falls shows that the tokens of a text draw together from layer to layer. In all figures "
        "by layer, bands reach from the 10 % to the 90 % quantile.",
        decision="If the line ends near 0, all poolings give nearly the same vector, and another one has little to "
        "gain.",
        axis="spread of tokens / squared mean",
    ),
    "token_cosine": Measure(
        short="token cosine",
        meaning="the mean cosine of all pairs of a text's tokens; 1 means all point one way",
        title="Cosine of tokens, layer by layer",
        reading="The closer to 1, the more similar are the tokens of a text, and the less their mean hides.",
        decision="If the line ends near 1, another pooling has little to gain; the price of this one is the share that "
        "is lost to pooling.",
        axis="mean cosine of tokens",
    ),
    "contraction": Measure(
        short="λ",
        meaning="how much of the differences between tokens an attention head can pass on; below 1 it contracts",
        title="λ: does attention contract?",
        reading="Below 1, attention contracts the differences between the tokens of a text; above 1, it may widen "
        "them.",
        decision="It names the layers in which an attention temperature acts most; whether one helps a search is "
        "measured in the first chapter.",
        axis="λ, contraction",
        neutral=1.0,
    ),
    "residual_ratio": Measure(
        short="r",
        meaning="the spread of the block's input, over the squared mean after its attention is added",
        title="r: what the residual preserves",
        reading="The lower it is, the smaller is the spread of the block's input relative to the mean after attention.",
        decision="It changes no setting; it is for those who train the model.",
        axis="r, residual ratio",
    ),
    "block_ratio": Measure(
        short="C",
        meaning="how much the rest of the block multiplies the relative spread",
        title="C: what the rest of the block does",
        reading="Above 1, the norm and the feed-forward layer spread the tokens again; below 1, they draw them "
        "together.",
        decision="It changes no setting; it is for those who train the model.",
        axis="C, block ratio",
        neutral=1.0,
    ),
    "filter_rate": Measure(
        short="layer rate",
        meaning="the log of the factor by which the whole layer scales the differences between tokens; below 0, tokens "
        "draw together",
        title="The whole layer, and the paper's bound",
        reading="Below 0, tokens draw together in this layer; above 0, they spread. The paper's bound, a dotted line, "
        "considers attention alone and its worst case, so a layer may lie far below it.",
        decision="Where the line stays near 0, attention filters little, and an attention temperature has little to "
        "mend.",
        axis="log rate of the layer",
        bound="filter_bound",
        neutral=0.0,
    ),
    "filter_bound": Measure(
        "paper's bound",
        "the bound that the length-collapse paper plots beside the layer rate, from σₐ and the value weights",
    ),
    "attention_rate": Measure(
        short="attention rate",
        meaning="the same for attention alone, without the residual",
        title="Attention alone, and its bound",
        reading="Below 0, attention alone draws tokens together. The bound, a dotted line of the same colour, is for "
        "the worst possible tokens, so texts may lie far below it; none lies above its own.",
        decision="It changes no setting by itself: the residual carries past attention what attention filters out.",
        axis="log rate of attention",
        bound="attention_bound",
        neutral=0.0,
    ),
    "attention_bound": Measure("attention bound", "the highest possible attention rate"),
    "sigma_a": Measure(
        "σₐ",
        "the largest factor by which an attention head can scale the differences between tokens, before its value "
        "weights; above 1 it can widen them",
    ),
    "sigma_a_bound": Measure(
        "σₐ by Theorem 3",
        "an estimate of σₐ from a text's length and the variance of its attention logits; most heads exceed it",
    ),
    "logit_variance": Measure("logit variance", "the variance of the attention logits, s²"),
}


@dataclass(frozen=True)
class Look:
    """The label, colour, symbol and dash of a series, the same in all figures."""

    key: str
    label: str
    colour: str
    symbol: str
    dash: str


@dataclass(frozen=True)
class Series:
    """One model at one temperature."""

    look: Look
    name: str  # of the model, numbered if several have the same
    model: ModelDiagnosis
    run: Run
    first: bool  # whether it is the unchanged model

    @property
    def label(self) -> str:
        """The label of the series."""
        return self.look.label


def model_looks(diagnosis: Diagnosis) -> tuple[Look, ...]:
    """Return the look of each model, for figures without runs."""
    names = model_names(diagnosis.models)
    return tuple(_make_look(f"m{place}", name, place, dash=place) for place, name in enumerate(names))


def _make_look(key: str, label: str, place: int, *, dash: int) -> Look:
    colour, symbol = COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)]
    return Look(key=key, label=label, colour=colour, symbol=symbol, dash=DASHES[dash % len(DASHES)])


def all_series(diagnosis: Diagnosis) -> tuple[Series, ...]:
    """Return a series for each run of each model.

    Models differ in colour and symbol, runs in dash; the runs of a single model differ in colour too.
    """
    found: list[Series] = []
    alone = len(diagnosis.models) == 1
    for place, (model, name) in enumerate(zip(diagnosis.models, model_names(diagnosis.models), strict=True)):
        for turn, run in enumerate(model.runs):
            label = name if len(model.runs) == 1 else f"{name}, temperature {run.temperature}"
            look = _make_look(f"m{place}r{turn}", label, turn if alone else place, dash=len(found))
            if turn:
                look = replace(look, symbol=f"{look.symbol}-open")
            found.append(Series(look=look, name=name, model=model, run=run, first=turn == 0))
    return tuple(found)


def model_names(models: Sequence[ModelDiagnosis]) -> tuple[str, ...]:
    """Return the names of the models as a report shows them: short and different."""
    return shorten_names([model.name for model in models])


def shorten_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the last part of each name, with the parts before it where names share it; equal names get numbers.

    >>> shorten_names(["/models/l3", "BAAI/bge-m3"]), shorten_names(["runs/1/best", "runs/2/best", "minilm"])
    (('l3', 'bge-m3'), ('1/best', '2/best', 'minilm'))
    >>> shorten_names(["/hub/models--BAAI--bge-m3/snapshots/5617a9f/"])
    ('bge-m3',)
    """
    plain = [_SNAPSHOT.sub(r"\1", name.rstrip("/\\")) or name for name in names]
    parts = [[part for part in re.split(r"[/\\]", name) if part] or [name] for name in plain]
    depths = [1] * len(names)
    ends = [part[-1] for part in parts]
    while shared := [
        place
        for place, end in enumerate(ends)
        if depths[place] < len(parts[place])
        and any(end == other and parts[place] != parts[at] for at, other in enumerate(ends))
    ]:
        for place in shared:
            depths[place] += 1
            ends[place] = "/".join(parts[place][-depths[place] :])
    return number_duplicates(ends)


def shown_verdicts(diagnosis: Diagnosis) -> tuple[Verdict, ...]:
    """Return the verdicts with the names of models that the report shows."""
    names = dict(zip([model.name for model in diagnosis.models], model_names(diagnosis.models), strict=True))
    return tuple(replace(verdict, model=names.get(verdict.model, verdict.model)) for verdict in diagnosis.verdicts)


def length_curves(series: tuple[Series, ...]) -> tuple[tuple[Look, LengthCurve], ...]:
    """Return the curve over length of each series, and the control of each model after its first."""
    found: list[tuple[Look, LengthCurve]] = []
    for one in series:
        found.append((one.look, one.run.length))
        if one.first and one.model.words is not None:
            look = replace(one.look, key=f"{one.look.key}w", label=f"{one.name}, words alone", dash=CONTROL_DASH)
            found.append((replace(look, symbol=f"{look.symbol}-open-dot"), one.model.words))
    return tuple(found)


def measured_layers(layers: tuple[LayerSummary, ...], name: str) -> dict[int, Spread]:
    """Return the value of each layer that has the measure, by the layer's index."""
    found = ((layer.index, layer.measures.get(name)) for layer in layers)
    return {index: value for index, value in found if isinstance(value, Spread)}


def missing_reasons(series: tuple[Series, ...], measures: tuple[str, ...]) -> tuple[str, ...]:
    """Return the reasons for missing measures, each once for all series that share it."""
    shared: dict[tuple[str, str, str], list[Series]] = {}
    for name in measures:
        for one in series:
            missing: dict[str, list[int]] = {}
            for layer in one.run.layers:
                reason = layer.measures.get(name, "it was not measured")
                if isinstance(reason, str):
                    missing.setdefault(reason, []).append(layer.index)
            for reason, places in missing.items():
                where = "" if len(places) == len(one.run.layers) else f" in layer {_ranges(places)}"
                shared.setdefault((name, where, reason), []).append(one)
    return tuple(
        f"{join_labels(some, series)}: no {MEASURES[name].short}{where}, because {reason.rstrip('.')}."
        for (name, where, reason), some in shared.items()
    )


def join_labels(some: Sequence[Series], every: Sequence[Series]) -> str:
    """Join the labels of series; the name of a model replaces the labels of all its runs."""
    names = (
        one.name if all(other in some for other in every if other.model is one.model) else one.label for one in some
    )
    return join_names(dict.fromkeys(names))


def _ranges(places: list[int]) -> str:
    """Format sorted numbers as ranges: 0, 1, 2 and 5 as `0–2, 5`."""
    starts = [place for place in places if place - 1 not in places]
    ends = [place for place in places if place + 1 not in places]
    return ", ".join(f"{start}–{end}" if end > start else str(start) for start, end in zip(starts, ends, strict=True))


def repeated_means(run: Run) -> dict[int, tuple[float, int]]:
    """Return the mean cosine of the pairs of repeated words, and their number, by tokens."""
    found: dict[int, list[float]] = {}
    for pair in run.repeated:
        for tokens, cosine in zip(pair.tokens, pair.cosines, strict=True):
            found.setdefault(tokens, []).append(cosine)
    most = max(map(len, found.values()), default=0)
    # Words of several tokens have lengths of their own, with too few pairs to compare with the others.
    kept = {tokens: values for tokens, values in sorted(found.items()) if 2 * len(values) >= most}
    return {tokens: (sum(values) / len(values), len(values)) for tokens, values in kept.items()}
