"""Every how many tokens a landmark stands: models that are trained with drawn intervals and with one, read at several.

Each model is trained from the one that is given, which had another pooling: with one interval for all texts, and with
one drawn for each text. Then the same model reads the data at each interval. Full size: 200 steps of 24 pairs, three
seeds; `--quick`: a few steps on docstrings of Python, which test nothing. Trainings of full size are kept in the user's
cache, so that a run that was stopped goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.sampling import sample_texts
from cenote.functional.paired import Paired, compare_paired
from cenote.functional.sampling import Floats
from experiments.data_sets import refuse_missing_data
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, fingerprint_of_model, legend, looks, main
from experiments.landmark.material import SOURCES, Search, judged_searches, training_pairs
from experiments.landmark.plan import CPU
from experiments.landmark.run import WORK, digest
from experiments.landmark.training import score
from experiments.length.grid import SEED, columns_of, decide, estimate

SOURCE = "arXiv 2601.21525, results"
# Tokens between landmarks in training, by the name of the training.
DRAWN, FIXED = "drawn from 16, 32, 64", "32"
TRAINED = {DRAWN: (16, 32, 64), FIXED: (32,)}
# Tokens of a text that are read.
LENGTH = 512


@dataclass(frozen=True)
class Effort:
    """How long the models are trained, and how they are read."""

    steps: int
    batch: int
    length: int
    seeds: int
    read: tuple[int, ...]  # tokens between landmarks in reading


USUAL = 32
FULL = Effort(200, CPU.batch, CPU.train_length, 3, (16, USUAL, 64, 128))
QUICK = Effort(4, 8, 64, 1, (USUAL, 128))


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score at each interval after each training, and what the intervals of both change."""
    size, pairs = (QUICK, quick_pairs()) if quick else (FULL, full_pairs())
    search = Search(LENGTH, judged_searches([data], pairs, sampled=quick).popitem()[1])
    found = {}
    with folder_of_trainings(model, quick) as folder:
        backbone = saved(model, folder / "backbone")
        for name in TRAINED:
            folders = (trained(backbone, pairs, name, seed, size) for seed in range(size.seeds))
            found[name] = np.array([read(one, search, size.read) for one in folders])  # [S, R, Q]
    return summarise(found, size.read)


@cache
def full_pairs() -> list[tuple[str, str]]:
    """Return the pairs of the experiment on landmarks; raise where their data are not here."""
    refuse_missing_data(SOURCES)
    return training_pairs(CPU.pairs)


@cache
def quick_pairs() -> list[tuple[str, str]]:
    """Return spans of docstrings with what stands around them."""
    texts = [one.text for one in sample_texts(None, 200, SEED)[0]]
    return [(one.query, one.positive) for one in cenote.mine_pairs(texts, "spans", words=(8, 64)).pairs or ()]


@contextmanager
def folder_of_trainings(model: SentenceTransformer, quick: bool) -> Iterator[Path]:
    """Yield the folder of the trainings from a model: one that stays, or a temporary one for a quick look."""
    if quick:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        name = digest(CPU, [fingerprint_of_model(model), vars(FULL), TRAINED])
        yield WORK / "intervals" / name


