"""Measure the time of landmark pooling, and its quality on a model that was not trained for it.

    python benchmarks/landmarks.py

The demo model with its own pooling and with landmarks. Time: the same texts encoded both ways, interleaved, and the
ratio of their tokens. Quality: STSBenchmark (Spearman of cosine) and SciFact (nDCG@10) from the folder that
CENOTE_DATA names (default: ../shared/data); without it this part is skipped.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.builtin import read_builtin
from timing import interleaved, machine

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
VARIANTS: dict[str, dict[str, object]] = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "every_k, k=32": {"pooling": "every_k", "interval": 32},
    "landmark, interval 8": {"pooling": "landmark", "interval": 8},
    "landmark, interval 32": {"pooling": "landmark", "interval": 32},
    "multi_cls, interval 32": {"pooling": "multi_cls", "interval": 32},
}


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def sts(model: SentenceTransformer) -> float:
    pairs = list(rows(DATA / "stsbenchmark" / "test.jsonl.gz"))
    first, second = (model.encode([pair[side] for pair in pairs], batch_size=128) for side in ("text1", "text2"))
    cosines = cenote.similarity(first, second, pairwise=True)
    return float(spearmanr(cosines, [float(pair["score"]) for pair in pairs]).statistic)


def scifact(model: SentenceTransformer) -> float:
    corpus = list(rows(DATA / "scifact" / "corpus.jsonl.gz"))
    queries = list(rows(DATA / "scifact" / "queries.jsonl.gz"))
    relevant: dict[str, dict[str, int]] = {}
    with gzip.open(DATA / "scifact" / "qrels.tsv.gz", "rt", encoding="utf-8") as lines:
        for query, document, score in map(str.split, islice(lines, 1, None)):
            relevant.setdefault(query, {})[document] = int(score)
    documents = model.encode([f"{row['title']} {row['text']}" for row in corpus], convert_to_tensor=True)
    asked = model.encode([row["text"] for row in queries], convert_to_tensor=True)
    best = cenote.similarity(asked, documents).topk(10).indices
    return sum(
        ndcg([relevant[query["id"]].get(corpus[place]["id"], 0) for place in ranking], relevant[query["id"]])
        for query, ranking in zip(queries, best.tolist(), strict=True)
    ) / len(queries)


def ndcg(gains: list[int], relevant: dict[str, int]) -> float:
    def dcg(values: list[int]) -> float:
        return sum(value / math.log2(rank + 2) for rank, value in enumerate(values[:10]))

    return dcg(gains) / dcg(sorted(relevant.values(), reverse=True))


def main() -> None:
    print(machine())
    warnings.simplefilter("ignore")  # cenote warns that these poolings were not trained
    models = {name: cenote.load("minilm", **options) for name, options in VARIANTS.items()}  # type: ignore[arg-type]

    texts = [text.text for text in islice(read_builtin(), 0, 6000, 15)]
    plain, marked = models["mean"], models["landmark, interval 32"]
    times = interleaved({"mean": lambda: plain.encode(texts), "landmark": lambda: marked.encode(texts)}, repeats=5)
    tokens = [int(sum(model.preprocess([text])["attention_mask"].sum() for text in texts)) for model in (plain, marked)]
    print(f"\n{len(texts)} docstrings: landmark/mean {times['landmark'] / times['mean']:.3f} in time, ", end="")
    print(f"{tokens[1] / tokens[0]:.3f} in tokens")

    if not DATA.is_dir():
        print(f"\nno data at {DATA}: set CENOTE_DATA to measure quality")
        return
    print(f"\n{'all-MiniLM-L6-v2, untrained':<28} {'STSBenchmark':>12} {'SciFact nDCG@10':>16}")
    for name, model in models.items():
        print(f"{name:<28} {sts(model):>12.4f} {scifact(model):>16.4f}", flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
