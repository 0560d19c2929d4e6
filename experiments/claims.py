"""Rows of docs/claims.md: a verdict on every statement of the sources, from committed results alone.

Importing this loads no model: results are read from JSON, and what is to be tested from index.json, which
`python -m experiments.all` writes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parents[1] / "docs" / "results"
INDEX = "index.json"
Found = Literal[
    "holds",
    "in part",
    "mixed",
    "against in part",
    "not here",
    "undecided",
    "undecided, one for",
    "undecided, one against",
]
Verdict = Found | Literal["by construction", "not run yet", "no measurement", "not testable offline"]
# In the order of their columns.
VERDICTS: tuple[Verdict, ...] = (
    "holds",
    "by construction",
    "in part",
    "mixed",
    "against in part",
    "not here",
    "undecided, one for",
    "undecided, one against",
    "undecided",
    "no measurement",
    "not testable offline",
    "not run yet",
)
# The sources, by how their claims begin.
SOURCES = {
    "arXiv 2604.27398": "Why Mean Pooling Works: Quantifying Second-Order Collapse in Text Embeddings",
    "Leys 2022": "The Art of Pooling Embeddings",
    "arXiv 2601.21525": "LMK > CLS: Landmark Pooling for Dense Embeddings",
    "arXiv 2410.24200": "Length-Induced Embedding Collapse in Transformer-based Models",
}
OTHERS = "Controls and comparisons of our own"
ROUNDING = 1e-12
SIGNS = {True: "✓", False: "✗", None: "○"}


@dataclass(frozen=True)
class Value:
    """The value of a claim on one model and one data set."""

    model: str
    data: str
    value: float
    low: float | None
    high: float | None
    holds: bool | None

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" ({_shown(self.low)} to {_shown(self.high)})"
        return f"{SIGNS[self.holds]} {_shown(self.value)}{ends}"


def _shown(value: float) -> str:
    return f"{without_noise(value):+.3g}"


def without_noise(value: float) -> float:
    """Return 0 for the rest of a sum that is 0 but for rounding; no measure here is as small.

    >>> without_noise(-2e-18), without_noise(-0.0225)
    (0.0, -0.0225)
    """
    return 0.0 if abs(value) < ROUNDING else value


@dataclass(frozen=True)
class Row:
    """A statement of a source, and what became of it."""

    source: str  # with the figure, table or section
    text: str
    verdict: Verdict
    measure: str  # what the values are; or why there are none
    command: str
    values: Sequence[Value] = ()
    figure: str = ""  # the path of a picture, from the folder of results


def verdict_of(held: Sequence[bool | None]) -> Found:
    """Return whether a claim holds, from whether it does on each model and data set; None is undecided.

    One that is decided among several that are not is no verdict: each interval has its own chance of 2.5 % to lie on
    the wrong side, and of nine without any effect one does in 20 of 100 tries.

    >>> verdict_of([True, True]), verdict_of([True, True, None]), verdict_of([False, False, None]), verdict_of([])
    ('holds', 'in part', 'against in part', 'undecided')
    >>> verdict_of([True, False, False]), verdict_of([False, False])
    ('mixed', 'not here')
    >>> verdict_of([False]), verdict_of([True, None]), verdict_of([False, None])
    ('not here', 'undecided, one for', 'undecided, one against')
    """
    decided = [one for one in held if one is not None]
    if len(decided) == 1 < len(held):
        return "undecided, one for" if decided[0] else "undecided, one against"
    if held and all(held):
        return "holds"
    if not decided:
        return "undecided"
    if any(decided):
        return "in part" if all(decided) else "mixed"
    return "not here" if len(decided) == len(held) else "against in part"


def conclude(claim: Mapping[str, Any], found: Mapping[str, Sequence[bool | None]]) -> Verdict:
    """Return the verdict on a claim: one that random vectors give too, or that is tested in part, does not just hold.

    `found` says whether it holds, on each data set, by model or comparison.

    >>> conclude({"certain": ""}, {"m": [True]}), conclude({"certain": "Noise gives it"}, {"m": [True]})
    ('holds', 'by construction')
    """
    verdict = verdict_of([one for some in found.values() for one in some])
    if verdict != "holds":
        return verdict
    return "by construction" if claim.get("certain") else "in part" if untested_part(claim, found) else verdict


def untested_part(claim: Mapping[str, Any], models: Iterable[str]) -> str:
    """Return the part of a claim that is not tested: none where one of the models is no stand-in."""
    stand_ins = claim.get("stand_ins")
    tested = bool(stand_ins) and not {*models} <= {*stand_ins}
    return "" if tested else str(claim.get("untested") or "")


def rows_of(folder: Path = RESULTS) -> list[Row]:
    """Return a row for every statement: measured ones in the order of the index, then trained models, then the rest."""
    from experiments.statements import STATEMENTS

    experiments = folder / "experiments"
    index = json.loads((experiments / INDEX).read_text("utf-8")) if (experiments / INDEX).exists() else []
    rows = [row for listed in index for row in rows_of_experiment(listed, experiments)]
    rows += rows_of_trainings(sorted(folder.glob("landmark-*.json")))
    return rows + [Row(one.source, one.text, one.verdict, one.why, one.command) for one in STATEMENTS]


def shown_cells(cells: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the cells of full size, or those of few texts where there are no others."""
    return [cell for cell in cells if not cell["key"]["quick"]] or list(cells)


