"""An audit as a page that loads nothing, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cenote.audit_records import RESULTS, Audit
from cenote.auditing.checks.table import CHECKS
from cenote.auditing.checks.thresholds import THRESHOLDS
from cenote.errors import BadInput
from cenote.report import markup
from cenote.report.formatting import MISSING, escape_html, escape_markdown
from cenote.report.markdown import list_section, list_table
from cenote.report.page import render_document, render_header, render_section, render_tables
from cenote.report.sections import Section
from cenote.report.series import shorten_names
from cenote.report.tables import Table, list_values, repeatable


def to_html(audit: Audit, command: str | None = None) -> str:
    """Return the page of an audit, which names `command` as the command line that made it. It loads nothing."""
    _check(audit)
    sections = tuple(build_sections(audit))
    heading = f"<bdi>{escape_html(_model(audit))}</bdi>"
    lead = f'<strong class="found-out" dir="auto">{escape_html(_lead(audit))}</strong>'
    return render_document(
        f"{_model(audit)} – Cenote audit",
        render_header("Cenote audit", heading, lead, [(one.key, one.label) for one in sections]),
        (*map(render_section, sections), _provenance(audit, command)),
        skip="Skip to the checks",
        styles=("page.css", "comparison.css"),
    )


def to_markdown(audit: Audit, command: str | None = None) -> str:
    """Return the checks, what to do and the provenance of an audit as Markdown."""
    _check(audit)
    lines = [f"# Cenote audit: {escape_markdown(_model(audit))}", "", escape_markdown(_lead(audit)), ""]
    for section in build_sections(audit):
        lines += list_section(section)
    lines += ["## Provenance", ""]
    for table in (*_lists(audit, command), _thresholds()):
        lines += list_table(table)
    return "\n".join(lines)


def _check(audit: Audit) -> None:
    if not isinstance(audit, Audit):
        raise BadInput(f"a report needs an Audit, not {type(audit).__name__}: see Audit.from_json.")


def _model(audit: Audit) -> str:
    return shorten_names([audit.model])[0] or "No model"


def _lead(audit: Audit) -> str:
    return audit.summary().replace(audit.model, _model(audit), 1)


def build_sections(audit: Audit) -> Iterator[Section]:
    """Yield what failed with what to do, all checks, and the numbers of each."""
    failed = tuple((one.name, one.evidence, one.remedy) for one in audit.checks if one.passed is False)
    if failed:
        yield Section(
            key="failed",
            label="Failed",
            title="What failed, and what to do",
            intro="",
            figures=(),
            tables=(_table("failed-checks", "Failed checks", ("check", "evidence", "what to do"), failed),),
        )
    rows = tuple((one.name, RESULTS[one.passed], _question(one.name), one.evidence) for one in audit.checks)
    yield Section(
        key="checks",
        label="Checks",
        title="All checks",
        intro="A check passes, fails, or cannot be decided for this model, these texts or this machine.",
        figures=(),
        tables=(_table("all-checks", "Checks", ("check", "result", "question", "evidence"), rows),),
        notes=tuple(f"{one.name}: {one.remedy}" for one in audit.checks if one.remedy and one.passed is not False),
    )
    numbers = tuple(
        (f"{one.name}: {name}", _shown(value)) for one in audit.checks for name, value in one.measured.items()
    )
    yield Section(
        key="numbers",
        label="Numbers",
        title="What was measured",
        intro="The numbers of the evidence, which the JSON has too.",
        figures=(),
        tables=(_table("measured", "Measured numbers", ("number", "value"), numbers),),
    )


def _question(name: str) -> str:
    return CHECKS[name].question if name in CHECKS else MISSING


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(key: str, caption: str, head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Table:
    words = tuple(range(1, len(head)))
    return Table(key=key, caption=caption, head=head, rows=rows, words=words, open=True, stacked=True)


def _lists(audit: Audit, command: str | None) -> tuple[Table, ...]:
    """Return the tables of provenance: the model, the texts, settings, versions, the command line."""
    model = {
        "name": audit.model,
        "fingerprint": audit.fingerprint,
        "pooling": audit.pooling,
        "temperature": audit.temperature,
        "limit": "none" if audit.limit is None else f"{audit.limit:,} tokens",
    }
    texts = {
        "source": audit.texts.source,
        "given": f"{audit.texts.given:,}",
        "used": f"{audit.texts.used:,}",
        "fingerprint": audit.texts.fingerprint,
    }
    return (
        list_values("model", "Model", model),
        list_values("texts", "Texts", texts),
        *repeatable(audit.settings, audit.versions, command),
    )


def _thresholds() -> Table:
    rows = tuple((name, f"{one.value:g}", one.reason) for name, one in THRESHOLDS.items())
    return _table("thresholds", "Thresholds", ("threshold", "value", "reason"), rows)


def _provenance(audit: Audit, command: str | None) -> str:
    content = f'{render_tables(_thresholds())}<div class="lists">{render_tables(*_lists(audit, command))}</div>'
    intro = "The model, the texts, and the numbers at which a check fails."
    return markup.render_chapter("methods", "Methods and provenance", intro, content)
