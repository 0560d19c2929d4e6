"""`cenote compare`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cenote.choices import POOLINGS
from cenote.commands.arguments import (
    COMMON,
    add_common,
    check_packages,
    check_texts,
    completed_by,
    count,
    list_of,
    load_model,
    positive,
)
from cenote.commands.arguments import pooling as pooling_name
from cenote.commands.labelled import add_cache, add_data, add_scoring, add_tasks, check_cache, check_data, long_way
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import say, table
from cenote.comparison_records import FEW_TEXTS, LEAST_WITHOUT_LABELS, Comparison
from cenote.data import labelled_files, shards
from cenote.data.labelled_schemas import TEST
from cenote.data.texts import read
from cenote.errors import Usage
from cenote.models.hub import refuse_missing
from cenote.records import ALL
from cenote.wording import probability, score_estimate

if TYPE_CHECKING:
    from cenote.comparison_records import Cell, Cost

# What a setting costs, which stands in the tables of the tasks where these have room.
_COSTS = ("size", "time")
# Characters that a line may have on any terminal.
_NARROW = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("models", nargs="+", **COMMON["model"])
    parser.set_defaults(more="models")
    add_data(parser)
    parser.add_argument(
        "--unlabelled", metavar="TEXTS", help="texts without labels: their own sentences are the queries"
    )
    add_common(parser, "--columns, --column", help="column of --unlabelled, or several (default: text)")
    add_common(parser, "--id-column")
    settings = parser.add_argument_group("settings, beside those of each model")
    settings.add_argument(
        "--poolings", type=list_of(pooling_sum), metavar="A,B", help="poolings, such as mean,landmark,mean+cls"
    )
    settings.add_argument(
        "--temperatures", type=list_of(positive), metavar="A,B", help="of attention, such as 1,0.9,0.8"
    )
    settings.add_argument(
        "--limits", type=list_of(count), metavar="A,B", help="tokens after which texts are cut, such as 128,256"
    )
    settings.add_argument(
        "--long",
        type=list_of(long_way),
        metavar="A,B",
        help="ways to read longer texts: truncate, window-mean, windows, 'segments 8'; the first is the baseline's",
    )
    settings.add_argument(
        "--baseline",
        metavar="NAME",
        help="setting that all are compared with, as the result names it (default: each model's own)",
    )
    add_tasks(parser)
    add_cache(parser)
    add_scoring(parser, json="tables")
    parser.add_argument("-o", "--output", metavar="PAGE", help="write a page (.html) or Markdown (.md)")
    add_common(parser, "--device", "--trust-remote-code")


@completed_by(POOLINGS)
def pooling_sum(text: str) -> str:
    """Parse the name of a pooling, or several joined by +."""
    for part in text.split("+"):
        if not part.strip():
            raise argparse.ArgumentTypeError(
                f"{text!r} has an empty part: join poolings as in mean+cls. There are: {', '.join(POOLINGS)}"
            )
        pooling_name(part)
    return "+".join(part.strip() for part in text.split("+"))


def check(args: argparse.Namespace) -> None:
    """Raise for wrong arguments, before anything heavy is imported."""
    if not args.unlabelled:
        check_packages("compare", "eval")
    for model in args.models:
        if model in POOLINGS and not Path(model).exists():
            raise Usage(f"{model!r} is a pooling and stands among the models: write --poolings A,B with commas.")
        if model.endswith(".json"):
            raise Usage(
                f"{model!r} is a result, not a model: settings are compared in one call: give models, and the data "
                "with --data."
            )
    if not (args.data or args.tasks or args.unlabelled):
        raise Usage(
            "there is nothing to compare on: name labelled data (--data), tasks (--tasks), or texts (--unlabelled)."
        )
    if args.unlabelled and (args.data or args.tasks):
        other = "--data" if args.data else "--tasks"
        raise Usage(f"--unlabelled {args.unlabelled!r} and {other} exclude each other: give one of them.")
    if args.unlabelled:
        _refuse_of_data(args)
    if args.unlabelled is None and (args.columns, args.id_column) != (None, None):
        raise Usage("--columns and --id-column are of --unlabelled, which is not given.")
    varied = (args.poolings, args.temperatures, args.limits, (args.long or [])[1:])
    if len(args.models) == 1 and not any(varied):
        raise Usage(
            f"{args.models[0]!r} alone is one setting: name --poolings, --temperatures, --limits or two ways for "
            "--long, or another model."
        )
    check_outputs(
        args,
        Comparison.PAGES,
        [*(args.data or ()), args.unlabelled],
        labelled_files.is_read if args.data else shards.is_read,
    )
    check_data(args)
    check_cache(args)
    if args.unlabelled is not None:
        check_texts(args, args.unlabelled)
    for model in args.models:
        refuse_missing(model)


def _refuse_of_data(args: argparse.Namespace) -> None:
    """Raise for an option that texts without labels have no use for."""
    split = args.split != TEST
    given = {"--as": args.official, "--kind": args.kind, "--split": split, "--cache": args.cache}
    for name, value in {**given, "--no-cache": args.no_cache}.items():
        if value:
            raise Usage(f"{name} is of labelled data (--data), and has no effect with --unlabelled: leave it out.")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Compare, and yield the lines to print."""
    from cenote.evaluation.compare import compare

    texts = args.unlabelled
    if texts is not None and (args.columns, args.id_column) != (None, None):
        texts = read(texts, columns=args.columns, id_column=args.id_column)
    with progress() as tell:
        found = compare(
            models=args.models,
            data=args.data,
            tasks=args.tasks,
            unlabelled=texts,
            poolings=args.poolings,
            temperatures=args.temperatures,
            limits=args.limits,
            long=args.long,
            baseline=args.baseline,
            official=args.official,
            kind=args.kind,
            split=args.split,
            data_columns=args.data_columns,
            quick=args.quick,
            precision=args.precision,
            cache=False if args.no_cache else args.cache or True,
            seed=args.seed,
            names=None,
            progress=tell,
            notify=say,
            loader=partial(load_model, args),
        )
    yield from deliver(args, found, lines_of)


