"""Does less second-order collapse go with better scores? Encoders made from one model, ranked by both.

The paper correlates mean SOCM with the MTEB score of 12 models. Those are not to be had offline, so each model here
gives a dozen encoders: its own, and others with fewer layers, another attention temperature or noise on the weights.
All pool by the mean; other poolings have the same token vectors, hence the same SOCM, and are ranked by the rest alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.pooled_texts import OWN as OWN_POOLING
from cenote.account.pooled_texts import Vectors
from cenote.account.probes import POSITIONS, Probes, draw_probes
from cenote.account.ranks import other_poolings
from cenote.data.labelled_samples import Sizes
from cenote.data.rows import Text
from cenote.functional.concentration import concentration
from cenote.functional.influence import pair_values
from cenote.functional.intervals import FEWEST_WITH_INTERVAL, percentile_interval
from cenote.functional.items import rank_correlation_of_items
from cenote.functional.retrieval import own_ranks
from cenote.functional.second_order import socm, socm_null
from cenote.models.properties import limit_of
from cenote.records import Estimate
from experiments.data_sets import search_of
from experiments.lab import COLOURS, Cell, Claim, Experiment, Finding, Measured, above, below, main
from experiments.second_order.clouds import by_length, read_clouds
from experiments.second_order.encoders import LAYERS, NOISE, OWN, TEMPERATURE, encoders_of
from experiments.validity import correlate_means, gain_at_ten, read_side

# Texts whose pairs are compared, documents of the account, and tokens that are read.
TEXTS, QUICK_TEXTS = 60, 12
DOCUMENTS, QUICK_DOCUMENTS = 200, 20
SIZES, QUICK_SIZES = Sizes(queries=100, documents=300), Sizes(queries=15, documents=30)
QUICK_LIMIT = 64
RESAMPLES, QUICK_RESAMPLES, SEED = 1000, 200, 0
SOURCE = "arXiv 2604.27398, correlation of mean SOCM with the MTEB score"
SOCM, NULL, SPREAD, CLOSENESS, ACCOUNT = (
    "mean SOCM",
    "SOCM of halves of one text",
    "spread of tokens",
    "mean cosine of texts",
    "sentences that find their text",
)
# Those that need no labels and are drawn, and those that do not depend on the pooling.
DRAWN, OF_TOKENS = (SOCM, CLOSENESS, ACCOUNT), (SOCM, NULL, SPREAD)
SCORE = "nDCG@10"
OF_ENCODERS = (
    "The encoders are few models and variants of each: fewer layers, another temperature, noise on the weights. Noise "
    "lowers SOCM and the score together, so that unlike models may behave otherwise. Intervals are for other variants, "
    "as if each were drawn alone"
)
MARKS = {OWN: "*", LAYERS: "o", TEMPERATURE: "^", NOISE: "x", "pooling": "s"}
Values = npt.NDArray[np.float64]
Columns = dict[str, Values]  # of each figure its values by item, whose mean it is


@dataclass(frozen=True)
class _Material:
    """The texts that every encoder reads."""

    documents: list[Text]
    queries: list[Text]
    judged: Mapping[str, Any]
    probes: Probes
    texts: list[Text]  # whose pairs are compared


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the figures of every encoder made from a model, and how they correlate with its score."""
    material = _draw_material(data, quick)
    limit = model.max_seq_length
    try:
        if quick:
            model.max_seq_length = min(limit_of(model) or QUICK_LIMIT, QUICK_LIMIT)
        found: dict[tuple[str, str], Columns] = {}
        for made, name, encoder in encoders_of(model):
            poolings = other_poolings(model) if made == OWN else {}
            for pooling, columns in _figures(encoder, material, poolings).items():
                found[("pooling", pooling) if pooling else (made, name)] = columns
    finally:
        model.max_seq_length = limit
    rows = [
        {"encoder": name, "made by": made, **{column: float(values.mean()) for column, values in columns.items()}}
        for (made, name), columns in found.items()
    ]
    findings = over_encoders(rows)
    correlations = _correlate([one for (made, _), one in found.items() if made != "pooling"], quick)
    more = _correlate(list(found.values()), quick, leave_out=OF_TOKENS)
    shown = {**correlations, **{f"{name}, other poolings too": one for name, one in more.items()}}
    rows += [{"encoder": f"Spearman with {SCORE}: {name}", **vars(one)} for name, one in shown.items()]
    return Measured(rows, findings)


