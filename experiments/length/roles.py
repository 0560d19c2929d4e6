"""A temperature for queries, for documents or for both: Table 2 and Figures 9 and 15 of the paper on length collapse.

Table 2 compares short queries with long ones, and Figure 15 a set of long documents with one of shorter ones.

Every text is read once for each temperature; all pairs of temperatures are scored from these vectors. Full size: up to
300 queries and 1,200 documents, five temperatures; `--quick`: up to 64 queries with at most three relevant
documents each, two temperatures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO
from cenote.evaluation.candidates import Candidate, CandidateScores
from cenote.evaluation.cells import SIGNIFICANT
from cenote.evaluation.differences import pair
from cenote.functional.paired import Paired, compare_paired
from cenote.listener import Listener
from experiments.data_sets import folder_of
from experiments.lab import BOLD, Cell, Claim, Experiment, Measured, above, cell_panels, heat_map, main, reach_of
from experiments.length.grid import (
    DEFAULT,
    QUICK_TAUS,
    SEED,
    TAUS,
    columns_of,
    combine,
    decide,
    difference_of_groups,
    estimate,
    excess_of_best,
    list_task,
    sampled,
    slope_weights,
)

SOURCE, PLAIN = "arXiv 2410.24200", 1.0
# The rows of Table 2: the temperature of queries, and that of documents.
FORMS = {
    "raw": (PLAIN, PLAIN),
    "both": (DEFAULT, DEFAULT),
    "documents only": (PLAIN, DEFAULT),
    "queries only": (DEFAULT, PLAIN),
}
Roles = tuple[float, float]
# Queries are long where they have more tokens than this on average.
LONG = 50


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score of every pair of temperatures, and what each role does."""
    task, taus = list_task("search", sampled(data, quick)), QUICK_TAUS if quick else TAUS
    scores = CandidateScores(model, task, AUTO, Listener(), {}, shared=None)
    found = {
        (query, document): scores.score(Candidate("constant" if query == document else "role", query, document))
        for query in taus
        for document in taus
    }
    raw, *others = found
    items = [one.items for one in found.values()]
    paired = pair(task.kind, [items[0]] * len(others), items[1:])
    if paired is None:
        return Measured([], [])
    changes = dict(zip(others, compare_paired([paired], seed=SEED).tasks[0], strict=True))
    rows = [
        {"temperature for": name, "query τ": key[0], "document τ": key[1], "score": found[key].score}
        | columns_of(changes.get(key))
        for name, key in FORMS.items()
    ]

    def weigh(weight: Callable[[Roles], float]) -> Paired:
        return combine(paired, [weight(key) for key in others])

    slopes = dict(zip(taus, slope_weights(taus), strict=True))
    claim, one, other = "documents more", FORMS["documents only"], FORMS["queries only"]
    if items[0].lengths["query"].mean() > LONG:
        claim, one, other = "queries more", other, one
    of_documents = weigh(lambda key: slopes[key[1]] / len(taus))
    findings = [
        decide(above, "both", changes[FORMS["both"]]),
        decide(above, claim, estimate(weigh(lambda key: float(key == one) - float(key == other)))),
        decide(above, "queries", estimate(weigh(lambda key: slopes[key[0]] / len(taus)))),
        above("best", excess_of_best([paired], [found[raw].score])),
    ]
    percents = {raw: 0.0} | {key: 100 * one.value / found[raw].score for key, one in changes.items()}
    clear = {raw: False} | {key: one.p < SIGNIFICANT for key, one in changes.items()}
    series = {
        "taus": taus,
        "changes": [[percents[query, document] for document in taus] for query in taus],
        "significant": [[clear[query, document] for document in taus] for query in taus],
        "document tokens": float(np.nanmean(items[0].lengths["document"])),
        "document slopes": of_documents.values[0].tolist(),
        "sources": None if paired.sources is None else paired.sources.tolist(),
    }
    return Measured(rows, findings, series)


