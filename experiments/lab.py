"""The frame of an experiment on a claim: its arguments, its table and figure, and whether the claim holds.

An experiment names claims of a source, measures one model on one data set at a time, and draws all of it:

    python -m experiments.length.cosine --model minilm --model FOLDER --data imdb --quick -o results

It prints a table, and below it each claim with the values that it was tested by. `-o` gets NAME.json, NAME.svg and
NAME.png. What NAME.json has already of the same code, model and data is not measured again, so that the same command
goes on after a stop.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import re
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from benchmarks.timing import machine
from cenote.errors import BadInput, CenoteError
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.provenance import behaviour_of, versions_of
from cenote.storage import write_text
from cenote.wording import score_estimate
from experiments.claims import conclude, shown_cells, without_noise
from experiments.data_sets import fingerprint_of, refuse_missing_data

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "experiments"
# Where results go unless another folder is named: not into those that are committed.
OUTPUT = Path("build", "experiments")
# Colours that people with colour-blindness tell apart, dark enough on white (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
MARKERS = "os^Dv<>"  # one more than colours, so that pairs repeat late
STYLE = {
    "figure.dpi": 110,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "cenote",  # the same figure has the same bytes
}


@dataclass(frozen=True)
class Claim:
    """A statement of a source, and the value by which it is tested."""

    source: str  # such as "arXiv 2410.24200, Figure 1c"
    text: str  # the statement, in our words
    measure: str  # what the value of a finding is
    certain: str = ""  # why it holds of random vectors too, if it does: then it says nothing about a model
    untested: str = ""  # the part of it that is not tested, if there is one: then it holds in part at most
    stand_ins: tuple[str, ...] = ()  # the comparisons by which it is not tested whole, if not by any
    note: str = ""  # what else the values mean, or do not


@dataclass(frozen=True)
class Finding:
    """A claim on one model and one data set; `holds` is None where the interval does not decide."""

    claim: str  # its name in `Experiment.claims`
    value: float
    low: float | None
    high: float | None
    holds: bool | None


@dataclass(frozen=True)
class Measured:
    """One model on one data set: rows of the table, findings, and what the figure needs beside the rows."""

    rows: Sequence[dict[str, Any]]
    findings: Sequence[Finding]
    series: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """Measurements of one model on one data set, with their names."""

    model: str
    data: str
    measured: Measured
    backbone: str = ""  # the name of the model that it was trained from, if the command gives one


@dataclass(frozen=True)
class Experiment:
    """A figure or a table of a source.

    Args:
        name: of its files.
        title: of its figure.
        claims: that it tests, by name.
        measure: measures a model on a data set, given its name, and whether to be quick.
        draw: draws all cells into a figure.
        data: names of the data sets that it uses unless others are given.
        groups: data sets that are measured together, by the name of all in `data`.
        kind: of these data: plain texts, or the kind of labelled data.
        notes: sentences below the table: what differs from the source.
        trained_on: names of data sets that a run of full size trains on.
        across: compares models that were measured, such as a backbone with what was trained from it; returns a cell
            for each comparison.
    """

    name: str
    title: str
    claims: dict[str, Claim]
    measure: Callable[[SentenceTransformer, str, bool], Measured]
    draw: Callable[[Figure, Sequence[Cell]], None]
    data: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: Literal["texts", "retrieval", "classification", "sts"] = "texts"
    notes: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    across: Callable[[Sequence[Cell]], Sequence[Cell]] | None = None

    def needed(self, data: Sequence[str], *, quick: bool) -> tuple[str, ...]:
        """Return the names of all data sets that a run on some of them reads."""
        return (*(one for name in data for one in self.sets_of(name)), *(() if quick else self.trained_on))

    def sets_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the data sets that are measured under a name: a group, or one alone."""
        return self.groups.get(name, (name,))

    def compared(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the cells that were measured, and those that compare them."""
        return [*cells, *(self.across(cells) if self.across else ())]


def above(claim: str, estimate: Any, than: float = 0.0) -> Finding:
    """Return a finding that holds if a value is above a bound, with its whole interval.

    `estimate` has `value`, `low` and `high`; without an interval nothing is decided.
    """
    return _finding(claim, estimate, than, 1)


def below(claim: str, estimate: Any, than: float = 0.0) -> Finding:
    """Return a finding that holds if a value is below a bound, with its whole interval."""
    return _finding(claim, estimate, than, -1)


def _finding(claim: str, estimate: Any, than: float, side: int) -> Finding:
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if one is None else without_noise(one - than) for one in ends)
    decided = None if low is None or high is None or low <= 0 <= high else side * value > 0
    return Finding(claim, estimate.value, estimate.low, estimate.high, decided)


def judge(claim: Claim, findings: Mapping[str, Sequence[Finding]]) -> str:
    """Return whether a claim holds, from its findings on all data sets, by model."""
    return conclude(asdict(claim), {model: [one.holds for one in some] for model, some in findings.items()})


def main(experiment: Experiment) -> None:
    """Run an experiment from the command line."""
    parser = argparse.ArgumentParser(description=f"{experiment.title}.")
    parser.add_argument("--model", action="append", help="folder or hub id; repeatable (default: minilm)")
    parser.add_argument("--data", action="append", help=f"repeatable (default: {', '.join(experiment.data)})")
    parser.add_argument("--quick", action="store_true", help="fewer texts: wider intervals")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"folder (default: {OUTPUT})")
    add_backbones(parser)
    args = parser.parse_args()
    data = args.data or experiment.data
    with errors_in_a_line():
        refuse_missing_data(experiment.needed(data, quick=args.quick))
        run(
            experiment,
            args.model or ["minilm"],
            data,
            quick=args.quick,
            output=args.output,
            backbones=dict(args.backbone),
        )


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """End with an error's message, as the command line of Cenote does."""
    try:
        yield
    except CenoteError as error:
        raise SystemExit(f"error: {error}") from error


def add_backbones(parser: argparse.ArgumentParser) -> None:
    """Add the option that says from which model another was trained."""
    parser.add_argument(
        "--backbone",
        action="append",
        type=_pair,
        default=[],
        metavar="TUNED=BACKBONE",
        help="names (last parts of --model) of a model and of that which it was trained from: both are compared; "
        "repeatable",
    )


def _pair(given: str) -> tuple[str, str]:
    tuned, _, backbone = given.partition("=")
    if not tuned or not backbone:
        raise argparse.ArgumentTypeError(f"{given!r} is not TUNED=BACKBONE, such as sre-minilm=minilm")
    return Path(tuned).name, Path(backbone).name


def run(
    experiment: Experiment,
    models: Sequence[str],
    data: Sequence[str],
    *,
    quick: bool,
    output: Path,
    backbones: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measure every model on every data set; print the table and the claims, and write JSON and figures.

    `backbones` has, by the name of a model, that of the model which it was trained from.

    Returns:
        what NAME.json holds.
    """
    refuse_same_names(models)
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{experiment.name}.json"
    known, code = _known(path), _code(experiment)
    texts = {one: " ".join(fingerprint_of(name) for name in experiment.sets_of(one)) for one in data}
    cells: list[Cell] = []
    record: dict[str, Any] = {}
    for name in models:
        model = cenote.load(name, device="cpu")
        fingerprint = fingerprint_of_model(model)
        for one, content in texts.items():
            key = {"code": code, "model": fingerprint, "data": one, "content": content, "quick": quick}
            stored = next((cell for cell in known if cell["key"] == key), None)
            if stored is None:
                start = time.perf_counter()
                measured = experiment.measure(model, one, quick)
                stored = {
                    "key": key,
                    "model": Path(name).name,
                    "data": one,
                    "seconds": round(time.perf_counter() - start, 1),
                    "machine": machine(),
                    **json.loads(json.dumps(asdict(measured))),
                }
                label = (stored["model"], one, quick)  # of which there is one: the model or the texts have changed
                known = [cell for cell in known if (cell["model"], cell["data"], cell["key"]["quick"]) != label]
                known.append(stored)
            if backbone := (backbones or {}).get(stored["model"]):
                stored["backbone"] = backbone
            cells.append(_cell(stored))
            record = record_of(experiment, [cell for cell in known if cell["key"]["code"] == code])
            write_text(path, json.dumps(record, indent=1) + "\n")
    print("\n".join(describe(experiment, experiment.compared(cells))), flush=True)
    save_figure(experiment, _shown_of(record["cells"]), output)
    return record


def refuse_same_names(models: Sequence[str]) -> None:
    """Raise for two models that tables could not tell apart."""
    if len({Path(name).name for name in models}) < len(models):
        raise BadInput(f"models {', '.join(models)}: two folders have one name, under which both would be shown.")


def refresh(experiment: Experiment, output: Path) -> None:
    """Write NAME.json anew, if there is one, with the statements and verdicts of today, and draw the same cells."""
    path = output / f"{experiment.name}.json"
    if cells := _known(path):
        write_text(path, json.dumps(record_of(experiment, cells), indent=1) + "\n")
        save_figure(experiment, _shown_of(cells), output)


def _known(path: Path) -> list[dict[str, Any]]:
    """Return the cells of an earlier run."""
    return list(json.loads(path.read_text("utf-8"))["cells"]) if path.exists() else []


def _code(experiment: Experiment) -> str:
    """Return a digest of what measures: the experiment's module, those that it uses, and the versions of libraries.

    Cells of other code are not taken up. This frame is left out: what it draws and prints is no part of a cell.
    Modules that a function imports when it is called are not seen, but verbs such as `cenote.evaluate` are.
    """
    waiting, sources = [inspect.getmodule(experiment.measure)], dict[str, str]()
    while waiting:
        module = waiting.pop()
        if module is None or module.__name__ == __name__ or (path := inspect.getfile(module)) in sources:
            continue
        sources[path] = inspect.getsource(module)
        verbs = {*re.findall(r"\bcenote\.(\w+)", sources[path])} & {*cenote.__all__}
        used = {inspect.getmodule(one) for one in (*vars(module).values(), *(getattr(cenote, verb) for verb in verbs))}
        waiting += [one for one in used if one is not None and one.__name__.startswith(("experiments.", "cenote."))]
    joined = "\n".join([json.dumps(versions_of()), *(sources[path] for path in sorted(sources, key=_place))])
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def _place(path: str) -> tuple[str, ...]:
    """Return the last parts of a path, which are the same wherever the project lies."""
    return Path(path).parts[-3:]


def fingerprint_of_model(model: SentenceTransformer) -> str:
    """Return a digest of all that a model's vectors depend on."""
    behaviour = json.dumps(behaviour_of(model), sort_keys=True, default=str)
    return hashlib.sha256(f"{fingerprint_of_weights(model, every=True)} {behaviour}".encode()).hexdigest()[:16]


def _cell(stored: dict[str, Any]) -> Cell:
    findings = [Finding(**one) for one in stored["findings"]]
    measured = Measured(stored["rows"], findings, stored["series"])
    return Cell(stored["model"], stored["data"], measured, stored.get("backbone", ""))


def record_of(experiment: Experiment, stored: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return all of an experiment as plain data: its cells, of full size and quick ones, and what compares them."""
    module = inspect.getmodule(experiment.measure)
    shown = experiment.compared(_shown_of(stored))
    sizes = {quick: [_cell(one) for one in stored if one["key"]["quick"] is quick] for quick in (False, True)}
    return {
        "name": experiment.name,
        "title": experiment.title,
        "command": f"python -m {getattr(getattr(module, '__spec__', None), 'name', None) or experiment.name}",
        "notes": list(experiment.notes),
        "claims": {
            name: {**asdict(claim), "verdict": judge(claim, _findings(shown, name))}
            for name, claim in experiment.claims.items()
        },
        "cells": list(stored),
        "across": [
            {"model": cell.model, "data": cell.data, "quick": quick, **json.loads(json.dumps(asdict(cell.measured)))}
            for quick, cells in sizes.items()
            for cell in experiment.compared(cells)[len(cells) :]
        ],
    }


def _shown_of(stored: Sequence[dict[str, Any]]) -> list[Cell]:
    return [_cell(one) for one in shown_cells(stored)]


def _findings(cells: Sequence[Cell], claim: str) -> dict[str, list[Finding]]:
    """Return the findings on a claim by model."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for cell in cells:
        found[cell.model] += [one for one in cell.measured.findings if one.claim == claim]
    return {model: some for model, some in found.items() if some}


def describe(experiment: Experiment, cells: Sequence[Cell]) -> list[str]:
    """Return the lines of the title, the table, the notes and the claims, as Markdown."""
    lines = [f"## {experiment.title}", "", *table(cells)]
    for note in experiment.notes:
        lines += ["", note]
    for name, claim in experiment.claims.items():
        verdict = judge(claim, _findings(cells, name))
        lines += ["", f"**{claim.text}** ({claim.source}): {verdict}. {claim.measure}:"]
        lines += [
            f"- {cell.model}, {cell.data}: {score_estimate(one.value, one.low, one.high, sign='+')}"
            for cell in cells
            for one in cell.measured.findings
            if one.claim == name
        ]
    return [*lines, ""]


def table(cells: Sequence[Cell]) -> list[str]:
    """Return the rows of all cells as a table in Markdown."""
    rows = [{"model": cell.model, "data": cell.data, **row} for cell in cells for row in cell.measured.rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numbers = [any(isinstance(row.get(name), float | int) for row in rows) for name in columns]
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join('--:' if number else '---' for number in numbers)}|"]
    return lines + [f"| {' | '.join(_shown(row.get(name)) for name in columns)} |" for row in rows]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def save_figure(experiment: Experiment, cells: Sequence[Cell], output: Path) -> None:
    """Draw an experiment and write NAME.svg and NAME.png."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        experiment.draw(figure, cells)
        figure.suptitle(textwrap.fill(experiment.title, round(11 * figure.get_figwidth())), fontsize=11)
        figure.savefig(output / f"{experiment.name}.svg", metadata={"Date": None})
        figure.savefig(output / f"{experiment.name}.png", dpi=150)


def panels(figure: Figure, cells: Sequence[Cell], by: Literal["model", "data"] = "data") -> dict[str, Any]:
    """Return axes side by side, by the name of a data set or of a model; each has its name as its title."""
    names = list(dict.fromkeys(getattr(cell, by) for cell in cells))
    figure.set_size_inches(max(5.5, 3.6 * len(names)), 4)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for name, ax in zip(names, axes, strict=True):
        ax.set_title(name, fontsize=10)
    return dict(zip(names, axes, strict=True))


# Data sets whose panels are side by side.
MOST_COLUMNS = 4


def cell_panels(figure: Figure, cells: Sequence[Cell]) -> list[tuple[Cell, Any]]:
    """Return axes for each cell, titled with both names: a row of data sets for each model, more if they are many."""
    models, data = ([*dict.fromkeys(getattr(cell, by) for cell in cells)] for by in ("model", "data"))
    lines = -(-len(data) // MOST_COLUMNS)
    columns = -(-len(data) // lines)
    figure.set_size_inches(max(5.5, 3.8 * columns), 0.6 + 3.2 * lines * len(models))
    axes = figure.subplots(lines * len(models), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_visible(False)
    found = []
    for cell in cells:
        line, column = divmod(data.index(cell.data), columns)
        ax = axes[lines * models.index(cell.model) + line][column]
        ax.set_visible(True)
        ax.set_title(f"{cell.model}, {cell.data}", fontsize=10)
        found.append((cell, ax))
    return found


def looks(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return a colour and a marker for each name, as keywords of `plot`.

    >>> looks(["a", "b"])["b"]
    {'color': '#d55e00', 'marker': 's'}
    """
    pairs = zip(dict.fromkeys(names), cycle(COLOURS), cycle(MARKERS), strict=False)
    return {name: {"color": colour, "marker": marker} for name, colour, marker in pairs}


def legend(figure: Figure, columns: int = 2) -> None:
    """Put one legend below the figure, with each label of any panel once, in at most so many columns as fit."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    # Inches of a column: about .065 for a character of this size, and the line before it.
    fitting = int(figure.get_figwidth() / (0.065 * max(map(len, found), default=0) + 0.6))
    look = {"ncols": max(1, min(columns, fitting)), "fontsize": 8, "handlelength": 3}
    figure.legend(found.values(), found.keys(), loc="outside lower center", **look)


def reach_of(cells: Sequence[Cell], least: float = 1.0) -> float:
    """Return the largest change of all cells, or `least` if all are smaller: noise has no full colours."""
    changes = (abs(one) for cell in cells for row in cell.measured.series["changes"] for one in row)
    return max(least, *changes)


# What bold numbers of a map are.
BOLD = "bold: p below .05"


def heat_map(
    ax: Any,
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    marked: Sequence[Sequence[bool]] | None = None,
    *,
    reach: float,
) -> None:
    """Draw signed numbers as text on colours, purple above 0 and orange below; marked ones are bold.

    `reach` is the number of the strongest colours: that of all maps of a figure, so that they compare.
    """
    ax.imshow(values, cmap="PuOr", vmin=-1.4 * reach, vmax=1.4 * reach, aspect="auto")
    for place, row in enumerate(values):
        for column, one in enumerate(row):
            bold = marked is not None and marked[place][column]
            look = {"weight": "bold" if bold else "normal", "color": "white" if one > 0.85 * reach else "black"}
            shown = f"{round(one, 1) + 0.0:+.1f}"  # adding 0 turns -0.0 into 0.0
            ax.text(column, place, shown, ha="center", va="center", fontsize=9, **look)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(visible=False)
