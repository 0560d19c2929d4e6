"""Which temperature for which length: Figures 8 and 14 of the paper on length collapse.

Each text has its score at every temperature, so that a temperature for each length needs no other pass. Full size: up
to 1,000 texts to classify, or 300 queries and 1,200 documents, five temperatures; `--quick`: up to 120, or 64 queries
with at most three relevant documents each, two temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.evaluation.by_length import quarters
from cenote.evaluation.cells import SIGNIFICANT
from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.functional.sampling import Floats, Whole
from cenote.records import Estimate
from experiments.lab import BOLD, Cell, Claim, Experiment, Measured, above, cell_panels, heat_map, main, reach_of
from experiments.length.grid import SEED, columns_of, decide, difference_of_groups, flip, read_grid, trend

SOURCE = "arXiv 2410.24200, Figures 8 and 14"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score of each quarter by length at each temperature, and what a temperature for each quarter gains."""
    grid = read_grid(model, data, quick)
    first = grid.items[0]
    by = list(first.lengths)[-1]  # of a search that of the documents
    parts = {
        name: [first.columns["item"][row] for row in rows.tolist()] for of, name, rows in quarters(first) if of == by
    }
    paired = {name: grid.paired(names) for name, names in parts.items()}
    family = compare_paired(list(paired.values()), seed=SEED).tasks
    rows = []
    for (name, one), changes in zip(parts.items(), family, strict=True):
        scores = [float(some.only(set(one)).numbers("value").mean()) for some in grid.items]
        for tau, score, change in zip(grid.taus, scores, [None, *changes], strict=True):
            row = {"by": by, "length": name, "items": len(one), "τ": tau, "score": score}
            rows.append(row | columns_of(change))
    shortest, *_, longest = parts.values()
    findings = [decide(above, "long", difference_of_groups(trend(grid, longest), trend(grid, shortest)))]
    chosen = choose_by_length(list(paired.values()))
    findings.append(decide(above, "schedule", chosen.elsewhere))
    series = {
        "lengths": [name.partition(", ")[2].removesuffix(" tokens") for name in parts],
        "taus": grid.taus,
        "changes": [[0.0, *(100 * one.value for one in changes)] for changes in family],
        "significant": [[False, *(one.p < SIGNIFICANT for one in changes)] for changes in family],
    }
    rows += [
        {"by": by, "length": name, "change": one.value, "low": one.low, "high": one.high}
        for name, one in (
            ("a temperature for each, on the texts that chose", chosen.same),
            ("the same of noise", chosen.noise),
            ("a temperature for each, on other texts", chosen.elsewhere),
        )
    ]
    return Measured(rows, findings, series)


@dataclass(frozen=True)
class Chosen:
    """Gains of a temperature for each part over one for all, where both are the best of a grid."""

    same: Estimate  # on the items that chose; no interval
    noise: Estimate  # the same where nothing but the signs of items differs, with 95 % of the flips
    elsewhere: Difference  # chosen on one half of the items and tried on the other, both ways


def choose_by_length(parts: Sequence[Paired]) -> Chosen:
    """Choose a temperature for each part and one for all, and return how much better the former are.

    Args:
        parts: differences of the other temperatures from the first, which counts as a choice too.
    """
    values = [_with_first(one.values) for one in parts]  # [C, N] of each part
    shares = np.array([one.shape[1] for one in values], np.float64)
    shares /= shares.sum()
    found = compare_paired(_choose_elsewhere(parts, values, shares), weights=shares.tolist(), seed=SEED)
    elsewhere = (found.together or found.tasks[0])[0]
    flipped = [flip(one, SEED + place) for place, one in enumerate(parts)]
    noise = _advantage(np.array([_with_first(one.T) for one in flipped]), shares)  # [F]
    low, high = np.quantile(noise, [0.025, 0.975])
    return Chosen(
        Estimate(float(_advantage(np.array([one.mean(1) for one in values]), shares)), None, None),
        Estimate(float(noise.mean()), float(low), float(high)),
        elsewhere,
    )


def _with_first(values: Floats) -> Floats:
    """Return differences with those of the first temperature, which are 0, before them."""
    found: Floats = np.vstack([np.zeros((1, values.shape[1])), values])
    return found


def _advantage(means: Floats, shares: Floats) -> Any:
    """Return how much better the best of each part is than the best for all, from the means `[P, C, ...]`."""
    return np.tensordot(shares, means.max(1), 1) - np.tensordot(shares, means, 1).max(0)


def _choose_elsewhere(parts: Sequence[Paired], values: Sequence[Floats], shares: Floats) -> list[Paired]:
    """Return the gains of each part's temperature over that for all, both chosen on the other half of the items."""
    folds = [_halves(one) for one in parts]
    gains = [np.zeros((1, one.shape[1])) for one in values]
    draws = [None if one.draws is None else np.zeros((1, one.draws.shape[1])) for one in parts]
    for half in (0, 1):
        means = np.array([one[:, fold != half].mean(1) for one, fold in zip(values, folds, strict=True)])
        every, best = int((shares @ means).argmax()), means.argmax(1).tolist()
        for place, (part, one, fold) in enumerate(zip(parts, values, folds, strict=True)):
            gains[place][0, fold == half] = (one[best[place]] - one[every])[fold == half]
            if part.draws is not None:
                left = _with_first(part.draws)
                draws[place] += (left[best[place]] - left[every]) * (fold == half).mean()
    return [Paired(gain, part.sources, left) for gain, part, left in zip(gains, parts, draws, strict=True)]


def _halves(part: Paired) -> Whole:
    """Return the half of each item; items of one source are in the same half."""
    count = part.values.shape[1]
    sources = np.arange(count) if part.sources is None else np.unique(part.sources, return_inverse=True)[1]
    order: Whole = np.random.default_rng(SEED).permutation(int(sources.max()) + 1) % 2
    return order[sources]


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a heat map for each model and data set: the change of the score by length and temperature."""
    reach = reach_of(cells)
    for cell, ax in cell_panels(figure, cells):
        series = cell.measured.series
        names = [f"{tau:g}" for tau in series["taus"]]
        heat_map(ax, series["changes"], series["lengths"], names, series["significant"], reach=reach)
        ax.set_xlabel("temperature")
        ax.set_ylabel("tokens of texts, by quarters")
    figure.supxlabel(BOLD, fontsize=9)


EXPERIMENT = Experiment(
    name="length-tau",
    title="Attention temperature by length: change of the score in points of 100",
    claims={
        "long": Claim(
            SOURCE,
            "Long texts are better at lower temperatures than short ones",
            "Change of the score for each 0.1 that the temperature is lower: longest quarter minus shortest quarter",
        ),
        "schedule": Claim(
            SOURCE,
            "A temperature for each length is better than one for all",
            "Gain of the best for each quarter over the best for all, chosen on one half of the texts and tried on the "
            "other, both ways",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    kind="retrieval",
    notes=(
        "Scores are accuracy of texts, or nDCG@10 of queries by the length of their relevant documents. Lengths are of "
        "whole texts, of which the model may read less. p is of one test for all quarters and temperatures; bold cells "
        "of the figure have p below .05. The interval of the noise holds 95 % of the flips.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