def across(cells: Sequence[Cell]) -> list[Cell]:
    """Compare the sets of the longest documents with that of the shortest: do they gain, and more, by a temperature?

    Two sets of the same documents are both compared. A set that loses less is no set that gains.
    """
    found = []
    for model in dict.fromkeys(cell.model for cell in cells if "document slopes" in cell.measured.series):
        sets = [cell for cell in cells if cell.model == model and "document slopes" in cell.measured.series]
        short, longest = (choose(sets, key=_document_tokens) for choose in (min, max))
        if folder_of(short.data) == folder_of(longest.data):
            continue
        for long in (cell for cell in sets if folder_of(cell.data) == folder_of(longest.data)):
            finding = decide(above, "documents", difference_of_groups(_slopes_of(long), _slopes_of(short)))
            if finding.holds and not decide(above, "documents", estimate(_slopes_of(long))).holds:
                finding = replace(finding, holds=None)
            name = f"{Path(long.data).name} minus {Path(short.data).name}"
            found.append(Cell(model, name, Measured([], [finding])))
    return found


def _document_tokens(cell: Cell) -> float:
    tokens: float = cell.measured.series["document tokens"]
    return tokens


def _slopes_of(cell: Cell) -> Paired:
    """Return the slope of each query, in percent of the score at the model's own temperature."""
    series, raw = cell.measured.series, cell.measured.rows[0]["score"]
    sources = None if series["sources"] is None else np.array(series["sources"])
    return Paired(100 * np.array([series["document slopes"]]) / raw, sources)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a heat map for each model and data set: the relative change by both temperatures."""
    reach = reach_of(cells)
    for cell, ax in cell_panels(figure, cells):
        series = cell.measured.series
        names = [f"{tau:g}" for tau in series["taus"]]
        heat_map(ax, series["changes"], names, names, series["significant"], reach=reach)
        ax.set_xlabel("temperature of documents")
        ax.set_ylabel("temperature of queries")
    figure.supxlabel(BOLD, fontsize=9)


EXPERIMENT = Experiment(
    name="length-roles",
    title="Attention temperature of queries and of documents: change of the score in %",
    claims={
        "both": Claim(
            f"{SOURCE}, Table 2",
            "A temperature of 0.8 for queries and documents raises the score (QMSum: by 0.69 to 2.84 points for all "
            "five models; SummScreenFD: GIST loses 3.03 and E5 0.39)",
            "Change of nDCG@10 from temperature 1",
        ),
        "documents more": Claim(
            f"{SOURCE}, Table 2a",
            "Where queries are short (QMSum), a lower temperature of documents gains more than one of queries",
            f"nDCG@10 with 0.8 for documents only minus with 0.8 for queries only, of at most {LONG} tokens on average",
        ),
        "queries more": Claim(
            f"{SOURCE}, Table 2b",
            "Where queries are long (SummScreenFD), a lower temperature of queries gains more than one of documents",
            f"nDCG@10 with 0.8 for queries only, of more than {LONG} tokens on average, minus that with 0.8 for "
            "documents only",
        ),
        "queries": Claim(
            f"{SOURCE}, Figure 9",
            "A lower temperature for queries is better on QMSum, whatever that of documents",
            "Change of nDCG@10 for each 0.1 that the queries' temperature is lower, over all of the grid",
        ),
        "documents": Claim(
            f"{SOURCE}, Figure 15",
            "Longer documents (SummScreenFD, beside QMSum) need a lower temperature",
            "Change of nDCG@10, in %, for each 0.1 that the documents' temperature is lower, over all of the grid: of "
            "a set of the longest documents minus that of the shortest",
            note="A model reads at most its limit of them. It holds where the longest gain by themselves, too; where "
            "they lose less than the shortest, nothing is decided. Scores on qmsum are near 0, so that its changes in "
            "% are large and uncertain",
        ),
        "best": Claim(
            f"{SOURCE}, Figures 9 and 15",
            "The best pair of temperatures of the grid gains something",
            "Its relative change minus that of the best of a grid of noise, with 95 % of the noise",
        ),
    },
    measure=measure,
    draw=draw,
    data=("qmsum", "scifact", "cranfield", "cisi", "qmsum_answers", "scifact_abstracts"),
    kind="retrieval",
    notes=(
        "p is of one test for all pairs of temperatures. Queries with the same relevant documents, such as those on "
        "one meeting, are resampled together. Bold cells of the figure have p below .05.",
        "Two sets with long queries are made of others: qmsum_answers seeks meetings by what answers the questions on "
        "them, scifact_abstracts seeks claims by the abstracts that are evidence for or against them.",
    ),
    across=across,
)

if __name__ == "__main__":
    main(EXPERIMENT)
