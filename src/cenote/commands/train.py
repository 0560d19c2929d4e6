"""`cenote train`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cenote.choices import AUTO, POSITIONS, SPLITTERS, TRAINING_PRECISIONS
from cenote.commands.arguments import (
    add_common,
    check_packages,
    count,
    list_of,
    load_model,
    natural,
    one_of,
    pooling,
    positive,
)
from cenote.commands.labelled import add_data_columns
from cenote.commands.progress import progress
from cenote.commands.terminal import say
from cenote.data.labelled_schemas import Asked, plan_files
from cenote.data.pairs import read_pairs
from cenote.data.shards import refuse_missing_path
from cenote.errors import Usage
from cenote.models.hub import refuse_missing
from cenote.storage import refuse_unwritable
from cenote.training.rules import refuse_unwatched


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not from 0 to 1")
    return value


def weight(text: str) -> float:
    """Parse a number of at least 0."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{value} is not at least 0")
    return value


share.__name__ = weight.__name__ = "number"  # argparse puts the name into its message

# The flags of a recipe, by group. The name of a flag is that of its field.
_GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "pooling": {
        "--intervals": {
            "type": list_of(count),
            "metavar": "A,B",
            "help": "tokens per chunk with landmarks, one of them drawn for each text in each epoch (default: 32)",
        },
        "--eval-interval": {
            "type": count,
            "metavar": "N",
            "help": "tokens per chunk of the model (default: the shortest)",
        },
        "--splitter": {
            "type": one_of(SPLITTERS, "splitter"),
            "help": "sentence: chunks end with sentences instead",
        },
        "--eval-pooling": {
            "type": pooling,
            "metavar": "NAME",
            "help": "pooling of the model, if not the one that is trained",
        },
        "--temperature": {"type": positive, "metavar": "TAU", "help": "divides the attention logits"},
    },
    "length of the training": {
        "--steps": {"type": count, "metavar": "N", "help": "updates of the weights (default: 1000)"},
        "--batch-size": {"type": count, "metavar": "N", "help": "pairs in a step (default: 64)"},
        "--learning-rate": {"type": positive, "metavar": "X", "help": "at its highest (default: 2e-5)"},
        "--warmup": {"type": share, "metavar": "X", "help": "share of the steps in which it rises (default: 0.05)"},
        "--weight-decay": {"type": weight, "metavar": "X", "help": "of AdamW (default: 0.01)"},
        "--clip": {"type": positive, "metavar": "X", "help": "the largest norm of a gradient (default: 1)"},
        "--seed": {"type": natural, "metavar": "N", "help": "of the order, of what is drawn, of dropout (default: 0)"},
    },
    "texts": {
        "--max-length": {
            "type": count,
            "metavar": "N",
            "help": "tokens after which a text is cut (default: the model's limit); learned positions are extended",
        },
        "--query-length": {"type": count, "metavar": "N", "help": "tokens after which a query is cut"},
        "--positions": {
            "type": one_of(POSITIONS, "way to extend positions"),
            "help": f"{' or '.join(POSITIONS)} (default: {POSITIONS[0]})",
        },
        "--query-prompt": {"metavar": "TEXT", "help": "put before each query"},
        "--document-prompt": {"metavar": "TEXT", "help": "put before each other text"},
    },
    "loss": {
        "--loss-temperature": {"type": positive, "metavar": "X", "help": "divides the cosines (default: 0.02)"},
        "--negatives": {
            "type": natural,
            "metavar": "N",
            "help": "of each pair in a step (default: as many as every pair has)",
        },
        "--distil": {
            "type": weight,
            "metavar": "X",
            "help": "weight of a teacher's scores (default: 1 if there are any)",
        },
        "--spread": {
            "type": weight,
            "metavar": "X",
            "help": "weight of a penalty on the spread of a text's tokens (default: 0)",
        },
    },
    "memory": {
        "--mini-batch": {"type": count, "metavar": "N", "help": "texts in one pass of the model (default: 32)"},
        "--cache": {
            "action": argparse.BooleanOptionalAction,
            "help": "compute activations again rather than keep them (default: for large batches)",
        },
        "--gradient-checkpointing": {"action": "store_true", "default": None, "help": "likewise within the model"},
        "--precision": {
            "type": one_of([AUTO, *TRAINING_PRECISIONS], "precision"),
            "help": "float32 or bfloat16 (default: bfloat16 where the machine has it)",
        },
    },
    "evaluation": {
        "--evaluate-every": {
            "type": count,
            "metavar": "N",
            "help": "steps between evaluations (default: a tenth of all)",
        },
        "--patience": {
            "type": count,
            "metavar": "N",
            "help": "stop after N evaluations without a better score, and write the best model",
        },
    },
}
_FIELDS = [flag[2:].replace("-", "_") for flags in _GROUPS.values() for flag in flags]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", metavar="BACKBONE")
    parser.add_argument(
        "pairs",
        metavar="PAIRS",
        help="a .jsonl, .csv, .tsv or .parquet file, zipped or not, with query, positive, and if there are any "
        "negatives and scores",
    )
    add_common(parser, "-o, --output", help="new folder for the model, or a training to go on with")
    add_common(parser, "--pooling", dest="trained_pooling")
    for title, flags in _GROUPS.items():
        group = parser.add_argument_group(title)
        for flag, options in flags.items():
            group.add_argument(flag, **options)
        if title == "evaluation":
            group.add_argument(
                "--evaluate", metavar="DATA", help="a labelled folder (retrieval, sts), or texts searched by sentences"
            )
            add_data_columns(group)
    parser.add_argument("--checkpoint-every", type=count, metavar="K", help="steps (default: a tenth of all)")
    parser.add_argument("--workers", type=natural, default=0, metavar="N", help="processes that tokenise (default: 0)")
    add_common(parser, "--device", "--trust-remote-code")


