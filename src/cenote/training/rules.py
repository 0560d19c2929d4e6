"""Rules of `train` that are checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cenote.errors import Usage


def refuse_unwatched(settings: Mapping[str, Any], evaluate: object, data_columns: object) -> None:
    """Raise for settings that do not go with what the training is evaluated on, or with nothing to evaluate on."""
    if evaluate is not None:
        if settings.get("eval_pooling") is not None:
            raise Usage(
                f"eval_pooling={settings['eval_pooling']!r}: the scores of evaluate would be of the pooling that is "
                "trained, not of the model that is written. Leave one of them out."
            )
        return
    for name in ("evaluate_every", "patience"):
        if value := settings.get(name):
            raise Usage(f"{name}={value}: name what to evaluate on (evaluate, --evaluate).")
    if data_columns:
        raise Usage("data_columns: name what to evaluate on (evaluate, --evaluate), whose columns they are.")
