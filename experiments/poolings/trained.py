"""CLS, mean and landmark pooling, trained from the same model and tried on searches with judgments.

The experiment on landmarks (`experiments.landmark.run`) begins with models whose last layers are drawn anew; here each
model is trained as it is given, whatever its pooling was, and has an advantage with that. Full size: 200 steps of 24
pairs, three seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.functional.paired import compare_paired
from experiments.claims import MARGIN
from experiments.data_sets import retrieval_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, looks, main
from experiments.landmark.material import SOURCES
from experiments.length.grid import SEED, columns_of, decide, estimate
from experiments.poolings.intervals import DRAWN, USUAL
from experiments.poolings.intervals import TRAINED as DISTANCES
from experiments.poolings.trainings import FULL, LENGTH, SEEDS, Reading, paired_of, read_all

SOURCE = "arXiv 2601.21525, abstract"
LANDMARK = "landmark"
TRAINED = {
    "cls": {"pooling": "cls"},
    "mean": {"pooling": "mean"},
    LANDMARK: {"pooling": "landmark", "intervals": DISTANCES[DRAWN], "eval_interval": USUAL},
}
# Words of a document on average, above which texts are longer than those of training, and than what is read.
LONG = 1000


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score with each pooling, and how landmarks differ from the others."""
    documents = retrieval_of(data, quick).texts
    words = float(np.mean([len(text.split()) for text in documents]))
    return summarise(read_all(model, data, TRAINED, [{}], quick=quick), words)


def summarise(found: dict[str, Reading], words: float) -> Measured:
    """Return a row for each pooling, and the findings on texts of so many words on average."""
    landmark = found[LANDMARK]
    others = {name: landmark.values[:, 0] - one.values[:, 0] for name, one in found.items() if name != LANDMARK}
    paired = {name: paired_of(one[:, None], landmark.sources) for name, one in others.items()}
    changes = dict(zip(paired, compare_paired(list(paired.values()), seed=SEED).tasks, strict=True))
    rows = []
    for name, one in found.items():
        seeds = one.values[:, 0].mean(1)
        row = {"pooling": name, "words": words, "score": float(seeds.mean())}
        row |= {"lowest seed": float(seeds.min()), "highest seed": float(seeds.max())}
        change = (
            {f"landmark minus: {key}": value for key, value in columns_of(changes[name][0]).items()}
            if name in changes
            else {}
        )
        rows.append(row | change)
    findings: list[Finding] = []
    for name, one in paired.items():
        if words > LONG:
            findings.append(decide(above, f"long, {name}", estimate(one)))
        else:
            findings.append(above(f"short, {name}", estimate(one), than=-MARGIN))
            if name == "mean":
                findings.append(decide(above, "dilutes", estimate(one)))
    return Measured(rows, findings)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw the score of each pooling on each data set, with the range of seeds: a colour for each pooling."""
    models, data = (list(dict.fromkeys(getattr(cell, part) for cell in cells)) for part in ("model", "data"))
    figure.set_size_inches(max(5.5, 4.2 * len(models)), 3.8)
    axes = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    styles = looks(TRAINED)
    for cell in cells:
        ax = axes[models.index(cell.model)]
        for at, row in enumerate(cell.measured.rows):
            x = data.index(cell.data) + 0.18 * (at - 1)
            ends = [[row["score"] - row["lowest seed"]], [row["highest seed"] - row["score"]]]
            label = row["pooling"] if cell.data == data[0] else None
            ax.errorbar([x], [row["score"]], ends, ls="", ms=5, capsize=3, label=label, **styles[row["pooling"]])
    for name, ax in zip(models, axes, strict=True):
        ax.set_title(f"trained from {name}", fontsize=10)
        ax.set_xticks(range(len(data)), [Path(one).name for one in data])
        ax.set_ylim(0)
    axes[0].set_ylabel("nDCG@10")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)


_SHORT = "nDCG@10, landmark minus {}, on searches for texts of fewer than 1,000 words on average"
_LONG = "nDCG@10, landmark minus {}, on searches for longer texts, of which 512 tokens are read"

EXPERIMENT = Experiment(
    name="pooling-trained",
    title="CLS, mean and landmark pooling, trained from the same model",
    claims={
        "short, cls": Claim(
            SOURCE,
            "Landmark pooling matches CLS pooling in searches for short texts",
            f"{_SHORT.format('CLS')}; alike if no more than {MARGIN} is lost",
        ),
        "short, mean": Claim(
            SOURCE,
            "Landmark pooling matches mean pooling in searches for short texts",
            f"{_SHORT.format('mean')}; alike if no more than {MARGIN} is lost",
        ),
        "dilutes": Claim(
            SOURCE,
            "The mean dilutes local signals: in searches for short texts it does worse than landmark pooling",
            _SHORT.format("mean"),
        ),
        "long, cls": Claim(
            SOURCE,
            "Landmark pooling does better than CLS in searches for texts longer than those of training",
            _LONG.format("CLS"),
        ),
        "long, mean": Claim(
            SOURCE,
            "Landmark pooling does better than the mean in searches for texts longer than those of training",
            _LONG.format("mean"),
        ),
    },
    measure=measure,
    draw=draw,
    data=("npl_vaswani", "cranfield", "cisi", "qmsum_answers"),
    kind="retrieval",
    trained_on=SOURCES,
    notes=(
        f"Texts are cut at {FULL['max_length']} tokens in training, and at {LENGTH} in reading. The models had been "
        "trained with the mean, which is at an advantage.",
        f"At full size the intervals include the variation between {SEEDS} trainings. Queries with the same relevant "
        "documents are resampled together.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
