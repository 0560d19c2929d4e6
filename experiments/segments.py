"""Compare numbers of vectors for a long document, each the mean of consecutive windows: a table of docs/embedding.md.

    python experiments/segments.py --models minilm

The data and the measure are those of `windows.py`. The windows are read once, and joined by the functions that
`embed --long segments` calls.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from windows import RUN, best_scores, mean_ndcg, models_asked_for, read_search

import cenote
from cenote.functional.window_cuts import average_runs, even_runs

COUNTS = (1, 2, 4, 8, 16, 32)


def main() -> None:
    """Print a table for each model."""
    for name in models_asked_for(__doc__):
        model = cenote.load(name, device="cpu")
        documents, queries, answers, relevant = read_search(model)
        names = [document.id for document in documents]
        with tempfile.TemporaryDirectory() as folder:
            cenote.embed(model, documents, folder, long="windows", **RUN)
            found = cenote.read_embeddings(folder)
            windows, parents, weights = found[:], found["parent_id"], found["n_tokens"]
        counts = [int((parents == name).sum()) for name in names]
        median = f"{np.median(counts):.0f} windows (median)"
        print(f"{Path(name).name}: {len(documents)} documents of {median}, {len(queries):,} answers\n")
        print("| vectors of a document, at most | vectors | nDCG@10 |\n|---|--:|--:|")
        for most in (*COUNTS, max(counts)):
            runs = np.array(even_runs(counts, most))
            rows = np.repeat(np.arange(len(runs)), np.diff(runs)[:, 0])
            vectors = average_runs(windows, weights, rows, unit=True)  # the model's own have norm 1
            scores = best_scores(answers @ vectors.T, parents[runs[:, 0]], names)
            score = mean_ndcg(scores, queries, documents, relevant)
            print(f"| {most} | {len(vectors):,} | {score:.3f} |", flush=True)
        print()


if __name__ == "__main__":
    main()
