"""Which of the names on a command line are models, and which is of texts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from cenote.commands.shared import Usage
from cenote.declarations import DEMO
from cenote.errors import BadInput


def models_and_texts(names: Sequence[str]) -> tuple[list[str], str | None]:
    """The models, and what the last name is of texts: None where it is a model too.

    It is texts if it is `-`, a file, a folder that is no model's, or ends as files of texts do. It is a model if it is
    a model's folder or `minilm`, or is written like a hub id: with a slash or a hyphen, as `org/name` and
    `all-MiniLM-L6-v2` are, or as one that the hub's cache holds. Anything else is a mistake, and not one to wait for
    the hub with. A name that stands alone is a model, whatever it looks like.

    >>> models_and_texts(["minilm", "-"]), models_and_texts(["minilm", "all-mpnet-base-v2"])
    ((['minilm'], '-'), (['minilm', 'all-mpnet-base-v2'], None))
    """
    *others, last = names
    path = Path(last).expanduser()
    holds_model = any((path / name).is_file() for name in ("modules.json", "config.json"))
    there = path.is_file() or (path.is_dir() and not holds_model)
    if last == "-" or there or _is_data(path):
        if not others:
            raise Usage(f"{last!r} is texts, and there is no model: cenote diagnose MODEL {last}")
        return others, last if last == "-" else str(path)
    if others and not holds_model and not _may_be_a_model(last):
        raise BadInput(
            f"{last!r} is neither a file of texts nor a model folder here{_near(path)} A model of the hub has a slash "
            "or a hyphen in its name."
        )
    return list(names), None


def _is_data(path: Path) -> bool:
    """Whether a name that is not there was meant as a file of texts; the reader says what is wrong with it."""
    from cenote.texts import READERS

    return path.suffix != "" and any(path.name.endswith(suffix) for suffix in READERS)


def _may_be_a_model(name: str) -> bool:
    return name == DEMO or "/" in name or "-" in name or _in_cache(name)


def _in_cache(name: str) -> bool:
    """Whether the hub's cache on this machine holds a model of this name, its organisation left out or not."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
    return any((cache / f"models--{owner}{name}").is_dir() for owner in ("", "sentence-transformers--"))


def _near(path: Path) -> str:
    """What may have been meant, of the files beside it and the demo model."""
    try:
        there = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        there = []
    found = difflib.get_close_matches(path.name, [*there, DEMO], n=1)
    # A file is often named without its ending.
    found = found or [name for name in there if _is_data(Path(name)) and name.startswith(f"{path.name}.")]
    return f"; did you mean {found[0]!r}?" if found else "."
