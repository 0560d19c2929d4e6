"""How far short texts move when learned positions are extended: the figures of docs/training.md.

    python experiments/positions.py --models minilm ~/.cache/cenote-models/all-mpnet-base-v2

Cosines of the vectors of scifact's queries before and after, mean and least, with two and four times the positions.
Reads scifact from the folder that CENOTE_DATA names (default: ../shared/data).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

import cenote
from cenote.data.labelled import read_labelled
from cenote.models.properties import positions_of
from cenote.surgery.positions import WAYS, extend_positions

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"), "scifact")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"No data in {DATA}: set CENOTE_DATA to a folder that has scifact.")
    queries = list(read_labelled(DATA).queries)
    print(f"{len(queries)} queries\n\n| model | way | positions | mean cosine | least |\n|---|---|--:|--:|--:|")
    for name in args.models:
        model = cenote.load(name, device="cpu")
        before, most = model.encode(queries, normalize_embeddings=True), positions_of(model)
        for way in WAYS:
            for times in (2, 4):
                longer = extend_positions(cenote.load(name, device="cpu"), times * most, way)
                cosines = np.sum(before * longer.encode(queries, normalize_embeddings=True), 1)
                print(
                    f"| {Path(name).name} | {way} | {most} to {times * most} | {cosines.mean():.3f} "
                    f"| {cosines.min():.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
