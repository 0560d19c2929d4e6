"""d_mu against d_sigma: do texts whose means lie close have token clouds of like shape?

SOCM is high where means coincide and shapes differ. Halves of texts stand in for texts here, so that two halves of one
text, which are two samples of the same shape, have as many tokens as the pairs of different texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import stats
from sentence_transformers import SentenceTransformer

from cenote.functional.concentration import concentration
from cenote.functional.intervals import mean_over_pairs
from cenote.functional.items import rank_correlation_of_items
from cenote.functional.retrieval import jackknife
from cenote.functional.second_order import SecondOrder, socm, split_halves
from cenote.records import Estimate
from experiments.data_sets import texts_of
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, above, below, legend, main
from experiments.second_order.clouds import by_length, read_clouds

TEXTS, QUICK_TEXTS, SEED = 120, 40, 0
# Points of a figure for each model and kind of pairs.
SHOWN = 400
SOURCE = "arXiv 2604.27398"
Values = npt.NDArray[np.float64]


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return how d_mu, d_sigma and the spread of tokens go together over pairs of halves."""
    texts = texts_of(data, QUICK_TEXTS if quick else TEXTS, SEED)
    clouds, _ = by_length(read_clouds(model, [text.text for text in texts]), texts)
    first, second = split_halves(clouds, SEED)
    pairs, same = socm(first, limit=math.inf), socm(first, second, limit=math.inf)
    count, sides = len(first), np.triu_indices(len(first), 1)
    spreads = np.array([concentration(one).item() for one in first])
    spread = (spreads[sides[0]] + spreads[sides[1]]) / 2
    few = 1 / np.array([len(one) for one in first])
    noise = few[sides[0]] + few[sides[1]]
    relations = {
        "d_mu and d_sigma": _over_pairs(pairs.d_mu, pairs.d_sigma, noise, sides, count),
        "d_mu and d_sigma of spread": _over_pairs(pairs.d_mu, pairs.normalised, noise, sides, count),
        "SOCM and spread": _over_pairs(pairs.socm, spread, noise, sides, count),
        "SOCM and spread, halves of one text": rank_correlation_of_items(same.socm, spreads),
    }
    rows = [_row(name, "correlation", one) for name, one in relations.items()]
    for name, kind in (("halves of two texts", pairs), ("halves of one text", same)):
        ends = sides if kind is pairs else (np.arange(count), np.arange(count, 2 * count))
        for term in ("d_mu", "d_sigma", "normalised"):
            shown = term.replace("normalised", "d_sigma of spread")
            rows.append(_row(f"{shown}, {name}", "mean", mean_over_pairs(getattr(kind, term), *ends)))
    near = np.arange(count - 1)
    most = float(max(pairs.normalised.max(), same.normalised.max()))
    adjacent = socm(first[:-1], second[1:], limit=math.inf)
    findings = [
        above("together", relations["d_mu and d_sigma of spread"]),
        above("spread", relations["SOCM and spread"]),
        above("shapes", mean_over_pairs(adjacent.normalised - same.normalised[:-1], near, near + 1)),
        below("bound", Estimate(most, most, most), than=1 + 1e-6),
    ]
    return Measured(rows, findings, {"two": _points(pairs), "one": _points(same)})


def _over_pairs(one: Values, other: Values, noise: Values, sides: tuple[Any, Any], count: int) -> Estimate:
    """Return the partial correlation over all pairs of texts, with an interval that takes each text away in turn."""
    kept = ((sides[0] != text) & (sides[1] != text) for text in range(count))
    replicates = [partial_correlation(one[some], other[some], noise[some]) for some in kept]
    return jackknife(partial_correlation(one, other, noise), np.array(replicates), share=False)


def partial_correlation(one: Values, other: Values, given: Values) -> float:
    """Return the correlation of the ranks of two values where a third one, which moves both, is held constant."""
    if not np.ptp(given):  # texts that are all cut have one length
        return float(stats.spearmanr(one, other).statistic)
    ranks = [stats.rankdata(values) for values in (one, other, given)]
    (_, both, first), (_, _, second), _ = np.corrcoef(ranks)
    return float((both - first * second) / np.sqrt((1 - first**2) * (1 - second**2)))


