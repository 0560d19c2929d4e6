"""The series of a report, one for each model and temperature, and their names, colours, symbols and dashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cenote.records import Diagnosis, LayerSummary, LengthCurve, ModelDiagnosis, Run, Spread
from cenote.report.formatting import join_names
from cenote.wording import number_duplicates

# Names of colours; page.css defines their values for light and dark.
COLOURS = ("@s1", "@s2", "@s3", "@s4", "@s5", "@s6")
# The lists differ in length, so that a seventh model has the first one's colour but not its symbol.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
# For controls and bounds only.
CONTROL_DASH = "dot"


@dataclass(frozen=True)
class Measure:
    """The names of a measure of layers: in a table's head, at an axis, and in the glossary."""

    short: str
    axis: str
    meaning: str


# In the order of the tables; keys as in `LayerSummary.measures`.
MEASURES = {
    "concentration": Measure(
        "spread / mean",
        "spread of tokens / squared mean",
        "how far a text's tokens lie from their mean, S(X) / |μ|²; low means concentrated",
    ),
    "token_cosine": Measure(
        "token cosine",
        "mean cosine of tokens",
        "the mean cosine of all pairs of a text's tokens; 1 means all point one way",
    ),
    "contraction": Measure(
        "λ",
        "λ, contraction",
        "how much of the differences between tokens an attention head can pass on; below 1 it contracts",
    ),
    "residual_ratio": Measure(
        "r",
        "r, residual ratio",
        "the spread of the block's input, over the squared mean after its attention is added",
    ),
    "block_ratio": Measure("C", "C, block ratio", "how much the rest of the block multiplies the relative spread"),
    "filter_rate": Measure(
        "layer rate",
        "log rate of the layer",
        "the log of the share of token differences that the whole layer keeps; below 0, tokens draw together",
    ),
    "filter_bound": Measure(
        "paper's bound",
        "log bound",
        "the bound that the length-collapse paper plots beside the layer rate, from σₐ and the value weights",
    ),
    "attention_rate": Measure(
        "attention rate", "log rate of attention", "the same for attention alone, without the residual"
    ),
    "attention_bound": Measure("attention bound", "log bound", "the highest possible attention rate"),
    "sigma_a": Measure("σₐ", "σₐ", "the largest share of token differences that an attention head can keep"),
    "sigma_a_bound": Measure(
        "σₐ by Theorem 3",
        "σₐ by Theorem 3",
        "an estimate of σₐ from a text's length and the variance of its attention logits",
    ),
    "logit_variance": Measure("logit variance", "variance of logits", "the variance of the attention logits, s²"),
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
    return tuple(
        Look(
            f"m{place}",
            name,
            COLOURS[place % len(COLOURS)],
            SYMBOLS[place % len(SYMBOLS)],
            DASHES[place % len(DASHES)],
        )
        for place, name in enumerate(model_names(diagnosis.models))
    )


def all_series(diagnosis: Diagnosis) -> tuple[Series, ...]:
    """Return a series for each run of each model.

    Models differ in colour and symbol, runs in dash; the runs of a single model differ in colour too.
    """
    found: list[Series] = []
    alone = len(diagnosis.models) == 1
    for place, (model, name) in enumerate(zip(diagnosis.models, model_names(diagnosis.models), strict=True)):
        for turn, run in enumerate(model.runs):
            look = turn if alone else place
            symbol = SYMBOLS[look % len(SYMBOLS)]
            found.append(
                Series(
                    Look(
                        key=f"m{place}r{turn}",
                        label=name if len(model.runs) == 1 else f"{name}, temperature {run.temperature}",
                        colour=COLOURS[look % len(COLOURS)],
                        symbol=symbol if turn == 0 else f"{symbol}-open",
                        dash=DASHES[len(found) % len(DASHES)],
                    ),
                    name=name,
                    model=model,
                    run=run,
                    first=turn == 0,
                )
            )
    return tuple(found)


def model_names(models: tuple[ModelDiagnosis, ...]) -> tuple[str, ...]:
    """Return the names of the models, numbered if several have the same."""
    return number_duplicates([model.name for model in models])


def length_curves(series: tuple[Series, ...]) -> tuple[tuple[Look, LengthCurve], ...]:
    """Return the curve over length of each series, and the control of each model after its first."""
    found: list[tuple[Look, LengthCurve]] = []
    for one in series:
        found.append((one.look, one.run.length))
        if one.first and one.model.words is not None:
            look = replace(
                one.look,
                key=f"{one.look.key}w",
                label=f"{one.name}, words alone",
                symbol=f"{one.look.symbol}-open-dot",
                dash=CONTROL_DASH,
            )
            found.append((look, one.model.words))
    return tuple(found)


def measured_layers(layers: tuple[LayerSummary, ...], name: str) -> tuple[tuple[int, Spread], ...]:
    """Return the index and value of each layer that has the measure."""
    found = ((layer.index, layer.measures.get(name)) for layer in layers)
    return tuple((index, value) for index, value in found if isinstance(value, Spread))


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
    found: list[str] = []
    for one in some:
        runs = [other for other in every if other.model is one.model]
        whole = all(any(other is run for other in some) for run in runs)
        found.append(one.name if whole else one.label)
    return join_names(dict.fromkeys(found))


def _ranges(places: list[int]) -> str:
    """Format sorted numbers as ranges: 0, 1, 2 and 5 as `0–2, 5`."""
    groups: list[list[int]] = []
    for place in places:
        if groups and place == groups[-1][-1] + 1:
            groups[-1].append(place)
        else:
            groups.append([place])
    return ", ".join(f"{group[0]}–{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)
