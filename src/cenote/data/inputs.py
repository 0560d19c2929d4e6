"""Whether an output is an input: it would overwrite it, or the next run would read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cenote.data.shards import expand_home, is_pattern, is_read
from cenote.errors import BadInput

# Tells whether a file, the second, is read with a folder.
IsRead = Callable[[Path, Path], bool]


def refuse_input(
    named: str,
    output: Path,
    inputs: Iterable[Any],
    is_read: IsRead = is_read,
    *,
    remedy: str = "name another file",
    error: type[BadInput] = BadInput,
) -> None:
    """Raise if an output is an input, of this run or of its repetition.

    Args:
        named: what the message calls the output.
        output: a file.
        inputs: files, folders and patterns; what is no path is passed over.
        is_read: tells whether a file is read with a folder.
        remedy: ends the message.
        error: that is raised.
    """
    path = output.resolve()
    named_paths = (one for one in inputs if isinstance(one, (str, Path)) and str(one) not in ("", "-"))
    sources = [Path(expand_home(one)).resolve() for one in named_paths]
    if any(_reads(source, path, is_read) for source in sources):
        fate = "is an input and would be overwritten" if path.exists() else "would be an input of the next run"
        raise error(f"{named} {str(output)!r} {fate}: {remedy}.")


def _reads(source: Path, path: Path, is_read: IsRead) -> bool:
    """Return whether a file is read with a source: the file, a folder, or a pattern."""
    if is_pattern(source):
        pattern = str(source)  # `**` stands for any folders, which no method of paths knows before Python 3.13
        return fnmatch(str(path), pattern.replace("**/", "*")) if "**" in pattern else path.match(pattern)
    return path == source or is_read(source, path)
