"""Ten poolings compared, against the model's own pooling alone: `python benchmarks/comparing.py`.

Both score the same sample of a data set, in turn, in one process, and the first round is not counted. Ten poolings are
the model's own and nine others by `cenote.compare`, its test included. The own pooling alone is scored by the same code
without a test, since there is nothing to compare. Reading is the time that the settings state; the rest is scoring by
mteb's code, and the test. All figures are medians over the rounds. Data are read from the folder that CENOTE_DATA names
(default: ../shared/data). With `--runtimes` documents are read by torch and by a graph instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.labelled import Labelled, Retrieval, read_labelled
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.data.labelled_schemas import Asked
from cenote.encoding.passes import passes_of_a_graph
from cenote.evaluation.arm_scores import ArmScore, score_passes
from cenote.evaluation.arms import check_grid, passes_of
from cenote.evaluation.reading import Side, TextReader
from cenote.evaluation.results import Results
from cenote.evaluation.task_list import list_tasks
from cenote.listener import Listener
from timing import interleaved, machine

SIZES = Sizes(queries=100, documents=300, test=300, training=16, texts=300, pairs=300)
DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
DOCUMENTS = 450  # more than 100,000 tokens of SciFact's abstracts
POOLINGS = ("max", "cls", "lasttoken", "weightedmean", "mean_sqrt_len", "every_k", "mean+max", "mean+cls", "cls+max")


def main() -> None:
    """Print a row for each data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runtimes", nargs="*", metavar="PRECISION", help="of searches: float32, bfloat16")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    model = cenote.load(args.model, device="cpu")
    print(machine(), end="\n\n")
    if args.runtimes is not None:
        compare_runtimes(model, args.data or ["scifact"], args.runtimes or ["float32"], args.repeats)
        return
    print("| data | own alone, s | ten, s | ratio | ratio of reading |")
    print("|---|--:|--:|--:|--:|")
    for name in args.data or ["scifact", "stsbenchmark", "trec_qc"]:
        compare_poolings(model, name, sample_labelled(read_labelled(DATA / name), sizes=SIZES), args.repeats)


def compare_poolings(model: SentenceTransformer, name: str, data: Labelled, repeats: int) -> None:
    """Print how long ten poolings take, and the model's own alone."""
    reading: dict[str, list[float]] = {"alone": [], "ten": []}

    def alone() -> None:
        reading["alone"].append(read_own(model, name, data))

    def ten() -> None:
        found = cenote.compare(model, {name: data}, poolings=POOLINGS, cache=False)
        reading["ten"].append(found.costs[0].seconds * found.costs[0].texts / 1000)

    seconds = interleaved({"alone": alone, "ten": ten}, repeats)
    read = {key: statistics.median(found[1:]) for key, found in reading.items()}  # the first round is not counted
    ratio, ratio_read = (found["ten"] / found["alone"] for found in (seconds, read))
    print(f"| {name} | {seconds['alone']:.1f} | {seconds['ten']:.1f} | {ratio:.2f} | {ratio_read:.2f} |", flush=True)


def read_own(model: SentenceTransformer, name: str, data: Labelled) -> float:
    """Score the model's own pooling; return the seconds that its reading took."""
    passes = passes_of(model, "model", check_grid(None, None, None, None))
    tasks = list_tasks(None, {name: data}, None, Asked(None, "test", {}), False)
    (scored,) = score_passes(passes, tasks, Results(None, ArmScore), Listener(), "auto", ())
    return scored.record.seconds


def compare_runtimes(model: SentenceTransformer, data: Sequence[str], precisions: Sequence[str], repeats: int) -> None:
    """Print how long the documents of searches take by torch and by a graph, without and with its making."""
    print("| documents | precision | torch, s | a graph, s | ratio | with its making |")
    print("|---|---|--:|--:|--:|--:|")
    for name in data:
        search = cast(Retrieval, read_labelled(DATA / name, "retrieval"))
        texts = search.documents[:DOCUMENTS]
        for precision in precisions:
            making: list[float] = []
            read = partial(_read, model, texts, precision, making)
            seconds = interleaved({"torch": partial(read, False), "graph": partial(read, True)}, repeats)
            torch, graph = seconds["torch"], seconds["graph"]
            alone = graph - statistics.median(making[1:])  # the first one is not timed
            cells = f"{torch:.1f} | {alone:.1f} | {torch / alone:.2f} | {torch / graph:.2f}"
            print(f"| {len(texts)} of {name} | {precision} | {cells} |", flush=True)


def _read(
    model: SentenceTransformer, texts: Sequence[str], precision: str, making: list[float], by_graph: bool
) -> None:
    reader = TextReader(model, "torch", precision)
    run = passes_of_a_graph(model, precision) if by_graph else None
    if run is not None:
        start = time.perf_counter()
        run.prepare()
        making.append(time.perf_counter() - start)
        if run.graph is None:
            raise SystemExit("no graph reads on this processor: see can_have_a_graph")
    with reader.read_by(run):
        reader.vectors(texts, Side(None, "document"))


if __name__ == "__main__":
    main()
