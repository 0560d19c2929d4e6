"""`cenote evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cenote.choices import AUTO, BACKENDS, COMPUTE_PRECISIONS
from cenote.commands.arguments import add_common, check_packages, load_model, one_of, positive
from cenote.commands.labelled import (
    add_cache,
    add_data,
    add_scoring,
    add_tasks,
    check_cache,
    check_data,
    long_way,
    ways_beside,
)
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import say, table
from cenote.data.labelled_files import is_read
from cenote.errors import Usage
from cenote.evaluation_records import Evaluation
from cenote.models.hub import refuse_missing
from cenote.report.formatting import clip_text
from cenote.storage import refuse_unwritable
from cenote.wording import percent, pluralise, score_estimate

if TYPE_CHECKING:
    from cenote.evaluation_records import TaskScore
    from cenote.records import Estimate

# Items with the lowest values that are printed, and characters of each text; a page has more of both.
_WORST, _ROOM = 3, 26


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
        "--beside",
        nargs="*",
        type=ways_beside,
        metavar="WAY",
        help="other ways to read long texts, scored beside it; 'segments' alone is the curve of 1, 2, 4, 8, 16 and 32 "
        "vectors a text, and all windows",
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
    way = str(found.settings.get("long", "as scored"))
    for task in found.tasks:
        if lines := list(_details(task, way)):
            yield ""
            yield task.name
            yield from (f"  {line}" for line in lines)


def _score(task: TaskScore) -> str:
    return score_estimate(task.score, task.low, task.high)


def _details(task: TaskScore, way: str) -> Iterator[str]:
    if task.cut:
        yield f"{percent(task.cut / task.texts)} of {pluralise(task.texts, 'text')} are cut at the limit"
    yield from _ways(task, way)
    yield from _parts(task)
    for searched in dict.fromkeys(one.way for one in task.positions):
        places = (f"{one.place} {percent(one.found.value)}" for one in task.positions if one.way == searched)
        yield f"evidence in a longer text, found first by {searched}: {', '.join(places)}"
    if task.longest_rank is not None:
        yield f"mean rank of the relevant documents among the longest 20 %: {task.longest_rank:.1f}"
    yield from _worst(task)
    yield from task.notes


def _ways(task: TaskScore, way: str) -> Iterator[str]:
    """Yield a table of the ways to read long texts, that of the score first."""
    if not task.settings:
        return
    yield from table(
        [
            ("long texts by", "score", "change", "vectors a text"),
            (way, f"{task.score:.4f}", "", ""),
            *(
                (
                    one.name,
                    f"{one.score.value:.4f}",
                    score_estimate(one.change.value, one.change.low, one.change.high, sign="+"),
                    f"{one.vectors:.1f}",
                )
                for one in task.settings
            ),
        ]
    )


def _parts(task: TaskScore) -> Iterator[str]:
    """Yield a table of the quarters and both ends by length; those of few items have no score and are left out."""
    rows = [
        (part.by, part.name, _estimate(part.score), f"{part.items:,}")
        for part in task.by_length
        if part.division != "interval" and part.score is not None
    ]
    if not rows:
        return
    if task.part_score is not None:
        rows.append(("", "all items", _estimate(task.part_score), f"{task.items:,}"))
    yield from table([("length of", "part", task.part_metric or task.metric, "items"), *rows])


def _worst(task: TaskScore) -> Iterator[str]:
    """Yield a table of the items with the lowest values."""
    if task.worst:
        rows = [
            (one.item, f"{one.value:.2f}", *(clip_text(text, _ROOM) for text in (one.text, one.expected, one.found)))
            for one in task.worst[:_WORST]
        ]
        yield from table([("lowest item", "value", "text", "expected", "found"), *rows])


def _estimate(score: Estimate) -> str:
    return score_estimate(score.value, score.low, score.high)
