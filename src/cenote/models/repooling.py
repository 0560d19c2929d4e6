"""Replace the pooling of a loaded model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling

from cenote._nn.cards import note_change
from cenote.errors import BadInput, some
from cenote.functional.landmarks import INTERVAL, check_settings
from cenote.functional.pooling import POOLINGS, canonical
from cenote.nn import LANDMARK_DEFAULTS, LandmarkTransformer, Pooling


class MissingPooling(torch.nn.Identity):
    """Holds the place of a Pooling whose configuration file is missing."""

    @classmethod
    def load(cls, *_: Any, **__: Any) -> MissingPooling:
        """Return a placeholder; sentence-transformers calls this method to load a module."""
        return cls()


def repool(model: SentenceTransformer, pooling: str | Sequence[str], **settings: Any) -> SentenceTransformer:
    """Replace the pooling of a loaded model in place, and return the model.

    Its transformer, prompts and later modules stay. If a setting is refused, the model is unchanged.

    >>> import cenote
    >>> model = repool(cenote.load("minilm"), "every_k", k=16)
    >>> model[1].names, model[1].options
    (('every_k',), {'k': 16})

    Args:
        model: a `SentenceTransformer` that starts with a transformer.
        pooling: a name or alias from `cenote poolings`, or several to concatenate.
        **settings: `k` for `every_k`; `interval`, `splitter`, `training_intervals` and `seed` of
            `cenote.nn.LandmarkTransformer` for `landmark` and `multi_cls`.
    """
    names = canonical(pooling)
    modules: list[Any] = list(model)
    reader = modules[0]
    if not isinstance(reader, Transformer) or reader.module_output_name != "token_embeddings":
        raise BadInput(
            f"the model starts with {type(reader).__name__}, which gives no token embeddings to pool: "
            "pooling can only be chosen for a model that starts with a transformer."
        )
    markers = [name for name in names if POOLINGS[name].marks]
    if len(markers) > 1:
        raise BadInput(f"{' and '.join(markers)} insert different tokens: choose one of them.")
    options = {key for name in names for key in POOLINGS[name].options} - {"landmarks"}
    landmarks = set(LANDMARK_DEFAULTS) - {"marker"} if markers else set()
    for key in settings:
        if key not in options | landmarks:
            takes = f"it takes {some(sorted(options | landmarks))}" if options | landmarks else "it takes none"
            raise BadInput(f"setting {key!r} is not one of pooling {'+'.join(names)}: {takes}.")
    index = pooling_index(modules)
    old = modules[index] if index else None
    new = pooling_for(model, names, **{key: value for key, value in settings.items() if key in options})
    if markers:
        own = {key: value for key, value in settings.items() if key in landmarks}
        reader = LandmarkTransformer.adopt(reader, marker=markers[0], **own)
    elif isinstance(reader, LandmarkTransformer):
        reader = reader.plain()

    # The other modules keep their names; a model without a pooling gets one after the reader.
    entries = list(model._modules.items())
    entries[0] = (entries[0][0], reader)
    if index is None:
        entries.insert(1, ("pooling", new))
    else:
        entries[index] = (entries[index][0], new)
    model._modules.clear()
    model._modules.update(entries)
    note_change(model, operators_of(old), names)
    return model


def pooling_for(model: SentenceTransformer, pooling: str | Sequence[str], **options: Any) -> Pooling:
    """Return a pooling in place of a model's own, which has its settings; raise if the later modules cannot take it.

    >>> import cenote
    >>> pooling_for(cenote.load("minilm"), "max").names
    ('max',)

    Args:
        model: a `SentenceTransformer` that starts with a transformer.
        pooling: a name, or several to concatenate.
        **options: of the operators.
    """
    names, modules = canonical(pooling), list[Any](model)
    index = pooling_index(modules)
    old = modules[index] if index else None
    takes = {key for name in names for key in POOLINGS[name].options} - {"landmarks"}
    kept = {key: value for key, value in (old.options if isinstance(old, Pooling) else {}).items() if key in takes}
    include_prompt = bool(getattr(old, "include_prompt", True))
    new = Pooling(modules[0].get_embedding_dimension(), names, include_prompt, **{**kept, **options})
    _check_width(new, modules[index + 1 if index else 1 :])
    return new.train(model.training)


def pooling_index(modules: Sequence[torch.nn.Module]) -> int | None:
    """Return the index of the pooling module: any class named Pooling, also one of the model's own code."""
    names = ("Pooling", MissingPooling.__name__)
    return next((i for i, module in enumerate(modules) if i and type(module).__name__ in names), None)


def pooling_in(model: Iterable[torch.nn.Module]) -> StPooling | None:
    """Return the first Pooling of ours or of sentence-transformers, which can be replaced; None if there is none."""
    return next((module for module in model if isinstance(module, StPooling)), None)


def operators_of(module: torch.nn.Module | None) -> tuple[str, ...]:
    """Return the operators of a Pooling by our names; () for any other module."""
    return canonical(module.pooling_mode) if isinstance(module, StPooling) else ()


def interval_settings(names: Sequence[str], interval: int | Sequence[int] | None) -> dict[str, Any]:
    """Return the settings of `repool` that apply `interval` to the named poolings."""
    if interval is None:
        return {}
    takers = [name for name, row in POOLINGS.items() if row.marks or "k" in row.options]
    if not set(names) & set(takers):
        raise BadInput(
            f"interval={interval!r} goes with pooling {', '.join(takers)}, not with {'+'.join(names) or 'none'}."
        )
    several = list(interval) if isinstance(interval, (list, tuple)) else None
    if several == []:
        raise BadInput(f"interval={interval!r} is empty: give one number, or several to draw from in training.")
    if several and "every_k" in names:
        raise BadInput(f"interval={interval!r}: several intervals are for landmarks; every_k takes one number.")
    check_settings(INTERVAL if several else interval, "fixed", several or [INTERVAL], "landmark")  # type: ignore[arg-type]
    settings: dict[str, Any] = {"k": interval} if "every_k" in names else {}
    if any(POOLINGS[name].marks for name in names):
        drawn = {"interval": INTERVAL, "splitter": "variable", "training_intervals": several}
        settings |= drawn if several else {"interval": interval}
    return settings


def _check_width(new: Pooling, later: Sequence[torch.nn.Module]) -> None:
    """Raise `BadInput` if the next module with a fixed width does not take the new vectors."""
    # The attributes in which modules keep the width of their input.
    known = [(module, getattr(module, name, None)) for module in later for name in ("in_features", "dimension")]
    module, takes = next((one for one in known if one[1] is not None), (None, None))
    width = new.get_embedding_dimension()
    if module is not None and takes != width:
        raise BadInput(
            f"pooling {'+'.join(new.names)} gives {width} dimensions, and the model's {type(module).__name__} "
            f"after it takes {takes}: choose a pooling of that size."
        )
