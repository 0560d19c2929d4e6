"""Notes, warnings and columns that commands print; and the loading of a model."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def say(text: str) -> None:
    """Print a line to standard error, also into a log."""
    print(f"cenote: {text}", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Tell a person at a terminal what takes so long."""
    if sys.stderr.isatty():
        say(text)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    say(f"warning: {text}")


def load_model(args: argparse.Namespace, model: Any, **options: Any) -> SentenceTransformer:
    """Load a model with the common arguments of a command and more options, without noise of the libraries beneath."""
    from transformers.utils.logging import disable_progress_bar

    from cenote.models.loading import load

    disable_progress_bar()  # type: ignore[no-untyped-call]  # reading weights takes no time worth a bar
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # retries
    for name in ("pooling", "max_seq_length", "device", "trust_remote_code"):
        if hasattr(args, name):
            options[name] = getattr(args, name)
    return load(model, **options)


def in_columns(name: str, width: int, text: str) -> str:
    """Return a name with a text beside it, wrapped to the terminal."""
    indent = " " * (width + 2)
    return textwrap.fill(
        text,
        max(40 + len(indent), shutil.get_terminal_size().columns - 1),
        initial_indent=f"{name:<{width}}  ",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