def check(args: argparse.Namespace) -> None:
    """Raise for wrong arguments, before anything heavy is imported."""
    check_packages("train", "train")
    if not args.output.strip():
        raise Usage("-o is empty: name a folder.")
    refuse_unwritable(Path(args.output))
    read_pairs(args.pairs)
    if args.evaluate is not None:
        refuse_missing_path(Path(args.evaluate))
    refuse_unwatched(vars(args), args.evaluate, args.data_columns)
    if args.data_columns:
        plan_files(args.evaluate, Asked(named=args.data_columns))
    refuse_missing(args.model)


@contextmanager
def _say_how_to_go_on(args: argparse.Namespace) -> Iterator[None]:
    """After Ctrl-C, say what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        from cenote.training.folder import TrainingFolder, step_of

        last = TrainingFolder(args.output).last_checkpoint()
        kept = (
            "no step is kept yet" if last is None else f"step {step_of(last):,} is kept, and the same command goes on"
        )
        say(f"stopped: {kept}")
        raise


def run(args: argparse.Namespace) -> Iterator[str]:
    """Train, and yield the lines to print."""
    from cenote.training.recipe import Recipe

    settings = {name: value for name in _FIELDS if (value := getattr(args, name)) is not None}
    if args.trained_pooling is not None:
        settings["pooling"] = args.trained_pooling
    Recipe(**settings)  # raises for wrong ones before the trainer is imported, which takes seconds

    from cenote.training.train import train

    with progress() as tell, _say_how_to_go_on(args):
        train(
            args.model,
            args.pairs,
            output=args.output,
            evaluate=args.evaluate,
            data_columns=args.data_columns,
            checkpoint_every=args.checkpoint_every,
            workers=args.workers,
            progress=tell,
            notify=say,
            loader=partial(load_model, args),
            **settings,
        )
    yield f"model: {args.output}"
    yield f"recipe: {Path(args.output) / 'training.json'}"
    yield f"log: {Path(args.output) / 'log.jsonl'}"
