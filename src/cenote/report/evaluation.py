"""An evaluation as a page that loads nothing, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from cenote.errors import BadInput
from cenote.evaluation_records import Evaluation
from cenote.report import markup
from cenote.report.formatting import MISSING, escape_html, escape_markdown
from cenote.report.markdown import list_section, list_table
from cenote.report.page import render_document, render_header, render_section, render_tables
from cenote.report.scores import Named, build_sections, name_tasks
from cenote.report.sections import Section
from cenote.report.series import shorten_names
from cenote.report.tables import Table, list_values, repeatable
from cenote.wording import pluralise


def to_html(evaluation: Evaluation, command: str | None = None) -> str:
    """Return the page of an evaluation, which names `command` as the command line that made it.

    Like that of a diagnosis it loads nothing, and runs no scripts but its own.
    """
    _check(evaluation)
    sections = build_sections(evaluation)
    name = _model(evaluation)
    return render_document(
        f"{name} on {_tasks(evaluation)} – Cenote evaluation",
        _header(evaluation, sections),
        (*map(render_section, sections), _provenance(evaluation, command)),
        skip="Skip to the scores",
        enliven=any(section.figures for section in sections),
        styles=("page.css", "evaluation.css"),
    )


def to_markdown(evaluation: Evaluation, command: str | None = None) -> str:
    """Return the scores, the worst items, the notes and the provenance of an evaluation as Markdown.

    Tables that the page folds are on the page only.
    """
    _check(evaluation)
    lines = [f"# Cenote evaluation: {escape_markdown(_model(evaluation))}", "", escape_markdown(_lead(evaluation)), ""]
    for section in build_sections(evaluation):
        lines += list_section(section)
    lines += ["## Provenance", ""]
    for table in _lists(evaluation, command):
        lines += list_table(table)
    return "\n".join(lines)


def _check(evaluation: Evaluation) -> None:
    if not isinstance(evaluation, Evaluation):
        raise BadInput(f"a report needs an Evaluation, not {type(evaluation).__name__}: see Evaluation.from_json.")


def _model(evaluation: Evaluation) -> str:
    return shorten_names([evaluation.model])[0] or "No model"


def _tasks(evaluation: Evaluation) -> str:
    return pluralise(len(evaluation.tasks), "task")


def _lead(evaluation: Evaluation) -> str:
    """Return how the model was used, in a sentence, and whether only samples were scored."""
    reads = "whole texts" if evaluation.limit is None else f"{evaluation.limit:,} tokens of a text"
    quick = " Only fixed samples of the data were scored." if evaluation.settings.get("quick") else ""
    used = f"pooling {evaluation.pooling}, temperature {evaluation.temperature}, reads {reads}"
    return f"Scored on {_tasks(evaluation)}: {used}.{quick}"


def _header(evaluation: Evaluation, sections: tuple[Section, ...]) -> str:
    chapters = [(section.key, section.label) for section in sections]
    heading = f"<bdi>{escape_html(_model(evaluation))}</bdi>"
    return render_header("Cenote evaluation", heading, escape_html(_lead(evaluation)), chapters)


def _lists(evaluation: Evaluation, command: str | None) -> tuple[Table, ...]:
    """Return the tables of provenance: the model, the data, settings, versions and the command line."""
    return (
        _data(name_tasks(evaluation.tasks)),
        list_values("model", "Model", _used(evaluation)),
        *repeatable(evaluation.settings, evaluation.versions, command),
    )


def _provenance(evaluation: Evaluation, command: str | None) -> str:
    data, *lists = _lists(evaluation, command)
    figures = map(_figures, name_tasks(evaluation.tasks))
    content = (
        f'{render_tables(data)}<div class="lists">{render_tables(*lists)}</div>'
        f'<div class="lists">{render_tables(*figures)}</div>'
    )
    intro = "The data and the settings that repeat the evaluation, and every figure that MTEB computes."
    return markup.render_chapter("methods", "Methods and provenance", intro, content)


def _data(tasks: Sequence[Named]) -> Table:
    """Return the table of the data of each task."""
    return Table(
        key="tasks",
        caption="Data",
        head=("task", "split", "data", "interval for"),
        rows=tuple((one.name, one.task.split, one.task.data, one.task.interval or MISSING) for one in tasks),
        words=(1, 2, 3),
        open=True,
        stacked=True,
    )


def _figures(one: Named) -> Table:
    """Return the table of all figures that MTEB computes of a task."""
    return Table(
        key=f"figures-{one.key}",
        caption=f"{one.name}: all figures of MTEB",
        head=("figure", "value"),
        rows=tuple((name, f"{value:.5g}".replace("-", "−")) for name, value in one.task.scores.items()),
    )


def _used(evaluation: Evaluation) -> dict[str, str]:
    """Return the model, and how it was used."""
    return {
        "name": evaluation.model,
        "fingerprint": evaluation.fingerprint,
        "pooling": evaluation.pooling,
        "temperature": evaluation.temperature,
        "limit": "none" if evaluation.limit is None else f"{evaluation.limit:,} tokens",
    }
