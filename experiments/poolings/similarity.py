"""Pooling operators and similarity measures side by side: the question of the blog post.

Tokens are read once and pooled in every way, without the normalisation that follows in most models: with it, dot
product, cosine and Euclidean distance rank alike, and so do `mean` and `mean_sqrt_len`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.data.labelled import Retrieval, Sts
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.diagnosis.controls import word_vectors
from cenote.encoding.batches import BatchReader, Refused
from cenote.encoding.forward import forward, pooled_tokens, repooled_vectors
from cenote.encoding.tokens import tokenise
from cenote.functional.influence import spearman_values
from cenote.functional.paired import Paired, compare_paired
from cenote.functional.retrieval import token_matches
from cenote.functional.similarity import SIMILARITIES, similarity
from cenote.models.properties import prompt_name_for
from cenote.models.repooling import pooling_for
from experiments.data_sets import labelled_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, main
from experiments.length.grid import decide
from experiments.validity import gain_of_order, grades_of

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len", "weightedmean", "lasttoken")
MEAN, CLS, COSINE = "mean", "cls", "cosine"
SIZES, QUICK_SIZES = Sizes(queries=300, documents=1000, pairs=2000), Sizes(queries=30, documents=100, pairs=200)
TOKENS, WORDS = "tokens", "word embeddings"
SOURCE = "Leys 2022"
Values = npt.NDArray[np.float64]
Side = tuple[dict[str, npt.NDArray[np.float32]], list[Any]]  # vectors by pooling, and unit token vectors of each text


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score of every pooling by every similarity measure, and of matching tokens, item by item."""
    labelled = sample_labelled(labelled_of(data, quick=False), sizes=QUICK_SIZES if quick else SIZES)
    poolings = {name: pooling_for(model, name) for name in POOLINGS}
    values = (_pairs if isinstance(labelled, Sts) else _search)(model, labelled, poolings)  # type: ignore[arg-type]
    rows = [{"pooling": name, **{how: float(values[name, how].mean()) for how in SIMILARITIES}} for name in POOLINGS]
    rows += [
        {"pooling": shown, COSINE: float(values[name, COSINE].mean())}
        for name, shown in ((TOKENS, f"none: {TOKENS}"), (WORDS, f"mean of {WORDS}"))
    ]
    own = values[MEAN, COSINE]
    others = {
        **{how: own - values[MEAN, how] for how in SIMILARITIES if how != COSINE},
        "trained": own - values[CLS, COSINE],
        "words": own - values[WORDS, COSINE],
        "sentence": own - values[TOKENS, COSINE],
    }
    return Measured(rows, _findings(others))


def _findings(differences: Mapping[str, Values]) -> list[Finding]:
    """Return whether the mean with the cosine does better than each of the others; measures that tie decide nothing."""
    found = compare_paired([Paired(np.stack(list(differences.values())))]).tasks[0]
    return [decide(above, name, one) for name, one in zip(differences, found, strict=True)]


