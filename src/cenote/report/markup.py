"""HTML of the account, verdicts, tables and figures. Texts are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cenote.records import Example, Excerpt, Grade, Verdict
from cenote.report.account import KINDS, Answer, Kind, Search, Share, describe_shares
from cenote.report.formatting import escape_html, html_prose
from cenote.report.plots import Entry, Figure
from cenote.report.svg import draw_bar, draw_figure, draw_fill, draw_interval, draw_scale, draw_swatch
from cenote.report.tables import Table, group_verdicts
from cenote.wording import pluralise

# Each grade has its own shape, so that colour is not needed: an octagon, a diamond, a triangle, a ring with a tick, a
# dashed ring, and lines of text for what is described and not judged.
_SHAPES: dict[Grade, str] = {
    "severe": '<path d="M7 2h6l5 5v6l-5 5H7l-5-5V7z" class="solid"/><path d="M10 5.8v5M10 13.6v.6" class="gap"/>',
    "moderate": '<path d="M10 1.6 18.4 10 10 18.4 1.6 10z" class="solid"/><path d="M10 6v4.6M10 13.2v.6" class="gap"/>',
    "slight": '<path d="M10 3 18 17H2z" class="open"/>',
    "fine": '<circle cx="10" cy="10" r="8" class="open"/><path d="m6.4 10.4 2.5 2.5 4.8-5.4" class="open"/>',
    "unknown": '<circle cx="10" cy="10" r="8" class="open" stroke-dasharray="3 3"/><path d="M7.5 10h5" class="open"/>',
    "described": '<path d="M3 5h14M3 10h14M3 15h8" class="open"/>',
}


def render_grade(name: Grade) -> str:
    """Return a grade as a shape and a word."""
    icon = f'<svg viewBox="0 0 20 20" aria-hidden="true">{_SHAPES[name]}</svg>'
    return f'<span class="grade {name}">{icon}<span>{name}</span></span>'


def render_answer(answer: Answer, *, named: bool) -> str:
    """Return what a search loses by one model: bars of 100, their numbers, and what to do."""
    name = f"<h3><bdi>{escape_html(answer.name)}</bdi></h3>" if named else ""
    kind = "answer named" if named else "answer"
    return f'<div class="{kind}">{name}{"".join(_search(answer.name, search) for search in answer.searches)}</div>'


def _search(name: str, search: Search) -> str:
    drawn = ""
    if search.shares is not None:
        found = list(describe_shares(search.shares))
        words = f"{name}: of 100, {'; '.join(share.in_words for share in found)}."
        bar = draw_bar([(share.kind.style, share.count, share.in_words) for share in found], words)
        drawn = f'{bar}<ul class="shares">{"".join(map(_share, found))}</ul>'
    advice = f'<p class="advice"><b>What to do</b> {_begin(search.advice)}</p>' if search.advice else ""
    return f'<p class="loss">{escape_html(search.loss)}</p>{drawn}{advice}'


def _share(share: Share) -> str:
    """Return a number of the account with its swatch, its name and its interval."""
    kind, interval = share.kind, f" <small>{share.interval}</small>" if share.interval else ""
    number = f"<span><b>{share.count}</b> {kind.name}{interval}</span>"
    return f'<li title="{escape_html(share.meaning)}">{draw_fill(kind.style)}{number}</li>'


def _begin(text: str) -> str:
    """Return prose whose first sentence stands out."""
    first, point, rest = text.partition(". ")
    return f"<strong>{html_prose(first + point.rstrip())}</strong> {html_prose(rest)}"


def render_examples(
    kind: Kind, found: Sequence[tuple[str, Sequence[Example]]], excerpts: Sequence[Excerpt], *, named: bool
) -> str:
    """Return the meaning of a share, and under it the sentences that show it, with their texts; folded."""
    title = f"{draw_fill(kind.style)}<b>{kind.name[0].upper()}{kind.name[1:]}</b>: {kind.meaning}"
    if not found:
        return f'<p class="example none">{title}</p>'
    content = ""
    for name, examples in found:
        content += f"<h4><bdi>{escape_html(name)}</bdi></h4>" if named else ""
        content += "".join(_example(one, excerpts) for one in examples)
    count = pluralise(sum(len(examples) for _, examples in found), "example")
    return (
        f'<details class="example" id="examples-{kind.style}"><summary>{title} <span class="count">{count}</span>'
        f"</summary>{content}</details>"
    )


def _example(example: Example, excerpts: Sequence[Excerpt]) -> str:
    sentence, text = excerpts[example.sentence], excerpts[example.document]
    parts = [
        (f"{example.position.capitalize()} sentence of {text.id}", escape_html(sentence.text)),
        ("Its text", _marked(text.text, sentence.text)),
    ]
    if example.instead is not None:
        instead = excerpts[example.instead]
        parts.append((f"Found instead: {instead.id}", escape_html(instead.text)))
    said = "".join(f'<dt>{escape_html(name)}</dt><dd dir="auto">{words}</dd>' for name, words in parts)
    return f"<dl>{said}</dl>"


def _marked(text: str, sentence: str) -> str:
    """Return a text in which the sentence is marked, if its beginning holds it."""
    before, found, after = text.partition(sentence)
    marked = f"<mark>{escape_html(found)}</mark>" if found else ""
    return f"{escape_html(before)}{marked}{escape_html(after)}"


def render_card(verdict: Verdict, place: int, as_in: tuple[int, str] | None = None) -> str:
    """Return a verdict: the finding, then advice, evidence and caveat.

    `as_in` is the place and the subject of an earlier verdict with the same advice.
    """
    advice = html_prose(verdict.advice)
    if as_in is not None:
        advice = f'As under <a href="#verdict-{as_in[0]}">{escape_html(as_in[1])}</a>.'
    parts = (
        ("What to do", advice, "advice"),
        ("Evidence", html_prose(verdict.evidence), ""),
        ("Caveat", html_prose(verdict.limit), ""),
    )
    said = "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd dir="auto">{text}</dd></div>'
        for name, text, kind in parts
        if text.strip()
    )
    return (
        f'<article class="verdict {verdict.grade}" id="verdict-{place}" aria-labelledby="verdict-{place}-title">'
        f'<header>{render_grade(verdict.grade)}<h3 id="verdict-{place}-title">{escape_html(verdict.subject)}</h3>'
        f'<p class="model"><bdi>{escape_html(verdict.model)}</bdi></p></header>'
        f'<div><p class="finding" dir="auto">{html_prose(verdict.finding)}</p><dl>{said}</dl></div></article>'
    )


def render_overview(verdicts: Sequence[Verdict]) -> str:
    """Return the table of grades by model and subject, with links to the verdicts; empty for a single model."""
    models, subjects = group_verdicts(verdicts)
    if not models:
        return ""
    rows = []
    for subject, cells in subjects.items():
        row = ""
        for model, places in zip(models, cells, strict=True):
            links = (f'<a href="#verdict-{at}">{render_grade(verdicts[at].grade)}</a>' for at in places)
            row += f'<td data-label="{escape_html(model)}">{"<br>".join(links) or "–"}</td>'
        rows.append(f'<tr><th scope="row">{escape_html(subject)}</th>{row}</tr>')
    heads = "".join(f'<th scope="col"><bdi>{escape_html(model)}</bdi></th>' for model in models)
    head = f'<thead><tr><th scope="col">subject</th>{heads}</tr></thead>'
    content = f'<table class="overview stacked">{head}<tbody>{"".join(rows)}</tbody></table>'
    return scroll_box("Verdicts at a glance", content)


def render_chapter(key: str, title: str, intro: str, content: str) -> str:
    """Return a chapter of a page from HTML; the page is long, so a link at its end leads back to the contents."""
    lead = f'<p class="intro">{escape_html(intro)}</p>' if intro else ""
    return (
        f'<section id="chapter-{key}"><h2>{escape_html(title)}</h2>{lead}{content}'
        '<p class="up"><a href="#contents">Contents</a></p></section>\n'
    )


def scroll_box(name: str, content: str) -> str:
    """Return a box that scrolls sideways, also by keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape_html(name)}">{content}</div>'


