"""TempScale over tasks: Table 1 of the paper on length collapse.

The paper chose a temperature for each model on the tasks that it reports. Here the same is shown, beside the best of a
grid of noise, and beside a temperature that is chosen on one half of the items and tried on the other. Full size:
five temperatures on samples (`FULL` of `experiments.length.grid`) of six sets; `--quick`: two on samples (`QUICK`) of
four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO
from cenote.data.labelled import Labelled
from cenote.data.labelled_halves import halve
from cenote.evaluation.candidates import UNCHANGED, Candidate, CandidateScores, Readers, constants
from cenote.evaluation.choosing import Half, as_shares, relative_changes, together
from cenote.evaluation_records import FEWEST_ITEMS
from cenote.functional.paired import Difference, compare_paired
from cenote.listener import Listener
from cenote.records import Estimate
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, above, legend, main, panels
from experiments.length.grid import (
    DEFAULT,
    QUICK_TAUS,
    SEED,
    TAUS,
    best_of_noise,
    decide,
    excess_of_best,
    list_task,
    sampled,
)

SOURCE, PAPER_GAIN = "arXiv 2410.24200, Table 1", 0.53
# Folders, the kind of each where its columns fit two, and whether `--quick` reads it.
SETS = {
    "several tasks": (
        ("stsbenchmark", None, True),
        ("trec_qc", None, True),
        ("20news_titles", "clustering", True),
        ("scifact", None, True),
        ("banking77", None, False),
        ("qmsum", None, False),
    )
}
MEAN, HELD_OUT = "mean of tasks", "chosen on one half, on the other"


@dataclass(frozen=True, eq=False)
class Halves:
    """All items of some tasks, and both halves of them; every text is read once for each temperature."""

    whole: Half
    development: Half
    held_out: Half

    def choose(self, grid: Sequence[Candidate]) -> tuple[Candidate, Difference, Difference] | None:
        """Return the best temperature of the development half, with its gain on either half; None if none gains."""
        pairs, before = self.development.paired(grid)
        gains = relative_changes(pairs, before)
        best = int(gains.argmax())
        if gains[best] <= 0:
            return None
        held_out = together(*self.held_out.paired([grid[best]]), SEED)[0]
        return grid[best], together(pairs, before, SEED)[best], held_out


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the relative change of each task and of their mean at each temperature."""
    sets = [(name, kind) for name, kind, of_quick in SETS.get(data, ((data, None, True),)) if of_quick or not quick]
    taus = (QUICK_TAUS if quick else TAUS)[1:]
    tasks, grid = split(model, {Path(name).name: sampled(name, quick, kind) for name, kind in sets}), constants(taus)
    pairs, before = tasks.whole.paired(grid)
    family = compare_paired(as_shares(pairs, before), seed=SEED, fewest=FEWEST_ITEMS)
    means = family.together or family.tasks[0]
    rows = _rows_of_tasks(tasks.whole, taus, family.tasks)
    rows += [{"task": MEAN, "τ": tau, **_in_percent(change)} for tau, change in zip(taus, means, strict=True)]
    noise = 100 * best_of_noise(pairs, before.tolist())
    of_noise = Estimate(float(noise.mean()), *map(float, np.quantile(noise, [0.025, 0.975])))
    rows.append({"task": "best of a grid of noise", **_shown(of_noise)})
    default, chosen = means[taus.index(DEFAULT)], tasks.choose(grid)
    findings = [
        decide(above, "default", default, percent(default)),
        above("best", percent(excess_of_best(pairs, before.tolist()))),
    ]
    if chosen is None:
        findings.append(above("held out", Estimate(0.0, None, None)))
    else:
        candidate, there, elsewhere = chosen
        findings.append(decide(above, "held out", elsewhere, percent(elsewhere)))
        rows += [
            {"task": "chosen on one half, there", "τ": candidate.query, **_shown(percent(there))},
            {"task": HELD_OUT, "τ": candidate.query, **_shown(percent(elsewhere))},
        ]
    return Measured(rows, findings, {"noise": of_noise.high, "tasks": [one.task.name for one in tasks.whole.scores]})


def _rows_of_tasks(whole: Half, taus: Sequence[float], changes: Sequence[Sequence[Difference]]) -> list[dict[str, Any]]:
    """Return a row for each task and each temperature, the model's own first."""
    rows = []
    for scores, of_task in zip(whole.scores, changes, strict=True):
        named = {"task": scores.task.name, "kind": scores.task.kind}
        rows.append({**named, "τ": 1.0, "score": scores.score(UNCHANGED).score})
        for tau, candidate, change in zip(taus, constants(taus), of_task, strict=True):
            rows.append({**named, "τ": tau, "score": scores.score(candidate).score, **_in_percent(change)})
    return rows


