"""What commands have in common: arguments, how they speak, and how they refuse."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from cenote.errors import BadInput
from cenote.folders import refuse_taken

_WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


class Usage(BadInput):
    """Options that cannot be together, or not so: a mistake of usage, and not of what was named."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """What every command that loads a model takes."""
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id, or minilm, the demo model")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ...; default: the best there is")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that the model brings along")


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def natural(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is not at least 0")
    return value


count.__name__ = natural.__name__ = "whole number"  # argparse names the type in its message


def note(text: str) -> None:
    """What keeps a person waiting, told to a person only."""
    if sys.stderr.isatty():
        print(f"cenote: {text}", file=sys.stderr)


def warn(text: str) -> None:
    """What has to be known, in whatever stream."""
    print(f"cenote: warning: {text}", file=sys.stderr)


def hush() -> None:
    """Keep the libraries beneath from talking over us."""
    import logging

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # of reading weights, which takes no time worth a bar
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # whose retries are many lines of noise


def make_folder(output: str) -> Path:
    """A new, empty folder to write into, made before any work is done."""
    if not output.strip():
        raise Usage("-o is empty: name a new folder.")
    folder = refuse_taken(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make the folder {output!r}: {error.strerror}.") from error
    return folder


def in_columns(name: str, width: int, text: str) -> str:
    """A name, and a text beside it that is wrapped to the terminal."""
    room = max(40, shutil.get_terminal_size().columns - width - 3)
    indent = " " * (width + 2)
    wrapped = textwrap.fill(text, room + width + 2, initial_indent=indent, subsequent_indent=indent, **_WHOLE_WORDS)
    return f"{name:<{width}}  {wrapped.lstrip()}"
