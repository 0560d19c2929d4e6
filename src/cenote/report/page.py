"""The report as one page: it holds all it needs, loads nothing, and may run no script but its own."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from cenote.errors import CenoteError
from cenote.phrases import counted
from cenote.report import markup, tables
from cenote.report.plots import Figure
from cenote.report.sections import Section, checked, glossary, sections_of
from cenote.report.series import names
from cenote.report.writing import escaped, in_label, in_script, listed
from cenote.results import Diagnosis

# At the end of each chapter: the page is long, and on a phone longer.
_UP = '<p class="up"><a href="#contents">Contents</a></p></section>\n'
_SOURCES = (
    ("Second-order collapse, concentration, λ, r and C", "arXiv:2604.27398", "https://arxiv.org/abs/2604.27398"),
    ("Length collapse, σₐ and attention temperature", "arXiv:2410.24200", "https://arxiv.org/abs/2410.24200"),
)


def to_html(diagnosis: Diagnosis, *, command: str | None = None) -> str:
    """The page of a diagnosis.

    Needs plotly, which is in `pip install 'cenote[report]'`; its script is part of the page, about 5 MB of text. A
    content security policy forbids the page all network, and all scripts but those it was written with.

    Args:
        diagnosis: what `cenote.diagnose` returned, or `Diagnosis.from_json` read.
        command: the command line to name as the page's origin.
    """
    checked(diagnosis)
    sections = sections_of(diagnosis)
    figures = [figure for section in sections for figure in section.figures]
    scripts = [_plotly(), _file("page.js")] if figures else []
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n',
            f"<title>{escaped(_title(diagnosis))}</title>\n<style>\n{_file('page.css')}</style>\n</head>\n<body>\n",
            '<a class="skip" href="#main">Skip to the verdicts</a>\n',
            _header(diagnosis, sections),
            '<main id="main" tabindex="-1">\n',
            _verdicts(diagnosis),
            *(_section(section) for section in sections),
            _provenance(diagnosis, command),
            "</main>\n",
            "<footer><p>Made by Cenote. This page loads nothing from elsewhere: keep it, send it on.</p></footer>\n",
            f'<script type="application/json" id="data">{in_script(_data(diagnosis, figures))}</script>\n',
            *(f"<script>{script}</script>\n" for script in scripts),
            "</body>\n</html>\n",
        )
    )


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise CenoteError(
            "the HTML report draws with plotly, which is missing: pip install 'cenote[report]'"
        ) from error
    return str(get_plotlyjs())


def _file(name: str) -> str:
    return resources.files("cenote.report").joinpath(name).read_text("utf-8")


def _policy(scripts: list[str]) -> str:
    """Nothing is allowed but our scripts, known by their hashes, styles within the page and images within the page."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    # plotly sets styles from its script, which hashes cannot name.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _title(diagnosis: Diagnosis) -> str:
    return f"{listed(names(diagnosis.models)) or 'No model'} on {diagnosis.texts.source} – Cenote diagnosis"


def _data(diagnosis: Diagnosis, figures: list[Figure]) -> dict[str, Any]:
    """What the page's script draws. An excerpt's label is plotly's, its text is set as text."""
    return {
        "figures": {figure.key: {"data": figure.data, "layout": figure.layout} for figure in figures},
        "excerpts": [
            {"id": one.id, "text": one.text, "label": f"<b>{in_label(one.id, lines=1)}</b><br>{in_label(one.text)}"}
            for one in diagnosis.excerpts
        ]
        if any(_has_pairs(figure) for figure in figures)
        else [],
    }


def _has_pairs(figure: Figure) -> bool:
    return any("customdata" in trace for trace in figure.data)


def _header(diagnosis: Diagnosis, sections: tuple[Section, ...]) -> str:
    texts = diagnosis.texts
    models = [f"<bdi>{escaped(name)}</bdi>" for name in names(diagnosis.models)]
    read = counted(texts.used, "text")
    if texts.used != texts.given:
        read = f"{texts.used:,} of {counted(texts.given, 'text')}"
    lead = f"Read: {read} from <bdi class='source'>{escaped(texts.source)}</bdi>"
    if len(models) > 1:
        lead += f", by {counted(len(models), 'model')}"
    left = (
        f" {counted(texts.empty, 'empty text')} {'was' if texts.empty == 1 else 'were'} left out."
        if texts.empty
        else ""
    )
    grades = [verdict.grade for verdict in diagnosis.verdicts]
    counts = "".join(
        f"<li>{markup.grade(name)} <b>{grades.count(name)}</b></li>" for name in markup.GRADES if name in grades
    )
    chapters = [("verdicts", "Verdicts"), *((one.key, one.title) for one in sections), ("methods", "Methods")]
    links = "".join(f'<li><a href="#chapter-{key}">{escaped(title)}</a></li>' for key, title in chapters)
    return (
        f'<header class="head"><p class="eyebrow">Cenote diagnosis</p><h1>{listed(models) or "No model"}</h1>'
        f'<p class="lead">{lead}.{left}</p><ul class="counts" aria-label="Verdicts by grade">{counts}</ul>'
        f'<nav id="contents" aria-label="Contents" tabindex="-1"><p>Contents</p><ul>{links}</ul></nav></header>\n'
    )


def _verdicts(diagnosis: Diagnosis) -> str:
    cards = "\n".join(markup.card(verdict, place) for place, verdict in enumerate(diagnosis.verdicts))
    return (
        '<section id="chapter-verdicts"><h2>Verdicts</h2>'
        f"{markup.overview(diagnosis.verdicts)}{cards or '<p>Nothing was judged.</p>'}{_UP}"
    )


def _section(section: Section) -> str:
    figures = "".join(markup.figure(figure, pairs=_has_pairs(figure)) for figure in section.figures)
    return (
        f'<section id="chapter-{section.key}"><h2>{escaped(section.title)}</h2>'
        f'<p class="intro">{escaped(section.intro)}</p>'
        f"{f'<div class=figures>{figures}</div>' if figures else ''}{markup.notes(section.notes)}"
        f"{''.join(map(markup.table, section.tables))}{_UP}"
    )


def _provenance(diagnosis: Diagnosis, command: str | None) -> str:
    sources = "".join(
        f'<li>{escaped(what)}: <a href="{url}" rel="noreferrer">{name}</a></li>' for what, name, url in _SOURCES
    )
    found = tables.models(diagnosis), tables.thresholds(), *tables.provenance(diagnosis, command)
    return (
        '<section id="chapter-methods"><h2>Methods and provenance</h2>'
        '<p class="intro">What the measures mean, and what one needs to measure them again.</p>'
        f'<dl class="glossary">{markup.definitions(glossary(diagnosis))}</dl>'
        f'<ul class="sources">{sources}</ul>{"".join(markup.table(one) for one in found[:2] if not one.is_empty)}'
        f'<div class="lists">{"".join(markup.table(one) for one in found[2:] if not one.is_empty)}</div>{_UP}'
    )