def lines_of(found: Comparison) -> Iterator[str]:
    """Yield a table for each task, then the costs that these lack; warnings go to standard error between them."""
    costs = {cost.setting: cost for cost in found.costs}
    priced = True
    for task in found.tasks:
        cells = found.of(task)
        yield f"{'mean of all tasks' if task == ALL else task}, {cells[0].metric}, {cells[0].items:,} items"
        lines, fits = _lines_of_task(cells, costs)
        priced &= fits
        yield from (f"  {line}" for line in lines)
        yield f"  {found.answer(task)}"
        yield from _accounts(cells)
        yield ""
    yield "p and verdict allow for all settings and tasks; an interval is that of one difference alone"
    least = "" if found.labelled else f"; without labels {LEAST_WITHOUT_LABELS:g} at least"
    yield f"resolvable: the smallest difference that these data would show four times of five{least}"
    if found.costs:
        few = f"; - for fewer than {FEW_TEXTS}, which are too few to time"
        timed = all(one.texts >= FEW_TEXTS for one in found.costs)
        yield "size: dimensions of a vector, times the vectors of a text where it has several"
        yield f"time: seconds of reading for 1,000 texts{'' if timed else few}"
    for warning in found.warnings:
        say(f"warning: {warning}")
    yield ""
    if found.costs and not priced:
        yield from table([("setting", *_COSTS), *((one.setting, *_price(one)) for one in found.costs)])
    yield from found.notes


def _lines_of_task(cells: Sequence[Cell], costs: Mapping[str, Cost]) -> tuple[list[str], bool]:
    """Return the table of a task, and whether it has room for what the settings cost."""
    head = ("setting", "score", "difference", "p", "resolvable", "verdict")
    rows = [*map(_row, cells)]
    if all(cell.setting in costs for cell in cells):
        prices = [_COSTS, *(_price(costs[cell.setting]) for cell in cells)]
        wide = [(*row[:2], *price, *row[2:]) for row, price in zip([head, *rows], prices, strict=True)]
        lines = [*table(wide)]
        if max(map(len, lines)) <= _room():
            return lines, True
    return [*table([head, *rows])], False


def _room() -> int:
    """Return the characters of an indented line: those of the terminal, and 100 at least."""
    return max(_NARROW, shutil.get_terminal_size().columns) - 2


def _accounts(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a table of what becomes of own sentences in each setting; nothing for labelled data."""
    from cenote.report.differences import ACCOUNT, list_account

    rows = [(cell.setting, *list_account(cell)) for cell in cells if cell.reciprocal_rank is not None]
    if rows:
        head = [("setting", *ACCOUNT)]
        kept = [column for column in zip(*head, *rows, strict=True) if any(column[1:])]
        yield from (f"  {line}" for line in table([*zip(*kept, strict=True)]))


def _price(cost: Cost) -> tuple[str, str]:
    """Return the size and the time of a setting."""
    from cenote.report.differences import format_vectors

    seconds = f"{cost.seconds:.2g}" if cost.seconds < 10 else f"{cost.seconds:,.0f}"
    return format_vectors(cost), seconds if cost.texts >= FEW_TEXTS else "-"


def _row(cell: Cell) -> tuple[str, ...]:
    if cell.verdict == "baseline":
        return (cell.setting, f"{cell.score:.4f}", "", "", "", cell.verdict)
    change = cell.difference
    return (
        cell.setting,
        f"{cell.score:.4f}",
        score_estimate(change.value, change.low, change.high, sign="+"),
        probability(cell.p),
        "-" if cell.resolvable is None else f"{cell.resolvable:.4f}",
        cell.verdict,
    )
