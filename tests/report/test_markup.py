"""Pieces of the page: escaped, told apart without colour, and complete."""

import re

import pytest

from cenote.report import markup
from cenote.report.figures import closeness
from cenote.report.plots import Entry
from cenote.report.series import SYMBOLS, series_of
from cenote.report.tables import Table
from cenote.results import Verdict

EVIL = "<script>alert('1')</script> & \"quoted\""


def test_grades_have_a_word_and_a_shape_each():
    drawn = [markup.grade(name) for name in markup.GRADES]
    assert len({re.search("<svg.*</svg>", one)[0] for one in drawn}) == 5
    assert all(f"<span>{name}</span>" in one for name, one in zip(markup.GRADES, drawn, strict=True))


def test_a_card_says_everything_escaped():
    card = markup.card(Verdict(EVIL, EVIL, "severe", EVIL, EVIL, EVIL, EVIL), 3)
    assert card.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; &quot;quoted&quot;") == 6
    assert "<script" not in card
    assert 'id="verdict-3"' in card


def test_a_card_leaves_out_what_is_not_said():
    card = markup.card(Verdict("m", "s", "none", "found", "", " ", "do"), 0)
    assert "Evidence" not in card
    assert "Limit" not in card
    assert "What to do" in card


def test_several_models_get_an_overview():
    verdicts = [Verdict(model, "s", "slight", "", "", "", "") for model in ("a", "b")]
    assert markup.overview(verdicts[:1]) == ""
    found = markup.overview([*verdicts, Verdict("a", "t", "none", "", "", "", "")])
    assert [found.index(f"#verdict-{place}") for place in (0, 1, 2)] == sorted(
        found.index(f"#verdict-{place}") for place in (0, 1, 2)
    )
    assert found.count("<td>–</td>") == 1


def test_the_overview_leaves_out_no_verdict():
    grades = {"second-order collapse, given pairs": "moderate", "second-order collapse": "slight", "twice": "none"}
    verdicts = [Verdict(model, *one, "", "", "", "") for model in "ab" for one in grades.items()]
    verdicts.append(Verdict("b", "twice", "severe", "", "", "", ""))
    found = markup.overview(verdicts)
    assert sorted(re.findall("#verdict-([0-9]+)", found)) == sorted(str(place) for place in range(len(verdicts)))
    rows = re.findall('<tr><th scope="row">(.*?)</th>(.*?)</tr>', found)
    shown = {subject: re.findall('class="grade (.*?)"', row) for subject, row in rows}
    assert shown == {
        "second-order collapse, given pairs": ["moderate", "moderate"],
        "second-order collapse": ["slight", "slight"],
        "twice": ["none", "none", "severe"],
    }


def test_tables_are_escaped_and_scroll_by_keyboard():
    found = markup.table(Table("t", EVIL, (EVIL, EVIL), ((EVIL, EVIL),), words=(1,), open=True))
    assert "<script" not in found
    assert 'role="region" tabindex="0"' in found
    assert found.startswith('<details class="table" id="t" open>')
    assert 'dir="auto"' in found


def test_figures_say_how_to_read_them(rich):
    figure = closeness(series_of(rich))
    found = markup.figure(figure, pairs=False)
    assert figure.reading.replace("'", "&#x27;") in found
    assert found.count("<button") == 5
    assert "readout" not in found
    assert "readout" in markup.figure(figure, pairs=True)
    assert "<i>" not in found
    assert re.search('role="img" aria-label="[^"]+tables of this chapter hold the numbers', found)


@pytest.mark.parametrize("symbol", [f"{name}{kind}" for name in SYMBOLS for kind in ("", "-open", "-open-dot")])
def test_every_symbol_has_its_swatch(symbol):
    figure = closeness(())
    entry = Entry("g", EVIL, "@s1", "solid", symbol, shown=False)
    found = markup.figure(type(figure)("k", "t", "r", (), {}, (entry,)), pairs=False)
    assert 'aria-pressed="false"' in found
    assert ("hollow" in found) is ("open" in symbol)
    assert "<script" not in found
