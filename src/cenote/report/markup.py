"""HTML of verdicts, tables and figures. Texts are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cenote.records import Grade, Verdict
from cenote.report.formatting import escape_html
from cenote.report.plots import Entry, Figure
from cenote.report.tables import Table, group_verdicts

# Each grade has its own shape, so that colour is not needed: an octagon, a diamond, a triangle, a ring with a tick, a
# dashed ring.
_SHAPES: dict[Grade, str] = {
    "severe": '<path d="M7 2h6l5 5v6l-5 5H7l-5-5V7z" class="solid"/><path d="M10 5.8v5M10 13.6v.6" class="cut"/>',
    "moderate": '<path d="M10 1.6 18.4 10 10 18.4 1.6 10z" class="solid"/><path d="M10 6v4.6M10 13.2v.6" class="cut"/>',
    "slight": '<path d="M10 3 18 17H2z" class="open"/>',
    "none": '<circle cx="10" cy="10" r="8" class="open"/><path d="m6.4 10.4 2.5 2.5 4.8-5.4" class="open"/>',
    "unknown": '<circle cx="10" cy="10" r="8" class="open" stroke-dasharray="3 3"/><path d="M7.5 10h5" class="open"/>',
}
# Dash patterns in SVG, by plotly's names.
_DASHES = {
    "solid": "none",
    "dash": "6 4",
    "dot": "1.5 3.5",
    "dashdot": "6 3 1.5 3",
    "longdash": "10 4",
    "longdashdot": "10 3 1.5 3",
}
# Symbols as SVG paths in the middle of a swatch of 36 by 12, by plotly's names.
_SYMBOLS = {
    "circle": "M14 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M14.3 2.3h7.4v7.4h-7.4z",
    "diamond": "M18 1 23 6 18 11 13 6z",
    "triangle-up": "M18 1.5 22.6 10H13.4z",
    "cross": "M16.5 2h3v2.5H22v3h-2.5V10h-3V7.500H14v-3h2.500z",
    "star": "m18 1 1.3 3.400 3.600.2-2.800 2.300.9 3.500-3-2-3 2 .9-3.500-2.800-2.300 3.600-.2z",
    "hexagon": "M18 1.500 22 3.800v4.400l-4 2.300-4-2.300V3.800z",
}


def render_grade(name: Grade) -> str:
    """Return a grade as a shape and a word."""
    icon = f'<svg viewBox="0 0 20 20" aria-hidden="true">{_SHAPES[name]}</svg>'
    return f'<span class="grade {name}">{icon}<span>{name}</span></span>'


def render_card(verdict: Verdict, place: int) -> str:
    """Return a verdict: the finding, then advice, evidence and caveat."""
    parts = (
        ("What to do", verdict.advice, "advice"),
        ("Evidence", verdict.evidence, ""),
        ("Caveat", verdict.limit, ""),
    )
    said = "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd dir="auto">{escape_html(text)}</dd></div>'
        for name, text, kind in parts
        if text.strip()
    )
    return (
        f'<article class="verdict {verdict.grade}" id="verdict-{place}" aria-labelledby="verdict-{place}-title">'
        f'<header>{render_grade(verdict.grade)}<h3 id="verdict-{place}-title">{escape_html(verdict.subject)}</h3>'
        f'<p class="model"><bdi>{escape_html(verdict.model)}</bdi></p></header>'
        f'<div><p class="finding" dir="auto">{escape_html(verdict.finding)}</p><dl>{said}</dl></div></article>'
    )


def render_overview(verdicts: Sequence[Verdict]) -> str:
    """Return the table of grades by model and subject, with links to the verdicts; empty for a single model."""
    models, subjects = group_verdicts(verdicts)
    if not models:
        return ""
    rows = []
    for subject, cells in subjects.items():
        row = ""
        for places in cells:
            links = (f'<a href="#verdict-{at}">{render_grade(verdicts[at].grade)}</a>' for at in places)
            row += f"<td>{'<br>'.join(links) or '–'}</td>"
        rows.append(f'<tr><th scope="row">{escape_html(subject)}</th>{row}</tr>')
    heads = "".join(f'<th scope="col"><bdi>{escape_html(model)}</bdi></th>' for model in models)
    head = f'<thead><tr><th scope="col">subject</th>{heads}</tr></thead>'
    content = f'<table class="overview">{head}<tbody>{"".join(rows)}</tbody></table>'
    return scroll_box("Verdicts at a glance", content)


def scroll_box(name: str, content: str) -> str:
    """Return a box that scrolls sideways, also by keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape_html(name)}">{content}</div>'


def render_table(found: Table) -> str:
    """Return a table that folds under its caption."""
    heads = "".join(
        f'<th scope="col" class="{"words" if column in found.words else ""}"><bdi>{escape_html(head)}</bdi></th>'
        for column, head in enumerate(found.head)
    )
    rows = ""
    for name, *cells in found.rows:
        row = ""
        for column, cell in enumerate(cells, 1):
            kind = ' class="words" dir="auto"' if column in found.words else ""
            row += f"<td{kind}>{escape_html(cell)}</td>"
        rows += f'<tr><th scope="row">{escape_html(name)}</th>{row}</tr>'
    content = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        f'<details class="table" id="{found.key}"{" open" if found.open else ""}>'
        f"<summary>{escape_html(found.caption)}</summary>{scroll_box(found.caption, content)}</details>"
    )


def render_figure(found: Figure) -> str:
    """Return a figure: title, reading, legend, an empty plot for page.js, and notes."""
    label = escape_html(f"{found.title}. {found.reading} The tables of this section hold the numbers.")
    readout = (
        '<div class="readout" aria-live="polite"><p>Point at a pair, or touch it, to read its two texts here.</p></div>'
        if found.has_pairs
        else ""
    )
    return (
        f'<figure id="{found.key}"{" class=wide" if found.has_pairs else ""}><h3>{escape_html(found.title)}</h3>'
        f'<p class="reading">{escape_html(found.reading)}</p>'
        f'<div class="legend" role="group" aria-label="Shown in this figure">{"".join(map(_entry, found.legend))}</div>'
        f'<div class="plot" data-figure="{found.key}" role="img" aria-label="{label}"></div>'
        f'<div class="after">{readout}{render_notes(found.notes)}</div></figure>'
    )


def _entry(found: Entry) -> str:
    look, drawn = found.look, ""
    if found.line:
        drawn += f'<path d="M1 6h34" stroke-dasharray="{_DASHES[look.dash]}"/>'
    if found.points:
        name, *kind = look.symbol.split("-open")
        drawn += f'<path d="{_SYMBOLS[name]}" class="mark{" hollow" if kind else ""}"/>'
    colour = look.colour.removeprefix("@")
    return (
        f'<button type="button" data-group="{look.key}" aria-pressed="{str(found.shown).lower()}">'
        f'<svg viewBox="0 0 36 12" aria-hidden="true" style="--series:var(--{colour})">{drawn}</svg>'
        f"<bdi>{escape_html(look.label)}</bdi></button>"
    )


def render_notes(lines: Iterable[str]) -> str:
    """Return notes as a list."""
    items = "".join(f'<li dir="auto">{escape_html(line)}</li>' for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""
