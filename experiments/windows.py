"""Compare ways to embed long documents (truncated, mean of windows, best window): the table of docs/embedding.md.

    python experiments/windows.py --models minilm

Retrieval of whole meetings (QMSum) by answers to questions about them: the meetings of training and validation, as
LongEmbed has them (its published figure for the demo model, which truncates them, is 0.163). Reads qmsum from the
folder that CENOTE_DATA names (default: ../shared/data). Vectors are written by `cenote.embed` and read back by
`cenote.read_embeddings`; CENOTE_BACKEND and CENOTE_PRECISION choose how they are computed (default: torch, float32).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from validity import gain_of_order, grades_of

import cenote
from cenote.data.texts import Text
from cenote.functional.sampling import Floats

RUN = {"backend": os.environ.get("CENOTE_BACKEND", "torch"), "precision": os.environ.get("CENOTE_PRECISION", "float32")}
DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"), "qmsum")
WAYS = ("truncate", "window-mean", "windows")


def main() -> None:
    """Print a table for each model."""
    for name in models_asked_for(__doc__):
        model = cenote.load(name, device="cpu")
        documents, queries, answers, relevant = read_search(model)
        limit = f"{model.max_seq_length} tokens per text"
        print(f"{Path(name).name}: {len(documents)} documents, {len(queries):,} answers, {limit}\n")
        print("| long texts | vectors | tokens read | nDCG@10 |\n|---|--:|--:|--:|")
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                cenote.embed(model, documents, folder, long=way, **RUN)
                found = cenote.read_embeddings(folder)
                parents = found["parent_id" if way == "windows" else "id"]
                scores = best_scores(answers @ found[:].T, parents, [document.id for document in documents])
                tokens = int(found["n_tokens"].sum()) if way == "windows" else None
            score = mean_ndcg(scores, queries, documents, relevant)
            print(f"| {way} | {len(parents):,} | {'' if tokens is None else f'{tokens:,}'} | {score:.3f} |", flush=True)
        print()


def models_asked_for(description: str) -> list[str]:
    """Return the models of the command line; end with a line where the data are not here."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    models: list[str] = parser.parse_args().models
    if not DATA.is_dir():
        sys.exit(f"No data in {DATA}: set CENOTE_DATA to a folder that has qmsum.")
    return models


def read_search(model: SentenceTransformer) -> tuple[list[Text], list[Text], Floats, dict[str, set[str]]]:
    """Return the documents, the answers that are searched with, their vectors, and the relevant documents of each."""
    documents, relevant = _texts("corpus.jsonl.gz"), _relevant()
    queries = [query for query in _texts("queries_answer.jsonl.gz") if query.id in relevant]
    return documents, queries, cenote.embed(model, [query.text for query in queries]), relevant


def best_scores(scores: Floats, parents: np.ndarray, names: list[str]) -> Floats:
    """Return the highest score of each document's vectors."""
    places = {name: place for place, name in enumerate(names)}
    best = np.full((len(scores), len(names)), -np.inf)
    for column, parent in enumerate(parents):
        place = places[parent]
        best[:, place] = np.maximum(best[:, place], scores[:, column])
    return best


def mean_ndcg(scores: Floats, queries: list[Text], documents: list[Text], relevant: dict[str, set[str]]) -> float:
    """Return nDCG@10, the mean over queries."""
    judged = {query: dict.fromkeys(names, 1) for query, names in relevant.items()}
    grades = grades_of([query.id for query in queries], [document.id for document in documents], judged)
    return float(gain_of_order(np.argsort(-scores, axis=1, kind="stable"), grades).mean())


def _texts(name: str) -> list[Text]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Text(row["id"], row["text"]) for row in rows if row["id"].startswith(("train_", "val_"))]


def _relevant() -> dict[str, set[str]]:
    """Return the relevant documents of each query."""
    found: dict[str, set[str]] = {}
    with gzip.open(DATA / "qrels.tsv.gz", "rb") as raw:
        for row in csv.reader(io.TextIOWrapper(raw, "utf-8"), delimiter="\t"):
            if row[-1] == "1":  # neither the header nor 0
                found.setdefault(row[0], set()).add(row[-2])
    return found


if __name__ == "__main__":
    main()