def render_table(found: Table) -> str:
    """Return a table that folds under its caption."""
    heads = "".join(
        f'<th scope="col"{_words(column, found)}><bdi>{escape_html(head)}</bdi></th>'
        for column, head in enumerate(found.head)
    )
    rows, values = "", found.strips.values if found.strips else ()
    for place, (name, *cells) in enumerate(found.rows):
        row = ""
        for column, cell in enumerate(cells, 1):
            kind = f'{_words(column, found)} dir="auto"' if column in found.words else ""
            label = f' data-label="{escape_html(found.head[column])}"' if found.stacked else ""
            row += f"<td{kind}{label}>{escape_html(cell)}</td>"
        row += f'<td class="bars">{_row_bar(name, found.bars[place])}</td>' if found.bars else ""
        row += f'<td class="strip">{draw_interval(found.strips.axis, values[place])}</td>' if found.strips else ""
        start = '<tr class="strong">' if place in found.strong else "<tr>"
        rows += f'{start}<th scope="row">{escape_html(name)}</th>{row}</tr>'
    heads += '<th scope="col" class="bars">as a bar</th>' if found.bars else ""
    heads += f'<th scope="col" class="strip">{draw_scale(found.strips.axis)}</th>' if found.strips else ""
    start = '<table class="stacked">' if found.stacked else "<table>"
    content = f"{start}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        f'<details class="table" id="{found.key}"{" open" if found.open else ""}>'
        f"<summary>{escape_html(found.caption)}</summary>{scroll_box(found.caption, content)}</details>"
    )