def _row(name: str, kind: str, one: Estimate) -> dict[str, Any]:
    return {"of": name, "figure": kind, "value": one.value, "low": one.low, "high": one.high}


def _points(found: SecondOrder[Any]) -> list[list[float]]:
    """Return some points (d_mu, d_sigma) at random."""
    drawn = np.random.default_rng(SEED).permutation(len(found.d_mu))[:SHOWN]
    points: list[list[float]] = np.stack([found.d_mu, found.d_sigma], 1)[drawn].round(4).tolist()
    return points


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each model and data set: pairs of two texts, pairs of one, and lines of equal SOCM."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    data = list(dict.fromkeys(cell.data for cell in cells))
    figure.set_size_inches(max(5.5, 3.2 * len(data)), 0.8 + 2.7 * len(models))
    grid = figure.subplots(len(models), len(data), squeeze=False, sharex=True, sharey=True)
    for cell in cells:
        ax = grid[models.index(cell.model), data.index(cell.data)]
        looks = (("two", "o", COLOURS[0], "halves of two texts"), ("one", "x", COLOURS[1], "halves of one text"))
        for name, mark, colour, label in looks:
            x, y = np.array(cell.measured.series[name]).T
            ax.plot(x, y, mark, color=colour, ms=3, alpha=0.5, label=label, mew=0.8)
        ax.set_title(f"{cell.model}, {cell.data}", fontsize=9)
    highest = max(point[1] for cell in cells for name in ("two", "one") for point in cell.measured.series[name])
    x = np.linspace(0, 0.9, 100)
    for ax in grid.flat:
        for level in (0.25, 0.5, 1.0):
            if level < highest:
                ax.plot(x, level / (1 - x), ":", color="#777777", lw=0.9)
                end = min(0.74, 1 - level / highest)
                place = (end, level / (1 - end))
                ax.annotate(f"SOCM {level:g}", place, fontsize=7, color="#555555", ha="right", va="bottom")
        ax.set_xlim(0, 0.75)
        ax.set_ylim(0, 1.1 * highest)
    for ax in grid[-1]:
        ax.set_xlabel("d_mu")
    for ax in grid[:, 0]:
        ax.set_ylabel("d_sigma")
    legend(figure)


EXPERIMENT = Experiment(
    name="socm-terms",
    title="Difference of means against difference of shapes",
    claims={
        "together": Claim(
            "d_mu and d_sigma",
            "The closer the means of two texts are, the closer are their shapes",
            "Rank correlation of d_mu and d_sigma, as a share of the spread of both texts, at equal numbers of tokens",
        ),
        "shapes": Claim(
            "d_sigma",
            "d_sigma is a difference between the shapes of two texts, and not only one of two samples of tokens",
            "d_sigma, as a share of the spread, of halves of two texts minus that of two halves of one text",
        ),
        "spread": Claim(
            f"{SOURCE}, abstract",
            "Robustness lies in the concentration of tokens within each text",
            "Rank correlation of SOCM and the mean spread of tokens over pairs of halves, at equal numbers of tokens",
            "Random tokens give it too, since d_sigma is at most a quarter of the spread of both texts",
        ),
        "bound": Claim(
            f"{SOURCE}, theorem",
            "Where the spread of the tokens of every text is below eps, SOCM is O(eps)",
            "Largest d_sigma as a share of a quarter of the spread of both texts",
            "It is at most 1 by algebra",
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "imdb", "20news_full"),
    notes=(
        "Means and shapes of few tokens are noisy, which makes both terms larger: correlations over pairs hold the sum "
        "of 1/n of both texts constant.",
        "d_sigma is at most a quarter of the spread of both texts, so that SOCM and spread go together in halves "
        "of one text as well: the row shows by how much.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
