"""The Hugging Face hub: whether it answers, asked once before libraries that would retry, and what a model declares."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path

from cenote.errors import BadInput, first_line
from cenote.models.declared import DEMO, files_of_modules, find

TIMEOUT_S = 5.0
# Answers of a gateway on behalf of a hub that is down: the libraries would retry these too.
_DOWN = (502, 503, 504)
# The files of a model's folder in which it declares what it is. Its modules have one each.
_DECLARING = (
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
)


def refuse_missing(model: str | Path) -> None:
    """Raise `BadInput` if a model is no folder here, not in the cache, and not on a hub that answers.

    It imports nothing heavy: a command calls it before anything else.
    """
    where, local = find(model)
    if not local:
        must_use_cache(where)


def configuration_of(model_id: str) -> Path:
    """Return a folder with the files in which a model on the hub declares what it is; weights are never fetched.

    The files are kept in the cache of the hub. Where the hub does not answer, those of the cache are used.

    Raises:
        BadInput: the hub does not answer and the model is not in the cache, or the hub does not have or show it.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if (problem := why_unreachable()) is not None:
        if (folder := cached_folder(model_id)) is None:
            raise _unreachable(model_id, problem)
        return folder
    for name in ids_of(model_id):
        try:
            folder = _fetch_declaring(name)
        except GatedRepoError as error:
            raise BadInput(
                f"{name!r} is gated: accept its terms on the hub, and log in with `hf auth login`."
            ) from error
        except RepositoryNotFoundError:
            continue
        except Exception as error:  # the hub and the network fail in more ways than anyone has listed
            raise BadInput(f"cannot read the configuration of {name!r}: {first_line(error)}") from error
        if folder is None:
            raise BadInput(f"{name!r} is no model: the hub has no modules.json or config.json of it.")
        return folder
    raise no_such_model(model_id)


def no_such_model(model_id: str) -> BadInput:
    """Return the error for an id that the hub does not know, or does not show."""
    return BadInput(
        f"cannot load {model_id!r}: the hub has no such model, or it is private. Check the id, log in with "
        f"`hf auth login`, or name a folder or {DEMO!r}."
    )


def must_use_cache(model_id: str) -> bool:
    """Return whether `model_id` has to come from the cache because the hub does not answer.

    False where HF_HUB_OFFLINE is set: there the libraries use the cache of their own accord.

    Raises:
        BadInput: the hub does not answer and the model is not in the cache.
    """
    from huggingface_hub import constants

    problem = why_unreachable()
    if problem is not None and not _is_cached(model_id):
        raise _unreachable(model_id, problem)
    return problem is not None and not constants.HF_HUB_OFFLINE


def why_unreachable() -> str | None:
    """Return why the hub cannot be reached, or None if it answers. The answer is kept for the process."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return _ask_hub()


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


def _unreachable(model_id: str, problem: str) -> BadInput:
    """Return the error for a model that is not in the cache while the hub does not answer."""
    from huggingface_hub import constants

    _ask_hub.cache_clear()  # the network may be mended before the next call
    return BadInput(
        f"cannot load {model_id!r}: it is not in the cache, and {constants.ENDPOINT} cannot be reached "
        f"({problem}). Check the id and the network, or name a folder or {DEMO!r}; HF_HUB_OFFLINE=1 uses cached "
        "models without asking the hub."
    )


def ids_of(model_id: str) -> tuple[str, ...]:
    """Return the ids that an id may mean: a bare one may be one of sentence-transformers' own."""
    return (model_id,) if "/" in model_id else (f"sentence-transformers/{model_id}", model_id)


def cached_folder(model_id: str) -> Path | None:
    """Return the folder in the cache that holds a model's main file; None if the cache has none."""
    from huggingface_hub import try_to_load_from_cache

    for name in ids_of(model_id):
        for file in _DECLARING[:2]:
            found = try_to_load_from_cache(name, file, cache_dir=os.getenv("SENTENCE_TRANSFORMERS_HOME"))
            if isinstance(found, str):
                return Path(found).parent
    return None


def _is_cached(model_id: str) -> bool:
    """Return whether the cache holds a model, and not its configuration alone."""
    folder = cached_folder(model_id)
    return folder is not None and any(file.suffix not in ("", ".json") for file in folder.rglob("*"))


def _fetch_declaring(name: str) -> Path | None:
    """Fetch the files in which a model declares what it is; return their folder, or None if it has no main file."""
    folder = next(filter(None, (_fetch(name, file) for file in _DECLARING[:2])), None)
    if folder is not None:
        for file in (*_DECLARING[1:], *files_of_modules(folder)):
            _fetch(name, file, folder.name)  # of the same commit
    return folder


def _fetch(name: str, file: str, revision: str | None = None) -> Path | None:
    """Fetch a file of a model into the cache; return its folder there, or None if the hub has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        path = hf_hub_download(name, file, revision=revision, cache_dir=os.getenv("SENTENCE_TRANSFORMERS_HOME"))
    except EntryNotFoundError:
        return None
    return Path(path).parent
