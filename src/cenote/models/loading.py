"""Load a model from a folder, the hub or the demo package, with its own pooling or another.

The one place that knows about devices, dtypes, working offline and remote code.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import RepositoryNotFoundError
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.util import ORIGINAL_TRANSFORMER_MODELS
from transformers import PreTrainedTokenizerBase

from cenote._nn.config_keys import KEPT_IN_CONFIG
from cenote._nn.modules import config_of
from cenote.choices import AUTO, WEIGHT_DTYPES, PoolingName, WeightDtype
from cenote.errors import BadInput, CenoteWarning, check_at_least, choose, first_line
from cenote.functional.pooling import NAMES, canonical
from cenote.functional.temperature import Temperature, check_temperature
from cenote.models.declared import DEMO, find
from cenote.models.hub import ids_of, must_use_cache, no_such_model
from cenote.models.properties import positions_of, readers_of, set_limit
from cenote.models.provenance import note_revision
from cenote.models.repooling import MissingPooling, interval_settings, operators_of, pooling_in, pooling_index, repool
from cenote.models.weights import noted_reports, refuse_other_weights
from cenote.nn import LandmarkTransformer, Pooling
from cenote.nn import Temperature as SavedTemperature
from cenote.surgery.tempering import temper

DTYPES: dict[str, Any] = {name: AUTO if name == AUTO else getattr(torch, name) for name in WEIGHT_DTYPES}
# With this table our modules load without `trust_remote_code`, which would let in the model's own code too.
_OUR_CLASSES = {f"cenote.nn.{cls.__name__}": cls for cls in (LandmarkTransformer, Pooling, SavedTemperature)}


def load(
    model: str | Path,
    *,
    pooling: PoolingName | Sequence[PoolingName] | None = None,
    interval: int | Sequence[int] | None = None,
    temperature: Temperature | None = None,
    max_seq_length: int | None = None,
    device: str | torch.device | None = None,
    dtype: WeightDtype | torch.dtype | None = None,
    trust_remote_code: bool = False,
    strict: bool = True,
) -> SentenceTransformer:
    """Load an embedding model, optionally with another pooling.

    >>> model = load("minilm")
    >>> model.encode("a pool that a collapse made").shape
    (384,)
    >>> load("minilm", pooling=("mean", "max")).encode("a pool").shape
    (768,)

    Args:
        model: a folder, a hub id, or `"minilm"`, the demo model (from the package in the `[demo]` extra if it is
            installed, else from the hub). Only a hub id uses the network.
        pooling: a name or alias from `cenote poolings`, or several to concatenate. None keeps the declared pooling;
            a model that declares none gets a warning.
        interval: tokens per chunk for `landmark` and `multi_cls`, and k for `every_k`; default 32. Several: training
            draws one per text, and evaluation uses 32.
        temperature: divides the attention logits, as `cenote.temper` does; None keeps the saved temperature.
        max_seq_length: tokens after which a text is truncated; None keeps the model's own.
        device: a torch device; None takes the best one available.
        dtype: `float32`, `bfloat16`, `float16`, `auto` (as saved) or a torch dtype; None leaves it to the platform.
        trust_remote_code: run code from the model's repository. Cenote's own modules never need it.
        strict: refuse a model whose vectors depend on weights that its files lack, or have and it does not read. False
            leaves them random or unread, as sentence-transformers does.

    Returns:
        An ordinary `SentenceTransformer`, which can be trained, saved and passed to other libraries.
    """
    names: tuple[str, ...] | None = canonical(pooling) if pooling is not None else None
    if max_seq_length is not None:
        check_at_least(1, max_seq_length, "max_seq_length")
    _check_device(device)
    if temperature is not None:
        check_temperature(temperature)
    where, local = find(model)
    # The other weights format is pickle, which can run code.
    weights: dict[str, Any] = {"use_safetensors": True}
    if dtype is not None:
        weights["dtype"] = dtype if isinstance(dtype, torch.dtype) else choose(dtype, DTYPES, "dtype")
    if names is not None:
        interval_settings(names, interval)  # refuse a bad interval before reading weights
    with noted_reports() as reports:
        loaded, declared = _load(where, local, str(device) if device is not None else None, trust_remote_code, weights)
    label = str(model)
    settings = interval_settings(names or declared or (), interval)
    if declared is None and names is None:
        names = _assume_pooling(label, loaded)
    elif declared is not None and names is not None:
        _warn_of_untrained(names, declared, label)
    if names is not None or settings:
        repool(loaded, names or declared or (), **settings)
    if max_seq_length is not None:
        set_max_seq_length(loaded, max_seq_length)
    _apply_temperature(loaded, temperature)
    if not local:
        note_revision(loaded, where)
    if strict:
        refuse_other_weights(loaded, reports, label)
    return loaded


def _load(
    where: str, local: bool, device: str | None, trust_remote_code: bool, weights: dict[str, Any]
) -> tuple[SentenceTransformer, tuple[str, ...] | None]:
    """Return the model and its declared pooling: operators, the address of a foreign class, or None."""
    if not local and where.lower() not in ORIGINAL_TRANSFORMER_MODELS:
        where = ids_of(where)[0]
    only_cache = local or must_use_cache(where)
    files: Any = {"local_files_only": only_cache, "cache_folder": os.getenv("SENTENCE_TRANSFORMERS_HOME")}
    classes: dict[str, type] = dict(_OUR_CLASSES)
    try:
        entries: Any = Pooling.load_config(where, config_filename="modules.json", **files)
        types = [entry["type"] for entry in entries]
        pooled = len(types) > 1 and types[0].endswith("Transformer") and _is_st_pooling(types[1])
        if pooled and not Pooling.load_config(where, subfolder=entries[1]["path"], **files):
            classes[types[1]] = MissingPooling
        # A private method. Checked against sentence-transformers 6.0 to 6.2.
        model: SentenceTransformer = SentenceTransformer._load_with_module_classes(
            where,
            classes,
            device=device,
            trust_remote_code=trust_remote_code,
            local_files_only=only_cache,
            model_kwargs=weights,
        )
    except RepositoryNotFoundError as error:
        raise no_such_model(where) from error
    except Exception as error:  # a folder can be broken in more ways than anyone has listed
        if "trust_remote_code" in str(error):
            raise BadInput(
                f"{where!r} brings its own code: pass trust_remote_code=True (--trust-remote-code) if you trust its "
                f"authors. {first_line(error)}"
            ) from error
        hint = "" if local else f" Without a network, name a folder or {DEMO!r}."
        raise BadInput(f"cannot load {where!r}: {first_line(error)}{hint}") from error
    index = pooling_index(list(model))
    # Without `module_kwargs` the modules are defaults of sentence-transformers, not those of modules.json.
    if index is None or not model.module_kwargs or isinstance(model[index], MissingPooling):
        return model, None
    if pooled and index == 1:
        _use_our_pooling(model)
    pooling = model[index]
    return model, pooling.names if isinstance(pooling, Pooling) else (types[index],)


def _is_st_pooling(address: str) -> bool:
    return address.startswith("sentence_transformers.") and address.endswith(".Pooling")


def _use_our_pooling(model: Any) -> None:
    """Replace sentence-transformers' Pooling by ours: the same numbers, and errors where theirs would give zeros.

    One with an operator that only sentence-transformers has is kept.
    """
    theirs = model[1]
    config = theirs.get_config_dict()
    modes = config["pooling_mode"]
    if set([modes] if isinstance(modes, str) else modes) <= set(NAMES):
        model[1] = Pooling(**config).train(theirs.training)


def _assume_pooling(label: str, model: SentenceTransformer) -> tuple[str, ...] | None:
    """Warn that a model declares no pooling and return the assumed one; None for a model that needs none."""
    if not isinstance(model[0], Transformer) or model[0].module_output_name != "token_embeddings":
        return None
    names = operators_of(pooling_in(model)) or ("mean",)
    warnings.warn(
        f"{label} declares no pooling; assumed {'+'.join(names)!r}, as sentence-transformers does. The wrong pooling "
        "costs quality without an error: look up what the model was trained with and pass pooling=.",
        CenoteWarning,
        stacklevel=3,
    )
    return names


_REASONS = {
    "cls": "a CLS that was not trained to represent a text means little.",
    "landmark": "landmark pooling is learned: expect a loss until the model is trained with it.",
    "multi_cls": "CLS tokens inside a text are learned: expect a loss until the model is trained with them.",
}


def _warn_of_untrained(names: tuple[str, ...], declared: tuple[str, ...], label: str) -> None:
    """Warn of each chosen operator that the model was not trained with and that needs training."""
    for name in names:
        if name in _REASONS and name not in declared:
            message = f"{label} declares pooling {'+'.join(declared)!r}, not {name!r}: {_REASONS[name]}"
            warnings.warn(message, CenoteWarning, stacklevel=3)


def _apply_temperature(model: SentenceTransformer, temperature: Temperature | None) -> None:
    """Apply the given temperature, or the one that was saved as a module or in `config.json`."""
    if temperature is not None:
        temper(model, temperature)
        return
    module = next((module for module in model if isinstance(module, SavedTemperature)), None)
    saved = {key: getattr(module, key) for key in module.config_keys} if module is not None else None
    saved = saved or getattr(config_of(model[0]), KEPT_IN_CONFIG, None)
    if saved is not None:
        if not isinstance(saved, dict) or not {"temperature", "layers", "scale_bias"} <= saved.keys():
            raise BadInput(
                f"the model's saved temperature is {saved!r}: it needs temperature, layers and scale_bias. Save the "
                "model again, or pass a temperature."
            )
        temper(model, check_temperature(saved["temperature"]), layers=saved["layers"], scale_bias=saved["scale_bias"])


def _check_device(device: str | torch.device | None) -> None:
    if device is None:
        return
    try:
        torch.empty(1, device=device).tolist()  # the meta device can be created, but holds no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"device={str(device)!r} cannot be used here: {first_line(error)}") from error


def set_max_seq_length(model: SentenceTransformer, length: int, *, documents: bool = False) -> None:
    """Set the token limit; higher ones of queries and documents are lowered to it, and with `documents` theirs is it.

    Raise `BadInput` if the model has fewer positions, no limit, or no room for a word.
    """
    most = positions_of(model)
    if most is not None and length > most:
        raise BadInput(f"max_seq_length={length}: the model has positions for {most} tokens only.")
    tokenizers = [getattr(reader, "tokenizer", None) for reader in readers_of(model)]
    special = max(
        (t.num_special_tokens_to_add() for t in tokenizers if isinstance(t, PreTrainedTokenizerBase)), default=0
    )
    if length <= special:
        raise BadInput(
            f"max_seq_length={length}: the tokenizer adds {special} special tokens to every text, which leave no room."
        )
    if not set_limit(model, length, documents=documents):
        raise BadInput(f"max_seq_length={length}: {type(model[0]).__name__} has no such limit to set.")
