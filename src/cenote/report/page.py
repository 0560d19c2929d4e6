"""The report as one HTML page, which loads nothing and may run no scripts but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from cenote.diagnosis.verdicts.thresholds import GRADES
from cenote.records import Diagnosis, Verdict
from cenote.report import account, markup, tables
from cenote.report.account import KINDS
from cenote.report.formatting import escape_html, join_names, script_json
from cenote.report.sections import Section, build_glossary, build_sections, check_diagnosis
from cenote.report.series import model_names, shown_verdicts
from cenote.report.svg import definitions
from cenote.report.tables import Table
from cenote.wording import pluralise, were_excluded

_SOURCES = (
    ("Second-order collapse, concentration, λ, r and C", "arXiv:2604.27398", "https://arxiv.org/abs/2604.27398"),
    ("Length collapse, σₐ and attention temperature", "arXiv:2410.24200", "https://arxiv.org/abs/2410.24200"),
)


def to_html(diagnosis: Diagnosis, *, command: str | None = None) -> str:
    """Return the HTML page of a diagnosis.

    A content security policy forbids network access, and scripts and styles other than the page's own. The page names
    `command` as the command line that made it.
    """
    check_diagnosis(diagnosis)
    sections = build_sections(diagnosis)
    return render_document(
        f"{join_names(model_names(diagnosis.models)) or 'No model'} on {diagnosis.texts.source} – Cenote diagnosis",
        _header(diagnosis, sections),
        (
            _search(diagnosis),
            _verdicts(shown_verdicts(diagnosis)),
            *map(render_section, sections),
            _provenance(diagnosis, command),
        ),
        skip="Skip to what a search loses",
        data=_data(diagnosis, sections),
        enliven=any(section.figures for section in sections),
    )


def render_document(
    title: str,
    header: str,
    chapters: Iterable[str],
    *,
    skip: str,
    data: Sequence[dict[str, Any]] = (),
    enliven: bool = False,
    styles: Sequence[str] = ("page.css",),
) -> str:
    """Return a page that loads nothing.

    Args:
        title: of the page, not escaped.
        header: the HTML of its head.
        chapters: the HTML of its chapters.
        skip: the words of the link that skips the head.
        data: what the script shows.
        enliven: whether the page has figures, which need the script.
        styles: names of the style sheets.
    """
    scripts = [_file("page.js")] if enliven else []
    style = "".join(map(_file, styles))
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts, style)}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n',
            f"<title>{escape_html(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            f'<a class="skip" href="#main">{escape_html(skip)}</a>\n',
            definitions(),
            header,
            '<main id="main" tabindex="-1">\n',
            *chapters,
            "</main>\n",
            "<footer><p>Made by Cenote. This page is complete in one file and loads nothing.</p></footer>\n",
            f'<script type="application/json" id="data">{script_json(list(data))}</script>\n',
            *(f"<script>{script}</script>\n" for script in scripts),
            "</body>\n</html>\n",
        )
    )


def _file(name: str) -> str:
    return resources.files("cenote.report").joinpath(name).read_text("utf-8")


def _policy(scripts: list[str], style: str) -> str:
    """Return a content security policy that allows only these scripts and this style, by hash."""
    allowed = " ".join(map(_hash, scripts)) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _data(diagnosis: Diagnosis, sections: tuple[Section, ...]) -> list[dict[str, Any]]:
    """Return the texts that page.js shows for a pair."""
    if not any(figure.has_pairs for section in sections for figure in section.figures):
        return []
    return [{"id": one.id, "text": one.text} for one in diagnosis.excerpts]


def _header(diagnosis: Diagnosis, sections: tuple[Section, ...]) -> str:
    texts = diagnosis.texts
    models = [f"<bdi>{escape_html(name)}</bdi>" for name in model_names(diagnosis.models)]
    part = "" if texts.used == texts.given else f"{texts.used:,} of "
    lead = f"Read: {part}{pluralise(texts.given, 'text')} from <bdi class='source'>{escape_html(texts.source)}</bdi>"
    lead += f", by {pluralise(len(models), 'model')}." if len(models) > 1 else "."
    lead += f" {were_excluded(texts.empty, 'empty text')}." if texts.empty else ""
    chapters = [("search", "Search"), ("verdicts", "Verdicts"), *((one.key, one.label) for one in sections)]
    return render_header("Cenote diagnosis", join_names(models) or "No model", lead, chapters)


def render_header(eyebrow: str, heading: str, lead: str, chapters: Iterable[tuple[str, str]]) -> str:
    """Return the head of a page, from escaped HTML, with links to its chapters by key and label."""
    links = "".join(
        f'<li><a href="#chapter-{key}">{escape_html(label)}</a></li>'
        for key, label in (*chapters, ("methods", "Methods"))
    )
    return (
        f'<header class="head"><p class="eyebrow">{eyebrow}</p><h1>{heading}</h1>'
        f'<p class="lead">{lead}</p>'
        f'<nav id="contents" aria-label="Contents" tabindex="-1"><ul>{links}</ul></nav></header>\n'
    )


def _search(diagnosis: Diagnosis) -> str:
    answers = account.collect_answers(diagnosis)
    several = len(answers) > 1
    drawn = "".join(markup.render_answer(answer, named=several) for answer in answers) or "<p>No model was read.</p>"
    measured = any(search.shares is not None for answer in answers for search in answer.searches)
    rest = ""
    if measured:
        limit = account.find_limit(diagnosis)
        rest = f'<p class="intro">{escape_html(limit)}</p>' if limit else ""
        for kind in KINDS:
            examples = account.collect_examples(answers, kind)
            rest += markup.render_examples(kind, examples, diagnosis.excerpts, named=several)
        rest += render_tables(*account.build_tables(answers, named=several))
        rest += markup.render_notes(account.describe_texts(answers))
    intro = account.introduce(answers) if measured else ""
    return markup.render_chapter("search", "What a search over these texts loses", intro, f"{drawn}{rest}")


def _verdicts(verdicts: tuple[Verdict, ...]) -> str:
    cards: dict[bool, list[str]] = {False: [], True: []}
    first: dict[tuple[str, str], int] = {}  # the verdict that gives an advice first
    for place, verdict in enumerate(verdicts):
        said = first.setdefault((verdict.model, verdict.advice), place)
        repeats = said != place and verdict.advice.strip()
        card = markup.render_card(verdict, place, as_in=(said, verdicts[said].subject) if repeats else None)
        cards[verdict.grade == "described"].append(card)
    grades = [verdict.grade for verdict in verdicts]
    counts = "".join(
        f"<li>{markup.render_grade(name)} <b>{grades.count(name)}</b></li>" for name in GRADES if name in grades
    )
    described = ""
    if cards[True]:
        described = (
            '<details class="described" id="described"><summary>Described, not graded: '
            f"{escape_html(join_names(_subjects(verdicts)))}</summary>{''.join(cards[True])}</details>"
        )
    content = (
        f'<ul class="counts" aria-label="Verdicts by grade">{counts}</ul>{markup.render_overview(verdicts)}'
        f"{''.join(cards[False]) or ('' if described else '<p>There are no verdicts.</p>')}{described}"
    )
    intro = "The search comes first, then the most costly finding."
    return markup.render_chapter("verdicts", "Verdicts", intro, content)


def _subjects(verdicts: tuple[Verdict, ...]) -> list[str]:
    """Return the subjects that are only described."""
    return list(dict.fromkeys(verdict.subject for verdict in verdicts if verdict.grade == "described"))


def render_section(section: Section) -> str:
    """Return a section as a chapter: figures, open tables, what is folded, notes."""
    drawn = "".join(markup.render_figure(figure) for figure in section.figures if not figure.decision)
    folded = "".join(markup.render_figure(figure) for figure in section.figures if figure.decision)
    opened, closed = (render_tables(*(one for one in section.tables if one.open is state)) for state in (True, False))
    content = (
        f"{f'<div class=figures>{drawn}</div>' if drawn else ''}{opened}{folded}{closed}"
        f"{markup.render_notes(section.notes)}"
    )
    return markup.render_chapter(section.key, section.title, section.intro, content)


def render_tables(*found: Table) -> str:
    """Return the tables that are not empty."""
    return "".join(markup.render_table(table) for table in found if not table.is_empty)


def _provenance(diagnosis: Diagnosis, command: str | None) -> str:
    terms = "".join(
        f"<div><dt>{escape_html(term)}</dt><dd>{escape_html(meaning)}</dd></div>"
        for term, meaning in build_glossary(diagnosis).items()
    )
    sources = "".join(
        f'<li>{escape_html(what)}: <a href="{url}" rel="noreferrer">{name}</a></li>' for what, name, url in _SOURCES
    )
    wide = render_tables(tables.models(diagnosis), tables.thresholds())
    content = (
        f'<dl class="glossary">{terms}</dl><ul class="sources">{sources}</ul>'
        f'{wide}<div class="lists">{render_tables(*tables.provenance(diagnosis, command))}</div>'
    )
    intro = "The meaning of the measures, and what is needed to repeat the diagnosis."
    return markup.render_chapter("methods", "Methods and provenance", intro, content)
