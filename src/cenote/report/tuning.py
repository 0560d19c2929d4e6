"""A tuning as a page that loads nothing, and as Markdown."""

from __future__ import annotations

from cenote.errors import BadInput
from cenote.report import markup, tuned
from cenote.report.comparison import list_meanings, render_meanings
from cenote.report.formatting import escape_html, escape_markdown
from cenote.report.heatmap import render_heat_map
from cenote.report.markdown import list_section, list_table
from cenote.report.page import render_document, render_header, render_tables
from cenote.report.sections import Section
from cenote.report.series import shorten_names
from cenote.report.tables import Table, repeatable
from cenote.tuning_records import Tuning


def to_html(tuning: Tuning, command: str | None = None) -> str:
    """Return the page of a tuning, which names `command` as the command line that made it.

    It loads nothing, and runs no scripts but its own.
    """
    _check(tuning)
    sections = tuned.build_sections(tuning)
    heading = f"<bdi>{escape_html(_model(tuning))}</bdi>"
    lead = f'<strong class="found-out" dir="auto">{escape_html(tuning.answer)}</strong>'
    return render_document(
        f"{_model(tuning)} – Cenote tuning",
        render_header("Cenote tuning", heading, lead, [(one.key, one.label) for one in sections]),
        (*(_render_section(section, tuning) for section in sections), _provenance(tuning, command)),
        skip="Skip to the curve",
        enliven=any(section.figures for section in sections),
        styles=("page.css", "comparison.css"),
    )


def to_markdown(tuning: Tuning, command: str | None = None) -> str:
    """Return the answer, the temperatures, the held-out scores and the provenance of a tuning as Markdown."""
    _check(tuning)
    lines = [f"# Cenote tuning: {escape_markdown(_model(tuning))}", "", escape_markdown(tuning.answer), ""]
    for section in tuned.build_sections(tuning):
        lines += list_section(section)
    lines += ["## Provenance", "", *list_meanings(tuned.MEANINGS)]
    for table in _lists(tuning, command):
        lines += list_table(table)
    return "\n".join(lines)


def _check(tuning: Tuning) -> None:
    if not isinstance(tuning, Tuning):
        raise BadInput(f"a report needs a Tuning, not {type(tuning).__name__}: see Tuning.from_json.")


def _model(tuning: Tuning) -> str:
    return shorten_names([tuning.model])[0] or "No model"


def _lists(tuning: Tuning, command: str | None) -> tuple[Table, ...]:
    return (tuned.list_result(tuning), *repeatable(tuning.settings, tuning.versions, command))


def _render_section(section: Section, tuning: Tuning) -> str:
    """Return a section as a chapter; the curve has the heat map below it."""
    figures = "".join(map(markup.render_figure, section.figures))
    drawn = f'<div class="figures">{figures}</div>' if figures else ""
    opened, folded = (render_tables(*(one for one in section.tables if one.open is state)) for state in (True, False))
    notes = markup.render_notes(section.notes)
    if section.key == "curve":
        found = tuned.draw_heat_map(tuning)
        drawn += "" if found is None else render_heat_map(found)
    return markup.render_chapter(section.key, section.title, section.intro, f"{drawn}{opened}{folded}{notes}")


def _provenance(tuning: Tuning, command: str | None) -> str:
    lists = f'<div class="lists">{render_tables(*_lists(tuning, command))}</div>'
    intro = "The meaning of the figures, and what is needed to repeat the tuning."
    content = f"{render_meanings(tuned.MEANINGS)}{lists}"
    return markup.render_chapter("methods", "Methods and provenance", intro, content)
