"""What is drawn beside each other: every model at every temperature, and how each looks wherever it appears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cenote.phrases import told_apart
from cenote.report.writing import listed
from cenote.results import Diagnosis, LayerSummary, LengthCurve, ModelDiagnosis, Run, Spread

# Colours are names that the page's style sheet gives a value, one for light and one for dark: see page.css.
COLOURS = ("@s1", "@s2", "@s3", "@s4", "@s5", "@s6")
# No two lists here have the same length, so a seventh model has the first one's colour, not its symbol.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
# Kept for what is not a run of a model: controls and bounds.
CONTROL_DASH = "dot"


@dataclass(frozen=True)
class Measure:
    """How a measure of a layer is called: in a table's head, at an axis, and in a sentence."""

    short: str
    axis: str
    meaning: str


# In the order of the tables; the keys are those of `LayerSummary.measures`.
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
        "how much of the tokens' differences a head of attention can pass on; below 1 it contracts",
    ),
    "residual_ratio": Measure(
        "r",
        "r, residual ratio",
        "the spread of what the block is given, over the squared mean after its attention is added",
    ),
    "block_ratio": Measure("C", "C, block ratio", "how much the rest of the block multiplies the relative spread"),
    "filter_rate": Measure(
        "layer rate",
        "log rate of the layer",
        "the log of what the whole layer leaves of the tokens' differences; below 0 they drew together",
    ),
    "filter_bound": Measure(
        "paper's bound",
        "log bound",
        "what the length-collapse paper plots beside the layer's rate, from σₐ and the values' weights",
    ),
    "attention_rate": Measure(
        "attention rate", "log rate of attention", "the same for what attention alone gives, without the residual"
    ),
    "attention_bound": Measure("attention bound", "log bound", "what the attention rate cannot exceed"),
    "sigma_a": Measure("σₐ", "σₐ", "the largest share of the tokens' differences that a head's attention can keep"),
    "sigma_a_bound": Measure(
        "σₐ by Theorem 3",
        "σₐ by Theorem 3",
        "an estimate of σₐ from a text's length and the variance of its attention logits",
    ),
    "logit_variance": Measure("logit variance", "variance of logits", "the variance of the attention logits, s²"),
}


@dataclass(frozen=True)
class Look:
    """How something looks, and what it is called, wherever it is drawn."""

    key: str
    label: str
    colour: str
    symbol: str
    dash: str


@dataclass(frozen=True)
class Series:
    """One model at one temperature."""

    look: Look
    name: str  # the model's, told from others of the same name
    model: ModelDiagnosis
    run: Run
    first: bool  # the model as it is

    @property
    def label(self) -> str:
        """What it is called."""
        return self.look.label


def looks_of(diagnosis: Diagnosis) -> tuple[Look, ...]:
    """How each model looks where its runs do not matter."""
    return tuple(
        Look(
            f"m{place}",
            name,
            COLOURS[place % len(COLOURS)],
            SYMBOLS[place % len(SYMBOLS)],
            DASHES[place % len(DASHES)],
        )
        for place, name in enumerate(names(diagnosis.models))
    )


def series_of(diagnosis: Diagnosis) -> tuple[Series, ...]:
    """Every run of every model. A colour and a symbol stand for a model, a dash for a run; one model alone has a
    colour for each of its runs.
    """
    found: list[Series] = []
    alone = len(diagnosis.models) == 1
    for place, (model, name) in enumerate(zip(diagnosis.models, names(diagnosis.models), strict=True)):
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


def names(models: tuple[ModelDiagnosis, ...]) -> tuple[str, ...]:
    """The models' names, numbered where one name stands for several."""
    return told_apart([model.name for model in models])


def curves(series: tuple[Series, ...]) -> tuple[tuple[Look, LengthCurve], ...]:
    """Every curve over length: those of the runs, and after a model's own its control, which is of the words alone."""
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


def measured(layers: tuple[LayerSummary, ...], name: str) -> tuple[tuple[int, Spread], ...]:
    """The layers that have the measure, and what it is there."""
    found = ((layer.index, layer.measures.get(name)) for layer in layers)
    return tuple((index, value) for index, value in found if isinstance(value, Spread))


def reasons(series: tuple[Series, ...], measures: tuple[str, ...]) -> tuple[str, ...]:
    """Why measures are missing, each reason once for all that share it."""
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
        f"{who(some, series)}: no {MEASURES[name].short}{where}, because {reason.rstrip('.')}."
        for (name, where, reason), some in shared.items()
    )


def who(some: Sequence[Series], every: Sequence[Series]) -> str:
    """Runs in short: a model's name stands for all runs of it."""
    found: list[str] = []
    for one in some:
        runs = [other for other in every if other.model is one.model]
        whole = all(any(other is run for other in some) for run in runs)
        found.append(one.name if whole else one.label)
    return listed(dict.fromkeys(found))


def _ranges(places: list[int]) -> str:
    """Numbers in short, 0, 1, 2 and 5 as `0–2, 5`."""
    groups: list[list[int]] = []
    for place in places:
        if groups and place == groups[-1][-1] + 1:
            groups[-1].append(place)
        else:
            groups.append([place])
    return ", ".join(f"{group[0]}–{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)
