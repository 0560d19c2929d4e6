"""`cenote diagnose`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import islice

from cenote.commands.arguments import (
    add_common,
    add_precision,
    check_prompts,
    check_texts,
    count,
    list_of,
    load_model,
    natural,
    positive,
)
from cenote.commands.names import split_names
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import in_columns, say, table
from cenote.data.texts import name_of, read
from cenote.errors import BadInput, UnknownName, Usage
from cenote.models.hub import refuse_missing
from cenote.records import Diagnosis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="a folder, a hub id, or minilm, the demo model; several are compared side by side. The last name may be "
        "texts instead: a file, a folder, or - for standard input, as for `cenote pool` (default: docstrings of "
        "Python's standard library). After other models, the last name counts as a hub id only if it has a slash or a "
        "hyphen, or is in the hub's cache",
    )
    parser.usage = f"{parser.prog} [options] MODEL [MODEL ...] [TEXTS]"
    parser.set_defaults(more="models")
    parser.add_argument("-o", "--output", metavar="FILE", help="report to write: .html, or .md for Markdown")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON; - for standard output")
    parser.add_argument("--pairs", metavar="FILE", help="pairs to compare, in columns text1 and text2")
    parser.add_argument(
        "--queries",
        metavar="FILE",
        help="queries to search for, in columns text and id (of a text that answers it)",
    )
    parser.add_argument("--prompt", metavar="NAME", help="name of the model's prompt to put before every text")
    parser.add_argument(
        "--pair-prompts",
        type=_two_names,
        metavar="NAME,NAME",
        help="prompts of the two sides of pairs (default: that of --prompt)",
    )
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick", action="store_true", help="a first look, one to three minutes for a small model: the default"
    )
    effort.add_argument("--full", action="store_true", help="search among more texts, trace and compare more of them")
    parser.add_argument(
        "--sample",
        type=count,
        default=1000,
        metavar="N",
        help="texts to draw (default: 1000); 200 of them are searched, with --full 1,000",
    )
    parser.add_argument(
        "--temperatures",
        type=list_of(positive),
        metavar="T,T",
        help="attention temperatures to try besides 1, such as 0.9,0.8",
    )
    parser.add_argument("--no-layers", action="store_true", help="skip the measures of every layer")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of all sampling (default: 0)")
    add_precision(parser)
    add_common(
        parser, "--columns, --column", "--id-column", "--pooling", "--max-seq-length", "--device", "--trust-remote-code"
    )


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model, and split the names into models and texts."""
    try:
        args.models, args.texts = split_names(args.models)
    except BadInput as error:
        if args.temperatures is None or len(args.temperatures) > 1:
            raise
        # After a single temperature, the name may be a second one.
        raise type(error)(f"{error} Several --temperatures need commas between them, such as 0.9,0.8.") from error
    check_outputs(args, Diagnosis.PAGES, (args.texts, args.pairs, args.queries))
    for flag, path in (("--pairs", args.pairs), ("--queries", args.queries)):
        if path == "-":
            raise Usage(f"{flag} -: the file is read twice, column by column: name a file.")
        if path is not None:
            _read_columns(flag, path, 1)
    if args.texts is not None:
        check_texts(args, args.texts)
    for model in args.models:
        check_prompts(model, args.prompt, *(args.pair_prompts or ()))
        refuse_missing(model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Diagnose, write the files, and print the verdicts."""
    from cenote.diagnosis.diagnose import diagnose

    texts = None if args.texts is None else read(args.texts, columns=args.columns, id_column=args.id_column)
    pairs, queries = (
        None if path is None else _read_columns(flag, path)
        for flag, path in (("--pairs", args.pairs), ("--queries", args.queries))
    )
    with progress() as tell:
        found = diagnose(
            args.models,
            texts,
            pairs=pairs,
            queries=queries,
            sample=args.sample,
            layers=not args.no_layers,
            temperatures=args.temperatures or [1.0],
            seed=args.seed,
            quick=not args.full,
            precision=args.precision,
            source=name_of(args.texts),
            prompt_name=args.prompt,
            pair_prompts=args.pair_prompts,
            progress=tell,
            notify=say,
            loader=partial(load_model, args),
        )
    yield from deliver(args, found, _verdicts)


def _two_names(text: str) -> tuple[str | None, str | None]:
    """Parse two names of prompts; an empty one is the model's default."""
    first, comma, second = text.partition(",")
    if not comma or "," in second:
        raise argparse.ArgumentTypeError(f"{text!r}: pass two names with a comma between them, such as query,document.")
    return first.strip() or None, second.strip() or None


def _read_columns(flag: str, path: str, rows: int | None = None) -> list[tuple[str, str]]:
    """Return both columns of a file of pairs or of queries, or of its first rows."""
    names = {"--pairs": ("text1", "text2"), "--queries": ("text", "id")}[flag]
    try:
        if flag == "--queries":  # an id may be a number, and is read as the ids of texts are
            return [(one.text, one.id) for one in islice(read(path, columns="text", id_column="id"), rows)]
        first, second = ([text.text for text in islice(read(path, columns=name), rows)] for name in names)
    except BadInput as error:
        needs = f" needs columns {' and '.join(names)}" if isinstance(error, UnknownName) else ""
        raise BadInput(f"{flag}{needs}: {error}") from error
    return list(zip(first, second, strict=True))


def _verdicts(found: Diagnosis) -> Iterator[str]:
    from cenote.report.series import shown_verdicts

    texts = found.texts
    of = "" if texts.given == texts.used else f" of {texts.given:,}"
    yield f"{texts.used:,}{of} texts from {texts.source}"
    several = len(found.models) > 1
    width = len("described")  # the longest grade
    yield from _grades_side_by_side(found)
    said: set[str] = set()  # advice and limits shared by several models are printed once
    for verdict in shown_verdicts(found):
        yield ""
        about = f"{verdict.model}: {verdict.subject}" if several and verdict.model else verdict.subject
        yield in_columns(verdict.grade.upper(), width, about)
        for part in (verdict.finding, verdict.evidence, verdict.limit, verdict.advice):
            if part and part not in said:
                yield in_columns("", width, part)
        said |= {verdict.limit, verdict.advice}
    yield ""


def _grades_side_by_side(found: Diagnosis) -> Iterator[str]:
    from cenote.report.series import shown_verdicts
    from cenote.report.tables import overview

    grades = overview(shown_verdicts(found))
    if grades.is_empty:
        return
    corner, *models = grades.head
    subjects = max(len(row[0]) for row in grades.rows)
    room = max(10, (shutil.get_terminal_size().columns - subjects) // len(models) - 2)
    ends = [name if len(name) <= room else f"…{name[1 - room :]}" for name in models]  # paths differ at the end
    yield ""
    yield from table([(corner, *ends), *grades.rows])
