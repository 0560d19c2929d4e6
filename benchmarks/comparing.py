"""`cenote.compare` with ten poolings against one: `python benchmarks/comparing.py`.

Both compare on the same sample of a data set, in turn, in one process; the first round is not counted. Reading is
the time that the settings state; the rest is scoring, by mteb's code, and the test. Data are read from the folder that
CENOTE_DATA names (default: ../shared/data). With `--runtimes` documents are read by torch and by a graph instead.
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
from cenote.data.labelled import Retrieval, read_labelled
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.encoding.passes import passes_of_a_graph
from cenote.evaluation.reading import Side, TextReader
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
    print("| data | 1 and its own, s | 9 and its own, s | ratio | ratio of reading |")
    print("|---|--:|--:|--:|--:|")
    for name in args.data or ["scifact", "stsbenchmark", "trec_qc"]:
        data = {name: sample_labelled(read_labelled(DATA / name), sizes=SIZES)}
        reading: dict[str, float] = {}

        def run(count: int, data: object = data, reading: dict[str, float] = reading) -> None:
            found = cenote.compare(model, data, poolings=POOLINGS[:count], cache=False)
            reading[str(count)] = found.costs[0].seconds

        counts = (1, len(POOLINGS))
        seconds = interleaved({str(count): (lambda count=count: run(count)) for count in counts}, args.repeats)
        one, many = (seconds[str(count)] for count in counts)
        ratio = reading[str(counts[1])] / reading[str(counts[0])]
        print(f"| {name} | {one:.1f} | {many:.1f} | {many / one:.2f} | {ratio:.2f} |", flush=True)


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
