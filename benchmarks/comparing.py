"""`cenote.compare` with ten poolings against one: `python benchmarks/comparing.py`.

Both compare on the same sample of a data set, in turn, in one process; the first round is not counted. Reading is
the time that the settings state; the rest is scoring, by mteb's code, and the test. Data are read from the folder that
CENOTE_DATA names (default: ../shared/data).
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import cenote
from cenote.data.labelled import read_labelled
from cenote.data.labelled_samples import Sizes, sample_labelled
from timing import interleaved, machine

SIZES = Sizes(queries=100, documents=300, test=300, training=16, texts=300, pairs=300)
DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
POOLINGS = ("max", "cls", "lasttoken", "weightedmean", "mean_sqrt_len", "every_k", "mean+max", "mean+cls", "cls+max")


def main() -> None:
    """Print a row for each data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", nargs="+", default=["scifact", "stsbenchmark", "trec_qc"])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    model = cenote.load(args.model, device="cpu")
    print(machine(), end="\n\n")
    print("| data | 1 and its own, s | 9 and its own, s | ratio | ratio of reading |")
    print("|---|--:|--:|--:|--:|")
    for name in args.data:
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


if __name__ == "__main__":
    main()
