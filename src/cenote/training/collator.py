"""From rows of pairs to a batch: texts are tokenised, with the intervals that this epoch draws."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from transformers import TrainerCallback

from cenote.nn import LandmarkTransformer
from cenote.training.batches import EPOCH_COLUMN


@dataclass
class Collator(SentenceTransformerDataCollator):
    """sentence-transformers' collator, which tells a landmark model the epoch, so that it draws intervals.

    Without it a landmark model has one interval for all texts in training too. Rows with a column `epoch` are of that
    epoch, others of `epoch`, which `FollowEpochs` sets.

    Args:
        preprocess_fn: the model's own `preprocess`; other arguments are those of sentence-transformers.
        epoch: of rows that state none.
    """

    epoch: int = 0

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the features of every column, and the scores as `label`."""
        epoch = features[0].get(EPOCH_COLUMN, self.epoch)
        rows = [{name: cell for name, cell in row.items() if name != EPOCH_COLUMN} for row in features]
        model = getattr(self.preprocess_fn, "__self__", None)
        if model is not None and isinstance(model[0], LandmarkTransformer):
            drawing = copy(self)  # with the same set of columns that were warned of
            drawing.preprocess_fn = partial(self.preprocess_fn, epoch=epoch)
            return SentenceTransformerDataCollator.__call__(drawing, rows)
        return super().__call__(rows)


class FollowEpochs(TrainerCallback):
    """Tells a collator the epoch of sentence-transformers' own trainer."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Set the epoch."""
        self.collator.epoch = int(state.epoch or 0)