def _draw_material(data: str, quick: bool) -> _Material:
    search, documents = search_of(data, QUICK_SIZES if quick else SIZES)
    order = np.random.default_rng(SEED).permutation(len(documents))
    queries = [Text(name, query) for name, query in zip(search.query_ids, search.queries, strict=True)]
    return _Material(
        documents=documents,
        queries=queries,
        judged=search.judgments,
        probes=draw_probes(documents, QUICK_DOCUMENTS if quick else DOCUMENTS, SEED),
        texts=[documents[place] for place in sorted(order[: QUICK_TEXTS if quick else TEXTS].tolist())],
    )


def _figures(
    encoder: SentenceTransformer, material: _Material, poolings: Mapping[str, nn.Module]
) -> dict[str, Columns]:
    """Return the figures of an encoder by pooling; its own is the empty name."""
    documents = read_side(encoder, [text.text for text in material.documents], "document", poolings)
    queries = read_side(encoder, [text.text for text in material.queries], "query", poolings)
    sentences = read_side(encoder, material.probes.sentences, "query", poolings) if material.probes.texts else None
    found = {}
    for pooling, vectors in documents.items():
        judged: Any = material.judged
        columns = {
            SCORE: gain_at_ten(queries[pooling], vectors, material.queries, material.documents, judged),
            CLOSENESS: _closeness(vectors),
        }
        if sentences is not None and len(material.probes.texts) >= FEWEST_WITH_INTERVAL:
            columns[ACCOUNT] = _found(sentences[pooling], vectors, material)
        found[pooling] = columns
    found[OWN_POOLING] |= _collapse(encoder, material)
    return found


def _closeness(vectors: Vectors) -> Values:
    """Return the value of each text for the mean cosine of all pairs."""
    sides = np.triu_indices(len(vectors), 1)
    return pair_values((vectors @ vectors.T)[sides], *sides)


def _found(sentences: Vectors, documents: Vectors, material: _Material) -> Values:
    """Return the share of each text's sentences that find it among the texts of the account."""
    places = {text.id: place for place, text in enumerate(material.documents)}
    candidates = documents[[places[text.id] for text in material.probes.texts]]
    ranks = own_ranks(sentences, candidates, material.probes.owners)
    shares: Values = (ranks == 1).reshape(-1, len(POSITIONS)).mean(1)
    return shares


def _collapse(encoder: SentenceTransformer, material: _Material) -> Columns:
    clouds, _ = by_length(read_clouds(encoder, [text.text for text in material.texts]), material.texts)
    sides = np.triu_indices(len(clouds), 1)
    return {
        SOCM: pair_values(socm(clouds, limit=math.inf).socm, *sides),
        NULL: socm_null(clouds, SEED).socm,
        SPREAD: np.array([concentration(one).item() for one in clouds]),
    }


def _correlate(encoders: Sequence[Columns], quick: bool, leave_out: Sequence[str] = ()) -> dict[str, Estimate]:
    """Return Spearman's correlation of each figure with the score over encoders; intervals resample items."""
    names = [name for name in encoders[0] if name != SCORE and name not in leave_out]
    score, found = np.stack([one[SCORE] for one in encoders]), {}
    for name in names:
        generator = np.random.default_rng(SEED)
        values = np.stack([one[name] for one in encoders])
        value, draws = correlate_means(score, values, generator, QUICK_RESAMPLES if quick else RESAMPLES)
        found[name] = Estimate(value, *percentile_interval(draws, 0.95))
    return found