def _words(column: int, found: Table) -> str:
    return ' class="words"' if column in found.words else ""


def _row_bar(name: str, counts: Sequence[int]) -> str:
    words = [f"{count} {kind.name}" for kind, count in zip(KINDS, counts, strict=True)]
    shares = [(kind.style, count, text) for kind, count, text in zip(KINDS, counts, words, strict=True)]
    return draw_bar(shares, f"{name}: {', '.join(words)}", numbers=False)


def render_figure(found: Figure) -> str:
    """Return a figure: title, reading, legend, plot and notes. One that only researchers read is folded."""
    label = escape_html(f"{found.title}. {found.reading} The tables of this section hold the numbers.")
    readout = (
        '<div class="readout" aria-live="polite"><p>Point at a pair, or touch it, to read its two texts here.</p></div>'
        if found.has_pairs
        else ""
    )
    title = f"<h3>{escape_html(found.title)}</h3>"
    entries = "".join(map(_entry, found.legend))
    legend = f'<div class="legend" role="group" aria-label="Shown in this figure">{entries}</div>' if entries else ""
    content = (
        f'<p class="reading">{escape_html(found.reading)}</p>'
        f"{legend}"
        f'<p class="up-title" aria-hidden="true">{escape_html(found.y.title)}</p>'
        f'<div class="plot" role="img" aria-label="{label}">{draw_figure(found)}</div>'
        f'<p class="across-title" aria-hidden="true">{escape_html(found.x.title)}</p>'
        f'<div class="after">{readout}{render_notes(found.notes)}</div>'
    )
    if not found.decision:
        return f'<figure id="{found.key}">{title}{content}</figure>'
    decision = f'<span class="decision">{escape_html(found.decision)}</span>'
    return (
        f'<details class="fold"><summary>{title}{decision}</summary><figure id="{found.key}">{content}</figure>'
        "</details>"
    )


def _entry(found: Entry) -> str:
    return (
        f'<button type="button" data-group="{found.look.key}" aria-pressed="{str(found.shown).lower()}">'
        f"{draw_swatch(found)}<bdi>{escape_html(found.look.label)}</bdi></button>"
    )


def render_notes(lines: Iterable[str]) -> str:
    """Return notes as a list."""
    items = "".join(f'<li dir="auto">{escape_html(line)}</li>' for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""
