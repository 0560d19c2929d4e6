"""CLS, mean and landmark pooling, trained from the same model and tried on searches with judgments.

The experiment on landmarks (`experiments.landmark.run`) begins with models whose last layers are drawn anew. Here none
is: a model has an advantage with the pooling that it was trained with before. Full size: 200 steps of 24
pairs, three seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.encoding.tokens import count_tokens
from cenote.functional.paired import Difference, compare_paired
from experiments.claims import MARGIN, alike
from experiments.data_sets import retrieval_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, legend, looks, main, panels
from experiments.landmark.material import SOURCES
from experiments.landmark.plan import ARMS, MAIN
from experiments.length.grid import SEED, columns_of, decide
from experiments.poolings.trainings import FULL, SEEDS, Reading, pair_over_seeds, read_all

SOURCE, LANDMARK = "arXiv 2601.21525, abstract", "landmark"
# Tokens that are read of a text: as many as in training, and more.
SHORT, LONG = FULL["max_length"], 512


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score with each pooling, by the tokens that are read, and how landmarks differ from the others."""
    usual = np.median(count_tokens(model, retrieval_of(data, quick).documents))
    # The beginning of a text of thousands of tokens is no short text; a short one is not longer if more is read.
    lengths = [length for length, fits in ((SHORT, usual <= LONG), (LONG, usual > SHORT)) if fits]
    found = read_all(model, data, {arm: ARMS[arm] for arm in MAIN}, [({}, length) for length in lengths], quick=quick)
    return summarise(found, lengths)


def summarise(found: dict[str, Reading], lengths: Sequence[int]) -> Measured:
    """Return a row for each pooling and length, and the findings."""
    landmark = found[LANDMARK]
    others = [name for name in found if name != LANDMARK]
    rows, findings = [], list[Finding]()
    for place, length in enumerate(lengths):
        values = np.stack([landmark.values[:, place] - found[name].values[:, place] for name in others], 1)
        changes = dict(
            zip(others, compare_paired([pair_over_seeds(values, landmark.sources)], seed=SEED).tasks[0], strict=True)
        )
        for name, one in found.items():
            seeds = one.values[:, place].mean(1)
            ends = {"lowest seed": float(seeds.min()), "highest seed": float(seeds.max())}
            row = {"tokens read": length, "pooling": name, "score": float(seeds.mean())} | ends
            minus = columns_of(changes.get(name)).items()
            rows.append(row | {f"landmark minus it: {column}": value for column, value in minus})
        for name, change in changes.items():
            findings += _short(name, change) if length == SHORT else [decide(above, f"long, {name}", change)]
    return Measured(rows, findings)


def _short(other: str, change: Difference) -> list[Finding]:
    """Return whether landmarks match another pooling, and whether they do better than the mean."""
    known = change.low is not None and change.high is not None
    holds = alike(change.low, change.high) if known else None
    found = [Finding(f"short, {other}", change.value, change.low, change.high, holds)]
    return [*found, decide(above, "dilutes", change)] if other == "mean" else found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each model: the scores on each data set and length, with the range of seeds."""
    searches = list(dict.fromkeys((cell.data, row["tokens read"]) for cell in cells for row in cell.measured.rows))
    styles = looks(MAIN)
    models = panels(figure, cells, "model")
    figure.set_size_inches(5.5 * len(models), 5)
    for model, ax in models.items():
        for cell in (one for one in cells if one.model == model):
            for row in cell.measured.rows:
                x = searches.index((cell.data, row["tokens read"])) + 0.2 * (MAIN.index(row["pooling"]) - 1)
                ends = [[row["score"] - row["lowest seed"]], [row["highest seed"] - row["score"]]]
                name = row["pooling"]
                ax.errorbar([x], [row["score"]], ends, ls="", ms=5, capsize=3, label=name, **styles[name])
        ax.set_title(f"trained from {model}", fontsize=10)
        names = [f"{Path(data).name}, {length}" for data, length in searches]
        ax.set_xticks(range(len(searches)), names, rotation=30, ha="right")
        ax.set_xlabel("data, and tokens that are read of a text")
        ax.set_ylabel("nDCG@10")
        ax.set_ylim(0, 1.1 * ax.dataLim.ymax)
    legend(figure, 3)


_ADVANTAGE = "The models that were trained had been trained with the mean, which is at an advantage here"
_READ_SHORT = f"nDCG@10, landmark minus {{}}, read to {SHORT} tokens as in training"
_READ_LONG = f"nDCG@10, landmark minus {{}}, read to {LONG} tokens of texts that are longer than {SHORT}"

EXPERIMENT = Experiment(
    name="pooling-trained",
    title="CLS, mean and landmark pooling, trained from the same model",
    claims={
        "short, cls": Claim(
            SOURCE,
            "Landmark pooling matches CLS pooling on short texts of judged searches",
            f"{_READ_SHORT.format('CLS')}; alike if no more than {MARGIN} is lost",
        ),
        "short, mean": Claim(
            SOURCE,
            "Landmark pooling matches mean pooling on short texts of judged searches",
            f"{_READ_SHORT.format('mean')}; alike if no more than {MARGIN} is lost",
            note=_ADVANTAGE,
        ),
        "dilutes": Claim(
            SOURCE,
            "The mean dilutes local signals: on short texts of judged searches it does worse than landmark pooling",
            _READ_SHORT.format("mean"),
            note=_ADVANTAGE,
        ),
        "long, cls": Claim(
            SOURCE,
            "Landmark pooling does better than CLS on texts of judged searches that are longer than those of training",
            _READ_LONG.format("CLS"),
            note=f"Of meetings (qmsum_answers) the first {LONG} of thousands of tokens are read",
        ),
        "long, mean": Claim(
            SOURCE,
            "Landmark pooling does better than the mean on texts of judged searches that are longer than those of "
            "training",
            _READ_LONG.format("mean"),
            note=f"{_ADVANTAGE}. Of meetings (qmsum_answers) the first {LONG} of thousands of tokens are read",
        ),
    },
    measure=measure,
    draw=draw,
    data=("npl_vaswani", "cranfield", "cisi", "qmsum_answers"),
    kind="retrieval",
    trained_on=SOURCES,
    notes=(
        f"Texts are cut at {FULL['max_length']} tokens in training. {_ADVANTAGE}.",
        f"At full size the intervals include the variation between {SEEDS} trainings. Queries with the same relevant "
        "documents are resampled together.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
