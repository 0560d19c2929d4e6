"""`cenote evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cenote.choices import AUTO, BACKENDS, COMPUTE_PRECISIONS
from cenote.commands.arguments import add_common, check_packages, load_model, one_of, positive
from cenote.commands.labelled import add_cache, add_data, add_scoring, add_tasks, check_cache, check_data, long_way
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import say, table
from cenote.data.labelled_files import is_read
from cenote.errors import Usage
from cenote.evaluation_records import Evaluation
from cenote.models.hub import refuse_missing
from cenote.storage import refuse_unwritable
from cenote.wording import percent, pluralise, score_estimate

if TYPE_CHECKING:
    from cenote.evaluation_records import TaskScore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model")
    add_tasks(parser)
    add_data(parser)
    parser.add_argument(
        "--long",
        default="truncate",
        type=long_way,
        metavar="WAY",
        help="how long texts are read: truncate, window-mean, windows or 'segments 8' (default: truncate, with windows "
        "beside it where texts are cut)",
    )
    parser.add_argument(
        "--beside", nargs="*", type=long_way, metavar="WAY", help="other ways to read long texts, scored beside it"
    )
    parser.add_argument(
        "--positions", action="store_true", help="move evidence to the start, the middle and the end of longer texts"
    )
    parser.add_argument("--items", metavar="FOLDER", help="write the values of single items, a Parquet file a task")
    parser.add_argument("-o", "--output", metavar="FILE", help="write a page (.html) or Markdown (.md)")
    parser.add_argument(
        "--backend", default=AUTO, type=one_of((*BACKENDS, AUTO), "backend"), help="what runs the model"
    )
    add_cache(parser)
    add_scoring(parser, json="table", precisions=COMPUTE_PRECISIONS)
    parser.add_argument("--temperature", type=positive, metavar="TAU", help="attention temperature to evaluate at")
    add_common(parser, "--pooling", "--max-seq-length", "--device", "--trust-remote-code")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Evaluate, and yield the lines to print."""
    from cenote.evaluation.evaluate import evaluate

    loader = partial(load_model, args, **({} if args.temperature is None else {"temperature": args.temperature}))
    with progress() as tell:
        found = evaluate(
            args.model,
            args.tasks,
            args.data,
            official=args.official,
            kind=args.kind,
            split=args.split,
            data_columns=args.data_columns,
            long=args.long,
            others=args.beside,
            quick=args.quick,
            positions=args.positions,
            backend=args.backend,
            precision=args.precision,
            items=args.items,
            cache=False if args.no_cache else args.cache or True,
            seed=args.seed,
            progress=tell,
            notify=say,
            loader=loader,
        )
    yield from deliver(args, found, lines_of)


def check(args: argparse.Namespace) -> None:
    """Raise for wrong arguments, before anything heavy is imported."""
    check_packages("evaluate", "eval")
    if not args.tasks and not args.data:
        raise Usage("there is nothing to evaluate on: name tasks (--tasks) or labelled data (--data).")
    check_outputs(args, Evaluation.PAGES, args.data or (), is_read)
    if args.items is not None:
        from cenote.evaluation.results import refuse_overwriting
        from cenote.evaluation.task_list import named_data

        refuse_unwritable(Path(args.items))
        refuse_overwriting(Path(args.items), named_data(args.data))
    check_cache(args)
    check_data(args)
    refuse_missing(args.model)


def lines_of(found: Evaluation) -> Iterator[str]:
    """Yield a table of the scores, then what each task says of length."""
    rows = [("task", "measure", "score", "items")]
    rows += [(task.name, task.metric, _score(task), f"{task.items:,}") for task in found.tasks]
    yield from table(rows)
    for task in found.tasks:
        if lines := list(_details(task)):
            yield ""
            yield task.name
            yield from (f"  {line}" for line in lines)


def _score(task: TaskScore) -> str:
    return score_estimate(task.score, task.low, task.high)


def _details(task: TaskScore) -> Iterator[str]:
    if task.cut:
        yield f"{percent(task.cut / task.texts)} of {pluralise(task.texts, 'text')} are cut at the limit"
    for setting in task.settings:
        change = setting.change
        vectors = "" if setting.vectors == 1 else f", {setting.vectors:.1f} vectors a text"
        yield (
            f"long texts by {setting.name}: {setting.score.value:.4f}, change "
            f"{score_estimate(change.value, change.low, change.high, sign='+')}{vectors}"
        )
    ends = [(part, part.score) for part in task.by_length if part.division == "end" and part.score is not None]
    measure = f"{task.part_metric} " if task.part_metric else ""
    for part, score in ends:
        shown = score_estimate(score.value, score.low, score.high)
        yield f"{part.name} by {part.by}: {measure}{shown}, {part.items:,} items"
    if ends and task.part_score is not None:
        shown = score_estimate(task.part_score.value, task.part_score.low, task.part_score.high)
        yield f"all items: {measure}{shown}"
    for way in dict.fromkeys(one.way for one in task.positions):
        places = (f"{one.place} {percent(one.found.value)}" for one in task.positions if one.way == way)
        yield f"evidence in a longer text, found first by {way}: {', '.join(places)}"
    if task.longest_rank is not None:
        yield f"mean rank of the relevant documents among the longest 20 %: {task.longest_rank:.1f}"
    yield from task.notes
