"""What the files of a model folder declare, and which file says so. Nothing is loaded, and nothing is assumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cenote.errors import BadInput
from cenote.loading import find
from cenote.nn import BAKED_IN_CONFIG, KEPT_IN_CONFIG

Content = TypeVar("Content", dict[str, Any], list[dict[str, Any]])
Found = tuple[Any, str]  # the value, and the file, relative to the folder, with the key that holds it


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
    for config, name in _of_module("Temperature")(folder):
        yield config.get("temperature"), f"{name}: temperature"
    if kept := _parse(folder / "config.json", dict[str, Any]()).get(KEPT_IN_CONFIG):
        yield kept["temperature"], f"config.json: {KEPT_IN_CONFIG}"


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
