"""A comparison as a page that loads nothing, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cenote.comparison_records import Comparison
from cenote.errors import BadInput
from cenote.report import markup
from cenote.report.differences import (
    Chapter,
    build_chapters,
    explain_columns,
    list_settings,
    state_evidence,
    state_subject,
)
from cenote.report.forest import render_forest
from cenote.report.formatting import escape_html, escape_markdown
from cenote.report.markdown import list_section, list_table
from cenote.report.page import render_document, render_header, render_tables
from cenote.report.tables import repeatable


def to_html(comparison: Comparison, command: str | None = None) -> str:
    """Return the page of a comparison, which names `command` as the command line that made it.

    It loads nothing, and runs no script.
    """
    _check(comparison)
    chapters = build_chapters(comparison)
    return render_document(
        f"{state_subject(comparison)} – Cenote comparison",
        _header(comparison, chapters),
        (
            *([_warnings(comparison.warnings)] if comparison.warnings else []),
            *map(_render_chapter, chapters),
            _provenance(comparison, command),
        ),
        skip="Skip to the differences",
        styles=("page.css", "comparison.css"),
    )


def to_markdown(comparison: Comparison, command: str | None = None) -> str:
    """Return the differences, the notes and the provenance of a comparison as Markdown.

    Tables that the page folds are on the page only.
    """
    _check(comparison)
    lines = [f"# Cenote comparison: {escape_markdown(state_subject(comparison))}", ""]
    lines += [escape_markdown(state_evidence(comparison)), ""]
    if comparison.warnings:
        lines += ["## Warnings", "", *(f"- {escape_markdown(one)}" for one in comparison.warnings), ""]
    for chapter in build_chapters(comparison):
        lines += list_section(chapter.section)
    lines += ["## Provenance", "", *list_meanings(explain_columns(comparison))]
    for table in (*list_settings(comparison), *repeatable(comparison.settings, comparison.versions, command)):
        lines += list_table(table)
    return "\n".join(lines)


def _check(comparison: Comparison) -> None:
    if not isinstance(comparison, Comparison):
        raise BadInput(f"a report needs a Comparison, not {type(comparison).__name__}: see Comparison.from_json.")


def _header(comparison: Comparison, chapters: Sequence[Chapter]) -> str:
    links = [("warnings", "Warnings")] if comparison.warnings else []
    links += [(one.section.key, one.section.label) for one in chapters]
    heading = f"<bdi>{escape_html(state_subject(comparison))}</bdi>"
    return render_header("Cenote comparison", heading, escape_html(state_evidence(comparison)), links)


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f'<li><b>Warning</b><span dir="auto">{escape_html(one)}</span></li>' for one in warnings)
    return markup.render_chapter("warnings", "Warnings", "", f'<ul class="warnings">{items}</ul>')


def _render_chapter(chapter: Chapter) -> str:
    section = chapter.section
    drawn = render_forest(chapter.forest) if chapter.forest else ""
    content = f"{drawn}{render_tables(*section.tables)}{markup.render_notes(section.notes)}"
    return markup.render_chapter(section.key, section.title, section.intro, content)


def render_meanings(meanings: Mapping[str, str]) -> str:
    """Return terms with their meanings."""
    items = "".join(
        f"<div><dt>{escape_html(term)}</dt><dd>{escape_html(meaning)}</dd></div>" for term, meaning in meanings.items()
    )
    return f'<dl class="glossary">{items}</dl>'


def list_meanings(meanings: Mapping[str, str]) -> list[str]:
    """Return the lines of terms with their meanings."""
    return [*(f"- **{escape_markdown(term)}**: {escape_markdown(said)}" for term, said in meanings.items()), ""]


def _provenance(comparison: Comparison, command: str | None) -> str:
    compared, *models = list_settings(comparison)
    lists = render_tables(*models, *repeatable(comparison.settings, comparison.versions, command))
    content = f'{render_meanings(explain_columns(comparison))}{render_tables(compared)}<div class="lists">{lists}</div>'
    intro = "The meaning of the columns, and what is needed to repeat the comparison."
    return markup.render_chapter("methods", "Methods and provenance", intro, content)
