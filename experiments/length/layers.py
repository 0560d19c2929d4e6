"""The varying part of the tokens by layer, and its bound: Figures 2 and 10 of the paper on length collapse.

Theorem 2 bounds the output of one attention head. The paper plots its bound, with the largest head in place of all,
beside the rate of whole layers, which have residuals, norms and feed-forwards. Here the rate of attention's output and
a bound that holds for it stand beside both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.layers import profile_tokens
from cenote.functional.intervals import FEWEST_WITH_INTERVAL
from cenote.functional.items import mean_of_items, rank_correlation_of_items
from cenote.functional.sampling import Floats
from cenote.surgery.profiles import LayerProfile
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, below, cell_panels, legend, looks, main
from experiments.length.reading import cut_texts, known

# Texts that are cut. A quick run takes about 20 s of one core, a whole one 4 minutes.
TEXTS, QUICK_TEXTS = 120, 12
CURVES = {
    "filter_rate": "whole layer",
    "filter_bound": "the paper's bound",
    "attention_rate": "output of attention",
    "attention_bound": "bound of that output",
}
SOURCE = "arXiv 2410.24200, Figures 2 and 10"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the log rates of each layer and their bounds, and how the rate of attention changes with length."""
    cuts = cut_texts(model, data, QUICK_TEXTS if quick else TEXTS)
    if not cuts:
        return Measured([], [])
    long = by_layer(profile_tokens(model, cuts[max(cuts)]))
    short = by_layer(profile_tokens(model, cuts[min(cuts)], attention=False))
    rows: list[dict[str, Any]] = []
    for layer in range(long["filter_rate"].shape[1]):
        row = {"layer": layer + 1, "tokens": max(cuts), "texts": len(long["filter_rate"])}
        rows.append(row | {CURVES[name]: float(values[:, layer].mean()) for name, values in long.items()})
    return Measured(rows, list(findings(long, short)))


def by_layer(profiles: Sequence[LayerProfile]) -> dict[str, Floats]:
    """Return each measure of `CURVES` by text and layer, `[N, L]`; without those that a layer does not have."""
    found = {name: [known(getattr(one, name)) for one in profiles] for name in CURVES}
    return {name: np.stack(values, 1) for name, values in found.items() if all(one is not None for one in values)}


def findings(long: dict[str, Floats], short: dict[str, Floats]) -> list[Finding]:
    """Return the findings that the measures of a model allow."""
    rate, found = long["filter_rate"], []
    if "filter_bound" in long:
        bound = long["filter_bound"]
        found.append(above("bound", mean_of_items((bound - rate).min(1))))
        found.append(below("condition", mean_of_items(bound.min(1))))
        if rate.shape[1] > 2:  # over layers, as the statement is: more texts do not make more of them
            found.append(above("trend", rank_correlation_of_items(rate.mean(0), bound.mean(0))))
    if "attention_bound" in long:
        found.append(above("theorem", mean_of_items((long["attention_bound"] - long["attention_rate"]).min(1))))
    if "attention_rate" in long:
        change = long["attention_rate"] - short["attention_rate"]
        found.append(below("length", mean_of_items(change.mean(1))))
    return found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each model and data set: rates as solid lines, their bounds dashed."""
    styles = looks(CURVES.values())
    for cell, ax in cell_panels(figure, cells):
        for name, label in CURVES.items():
            points = [(row["layer"], row[label]) for row in cell.measured.rows if label in row]
            if points:
                line = "--" if "bound" in name else "-"
                ax.plot(*zip(*points, strict=True), line, ms=4, label=label, **styles[label])
        ax.axhline(0, color="#999999", lw=0.8, zorder=0)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("layer")
        ax.set_ylabel("log of the ratio of |HC|")
    legend(figure)


EXPERIMENT = Experiment(
    name="length-layers",
    title="The varying part after a layer, relative to before, and its bounds",
    claims={
        "bound": Claim(
            SOURCE,
            "The bound lies above the rate of whole layers",
            "Bound minus rate, natural logarithms, at the layer where it is least",
            "It lies so far above (3 is a factor of 20) that hardly anything could contradict it",
        ),
        "trend": Claim(
            SOURCE,
            "The bound follows the trend of the rate from layer to layer",
            "Rank correlation of rate and bound, means of texts, over layers",
            note=f"The interval is for other layers: fewer than {FEWEST_WITH_INTERVAL} have none, and decide nothing",
        ),
        "theorem": Claim(
            "arXiv 2410.24200, Theorem 2",
            "Attention multiplies the varying part at most by sigma_a and the norm of its projections",
            "Bound, with the output projection, minus rate of attention, at the layer where it is least",
            "A theorem: random matrices keep it too",
        ),
        "condition": Claim(
            "arXiv 2410.24200, Theorem 2",
            "sigma_a times the norm of the projection is below 1, so that the varying part converges to zero",
            "Logarithm of the paper's bound, with its largest head for all, at the layer where it is least",
        ),
        "length": Claim(
            "arXiv 2410.24200, Section 2.2",
            "Attention keeps less of the varying part of a longer text",
            "Rate of attention at the longest cut minus that of the same texts at the shortest, mean of layers",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=(
        "Rates and bounds are natural logarithms, means over texts: 3 more is 20 times as much.",
        f"A few layers correlate easily: a model of fewer than {FEWEST_WITH_INTERVAL} decides nothing on the trend.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
