"""What commands print: notes, warnings, columns; and the quieting of libraries."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any

_WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def note(text: str) -> None:
    """Tell a person at a terminal what takes so long."""
    if sys.stderr.isatty():
        print(f"cenote: {text}", file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    print(f"cenote: warning: {text}", file=sys.stderr)


def quiet_libraries() -> None:
    """Turn off progress bars and retry messages of the libraries beneath."""
    import logging

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # reading weights takes no time worth a bar
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def in_columns(name: str, width: int, text: str) -> str:
    """Return a name with a text beside it, wrapped to the terminal."""
    room = max(40, shutil.get_terminal_size().columns - width - 3)
    indent = " " * (width + 2)
    wrapped = textwrap.fill(text, room + width + 2, initial_indent=indent, subsequent_indent=indent, **_WHOLE_WORDS)
    return f"{name:<{width}}  {wrapped.lstrip()}"
