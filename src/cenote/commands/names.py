"""Split the names on a command line into models and texts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from cenote.data.shards import is_pattern
from cenote.data.texts import READERS
from cenote.errors import BadInput, Usage
from cenote.models.declared import DEMO


def split_names(names: Sequence[str]) -> tuple[list[str], str | list[Path] | None]:
    """Return the models, and the source of texts if the last name is one.

    The last name is texts if it is `-`, a file, a folder without a model, a pattern, or has the suffix of a file of
    texts; then files before it are texts too, but for the first name: a shell replaces a pattern by its files. It is a
    model if it is the folder of a model or `minilm`, or looks like a hub id: with a slash or a hyphen, such as
    `org/name` and `all-MiniLM-L6-v2`, or in the hub's cache. Anything else raises at once, without asking the hub. A
    single name is always a model.

    >>> split_names(["minilm", "-"]), split_names(["minilm", "all-mpnet-base-v2"])
    ((['minilm'], '-'), (['minilm', 'all-mpnet-base-v2'], None))
    """
    *others, last = names
    path = Path(last).expanduser()
    holds_model = any(_is_file(path / name) for name in ("modules.json", "config.json"))
    holds_texts = _is_file(path) or (_is_dir(path) and not holds_model)
    if last == "-" or holds_texts or _has_data_suffix(path) or is_pattern(path):
        if not others:
            raise Usage(f"{last!r} names texts, and no model is given: cenote diagnose MODEL {last}")
        files = list(takewhile(_is_file, (Path(name).expanduser() for name in reversed(others[1:]))))
        models = others[: len(others) - len(files)]
        return models, [*reversed(files), path] if files else last if last == "-" else str(path)
    looks_like_hub_id = last == DEMO or "/" in last or "-" in last or _in_cache(last)
    if others and not holds_model and not looks_like_hub_id:
        raise BadInput(
            f"{last!r} is neither a file of texts nor the folder of a model{_near_miss(path)} A hub id has a slash or "
            "a hyphen."
        )
    return list(names), None


# The methods of `Path` raise for a name that is too long, such as a text, and for a folder that may not be read.


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _has_data_suffix(path: Path) -> bool:
    return path.suffix != "" and any(path.name.endswith(suffix) for suffix in READERS)


def _in_cache(name: str) -> bool:
    """Return whether the hub's cache holds a model of this name, with or without its organisation."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
    return any(_is_dir(cache / f"models--{owner}{name}") for owner in ("", "sentence-transformers--"))


def _near_miss(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        names = []
    found = difflib.get_close_matches(path.name, [*names, DEMO], n=1)
    # A file is often named without its suffix.
    found = found or [name for name in names if _has_data_suffix(Path(name)) and name.startswith(f"{path.name}.")]
    return f"; did you mean {found[0]!r}?" if found else "."
