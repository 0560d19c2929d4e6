"""Does the account of `diagnose` rank settings as labelled queries do?

For each model and labelled data set, every pooling at every token limit is a setting. Each is scored twice: by the
account, which needs no labels (the share of sentences that find their text, kept in it and left out of it), and by
nDCG@10 of the judged queries over the whole corpus. The table shows Spearman's correlation of both over settings, with
an interval that resamples the documents of the account and the queries.

    python experiments/validity.py --models minilm ~/.cache/cenote-models/paraphrase-MiniLM-L3-v2 -o validity.json

Data are read from the folder that CENOTE_DATA names (default: ../shared/data).
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sentence_transformers import SentenceTransformer

import cenote
from cenote.account.pooled_texts import OWN, Vectors, read_pooled
from cenote.account.probes import draw_probes
from cenote.account.ranks import other_poolings, read_account
from cenote.account.texts import tokenise_account
from cenote.data.rows import Text
from cenote.encoding.tokens import tokenise
from cenote.functional.retrieval import nearest
from cenote.listener import Listener
from cenote.models.properties import positions_of, prompt_name_for
from cenote.models.provenance import pooling_of

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
# Data sets with judged queries, and the file of queries. QMSum's short queries name no meeting; its answers do.
SETS = {
    "scifact": "queries",
    "cranfield": "queries",
    "cisi": "queries",
    "npl_vaswani": "queries",
    "qmsum": "queries_answer",
}
LIMITS = (32, 64, 128, 256)
RESAMPLES, SEED = 1000, 0
# How the account scores a setting, from the ranks of documents.
FORMS = {
    "kept": lambda ranks: ranks.kept == 1,
    "left out": lambda ranks: ranks.left_out == 1,
    "kept, reciprocal rank": lambda ranks: 1 / ranks.kept,
    "left out, reciprocal rank": lambda ranks: 1 / ranks.left_out,
}
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Score every setting and print the correlations."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--data", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--documents", type=int, default=1000, help="documents of the account, at most")
    parser.add_argument("--limits", type=int, nargs="+", default=LIMITS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", help="JSON file for all scores")
    args = parser.parse_args()
    found: list[dict[str, Any]] = []
    print("| model | data | settings | " + " | ".join(FORMS) + " |\n|---|---|--:|" + "--:|" * len(FORMS), flush=True)
    for name in args.models:
        model = cenote.load(name, device=args.device)
        for data in args.data:
            start = time.perf_counter()
            scored = score_settings(model, data, args.limits, args.documents)
            row = {
                "model": Path(name).name,
                "data": data,
                "seconds": round(time.perf_counter() - start),
                **correlate(scored),
            }
            found.append(row)
            cells = (format_estimate(row["correlations"][form]) for form in FORMS)
            print(f"| {row['model']} | {data} | {len(scored)} | {' | '.join(cells)} |", flush=True)
            if args.output:
                Path(args.output).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for form in FORMS:
        values = [row["correlations"][form][0] for row in found]
        print(
            f"{form}: mean {np.mean(values):.2f}, lowest {min(values):.2f}, below 0.5 in {sum(v < 0.5 for v in values)}"
        )
    describe_agreement(found)


def score_settings(
    model: SentenceTransformer, data: str, limits: list[int], documents: int
) -> dict[str, dict[str, Floats]]:
    """Return for each setting nDCG@10 by query, and each form of the account by document."""
    corpus, queries, judged = read_judged(data)
    probes = draw_probes(corpus, documents, SEED)
    poolings, own = other_poolings(model), f"pooling {pooling_of(model)}"
    most, before = positions_of(model), model.max_seq_length
    scored: dict[str, dict[str, Floats]] = {}
    try:
        for limit in (one for one in limits if most is None or one <= most):
            model.max_seq_length = limit
            texts = tokenise_account(model, probes, alternatives=False)
            account = read_account(model, texts, poolings, Listener(), alternatives=False)
            vectors = [
                read_side(model, [one.text for one in side], task, poolings)
                for side, task in ((queries, "query"), (corpus, "document"))
            ]
            for name, ranks in account.ranks.items():
                scores = gain_at_ten(*(side[name] for side in vectors), queries, corpus, judged)
                by_document = {
                    form: np.asarray(score(ranks), float).reshape(len(probes.texts), -1).mean(1)
                    for form, score in FORMS.items()
                }
                scored[f"{own if name == OWN else name}, {limit} tokens"] = {"ndcg": scores, **by_document}
    finally:
        model.max_seq_length = before
    return scored


def read_judged(data: str) -> tuple[list[Text], list[Text], dict[str, dict[str, float]]]:
    """Return corpus, queries, and the judged documents of each query."""

    def rows(name: str) -> list[dict[str, str]]:
        with gzip.open(DATA / data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    corpus = [Text(row["id"], f"{row.get('title') or ''} {row['text']}".strip()) for row in rows("corpus")]
    corpus = [text for text in corpus if text.text]
    judged: dict[str, dict[str, float]] = defaultdict(dict)
    with gzip.open(DATA / data / "qrels.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            query, document, score = line.rstrip("\n").split("\t")
            judged[query][document] = float(score)
    present = {text.id for text in corpus}
    queries = [
        Text(row["id"], row["text"])
        for row in rows(SETS[data])
        if any(score > 0 and document in present for document, score in judged.get(row["id"], {}).items())
    ]
    return corpus, queries, judged


def read_side(model: SentenceTransformer, texts: list[str], task: str, poolings: Any) -> dict[str, Vectors]:
    """Return the vectors of queries or documents, by pooling."""
    tokens = tokenise(model, texts, prompt_name_for(model, None, task), task)
    return read_pooled(model, tokens, poolings, task=task).vectors


def gain_at_ten(
    queries: Vectors, corpus: Vectors, asked: list[Text], texts: list[Text], judged: dict[str, dict[str, float]]
) -> Floats:
    """Return nDCG@10 of each query."""
    grades = grades_of([query.id for query in asked], [text.id for text in texts], judged)
    return gain_of_order(nearest(queries, corpus, 10), grades)


def grades_of(queries: Sequence[str], documents: Sequence[str], judged: Mapping[str, Mapping[str, float]]) -> Floats:
    """Return how well each document answers each query, [Q, N], by their ids; 0 where it is not judged."""
    places = {name: place for place, name in enumerate(documents)}
    grades = np.zeros((len(queries), len(documents)))
    for row, query in enumerate(queries):
        for name, grade in judged[query].items():
            if name in places:
                grades[row, places[name]] = max(0.0, grade)
    return grades


def gain_of_order(order: npt.NDArray[np.int64], grades: Floats) -> Floats:
    """Return nDCG@10 of each query: `order` [Q, K] are documents from the best, `grades` [Q, N] those of all.

    >>> gain_of_order(np.array([[1, 0, 2], [0, 1, 2]]), np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])).round(3).tolist()
    [1.0, 0.631]
    """
    discounts = 1 / np.log2(np.arange(2, 12))
    reached = np.take_along_axis(grades, order[:, :10], 1)
    best = -np.sort(-grades, axis=1)[:, :10]
    gain: Floats = reached @ discounts[: reached.shape[1]] / (best @ discounts[: best.shape[1]])
    return gain


def correlate(scored: dict[str, dict[str, Floats]]) -> dict[str, Any]:
    """Return Spearman's correlation of each form with nDCG@10 over settings, with 95 % intervals, and all means."""
    generator = np.random.default_rng(SEED)
    columns = {name: np.stack([one[name] for one in scored.values()]) for name in ("ndcg", *FORMS)}
    found = {}
    for form in FORMS:
        value, draws = correlate_means(columns["ndcg"], columns[form], generator)
        low, high = np.quantile(draws, (0.025, 0.975))
        found[form] = [round(float(one), 3) for one in (value, low, high)]
    means = {
        name: {setting: round(float(value), 4) for setting, value in zip(scored, values.mean(1), strict=True)}
        for name, values in columns.items()
    }
    return {"settings": len(scored), "correlations": found, "means": means}


