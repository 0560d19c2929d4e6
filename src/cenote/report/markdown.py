"""The report as Markdown, for a terminal, a pull request or a model card: verdicts and tables without figures."""

from __future__ import annotations

from cenote.records import Diagnosis
from cenote.report import tables
from cenote.report.formatting import escape_markdown, join_names
from cenote.report.sections import build_sections, check_diagnosis
from cenote.report.series import model_names
from cenote.report.tables import Table
from cenote.wording import pluralise


def to_markdown(diagnosis: Diagnosis, *, command: str | None = None) -> str:
    """Return the verdicts, the main tables and the provenance of a diagnosis as Markdown.

    It needs no extra. Tables of single layers and pairs are on the HTML page only.
    """
    check_diagnosis(diagnosis)
    texts = diagnosis.texts
    models = join_names(escape_markdown(name) for name in model_names(diagnosis.models)) or "no model"
    lines = [
        f"# Cenote diagnosis: {models}",
        "",
        f"Read: {texts.used:,} of {pluralise(texts.given, 'text')} from {escape_markdown(texts.source)}; "
        f"{texts.empty:,} empty.",
        "",
        "## Verdicts",
        "",
    ]
    if not diagnosis.verdicts:
        lines += ["There are no verdicts.", ""]
    lines += _table(tables.overview(diagnosis.verdicts))
    for verdict in diagnosis.verdicts:
        about = ", ".join(escape_markdown(part) for part in (verdict.subject, verdict.model) if part)
        lines += [f"### {verdict.grade.capitalize()}: {about}", "", f"**{escape_markdown(verdict.finding)}**", ""]
        said = (("What to do", verdict.advice), ("Evidence", verdict.evidence), ("Caveat", verdict.limit))
        lines += [*(f"- {name}: {escape_markdown(text)}" for name, text in said if text.strip()), ""]
    for section in build_sections(diagnosis):
        lines += [f"## {escape_markdown(section.title)}", "", escape_markdown(section.intro), ""]
        notes = [*section.notes, *(note for figure in section.figures for note in figure.notes)]
        lines += [*(f"- {escape_markdown(note)}" for note in dict.fromkeys(notes)), ""] if notes else []
        # Tables that are folded on the page are left out, unless the section has no other.
        for table in [table for table in section.tables if table.open] or section.tables:
            lines += _table(table)
    lines += ["## Provenance", ""]
    for table in (tables.models(diagnosis), tables.thresholds(), *tables.provenance(diagnosis, command)):
        lines += _table(table)
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    if table.is_empty:
        return []
    rule = [":--" if column == 0 or column in table.words else "--:" for column in range(len(table.head))]
    head, *rows = ([escape_markdown(cell) for cell in row] for row in (table.head, *table.rows))
    lines = (f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
    return [f"**{escape_markdown(table.caption)}**", "", *lines, ""]
