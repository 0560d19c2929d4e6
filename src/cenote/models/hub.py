"""Whether the Hugging Face hub answers: asked once, before libraries that would retry for a minute."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path

from cenote.errors import BadInput
from cenote.models.declared import DEMO, find

TIMEOUT_S = 5.0
# Answers of a gateway on behalf of a hub that is down: the libraries would retry these too.
_DOWN = (502, 503, 504)


def refuse_missing(model: str | Path) -> None:
    """Raise `BadInput` if a model is no folder here, not in the cache, and not on a hub that answers.

    It imports nothing heavy: a command calls it before anything else.
    """
    where, local = find(model)
    if not local:
        must_use_cache(where)


def must_use_cache(model_id: str) -> bool:
    """Return whether `model_id` has to come from the cache because the hub does not answer.

    False where HF_HUB_OFFLINE is set: there the libraries use the cache of their own accord.

    Raises:
        BadInput: the hub does not answer and the model is not in the cache.
    """
    from huggingface_hub import constants

    problem = why_unreachable()
    if problem is not None and not _is_cached(model_id):
        _ask_hub.cache_clear()  # the network may be mended before the next call
        raise BadInput(
            f"cannot load {model_id!r}: it is not in the cache, and {constants.ENDPOINT} cannot be reached "
            f"({problem}). Check the id and the network, or name a folder or {DEMO!r}; HF_HUB_OFFLINE=1 uses cached "
            "models without asking the hub."
        )
    return problem is not None and not constants.HF_HUB_OFFLINE


def why_unreachable() -> str | None:
    """Return why the hub cannot be reached, or None if it answers. The answer is kept for the process."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return _ask_hub()


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@cache
def _ask_hub() -> str | None:
    """Return why the hub cannot be reached, or None if it answers. The answer is kept for the process."""
    from huggingface_hub import constants, get_session

    problems = [f"no answer within {TIMEOUT_S:g} seconds"]

    def ask() -> None:
        try:
            status = get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S).status_code
            problems[:] = [f"status {status}"] if status in _DOWN else []
        except Exception as error:  # each version of huggingface_hub has its own HTTP library with its own errors
            problems[:] = [first_line(error)]

    # In a thread, because no timeout of an HTTP library covers the look-up of the host name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return problems[0] if problems else None


def _is_cached(model_id: str) -> bool:
    """Return whether the cache holds a model's main file; a bare id may be one of sentence-transformers' own."""
    from huggingface_hub import try_to_load_from_cache

    cache = os.getenv("SENTENCE_TRANSFORMERS_HOME")
    names = (model_id,) if "/" in model_id else (model_id, f"sentence-transformers/{model_id}")
    files = ("modules.json", "config.json")
    return any(isinstance(try_to_load_from_cache(name, file, cache_dir=cache), str) for name in names for file in files)
