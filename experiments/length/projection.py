"""Distances to the origin of a projection, by length: Figure 1b of the paper on length collapse.

The paper shortens texts by a language model and shows t-SNE, whose origin has no meaning. Here the same texts are cut
at several lengths, and projected on the two principal components of all vectors: the origin is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer
from sklearn.decomposition import PCA

from cenote.diagnosis.controls import word_vectors
from cenote.functional.items import mean_of_items
from cenote.functional.sampling import Floats
from cenote.functional.units import to_unit
from experiments.lab import Cell, Claim, Experiment, Measured, below, cell_panels, looks, main
from experiments.length.reading import cut_texts, interval, unit_vectors

# Texts that are cut. A quick run takes about 20 s of one core, a whole one 2 minutes.
TEXTS, QUICK_TEXTS = 200, 40
# Texts in the figure: more would hide each other.
SHOWN = 60
SOURCE = "arXiv 2410.24200, Figure 1b"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the distances of the same texts at each cut to the projection's origin, and to their own mean."""
    cuts = cut_texts(model, data, QUICK_TEXTS if quick else TEXTS)
    if not cuts:
        return Measured([], [])
    vectors = {cut: unit_vectors(model, tokens) for cut, tokens in cuts.items()}
    words = {cut: to_unit(word_vectors(model, tokens)[0].numpy()) for cut, tokens in cuts.items()}
    projection = PCA(2, svd_solver="full")
    flat = projection.fit_transform(np.concatenate(list(vectors.values())))
    points = dict(zip(vectors, np.split(flat, len(vectors)), strict=True))
    origin = {cut: np.linalg.norm(one, axis=1) for cut, one in points.items()}
    spread = {cut: distances_to_mean(one) for cut, one in vectors.items()}
    rows = []
    for cut, distances in origin.items():
        mean = mean_of_items(distances)
        row = {"tokens": cut, "texts": len(distances), "to the origin": mean.value, **interval(mean)}
        apart = {"to their mean": spread[cut].mean(), "word averages": distances_to_mean(words[cut]).mean()}
        rows.append(row | {name: float(value) for name, value in apart.items()})
    short, long = min(cuts), max(cuts)
    changes = {"origin": origin[long] - origin[short], "spread": spread[long] - spread[short]}
    findings = [below(name, mean_of_items(change)) for name, change in changes.items()]
    shown = {str(cut): one[:SHOWN].round(4).tolist() for cut, one in points.items()}
    return Measured(rows, findings, {"points": shown, "explained": float(projection.explained_variance_ratio_.sum())})


def distances_to_mean(vectors: Floats) -> Floats:
    """Return the distance of each vector to the mean of all."""
    distances: Floats = np.linalg.norm(vectors - vectors.mean(0), axis=1)
    return distances


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each model and data set: a colour and a marker for each cut."""
    for cell, ax in cell_panels(figure, cells):
        points = cell.measured.series.get("points", {})
        distances = {str(row["tokens"]): row["to the origin"] for row in cell.measured.rows}
        for cut, look in looks(points).items():
            x, y = zip(*points[cut], strict=True)
            ax.scatter(x, y, 14, c=look["color"], marker=look["marker"], lw=0, alpha=0.7)
            ax.scatter([], [], 24, c=look["color"], marker=look["marker"], label=f"L = {cut}, D = {distances[cut]:.2f}")
        ax.plot(0, 0, "k+", ms=10, mew=1.5)
        ax.set_aspect("equal", "datalim")
        ax.set_xlabel("first principal component")
        ax.set_ylabel("second principal component")
        if points:
            ax.legend(fontsize=8, loc="best", handletextpad=0.2, frameon=True, framealpha=0.85, edgecolor="none")
            ax.set_title(f"{ax.get_title()}\n{100 * cell.measured.series['explained']:.0f} % of variance", fontsize=9)


EXPERIMENT = Experiment(
    name="length-projection",
    title="The same texts cut at L tokens; D is the mean distance to the origin",
    claims={
        "origin": Claim(
            SOURCE,
            "Vectors of longer texts lie nearer to the origin of a 2-D projection",
            "Mean distance to the origin of principal components at the longest cut minus that of the same texts at "
            "the shortest; the paper projects summaries by t-SNE",
        ),
        "spread": Claim(
            SOURCE,
            "Longer texts fill a narrower space: nearer to their own mean, in all dimensions",
            "Mean distance to the mean of the cut, longest cut minus shortest",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=(
        "`to their mean` is the distance in all dimensions, without a projection; `word averages` is that of plain "
        "averages of the word embeddings, which draw together because the mean of more words varies less.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
