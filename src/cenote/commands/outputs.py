"""Files of a result: `-o` for a page or Markdown, `--json` for all figures; checked before the work, written first."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from cenote.auditing.endpoint_addresses import is_address, shown
from cenote.data.inputs import IsRead, refuse_input
from cenote.data.shards import is_read
from cenote.errors import BadInput, CenoteError, Usage
from cenote.storage import write_result


def check_outputs(
    args: argparse.Namespace,
    suffixes: Iterable[str],
    inputs: Sequence[Any],
    is_read: IsRead = is_read,
    *,
    page: str = "-o",
    others: Mapping[str, str | None] | None = None,
) -> None:
    """Raise if an output is of no known kind, has the name of another or of an input, or cannot be written.

    Args:
        args: with `output` and `json`.
        suffixes: that a page may have.
        inputs: files, folders and patterns that must not be overwritten, or lists of them.
        is_read: tells whether a file is read with a folder.
        page: the option that `output` comes from.
        others: what else is written, by its option.
    """
    suffix = Path(args.output or "").suffix
    if args.output is not None and suffix not in suffixes:
        raise Usage(f"{page} {args.output!r}: name a file that ends in {' or '.join(suffixes)}.")
    named = {page: args.output, "--json": args.json, **(others or {})}
    outputs = {option: path for option, path in named.items() if path not in (None, "-")}
    for (one, path), (other, same) in combinations(outputs.items(), 2):
        if Path(path).resolve() == Path(same).resolve():
            raise Usage(f"{one} and {other} both name {same!r}: give each a name of its own.")
    every = [path for one in inputs for path in (one if isinstance(one, list) else [one])]
    for option, path in outputs.items():
        refuse_input(option, Path(path), every, is_read, error=Usage)
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


def _refuse_unwritable(file: Path) -> None:
    """Raise if a file cannot be written. It is left as it was; of a link that leads nowhere yet, the link stays."""
    new = not file.exists()
    try:
        file.open("a").close()
    except OSError as error:
        missing = "" if file.parent.is_dir() else f" There is no folder {str(file.parent)!r}."
        raise BadInput(f"cannot write {str(file)!r}: {error.strerror}.{missing}") from error
    if new:
        file.resolve().unlink()
