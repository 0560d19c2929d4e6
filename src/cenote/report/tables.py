"""The tables of a report: the numbers behind the figures, with a column for each model or run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import Change, Diagnosis, Excerpt, LengthCurve, Lengths, ModelDiagnosis, Pairs, Verdict
from cenote.report.formatting import (
    MISSING,
    format_bin,
    format_count,
    format_estimate,
    format_number,
    format_share,
    format_spread,
)
from cenote.report.pairs import PairsBySeries
from cenote.report.series import MEASURES, Series, length_curves, measured_layers, model_names

Column = TypeVar("Column")
Bin = tuple[int, "int | None"]


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; `words` are the columns that hold text instead of numbers."""

    key: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()
    open: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the table has no cells."""
        return not self.rows or len(self.head) == 1


def _columns(
    key: str,
    caption: str,
    corner: str,
    columns: Sequence[tuple[str, Column]],
    rows: Mapping[str, Callable[[Column], str]],
    **options: Any,
) -> Table:
    """Return a table from labelled columns and a function for each row."""
    return Table(
        key=key,
        caption=caption,
        head=(corner, *(label for label, _ in columns)),
        rows=tuple((name, *(cell(column) for _, column in columns)) for name, cell in rows.items()),
        **options,
    )


def _binned(
    key: str,
    caption: str,
    columns: Sequence[tuple[str, Sequence[Any]]],
    cell: Callable[[Any], str],
    *,
    open: bool = False,
) -> Table:
    """Return a table with a row for each bin that occurs in one of the columns; columns are lists of bins."""
    found = [(label, {(one.low, one.high): one for one in bins}) for label, bins in columns]
    edges: set[Bin] = {edge for _, by_edge in found for edge in by_edge}
    ordered = sorted(edges, key=lambda edge: (edge[0], float("inf") if edge[1] is None else edge[1]))
    return Table(
        key=key,
        caption=caption,
        head=("tokens", *(label for label, _ in found)),
        rows=tuple(
            (format_bin(*edge), *(cell(by_edge[edge]) if edge in by_edge else MISSING for _, by_edge in found))
            for edge in ordered
        ),
        open=open,
    )


def group_verdicts(verdicts: Sequence[Verdict]) -> tuple[list[str], dict[str, list[list[int]]]]:
    """Return the models, and for each subject the indices of its verdicts on each model.

    >>> words = {"grade": "none", "finding": "", "evidence": "", "limit": "", "advice": ""}
    >>> group_verdicts([Verdict(model=model, subject="truncation", **words) for model in ("a", "b")])
    (['a', 'b'], {'truncation': [[0], [1]]})
    """
    on_models = [verdict for verdict in verdicts if verdict.model]  # those on the texts name no model
    models = list(dict.fromkeys(verdict.model for verdict in on_models))
    groups: dict[str, list[list[int]]] = {verdict.subject: [[] for _ in models] for verdict in on_models}
    for place, verdict in enumerate(verdicts):
        if verdict.model:
            groups[verdict.subject][models.index(verdict.model)].append(place)
    return models, groups


def overview(verdicts: Sequence[Verdict]) -> Table:
    """Return the grades of several models by subject; the table is empty for a single model."""
    models, groups = group_verdicts(verdicts)
    several = len(models) > 1
    return Table(
        key="overview",
        caption="Verdicts at a glance",
        head=("subject", *models) if several else (),
        rows=tuple(
            (subject, *("; ".join(verdicts[place].grade for place in places) or MISSING for places in found))
            for subject, found in groups.items()
        )
        if several
        else (),
        words=tuple(range(1, len(models) + 1)),
        open=True,
    )


def lengths(diagnosis: Diagnosis) -> Table:
    """Return the lengths of the texts and how much each model truncates."""
    rows: dict[str, Callable[[Lengths], str]] = {
        "limit of the model": lambda found: "none" if found.limit is None else f"{format_count(found.limit)} tokens",
        "median length": lambda found: format_number(found.tokens.median),
        "mean length (10 to 90 %)": lambda found: format_spread(found.tokens),
        "truncated texts": lambda found: format_count(found.cut),
        "share of texts truncated": lambda found: (
            format_share(found.cut / found.tokens.count) if found.tokens.count else MISSING
        ),
        "share of tokens never read": lambda found: format_share(found.unseen),
    }
    columns = zip(model_names(diagnosis.models), (model.lengths for model in diagnosis.models), strict=True)
    return _columns("lengths-table", "Lengths in tokens", "in the model's own tokens", list(columns), rows, open=True)


def closeness(series: tuple[Series, ...]) -> Table:
    """Return the mean cosine of each bin, with a column for each run and control."""
    columns = [(look.label, curve.bins) for look, curve in length_curves(series)]
    cell = lambda found: format_estimate(found.cosine)  # noqa: E731
    return _binned("cosine-table", "Mean cosine by length", columns, cell, open=True)


def bins(series: tuple[Series, ...]) -> tuple[Table, ...]:
    """Return all measures of each bin, a table for each run and control."""
    return tuple(
        Table(
            key=f"bins-{look.key}",
            caption=f"All measures by length: {look.label}",
            head=("tokens", "texts", "mean cosine", "distance to the centre", "uniformity", "effective rank"),
            rows=tuple(
                (
                    format_bin(one.low, one.high),
                    format_count(one.count),
                    format_estimate(one.cosine),
                    format_number(one.distance),
                    format_estimate(one.uniformity),
                    format_number(one.effective_rank),
                )
                for one in curve.bins
            ),
        )
        for look, curve in length_curves(series)
    )


def trend(series: tuple[Series, ...]) -> Table:
    """Return the closeness of texts and its trend over length, with a column for each run and control."""
    rows: dict[str, Callable[[LengthCurve], str]] = {
        "any two texts (10 to 90 %)": lambda curve: format_spread(curve.closeness.cosine if curve.closeness else None),
        "their standard deviation": lambda curve: format_number(curve.closeness.deviation if curve.closeness else None),
        "longest bin minus shortest": lambda curve: format_estimate(curve.difference),
        "in standard deviations": format_in_deviations,
        "rank correlation with length": lambda curve: format_estimate(curve.rank_correlation),
        "cosine gained per doubling": lambda curve: format_estimate(curve.slope_per_doubling),
    }
    columns = [(look.label, curve) for look, curve in length_curves(series) if curve.bins]
    return _columns("trend-table", "Closeness and length", "with 95 % intervals", columns, rows, open=True)


def format_in_deviations(curve: LengthCurve) -> str:
    """Format the cosine of long minus short texts in standard deviations of all cosines."""
    if curve.difference is None or curve.closeness is None or not curve.closeness.varies:
        return MISSING
    return format_number(curve.difference.value / curve.closeness.deviation)


def changes(series: tuple[Series, ...]) -> Table:
    """Return the changes by other temperatures, with a column for each."""
    rows: dict[str, Callable[[Change], str]] = {
        "longest bin minus shortest": lambda change: format_estimate(change.difference),
        "mean SOCM": lambda change: format_estimate(change.socm),
    }
    return _columns(
        "change-table",
        "Changes by temperature, relative to the unchanged model",
        "with 95 % intervals, for all temperatures together",
        [(one.label, one.run.change) for one in series if one.run.change is not None],
        rows,
        open=True,
    )


def collapse(found: PairsBySeries, key: str) -> Table:
    """Return second-order collapse over all pairs, with a column for each run."""
    rows: dict[str, Callable[[Pairs], str]] = {
        "texts": lambda pairs: format_count(pairs.texts),
        "pairs": lambda pairs: format_count(pairs.pairs),
        "mean SOCM, 95 % interval": lambda pairs: format_estimate(pairs.mean),
        "SOCM (10 to 90 %)": lambda pairs: format_spread(pairs.socm),
        "median SOCM": lambda pairs: format_number(pairs.socm.median),
        f"pairs over {CUTOFFS['severe pair'].value:g}": lambda pairs: format_share(pairs.severe),
        "d_mu (10 to 90 %)": lambda pairs: format_spread(pairs.d_mu),
        "d_sigma (10 to 90 %)": lambda pairs: format_spread(pairs.d_sigma),
    }
    columns = [(one.label, pairs) for one, pairs in found]
    return _columns(f"{key}-table", "Second-order collapse", "means, and the range of 80 %", columns, rows, open=True)


def worst(found: PairsBySeries, excerpts: Sequence[Excerpt], key: str) -> tuple[Table, ...]:
    """Return the worst pairs with their texts, a table for each run; only the first is open."""

    def side(place: int) -> str:
        # The page shows the first line, the id, apart.
        return f"{excerpts[place].id}\n{' '.join(excerpts[place].text.split())}"

    return tuple(
        Table(
            key=f"{key}-worst-{one.look.key}",
            caption=f"The worst pairs: {one.label}",
            head=("SOCM", "d_mu", "d_sigma", "one text", "the other"),
            rows=tuple(
                (*map(format_number, (pair.socm, pair.d_mu, pair.d_sigma)), side(pair.first), side(pair.second))
                for pair in pairs.worst
            ),
            words=(3, 4),
            open=place == 0,
        )
        for place, (one, pairs) in enumerate(found)
    )


def layers(series: tuple[Series, ...], measures: Sequence[str], key: str) -> tuple[Table, ...]:
    """Return the measures of each layer, a table for each run; a measure that no layer has gets no column."""
    tables = []
    for one in series:
        found = {name: dict(measured_layers(one.run.layers, name)) for name in measures}
        found = {name: by_layer for name, by_layer in found.items() if by_layer}
        tables.append(
            Table(
                key=f"{key}-{one.look.key}",
                caption=f"By layer: {one.label}",
                head=("layer", *(MEASURES[name].short for name in found)),
                rows=tuple(
                    (str(layer.index), *(format_spread(by_layer.get(layer.index)) for by_layer in found.values()))
                    for layer in one.run.layers
                ),
            )
        )
    return tuple(tables)


def passed(series: tuple[Series, ...]) -> Table:
    """Return sigma_a of the last layer by length, with a column for each run."""
    columns = [(one.label, one.run.passed) for one in series if one.run.passed]
    cell = lambda found: format_number(found.sigma_a)  # noqa: E731
    return _binned("passed-table", "σₐ of the last layer by length", columns, cell)


def repeated(series: tuple[Series, ...]) -> Table:
    """Return the cosine of repeated words, with a column for each run."""
    found = [(one.label, one.run.repeated) for one in series if one.run.repeated is not None]
    columns = [(label, dict(zip(words.tokens, words.cosines, strict=True))) for label, words in found]
    counts = sorted({tokens for _, cosines in columns for tokens in cosines})
    return Table(
        key="repeated-table",
        caption="Cosine of repeated words",
        head=("tokens of each", *(label for label, _ in columns)),
        rows=tuple(
            (format_count(tokens), *(format_number(cosines.get(tokens)) for _, cosines in columns)) for tokens in counts
        ),
    )


def models(diagnosis: Diagnosis) -> Table:
    """Return the identity of each model, with a column for each."""
    rows: dict[str, Callable[[ModelDiagnosis], str]] = {
        "architecture": lambda model: model.architecture,
        "pooling": lambda model: model.pooling,
        "temperature": lambda model: model.temperature,
        "temperatures measured": lambda model: ", ".join(run.temperature for run in model.runs) or MISSING,
        "texts traced by layer": lambda model: (
            ", ".join(sorted({format_count(run.traced) for run in model.runs})) or MISSING
        ),
        "dimensions": lambda model: format_count(model.dimensions),
        "revision": lambda model: model.revision or MISSING,
        "fingerprint of the weights": lambda model: model.fingerprint,
    }
    columns = list(zip(model_names(diagnosis.models), diagnosis.models, strict=True))
    every = tuple(range(1, len(columns) + 1))
    return _columns("models", "Models", "model", columns, rows, words=every, open=True)


def thresholds() -> Table:
    """Return the thresholds of grades, each with its reason."""
    grades = [
        (name, *(format_number(value) for value in (row.slight, row.moderate, row.severe)), row.reason)
        for name, row in THRESHOLDS.items()
    ]
    cutoffs = [(name, format_number(row.value), MISSING, MISSING, row.reason) for name, row in CUTOFFS.items()]
    return Table(
        key="thresholds",
        caption="Thresholds",
        head=("measure", "slight from", "moderate from", "severe from", "reason"),
        rows=(*grades, *cutoffs),
        words=(4,),
    )


def provenance(diagnosis: Diagnosis, command: str | None) -> tuple[Table, ...]:
    """Return the texts, the settings, the versions and the command line of a diagnosis."""
    texts = diagnosis.texts
    content = {
        "texts": {
            "source": texts.source,
            "given": format_count(texts.given),
            "used": format_count(texts.used),
            "empty, left out": format_count(texts.empty),
            "fingerprint of the texts used": texts.fingerprint,
        },
        "settings": {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            for name, value in diagnosis.settings.items()
        },
        "versions": diagnosis.versions,
        "command": {} if command is None else {"command": command},
    }
    captions = {"texts": "Texts", "settings": "Settings", "versions": "Versions", "command": "Command line"}
    return tuple(
        Table(
            key=key,
            caption=captions[key],
            head=("name", "value"),
            rows=tuple(rows.items()),
            words=(1,),
            open=True,
        )
        for key, rows in content.items()
        if key != "command" or rows
    )
