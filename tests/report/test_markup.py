"""HTML of verdicts, tables and figures: escaped, complete, and readable without colour."""

import re

import pytest

from cenote.diagnosis.verdicts.thresholds import GRADES
from cenote.report import markup
from cenote.report.figures import closeness
from cenote.report.pairs import scatter
from cenote.report.plots import Entry, Figure
from cenote.report.series import SYMBOLS, Look, all_series
from cenote.report.tables import Table

from ..builders import verdict


def test_grades_have_a_word_and_a_shape_each():
    drawn = [markup.render_grade(name) for name in GRADES]
    assert len({re.search("<svg.*</svg>", one)[0] for one in drawn}) == 5
    assert all(f"<span>{name}</span>" in one for name, one in zip(GRADES, drawn, strict=True))


def test_a_card_has_no_empty_parts():
    card = markup.render_card(verdict(evidence="", limit=" "), 3)
    assert 'id="verdict-3"' in card
    assert re.findall("<dt>(.*?)</dt>", card) == ["What to do"]
    assert re.findall("<dt>(.*?)</dt>", markup.render_card(verdict(), 3)) == ["What to do", "Evidence", "Caveat"]


def test_the_overview_of_several_models_links_to_every_verdict():
    grades = {"second-order collapse, given pairs": "moderate", "second-order collapse": "slight", "twice": "none"}
    verdicts = [
        verdict(model=model, subject=subject, grade=grade) for model in "ab" for subject, grade in grades.items()
    ]
    assert markup.render_overview(verdicts[:3]) == ""
    verdicts += [verdict(model="b", subject="twice", grade="severe"), verdict(model="a", subject="once")]
    found = markup.render_overview(verdicts)
    assert sorted(re.findall("#verdict-([0-9]+)", found)) == sorted(str(place) for place in range(len(verdicts)))
    rows = re.findall('<tr><th scope="row">(.*?)</th>(.*?)</tr>', found)
    assert {subject: re.findall('class="grade (.*?)"|<td>(–)', row) for subject, row in rows} == {
        "second-order collapse, given pairs": [("moderate", ""), ("moderate", "")],
        "second-order collapse": [("slight", ""), ("slight", "")],
        "twice": [("none", ""), ("none", ""), ("severe", "")],
        "once": [("severe", ""), ("", "–")],
    }


def test_tables_are_escaped_and_scroll_by_keyboard():
    table = Table(key="t", caption="<i>", head=("<i>", "<i>"), rows=(("<i>", "<i>"),), words=(1,), open=True)
    found = markup.render_table(table)
    assert found.count("&lt;i&gt;") == 6
    assert "<i>" not in found
    assert 'role="region" tabindex="0"' in found
    assert found.startswith('<details class="table" id="t" open>')
    assert 'dir="auto"' in found


def test_figures_have_a_reading_and_a_legend(rich):
    series = all_series(rich)
    figure = closeness(series)
    found = markup.render_figure(figure)
    assert figure.reading.replace("'", "&#x27;") in found
    assert found.count("<button") == 5
    assert "readout" not in found
    assert "readout" in markup.render_figure(scatter([(one, one.run.pairs) for one in series], "socm"))
    assert re.search('role="img" aria-label="[^"]+tables of this section hold the numbers', found)


@pytest.mark.parametrize("symbol", [f"{name}{kind}" for name in SYMBOLS for kind in ("", "-open", "-open-dot")])
def test_every_symbol_has_a_swatch(symbol):
    entry = Entry(Look(key="g", label="<i>", colour="@s1", symbol=symbol, dash="solid"), shown=False)
    found = markup.render_figure(Figure("k", "t", "r", (), {}, (entry,)))
    assert 'aria-pressed="false"' in found
    assert ("hollow" in found) is ("open" in symbol)
    assert "<i>" not in found
