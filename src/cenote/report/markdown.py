"""The report as Markdown, for a terminal, a pull request or a model's card: verdicts and tables, no figures."""

from __future__ import annotations

from cenote.phrases import counted
from cenote.report import tables
from cenote.report.sections import Section, checked, sections_of
from cenote.report.series import names
from cenote.report.tables import Table
from cenote.report.writing import in_markdown, listed
from cenote.results import Diagnosis, Verdict


def to_markdown(diagnosis: Diagnosis, *, command: str | None = None) -> str:
    """The verdicts, the tables that stand open on the page, and the provenance of a diagnosis.

    Needs nothing beyond the standard library. What belongs to single layers or pairs is on the page alone.
    """
    checked(diagnosis)
    texts = diagnosis.texts
    models = listed(in_markdown(name) for name in names(diagnosis.models)) or "no model"
    lines = [
        f"# Cenote diagnosis: {models}",
        "",
        f"Read: {texts.used:,} of {counted(texts.given, 'text')} from {in_markdown(texts.source)}; "
        f"{texts.empty:,} empty.",
        "",
        "## Verdicts",
        "",
    ]
    if not diagnosis.verdicts:
        lines += ["Nothing was judged.", ""]
    lines += _table(tables.overview(diagnosis.verdicts))
    for verdict in diagnosis.verdicts:
        lines += _verdict(verdict)
    for section in sections_of(diagnosis):
        lines += _section(section)
    lines += ["## Provenance", ""]
    for table in (tables.models(diagnosis), tables.thresholds(), *tables.provenance(diagnosis, command)):
        lines += _table(table)
    return "\n".join(lines)


def _verdict(verdict: Verdict) -> list[str]:
    about = [part for part in (verdict.subject, verdict.model) if part]
    said = (("What to do", verdict.advice), ("Evidence", verdict.evidence), ("Limit", verdict.limit))
    return [
        f"### {verdict.grade.capitalize()}: {', '.join(in_markdown(part) for part in about)}",
        "",
        f"**{in_markdown(verdict.finding)}**",
        "",
        *(f"- {name}: {in_markdown(text)}" for name, text in said if text.strip()),
        "",
    ]


def _section(section: Section) -> list[str]:
    lines = [f"## {in_markdown(section.title)}", "", in_markdown(section.intro), ""]
    missing = [*section.notes, *(note for figure in section.figures for note in figure.notes)]
    if missing:
        lines += [*(f"- {in_markdown(note)}" for note in dict.fromkeys(missing)), ""]
    # What the page folds away is left out, unless nothing else would stand here.
    shown = [table for table in section.tables if table.open] or list(section.tables)
    for table in shown:
        lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    if table.is_empty:
        return []
    words = set(table.words)
    rule = [":--" if column in words or column == 0 else "--:" for column in range(len(table.head))]
    return [
        f"**{in_markdown(table.caption)}**",
        "",
        *(_row([in_markdown(cell) for cell in row]) for row in (table.head,)),
        _row(rule),
        *(_row([in_markdown(cell) for cell in row]) for row in table.rows),
        "",
    ]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
