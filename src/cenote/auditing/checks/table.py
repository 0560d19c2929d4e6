"""The checks of `audit`, one row each. To add one, write a function and a row.

This module imports nothing heavy, so that the command line knows the names of the checks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cenote.auditing.checks.subject import Finding, Subject


class Row(NamedTuple):
    """One row of `CHECKS`: what it asks, and the function that answers."""

    question: str
    module: str  # in `cenote.auditing.checks`
    function: str

    def load(self) -> Callable[[Subject], Finding]:
        """Return the function."""
        found: Callable[[Subject], Finding] = getattr(
            importlib.import_module(f"cenote.auditing.checks.{self.module}"), self.function
        )
        return found


# In the order in which they run: reading the files first, then the texts, the probes last.
CHECKS: dict[str, Row] = {
    "weights": Row("Are all weights those of the files?", "files", "check_weights"),
    "loading": Row("Does loading the model twice give the same vectors?", "files", "check_loading"),
    "settings": Row("Do other loaders see the temperature and the landmarks?", "files", "check_settings"),
    "pooling": Row("Is the pooling the declared one?", "poolings", "check_pooling"),
    "pooling-fits": Row("Does the pooling fit the weights?", "poolings", "check_fit"),
    "later-modules": Row("Do all modules after the pooling run?", "poolings", "check_later_modules"),
    "padding": Row("Is a text the same with and without padding?", "batches", "check_padding"),
    "batches": Row("Is a text the same whatever else is in its batch?", "batches", "check_batches"),
    "precision": Row("Do both hold at half precision?", "batches", "check_precision"),
    "finite": Row("Is every vector finite, and not zero?", "numbers", "check_finite"),
    "float16": Row("Do activations fit into float16?", "numbers", "check_float16"),
    "truncation": Row("Does the model read as many tokens as it declares?", "lengths", "check_truncation"),
    "positions": Row("Are the positions those that were trained?", "lengths", "check_positions"),
    "prompts": Row("Are the declared prompts there, and applied?", "prompts", "check_prompts"),
    "sticky-tokens": Row("Does a token draw every text to the mean?", "tokens", "check_sticky_tokens"),
    "hubs": Row("Is one text near to all others?", "neighbours", "check_hubs"),
}
