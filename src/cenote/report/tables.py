"""The tables: what the figures show, as numbers, with a column for each model or run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cenote.report.pairs import Found
from cenote.report.series import MEASURES, Series, curves, measured, names
from cenote.report.writing import NOTHING, bin_label, estimate, number, share, spread, whole
from cenote.results import Diagnosis, Excerpt, LengthBin, LengthCurve, Lengths, Pairs, Verdict
from cenote.thresholds import LIMITS, THRESHOLDS


@dataclass(frozen=True)
class Table:
    """Cells as they are read; `words` are the columns that hold words and no numbers."""

    key: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()
    open: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.rows or len(self.head) == 1


def _columns(
    key: str, caption: str, corner: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], **more: Any
) -> Table:
    return Table(key, caption, (corner, *heads), tuple((name, *cells) for name, cells in rows), **more)


def glance(verdicts: Sequence[Verdict]) -> tuple[list[str], dict[str, list[list[int]]]]:
    """The models, and for each subject the places of its verdicts on each of them: none, one, or several.

    >>> glance([Verdict("a", "cut", "none", "", "", "", ""), Verdict("b", "cut", "slight", "", "", "", "")])
    (['a', 'b'], {'cut': [[0], [1]]})
    """
    models = list(dict.fromkeys(verdict.model for verdict in verdicts if verdict.model))  # some are about the texts
    subjects = dict.fromkeys(verdict.subject for verdict in verdicts if verdict.model)
    return models, {
        subject: [
            [at for at, one in enumerate(verdicts) if (one.subject, one.model) == (subject, model)] for model in models
        ]
        for subject in subjects
    }


def overview(verdicts: Sequence[Verdict]) -> Table:
    """Grades of models side by side, subject by subject; empty for one model, of which the verdicts say the same."""
    models, rows = glance(verdicts)
    if len(models) < 2:
        return Table("overview", "Verdicts at a glance", (), ())
    cells = {
        subject: ["; ".join(verdicts[place].grade for place in places) or NOTHING for places in found]
        for subject, found in rows.items()
    }
    every = tuple(range(1, len(models) + 1))
    return _columns("overview", "Verdicts at a glance", "subject", models, list(cells.items()), words=every, open=True)


def lengths(diagnosis: Diagnosis) -> Table:
    """What each model can read of the texts."""
    rows: dict[str, Callable[[Lengths], str]] = {
        "the model cuts after": lambda found: "never" if found.limit is None else f"{whole(found.limit)} tokens",
        "median length": lambda found: number(found.tokens.median),
        "mean length (10 to 90 %)": lambda found: spread(found.tokens),
        "texts that are cut": lambda found: whole(found.cut),
        "share of texts that are cut": lambda found: (
            share(found.cut / found.tokens.count) if found.tokens.count else NOTHING
        ),
        "tokens never seen": lambda found: share(found.unseen),
    }
    return _columns(
        "lengths-table",
        "Lengths in tokens",
        "in the model's own tokens",
        names(diagnosis.models),
        [(name, [cell(model.lengths) for model in diagnosis.models]) for name, cell in rows.items()],
        open=True,
    )


def closeness(series: tuple[Series, ...]) -> Table:
    """Mean cosine of each bin, a column for each run and each control."""
    return _over_bins("cosine-table", "Mean cosine by length", series, lambda found: estimate(found.cosine), open=True)


def _over_bins(
    key: str, caption: str, series: tuple[Series, ...], cell: Callable[[LengthBin], str], **more: Any
) -> Table:
    found = [(look, {(one.low, one.high): one for one in curve.bins}) for look, curve in curves(series)]
    bins = _in_order({edges for _, by_edges in found for edges in by_edges})
    rows = [
        (bin_label(*edges), [cell(by_edges[edges]) if edges in by_edges else NOTHING for _, by_edges in found])
        for edges in bins
    ]
    return _columns(key, caption, "tokens", [look.label for look, _ in found], rows, **more)


def _in_order(edges: set[tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    return sorted(edges, key=lambda pair: (pair[0], float("inf") if pair[1] is None else pair[1]))


def bins(series: tuple[Series, ...]) -> tuple[Table, ...]:
    """Every measure of each bin, a table for each run and each control."""
    head = ("tokens", "texts", "mean cosine", "distance to the centre", "uniformity", "effective rank")
    return tuple(
        Table(
            f"bins-{look.key}",
            f"All measures by length: {look.label}",
            head,
            tuple(
                (
                    bin_label(one.low, one.high),
                    whole(one.count),
                    estimate(one.cosine),
                    number(one.distance),
                    estimate(one.uniformity),
                    number(one.effective_rank),
                )
                for one in curve.bins
            ),
        )
        for look, curve in curves(series)
    )


def trend(series: tuple[Series, ...]) -> Table:
    """How close texts lie, and how that goes with length, in a few figures."""
    rows: dict[str, Callable[[LengthCurve], str]] = {
        "any two texts (10 to 90 %)": lambda curve: spread(curve.closeness.cosine) if curve.closeness else NOTHING,
        "their deviation": lambda curve: number(curve.closeness.deviation) if curve.closeness else NOTHING,
        "longest bin minus shortest": lambda curve: estimate(curve.difference),
        "the same in deviations": lambda curve: in_deviations(curve),
        "rank correlation with length": lambda curve: estimate(curve.rank_correlation),
        "cosine gained per doubling": lambda curve: estimate(curve.slope_per_doubling),
    }
    found = [(look, curve) for look, curve in curves(series) if curve.bins]
    return _columns(
        "trend-table",
        "How closeness goes with length",
        "with 95 % intervals",
        [look.label for look, _ in found],
        [(name, [cell(curve) for _, curve in found]) for name, cell in rows.items()],
        open=True,
    )


def in_deviations(curve: LengthCurve) -> str:
    """What long texts are closer by, measured by how the cosines of any two texts differ."""
    if curve.difference is None or curve.closeness is None or not curve.closeness.varies:
        return NOTHING
    return number(curve.difference.value / curve.closeness.deviation)


def changes(series: tuple[Series, ...]) -> Table:
    """What other temperatures change, a column for each."""
    found = [(one, one.run.change) for one in series if one.run.change is not None]
    return _columns(
        "change-table",
        "What temperature changes, against the model as it is",
        "with 95 % intervals, for all temperatures together",
        [one.label for one, _ in found],
        [
            ("longest bin minus shortest", [estimate(part.difference) for _, part in found]),
            ("mean SOCM", [estimate(part.socm) for _, part in found]),
        ],
        open=True,
    )


def collapse(found: Found, key: str) -> Table:
    """Second-order collapse in a few figures, a column for each run."""
    rows: dict[str, Callable[[Pairs], str]] = {
        "texts": lambda pairs: whole(pairs.texts),
        "pairs": lambda pairs: whole(pairs.pairs),
        "mean SOCM, 95 % interval": lambda pairs: estimate(pairs.mean),
        "SOCM (10 to 90 %)": lambda pairs: spread(pairs.socm),
        "median SOCM": lambda pairs: number(pairs.socm.median),
        f"pairs over {LIMITS['severe pair'].value:g}": lambda pairs: share(pairs.severe),
        "d_mu (10 to 90 %)": lambda pairs: spread(pairs.d_mu),
        "d_sigma (10 to 90 %)": lambda pairs: spread(pairs.d_sigma),
    }
    return _columns(
        f"{key}-table",
        "Second-order collapse",
        "means, and where 80 % lie",
        [one.label for one, _ in found],
        [(name, [cell(pairs) for _, pairs in found]) for name, cell in rows.items()],
        open=True,
    )


def worst(found: Found, excerpts: Sequence[Excerpt], key: str) -> tuple[Table, ...]:
    """The worst pairs with their texts, a table for each run; that of the first model stands open."""

    def side(place: int) -> str:
        # Two lines: the page sets the first, the text's name, apart.
        return f"{excerpts[place].id}\n{' '.join(excerpts[place].text.split())}"

    return tuple(
        Table(
            f"{key}-worst-{one.look.key}",
            f"The worst pairs: {one.label}",
            ("SOCM", "d_mu", "d_sigma", "one text", "the other"),
            tuple(
                (number(pair.socm), number(pair.d_mu), number(pair.d_sigma), side(pair.first), side(pair.second))
                for pair in pairs.worst
            ),
            words=(3, 4),
            open=place == 0,
        )
        for place, (one, pairs) in enumerate(found)
    )


def layers(series: tuple[Series, ...], measures: Sequence[str], key: str) -> tuple[Table, ...]:
    """Measures of each layer, a table for each run; a measure that no layer has gets no column."""
    tables = []
    for one in series:
        found = {name: dict(measured(one.run.layers, name)) for name in measures}
        there = [name for name in measures if found[name]]
        tables.append(
            Table(
                f"{key}-{one.look.key}",
                f"By layer: {one.label}",
                ("layer", *(MEASURES[name].short for name in there)),
                tuple(
                    (str(layer.index), *(spread(found[name].get(layer.index)) for name in there))
                    for layer in one.run.layers
                ),
            )
        )
    return tuple(tables)


def passed(series: tuple[Series, ...]) -> Table:
    """sigma_a of the last layer by length, a column for each run."""
    found = [(one, {(part.low, part.high): part for part in one.run.passed}) for one in series if one.run.passed]
    return _columns(
        "passed-table",
        "σₐ of the last layer by length",
        "tokens",
        [one.label for one, _ in found],
        [
            (bin_label(*edges), [number(parts[edges].sigma_a) if edges in parts else NOTHING for _, parts in found])
            for edges in _in_order({edges for _, parts in found for edges in parts})
        ],
    )


def repeated(series: tuple[Series, ...]) -> Table:
    """The cosine of repeated words, a column for each run."""
    found = [(one, one.run.repeated) for one in series if one.run.repeated is not None]
    cosines = [dict(zip(part.tokens, part.cosines, strict=True)) for _, part in found]
    return _columns(
        "repeated-table",
        "Cosine of repeated words",
        "tokens of each",
        [one.label for one, _ in found],
        [
            (whole(tokens), [number(column.get(tokens)) for column in cosines])
            for tokens in sorted({tokens for column in cosines for tokens in column})
        ],
    )


def models(diagnosis: Diagnosis) -> Table:
    """Which models exactly, a column for each."""
    rows = {
        "architecture": [model.architecture for model in diagnosis.models],
        "pooling": [model.pooling for model in diagnosis.models],
        "temperature": [model.temperature for model in diagnosis.models],
        "temperatures measured": [
            ", ".join(run.temperature for run in model.runs) or NOTHING for model in diagnosis.models
        ],
        "texts traced by layer": [
            ", ".join(sorted({whole(run.traced) for run in model.runs})) or NOTHING for model in diagnosis.models
        ],
        "dimensions": [whole(model.dimensions) for model in diagnosis.models],
        "revision": [model.revision or NOTHING for model in diagnosis.models],
        "fingerprint of the weights": [model.fingerprint for model in diagnosis.models],
    }
    heads = names(diagnosis.models)
    every = tuple(range(1, len(heads) + 1))
    return _columns("models", "Models", "model", heads, list(rows.items()), words=every, open=True)


def thresholds() -> Table:
    """From what value on which grade is given, and why there."""
    grades = [
        (name, *(number(value) for value in (row.slight, row.moderate, row.severe)), row.reason)
        for name, row in THRESHOLDS.items()
    ]
    limits = [(name, number(row.value), NOTHING, NOTHING, row.reason) for name, row in LIMITS.items()]
    head = ("what", "slight from", "moderate from", "severe from", "why there")
    return Table("thresholds", "What counts as how much", head, (*grades, *limits), words=(4,))


def provenance(diagnosis: Diagnosis, command: str | None) -> tuple[Table, ...]:
    """What else one needs to do it again."""
    texts = diagnosis.texts
    said = {
        "source": texts.source,
        "given": whole(texts.given),
        "used": whole(texts.used),
        "empty, left out": whole(texts.empty),
        "fingerprint of those used": texts.fingerprint,
    }
    settings = {name: value if isinstance(value, str) else _plain(value) for name, value in diagnosis.settings.items()}
    lists = [("texts", "Texts", said), ("settings", "Settings", settings), ("versions", "Versions", diagnosis.versions)]
    if command is not None:
        lists.append(("command", "Command line", {"command": command}))
    return tuple(
        Table(key, caption, ("what", "value"), tuple(content.items()), words=(1,), open=True)
        for key, caption, content in lists
    )


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
