"""The report as one HTML page, which loads nothing and may run no scripts but its own."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from cenote.diagnosis.verdicts.thresholds import GRADES
from cenote.errors import CenoteError
from cenote.records import Diagnosis
from cenote.report import markup, tables
from cenote.report.formatting import escape_html, join_names, plotly_label, script_json
from cenote.report.plots import Figure
from cenote.report.sections import Section, build_glossary, build_sections, check_diagnosis
from cenote.report.series import model_names
from cenote.wording import pluralise, were_left_out

# The end of each section: the page is long.
_UP = '<p class="up"><a href="#contents">Contents</a></p></section>\n'
_SOURCES = (
    ("Second-order collapse, concentration, λ, r and C", "arXiv:2604.27398", "https://arxiv.org/abs/2604.27398"),
    ("Length collapse, σₐ and attention temperature", "arXiv:2410.24200", "https://arxiv.org/abs/2410.24200"),
)


def to_html(diagnosis: Diagnosis, *, command: str | None = None) -> str:
    """Return the HTML page of a diagnosis.

    It needs plotly (`pip install 'cenote[report]'`), whose script of about 5 MB becomes part of the page. A content
    security policy forbids network access and scripts other than the page's own. The page names `command` as the
    command line that made it.
    """
    check_diagnosis(diagnosis)
    sections = build_sections(diagnosis)
    title = f"{join_names(model_names(diagnosis.models)) or 'No model'} on {diagnosis.texts.source} – Cenote diagnosis"
    figures = [figure for section in sections for figure in section.figures]
    scripts = [_plotly(), _file("page.js")] if figures else []
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n',
            f"<title>{escape_html(title)}</title>\n<style>\n{_file('page.css')}</style>\n</head>\n<body>\n",
            '<a class="skip" href="#main">Skip to the verdicts</a>\n',
            _header(diagnosis, sections),
            '<main id="main" tabindex="-1">\n',
            _verdicts(diagnosis),
            *(_section(section) for section in sections),
            _provenance(diagnosis, command),
            "</main>\n",
            "<footer><p>Made by Cenote. This page is complete in one file and loads nothing.</p></footer>\n",
            f'<script type="application/json" id="data">{script_json(_data(diagnosis, figures))}</script>\n',
            *(f"<script>{script}</script>\n" for script in scripts),
            "</body>\n</html>\n",
        )
    )


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise CenoteError("the HTML report needs plotly, which is missing: pip install 'cenote[report]'") from None
    return str(get_plotlyjs())


def _file(name: str) -> str:
    return resources.files("cenote.report").joinpath(name).read_text("utf-8")


def _policy(scripts: list[str]) -> str:
    """Return a content security policy that allows only these scripts, by hash, and inline styles and images."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    # plotly's script sets styles, which hashes cannot allow.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _data(diagnosis: Diagnosis, figures: list[Figure]) -> dict[str, Any]:
    """Return the data of page.js. The label of an excerpt is escaped for plotly; its text is shown as text."""
    drawn = {figure.key: {"data": figure.data, "layout": figure.layout} for figure in figures}
    excerpts = diagnosis.excerpts if any(figure.has_pairs for figure in figures) else ()
    labels = (f"<b>{plotly_label(one.id, lines=1)}</b><br>{plotly_label(one.text)}" for one in excerpts)
    shown = [{"id": one.id, "text": one.text, "label": label} for one, label in zip(excerpts, labels, strict=True)]
    return {"figures": drawn, "excerpts": shown}


def _header(diagnosis: Diagnosis, sections: tuple[Section, ...]) -> str:
    texts = diagnosis.texts
    models = [f"<bdi>{escape_html(name)}</bdi>" for name in model_names(diagnosis.models)]
    part = "" if texts.used == texts.given else f"{texts.used:,} of "
    lead = f"Read: {part}{pluralise(texts.given, 'text')} from <bdi class='source'>{escape_html(texts.source)}</bdi>"
    lead += f", by {pluralise(len(models), 'model')}." if len(models) > 1 else "."
    lead += f" {were_left_out(texts.empty, 'empty text')}." if texts.empty else ""
    grades = [verdict.grade for verdict in diagnosis.verdicts]
    counts = "".join(
        f"<li>{markup.render_grade(name)} <b>{grades.count(name)}</b></li>" for name in GRADES if name in grades
    )
    chapters = [("verdicts", "Verdicts"), *((one.key, one.title) for one in sections), ("methods", "Methods")]
    links = "".join(f'<li><a href="#chapter-{key}">{escape_html(title)}</a></li>' for key, title in chapters)
    return (
        f'<header class="head"><p class="eyebrow">Cenote diagnosis</p><h1>{join_names(models) or "No model"}</h1>'
        f'<p class="lead">{lead}</p><ul class="counts" aria-label="Verdicts by grade">{counts}</ul>'
        f'<nav id="contents" aria-label="Contents" tabindex="-1"><p>Contents</p><ul>{links}</ul></nav></header>\n'
    )


def _verdicts(diagnosis: Diagnosis) -> str:
    cards = "\n".join(markup.render_card(verdict, place) for place, verdict in enumerate(diagnosis.verdicts))
    return (
        '<section id="chapter-verdicts"><h2>Verdicts</h2>'
        f"{markup.render_overview(diagnosis.verdicts)}{cards or '<p>There are no verdicts.</p>'}{_UP}"
    )


def _section(section: Section) -> str:
    figures = "".join(map(markup.render_figure, section.figures))
    return (
        f'<section id="chapter-{section.key}"><h2>{escape_html(section.title)}</h2>'
        f'<p class="intro">{escape_html(section.intro)}</p>'
        f"{f'<div class=figures>{figures}</div>' if figures else ''}{markup.render_notes(section.notes)}"
        f"{''.join(map(markup.render_table, section.tables))}{_UP}"
    )


def _provenance(diagnosis: Diagnosis, command: str | None) -> str:
    terms = "".join(
        f"<div><dt>{escape_html(term)}</dt><dd>{escape_html(meaning)}</dd></div>"
        for term, meaning in build_glossary(diagnosis).items()
    )
    sources = "".join(
        f'<li>{escape_html(what)}: <a href="{url}" rel="noreferrer">{name}</a></li>' for what, name, url in _SOURCES
    )
    wide, narrow = (
        "".join(markup.render_table(table) for table in found if not table.is_empty)
        for found in ((tables.models(diagnosis), tables.thresholds()), tables.provenance(diagnosis, command))
    )
    return (
        '<section id="chapter-methods"><h2>Methods and provenance</h2>'
        '<p class="intro">The meaning of the measures, and what is needed to repeat the diagnosis.</p>'
        f'<dl class="glossary">{terms}</dl>'
        f'<ul class="sources">{sources}</ul>{wide}<div class="lists">{narrow}</div>{_UP}'
    )
