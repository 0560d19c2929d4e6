"""Ranks of long relevant documents by temperature: Table 3 of the paper on length collapse.

A mean rank is mostly that of a few documents which are found last, so the ranks are compared on a logarithmic scale
too, with those of the shortest relevant documents beside. Full size: up to 300 queries and 1,200 documents, five
temperatures; `--quick`: up to 64 queries with at most three relevant documents each, two temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.functional.paired import Paired, compare_paired
from cenote.functional.sampling import Floats, Whole
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, below, legend, main, panels
from experiments.length.grid import DEFAULT, END, SEED, Grid, columns_of, decide, difference_of_groups, read_grid
from experiments.length.queries import draw_changes

SOURCE = "arXiv 2410.24200, Table 3"
LONGEST, SHORTEST = "longest 20 %", "shortest 20 %"


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks of relevant documents: a column for each pair of a query and one of its relevant documents."""

    ranks: Floats  # [T, P], at each temperature
    queries: Whole  # [P], the number of the query

    @property
    def changes(self) -> Paired:
        """Changes of the rank from the first temperature; pairs of a query are resampled together."""
        return Paired(self.ranks[1:] - self.ranks[0], self.queries)

    @property
    def doublings(self) -> Paired:
        """Changes of the binary logarithm of the rank."""
        return Paired(np.log2(self.ranks[1:]) - np.log2(self.ranks[0]), self.queries)


def ends_of_ranks(grid: Grid) -> tuple[dict[str, Ranks], dict[str, str]]:
    """Return the ranks of the longest and of the shortest relevant documents, and how many tokens these have."""
    columns = [one.columns for one in grid.items]
    ranks = np.array([[rank for some in one["ranks"] for rank in some] for one in columns], np.float64)
    lengths = np.array([length for some in columns[0]["relevant_tokens_each"] for length in some])
    queries = np.repeat(np.arange(len(columns[0]["ranks"])), [len(some) for some in columns[0]["ranks"]])
    ranked = np.flatnonzero((ranks > 0).all(0))  # documents that the corpus does not hold have none
    order, count = ranked[np.argsort(lengths[ranked], kind="stable")], round(END * len(ranked))
    parts = {LONGEST: order[len(order) - count :], SHORTEST: order[:count]}
    tokens = {end: f"{lengths[part].min()} to {lengths[part].max()}" for end, part in parts.items()}
    return {end: Ranks(ranks[:, part], queries[part]) for end, part in parts.items()}, tokens


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the mean rank of the longest and of the shortest relevant documents at each temperature."""
    grid = read_grid(model, data, quick)
    ends, tokens = ends_of_ranks(grid)
    ranks = compare_paired([one.changes for one in ends.values()], seed=SEED).tasks
    doublings = compare_paired([one.doublings for one in ends.values()], seed=SEED).tasks
    rows = []
    for (end, one), changes, logarithmic in zip(ends.items(), ranks, doublings, strict=True):
        named = {"documents": end, "tokens": tokens[end], "count": one.ranks.shape[1]}
        rows.append({**named, "τ": grid.taus[0], "mean rank": float(one.ranks[0].mean())})
        for tau, mean, change, doubling in zip(grid.taus[1:], one.ranks[1:].mean(1), changes, logarithmic, strict=True):
            log = {"doublings": doubling.value, "from": doubling.low, "to": doubling.high}
            rows.append({**named, "τ": tau, "mean rank": float(mean), **columns_of(change), **log})
    place = list(grid.taus).index(DEFAULT) - 1
    longest, shortest = (_only(ends[end].doublings, place) for end in (LONGEST, SHORTEST))
    findings = [
        decide(below, "longest", ranks[0][place]),
        decide(below, "more", difference_of_groups(longest, shortest)),
    ]
    return Measured(rows, findings)


def _only(paired: Paired, row: int) -> Paired:
    """Return one of the temperatures."""
    return Paired(paired.values[[row]], paired.sources)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: how often ranks double by temperature, a colour for each model."""
    colours = dict(zip(dict.fromkeys(cell.model for cell in cells), COLOURS, strict=False))
    for name, ax in panels(figure, cells).items():
        for place, cell in enumerate(one for one in cells if one.data == name):
            for end, look, shift in ((LONGEST, "o-", -1), (SHORTEST, "s--", 1)):
                rows = [
                    {"τ": row["τ"], "change": row["doublings"], "low": row["from"], "high": row["to"]}
                    for row in cell.measured.rows
                    if row["documents"] == end and "doublings" in row
                ]
                draw_changes(ax, rows, look, colours[cell.model], f"{cell.model}, {end}", shift * (1 + place) * 0.004)
        ax.set_xlabel("temperature")
        ax.set_ylabel("change of the rank, in doublings")
    legend(figure)


EXPERIMENT = Experiment(
    name="length-ranks",
    title="Ranks of the longest and the shortest relevant documents by attention temperature",
    claims={
        "longest": Claim(
            SOURCE,
            "A temperature of 0.8 ranks long relevant documents higher (SciFact: 66.8 to 38.9 for E5, 80.7 to 81.5 for "
            "ANCE; NFCorpus: lower ranks for four of five models)",
            "Change of the mean rank of the relevant documents that are among the longest 20 %",
        ),
        "more": Claim(
            SOURCE,
            "This lessens a bias against length: long documents gain more than short ones",
            "Change of the binary logarithm of the rank: the longest 20 % minus the shortest 20 %",
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "cranfield", "cisi"),
    kind="retrieval",
    notes=(
        "Lengths are of whole documents, of which the model may read less. p is of one test for both ends and all "
        "temperatures. A doubling of the rank is twice as far down the list.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
