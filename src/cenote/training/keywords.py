"""The keywords of `cenote.train` by type, for editors and type checkers; `recipe.Recipe` declares and checks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from cenote.choices import Auto, PoolingName, PositionsName, SplitterName, TrainingPrecision
from cenote.functional.temperature import Temperature


class TrainKeywords(TypedDict, total=False):
    """The fields of `Recipe`. `tests/test_typing.py` compares both: no type checker derives one from the other."""

    pooling: PoolingName | str | None
    intervals: int | Sequence[int]
    eval_interval: int | None
    splitter: SplitterName
    eval_pooling: PoolingName | str | None
    temperature: Temperature | None
    steps: int
    batch_size: int
    max_length: int | None
    query_length: int | None
    positions: PositionsName
    learning_rate: float
    warmup: float
    loss_temperature: float
    negatives: int | None
    distil: float | None
    spread: float
    weight_decay: float
    clip: float
    mini_batch: int
    cache: bool | None
    gradient_checkpointing: bool
    precision: TrainingPrecision | Auto
    seed: int
    query_prompt: str | None
    document_prompt: str | None
    evaluate_every: int | None
    patience: int | None
