"""How far apart landmarks stand: models that are trained with drawn distances and with one are read at several.

Each model is trained from the one that is given: with a landmark every 32 tokens, and with a distance that is drawn for
each text. The same trained model then reads the data at each distance. Full size: 200 steps of 24 pairs, three seeds.
`--quick`: a few steps on docstrings of Python, which test nothing. Trainings of full size are kept in the user's cache,
so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
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
from cenote.data.labelled import Retrieval
from cenote.data.sampling import sample_texts
from cenote.functional.paired import Paired, compare_paired
from cenote.functional.sampling import Floats, Whole
from cenote.models.provenance import versions_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, fingerprint_of_model, legend, looks, main
from experiments.landmark.material import SOURCES, Search, judged_searches, training_pairs
from experiments.landmark.plan import CPU
from experiments.landmark.training import score
from experiments.length.grid import SEED, columns_of, decide, estimate

SOURCE = "arXiv 2601.21525, results"
KEPT = Path("~/.cache/cenote/intervals").expanduser()
# Tokens between landmarks in training, by the name of the training; one of several is drawn for each text.
DRAWN, FIXED, USUAL = "drawn from 16, 32, 64", "32", 32
TRAINED = {DRAWN: (16, 32, 64), FIXED: (32,)}
# Tokens between landmarks in reading, and tokens that are read of a query or a document.
READ, QUICK_READ, LENGTH = (16, 32, 64, 128), (32, 64), 512
SEEDS, QUICK_SEEDS = 3, 1
# How models are trained, beside the distances and the seed.
FULL: dict[str, Any] = {"steps": 200, "batch_size": 24, "max_length": 128, "learning_rate": CPU.rate, "warmup": 0.1}
QUICK: dict[str, Any] = FULL | {"steps": 4, "batch_size": 8, "max_length": 64}


@dataclass(frozen=True, eq=False)
class Reading:
    """The values of the queries of a search, after one way to train."""

    values: Floats  # [S, R, Q] of S seeds, R distances and Q queries
    sources: Whole  # [Q], the same for queries with the same relevant documents


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score at each distance after each training, and how distances and trainings differ."""
    pairs, settings = (quick_pairs(), QUICK) if quick else (full_pairs(), FULL)
    seeds, distances = (QUICK_SEEDS, QUICK_READ) if quick else (SEEDS, READ)
    search = judged_searches([data], pairs, sampled=quick).popitem()[1]
    found = {}
    with folder_of_trainings(model, quick) as folder:
        backbone = saved(model, folder / "backbone")
        for name in TRAINED:
            folders = [trained(backbone, pairs, name, seed, settings) for seed in range(seeds)]
            found[name] = read(folders, search, distances)
    return summarise(found, distances)


@cache
def full_pairs() -> list[tuple[str, str]]:
    """Return the pairs of the experiment on landmarks."""
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
        depends = [fingerprint_of_model(model), TRAINED, USUAL, FULL, CPU.pairs, versions_of()]
        yield KEPT / hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:12]


def saved(model: SentenceTransformer, folder: Path) -> Path:
    """Return the folder of a model, which is written once."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}, being written")
        model.save_pretrained(str(part))
        part.rename(folder)
    return folder


def trained(backbone: Path, pairs: Sequence[tuple[str, str]], name: str, seed: int, settings: dict[str, Any]) -> Path:
    """Return the folder of a model that is trained with landmarks, or was before."""
    folder = backbone.parent / f"{name}, {seed}"
    distances = {"intervals": TRAINED[name], "eval_interval": USUAL}
    cenote.train(backbone, pairs, output=folder, pooling="landmark", seed=seed, **distances, **settings)
    return folder


def read(folders: Sequence[Path], search: Retrieval, distances: Sequence[int]) -> Reading:
    """Return the values of the queries by the models in folders, one for each seed."""
    given = {"search": Search(LENGTH, search)}
    found = [[score(folder, {"interval": every}, given)["search"] for every in distances] for folder in folders]
    queries = found[0][0]["items"]
    if any(one["items"] != queries for row in found for one in row):
        raise RuntimeError("queries of one reading are missing in another")
    values = np.array([[one["values"] for one in row] for row in found])
    return Reading(values, sources_of(search, queries))


def sources_of(search: Retrieval, queries: Sequence[str]) -> Whole:
    """Return a number for each query, which those with the same relevant documents share."""
    relevant = [tuple(sorted(name for name, grade in search.judgments[one].items() if grade > 0)) for one in queries]
    numbers = {one: place for place, one in enumerate(dict.fromkeys(relevant))}
    return np.array([numbers[one] for one in relevant])


def summarise(found: dict[str, Reading], distances: Sequence[int]) -> Measured:
    """Return a row for each training and distance, and the findings."""
    rows: list[dict[str, Any]] = []
    usual = distances.index(USUAL)
    for name, reading in found.items():
        others = [place for place in range(len(distances)) if place != usual]
        paired = paired_of(reading.values[:, others] - reading.values[:, [usual]], reading.sources)
        changes = dict(zip(others, compare_paired([paired], seed=SEED).tasks[0], strict=True))
        for place, every in enumerate(distances):
            row = {"trained with": name, "read every": every, "score": float(reading.values[:, place].mean())}
            rows.append(row | columns_of(changes.get(place)))
    drawn, sources = found[DRAWN].values, found[DRAWN].sources
    of_drawn = [place for place, every in enumerate(distances) if every in TRAINED[DRAWN]]
    rarer = distances.index(2 * USUAL)
    findings = [
        difference("read", drawn[:, usual] - drawn[:, rarer], sources),
        difference("drawn", (drawn - found[FIXED].values)[:, of_drawn].mean(1), sources),
    ]
    return Measured(rows, findings)


def paired_of(values: Floats, sources: Whole) -> Paired:
    """Return differences `[S, C, Q]` as means over seeds, which are draws beside the queries."""
    return Paired(values.mean(0), sources, draws=values.mean(2).T if len(values) > 1 else None)


def difference(claim: str, values: Floats, sources: Whole) -> Finding:
    """Return a finding on differences `[S, Q]`."""
    return decide(above, claim, estimate(paired_of(values[:, None], sources)))


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw the score by the distance in reading for each data set: a colour for each model, one distance dashed."""
    data = list(dict.fromkeys(cell.data for cell in cells))
    figure.set_size_inches(max(5.5, 3.4 * len(data)), 3.8)
    axes = figure.subplots(1, len(data), squeeze=False)[0]
    styles = looks(cell.model for cell in cells)
    for cell in cells:
        ax = axes[data.index(cell.data)]
        for name, line in ((DRAWN, "-"), (FIXED, "--")):
            rows = [row for row in cell.measured.rows if row["trained with"] == name]
            x, y = ([row[column] for row in rows] for column in ("read every", "score"))
            ax.plot(x, y, line, ms=4, label=f"{cell.model}, trained with {name}", **styles[cell.model])
    for name, ax in zip(data, axes, strict=True):
        ax.set_title(Path(name).name, fontsize=10)
        ax.set_xscale("log", base=2)
        ax.set_xticks(READ, [str(every) for every in READ])
        ax.set_xlabel("tokens between landmarks, in reading")
        ax.set_ylim(0)
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
            "nDCG@10 trained with distances drawn from 16, 32 and 64 minus trained with 32, mean of reading with each "
            "of these three",
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
