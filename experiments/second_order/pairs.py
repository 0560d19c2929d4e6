"""Mean SOCM over all pairs of texts and over hard pairs, each beside pairs in which nothing can collapse.

The paper gives means over all pairs of 1,000 texts and over queries with hard negatives. With fewer tokens than
dimensions, even two halves of one text differ in shape, so halves stand beside the means; and queries are paired again
with the hard negatives of other queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.account.pooled_texts import OWN, read_pooled
from cenote.data.labelled import Retrieval
from cenote.data.labelled_samples import Sizes
from cenote.data.rows import Text
from cenote.encoding.tokens import tokenise
from cenote.functional.influence import pair_values
from cenote.functional.intervals import mean_over_pairs
from cenote.functional.retrieval import nearest
from cenote.functional.second_order import REFERENCE_FLOOR, SecondOrder, socm, split_halves
from cenote.models.properties import prompt_name_for
from cenote.records import Estimate
from experiments.data_sets import search_of
from experiments.lab import COLOURS, Cell, Claim, Experiment, Finding, Measured, below, main, panels
from experiments.second_order.clouds import (
    STAND_INS,
    TUNED_HERE,
    against_backbones,
    by_length,
    mean_change,
    read_clouds,
)

# Texts of all pairs, and queries with the documents that they search.
TEXTS, QUICK_TEXTS = 250, 40
SIZES, QUICK_SIZES = Sizes(queries=300, documents=1000), Sizes(queries=40, documents=60)
# Texts of which the published code's figures are computed too.
REFERENCE = 20
SEED = 0
SOURCE = "arXiv 2604.27398"
# Kinds of pairs, and those that are drawn, from the top.
ALL, SAME, OTHER, HARD, AGAIN, EXACT, FLOORED = (
    "all pairs",
    "halves of one text",
    "halves of two texts",
    "query, hard negative",
    "query, another's negative",
    "few texts, exact",
    "few texts, published code",
)
DRAWN = (ALL, SAME, OTHER, HARD, AGAIN)
MARKS = "osD^vP"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return mean SOCM by kind of pairs, and how encoders compare with chance."""
    search, documents = search_of(data, QUICK_SIZES if quick else SIZES)
    drawn = np.random.default_rng(SEED).permutation(len(documents))[: QUICK_TEXTS if quick else TEXTS]
    texts = [documents[place] for place in sorted(drawn.tolist())]
    clouds, names = by_length(read_clouds(model, [text.text for text in texts]), texts)
    sides = np.triu_indices(len(clouds), 1)
    whole = socm(clouds, limit=math.inf)
    first, second = split_halves(clouds, SEED)
    same, other = socm(first, second, limit=math.inf), socm(first[:-1], second[1:], limit=math.inf)
    places = np.arange(len(other.socm))
    # The paper names no bound below which a model is robust.
    every = mean_over_pairs(whole.socm, *sides)
    findings = [Finding("robust", every.value, every.low, every.high, None)]
    rows = [
        _row(ALL, whole, every),
        _row(SAME, same, mean_over_pairs(same.socm, *_apart(len(same.socm)))),
        _row(OTHER, other, mean_over_pairs(other.socm, places, places + 1)),
        *_reference(clouds[:: -(-len(clouds) // REFERENCE)]),
    ]
    for row, finding in _hard_pairs(model, search, documents):
        rows += row
        findings += finding
    values = dict(zip(names, pair_values(whole.socm, *sides).round(6).tolist(), strict=True))
    return Measured(rows, findings, {"socm of texts": values})


def _apart(count: int) -> tuple[Any, Any]:
    """Return numbers for pairs that share no text."""
    return np.arange(count), np.arange(count, 2 * count)


def _reference(clouds: list[Any]) -> list[dict[str, Any]]:
    """Return rows of a few texts, exact and as the published code computes them."""
    sides = np.triu_indices(len(clouds), 1)
    floors = {EXACT: 0.0, FLOORED: REFERENCE_FLOOR}
    found = {kind: socm(clouds, floor=floor, limit=math.inf) for kind, floor in floors.items()}
    return [_row(kind, one, mean_over_pairs(one.socm, *sides)) for kind, one in found.items()]


def _hard_pairs(
    model: SentenceTransformer, search: Retrieval, documents: Sequence[Text]
) -> list[tuple[list[dict[str, Any]], list[Finding]]]:
    """Compare queries with their hardest negatives: the nearest document that does not answer them."""
    vectors = {}
    for task, texts in (("query", list(search.queries)), ("document", [text.text for text in documents])):
        tokens = tokenise(model, texts, prompt_name_for(model, None, task), task)
        vectors[task] = read_pooled(model, tokens, {}, task=task).vectors[OWN]
    most = max(len(judged) for judged in search.judgments.values())
    order = nearest(vectors["query"], vectors["document"], min(most + 1, len(documents)))
    hard: dict[int, int] = {}  # the negative of each query; each document serves one query
    for place, (query, ranked) in enumerate(zip(search.query_ids, order.tolist(), strict=True)):
        judged = search.judgments[query]
        negatives = [one for one in ranked if judged.get(documents[one].id, 0) <= 0 and one not in hard.values()]
        if negatives:
            hard[place] = negatives[0]
    asked = read_clouds(model, [search.queries[place] for place in hard], "query")
    found = read_clouds(model, [documents[place].text for place in hard.values()])
    both = [place for place in asked if place in found]
    if len(both) < 2:
        return []
    queries, negatives = [asked[place] for place in both], [found[place] for place in both]
    paired, again = socm(queries, negatives), socm(queries, [*negatives[1:], negatives[0]])
    places, apart = _apart(len(both)), (np.arange(len(both)), np.roll(np.arange(len(both)), -1))
    rows = [
        _row(HARD, paired, mean_over_pairs(paired.socm, *places)),
        _row(AGAIN, again, mean_over_pairs(again.socm, *places)),
    ]
    # Of SOCM the change would be that of d_mu, which is low for what was chosen as near, also among random vectors.
    return [(rows, [below("hard", mean_over_pairs(paired.normalised - again.normalised, *apart))])]


def _row(kind: str, found: SecondOrder[Any], mean: Estimate) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "pairs of": kind,
        "pairs": len(found.socm),
        "SOCM": mean.value,
        "low": mean.low,
        "high": mean.high,
        "d_mu": float(found.d_mu.mean()),
        "d_sigma": float(found.d_sigma.mean()),
        "d_sigma of spread": float(found.normalised.mean()),
    }


def across(cells: Sequence[Cell]) -> list[Cell]:
    """Compare encoders with their backbones, on the same texts."""
    found = []
    for name, cell, backbone in against_backbones(cells):
        change = mean_change(*(one.measured.series["socm of texts"] for one in (backbone, cell)))
        if change is not None:
            found.append(Cell(name, cell.data, Measured([], [below("tuned", change)])))
    return found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: a line for each kind of pairs, a colour for each model."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    for number, (data, ax) in enumerate(panels(figure, cells).items()):
        for place, model in enumerate(models):
            rows = [row for cell in cells if (cell.model, cell.data) == (model, data) for row in cell.measured.rows]
            mark, colour = MARKS[place % len(MARKS)], COLOURS[place % len(COLOURS)]
            for row in (one for one in rows if one["pairs of"] in DRAWN):
                shift = 0.14 * (place - (len(models) - 1) / 2)
                ends = [[row["SOCM"] - row["low"]], [row["high"] - row["SOCM"]]] if row["low"] is not None else None
                y = len(DRAWN) - DRAWN.index(row["pairs of"]) - shift
                ax.errorbar(row["SOCM"], y, xerr=ends, fmt=mark, color=colour, ms=5)
        ax.set_yticks(range(len(DRAWN), 0, -1), DRAWN if number == 0 else [""] * len(DRAWN))
        ax.set_ylim(0.5, len(DRAWN) + 0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel("mean SOCM (higher: more collapsed)")
    looks = [(MARKS[place % len(MARKS)], COLOURS[place % len(COLOURS)]) for place in range(len(models))]
    handles = [ax.plot([], [], mark, color=colour)[0] for mark, colour in looks]
    figure.legend(handles, models, loc="outside lower center", ncols=3, fontsize=8)


EXPERIMENT = Experiment(
    name="socm-pairs",
    title="Second-order collapse of all pairs and of hard pairs, beside what chance gives",
    claims={
        "robust": Claim(
            f"{SOURCE}, abstract and mean SOCM by model",
            "Text encoders are robust to second-order collapse",
            "Mean SOCM of all pairs, which the paper finds to be .02 to .49 for its models, and it names no bound",
            note="The figure has what compares at equal numbers of tokens: halves of two texts, beside halves of one "
            "text, in which nothing can collapse; neither is always higher",
        ),
        "hard": Claim(
            f"{SOURCE}, mean SOCM over hard negatives",
            "The shapes of queries and their hard negatives differ no more than those of other texts (the paper has a "
            "lower mean SOCM than of random passages for seven of ten models)",
            "d_sigma as a share of the spread, of queries with their own hard negatives minus with each other's",
            untested="Mean SOCM, which the paper compares, is not tested: of documents that were chosen as near it is "
            "low for random vectors too. In the figure it is higher with their own negatives in 7 of 15 cells, and "
            "lower in 8",
        ),
        "tuned": Claim(
            f"{SOURCE}, abstract",
            "An encoder that was fine-tuned by contrast tends to collapse less than its backbone",
            "Mean SOCM over all pairs of the same texts, fine-tuned minus backbone",
            untested=TUNED_HERE,
            stand_ins=STAND_INS,
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "cranfield", "cisi"),
    kind="retrieval",
    notes=(
        f"The published code adds {REFERENCE_FLOOR:g} to eigenvalues, which lowers SOCM: the rows of few texts show by "
        "how much.",
        "SOCM grows with the number of tokens, so only pairs with as many tokens are compared: halves with halves, and "
        "the same queries and documents paired in two ways.",
        "`sre-minilm` was trained from the demo model, a contrastive encoder itself; `masked-tuned` from `masked`, "
        "which learnt masked words here (`experiments.second_order.fine_tuning`). A model of yours is compared with "
        "its start by --model START --model TRAINED --backbone TRAINED=START. The paper's pairs: python -m "
        "experiments.second_order.pairs --model google-bert/bert-base-uncased --model "
        "princeton-nlp/unsup-simcse-bert-base-uncased --model intfloat/e5-base --model thenlper/gte-base",
    ),
    across=across,
)

if __name__ == "__main__":
    main(EXPERIMENT)
