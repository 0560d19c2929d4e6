"""Models in: from a hub id, a folder or the demo package, with the pooling that the user wants.

The one place that knows about devices, dtypes, working offline and remote code.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from transformers import PreTrainedTokenizerBase

from cenote.cards import note_change
from cenote.declarations import DEMO, KEPT_IN_CONFIG, find
from cenote.errors import BadInput, CenoteWarning, choose, some
from cenote.functional.landmarks import INTERVAL, check_settings
from cenote.functional.pooling import NAMES, POOLINGS, canonical
from cenote.functional.temperature import Temperature, check_temperature, from_json
from cenote.nn import LANDMARK_DEFAULTS, LandmarkTransformer, Pooling
from cenote.nn import Temperature as SavedTemperature
from cenote.surgery.tempering import temper

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "auto": "auto",
}


def load(
    model: str | Path,
    *,
    pooling: str | Sequence[str] | None = None,
    interval: int | Sequence[int] | None = None,
    temperature: Temperature | None = None,
    max_seq_length: int | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformer:
    """Load an embedding model, with another pooling if you say so.

    >>> model = load("minilm")
    >>> model.encode("a pool that a collapse made").shape
    (384,)
    >>> load("minilm", pooling=("mean", "max")).encode("a pool").shape
    (768,)

    Args:
        model: a folder, a hub id, or `"minilm"`, the demo model (from the package in the `[demo]` extra if it is
            installed, else from the hub). Nothing but a hub id touches the network.
        pooling: a name or alias from `cenote poolings`, or several to concatenate. None keeps what the model
            declares; where it declares nothing, that is said in a warning.
        interval: tokens per chunk for `landmark` and `multi_cls`, and k for `every_k`; default 32. Several: training
            draws one per text, and evaluation uses 32.
        temperature: divides the attention logits, as `cenote.temper` does; None keeps what the model was saved with.
        max_seq_length: tokens after which a text is cut; None keeps the model's own.
        device: as torch spells it; None takes the best there is.
        dtype: `float32`, `bfloat16`, `float16`, `auto` (as saved) or a torch dtype; None leaves it to the platform.
        trust_remote_code: run code that the model brings along. Cenote's own modules never need it.

    Returns:
        A `SentenceTransformer` like any other: it trains, saves, and goes wherever they go.
    """
    names = canonical(pooling) if pooling is not None else None
    _check(max_seq_length, device, temperature)
    where, local = find(model)
    kwargs: dict[str, Any] = {
        "device": str(device) if device is not None else None,
        "trust_remote_code": trust_remote_code,
        "local_files_only": local,
        "model_kwargs": _weights(dtype),
    }
    if names is not None:
        _interval_settings(names, interval)  # what can be refused before the weights are read, is
    loaded, declared = _load(where, kwargs)
    label = str(model)
    settings = _interval_settings(names or declared or (), interval)
    if declared is None and names is None:
        names = _assumption(label, loaded)
    elif declared is not None and names is not None:
        _warn_of(names, declared, label)
    if names is not None or settings:
        repool(loaded, names or declared or (), **settings)
    if max_seq_length is not None:
        _limit(loaded, max_seq_length)
    _temper(loaded, temperature)
    return loaded


def _temper(model: SentenceTransformer, temperature: Temperature | None) -> None:
    """Apply the given temperature, or the one that the model was saved with, as a module or in its config."""
    if temperature is not None:
        temper(model, temperature)
        return
    saved = next(
        ({key: getattr(m, key) for key in m.config_keys} for m in model if isinstance(m, SavedTemperature)), None
    )
    saved = saved or getattr(getattr(getattr(model[0], "model", None), "config", None), KEPT_IN_CONFIG, None)
    if saved is not None:
        temper(model, from_json(saved["temperature"]), layers=saved["layers"], scale_bias=saved["scale_bias"])


def _weights(dtype: str | torch.dtype | None) -> dict[str, Any]:
    """How weights are read."""
    safe = {"use_safetensors": True}  # the other format is pickle, which can hold anything
    if dtype is None:
        return safe
    return {**safe, "dtype": dtype if isinstance(dtype, torch.dtype) else choose(dtype, DTYPES, "dtype")}


def repool(model: SentenceTransformer, pooling: str | Sequence[str], **settings: Any) -> SentenceTransformer:
    """Give a loaded model another pooling, in place; its transformer, prompts and later modules stay.

    `settings` are `k` for `every_k`, and `interval`, `splitter`, `training_intervals` and `seed` of
    `cenote.nn.LandmarkTransformer` for `landmark` and `multi_cls`. What is refused leaves the model as it was.

    >>> model = repool(load("minilm"), "every_k", k=16)
    >>> model[1].names, model[1].options
    (('every_k',), {'k': 16})
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
        raise BadInput(f"{' and '.join(markers)} insert different tokens: one model can read only one of them.")
    options, landmarks = _split_settings(names, settings)
    place = _place(modules)
    include_prompt = bool(getattr(modules[place], "include_prompt", True)) if place else True
    if place and isinstance(modules[place], Pooling):
        options = {**{key: value for key, value in modules[place].options.items() if key in _own(names)}, **options}
    new = Pooling(reader.get_embedding_dimension(), names, include_prompt, **options).train(model.training)
    _check_width(new, modules[place + 1 if place else 1 :])
    if markers:
        reader = LandmarkTransformer.adopt(reader, marker=markers[0], **landmarks)
    elif isinstance(reader, LandmarkTransformer):
        reader = reader.plain()

    _install(model, reader, new, place)
    note_change(model, _names_of(modules[place]) if place else (), names)
    return model


