"""How far apart landmarks stand: models that are trained with drawn distances and with one are read at several.

Each model is trained from the one that is given: with a landmark every 32 tokens, and with a distance that is drawn for
each text. The same trained model then reads the data at each distance. Full size: 200 steps of 24 pairs, three seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.functional.paired import compare_paired
from cenote.functional.sampling import Floats, Whole
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, legend, looks, main
from experiments.landmark.material import SOURCES
from experiments.length.grid import SEED, columns_of, decide, estimate
from experiments.poolings.trainings import FULL, SEEDS, Reading, pair_over_seeds, read_all

SOURCE = "arXiv 2601.21525, results"
# Tokens between landmarks in training, by the name of the training; one of several is drawn for each text.
DRAWN, FIXED, USUAL = "drawn from 16, 32, 64", "32", 32
DISTANCES = {DRAWN: (16, 32, 64), FIXED: (32,)}
# Tokens between landmarks in reading, and tokens that are read of a text.
READ, QUICK_READ, LENGTH = (16, 32, 64, 128), (32, 64), 512


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score at each distance after each training, and how distances and trainings differ."""
    distances = QUICK_READ if quick else READ
    ways = {
        name: {"pooling": "landmark", "intervals": some, "eval_interval": USUAL} for name, some in DISTANCES.items()
    }
    readings = [({"interval": every}, LENGTH) for every in distances]
    return summarise(read_all(model, data, ways, readings, quick=quick), distances)


def summarise(found: dict[str, Reading], distances: Sequence[int]) -> Measured:
    """Return a row for each training and distance, and the findings."""
    rows: list[dict[str, Any]] = []
    usual = distances.index(USUAL)
    for name, reading in found.items():
        others = [place for place in range(len(distances)) if place != usual]
        paired = pair_over_seeds(reading.values[:, others] - reading.values[:, [usual]], reading.sources)
        changes = dict(zip(others, compare_paired([paired], seed=SEED).tasks[0], strict=True))
        for place, every in enumerate(distances):
            row = {"trained with": name, "read every": every, "score": float(reading.values[:, place].mean())}
            rows.append(row | columns_of(changes.get(place)))
    drawn, sources = found[DRAWN].values, found[DRAWN].sources
    findings = [
        difference("read", drawn[:, usual] - drawn[:, distances.index(2 * USUAL)], sources),
        difference("drawn", (drawn - found[FIXED].values)[:, usual], sources),
    ]
    return Measured(rows, findings)


def difference(claim: str, values: Floats, sources: Whole) -> Finding:
    """Return a finding on differences `[S, Q]`."""
    return decide(above, claim, estimate(pair_over_seeds(values[:, None], sources)))


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw the score by the distance in reading for each data set: a colour for each model, one distance dashed."""
    data = list(dict.fromkeys(cell.data for cell in cells))
    figure.set_size_inches(max(5.5, 3.4 * len(data)), 3.8)
    axes = figure.subplots(1, len(data), squeeze=False)[0]
    styles = looks(cell.model for cell in cells)
    for cell in cells:
        ax = axes[data.index(cell.data)]
        for name, line, said in ((DRAWN, "-", "drawn distances"), (FIXED, "--", "32 alone")):
            rows = [row for row in cell.measured.rows if row["trained with"] == name]
            x, y = ([row[column] for row in rows] for column in ("read every", "score"))
            ax.plot(x, y, line, ms=4, label=f"{cell.model}, trained with {said}", **styles[cell.model])
    for name, ax in zip(data, axes, strict=True):
        ax.set_title(Path(name).name, fontsize=10)
        ax.set_xscale("log", base=2)
        ax.set_xticks(READ, [str(every) for every in READ])
        ax.set_xlabel("tokens between landmarks, in reading")
        ax.set_ylim(0, 1.1 * ax.dataLim.ymax)
    axes[0].set_ylabel("nDCG@10")
    legend(figure)


EXPERIMENT = Experiment(
    name="pooling-intervals",
    title="Landmark pooling by the tokens between landmarks, in training and in reading",
    claims={
        "read": Claim(
            SOURCE,
            "A landmark every 32 tokens serves better than rarer ones (the best models of the paper are read so)",
            "nDCG@10 read with a landmark every 32 tokens minus with one every 64, trained with both and 16",
            note="The models that were trained had been trained with the mean, and these trainings are short",
        ),
        "drawn": Claim(
            SOURCE,
            "Training with distances that are drawn for each text serves better than with one (the best models of the "
            "paper draw from 32, 64, 128 and 256)",
            "nDCG@10 trained with distances drawn from 16, 32 and 64 minus trained with 32, both read with 32",
            note="Other distances are in the figure: a model that was trained with one has not seen them",
        ),
    },
    measure=measure,
    draw=draw,
    data=("cranfield", "cisi", "qmsum_answers"),
    kind="retrieval",
    trained_on=SOURCES,
    notes=(
        f"Texts are cut at {FULL['max_length']} tokens in training, and at {LENGTH} in reading. Queries with the same "
        "relevant documents are resampled together.",
        f"At full size the intervals of a change include the variation between {SEEDS} trainings.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