def over_encoders(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return whether scores go with collapse and account over the encoders that have a SOCM: those of the mean.

    The statements are about encoders, so that the intervals are for other encoders.
    """
    encoders = [row for row in rows if row.get(SOCM) is not None]
    scores, found = [row[SCORE] for row in encoders], []
    for claim, column, side in (("collapse", SOCM, below), ("account", ACCOUNT, above)):
        if all(column in row for row in encoders):
            found.append(side(claim, rank_correlation_of_items([row[column] for row in encoders], scores)))
    return found


def across(cells: Sequence[Cell]) -> list[Cell]:
    """Correlate over the encoders of all models, and over the models alone where they are enough for an interval."""
    found = []
    for data in dict.fromkeys(cell.data for cell in cells):
        chosen = [cell for cell in cells if cell.data == data]
        rows = [row for cell in chosen for row in cell.measured.rows if row.get(SOCM) is not None]
        if len(chosen) > 1:
            name = f"{len(rows)} encoders of {len(chosen)} models"
            found.append(Cell(name, data, Measured([], over_encoders(rows))))
        if len(chosen) >= FEWEST_WITH_INTERVAL:
            alone = [row for row in rows if row["made by"] == OWN]
            found.append(Cell(f"{len(alone)} models", data, Measured([], over_encoders(alone))))
    return found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw the score against each figure, a column for each data set: a colour for each model, marks by making."""
    models, data = (list(dict.fromkeys(getattr(cell, part) for cell in cells)) for part in ("model", "data"))
    columns = [name for name in DRAWN if any(name in row for cell in cells for row in cell.measured.rows)]
    figure.set_size_inches(max(5.5, 3.4 * len(columns)), 0.9 + 2.9 * len(data))
    grid = figure.subplots(len(data), len(columns), squeeze=False, sharey="row")
    for cell in cells:
        colour = COLOURS[models.index(cell.model) % len(COLOURS)]
        for column, ax in zip(columns, grid[data.index(cell.data)], strict=True):
            for made, mark in MARKS.items():
                rows = [row for row in cell.measured.rows if row.get("made by") == made and row.get(column) is not None]
                x, y = ([row[name] for row in rows] for name in (column, SCORE))
                ax.plot(x, y, mark, color=colour, ms=9 if made == OWN else 5)
            ax.set_xlabel(column)
            ax.locator_params(axis="x", nbins=5)
    for name, row in zip(data, grid, strict=True):
        row[0].set_ylabel(f"{SCORE}, {name}")
    colours = dict(zip(models, itertools.cycle(COLOURS), strict=False))
    looks = {**dict.fromkeys(models, "-"), **MARKS}
    handles = [grid[0, 0].plot([], [], look, color=colours.get(name, "#555555"))[0] for name, look in looks.items()]
    figure.legend(handles, looks, loc="outside lower center", ncols=5, fontsize=8)


EXPERIMENT = Experiment(
    name="socm-scores",
    title="Scores of encoders by their second-order collapse, their closeness and their account",
    claims={
        "collapse": Claim(
            SOURCE,
            "Encoders that collapse less score higher (published: Spearman -0.678, p 0.015, over 12 models)",
            "Spearman's correlation of mean SOCM and nDCG@10 over encoders that pool by the mean",
            note=OF_ENCODERS,
        ),
        "account": Claim(
            "for comparison: the account of `cenote diagnose`",
            "Encoders whose texts are found by more of their own sentences score higher",
            "Spearman's correlation of the share of sentences that find their text and nDCG@10 over the same encoders",
            note=OF_ENCODERS,
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "cranfield", "cisi"),
    kind="retrieval",
    notes=(
        "Halves of one text cannot collapse onto another text: only what mean SOCM shows beyond theirs, and beyond the "
        "spread of tokens, is collapse between texts.",
        "This is not the paper's set of 12 models: encoders made from one model share its tokenizer and training, and "
        "noise or a temperature moves SOCM and score in ways of its own. The statements are about encoders, and the "
        "intervals that decide resample these. Those of the table resample the texts and queries of the same encoders, "
        "which draws a correlation towards 0: an interval may lie below its value.",
        "The paper's 12 models: python -m experiments.second_order.scores "
        "--model google-bert/bert-base-uncased --model princeton-nlp/unsup-simcse-bert-base-uncased "
        "--model intfloat/e5-base --model thenlper/gte-base --model microsoft/MiniLM-L12-H384-uncased "
        "--model sentence-transformers/all-MiniLM-L12-v2 --model intfloat/e5-small --model thenlper/gte-small "
        "--model microsoft/mpnet-base --model sentence-transformers/all-mpnet-base-v2 "
        "--model nomic-ai/nomic-bert-2048 --model nomic-ai/nomic-embed-text-v1.5",
    ),
    across=across,
)

if __name__ == "__main__":
    main(EXPERIMENT)
