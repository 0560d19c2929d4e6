"""Cosines of two texts of n tokens: Corollary 4 of the paper on length collapse, and the steps of its proof.

The proof bounds the cosine of two texts from below by the varying parts of their tokens, relative to the constant part
(Eq. 25), and takes the constant parts of two texts for equal. But a mean-pooled vector is the constant part of the last
layer: were these equal, every cosine would be 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.layers import profile_tokens
from cenote.functional.intervals import mean_over_pairs
from cenote.functional.items import mean_of_items, rank_correlation_of_items
from cenote.functional.sampling import Floats
from experiments.lab import Cell, Claim, Experiment, Measured, above, below, legend, looks, main, panels
from experiments.length.reading import cut_texts, interval, pair_cosines, pair_sides, unit_vectors

# Texts that are cut. A quick run takes about 20 s of one core, a whole one 2 minutes.
TEXTS, QUICK_TEXTS = 200, 30
SOURCE = "arXiv 2410.24200, Corollary 4"


def cosine_bound(concentration: Floats) -> Floats:
    """Return Eq. 25 for all pairs of texts: 1 / sqrt((1 + c1) (1 + c2)), with c = |HC|² / |DC|² of a text's tokens.

    >>> cosine_bound(np.array([0.0, 3.0]))
    array([0.5])

    The paper has alpha² / (sqrt(alpha² + alpha1²) sqrt(alpha² + alpha2²)), where alpha is the constant part, the same
    for both texts, and alpha1 and alpha2 are their varying parts.
    """
    shares = 1 / np.sqrt(1 + concentration)
    first, second = pair_sides(len(shares))
    bound: Floats = shares[first] * shares[second]
    return bound


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the cosines of the same texts at each cut, the bound of the proof, and the varying part it rests on."""
    cuts = cut_texts(model, data, QUICK_TEXTS if quick else TEXTS)
    if not cuts:
        return Measured([], [])
    rows, cosines, bounds, varying, near = [], {}, {}, {}, {}
    for cut, tokens in cuts.items():
        vectors = unit_vectors(model, tokens)
        varying[cut] = profile_tokens(model, tokens, attention=False)[-1].concentration.numpy()
        cosines[cut], bounds[cut] = pair_cosines(vectors), cosine_bound(varying[cut])
        near[cut] = (vectors @ vectors.sum(0) - 1) / (len(vectors) - 1)
        mean = mean_over_pairs(cosines[cut], *pair_sides(len(vectors)))
        row = {"tokens": cut, "texts": len(vectors), "cosine": mean.value, **interval(mean)}
        below_bound = {"Eq. 25": bounds[cut].mean(), "pairs below it": (cosines[cut] < bounds[cut]).mean()}
        below_bound["HC/DC"] = np.sqrt(varying[cut]).mean()
        rows.append(row | {name: float(value) for name, value in below_bound.items()})
    short, long = min(cuts), max(cuts)
    sides = pair_sides(rows[0]["texts"])
    findings = [
        above("rises", mean_over_pairs(cosines[long] - cosines[short], *sides)),
        below("varying", mean_of_items(np.log(varying[long] / varying[short]) / 2)),
        above("bound", mean_over_pairs(cosines[long] - bounds[long], *sides)),
        below("decides", rank_correlation_of_items(varying[long], near[long])),
    ]
    return Measured(rows, findings)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: cosines by cut as solid lines, the bound of the proof dashed."""
    styles = looks(cell.model for cell in cells)
    for name, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == name):
            for column, line in (("cosine", "-"), ("Eq. 25", "--")):
                x, y = ([row[one] for row in cell.measured.rows] for one in ("tokens", column))
                label = "mean cosine of pairs" if column == "cosine" else "lower bound of Eq. 25"
                ax.plot(x, y, line, ms=4, label=f"{cell.model}: {label}", **styles[cell.model])
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("tokens at which texts are cut")
        ax.set_ylabel("cosine")
    legend(figure)


EXPERIMENT = Experiment(
    name="length-corollary",
    title="Cosines of the same texts by length, and the bound of Corollary 4's proof",
    claims={
        "rises": Claim(
            SOURCE,
            "The cosine of two texts of n tokens rises with n",
            "Mean cosine at the longest cut minus that of the same texts at the shortest",
        ),
        "varying": Claim(
            "arXiv 2410.24200, proof of Corollary 4",
            "The varying part of the tokens falls with n, relative to the constant part",
            "Log of |HC|/|DC| after the last layer, longest cut minus shortest",
        ),
        "bound": Claim(
            "arXiv 2410.24200, Eq. 25",
            "The varying parts bound the cosine from below, on average",
            "Cosine minus bound, mean of pairs at the longest cut",
        ),
        "decides": Claim(
            "arXiv 2410.24200, proof of Corollary 4",
            "Of texts of one length, those with less of a varying part have higher cosines with others",
            "Rank correlation of |HC|/|DC| and mean cosine with the others, at the longest cut",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=("HC and DC are those of the last layer's tokens, before the pooling.",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