def _install(model: Any, reader: torch.nn.Module, new: Pooling, place: int | None) -> None:
    """Put both in their places; a pooling that was nowhere follows the reader. The modules keep their names."""
    entries = list(model._modules.items())
    entries[0] = (entries[0][0], reader)
    if place is None:
        entries.insert(1, ("pooling", new))
    else:
        entries[place] = (entries[place][0], new)
    model._modules.clear()
    model._modules.update(entries)


def _names_of(module: torch.nn.Module) -> tuple[str, ...]:
    return canonical(module.pooling_mode) if isinstance(module, StPooling) else ()


def _split_settings(names: Sequence[str], settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that are the operators' and those that are the reader's; one that is nobody's is refused."""
    own = _own(names)
    marks = any(POOLINGS[name].marks for name in names)
    reads = set(LANDMARK_DEFAULTS) - {"marker"} if marks else set()
    for key in settings:
        if key not in own | reads:
            takes = f"it takes {some(sorted(own | reads))}" if own | reads else "it takes none"
            raise BadInput(f"setting {key!r} is not one of pooling {'+'.join(names)}: {takes}.")
    return (
        {key: value for key, value in settings.items() if key in own},
        {key: value for key, value in settings.items() if key in reads},
    )


def _own(names: Sequence[str]) -> set[str]:
    return {key for name in names for key in POOLINGS[name].options} - {"landmarks"}


def _place(modules: Sequence[torch.nn.Module]) -> int | None:
    """Where a model pools: at a Pooling, of whoever's making."""
    return next((i for i, module in enumerate(modules) if i and type(module).__name__ in _POOLING_NAMES), None)


def _interval_settings(names: Sequence[str], interval: int | Sequence[int] | None) -> dict[str, Any]:
    """What `interval` means to the named poolings."""
    if interval is None:
        return {}
    takers = [name for name, row in POOLINGS.items() if row.marks or "k" in row.options]
    if not set(names) & set(takers):
        raise BadInput(
            f"interval={interval!r} goes with pooling {', '.join(takers)}, not with {'+'.join(names) or 'none'}."
        )
    drawn = list(interval) if isinstance(interval, (list, tuple)) else None
    if drawn == []:
        raise BadInput(f"interval={interval!r} is empty: give a number, or the numbers to draw from.")
    if drawn and "every_k" in names:
        raise BadInput(f"interval={interval!r}: intervals are drawn for landmarks; every_k takes one number.")
    check_settings(INTERVAL if drawn else interval, "fixed", drawn or [INTERVAL], "landmark")  # type: ignore[arg-type]
    settings: dict[str, Any] = {"k": interval} if "every_k" in names else {}
    if any(POOLINGS[name].marks for name in names):
        drawing = {"interval": INTERVAL, "splitter": "variable", "training_intervals": drawn}
        settings |= drawing if drawn else {"interval": interval}
    return settings


def _check(length: int | None, device: str | torch.device | None, temperature: Temperature | None) -> None:
    """What can be refused before anything is read."""
    _check_length(length)
    _check_device(device)
    if temperature is not None:
        check_temperature(temperature)


def _check_length(value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadInput(f"max_seq_length={value!r}: pass a whole number of tokens, at least 1.")


def _check_device(device: str | torch.device | None) -> None:
    if device is None:
        return
    try:
        torch.empty(1, device=device).tolist()  # the meta device, for one, has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"device={str(device)!r} cannot be used here: {_line(error)}") from error


class _Classes(dict[str, type]):
    """What the classes that a modules.json names become; it remembers the names in their order.

    Ours are there, so that they load without `trust_remote_code`. The Pooling that follows a transformer becomes ours
    as well: the same numbers, and an error where sentence-transformers' would be zeros.
    """

    def __init__(self) -> None:
        super().__init__({f"cenote.nn.{cls.__name__}": cls for cls in (LandmarkTransformer, Pooling, SavedTemperature)})
        self.asked: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        theirs = name.startswith("sentence_transformers.") and name.endswith(".Pooling")
        if theirs and len(self.asked) == 2 and self.asked[0].endswith("Transformer"):
            return _Declared
        return super().get(name, default)


class _Declared(Pooling):
    """Reads what a folder declares of its pooling, even if that is nothing."""

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> torch.nn.Module:  # type: ignore[override]
        hub = ("subfolder", "token", "cache_folder", "revision", "local_files_only")
        config = cls.load_config(model_name_or_path, **{key: kwargs[key] for key in hub if key in kwargs})
        if not config:
            return _Undeclared()
        modes = config.get("pooling_mode", "mean")
        ours = all(
            mode in NAMES or mode not in StPooling.POOLING_MODES
            for mode in ([modes] if isinstance(modes, str) else modes)
        )
        return Pooling(**config) if ours else StPooling(**config)  # theirs has operators that ours lacks


class _Undeclared(torch.nn.Identity):
    """Stands for a pooling module whose configuration is missing, until another takes its place."""


_POOLING_NAMES = ("Pooling", _Undeclared.__name__)


def _load(where: str, kwargs: dict[str, Any]) -> tuple[SentenceTransformer, tuple[str, ...] | None]:
    """The model, and the pooling that it declares: operators, or the name of a class of its own; None for nothing."""
    classes = _Classes()
    try:
        # A private door, and not made for this. `trust_remote_code` would let our classes in, but the model's own code
        # with them; through here come only the classes named above. Checked against sentence-transformers 6.0 to 6.2.
        model: SentenceTransformer = SentenceTransformer._load_with_module_classes(where, classes, **kwargs)
    except Exception as error:  # a folder can be broken in more ways than anyone has listed
        if "trust_remote_code" in str(error):
            raise BadInput(
                f"{where!r} brings its own code: pass trust_remote_code=True (--trust-remote-code) if you trust its "
                f"authors. {_line(error)}"
            ) from error
        hint = "" if kwargs["local_files_only"] else f" Offline, name a folder or {DEMO!r}."
        raise BadInput(f"cannot load {where!r}: {_line(error)}{hint}") from error
    place = _place(list(model))
    if place is None or not classes.asked or isinstance(model[place], _Undeclared):
        return model, None
    module = model[place]
    return model, module.names if isinstance(module, Pooling) else (classes.asked[place],)


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _assumption(where: str, model: SentenceTransformer) -> tuple[str, ...] | None:
    """The pooling to give a model that declares none, said aloud; None for one that needs none."""
    if not isinstance(model[0], Transformer) or model[0].module_output_name != "token_embeddings":
        return None
    names = next((_names_of(module) for module in model if isinstance(module, StPooling)), ("mean",))
    warnings.warn(
        f"{where} declares no pooling; assumed {'+'.join(names)!r}, as sentence-transformers does. The wrong pooling "
        "costs quality without an error: look up what the model was trained with and pass pooling=.",
        CenoteWarning,
        stacklevel=3,
    )
    return names


_REASONS = {
    "cls": "a CLS that was not tuned to stand for a text means little.",
    "landmark": "landmark pooling is learned: expect a loss until the model is trained with it.",
    "multi_cls": "CLS tokens inside a text are learned: expect a loss until the model is trained with them.",
}


def _warn_of(names: tuple[str, ...], declared: tuple[str, ...], where: str) -> None:
    for name in names:
        if name in _REASONS and name not in declared:
            message = f"{where} declares pooling {'+'.join(declared)!r}, not {name!r}: {_REASONS[name]}"
            warnings.warn(message, CenoteWarning, stacklevel=3)


# Under what attribute a module after the pooling keeps the width that it takes.
_WIDTHS = ("in_features", "dimension")


def _check_width(new: Pooling, after: Sequence[torch.nn.Module]) -> None:
    """Refuse a pooling whose vectors the next module with a width of its own cannot take."""
    wide = new.get_embedding_dimension()
    for module in after:
        takes = next((getattr(module, name) for name in _WIDTHS if hasattr(module, name)), None)
        if takes is not None and takes != wide:
            raise BadInput(
                f"pooling {'+'.join(new.names)} gives {wide} dimensions, and the model's {type(module).__name__} "
                f"after it takes {takes}: choose a pooling of that size."
            )
        if takes is not None:
            return


def _limit(model: SentenceTransformer, length: int) -> None:
    tables = [getattr(module, "position_embeddings", None) for module in model.modules()]
    for table in tables:
        if isinstance(table, torch.nn.Embedding):
            # RoBERTa and its kin count positions from padding_idx + 1.
            most = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
            if length > most:
                raise BadInput(f"max_seq_length={length}: the model has positions for {most} tokens only.")
    try:
        model.max_seq_length = length
    except AttributeError:
        raise BadInput(f"max_seq_length={length}: {type(model[0]).__name__} has no such limit to set.") from None
    tokenizer = model.tokenizer
    around = tokenizer.num_special_tokens_to_add() if isinstance(tokenizer, PreTrainedTokenizerBase) else 0
    if length <= around:
        raise BadInput(f"max_seq_length={length}: the model's own {around} tokens around every text leave no room.")
