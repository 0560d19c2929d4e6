"""Every experiment on the claims of the sources, and one page of their figures.

    python -m experiments.all --quick
    python -m experiments.all --model minilm --model FOLDER --only length-cosine
    python -m experiments.all --pages

`--quick` also trains models with landmark pooling at toy size, which takes a minute or two. Without it the page shows
the trainings that are committed: `python -m experiments.landmark.run` repeats them in hours. Of the others
pooling-trained and pooling-intervals train, twelve models from each that is given.

Results go to build/experiments unless `-o` names another folder. docs/claims.md is made of those in
docs/results/experiments: `--pages` measures nothing, and writes from the cells that are there index.json (all claims),
index.html, the verdicts and the figures.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.claims import INDEX
from experiments.data_sets import refuse_missing_data
from experiments.lab import OUTPUT, RESULTS, Experiment, add_backbones, errors_in_a_line, refresh, run
from experiments.page import build_page

# In the order of the page.
MODULES = (
    "length.accuracy",
    "length.projection",
    "length.cosine",
    "length.powers",
    "length.layers",
    "length.words",
    "length.maps",
    "length.sigma",
    "length.corollary",
    "length.table",
    "length.roles",
    "length.queries",
    "length.ranks",
    "length.by_length",
    "length.repeated",
    "second_order.pairs",
    "second_order.terms",
    "second_order.layers",
    "second_order.scores",
    "poolings.similarity",
    "poolings.details",
    "poolings.trained",
    "poolings.intervals",
    "poolings.positions",
)

# The trainings of experiments.landmark.run, which have a frame of their own: they make the models that they measure.
TRAININGS = "landmark"


def experiments() -> list[Experiment]:
    """Return every experiment."""
    return [importlib.import_module(f"experiments.{name}").EXPERIMENT for name in MODULES]


def main() -> None:
    """Run the experiments and write index.html."""
    known = {one.name: one for one in experiments()}
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", action="append", help="folder or hub id; repeatable (default: minilm)")
    parser.add_argument("--data", action="append", help="repeatable (default: those of each experiment)")
    parser.add_argument("--only", action="append", choices=[*known, TRAININGS], help="repeatable (default: all)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"fewer texts: wider intervals; and {TRAININGS}: trainings of toy size. Without it the page shows those "
        "that are committed; experiments.landmark.run repeats them in hours",
    )
    parser.add_argument("--pages", action="store_true", help="measure nothing: write verdicts, figures, index and page")
    parser.add_argument(
        "-o", "--output", type=Path, help=f"folder (default: {OUTPUT}; with --pages that of the committed results)"
    )
    add_backbones(parser)
    args = parser.parse_args()
    args.output = args.output or (RESULTS if args.pages else OUTPUT)
    names = [] if args.pages else args.only or [*known, TRAININGS]
    if TRAININGS in names and args.only and not args.quick:
        parser.error(f"{TRAININGS} is trained here with --quick only; in full: python -m experiments.landmark.run")
    wanted, trained = [known[name] for name in names if name in known], TRAININGS in names and args.quick
    with errors_in_a_line():
        for one in wanted:
            refuse_missing_data(one.needed(args.data or one.data, quick=args.quick))
        train = prepare_trainings(args) if trained else None
        measure(wanted, args)
        if train is not None:
            train()
    args.output.mkdir(parents=True, exist_ok=True)
    for one in known.values() if args.pages else ():
        refresh(one, args.output)
    (args.output / INDEX).write_text(json.dumps(index(), indent=1) + "\n", "utf-8")
    (args.output / "index.html").write_text(build_page(args.output), "utf-8")
    print(f"all figures: {args.output / 'index.html'}")


def measure(wanted: Iterable[Experiment], args: argparse.Namespace) -> None:
    """Run experiments one after another, and say how long each took."""
    for one in wanted:
        start = time.perf_counter()
        run(
            one,
            args.model or ["minilm"],
            args.data or one.data,
            quick=args.quick,
            output=args.output,
            backbones=dict(args.backbone),
        )
        print(f"({one.name}: {time.perf_counter() - start:.0f} s)\n", flush=True)


def prepare_trainings(args: argparse.Namespace) -> Callable[[], None] | None:
    """Return what trains models with landmark pooling at toy size, once its data are there; None on Windows."""
    if sys.platform == "win32":
        print(f"{TRAININGS} is left out: its trainings lock files as Windows does not\n", flush=True)
        return None
    from experiments.landmark import run as trainings

    refuse_missing_data([*trainings.sources_of(trainings.QUICK), *trainings.JUDGED])

    def train() -> None:
        start = time.perf_counter()
        trainings.measure(trainings.QUICK, args.model or (), (), args.output)  # --data is of the others
        print(f"({TRAININGS}: {time.perf_counter() - start:.0f} s)\n", flush=True)

    return train


def index() -> list[dict[str, Any]]:
    """Return name, title, module and claims of every experiment, as plain data."""
    return [
        {
            "name": one.name,
            "title": one.title,
            "module": f"experiments.{module}",
            "claims": json.loads(json.dumps({name: asdict(claim) for name, claim in one.claims.items()})),
        }
        for module, one in zip(MODULES, experiments(), strict=True)
    ]


if __name__ == "__main__":
    main()