def rows_of_experiment(listed: Mapping[str, Any], folder: Path) -> Iterator[Row]:
    """Yield the claims of an experiment with the values of its full cells, or of quick ones where it has no others."""
    path = folder / f"{listed['name']}.json"
    record = json.loads(path.read_text("utf-8")) if path.exists() else {}
    cells = shown_cells(record.get("cells", []))
    quick = bool(cells) and cells[0]["key"]["quick"]
    for name, claim in listed["claims"].items():
        values = [
            Value(cell["model"], Path(cell["data"]).name, *(one[part] for part in ("value", "low", "high", "holds")))
            for cell in [*cells, *(one for one in record.get("across", []) if one["quick"] is quick)]
            for one in cell["findings"]
            if one["claim"] == name
        ]
        held: dict[str, list[bool | None]] = defaultdict(list)
        for one in values:
            held[one.model].append(one.holds)
        parts = (claim["measure"], claim.get("certain"), untested_part(claim, held), claim.get("note"))
        yield Row(
            source=claim["source"],
            text=claim["text"],
            verdict=conclude(claim, held) if values else "not run yet",
            measure=". ".join(filter(None, parts)),
            command=f"python -m {listed['module']}{' --quick' if quick else ''}",
            values=values,
            figure=f"experiments/{listed['name']}.svg" if (folder / f"{listed['name']}.svg").exists() else "",
        )


# Claims on models that `experiments.landmark.run` trained.

LMK = "arXiv 2601.21525"
TRAINING = "python -m experiments.landmark.run"
# The differences that are of one arm alone.
ALONE = "end minus start"
# A difference of nDCG@10 below which two poolings count as alike.
MARGIN = 0.02
LEVEL = 0.05
# A search decides nothing where an arm scores less than so many times chance: it did not learn the search.
LEARNT = 2


def higher(low: float, high: float) -> bool | None:
    """Return whether an interval lies above 0; None where it holds 0."""
    return None if low <= 0 <= high else low > 0


def lower(low: float, high: float) -> bool | None:
    """Return whether an interval lies below 0."""
    return None if low <= 0 <= high else high < 0


def alike(low: float, high: float) -> bool | None:
    """Return whether nothing of note is lost: the interval lies above minus the margin."""
    return True if low > -MARGIN else False if high < 0 else None


def other(low: float, high: float) -> bool | None:
    """Return whether an interval lies on one side of 0; an interval that holds 0 decides nothing."""
    return None if low <= 0 <= high else True


@dataclass(frozen=True)
class _Trained:
    """A claim on trained models: where its differences are in the record, and what decides it."""

    place: str
    text: str
    measure: str
    of: str  # the key of the differences in the record of a search
    arms: tuple[str, ...]
    searches: Callable[[str, int], bool]  # by the name of a search, and the tokens of training texts
    test: Callable[[float, float], bool | None]


