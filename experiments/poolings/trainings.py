"""Models that are trained from one, equally but for their pooling, and the values of the queries that they search by.

The experiments that use this say what they compare. Trainings of full size are kept in the user's cache, so that a run
that was stopped goes on. A quick look trains a few steps on docstrings of Python, which test nothing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.labelled import Retrieval
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.data.sampling import sample_texts
from cenote.evaluation.results import default_folder
from cenote.functional.paired import Paired
from cenote.functional.sampling import Floats, Whole
from cenote.models.provenance import versions_of
from cenote.training import train as training_code
from experiments.lab import fingerprint_of_model
from experiments.landmark.material import Search, judged_searches, training_pairs
from experiments.landmark.plan import CPU
from experiments.landmark.training import score
from experiments.length.grid import SEED

# How models are trained, beside the pooling and the seed.
FULL: dict[str, Any] = {
    "steps": 200,
    "batch_size": CPU.batch,
    "max_length": CPU.train_length,
    "learning_rate": CPU.rate,
    "warmup": 0.1,
}
QUICK: dict[str, Any] = FULL | {"steps": 4, "batch_size": 8, "max_length": 64}
SEEDS, QUICK_SEEDS, QUICK_SIZES = 3, 1, Sizes(queries=30, documents=150)


@dataclass(frozen=True, eq=False)
class Reading:
    """The values of the queries of a search, after one way to train."""

    values: Floats  # [S, R, Q] of S seeds, R readings and Q queries
    sources: Whole  # [Q], the same for queries with the same relevant documents


def read_all(
    model: SentenceTransformer,
    data: str,
    trainings: Mapping[str, Mapping[str, Any]],
    readings: Sequence[tuple[Mapping[str, Any], int]],
    *,
    quick: bool,
) -> dict[str, Reading]:
    """Train a model in several ways and read a search with each, by the name of the training.

    Args:
        model: from which each is trained.
        data: the name of a search with judgments.
        trainings: settings of `cenote.train` by name.
        readings: settings of `cenote.load` for the trained model, and the tokens that it reads of a text.
        quick: whether to take a quick look.
    """
    search = judged_searches([data], quick_pairs() if quick else full_pairs(), sampled=quick).popitem()[1]
    if quick:
        search = sample_labelled(search, sizes=QUICK_SIZES)
    return {name: read(some, search, readings) for name, some in train_all(model, trainings, quick=quick).items()}


def train_all(
    model: SentenceTransformer, trainings: Mapping[str, Mapping[str, Any]], *, quick: bool
) -> dict[str, list[Path]]:
    """Train a model in several ways; return the folders of the trained models, one a seed, by the name of the way."""
    pairs, settings, seeds = (quick_pairs(), QUICK, QUICK_SEEDS) if quick else (full_pairs(), FULL, SEEDS)
    folder = folder_of_trainings(model, pairs, quick=quick)
    backbone = save_once(model, folder / "backbone")
    return {
        name: [train_once(backbone, pairs, {**settings, **training, "seed": seed}) for seed in range(seeds)]
        for name, training in trainings.items()
    }


@cache
def full_pairs() -> list[tuple[str, str]]:
    """Return the pairs of the experiment on landmarks."""
    return training_pairs(CPU.pairs)


@cache
def quick_pairs() -> list[tuple[str, str]]:
    """Return spans of docstrings with what stands around them."""
    texts = [one.text for one in sample_texts(None, 200, SEED)[0]]
    return [(one.query, one.positive) for one in cenote.mine_pairs(texts, "spans", words=(8, 64)).pairs or ()]


def folder_of_trainings(model: SentenceTransformer, pairs: Sequence[tuple[str, str]], *, quick: bool) -> Path:
    """Return the folder of the trainings from a model: one that stays, or for a quick look one of this process.

    It is found again by the same model, pairs, versions and code that trains.
    """
    code = {path.name: path.read_text("utf-8") for path in Path(training_code.__file__).parent.glob("*.py")}
    name = digest_of([fingerprint_of_model(model), pairs, versions_of(), code])
    root = Path(_of_process().name) if quick else default_folder().parent / "trainings"
    return root / name


@cache
def _of_process() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is deleted when the process ends."""
    return tempfile.TemporaryDirectory()


def digest_of(content: Any) -> str:
    """Return a digest of plain data, short enough for the name of a folder."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def save_once(model: SentenceTransformer, folder: Path) -> Path:
    """Write a model, unless it was before; return its folder."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}, being written")
        model.save_pretrained(str(part))
        part.rename(folder)
    return folder


def train_once(backbone: Path, pairs: Sequence[tuple[str, str]], settings: Mapping[str, Any]) -> Path:
    """Train a model with some settings, unless it was before; return its folder."""
    folder = backbone.parent / digest_of(settings)
    cenote.train(backbone, pairs, output=folder, **settings)
    return folder


def read(folders: Sequence[Path], search: Retrieval, readings: Sequence[tuple[Mapping[str, Any], int]]) -> Reading:
    """Return the values of the queries by the models in folders, one for each seed."""
    found = [
        [score(folder, dict(settings), {"search": Search(length, search)})["search"] for settings, length in readings]
        for folder in folders
    ]
    queries = found[0][0]["items"]
    if any(one["items"] != queries for row in found for one in row):
        raise RuntimeError("queries of one reading are missing in another")
    values = np.array([[one["values"] for one in row] for row in found])
    return Reading(values, number_sources(search, queries))


def number_sources(search: Retrieval, queries: Sequence[str]) -> Whole:
    """Return a number for each query, which those with the same relevant documents share."""
    relevant = [tuple(sorted(name for name, grade in search.judgments[one].items() if grade > 0)) for one in queries]
    numbers = {one: place for place, one in enumerate(dict.fromkeys(relevant))}
    return np.array([numbers[one] for one in relevant])


def pair_over_seeds(values: Floats, sources: Whole) -> Paired:
    """Return differences `[S, C, Q]` as means over seeds, which are draws beside the queries."""
    return Paired(values.mean(0), sources, draws=values.mean(2).T if len(values) > 1 else None)
