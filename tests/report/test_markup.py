"""HTML of verdicts, tables and figures: escaped, complete, and readable without colour."""

import re

import pytest

from cenote.diagnosis.verdicts.thresholds import GRADES
from cenote.report import markup
from cenote.report.figures import closeness
from cenote.report.plots import Entry
from cenote.report.series import SYMBOLS, all_series
from cenote.report.tables import Table

from ..builders import verdict

EVIL = "<script>alert('1')</script> & \"quoted\""


def test_grades_have_a_word_and_a_shape_each():
    drawn = [markup.render_grade(name) for name in GRADES]
    assert len({re.search("<svg.*</svg>", one)[0] for one in drawn}) == 5
    assert all(f"<span>{name}</span>" in one for name, one in zip(GRADES, drawn, strict=True))


def test_all_texts_of_a_card_are_escaped():
    card = markup.render_card(
        verdict(**dict.fromkeys(("model", "subject", "finding", "evidence", "limit", "advice"), EVIL)), 3
    )
    assert card.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; &quot;quoted&quot;") == 6
    assert "<script" not in card
    assert 'id="verdict-3"' in card


def test_a_card_has_no_empty_parts():
    card = markup.render_card(verdict(evidence="", limit=" "), 0)
    assert "Evidence" not in card
    assert "Limit" not in card
    assert "What to do" in card


def test_several_models_get_an_overview():
    verdicts = [verdict(model=model) for model in ("a", "b")]
    assert markup.render_overview(verdicts[:1]) == ""
    found = markup.render_overview([*verdicts, verdict(model="a", subject="closeness")])
    assert [found.index(f"#verdict-{place}") for place in (0, 1, 2)] == sorted(
        found.index(f"#verdict-{place}") for place in (0, 1, 2)
    )
    assert found.count("<td>–</td>") == 1


def test_the_overview_links_to_every_verdict():
    grades = {"second-order collapse, given pairs": "moderate", "second-order collapse": "slight", "twice": "none"}
    verdicts = [
        verdict(model=model, subject=subject, grade=grade) for model in "ab" for subject, grade in grades.items()
    ]
    verdicts.append(verdict(model="b", subject="twice", grade="severe"))
    found = markup.render_overview(verdicts)
    assert sorted(re.findall("#verdict-([0-9]+)", found)) == sorted(str(place) for place in range(len(verdicts)))
    rows = re.findall('<tr><th scope="row">(.*?)</th>(.*?)</tr>', found)
    shown = {subject: re.findall('class="grade (.*?)"', row) for subject, row in rows}
    assert shown == {
        "second-order collapse, given pairs": ["moderate", "moderate"],
        "second-order collapse": ["slight", "slight"],
        "twice": ["none", "none", "severe"],
    }


def test_tables_are_escaped_and_scroll_by_keyboard():
    found = markup.render_table(
        Table(key="t", caption=EVIL, head=(EVIL, EVIL), rows=((EVIL, EVIL),), words=(1,), open=True)
    )
    assert "<script" not in found
    assert 'role="region" tabindex="0"' in found
    assert found.startswith('<details class="table" id="t" open>')
    assert 'dir="auto"' in found


def test_figures_have_a_reading_and_a_legend(rich):
    figure = closeness(all_series(rich))
    found = markup.render_figure(figure, pairs=False)
    assert figure.reading.replace("'", "&#x27;") in found
    assert found.count("<button") == 5
    assert "readout" not in found
    assert "readout" in markup.render_figure(figure, pairs=True)
    assert "<i>" not in found
    assert re.search('role="img" aria-label="[^"]+tables of this section hold the numbers', found)


@pytest.mark.parametrize("symbol", [f"{name}{kind}" for name in SYMBOLS for kind in ("", "-open", "-open-dot")])
def test_every_symbol_has_a_swatch(symbol):
    figure = closeness(())
    entry = Entry("g", EVIL, "@s1", "solid", symbol, shown=False)
    found = markup.render_figure(type(figure)("k", "t", "r", (), {}, (entry,)), pairs=False)
    assert 'aria-pressed="false"' in found
    assert ("hollow" in found) is ("open" in symbol)
    assert "<script" not in found