def correlate_means(
    first: Floats, second: Floats, generator: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, Floats]:
    """Return Spearman's correlation over S settings of the means of two values, and of resamples of their items.

    `first` is [S, N] and `second` [S, M], items of their own each: queries, and the documents of an account.
    """
    value = float(stats.spearmanr(first.mean(1), second.mean(1)).statistic)
    draws = []
    for _ in range(resamples):
        means = [
            values[:, generator.integers(0, values.shape[1], values.shape[1])].mean(1) for values in (first, second)
        ]
        draws.append(stats.spearmanr(*means).statistic)
    return value, np.array(draws)


def describe_agreement(rows: list[dict[str, Any]]) -> None:
    """Print what the correlations rest on: the weakest settings left out, and agreement on pairs of settings."""
    print(f"\nOver {len(rows)} rows:")
    for form in FORMS:
        rest, pairs = [], {"poolings at 256 tokens": [0, 0], "adjacent limits": [0, 0]}
        for row in rows:
            ndcg, scores = row["means"]["ndcg"], row["means"][form]
            kept = [name for name in ndcg if "lasttoken" not in name and ", 32 tokens" not in name]
            rest.append(stats.spearmanr([ndcg[name] for name in kept], [scores[name] for name in kept]).statistic)
            for one, other in itertools.combinations(ndcg, 2):
                (first, few), (second, many) = (name.removesuffix(" tokens").rsplit(", ", 1) for name in (one, other))
                gain = ndcg[other] - ndcg[one]
                if few == many == "256" and abs(gain) >= 0.02:
                    kind = "poolings at 256 tokens"
                elif first == second and int(many) == 2 * int(few) and abs(gain) >= 0.005:
                    kind = "adjacent limits"
                else:
                    continue
                pairs[kind][0] += (scores[other] - scores[one]) * gain > 0
                pairs[kind][1] += 1
        told = ", ".join(f"{kind}: agrees in {agreed} of {count}" for kind, (agreed, count) in pairs.items())
        print(f"{form}: without lasttoken and 32 tokens mean {np.mean(rest):.2f}, lowest {min(rest):.2f}; {told}")


def format_estimate(values: list[float]) -> str:
    """Return a value and its interval."""
    return f"{values[0]:.2f} [{values[1]:.2f}, {values[2]:.2f}]"


if __name__ == "__main__":
    main()
