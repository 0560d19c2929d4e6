"""Arguments that several commands have in common: their words, checks that need no model, and `load_model`."""

from __future__ import annotations

import argparse
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cenote.choices import AUTO, POOLINGS, PRECISIONS, TASKS, missing_packages
from cenote.data.columns import ALL
from cenote.data.texts import read, read_rows
from cenote.embedding.options import HELP
from cenote.errors import CenoteError, CenoteWarning, UnknownName, Usage, Value, choose
from cenote.models.declared import DEMO, prompts_of
from cenote.storage import refuse_occupied, refuse_unwritable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


Parse = TypeVar("Parse", bound=Callable[[str], Any])


def count(text: str, least: int = 1) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is not at least {least}")
    return value


def natural(text: str) -> int:
    """Parse a whole number of at least 0."""
    return count(text, 0)


count.__name__ = natural.__name__ = "whole number"  # argparse puts the name into its message


def completed_by(names: Iterable[str]) -> Callable[[Parse], Parse]:
    """Give a parser the names that a shell completes, as its attribute `names`."""

    def mark(parse: Parse) -> Parse:
        marked: Any = parse
        marked.names = tuple(names)
        return parse

    return mark


def word(names: Iterable[str]) -> Callable[[str], str]:
    """Return a parser of any word, which is checked later; `names` are those that a shell completes."""
    return completed_by(names)(lambda text: text)


def one_of(names: Iterable[str], what: str, *, shown: Iterable[str] | None = None) -> Callable[[str], str]:
    """Return a parser of one of `names`, with a near miss in its error message."""
    table = {name: name for name in names}

    @completed_by(table if shown is None else shown)
    def parse(text: str) -> str:
        try:
            return choose(text, table, what, shown=shown)
        except UnknownName as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


@completed_by(POOLINGS)
def pooling(text: str) -> str:
    """Parse the name of a pooling, or several joined by commas or by +: these are joined by +, as in records."""
    parse = one_of([*POOLINGS, *chain.from_iterable(POOLINGS.values())], "pooling", shown=POOLINGS)
    return "+".join(parse(part.strip()) for part in re.split("[,+]", text))


def columns(text: str) -> tuple[str, ...]:
    """Parse the name of a column, or several with commas between them."""
    return tuple(list_of(str)(text))


def kept_columns(text: str) -> tuple[str, ...] | str:
    """Parse names of columns that are kept; `all` stands for every column."""
    return text if text == ALL else columns(text)


class _Texts(argparse.Action):
    """Store one source as its name, several as paths: in Python a list of strings is a list of texts."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:  # noqa: ARG002
        if len(values) > 1 and "-" in values:
            raise argparse.ArgumentError(self, "- stands for standard input and goes with no file")
        setattr(namespace, self.dest, values[0] if len(values) == 1 else [Path(value) for value in values] or None)


# The same words in every command. Two flags of one argument have a comma between them.
COMMON: dict[str, dict[str, Any]] = {
    "model": {"metavar": "MODEL", "help": f"a folder, a hub id, or {DEMO}, the demo model"},
    "texts": {
        "metavar": "TEXTS",
        "nargs": "+",
        "action": _Texts,
        "help": "a .jsonl, .json, .csv, .tsv, .parquet, .arrow or .feather file, a .txt (a text per line) or .md (one "
        "text), zipped or not; several, or a pattern such as 'shards/*.jsonl'; a folder of such files; or - for "
        "standard input, lines of text or of JSON",
    },
    "--columns, --column": {
        "dest": "columns",
        "type": columns,
        "metavar": "A,B",
        "help": "column of the text, or several that are joined by a space, such as title,text (default: text)",
    },
    "--id-column": {"metavar": "NAME", "help": "column of the id (default: id if there is one, else row numbers)"},
    "--max-seq-length": {
        "type": count,
        "metavar": "N",
        "help": "tokens of a text that the model reads (default: the model's limit)",
    },
    "--pooling": {
        "type": pooling,
        "metavar": "NAME",
        "help": HELP["pooling"],
    },
    "--device": {"help": "cpu, cuda, cuda:1, mps ... (default: the fastest available)"},
    "--trust-remote-code": {"action": "store_true", "help": "run code that comes with the model"},
    "--task": {"type": one_of(TASKS, "task"), "help": HELP["task"]},
    "-o, --output": {"metavar": "OUT", "required": True, "help": "new folder to write"},
    "--json": {"action": "store_true", "help": "print the result as JSON"},
}


def add_common(parser: argparse._ActionsContainer, *names: str, **changed: Any) -> None:
    """Add arguments of `COMMON` to a parser or a group of its arguments; `changed` replaces some of their settings."""
    for name in names:
        parser.add_argument(*name.split(", "), **{**COMMON[name], **changed})


def add_precision(parser: argparse.ArgumentParser, precisions: Sequence[str] = PRECISIONS) -> None:
    """Add the argument of the precision in which a model computes."""
    parser.add_argument(
        "--precision",
        default=AUTO,
        type=one_of((*precisions, AUTO), "precision"),
        help=f"of the model: {', '.join(precisions)}, or auto, that of its weights (default)",
    )


def check_texts(args: argparse.Namespace, source: Any, *, faults: bool = False, keep: str | Sequence[str] = ()) -> None:
    """Raise if the first row of a source has an error, or a file of it has other columns.

    Args:
        args: with the columns.
        source: a path, or a list of paths.
        faults: whether the first row may have no usable text.
        keep: columns that every file must have too.
    """
    if source != "-":  # standard input can be read only once
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CenoteWarning)  # the command itself warns, once
            (read_rows if faults else read)(source, columns=args.columns, id_column=args.id_column, keep=keep)


def check_prompts(model: str, *names: str | None) -> None:
    """Raise if a model on this machine has no prompt of these names."""
    prompts = prompts_of(model)
    for name in names:
        if name and prompts is not None:
            choose(name, prompts, f"prompt of {model}:")


def check_packages(option: str, extra: str) -> None:
    """Raise if a package of an extra is not installed. `option` is what needs it."""
    if missing := missing_packages(extra):
        raise CenoteError(f"{option}: {missing}.")


def check_new_folder(output: str) -> None:
    """Raise if a folder is not new, or cannot be made."""
    if not output.strip():
        raise Usage("-o is empty: name a new folder.")
    refuse_unwritable(refuse_occupied(output))


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


def list_of(parse: Callable[[str], Value]) -> Callable[[str], list[Value]]:
    """Return a parser of a list with commas between its parts."""

    @completed_by(getattr(parse, "names", ()))
    def parse_all(text: str) -> list[Value]:
        parts = [part.strip() for part in text.split(",")]
        if "" in parts:
            raise argparse.ArgumentTypeError(f"{text!r} has an empty part: write A,B")
        return [parse(part) for part in parts]

    parse_all.__name__ = getattr(parse, "__name__", "list")  # which argparse puts into its message
    return parse_all


def positive(text: str) -> float:
    """Parse a positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive, finite number: give one, such as 0.8")
    return value
