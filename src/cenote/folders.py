"""Where something new is written: in a folder that is not there yet, or holds nothing."""

from __future__ import annotations

from pathlib import Path

from cenote.errors import BadInput


def refuse_taken(folder: str | Path) -> Path:
    """The path of a folder to write; raise if there is something in it, or a file in its place.

    >>> refuse_taken("a/new/one").name
    'one'
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInput(f"{str(folder)!r} is there already: name a new folder.")
    return path