def saved(model: SentenceTransformer, folder: Path) -> Path:
    """Return the folder of a model, which is written once."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}, being written")
        model.save_pretrained(str(part))
        part.rename(folder)
    return folder


def trained(backbone: Path, pairs: Sequence[tuple[str, str]], name: str, seed: int, size: Effort) -> Path:
    """Return the folder of a model that is trained with landmarks, or was before."""
    folder = backbone.parent / f"{name}, {seed}"
    cenote.train(
        backbone,
        pairs,
        output=folder,
        pooling="landmark",
        intervals=TRAINED[name],
        eval_interval=USUAL,
        steps=size.steps,
        batch_size=size.batch,
        learning_rate=CPU.rate,
        warmup=0.1,
        max_length=size.length,
        seed=seed,
        **CPU.recipe,
    )
    return folder


def read(folder: Path, search: Search, intervals: Sequence[int]) -> Floats:
    """Return the value of each query at each interval, `[R, Q]`."""
    found = (score(folder, {"interval": every}, {"search": search})["search"] for every in intervals)
    return np.array([one["values"] for one in found])


def summarise(found: dict[str, Floats], intervals: Sequence[int]) -> Measured:
    """Return a row for each training and interval, and the findings.

    Args:
        found: values `[S, R, Q]` of S seeds, R intervals and Q queries, by training.
        intervals: the R ones, `USUAL` among them.
    """
    rows: list[dict[str, Any]] = []
    usual = intervals.index(USUAL)
    for name, values in found.items():
        others = [place for place in range(len(intervals)) if place != usual]
        changes = compare_paired([over_seeds(values[:, others] - values[:, [usual]])], seed=SEED).tasks[0]
        known = dict(zip(others, changes, strict=True))
        for place, every in enumerate(intervals):
            row = {"trained with": name, "read every": every, "score": float(values[:, place].mean())}
            rows.append(row | columns_of(known.get(place)))
    drawn, fixed = found[DRAWN], found[FIXED]
    longer = [place for place, every in enumerate(intervals) if every > USUAL]
    return Measured(
        rows,
        [
            *finding("read", drawn[:, usual] - drawn[:, longer].mean(1)),
            *finding("drawn", drawn[:, usual] - fixed[:, usual]),
        ],
    )


def over_seeds(values: Floats) -> Paired:
    """Return differences `[S, C, Q]` as means over seeds, which are draws beside the queries."""
    return Paired(values.mean(0), draws=values.mean(2).T if len(values) > 1 else None)


def finding(claim: str, values: Floats) -> Iterator[Finding]:
    """Yield a finding on differences `[S, Q]`."""
    yield decide(above, claim, estimate(over_seeds(values[:, None])))


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw the score by the interval of reading for each data set: a colour for each model, one interval dashed."""
    data = list(dict.fromkeys(cell.data for cell in cells))
    figure.set_size_inches(max(5.5, 3.4 * len(data)), 3.8)
    axes = figure.subplots(1, len(data), squeeze=False)[0]
    styles = looks(cell.model for cell in cells)
    for cell in cells:
        ax = axes[data.index(cell.data)]
        for name, line in ((DRAWN, "-"), (FIXED, "--")):
            rows = [row for row in cell.measured.rows if row["trained with"] == name]
            label = f"{cell.model}, trained with {name}"
            x, y = ([row[column] for row in rows] for column in ("read every", "score"))
            ax.plot(x, y, line, ms=4, label=label, **styles[cell.model])
    for name, ax in zip(data, axes, strict=True):
        ax.set_title(Path(name).name, fontsize=10)
        ax.set_xscale("log", base=2)
        ax.set_xticks(FULL.read, [str(every) for every in FULL.read])
        ax.set_xlabel("tokens between landmarks, in reading")
        ax.set_ylim(0)
    axes[0].set_ylabel("nDCG@10")
    legend(figure)


EXPERIMENT = Experiment(
    name="pooling-intervals",
    title="Landmark pooling by the interval that it is trained and read with",
    claims={
        "read": Claim(
            SOURCE,
            "Landmarks every 32 tokens serve better than fewer ones (the best models of the paper are read so)",
            "nDCG@10 read every 32 tokens minus the mean of every 64 and every 128, trained with drawn intervals",
            note="Models were trained briefly, from ones that had been trained with the mean",
        ),
        "drawn": Claim(
            SOURCE,
            "Training with intervals that are drawn for each text serves better than with one (the best models of the "
            "paper draw from 32, 64, 128 and 256)",
            "nDCG@10 after training with intervals drawn from 16, 32 and 64 minus that after training with 32, both "
            "read every 32 tokens",
        ),
    },
    measure=measure,
    draw=draw,
    data=("cranfield", "cisi", "qmsum_answers"),
    kind="retrieval",
    notes=(
        f"Pairs are cut at {CPU.train_length} tokens in training, texts at {LENGTH} in reading. At full size the "
        f"intervals of a change include the variation between {FULL.seeds} trainings.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
