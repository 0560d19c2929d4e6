"""Long and short queries by temperature: Figures 7 and 13 of the paper on length collapse.

Full size: up to 300 queries and 1,200 documents, five temperatures; `--quick`: up to 64 queries with at most three
relevant documents each, two temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.functional.paired import compare_paired
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, above, legend, main, panels
from experiments.length.grid import (
    SEED,
    Grid,
    columns_of,
    decide,
    difference_of_groups,
    ends_of,
    estimate,
    read_grid,
    trend,
)

SOURCE = "arXiv 2410.24200, Figures 7 and 13"
LONGEST, SHORTEST = "longest 20 %", "shortest 20 %"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the score of the longest and of the shortest fifth of the queries at each temperature."""
    grid = read_grid(model, data, quick)
    ends = dict(zip((LONGEST, SHORTEST), ends_of(grid.items[0], "query"), strict=True))
    trends = {end: trend(grid, names) for end, names in ends.items()}
    findings = [
        decide(above, "trend", estimate(trends[LONGEST])),
        decide(above, "difference", difference_of_groups(trends[LONGEST], trends[SHORTEST])),
    ]
    return Measured(_rows(grid, ends), findings)


def _rows(grid: Grid, ends: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return a row for each end and each temperature; one test for all of them."""
    family = compare_paired([grid.paired(names) for names in ends.values()], seed=SEED)
    rows = []
    for (end, names), changes in zip(ends.items(), family.tasks, strict=True):
        parts = [one.only(set(names)) for one in grid.items]
        lengths = parts[0].lengths["query"]
        named = {"queries": end, "tokens": f"{lengths.min():.0f} to {lengths.max():.0f}", "count": len(names)}
        for tau, part, change in zip(grid.taus, parts, [None, *changes], strict=True):
            row = {**named, "τ": tau, "score": float(part.numbers("value").mean())}
            rows.append(row | columns_of(change))
    return rows


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: the change of the score by temperature, a colour for each model."""
    colours = dict(zip(dict.fromkeys(cell.model for cell in cells), COLOURS, strict=False))
    for name, ax in panels(figure, cells).items():
        for place, cell in enumerate(one for one in cells if one.data == name):
            for end, look, shift in ((LONGEST, "o-", -1), (SHORTEST, "s--", 1)):
                rows = [row for row in cell.measured.rows if row["queries"] == end and "change" in row]
                draw_changes(ax, rows, look, colours[cell.model], f"{cell.model}, {end}", shift * (1 + place) * 0.004)
        ax.set_xlabel("temperature")
        ax.set_ylabel("change of nDCG@10")
    legend(figure)


def draw_changes(ax: Any, rows: Sequence[dict[str, Any]], look: str, colour: str, label: str, shift: float) -> None:
    """Draw changes from temperature 1 with their intervals, from high temperatures to low; `shift` keeps them apart."""
    x, y = [1.0, *(row["τ"] + shift for row in rows)], [0.0, *(row["change"] for row in rows)]
    ax.plot(x, y, look, color=colour, ms=5, label=label)
    for place, row in zip(x[1:], rows, strict=True):
        if row["low"] is not None:
            ax.plot([place] * 2, [row["low"], row["high"]], color=colour, lw=1)
    ax.axhline(0, color="#888888", lw=0.8)
    ax.set_xlim(1.02, min(x) - 0.03)


EXPERIMENT = Experiment(
    name="length-queries",
    title="Longest and shortest queries by attention temperature",
    claims={
        "trend": Claim(
            SOURCE,
            "The lower the temperature, the better are the scores of long queries (not so for one of the paper's "
            "models, ANCE)",
            "Change of nDCG@10 of the longest 20 % of the queries for each 0.1 that the temperature is lower",
            note="One sentence of the paper's appendix says that the scores decrease, against its conclusion and its "
            "Section 4.2",
        ),
        "difference": Claim(
            SOURCE,
            "Lower temperatures help long queries more than short ones",
            "The same of the longest 20 % minus that of the shortest 20 %",
        ),
    },
    measure=measure,
    draw=draw,
    data=("cisi", "scifact", "cranfield"),
    kind="retrieval",
    notes=(
        "The paper has nDCG@100 on SummScreenFD, whose queries are long. Queries and documents have the same "
        "temperature. p is of one test for both ends and all temperatures.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
