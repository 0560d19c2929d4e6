"""Landmark pooling against CLS and mean, trained under equal conditions: the claim of arXiv 2601.21525.

    python -m experiments.landmark.run --size cpu
    python -m experiments.landmark.run --size gpu

Every arm has the same backbone, pairs, order of pairs and steps; only the pooling differs. Each model is scored on
searches that it was not trained on, by the tokens that it reads and by the place of the evidence. Trainings are kept in
the user's cache, and scores of all queries beside the tables, in docs/results: the same command goes on after a stop,
and several at once, each with its own threads, share the trainings.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import cenote
from cenote.models.properties import positions_of
from cenote.models.provenance import versions_of
from cenote.storage import write_text
from cenote.surgery.positions import extend_positions
from cenote.training.backbone import prepare
from cenote.training.train import recipe_of
from experiments.landmark.backbones import precision_of
from experiments.landmark.material import searches, training_pairs
from experiments.landmark.plan import ARMS, READINGS, SIZES, UNTRAINED, Size, trainings
from experiments.landmark.summary import summarise

WORK = Path("~/.cache/cenote/landmark").expanduser()
RESULTS = Path(__file__).parents[2] / "docs" / "results"


def main() -> None:
    """Make the backbones, train and score every arm, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--minutes", type=float, help="start no training after so many minutes")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--keep", action="store_true", help="keep the trained models beside their scores")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    size, began = SIZES[args.size], time.perf_counter()
    made_by, scores = digest(size), args.output / f"landmark-{args.size}"
    work = args.work / args.size / made_by
    work.mkdir(parents=True, exist_ok=True)
    scores.mkdir(parents=True, exist_ok=True)
    pairs = training_pairs(size.pairs)
    tell(f"{len(pairs):,} pairs")
    given: dict[str, Any] = {}
    for training in trainings(size):
        start, arm, seed = training
        if args.minutes and time.perf_counter() - began > 60 * args.minutes:
            tell("stopped for time: the same command goes on")
            break
        name = name_of(training)
        scored = scores / f"{name}.json"
        with claimed(work / "claims" / name) as ours:
            if not ours or is_by(made_by, scored):
                continue
            backbone = make_backbone(size, start, seed, work)
            if not given:
                given = searches(cenote.load(backbone, pooling="mean").tokenizer, size.lengths, size.searches)
            found = run(size, backbone, arm, seed, pairs, given, work / "models" / name, args.keep)
            write_text(scored, json.dumps({"made_by": made_by, **found}) + "\n")
    missing = [name for name in map(name_of, trainings(size)) if not is_by(made_by, scores / f"{name}.json")]
    if missing:
        tell(f"missing, or done by another process: {'; '.join(missing)}")
    else:
        summarise(args.output, args.size, size)


def digest(size: Size) -> str:
    """Return a name for a size, the code of the experiment and the versions: what others made is not taken up.

    Cenote's own code counts by its version.
    """
    settings = {**vars(size), "starts": list(size.starts)}  # how they are made is in the code
    code = [path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem != "summary"]
    return hashlib.sha256(json.dumps([settings, code, versions_of()]).encode()).hexdigest()[:12]


def is_by(made_by: str, path: Path) -> bool:
    """Return whether scores are there, and were made by the same settings, code and versions."""
    return path.exists() and json.loads(path.read_text("utf-8"))["made_by"] == made_by


@contextmanager
def claimed(path: Path, wait: bool = False) -> Iterator[bool]:
    """Say whether a piece of work is this process's, or another one is doing it; a process that dies claims nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def name_of(training: tuple[str, str, int]) -> str:
    """Return the name under which a training is kept."""
    return ", ".join(map(str, training))


def tell(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def make_backbone(size: Size, start: str, seed: int, work: Path) -> Path:
    """Return the folder of a backbone with random weights of its own for each seed, which is made once."""
    folder = work / "backbones" / f"{start} {seed}"
    with claimed(work / "claims" / f"backbone {start} {seed}", wait=True):
        if not (folder / "complete").exists():
            tell(f"making the backbone {start!r}, seed {seed}")
            size.starts[start](folder, seed)
            (folder / "complete").touch()
    return folder


def run(
    size: Size, backbone: Path, arm: str, seed: int, pairs: Any, given: dict[str, Any], folder: Path, keep: bool
) -> dict[str, Any]:
    """Train one model and return the values of all queries, by reading and search."""
    if arm in UNTRAINED:
        recipe = recipe_of({"max_length": size.train_length, **size.recipe, **UNTRAINED[arm]})
        prepare(backbone, recipe).save_pretrained(str(folder))
        values = {"": score(folder, {}, given)}
        shutil.rmtree(folder)
        return {"values": values}
    start = time.perf_counter()
    cenote.train(
        backbone,
        pairs,
        output=folder,
        steps=size.steps,
        batch_size=size.batch,
        learning_rate=size.rate,
        warmup=0.1,
        max_length=size.train_length,
        seed=seed,
        **size.recipe,
        **ARMS[arm],
    )
    trained = time.perf_counter()
    tell(f"{folder.name}: trained in {trained - start:.0f} s")
    values = {"": score(folder, {}, given)}
    for name, settings in READINGS.get(arm, {}).items():
        middle = {name: search for name, search in given.items() if search.length == size.lengths[1]}
        values[name] = score(folder, settings, middle)
    if not keep:
        shutil.rmtree(folder)
    tell(f"{folder.name}: scored in {time.perf_counter() - trained:.0f} s")
    return {"values": values}


def score(folder: Path, settings: dict[str, Any], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the value of each query and the tokens of its relevant text, by search."""
    found = {}
    for length in sorted({search.length for search in given.values()}):
        model = cenote.load(folder, **settings)
        most = positions_of(model)
        if most is not None and length > most:
            extend_positions(model, length)
        model.max_seq_length = length
        some = {name: search.data for name, search in given.items() if search.length == length}
        with tempfile.TemporaryDirectory() as items:
            cenote.evaluate(model, data=some, others=[], items=items, cache=False, precision=precision_of(model))
            for name in some:
                (path,) = Path(items).glob(f"{name}*.parquet")
                table = pq.read_table(path).to_pydict()
                found[name] = {
                    "items": table["item"],
                    "values": [round(value, 6) for value in table["value"]],
                    "parts": [given[name].parts.get(item) for item in table["item"]],
                }
    return found


if __name__ == "__main__":
    main()
