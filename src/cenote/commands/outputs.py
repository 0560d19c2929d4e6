"""Files of a result: `-o` for a page or Markdown, `--json` for all figures; checked before the work, written first."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cenote.auditing.endpoint_addresses import is_address, shown
from cenote.data.shards import is_pattern, is_read
from cenote.errors import BadInput, CenoteError, Usage
from cenote.storage import write_result

# Tells whether a file, the second, is read with a folder.
IsRead = Callable[[Path, Path], bool]


def check_outputs(
    args: argparse.Namespace, suffixes: Iterable[str], inputs: Sequence[Any], is_read: IsRead = is_read
) -> None:
    """Raise if an output is of no known kind, has the name of another or of an input, or cannot be written.

    Args:
        args: with `output` and `json`.
        suffixes: that a page may have.
        inputs: files, folders and patterns that must not be overwritten, or lists of them.
        is_read: tells whether a file is read with a folder.
    """
    suffix = Path(args.output or "").suffix
    if args.output is not None and suffix not in suffixes:
        raise Usage(f"-o {args.output!r}: name a file that ends in {' or '.join(suffixes)}.")
    _refuse_overwriting(args, inputs, is_read)
    for path in (args.output, args.json):
        if path not in (None, "-"):
            _refuse_unwritable(Path(path))


def deliver(args: argparse.Namespace, found: Any, lines: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    """Write the files of a result, and yield its JSON or its lines, then the names of the files."""
    printed = iter([found.to_json().rstrip()]) if args.json == "-" else lines(found)
    try:  # files first: the reader of the lines may leave before the last one
        if args.json and args.json != "-":
            write_result(Path(args.json), found.to_json().encode())
        if args.output:
            found.save(args.output, command=command_line(sys.argv[1:]))
    except CenoteError:
        yield from printed  # what took hours is not lost with a full disk
        raise
    yield from printed
    if args.json != "-":
        yield from (f"{what}: {path}" for what, path in (("figures", args.json), ("report", args.output)) if path)


def command_line(words: Sequence[str]) -> str:
    """Return the command line that a page shows: an address without its query, which may hold a key.

    >>> command_line(["parity", "minilm", "https://api.example.com/v1?api_key=secret"])
    'cenote parity minilm https://api.example.com/v1'
    """
    return shlex.join(["cenote", *(shown(one) if is_address(one) else one for one in words)])


def _refuse_overwriting(args: argparse.Namespace, inputs: Sequence[Any], is_read: IsRead) -> None:
    """Raise if two outputs have the same name, or an output is an input, of this run or of its repetition."""
    named = (("-o", args.output), ("--json", args.json))
    outputs = [(name, Path(path).resolve()) for name, path in named if path not in (None, "-")]
    if len({path for _, path in outputs}) < len(outputs):
        raise Usage(f"-o and --json both name {args.json!r}: name two files.")
    every = [path for one in inputs for path in (one if isinstance(one, list) else [one])]
    read = [Path(path).resolve() for path in every if path not in (None, "-")]
    for name, path in outputs:
        if any(_reads(source, path, is_read) for source in read):
            fate = "is an input and would be overwritten" if path.exists() else "would be an input of the next run"
            raise Usage(f"{name} {str(path)!r} {fate}: name another file.")


def _reads(source: Path, path: Path, is_read: IsRead) -> bool:
    """Return whether a file is read with a source: the file, a folder, or a pattern."""
    if is_pattern(source):
        pattern = str(source)  # `**` stands for any folders, which no method of paths knows before Python 3.13
        return fnmatch(str(path), pattern.replace("**/", "*")) if "**" in pattern else path.match(pattern)
    return path == source or is_read(source, path)


def _refuse_unwritable(file: Path) -> None:
    new = not file.exists()
    try:
        file.open("a").close()
    except OSError as error:
        missing = "" if file.parent.is_dir() else f" There is no folder {str(file.parent)!r}."
        raise BadInput(f"cannot write {str(file)!r}: {error.strerror}.{missing}") from error
    if new:
        file.unlink()
