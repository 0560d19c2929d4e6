"""Compare numbers of vectors for a long document, each the mean of consecutive windows: a table of docs/embedding.md.

The data, the model and the measure are those of `windows.py`. The windows are read once, and joined by the functions
that `embed --long segments` calls.

    python experiments/segments.py
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
from windows import DATA, RUN, _best, _ndcg, _relevant, _texts

import cenote
from cenote.functional.window_cuts import average_runs, even_runs

COUNTS = (1, 2, 4, 8, 16, 32)


def main() -> None:
    """Print the table."""
    if not DATA.is_dir():
        sys.exit(f"No data in {DATA}: set CENOTE_DATA to a folder that has qmsum.")
    model = cenote.load("minilm", device="cpu")
    documents, relevant = _texts("corpus.jsonl.gz"), _relevant()
    asked = [query for query in _texts("queries_answer.jsonl.gz") if query.id in relevant]
    answers = cenote.embed(model, [query.text for query in asked])
    names = [document.id for document in documents]
    with tempfile.TemporaryDirectory() as folder:
        cenote.embed(model, documents, folder, long="windows", **RUN)
        found = cenote.read_embeddings(folder)
        windows, parents, weights = found[:], found["parent_id"], found["n_tokens"]
    counts = [int((parents == name).sum()) for name in names]
    print(f"{len(documents)} documents of {np.median(counts):.0f} windows (median), {len(asked):,} answers\n")
    print("| vectors of a document, at most | vectors | nDCG@10 |\n|---|--:|--:|")
    for most in (*COUNTS, max(counts)):
        runs = np.array(even_runs(counts, most))
        rows = np.repeat(np.arange(len(runs)), np.diff(runs)[:, 0])
        vectors = average_runs(windows, weights, rows, unit=True)  # the model's own have norm 1
        scores = _best(answers @ vectors.T, parents[runs[:, 0]], names)
        ranked = [_ndcg(row, documents, relevant[query.id]) for row, query in zip(scores, asked, strict=True)]
        print(f"| {most} | {len(vectors):,} | {np.mean(ranked):.3f} |", flush=True)


if __name__ == "__main__":
    main()