def _short(search: str, _: int) -> bool:
    return search.startswith("posts") and search.endswith("short")


def _evidence(search: str, _: int) -> bool:
    return search.startswith("evidence") and len(search.split()) == 2


def _long(search: str, length: int) -> bool:
    return _evidence(search, length) and int(search.split()[1]) > length


TRAINED = (
    _Trained(
        "abstract",
        "Landmark pooling matches CLS and mean pooling on short texts",
        f"nDCG@10 on short posts, landmark minus the other; alike if no more than {MARGIN} is lost",
        "landmark minus",
        ("cls", "mean"),
        _short,
        alike,
    ),
    _Trained(
        "abstract",
        "Landmark pooling does better than CLS on texts longer than those of training",
        "nDCG@10 of evidence in long texts, landmark minus CLS; of long posts, which were looked at later, "
        "docs/results.md tells",
        "landmark minus",
        ("cls",),
        _long,
        higher,
    ),
    _Trained(
        "abstract",
        "Mean pooling dilutes local signals: on short texts it does worse than landmark pooling",
        "nDCG@10 on short posts, landmark minus mean",
        "landmark minus",
        ("mean",),
        _short,
        higher,
    ),
    _Trained(
        "abstract and key results",
        "Landmark pooling does better than the mean on texts longer than those of training",
        "nDCG@10 of evidence in long texts, landmark minus mean; of long posts, which were looked at later, "
        "docs/results.md tells",
        "landmark minus",
        ("mean",),
        _long,
        higher,
    ),
    _Trained(
        "abstract",
        "CLS gathers the first positions, and loses evidence that stands late",
        "nDCG@10 of CLS with evidence at the end minus evidence at the start",
        ALONE,
        ("cls",),
        _evidence,
        lower,
    ),
    _Trained(
        "limitations",
        "Landmark pooling depends on the positions of the landmarks",
        "nDCG@10 with fixed intervals, or with a landmark after each sentence, minus that with drawn intervals",
        "from landmark",
        ("landmark, fixed", "landmark, sentences"),
        _evidence,
        other,
    ),
)


def rows_of_trainings(paths: Sequence[Path]) -> Iterator[Row]:
    """Yield the claims on models that were trained, with the values of all sizes and starts."""
    records = {path.stem.removeprefix("landmark-"): json.loads(path.read_text("utf-8")) for path in paths}
    for claim in TRAINED:
        values = [value for size, record in records.items() for value in _trained_values(claim, size, record)]
        verdict: Verdict = verdict_of([one.holds for one in values]) if values else "not run yet"
        measure = f"{claim.measure}. Where an arm scores less than {LEARNT} times chance, nothing is decided"
        yield Row(f"{LMK}, {claim.place}", claim.text, verdict, measure, TRAINING, values)


def _trained_values(claim: _Trained, size: str, record: Mapping[str, Any]) -> Iterator[Value]:
    for start, searches in record["starts"].items():
        for search, found in searches.items():
            differences = found.get(claim.of, {}) if claim.searches(search, record["train_length"]) else {}
            for arm in claim.arms:
                if one := differences.get(arm):
                    low, high = one["low"], one["high"]
                    holds = None if low is None or high is None else claim.test(low, high)
                    # All tests of a start were chosen together: where all of them together show no difference, none is.
                    if claim.test is not alike or holds is False:
                        holds = holds if (one.get("p") or 0) < LEVEL else None
                    compared = (arm,) if claim.of == ALONE else ("landmark", arm)
                    holds = holds if _learnt(found, compared) else None
                    yield Value(f"{size}, {start}, {arm}", search, one["value"], low, high, holds)


def _learnt(found: Mapping[str, Any], arms: Sequence[str]) -> bool:
    """Return whether all of these arms score clearly above chance, where chance is known."""
    scores = [found["scores"][arm] for arm in arms]
    return all(sum(some) / len(some) >= LEARNT * (found["chance"] or 0) for some in scores)


# The page.

