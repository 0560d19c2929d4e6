"""The report as Markdown, for a terminal, a pull request or a model card: verdicts and tables without figures."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.records import Diagnosis, Verdict
from cenote.report import account, tables
from cenote.report.account import KINDS, Answer
from cenote.report.formatting import escape_markdown, join_names, markdown_prose
from cenote.report.sections import Section, build_sections, check_diagnosis
from cenote.report.series import model_names, shown_verdicts
from cenote.report.tables import Table
from cenote.wording import pluralise


def to_markdown(diagnosis: Diagnosis, *, command: str | None = None) -> str:
    """Return the account, the verdicts, the main tables and the provenance of a diagnosis as Markdown.

    Tables that the page folds are on the page only.
    """
    check_diagnosis(diagnosis)
    texts, verdicts = diagnosis.texts, shown_verdicts(diagnosis)
    models = join_names(escape_markdown(name) for name in model_names(diagnosis.models)) or "no model"
    lines = [
        f"# Cenote diagnosis: {models}",
        "",
        f"Read: {texts.used:,} of {pluralise(texts.given, 'text')} from {escape_markdown(texts.source)}; "
        f"{texts.empty:,} empty.",
        "",
        "## What a search over these texts loses",
        "",
        *_search(diagnosis),
        "## Verdicts",
        "",
    ]
    if not verdicts:
        lines += ["There are no verdicts.", ""]
    lines += [*list_table(tables.overview(verdicts)), *(line for verdict in verdicts for line in _verdict(verdict))]
    for section in build_sections(diagnosis):
        lines += list_section(section)
    lines += ["## Provenance", ""]
    for table in (tables.models(diagnosis), tables.thresholds(), *tables.provenance(diagnosis, command)):
        lines += list_table(table)
    return "\n".join(lines)


def list_section(section: Section) -> list[str]:
    """Return the lines of a section; tables that the page folds are left out, unless the section has no other."""
    lines = [f"## {escape_markdown(section.title)}", "", escape_markdown(section.intro), ""]
    notes = [*section.notes, *(note for figure in section.figures for note in figure.notes)]
    lines += [*(f"- {escape_markdown(note)}" for note in dict.fromkeys(notes)), ""] if notes else []
    for table in [table for table in section.tables if table.open] or section.tables:
        lines += list_table(table)
    return lines


def _search(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the bars of the account, their key, and the tables of what was tried and of the parts."""
    answers = account.collect_answers(diagnosis)
    for answer in answers:
        yield from _answer(answer, named=len(answers) > 1)
    measured = any(search.shares is not None for answer in answers for search in answer.searches)
    if measured:
        yield from (f"- `{kind.sign}` {kind.name}: {kind.meaning}" for kind in KINDS)
        yield from ("", escape_markdown(account.find_limit(diagnosis)), "")
    for table in account.build_tables(answers, named=len(answers) > 1):
        yield from list_table(table)
    if measured:
        yield from (*(f"- {escape_markdown(note)}" for note in account.describe_texts(answers)), "")


def _answer(answer: Answer, *, named: bool) -> Iterator[str]:
    if named:
        yield from (f"### {escape_markdown(answer.name)}", "")
    for search in answer.searches:
        yield from (f"**{escape_markdown(search.loss)}**", "")
        if search.shares is not None:
            yield from ("```text", account.draw_text_bar(search.shares), "```", "")
        if search.advice:
            yield from (f"What to do: {markdown_prose(search.advice)}", "")


def _verdict(verdict: Verdict) -> Iterator[str]:
    about = ", ".join(escape_markdown(part) for part in (verdict.subject, verdict.model) if part)
    yield from (f"### {verdict.grade.capitalize()}: {about}", "", f"**{escape_markdown(verdict.finding)}**", "")
    said = (("What to do", verdict.advice), ("Evidence", verdict.evidence), ("Caveat", verdict.limit))
    yield from (*(f"- {name}: {markdown_prose(text)}" for name, text in said if text.strip()), "")


def list_table(table: Table) -> list[str]:
    """Return the lines of a table under its caption, none for an empty one."""
    if table.is_empty:
        return []
    rule = [":--" if column == 0 or column in table.words else "--:" for column in range(len(table.head))]
    head, *rows = ([escape_markdown(cell) for cell in row] for row in (table.head, *table.rows))
    lines = (f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
    return [f"**{escape_markdown(table.caption)}**", "", *lines, ""]
