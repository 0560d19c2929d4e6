"""A training and the scores of its model, by the arm of the experiment."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import cenote
from cenote.evaluation.results import file_of_items
from cenote.models.properties import positions_of
from cenote.surgery.positions import extend_positions
from cenote.training.backbone import prepare
from cenote.training.train import recipe_of
from experiments.landmark.backbones import precision_of
from experiments.landmark.plan import ARMS, READINGS, UNTRAINED, Size


def tell(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def train_and_score(
    size: Size, backbone: Path, arm: str, seed: int, pairs: Any, given: dict[str, Any], folder: Path, keep: bool
) -> dict[str, dict[str, dict[str, Any]]]:
    """Train one model and return the values of all queries, by reading and search."""
    if arm in UNTRAINED:
        recipe = recipe_of({"max_length": size.train_length, **size.recipe, **UNTRAINED[arm]})
        prepare(backbone, recipe).save_pretrained(str(folder))
        values = {"": score(folder, {}, given)}
        shutil.rmtree(folder)
        return values
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
    return values


def score(folder: Path, settings: dict[str, Any], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the queries, their values and the parts that they are in, by search."""
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
                table = pq.read_table(file_of_items(Path(items), name)).to_pydict()
                found[name] = {
                    "items": table["item"],
                    "values": [round(value, 6) for value in table["value"]],
                    "parts": [given[name].parts.get(item) for item in table["item"]],
                }
    return found
