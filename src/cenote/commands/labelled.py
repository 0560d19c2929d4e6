"""Arguments that commands on labelled data share."""

from __future__ import annotations

import argparse

from cenote.choices import LONG, PRECISIONS
from cenote.commands.arguments import add_precision, completed_by, natural, one_of
from cenote.data.labelled import KINDS
from cenote.data.labelled_schemas import TEST, Asked, plan_files
from cenote.errors import Usage


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name labelled data."""
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="PATH",
        help="labelled folders or files: a corpus with queries and judgments, texts with labels, pairs with scores",
    )
    parser.add_argument(
        "--as", dest="official", metavar="NAME", help="the task of MTEB that the data are of: its prompts are used"
    )
    parser.add_argument(
        "--kind", type=one_of(KINDS, "kind of task"), help="kind of the data (default: by their columns)"
    )
    parser.add_argument("--split", default=TEST, metavar="NAME", help="split of the data (default: test)")
    add_data_columns(parser)


def add_data_columns(parser: argparse._ActionsContainer) -> None:
    """Add the argument that names columns of labelled data."""
    parser.add_argument(
        "--data-columns",
        type=_column_names,
        default={},
        metavar="A=B,C=D",
        help="your names of columns, such as text=review,label=stars; queries.text=ask is of one table alone (default: "
        "text, label, text1, text2, score, id, query_id, doc_id, and other usual names)",
    )


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names tasks of MTEB."""
    parser.add_argument(
        "--tasks", nargs="+", metavar="NAME", help="tasks or benchmarks of MTEB: SciFact, 'MTEB(eng, v2)'"
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the folder that keeps scores."""
    parser.add_argument(
        "--cache", metavar="FOLDER", help="folder that keeps scores (default: ~/.cache/cenote/evaluations)"
    )
    parser.add_argument("--no-cache", action="store_true", help="neither use nor keep earlier scores")


def add_scoring(parser: argparse.ArgumentParser, *, json: str, precisions: tuple[str, ...] = PRECISIONS) -> None:
    """Add the arguments of how scores are made; `json` is what JSON is printed in place of."""
    parser.add_argument("--quick", action="store_true", help="score a fixed sample of each, some hundred texts")
    parser.add_argument(
        "--json", metavar="FILE", help=f"write all figures as JSON; - prints them in place of the {json}"
    )
    add_precision(parser, precisions)
    parser.add_argument("--seed", type=natural, default=0, help="of the test and the intervals (default: 0)")


@completed_by(LONG)
def long_way(text: str) -> str:
    """Parse a way to read long texts; segments have a number."""
    name, _, number = text.partition(" ")
    one_of(LONG, "way to read long texts", shown=[*LONG[:2], "segments N", LONG[3]])(name)
    if (name == "segments") != bool(number) or (number and not number.strip().isdecimal()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no way to read long texts: give truncate, window-mean, windows or 'segments 8'"
        )
    return text


@completed_by(LONG)
def ways_beside(text: str) -> str:
    """Parse a way to read long texts; segments without a number are a curve."""
    return text if text == "segments" else long_way(text)


def _column_names(text: str) -> dict[str, str]:
    """Parse names of columns: "text=review,label=stars"."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and column.strip() for name, _, column in pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: name each column after its role, such as text=review,label=stars.")
    named = {name.strip(): column.strip() for name, _, column in pairs}
    if len(named) < len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} names two columns for one role: name each role once.")
    return named


def check_data(args: argparse.Namespace) -> None:
    """Raise where labelled data make no known task."""
    if args.data_columns and not args.data:
        raise Usage("--data-columns names the columns of --data, which is not given.")
    if not args.data and (args.kind or args.split != TEST):
        raise Usage("--kind and --split are of --data, which is not given; a task of MTEB has its own.")
    for path in args.data or ():
        plan_files(path, Asked(args.kind, args.split, args.data_columns))


def check_cache(args: argparse.Namespace) -> None:
    """Raise if a folder for scores is given and refused at once."""
    if args.cache and args.no_cache:
        raise Usage("--cache and --no-cache exclude each other: give one of them.")
