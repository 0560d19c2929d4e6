"""Score models on the labelled data that are here offline: the tables of docs/results.md.

    python experiments/evaluations.py --models minilm ~/.cache/cenote-models/sre-minilm

Data are read from the folder that CENOTE_DATA names (default: ../shared/data). Scores are kept in the user's cache, so
that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cenote
from cenote.data.labelled import read_labelled
from cenote.data.labelled_samples import QUICK, sample_labelled
from cenote.evaluation_records import Evaluation, TaskScore
from cenote.wording import score_estimate

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
# Folders, the kind of each where its columns fit two, and the official task that it is the data of.
SUITE = (
    ("scifact", None, "SciFact"),
    ("cranfield", None, None),
    ("cisi", None, None),
    ("npl_vaswani", None, None),
    ("stsbenchmark", None, "STSBenchmark"),
    ("sickr", None, "SICK-R"),
    ("sts12", None, "STS12"),
    ("sts14", None, "STS14"),
    ("sts15", None, "STS15"),
    ("sts16", None, "STS16"),
    ("banking77", None, "Banking77Classification"),
    ("clinc150", None, None),
    ("trec_qc", None, None),
    ("mr_sentences", None, None),
    ("subj", None, None),
    ("20news_titles", "clustering", None),
    ("stackoverflow_titles", "clustering", None),
    ("summeval", None, None),
    ("20news_full", None, None),
    ("20news_full", "clustering", None),
    ("imdb", None, None),
    ("qmsum", None, None),
)


def main() -> None:
    """Print a table of all scores, then those by length."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--data", nargs="+", help="folders of the suite, by default all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--texts", type=int, help="texts to classify or cluster, at most; a fixed sample")
    parser.add_argument("--beside", nargs="*", help="ways to read long texts; by default those that evaluate tries")
    args = parser.parse_args()
    wanted = [one for one in SUITE if args.data is None or one[0] in args.data]
    found: dict[str, list[TaskScore]] = {}
    for name in args.models:
        model, start = cenote.load(name, device="cpu"), time.perf_counter()
        found[Path(name).name] = [score(model, one, args) for one in wanted]
        print(f"{Path(name).name}: {(time.perf_counter() - start) / 60:.1f} minutes\n", flush=True)
    print("\n".join(table(found)), end="\n\n")
    print("\n".join(others(found)))


def score(model: object, one: tuple[str, str | None, str | None], args: argparse.Namespace) -> TaskScore:
    """Score a model on one of the data."""
    folder, kind, official = one
    data: Any = DATA / folder
    if args.texts:
        sizes = replace(QUICK, test=args.texts, texts=args.texts)
        data = {folder: sample_labelled(read_labelled(data, kind), sizes=sizes)}
    evaluation: Evaluation = cenote.evaluate(
        model,  # type: ignore[arg-type]
        data=data,
        kind=None if args.texts else kind,
        official=official,
        quick=args.quick,
        others=args.beside,
        notify=lambda text: print(f"<!-- {text} -->", flush=True),
    )
    return evaluation.tasks[0]


def table(found: dict[str, list[TaskScore]]) -> list[str]:
    """Return a table with a row for each task and a column for each model."""
    rows = ["| data | kind | measure | items | " + " | ".join(found) + " |", "|---|---|---|--:|" + "--:|" * len(found)]
    for tasks in zip(*found.values(), strict=True):
        cells = (score_estimate(task.score, task.low, task.high) for task in tasks)
        first = tasks[0]
        rows.append(f"| {first.name} | {first.kind} | {first.metric} | {first.items:,} | {' | '.join(cells)} |")
    return rows


def others(found: dict[str, list[TaskScore]]) -> list[str]:
    """Return a table of other ways to read long texts, and of both ends of length."""
    rows = ["| model | data | cut | way | score | change | vectors a text |", "|---|---|--:|---|--:|--:|--:|"]
    for model, tasks in found.items():
        for task in tasks:
            share = f"{100 * task.cut / max(1, task.texts):.0f} %"
            for way in task.settings:
                change = score_estimate(way.change.value, way.change.low, way.change.high, sign="+")
                cells: Sequence[str] = (model, task.name, share, way.name, f"{way.score.value:.4f}", change)
                rows.append(f"| {' | '.join(cells)} | {way.vectors:.1f} |")
    rows += ["", "| model | data | by | part | items | score | entropy |", "|---|---|---|---|--:|--:|--:|"]
    for model, tasks in found.items():
        for task in tasks:
            for part in task.by_length:
                if part.score is not None:
                    shown = score_estimate(part.score.value, part.score.low, part.score.high)
                    entropy = "" if part.entropy is None else f"{part.entropy:.3f}"
                    cells = (model, task.name, part.by, part.name, f"{part.items:,}", shown, entropy)
                    rows.append(f"| {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()
