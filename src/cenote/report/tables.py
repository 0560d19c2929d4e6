"""The tables of a report: the numbers behind the figures, with a column for each model or run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import Diagnosis, Estimate, Excerpt, LengthCurve, Verdict
from cenote.report.formatting import MISSING, format_bin, format_estimate, format_number, format_share, format_spread
from cenote.report.pairs import PairsBySeries
from cenote.report.plots import Axis
from cenote.report.series import MEASURES, Series, length_curves, measured_layers, model_names, repeated_means

# A label, and a cell for each row.
_Columns = Sequence[tuple[str, Mapping[Any, str]]]


@dataclass(frozen=True)
class Strips:
    """Estimates, one for each row of a table or None, which the page draws beside it over one axis."""

    axis: Axis
    values: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; `words` are the columns that hold text instead of numbers, `strong` rows stand out.

    The cells of a `stacked` table stand below each other where the page is narrow, each with the head of its column.
    """

    key: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    open: bool = False
    stacked: bool = False
    bars: tuple[tuple[int, ...], ...] = ()  # of 100, one for each row, which the page draws beside it
    strips: Strips | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the table has no cells."""
        return not self.rows or len(self.head) == 1


def build_table(
    key: str,
    caption: str,
    corner: str,
    columns: _Columns,
    *,
    rows: Mapping[Any, str] | None = None,
    stacked: bool = True,
    words: tuple[int, ...] = (),
    open: bool = False,
) -> Table:
    """Return a table from columns, without rows that have no value in any of them.

    `rows` are the names of the rows by key, by default the keys themselves.
    """
    names = {row: row for _, cells in columns for row in cells} if rows is None else rows
    filled = ((name, *(cells.get(row, MISSING) for _, cells in columns)) for row, name in names.items())
    return Table(
        key=key,
        caption=caption,
        head=(corner, *(label for label, _ in columns)),
        rows=tuple(row for row in filled if {*row[1:]} != {MISSING}),
        words=words,
        open=open,
        stacked=stacked and len(columns) > 1,
    )


def _bin_rows(columns: _Columns) -> dict[Any, str]:
    """Return the bins that occur in one of the columns, sorted, with their names."""
    bins = {bin for _, cells in columns for bin in cells}
    return {bin: format_bin(*bin) for bin in sorted(bins, key=lambda bin: (bin[0], bin[1] or math.inf))}


def group_verdicts(verdicts: Sequence[Verdict]) -> tuple[list[str], dict[str, list[list[int]]]]:
    """Return the models, and for each graded subject the indices of its verdicts on each model.

    There is nothing to compare for a single model, and in subjects that are only described.
    """
    on_models = [(place, verdict) for place, verdict in enumerate(verdicts) if verdict.model]  # others are on the texts
    models = list(dict.fromkeys(verdict.model for _, verdict in on_models))
    if len(models) < 2:
        return [], {}
    graded = dict.fromkeys(verdict.subject for _, verdict in on_models if verdict.grade != "described")
    groups: dict[str, list[list[int]]] = {subject: [[] for _ in models] for subject in graded}
    for place, verdict in on_models:
        if verdict.subject in groups:
            groups[verdict.subject][models.index(verdict.model)].append(place)
    return models, groups


def overview(verdicts: Sequence[Verdict]) -> Table:
    """Return the grades of several models by subject; the table is empty for a single model."""
    models, groups = group_verdicts(verdicts)
    return Table(
        key="overview",
        caption="Verdicts at a glance",
        head=("subject", *models),
        rows=tuple(
            (subject, *("; ".join(verdicts[place].grade for place in places) or MISSING for places in found))
            for subject, found in groups.items()
        ),
        words=tuple(range(1, len(models) + 1)),
        open=True,
    )


def lengths(diagnosis: Diagnosis) -> Table:
    """Return the lengths of the texts and how much each model truncates."""
    columns = []
    for name, model in zip(model_names(diagnosis.models), diagnosis.models, strict=True):
        found, tokens = model.lengths, model.lengths.tokens
        cells = {
            "limit of the model": "none" if found.limit is None else f"{found.limit:,} tokens",
            "median length": format_number(tokens.median),
            "mean length (10 to 90 %)": format_spread(tokens),
            "truncated texts": f"{found.cut:,}",
            "share of texts truncated": format_share(found.cut / tokens.count) if tokens.count else MISSING,
            "share of tokens never read": format_share(found.unseen),
        }
        columns.append((name, cells))
    return build_table("lengths-table", "Lengths in tokens", "in the model's own tokens", columns, open=True)


def cut_lengths(series: tuple[Series, ...]) -> Table:
    """Return the mean cosine of the same texts at each cut, with a column for each run."""
    columns = []
    for one in series:
        if found := one.run.cut_lengths:
            cells = {cut.tokens: format_estimate(cut.cosine) for cut in found.cuts}
            columns.append((one.label, cells | {_LONGEST: format_estimate(found.change), _TEXTS: f"{found.texts:,}"}))
    cuts = sorted({row for _, cells in columns for row in cells} - {_LONGEST, _TEXTS})
    rows = {cut: f"{cut:,} tokens" for cut in cuts} | {_LONGEST: "longest cut minus shortest", _TEXTS: "texts"}
    caption = "Mean cosine of the same texts by cut"
    return build_table("cuts-table", caption, "cut at", columns, rows=rows, open=True)


# Rows below those of the cuts; no text is cut at so few tokens.
_LONGEST, _TEXTS = 0, -1


def closeness(series: tuple[Series, ...]) -> Table:
    """Return the mean cosine of each bin, with a column for each run and control."""
    columns = [
        (look.label, {(one.low, one.high): format_estimate(one.cosine) for one in curve.bins})
        for look, curve in length_curves(series)
    ]
    caption = "Mean cosine of texts that are short or long by nature"
    return build_table("cosine-table", caption, "tokens", columns, rows=_bin_rows(columns))


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
                    f"{one.count:,}",
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
    columns = []
    for look, curve in length_curves(series):
        cells = {
            "any two texts (10 to 90 %)": format_spread(curve.closeness.cosine if curve.closeness else None),
            "their standard deviation": format_number(curve.closeness.deviation if curve.closeness else None),
            "longest bin minus shortest": format_estimate(curve.difference),
            "texts of the longest bin with those of the shortest": format_number(curve.between),
            "in standard deviations": format_in_deviations(curve),
            "rank correlation with length": format_estimate(curve.rank_correlation),
            "cosine gained per doubling": format_estimate(curve.slope_per_doubling),
        }
        columns += [(look.label, cells)] if curve.bins else []
    return build_table("trend-table", "Closeness and length", "with 95 % intervals", columns)


def format_in_deviations(curve: LengthCurve) -> str:
    """Format the cosine of long minus short texts in standard deviations of all cosines."""
    return format_number(curve.difference.value / curve.unit if curve.difference and curve.unit else None)


def changes(series: tuple[Series, ...]) -> Table:
    """Return the changes by other temperatures, with a column for each."""
    columns = []
    for one in series:
        if change := one.run.change:
            cells = {
                "cosine of short texts": format_estimate(change.short),
                "cosine of long texts": format_estimate(change.long),
                "long minus short": format_estimate(change.difference),
                "mean SOCM": format_estimate(change.socm),
            }
            columns.append((one.label, cells))
    caption = "Changes by temperature, relative to the unchanged model"
    corner = "with 95 % intervals, for all temperatures together"
    return build_table("change-table", caption, corner, columns, open=True)


def collapse(found: PairsBySeries, key: str) -> Table:
    """Return second-order collapse over all pairs, beside halves of texts, with a column for each run."""
    columns = []
    for one, pairs in found:
        null = None if pairs is one.run.given_pairs else one.run.null
        cells = {
            "texts": f"{pairs.texts:,}",
            "pairs": f"{pairs.pairs:,}",
            "mean SOCM, 95 % interval": format_estimate(pairs.mean),
            "the same of two halves of one text": format_estimate(null.same if null else None),
            "the same of halves of two texts": format_estimate(null.different if null else None),
            "normalised by the spread of both (10 to 90 %)": format_spread(pairs.normalised),
            "normalised, two halves of one text": format_number(null.same_normalised if null else None),
            "normalised, halves of two texts": format_number(null.different_normalised if null else None),
            "SOCM (10 to 90 %)": format_spread(pairs.socm),
            "median SOCM": format_number(pairs.socm.median),
            f"pairs over {CUTOFFS['severe pair'].value:g}": format_share(pairs.severe),
            "d_mu (10 to 90 %)": format_spread(pairs.d_mu),
            "d_sigma (10 to 90 %)": format_spread(pairs.d_sigma),
        }
        columns.append((one.label, cells))
    return build_table(f"{key}-table", "Second-order collapse", "means, and the range of 80 %", columns, open=True)


def worst(found: PairsBySeries, excerpts: Sequence[Excerpt], key: str) -> tuple[Table, ...]:
    """Return the worst pairs with their texts, a table for each run."""

    def side(place: int) -> str:
        # The page shows the first line, the id, apart.
        return f"{excerpts[place].id}\n{' '.join(excerpts[place].text.split())}"

    several = len(found) > 1
    return tuple(
        Table(
            key=f"{key}-worst-{one.look.key}",
            caption=f"The worst pairs of those that lie close together{f': {one.label}' if several else ''}",
            head=("SOCM", "d_mu", "d_sigma", "one text", "the other"),
            rows=tuple(
                (*map(format_number, (pair.socm, pair.d_mu, pair.d_sigma)), side(pair.first), side(pair.second))
                for pair in pairs.worst
            ),
            words=(3, 4),
        )
        for one, pairs in found
    )


def layers(series: tuple[Series, ...], measures: Sequence[str], key: str) -> tuple[Table, ...]:
    """Return the measures of each layer, a table for each run; a measure that no layer has gets no column."""
    tables = []
    for one in series:
        columns = [
            (MEASURES[name].short, {index: format_spread(value) for index, value in found.items()})
            for name in measures
            if (found := measured_layers(one.run.layers, name))
        ]
        rows = {layer.index: str(layer.index) for layer in one.run.layers}
        tables.append(
            build_table(f"{key}-{one.look.key}", f"By layer: {one.label}", "layer", columns, rows=rows, stacked=False)
        )
    return tuple(tables)


def passed(series: tuple[Series, ...]) -> Table:
    """Return sigma_a of the last layer by length, with a column for each run."""
    columns = [
        (one.label, {(found.low, found.high): format_number(found.sigma_a) for found in one.run.passed})
        for one in series
        if one.run.passed
    ]
    return build_table("passed-table", "σₐ of the last layer by length", "tokens", columns, rows=_bin_rows(columns))


def repeated(series: tuple[Series, ...]) -> Table:
    """Return the mean cosine of pairs of repeated words, with a column for each run."""
    columns = [
        (one.label, {tokens: format_number(cosine) for tokens, (cosine, _) in repeated_means(one.run).items()})
        for one in series
        if one.run.repeated
    ]
    rows = {tokens: f"{tokens:,}" for tokens in sorted({tokens for _, cells in columns for tokens in cells})}
    return build_table("repeated-table", "Mean cosine of repeated words", "tokens of each", columns, rows=rows)


def models(diagnosis: Diagnosis) -> Table:
    """Return the identity of each model, with a column for each."""
    columns = []
    for name, model in zip(model_names(diagnosis.models), diagnosis.models, strict=True):
        traced = sorted({f"{run.traced:,}" for run in model.runs})
        cells = {
            "name": model.name,
            "architecture": model.architecture,
            "pooling": model.pooling,
            "temperature": model.temperature,
            "temperatures measured": ", ".join(run.temperature for run in model.runs) or MISSING,
            "texts traced by layer": ", ".join(traced) or MISSING,
            "dimensions": f"{model.dimensions:,}",
            "revision": model.revision or MISSING,
            "fingerprint of the weights": model.fingerprint,
        }
        columns.append((name, cells))
    return build_table("models", "Models", "model", columns, words=tuple(range(1, len(columns) + 1)), open=True)


def thresholds() -> Table:
    """Return the thresholds of grades, each with its reason."""
    grades = [(name, *map(format_number, row.steps), row.reason) for name, row in THRESHOLDS.items()]
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
    read = {
        "source": texts.source,
        "given": f"{texts.given:,}",
        "used": f"{texts.used:,}",
        "empty, excluded": f"{texts.empty:,}",
        "fingerprint of the texts used": texts.fingerprint,
    }
    return (list_values("texts", "Texts", read), *repeatable(diagnosis.settings, diagnosis.versions, command))


def repeatable(settings: Mapping[str, Any], versions: Mapping[str, str], command: str | None) -> tuple[Table, ...]:
    """Return the settings, the versions and the command line that repeat a report."""
    shown = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        for name, value in settings.items()
    }
    lists = [list_values("settings", "Settings", shown), list_values("versions", "Versions", versions)]
    return (*lists, *([] if command is None else [list_values("command", "Command line", {"command": command})]))


def list_values(key: str, caption: str, values: Mapping[str, str]) -> Table:
    """Return a table of names and values."""
    return Table(key=key, caption=caption, head=("name", "value"), rows=tuple(values.items()), words=(1,), open=True)
