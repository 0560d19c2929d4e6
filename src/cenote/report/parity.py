"""A comparison of two sides as a page that loads nothing, and as Markdown."""

from __future__ import annotations

from cenote.errors import BadInput
from cenote.parity_records import LEAST, Parity, Side
from cenote.report import markup
from cenote.report.formatting import (
    MISSING,
    clip_text,
    escape_html,
    escape_markdown,
    format_bin,
    format_share,
    html_prose,
    markdown_prose,
)
from cenote.report.markdown import list_section, list_table
from cenote.report.page import render_document, render_header, render_section, render_tables
from cenote.report.sections import Section
from cenote.report.tables import Table, list_values, repeatable
from cenote.wording import pluralise

# Characters of a text in a table.
_TEXT = 300


def to_html(parity: Parity, command: str | None = None) -> str:
    """Return the page of a comparison, which names `command` as the command line that made it."""
    _check(parity)
    sections = build_sections(parity)
    chapters = [(section.key, section.label) for section in sections]
    heading = f"<bdi>{escape_html(parity.left.name)}</bdi> and <bdi>{escape_html(parity.right.name)}</bdi>"
    return render_document(
        f"{parity.left.name} and {parity.right.name} – Cenote parity",
        render_header("Cenote parity", heading, escape_html(_lead(parity)), [("answer", "Answer"), *chapters]),
        (_answer(parity), *map(render_section, sections), _provenance(parity, command)),
        skip="Skip to the answer",
    )


def to_markdown(parity: Parity, command: str | None = None) -> str:
    """Return the answer, the figures and the provenance of a comparison as Markdown."""
    _check(parity)
    names = f"{escape_markdown(parity.left.name)} and {escape_markdown(parity.right.name)}"
    lines = [f"# Cenote parity: {names}", "", escape_markdown(_lead(parity)), ""]
    lines += [f"**{escape_markdown(_verdict(parity))}**", ""]
    for one in parity.findings:
        lines += [f"- Cause: {markdown_prose(one.finding)}", f"- What to do: {markdown_prose(one.remedy)}"]
    lines += [""] if parity.findings else []
    for section in build_sections(parity):
        lines += list_section(section)
    lines += ["## Provenance", ""]
    for table in _lists(parity, command):
        lines += list_table(table)
    return "\n".join(lines)


def build_sections(parity: Parity) -> tuple[Section, ...]:
    """Return the figures, the texts, the ways to ask and the settings that were tried; those that are not empty."""
    built = (
        Section(
            key="figures",
            label="Figures",
            title="How close the vectors are",
            intro=f"The least cosine decides: it has to reach {parity.threshold:g}. Reason: {parity.threshold_reason}.",
            figures=(),
            tables=(_figures(parity), _by_length(parity)),
            notes=parity.notes,
        ),
        Section(
            key="ways",
            label="Other ways to ask",
            title="Do the answers of the right side change?",
            intro="The same texts were asked for again: one by one, beside other texts, several requests at once. A "
            "sound server gives each text the same vector.",
            figures=(),
            tables=(_ways(parity),),
        ),
        Section(
            key="trials",
            label="Settings tried",
            title="Which settings of the left model explain the difference?",
            intro="The left model read texts that differ, and some that agree, with other settings.",
            figures=(),
            tables=(_trials(parity),),
        ),
        Section(
            key="texts",
            label="Texts",
            title="The texts that differ most",
            intro="Texts with the lowest cosines, and texts without a vector.",
            figures=(),
            tables=(_worst(parity), _refused(parity)),
        ),
    )
    return tuple(section for section in built if any(not table.is_empty for table in section.tables))


def _check(parity: Parity) -> None:
    if not isinstance(parity, Parity):
        raise BadInput(f"a report needs a Parity, not {type(parity).__name__}: see Parity.from_json.")


def _lead(parity: Parity) -> str:
    part = "" if parity.texts.given == parity.texts.used else f" of {parity.texts.given:,}"
    return f"Compared on {parity.compared:,}{part} texts from {parity.texts.source}."


def _verdict(parity: Parity) -> str:
    if parity.agrees:
        return "Both sides give the same vectors."
    if parity.findings:
        return "The sides give different vectors."
    return "The sides give different vectors, and no setting that was tried explains it."


def _answer(parity: Parity) -> str:
    found = "".join(
        f'<p class="loss">{html_prose(f"{one.finding[0].upper()}{one.finding[1:]}.")}</p>'
        f'<p class="advice"><b>What to do</b> {html_prose(one.remedy)}</p>'
        for one in parity.findings
    )
    content = f'<div class="answer"><p class="loss">{escape_html(_verdict(parity))}</p>{found}</div>'
    return markup.render_chapter("answer", "Do the sides agree?", "", content)


