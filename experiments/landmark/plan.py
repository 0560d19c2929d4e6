"""The arms of the experiment, its sizes, and what each model is read with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cenote.models.declared import DEMO, find
from experiments.landmark.backbones import MODELS, adapted, reset, rotary, whole
from experiments.landmark.material import plain_texts

# How each model is trained, by the name of the arm. Everything else is the same: backbone, pairs, their order, steps.
ARMS: dict[str, dict[str, Any]] = {
    "cls": {"pooling": "cls"},
    "mean": {"pooling": "mean"},
    "landmark": {"pooling": "landmark", "intervals": (16, 32, 64), "eval_interval": 32},
    "landmark, fixed": {"pooling": "landmark", "intervals": (32,)},
    "landmark, sentences": {"pooling": "landmark", "splitter": "sentence"},
    "every_k": {"pooling": "every_k", "intervals": (32,)},
    "multi_cls": {"pooling": "multi_cls", "intervals": (16, 32, 64), "eval_interval": 32},
    "mean, spread": {"pooling": "mean", "spread": 0.1},
}
MAIN = ("cls", "mean", "landmark")
# The same poolings of the untrained backbone, for comparison.
UNTRAINED = {f"{arm}, untrained": ARMS[arm] for arm in MAIN}
# Other readings of a trained model, by arm.
READINGS: dict[str, dict[str, dict[str, Any]]] = {
    "mean": {
        "landmarks at evaluation only": {"pooling": "landmark", "interval": 32},
        "temperature 0.8": {"temperature": 0.8},
    },
    "landmark": {"temperature 0.8": {"temperature": 0.8}},
}

# The start of a model that is given: none of its layers is drawn anew.
WHOLE = "whole"


@dataclass(frozen=True)
class Size:
    """How large the experiment is."""

    starts: dict[str, Callable[[Path, int], Path]]  # how each backbone is made, with a seed
    ablations: str  # the start that the ablations have
    steps: int
    batch: int
    rate: float
    train_length: int
    lengths: list[int]  # tokens that are read, the training's first
    pairs: dict[str, int]
    searches: dict[str, int]
    seeds: int = 3  # of the first start; the others have one
    known: int = 0  # the seeds that were known when longer posts were chosen for a test: later ones test them
    sampled: bool = False  # whether searches with judgments are sampled
    recipe: dict[str, Any] = field(default_factory=dict)


def at(model: str | Path) -> Path:
    """Return the folder of a model, or its hub id."""
    return Path(find(model)[0])


L3 = MODELS / "paraphrase-MiniLM-L3-v2"
CPU = Size(
    starts={
        "reset": lambda folder, seed: reset(at(L3), folder, 1, seed),
        "masked": lambda folder, seed: adapted(at(L3), folder, plain_texts(20_000), 800, 16, 128, seed),
    },
    ablations="reset",
    steps=500,
    batch=24,
    rate=3e-4,
    train_length=128,
    lengths=[128, 512, 2048],
    pairs={"posts": 8000, "claims": 900, "reviews": 3000, "articles": 2000},
    searches={"posts": 300, "evidence": 64},
    known=2,
    recipe={"query_length": 32},
)
SIZES = {
    "cpu": CPU,
    "confirm": replace(  # the demo model of six layers
        CPU, starts={"reset": lambda folder, seed: reset(at(DEMO), folder, 4, seed)}, ablations="", known=1
    ),
    "gpu": Size(
        starts={"rotary": lambda folder, seed: rotary(at(L3), folder, plain_texts(10**6), 6000, 64, 512, 8, 512, seed)},
        ablations="rotary",
        steps=1000,
        batch=256,
        rate=1e-4,
        train_length=512,
        lengths=[512, 2048, 8192],
        pairs={"posts": 10**6, "claims": 900, "reviews": 24_000, "articles": 4000, "meetings": 2000},
        searches={"posts": 1500, "evidence": 180},
        recipe={"mini_batch": 128},
    ),
    "toy": Size(  # runs every path in a minute or two, from the demo model, which `make` installs
        starts={
            "reset": lambda folder, seed: reset(at(DEMO), folder, 1, seed),
            "rotary": lambda folder, seed: rotary(at(DEMO), folder, plain_texts(200), 4, 4, 64, 2, 64, seed),
        },
        ablations="rotary",
        steps=4,
        batch=8,
        rate=1e-4,
        train_length=64,
        lengths=[64, 128],
        pairs={"posts": 100, "claims": 20, "reviews": 20, "articles": 20, "meetings": 10},
        searches={"posts": 30, "evidence": 12},
        seeds=1,
        sampled=True,
    ),
}


def of_model(size: Size, model: str) -> Size:
    """Return a size whose only start is an unchanged model, with the seeds and the ablations of a first start.

    The seeds then draw nothing of the backbone. None was known when longer posts were chosen for a test.
    """
    starts = {WHOLE: lambda folder, _: whole(model, folder)}
    return replace(size, starts=starts, ablations=size.ablations and WHOLE, known=0)


def trainings(size: Size) -> list[tuple[str, str, int]]:
    """Return start, arm and seed of every training, the ones that matter most first."""
    first, *others = size.starts
    main = [(first, arm, seed) for seed in range(size.seeds) for arm in MAIN]
    main[len(MAIN) : len(MAIN)] = [(first, arm, 0) for arm in UNTRAINED]
    main += [(start, arm, 0) for start in others for arm in MAIN]
    ablations = [arm for arm in ARMS if arm not in MAIN]
    return main + [(size.ablations, arm, 0) for arm in ablations if size.ablations]
