"""`cenote audit`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

from cenote.audit_records import RESULTS, Audit
from cenote.auditing.checks.table import CHECKS
from cenote.commands.arguments import add_common, check_texts, list_of, load_model, natural, one_of
from cenote.commands.arguments import pooling as parse_pooling
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import in_columns, say
from cenote.data.texts import name_of, read
from cenote.errors import CenoteError
from cenote.models.hub import refuse_missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model")
    add_common(parser, "texts", nargs="*")
    parser.set_defaults(more="texts")
    parser.add_argument(
        "--pooling",
        type=parse_pooling,
        metavar="NAME",
        help="the pooling that your server uses; it fails if the model declares another one",
    )
    parser.add_argument("--quick", action="store_true", help="read fewer texts, and probe fewer tokens")
    names = list_of(one_of(CHECKS, "check"))
    parser.add_argument("--only", type=names, metavar="A,B", help=f"run these checks only: {', '.join(CHECKS)}")
    parser.add_argument("--skip", type=names, default=[], metavar="A,B", help="leave these checks out")
    parser.add_argument("-o", "--output", metavar="FILE", help="write a page (.html) or Markdown (.md)")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON; - prints them in place of the lines")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of all sampling (default: 0)")
    add_common(parser, "--columns, --column", "--id-column", "--device", "--trust-remote-code")


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model."""
    check_outputs(args, Audit.PAGES, (args.texts,))
    if args.texts is not None:
        check_texts(args, args.texts)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Audit, write the files, and print a line for each check; raise at the end if one failed, or none was decided."""
    from cenote.auditing.audit import audit

    texts = None if args.texts is None else read(args.texts, columns=args.columns, id_column=args.id_column)
    asked, args.pooling = args.pooling, None  # it is compared, and not applied
    with progress() as tell:
        found = audit(
            args.model,
            texts,
            pooling=asked,
            quick=args.quick,
            only=args.only,
            skip=args.skip,
            seed=args.seed,
            source=name_of(args.texts),
            progress=tell,
            notify=say,
            loader=partial(load_model, args, strict=False),  # what is missing is a finding
        )
    args.failed = not found.passed  # the exit code, also if the reader of the lines leaves
    yield from deliver(args, found, lines_of)
    if args.failed:
        raise CenoteError(found.summary())  # the command line exits with 1


def lines_of(found: Audit) -> Iterator[str]:
    """Yield the result, the name and the evidence of each check, what to do where one failed, and that all passed."""
    yield f"{found.model} on {found.texts.used:,} texts from {found.texts.source}"
    width = max(len(result) for result in RESULTS.values())
    for one in found.checks:
        yield in_columns(RESULTS[one.passed], width, f"{one.name}: {one.evidence}")
        if one.remedy and one.passed is not True:
            yield in_columns("", width, one.remedy)
    if found.passed:  # else the summary is the error that ends the command
        yield found.summary()
