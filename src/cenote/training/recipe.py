"""The recipe of a training: every setting that its result depends on, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from cenote import choices
from cenote.errors import BadInput, check_at_least, choose
from cenote.functional.landmarks import INTERVAL
from cenote.functional.pooling import POOLINGS, canonical
from cenote.functional.temperature import Temperature, check_temperature

# Tokens of a batch above which activations are computed again rather than kept.
_KEPT_TOKENS = 2**15


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting that the result of a training depends on.

    Args:
        pooling: to train with; None is the model's own. Several are joined by "+" in Python ("cls+mean"), and by a
            comma on the command line (`--pooling cls,mean`).
        intervals: tokens per chunk with landmarks; of several, one is drawn for each text in each epoch. One number is
            k of `every_k`.
        eval_interval: tokens per chunk after the training; by default the shortest of `intervals`.
        splitter: `fixed`, or `sentence`: chunks end with sentences.
        eval_pooling: of the model that is written, if it differs from the one that is trained; not with `--evaluate`,
            whose scores would be of the latter.
        temperature: divides the attention logits, in the training and of the model that is written; a number, or in
            Python a temperature by length or by role.
        steps: updates of the weights.
        batch_size: pairs in a step. Each query has the positives and negatives of all others as its negatives.
        max_length: tokens after which a text is cut, in the training and by the model that is written; None is the
            backbone's limit. Beyond the positions that the backbone has learned they are extended.
        query_length: tokens after which a query is cut, at most `max_length`; None is `max_length`.
        positions: how learned positions are extended: `tile` or `interpolate`.
        learning_rate: at its highest.
        warmup: share of the steps in which the learning rate rises; afterwards it falls to zero.
        loss_temperature: divides the cosines of InfoNCE.
        negatives: number of negatives that a pair has in a step; None is the fewest that any pair has. Of more, those
            of each epoch are drawn.
        distil: weight of the teacher's scores; None is 1 where the pairs have scores, else 0.
        spread: weight of the penalty on the spread of a text's tokens about their mean.
        weight_decay: of AdamW.
        clip: the largest norm of a gradient.
        mini_batch: texts in one pass of the model.
        cache: whether activations are computed again rather than kept, which needs little memory; None decides by the
            tokens of a batch.
        gradient_checkpointing: whether the activations within the model are computed again.
        precision: `float32` or `bfloat16`; `auto` takes bfloat16 where the machine has it.
        seed: of the order of the pairs, of what is drawn, and of dropout.
        query_prompt: put before each query, and kept as the model's prompt `query`.
        document_prompt: put before each other text, and kept as the model's prompt `document`.
        evaluate_every: steps between evaluations; None is a tenth of all, rounded down, and at least one.
        patience: evaluations without a better score after which the training stops; the best model is written.
    """

    pooling: choices.PoolingName | str | None = None
    intervals: tuple[int, ...] = ()
    eval_interval: int | None = None
    splitter: choices.SplitterName = "fixed"
    eval_pooling: choices.PoolingName | str | None = None
    temperature: Any = None
    steps: int = 1000
    batch_size: int = 64
    max_length: int | None = None
    query_length: int | None = None
    positions: choices.PositionsName = "tile"
    learning_rate: float = 2e-5
    warmup: float = 0.05
    loss_temperature: float = 0.02
    negatives: int | None = None
    distil: float | None = None
    spread: float = 0.0
    weight_decay: float = 0.01
    clip: float = 1.0
    mini_batch: int = 32
    cache: bool | None = None
    gradient_checkpointing: bool = False
    precision: choices.TrainingPrecision | choices.Auto = choices.AUTO
    seed: int = 0
    query_prompt: str | None = None
    document_prompt: str | None = None
    evaluate_every: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                _CHECKS[field.name](value, field.name)
            elif field.default is not None:
                raise BadInput(f"{field.name}=None: leave it out for the default, {field.default!r}.")
        if self.splitter == "sentence" and (self.intervals or self.eval_interval):
            raise BadInput("splitter='sentence': chunks end with sentences. Leave out intervals and eval_interval.")
        if self.pooling is not None:
            self.check_chunks(self.pooling)
        for interval in (*self.intervals, *([self.eval_interval] if self.eval_interval else [])):
            if self.max_length is not None and interval > self.max_length:
                raise BadInput(
                    f"interval {interval} is above max_length={self.max_length}: no chunk would end within a text. "
                    f"Give at most {self.max_length}."
                )
        if self.evaluate_every and self.evaluate_every > self.steps:
            raise BadInput(
                f"evaluate_every={self.evaluate_every} is above steps={self.steps}: nothing would be evaluated."
            )
        if self.query_length and self.max_length and self.query_length > self.max_length:
            raise BadInput(f"query_length={self.query_length} is above max_length={self.max_length}.")

    def check_chunks(self, pooling: str) -> None:
        """Raise for chunks that neither a pooling (empty: a model without one) has nor the one after the training."""
        trained, after = ([POOLINGS[name] for name in _names(one)] for one in (pooling, self.eval_pooling))
        marks, every_k = any(row.marks for row in trained), any("k" in row.options for row in trained)
        spoken = repr(pooling) if pooling else "a model without a pooling"
        if self.splitter != "fixed" and not marks:
            raise BadInput(f"splitter={self.splitter!r} goes with landmark and multi_cls, not with {spoken}.")
        if self.intervals and not (marks or every_k):
            raise BadInput(
                f"intervals={list(self.intervals)} go with landmark, multi_cls and every_k, not with {spoken}."
            )
        if len(self.intervals) > 1 and not marks:
            raise BadInput(f"intervals={list(self.intervals)}: {spoken} takes one number, which is never drawn.")
        if self.eval_interval and not any(row.marks or "k" in row.options for row in [*trained, *after]):
            raise BadInput(
                f"eval_interval={self.eval_interval} goes with landmark, multi_cls and every_k, not with "
                f"{repr(self.eval_pooling) if self.eval_pooling else spoken}."
            )
        if self.eval_interval and self.intervals and not marks and {*self.intervals} != {self.eval_interval}:
            raise BadInput(
                f"eval_interval={self.eval_interval} with intervals={list(self.intervals)}: {spoken} takes one number, "
                "in training and after it."
            )

    @property
    def interval(self) -> int:
        """Tokens per chunk after the training."""
        return self.eval_interval or min(self.intervals, default=INTERVAL)

    @property
    def tenth(self) -> int:
        """A tenth of the steps, at least one."""
        return max(1, self.steps // 10)

    @property
    def steps_between_evaluations(self) -> int:
        """Steps from one evaluation to the next."""
        return self.evaluate_every or self.tenth

    def keeps_activations(self, columns: int, limit: int) -> bool:
        """Return whether the activations of a step are kept, for texts of `columns` columns of `limit` tokens."""
        return self.batch_size * columns * limit <= _KEPT_TOKENS if self.cache is None else not self.cache

    def settings(self) -> dict[str, Any]:
        """Return all settings as plain data."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found["intervals"] = list(self.intervals)
        found["temperature"] = None if self.temperature is None else str(self.temperature)
        return found


def _names(pooling: str | None) -> tuple[str, ...]:
    return canonical(pooling.split("+")) if pooling else ()


def _whole(least: int, most: float = math.inf) -> Callable[[Any, str], object]:
    def check(value: Any, name: str) -> None:
        if check_at_least(least, value, name) > most:
            raise BadInput(f"{name}={value}: pass at most {most:,}.")

    return check


def _number(least: float, most: float = math.inf, *, open: bool = False) -> Callable[[Any, str], object]:
    """Return a check of a number between two bounds; `open` leaves out the lower one."""

    def check(value: Any, name: str) -> None:
        real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not real or not (least < value <= most if open else least <= value <= most):
            bounds = f"above {least:g}" if open else f"of at least {least:g}"
            raise BadInput(
                f"{name}={value!r}: pass a number {bounds}{'' if most == math.inf else f', at most {most:g}'}."
            )

    return check


def _name(names: Any) -> Callable[[Any, str], object]:
    return lambda value, name: choose(value, dict.fromkeys(names), name)


def _intervals(value: Any, name: str) -> None:
    for one in value:
        check_at_least(1, one, name)


def _temperature(value: Temperature, _: str) -> None:
    check_temperature(value)


def _boolean(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise BadInput(f"{name}={value!r}: pass True or False.")


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise BadInput(f"{name}={value!r}: pass a string.")


def _pooling(value: str, name: str) -> None:
    if not isinstance(value, str):
        raise BadInput(f"{name}={value!r}: pass a name, or several with '+' between them.")
    canonical(value.split("+"))


_CHECKS: dict[str, Callable[[Any, str], object]] = {
    "pooling": _pooling,
    "intervals": _intervals,
    "eval_interval": _whole(1),
    "splitter": _name(choices.SPLITTERS),
    "eval_pooling": _pooling,
    "temperature": _temperature,
    "steps": _whole(1),
    "batch_size": _whole(2),
    "max_length": _whole(4),
    "query_length": _whole(4),
    "positions": _name(choices.POSITIONS),
    "learning_rate": _number(0, open=True),
    "warmup": _number(0, 1),
    "loss_temperature": _number(0, open=True),
    "negatives": _whole(0),
    "distil": _number(0),
    "spread": _number(0),
    "weight_decay": _number(0),
    "clip": _number(0, open=True),
    "mini_batch": _whole(1),
    "cache": _boolean,
    "gradient_checkpointing": _boolean,
    "precision": _name([choices.AUTO, *choices.TRAINING_PRECISIONS]),
    "seed": _whole(0, 2**32 - 1),  # what numpy takes
    "query_prompt": _text,
    "document_prompt": _text,
    "evaluate_every": _whole(1),
    "patience": _whole(1),
}
