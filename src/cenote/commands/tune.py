"""`cenote tune`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cenote.commands.arguments import (
    add_common,
    check_new_folder,
    check_packages,
    list_of,
    load_model,
    positive,
)
from cenote.commands.labelled import add_cache, add_data, add_scoring, check_cache, check_data
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import say, table
from cenote.data.labelled_files import is_read
from cenote.errors import CenoteError, Usage
from cenote.models.hub import refuse_missing
from cenote.records import ALL
from cenote.storage import entries_of
from cenote.tuning_records import Tuning
from cenote.wording import pluralise, probability, relative_estimate, score_estimate

if TYPE_CHECKING:
    from cenote.tuning_records import Confirmed, Tried


# Temperatures by role that are printed; a page has all of them.
_BEST_BY_ROLE = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model")
    add_data(parser)
    parser.add_argument("--by-length", action="store_true", help="also try temperatures that depend on the length")
    parser.add_argument(
        "--by-role", action="store_true", help="also try one temperature of queries, another of documents"
    )
    parser.add_argument(
        "--temperatures", type=list_of(positive), metavar="A,B", help="to try (default: 1,0.9,0.8,0.7,0.6,0.5)"
    )
    parser.add_argument(
        "-o",
        dest="folder",
        metavar="OUT",
        help="new folder for the model with the temperature, if its gain is confirmed",
    )
    parser.add_argument("--force", action="store_true", help="write OUT even if the gain is not confirmed")
    parser.add_argument("--page", dest="output", metavar="FILE", help="write a page (.html) or Markdown (.md)")
    add_cache(parser)
    add_scoring(parser, json="tables")
    add_common(parser, "--pooling", "--max-seq-length", "--device", "--trust-remote-code")


def check(args: argparse.Namespace) -> None:
    """Raise for wrong arguments, before anything heavy is imported."""
    check_packages("tune", "eval")
    if not args.data:
        raise Usage("there is nothing to tune on: name labelled data (--data).")
    if args.force and args.folder is None:
        raise Usage("--force has no folder to write: name one with -o.")
    if args.folder is not None:
        if Path(args.folder).suffix.lower() in Tuning.PAGES:
            raise Usage(f"-o {args.folder!r} is the folder of the model: name a page with --page.")
        check_new_folder(args.folder)
    check_outputs(args, Tuning.PAGES, args.data, is_read, page="--page", others={"-o": args.folder})
    check_cache(args)
    check_data(args)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Tune, and yield the lines to print."""
    from cenote.evaluation.tune import tune

    temperatures = {} if args.temperatures is None else {"temperatures": args.temperatures}
    with progress() as tell:
        found = tune(
            model=args.model,
            data=args.data,
            by_length=args.by_length,
            by_role=args.by_role,
            **temperatures,
            output=args.folder,
            force=args.force,
            official=args.official,
            kind=args.kind,
            split=args.split,
            data_columns=args.data_columns,
            quick=args.quick,
            precision=args.precision,
            cache=False if args.no_cache else args.cache or True,
            seed=args.seed,
            progress=tell,
            notify=say,
            loader=partial(load_model, args),
        )
    yield from deliver(args, found, lines_of)
    if args.folder is None:
        return
    written = Path(args.folder).is_dir() and bool(entries_of(Path(args.folder)))
    if not written and (found.recommendation is not None or (args.force and found.chosen is not None)):
        raise CenoteError(f"the folder {args.folder!r} is not written: the warning above says why.")
    if args.json != "-":
        doubt = "" if found.recommendation is not None else ", though its gain is not confirmed"
        yield (
            f"model: {args.folder}{doubt}"
            if written
            else f"model: the folder {args.folder} is not written, since no gain is confirmed"
        )


def lines_of(found: Tuning) -> Iterator[str]:
    """Yield the answer, the gains of the development half, and the scores of the held-out half."""
    from cenote.report.tuned import state_expectations

    yield from (found.answer, "")
    shown, left_out = _select(found)
    if shown:
        yield "development half"
        rows = [("temperature", "change"), *((_mark(one, found), relative_estimate(one.gain)) for one in shown)]
        yield from (f"  {line}" for line in table(rows))
        if left_out:
            yield f"  {pluralise(left_out, 'other temperature')} by role: see the page (--page) or the figures (--json)"
        yield ""
    if found.held_out:
        yield "held-out half"
        head = ("task", "items", "before", "after", "difference", "relative", "p", "resolvable")
        yield from (f"  {line}" for line in table([head, *map(_held_out, found.held_out)]))
        if len(found.held_out) > 1:
            yield "  p of a task allows for all tasks; that of all tasks together decides"
        yield "  resolvable: the smallest difference that these data would show four times of five"
        yield ""
    # Some terminals cannot print the minus sign of the page.
    yield from (sentence.replace("−", "-") for sentence in state_expectations(found))
    yield from found.notes


def _select(found: Tuning) -> tuple[list[Tried], int]:
    """Return the temperatures to print, and how many are left out: of those by role the best are printed."""
    by_role = sorted((one for one in found.tried if one.form == "role"), key=lambda one: -one.gain.value)
    best = [id(one) for one in by_role[:_BEST_BY_ROLE]]
    shown = [one for one in found.tried if one.form != "role" or id(one) in best or one.temperature == found.chosen]
    return shown, len(found.tried) - len(shown)


def _mark(one: Tried, found: Tuning) -> str:
    return f"{one.temperature}, chosen" if one.temperature == found.chosen else one.temperature


def _held_out(one: Confirmed) -> tuple[str, ...]:
    """Return the cells of a task; of all tasks the difference is a mean of relative changes."""
    change, mean = one.difference, one.task == ALL
    resolvable = "-" if one.resolvable is None else f"{one.resolvable:.4f}"
    return (
        "all tasks" if mean else one.task,
        f"{one.items:,}",
        f"{one.before:.4f}",
        f"{one.after:.4f}",
        relative_estimate(change) if mean else score_estimate(change.value, change.low, change.high, sign="+"),
        f"{100 * one.relative:+.2f} %",
        probability(one.p),
        f"{100 * one.resolvable:.2f} %" if mean and one.resolvable is not None else resolvable,
    )