def _read(
    model: SentenceTransformer, texts: Sequence[str], poolings: Mapping[str, nn.Module], task: str | None = None
) -> Side:
    """Read texts once; return their vectors by pooling, not normalised, and their token vectors of norm 1.

    Averages of word embeddings stand beside the poolings; that of a text without a word is 0.
    """

    def run(features: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        output = forward(model, features, task)
        vectors = {
            name: repooled_vectors(model, output, pooling, without=("Normalize",)).cpu().numpy()
            for name, pooling in poolings.items()
        }
        unit = nn.functional.normalize(output["token_embeddings"].float(), dim=-1).cpu()
        masks = pooled_tokens(model, output).cpu()
        return vectors, [rows[mask].half().numpy() for rows, mask in zip(unit, masks, strict=True)]

    vectors: dict[str, npt.NDArray[np.float32]] = {}
    tokens: list[Any] = [None] * len(texts)
    read_of = tokenise(model, list(texts), prompt_name_for(model, None, task), task)
    averages, with_words = word_vectors(model, read_of)
    vectors[WORDS] = np.zeros((len(texts), averages.shape[1]), np.float32)
    vectors[WORDS][with_words.numpy()] = averages.numpy()
    for read in BatchReader(model, run).read(read_of):
        if isinstance(read, Refused):
            raise SystemExit(f"a text cannot be read: {read.reason}")
        found, kept = read.output
        for name, some in found.items():
            vectors.setdefault(name, np.zeros((len(texts), some.shape[1]), np.float32))[read.rows] = some
        for row, one in zip(read.rows, kept, strict=True):
            tokens[row] = one
    return vectors, tokens


def _pairs(model: SentenceTransformer, data: Sts, poolings: Mapping[str, nn.Module]) -> dict[tuple[str, str], Values]:
    """Return the value of each pair in Spearman's correlation with its human score."""
    (first, ones), (second, others) = (_read(model, side, poolings) for side in (data.first, data.second))
    found = {
        (name, how): spearman_values(data.scores, similarity(first[name], second[name], how, pairwise=True))
        for name in poolings
        for how in SIMILARITIES
    }
    found[WORDS, COSINE] = spearman_values(data.scores, similarity(first[WORDS], second[WORDS], COSINE, pairwise=True))
    rows = np.arange(len(ones))
    there = token_matches(ones, others, rows, rows[:, None])[:, 0] / [len(one) for one in ones]
    back = token_matches(others, ones, rows, rows[:, None])[:, 0] / [len(one) for one in others]
    return {**found, (TOKENS, COSINE): spearman_values(data.scores, there + back)}


def _search(
    model: SentenceTransformer, data: Retrieval, poolings: Mapping[str, nn.Module]
) -> dict[tuple[str, str], Values]:
    """Return nDCG@10 of each query; its tokens are matched with those of every document."""
    texts = [f"{title} {text}".strip() for title, text in zip(data.titles, data.texts, strict=True)]
    queries, asked = _read(model, data.queries, poolings, "query")
    documents, told = _read(model, texts, poolings, "document")
    grades = grades_of(data.query_ids, data.corpus_ids, data.judgments)
    found = {}
    for name, how in [*product(poolings, SIMILARITIES), (WORDS, COSINE)]:
        scores = similarity(queries[name], documents[name], how)
        found[name, how] = gain_of_order(np.argsort(-scores, axis=1, kind="stable"), grades)
    every = np.tile(np.arange(len(told)), (len(asked), 1))
    matched = token_matches(asked, told, np.arange(len(asked)), every)
    return {**found, (TOKENS, COSINE): gain_of_order(np.argsort(-matched, axis=1, kind="stable"), grades)}


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a table of scores for each model and data set; the darker a cell, the higher its score; the best is bold."""
    models, data = (list(dict.fromkeys(getattr(cell, part) for cell in cells)) for part in ("model", "data"))
    figure.set_size_inches(max(5.5, 0.9 + 3.3 * len(data)), 0.9 + 2.5 * len(models))
    grid = figure.subplots(len(models), len(data), squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for cell in cells:
        ax = grid[models.index(cell.model), data.index(cell.data)]
        rows = [row for row in cell.measured.rows if row["pooling"] in POOLINGS]
        scores = np.array([[row[how] for how in SIMILARITIES] for row in rows])
        low, high = scores.min(), scores.max()
        ax.set_axis_on()
        ax.grid(False)
        ax.imshow(scores, cmap="Blues", vmin=low - 0.3 * (high - low), vmax=high + 0.25 * (high - low), aspect="auto")
        for (row, column), score in np.ndenumerate(scores):
            look = {"color": "white" if score > low + 0.6 * (high - low) else "black"}
            look["weight"] = "bold" if score == high else "normal"
            ax.text(column, row, f"{score:.3f}", ha="center", va="center", fontsize=8, **look)
        ax.set_xticks(range(len(SIMILARITIES)), SIMILARITIES, rotation=35, ha="right", fontsize=8)
        names = [row["pooling"] if ax is grid[models.index(cell.model), 0] else "" for row in rows]
        ax.set_yticks(range(len(rows)), names, fontsize=8)
        ax.tick_params(length=0)
        ax.set_title(f"{cell.model}, {cell.data}", fontsize=9)


def _better(measure: str, said: str) -> Claim:
    return Claim(
        f"{SOURCE}, note on similarity measures",
        f"Cosine serves better than {measure}: {said}",
        f"Score of the mean with the cosine minus that with {measure}",
        untested="Models that end in a normalisation, the demo model among them, are not tested as they are published: "
        "with it cosine, dot product and Euclidean distance rank alike, so that it is left out here",
    )


_STICK = "unless you know what you do, stick to cosine"
EXPERIMENT = Experiment(
    name="pooling-similarity",
    title="Pooling operators and similarity measures on the same texts",
    claims={
        "dot": _better("the dot product", "sentence transformers are designed with cosine in mind"),
        "euclidean": _better("Euclidean distance", "sentence transformers are designed with cosine in mind"),
        "manhattan": _better("Manhattan distance", _STICK),
        "minkowski": _better("Minkowski distance (p = 3)", _STICK),
        "chebyshev": _better("Chebyshev distance", _STICK),
        "trained": Claim(
            f"{SOURCE}, CLS pooling",
            "A CLS vector that no sentence task has tuned is not meaningful: in models trained with the mean, "
            "the mean does better",
            "Score of the mean minus that of CLS, both with the cosine",
            untested="That CLS is not meaningful is not tested: its own scores, .35 to .78, are in the figure",
        ),
        "words": Claim(
            f"{SOURCE}, why use sentence embeddings",
            "On tasks that need the meaning of the whole, vectors of sentences do better than those of words",
            "Score of the mean with the cosine minus that of averages of the model's word embeddings",
        ),
        "sentence": Claim(
            f"{SOURCE}, why use sentence embeddings: a comparison that the post does not have",
            "One vector does better than matching the vectors of the tokens",
            "Score of the mean with the cosine minus that of matching tokens (sum of best cosines), in searches with "
            "those of every document",
        ),
    },
    measure=measure,
    draw=draw,
    data=("stsbenchmark", "sickr", "scifact", "cranfield"),
    kind="sts",
    notes=(
        "Scores are Spearman's correlation for pairs and nDCG@10 for searches, without a normalisation that ends the "
        "model.",
        "The post divides the mean by the root of the number of tokens; libraries divide the sum. With the cosine both "
        "are the mean, since only the norm differs.",
        "That there is no consensus on pooling is a statement about practice; the figure shows what it is about.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
