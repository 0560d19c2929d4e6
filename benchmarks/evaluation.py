"""`cenote.evaluate` against mteb driving sentence-transformers with its defaults: `python benchmarks/evaluation.py`.

Both score the same task of the same class on the same sample of data, in float32, in turn, in one process; the first
round of each is not counted. Data are read from the folder that CENOTE_DATA names (default: ../shared/data). mteb reads
32 texts in a batch, sorted by length. Scores are printed too: both must be the same.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import mteb

import cenote
from cenote.data.labelled import read_labelled
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.evaluation.tasks import local_task
from timing import interleaved, machine

# A round of a data set takes half a minute on two slow cores.
SIZES = Sizes(queries=100, documents=500, test=500, training=16, texts=500, pairs=500)
DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", nargs="+", default=["scifact", "banking77", "20news_full", "stsbenchmark"])
    parser.add_argument("--backends", nargs="+", default=["torch", "openvino"])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    model = cenote.load(args.model, device="cpu")
    print(machine(), end="\n\n")
    ways = ["mteb", *args.backends]
    head = [*(f"{way}, s" for way in ways), *(f"{way}, ratio" for way in args.backends)]
    print(f"| data | {' | '.join(head)} | scores |")
    print(f"|---|{'--:|' * (2 * len(args.backends) + 1)}---|")
    for name in args.data:
        data = sample_labelled(read_labelled(DATA / name), sizes=SIZES)
        scores: dict[str, float] = {}

        def by_mteb(data: object = data, scores: dict[str, float] = scores) -> None:
            task = local_task("Local", data)
            found = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
            scores["mteb"] = found.task_results[0].scores["test"][0]["main_score"]

        def by_us(backend: str, data: object = data, scores: dict[str, float] = scores) -> None:
            # All of the verb, as of mteb: intervals, scores by length and fingerprints too.
            found = cenote.evaluate(model, data={"Local": data}, others=(), backend=backend, cache=False)
            scores[backend] = found.tasks[0].score

        functions = {"mteb": by_mteb, **{one: (lambda one=one: by_us(one)) for one in args.backends}}
        seconds = interleaved(functions, args.repeats)
        cells = [f"{seconds[way]:.1f}" for way in ways]
        cells += [f"{seconds['mteb'] / seconds[way]:.2f}" for way in args.backends]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{scores[way]:.6f}' for way in ways)} |", flush=True)


if __name__ == "__main__":
    main()