_HEAD = """\
# Claims of the sources

Generated by `make docs` from the results in `docs/results`. Each statement of the four sources is in our words, with
what was measured on each model and data set: ✓ where the 95 % interval says that it holds, ✗ where it says the
opposite, ○ where it does not decide.

| verdict | meaning |
|---|---|
| holds | ✓ everywhere |
| in part | ✓ on some and ✗ on none, or a part of the statement is not tested |
| mixed | ✓ on some and ✗ on others; a single one of a sign may be chance |
| against in part | ✗ on some and ✓ on none |
| not here | ✗ everywhere |
| undecided | ○ everywhere |
| undecided, one for; one against | a single one of several decides, which may be chance: of nine without any effect \
one lies on a given side of 0 in 20 of 100 tries |
| by construction | random vectors or a theorem give it too: it was checked, and says nothing about a model |
| no measurement | a statement about practice or about another text |
| not testable offline | models or data are on a hub; the command is there |

A change of a score has a sign only if a test that flips the signs of items agrees with the interval (p below .05):
where few items differ, an interval alone is too sure. A command with `--quick` has values of few texts. [Every
figure](figures.md) is on a page of its own.

## On your own model

What holds for these models may not hold for others. In a clone, after `make check`, with the folder of the data in
the variable CENOTE_DATA:

```sh
python -m experiments.length.cosine --model FOLDER --model minilm --data imdb
```

`--model` and `--data` are repeatable; without them the command of a figure measures the demo model on the data of its
rows, and `experiments.landmark.run` trains its own models. The other models of this page are
sentence-transformers/paraphrase-MiniLM-L3-v2 and sentence-transformers/all-mpnet-base-v2; `sre-minilm`, the demo model
after narrow fine-tuning on short texts on running servers; and `masked` and `masked-tuned`, which
`python -m experiments.second_order.fine_tuning -o FOLDER` makes. `--backbone TUNED=START` compares a model with the one
that it was trained from. Results go to `build/experiments`, unless `-o` names another folder; what is there of the same
code, model and data is not measured again. The files in `docs/results/experiments` name the code of each cell by a
digest; some have cells of several versions, between which nothing changed that they measure.
"""


def page(rows: Sequence[Row]) -> str:
    """Return docs/claims.md: a table for each source, and how often each verdict was found."""
    grouped: dict[str, list[Row]] = {source: [] for source in (*SOURCES, OTHERS)}
    for row in rows:
        grouped[next((source for source in SOURCES if row.source.startswith(source)), OTHERS)].append(row)
    lines = [*_HEAD.splitlines(), "", *_counts(grouped)]
    for source, some in grouped.items():
        if some:
            lines += ["", f"## {source}" + (f": {SOURCES[source]}" if source in SOURCES else ""), ""]
            lines += ["| statement | where | verdict | measured, and by which command |", "|---|---|---|---|"]
            lines += [_line(row, source) for row in some]
    return "\n".join(lines) + "\n"


def _counts(grouped: Mapping[str, Sequence[Row]]) -> list[str]:
    used = [one for one in VERDICTS if any(row.verdict == one for some in grouped.values() for row in some)]
    lines = [f"| source | {' | '.join(used)} |", "|---|" + "--:|" * len(used)]
    for source, some in grouped.items():
        counts = [sum(row.verdict == one for row in some) for one in used]
        lines += [f"| {source} | {' | '.join(map(str, counts))} |"] if some else []
    return lines


def _line(row: Row, source: str) -> str:
    place = row.source.removeprefix(source).strip(", :") if source in SOURCES else row.source
    figure = f" [figure](results/{row.figure})" if row.figure else ""
    command = f"<br>`{row.command}`" if row.command else ""
    cells = (row.text, place, f"**{row.verdict}**", f"{measured(row)}{figure}{command}")
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"


def measured(row: Row) -> str:
    """Return what was measured: the measure, and a line for each model with its data sets."""
    models: dict[str, list[str]] = {}
    for value in row.values:
        models.setdefault(value.model, []).append(f"{value.data} {value}")
    lines = [f"{model}: {', '.join(some)}" for model, some in models.items()]
    return "<br>".join([f"{row.measure}." if lines else row.measure, *lines])
