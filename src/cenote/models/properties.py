"""Properties of a loaded model: its token limit, its prompts, the width of its vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Normalize

from cenote.errors import BadInput, choose
from cenote.nn import NO_LIMIT, LandmarkTransformer
from cenote.surgery.positions import first_row_of, position_tables

# The prompts of a task, in the order in which `encode_query` and `encode_document` look for them.
_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}
# The limits of a module that tokenises texts: of queries, of documents, and of both.
_LIMITS_OF_TASKS = ("query_length", "document_length")
_LIMITS = ("max_seq_length", *_LIMITS_OF_TASKS)
# What a route may read, by sentence-transformers' names.
_TEXT = "text"


def reader_of(model: SentenceTransformer, task: str | None = None) -> Any:
    """Return the module that tokenises texts; of a Router that of the route which it takes for texts of the task."""
    first: Any = model[0]
    if not isinstance(first, Router):
        return first
    routes: Any = first.sub_modules
    try:
        return routes[first._resolve_route(task, _TEXT)][0]
    except ValueError as error:
        raise BadInput(str(error)) from error


def readers_of(model: SentenceTransformer) -> list[Any]:
    """Return all modules that tokenise texts: a Router has one on each route."""
    return [route[0] for route in routes_of(model).values()] or [model[0]]


def routes_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return the modules of each route of a Router, by its name; nothing for another model."""
    return dict(model[0].sub_modules.items()) if isinstance(model[0], Router) else {}


def tasks_of(model: SentenceTransformer) -> list[str | None]:
    """Return tasks by which all routes that texts can take are taken, each once; None stands for no task."""
    if not isinstance(model[0], Router):
        return [None]
    router: Any = model[0]
    tasks = [None, "query", "document", *router.sub_modules, *(task for task, _ in router.route_mappings)]
    found: dict[str, str | None] = {}
    for task in dict.fromkeys(tasks):
        with suppress(ValueError):  # no route of this task
            found.setdefault(router._resolve_route(task, _TEXT), task)
    return [
        task for route, task in found.items() if _TEXT in getattr(router.sub_modules[route][0], "modalities", [_TEXT])
    ]


def of_task(task: str | None) -> dict[str, str]:
    """Return the argument by which a model and its `preprocess` know the task; many modules take none."""
    return {} if task is None else {"task": task}


def set_limit(model: SentenceTransformer, limit: int, *, documents: bool = False) -> bool:
    """Let the readers of a model cut texts at a limit; return whether any of them has a limit that can be set.

    Higher limits of a task are lowered to it: they would go before.

    Args:
        model: any `SentenceTransformer`.
        limit: in tokens.
        documents: whether a lower limit of documents is raised to it too.
    """
    readers = [reader for reader in readers_of(model) if _takes_limit(reader)]
    for reader in readers:
        reader.max_seq_length = limit
        for name in _LIMITS_OF_TASKS:
            own = getattr(reader, name, None) or 0
            if own > limit or (own and documents and name == "document_length"):
                setattr(reader, name, limit)
    return bool(readers)


def _takes_limit(reader: Any) -> bool:
    """Return whether a module has a limit that can be set: that of static embeddings is infinite and only read."""
    own = getattr(type(reader), "max_seq_length", None)
    return hasattr(reader, "max_seq_length") and not (isinstance(own, property) and own.fset is None)


@contextmanager
def limits_kept(model: SentenceTransformer) -> Iterator[None]:
    """Give all readers of a model their limits back in the end, whatever was set meanwhile."""
    kept = [
        (reader, name, getattr(reader, name))
        for reader in readers_of(model)
        for name in _LIMITS
        if hasattr(reader, name)
    ]
    try:
        yield
    finally:
        for reader, name, limit in kept:
            if getattr(reader, name) != limit:  # of static embeddings it cannot be set
                setattr(reader, name, limit)


def tokenizer_of(model: SentenceTransformer, task: str | None = None) -> Any:
    """Return the tokenizer of texts of a task; None if the model has none."""
    return getattr(reader_of(model, task), "tokenizer", None)


def limit_of(model: SentenceTransformer, task: str | None = None) -> int | None:
    """Return the tokens after which the model cuts a text of the task, None for no limit."""
    return limit_of_reader(reader_of(model, task), task)


def limit_of_documents(model: SentenceTransformer) -> int | None:
    """Return the limit of documents; of texts without a task where a Router has no route for documents."""
    try:
        return limit_of(model, "document")
    except BadInput:
        return limit_of(model)


def limit_of_reader(reader: Any, task: str | None = None) -> int | None:
    """Return the tokens after which a module that tokenises texts cuts one of the task, None for no limit."""
    limit, own = getattr(reader, f"{task}_length", None), getattr(reader, "max_seq_length", None)
    # For sentence-transformers the limit of a task goes before, even if it is higher.
    limits = (limit, own) if limit is None or isinstance(reader, LandmarkTransformer) else (limit,)
    # A tokenizer without a limit states a number like 1e30.
    return min((int(limit) for limit in limits if isinstance(limit, (int, float)) and limit < NO_LIMIT), default=None)


def positions_of(model: SentenceTransformer) -> int | None:
    """Return the tokens that the model has learned positions for, None if it has no table of positions."""
    tables = position_tables(model)
    return min((table.num_embeddings - first_row_of(owner, table) for _, owner, table in tables), default=None)


def prompt_of(model: SentenceTransformer, name: str | None = None) -> str | None:
    """Return the text of a prompt: the named one, or the model's default."""
    if name is not None:
        prompt: str | None = choose(name, model.prompts, "prompt")
        return prompt
    return model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None


def prompt_name_for(model: SentenceTransformer, prompt_name: str | None, task: str | None) -> str | None:
    """Return `prompt_name`, or if it is None the name of the model's prompt for `task`."""
    if prompt_name is not None or task is None:
        return prompt_name
    return next((name for name in _PROMPTS.get(task, ()) if name in model.prompts), None)


def width_of(model: SentenceTransformer) -> int:
    """Return the number of dimensions of an embedding; encode a text where the model does not state it."""
    width = model.get_embedding_dimension()
    return int(width) if width else int(model.encode(["a"]).shape[1])


def makes_unit_vectors(model: SentenceTransformer) -> bool:
    """Return whether the model divides its vectors by their norms, and leaves all dimensions."""
    return model.truncate_dim is None and isinstance(model[-1], Normalize)