def _figures(parity: Parity) -> Table:
    rows: list[tuple[str, str]] = [("agrees", "yes" if parity.agrees else "no")]
    if parity.least_cosine is not None and parity.mean_cosine is not None and parity.close is not None:
        rows += [
            ("least cosine", f"{parity.least_cosine:.6f}"),
            ("mean cosine", f"{parity.mean_cosine:.6f}"),
            (f"texts with a cosine of at least {LEAST}", format_share(parity.close)),
        ]
    rows.append(("dimensions, left and right", f"{parity.left.dimensions:,} and {parity.right.dimensions:,}"))
    if parity.neighbours is not None:
        rows.append(("same ten nearest texts", format_share(parity.neighbours.value)))
    rows += [(f"norms, {name}", _norms(side)) for name, side in (("left", parity.left), ("right", parity.right))]
    if parity.norm_ratio is not None:
        low, middle, high = parity.norm_ratio
        rows.append(("norms, right over left", f"{middle:.4f} ({low:.4f} to {high:.4f})"))
    return Table(key="agreement", caption="Agreement", head=("figure", "value"), rows=tuple(rows), open=True)


def _norms(side: Side) -> str:
    if side.norms is None:
        return MISSING
    one = side.norms
    return f"{one.least:.4g} to {one.greatest:.4g}" + (" (normalised)" if one.unit else "")


def _by_length(parity: Parity) -> Table:
    return Table(
        key="lengths",
        caption="By length, in tokens of the left model",
        head=("tokens", "texts", "least cosine", "mean cosine", "differ"),
        rows=tuple(
            (
                format_bin(one.low, one.high),
                f"{one.texts:,}",
                f"{one.least:.6f}",
                f"{one.mean:.6f}",
                f"{one.differ:,}",
            )
            for one in parity.by_length
        ),
        open=True,
        stacked=True,
    )


def _ways(parity: Parity) -> Table:
    return Table(
        key="again",
        caption="The right side against its first answers",
        head=("asked for", "texts", "least cosine", "changed", "vector of another text", "least with the left"),
        rows=tuple(
            (
                one.name,
                f"{one.texts:,}",
                _cosine(one.least),
                f"{one.changed:,}",
                f"{one.misplaced:,}",
                _cosine(one.least_with_left),
            )
            for one in parity.ways
        ),
        open=True,
        stacked=True,
    )


def _cosine(value: float | None) -> str:
    return MISSING if value is None else f"{value:.6f}".replace("-", "−")


def _trials(parity: Parity) -> Table:
    return Table(
        key="settings-tried",
        caption="Settings of the left model",
        head=("setting", "texts", "least cosine", "mean cosine", "explains"),
        rows=tuple(
            (
                one.setting.replace("`", ""),
                f"{one.texts:,}",
                _cosine(one.least),
                _cosine(one.mean),
                format_share(one.explained),
            )
            for one in parity.trials
        ),
        open=True,
        stacked=True,
    )


def _worst(parity: Parity) -> Table:
    return Table(
        key="worst",
        caption="Lowest cosines",
        head=("text", "cosine", "tokens", "norm, right over left", "beginning"),
        rows=tuple(
            (one.id, _cosine(one.cosine), f"{one.tokens:,}", f"{one.norm_ratio:.4f}", clip_text(one.text, _TEXT))
            for one in parity.worst
        ),
        words=(4,),
        open=not parity.agrees,
        stacked=True,
    )


def _refused(parity: Parity) -> Table:
    return Table(
        key="refused",
        caption="Texts without a vector",
        head=("text", "side", "reason"),
        rows=tuple((one.id, one.side, one.reason) for one in parity.refused),
        words=(1, 2),
        open=True,
        stacked=True,
    )


def _lists(parity: Parity, command: str | None) -> tuple[Table, ...]:
    return (
        list_values("left", "Left", _side(parity.left)),
        list_values("right", "Right", _side(parity.right)),
        list_values(
            "read",
            "Texts",
            {
                "source": parity.texts.source,
                "given": f"{parity.texts.given:,}",
                "used": f"{parity.texts.used:,}",
                "fingerprint": parity.texts.fingerprint,
                "answered to the end": "yes" if parity.complete else "no",
            },
        ),
        *repeatable(parity.settings, parity.versions, command),
    )


def _side(side: Side) -> dict[str, str]:
    facts = {"name": side.name, "kind": side.kind, "model": side.model, "dimensions": f"{side.dimensions:,}"}
    return facts | side.declared


def _provenance(parity: Parity, command: str | None) -> str:
    content = f'<div class="lists">{render_tables(*_lists(parity, command))}</div>'
    intro = f"Both sides, the {pluralise(parity.texts.used, 'text')} and the settings that repeat the comparison."
    return markup.render_chapter("methods", "Methods and provenance", intro, content)