def split(model: SentenceTransformer, data: dict[str, Labelled]) -> Halves:
    """Return tasks that are scored as a whole and in halves, from the same vectors."""
    readers: list[Readers] = [{} for _ in data]
    parts = zip(*([one, *halve(one, SEED)] for one in data.values()), strict=True)
    listed = [[list_task(name, one) for name, one in zip(data, part, strict=True)] for part in parts]
    return Halves(
        *(
            Half(
                [
                    CandidateScores(model, task, AUTO, Listener(), one, shared=None)
                    for task, one in zip(tasks, readers, strict=True)
                ],
            )
            for tasks in listed
        )
    )


def percent(one: Difference | Estimate) -> Estimate:
    """Return a share as a percentage."""
    low, high = (None if end is None else 100 * end for end in (one.low, one.high))
    return Estimate(100 * one.value, low, high)


def _in_percent(one: Difference) -> dict[str, Any]:
    return {**_shown(percent(one)), "p, of all": one.p}


def _shown(one: Estimate) -> dict[str, Any]:
    return {"change, %": one.value, "low": one.low, "high": one.high}


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each model: each task by temperature, their mean, and what was held out."""
    for name, ax in panels(figure, cells, by="model").items():
        for cell in (one for one in cells if one.model == name):
            _draw_cell(ax, cell)
        ax.axhline(PAPER_GAIN, color="#888888", lw=1, ls=":", label="the paper's mean gain, +0.53 %")
        ax.axhline(0, color="#888888", lw=0.8)
        ax.set_xlabel("temperature")
        ax.set_ylabel("change of the score, %")
    legend(figure, 3)


def _draw_cell(ax: Any, cell: Cell) -> None:
    rows, series = cell.measured.rows, cell.measured.series
    ax.axhspan(0, series["noise"], color="#bbbbbb", alpha=0.35, lw=0, label="best of a grid of noise (97.5 %)")
    for task, colour, marker in zip(series["tasks"], COLOURS, "osDv^P", strict=False):
        points = [row for row in rows if row["task"] == task and "change, %" in row]
        x, y = [1.0, *(row["τ"] for row in points)], [0.0, *(row["change, %"] for row in points)]
        ax.plot(x, y, marker=marker, color=colour, lw=1, ms=4, label=task)
    mean = [row for row in rows if row["task"] == MEAN]
    x, y = [1.0, *(row["τ"] for row in mean)], [0.0, *(row["change, %"] for row in mean)]
    ax.plot(x, y, color="black", lw=2.4, label=MEAN)
    for row in mean:
        if row["low"] is not None:
            ax.plot([row["τ"]] * 2, [row["low"], row["high"]], color="black", lw=1)
    for row in (row for row in rows if row["task"] == HELD_OUT):
        ax.plot(row["τ"], row["change, %"], "*", color="black", ms=12, label=HELD_OUT)
    ax.set_xlim(1.03, min(x) - 0.03)


EXPERIMENT = Experiment(
    name="length-table",
    title="One attention temperature for several tasks",
    claims={
        "default": Claim(
            SOURCE,
            "A temperature raises the mean score over tasks",
            "Mean relative change at 0.8, the paper's default, in %, over fixed samples of stsbenchmark, trec_qc, "
            "20news_titles, scifact, banking77 and qmsum",
            note="Whole sets are on the page of results: there some changes of single sets have the other sign",
        ),
        "best": Claim(
            SOURCE,
            "The best temperature of a grid, chosen on the tasks themselves, gains something (0.53 % on average over "
            "five models, up to 1.07 %)",
            "Its mean relative change minus that of the best of a grid of noise, with 95 % of the noise, in %",
        ),
        "held out": Claim(
            SOURCE,
            "The temperature that is chosen so gains as much on other data of the same tasks",
            "Mean relative change on one half of the items of the temperature that is best on the other half, in % (0 "
            "where that is the model's own)",
        ),
    },
    measure=measure,
    draw=draw,
    data=tuple(SETS),
    groups={name: tuple(dict.fromkeys(folder for folder, *_ in sets)) for name, sets in SETS.items()},
    kind="retrieval",
    notes=(
        "These are not the paper's tasks but fixed samples of sets that are here offline. The mean is of relative "
        "changes, where the paper has the change of the mean score. p is of one test for all tasks and temperatures. "
        "`cenote tune` chooses and confirms in the same way.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
