"""HTML of the account, verdicts, tables and figures: escaped, complete, and readable without colour."""

import re
from dataclasses import replace

import pytest

from cenote.diagnosis.verdicts.thresholds import GRADES
from cenote.records import Excerpt
from cenote.report import markup
from cenote.report.account import KINDS, collect_answers, collect_examples
from cenote.report.figures import by_layer, closeness
from cenote.report.pairs import scatter
from cenote.report.series import all_series
from cenote.report.tables import Table

from ..builders import verdict


def test_grades_have_a_word_and_a_shape_each():
    drawn = [markup.render_grade(name) for name in GRADES]
    assert len({re.search("<svg.*</svg>", one)[0] for one in drawn}) == len(GRADES) == 6
    assert all(f"<span>{name}</span>" in one for name, one in zip(GRADES, drawn, strict=True))


def test_an_answer_has_a_bar_numbers_with_intervals_and_advice(rich):
    first, second = collect_answers(rich)
    assert markup.render_answer(first, named=True).count('<svg class="bar"') == 2
    first = replace(first, searches=first.searches[:1])  # without the given queries
    found = markup.render_answer(first, named=True)
    assert re.findall('<rect x="[0-9]+%" width="([0-9]+)%"', found) == ["60", "10", "25", "5"]
    label = 'role="img" aria-label="all-MiniLM-L6-v2: of 100, 60 found (57 to 63); 10 lost to the cut (7 to 13);'
    assert label in found
    assert re.findall("<b>([0-9]+)</b> (.*?) <small>(.*?)</small>", found) == [
        ("60", "found", "57 to 63"),
        ("10", "lost to the cut", "7 to 13"),
        ("25", "lost to pooling", "22 to 28"),
        ("5", "not found", "2 to 8"),
    ]
    assert "<strong>Best of what was tried: windows of 128 tokens, best.</strong>" in found
    assert "<code>--long windows --window 128</code>" in found
    assert "<h3><bdi>&lt;i&gt;model" in markup.render_answer(second, named=True)
    assert "<h3>" not in markup.render_answer(second, named=False)


def test_an_answer_without_an_account_is_its_reason(poor):
    found = markup.render_answer(collect_answers(poor)[0], named=False)
    assert "Not measured: only 0 of 2 texts" in found
    assert "<svg" not in found


def test_examples_mark_the_sentence_in_its_text(rich):
    answers = collect_answers(rich)
    kind = KINDS[2]
    excerpts = list(rich.excerpts)
    excerpts[2] = Excerpt("<id>", f"before {excerpts[1].text} after")
    found = markup.render_examples(kind, collect_examples(answers, kind), excerpts, named=True)
    assert found.startswith('<details class="example" id="examples-pooling"><summary>')
    assert "2 examples" in found
    assert f"before <mark>{excerpts[1].text}</mark> after" in found
    assert "Middle sentence of &lt;id&gt;" in found
    assert "Found instead: texts.jsonl:0" in found
    assert "&lt;b&gt;bold&lt;/b&gt;" in found
    assert found.count("<h4>") == 2
    without = markup.render_examples(kind, [], excerpts, named=True)
    assert "<details" not in without
    assert kind.meaning in without


def test_a_card_has_no_empty_parts():
    card = markup.render_card(verdict(evidence="", limit=" "), 3)
    assert 'id="verdict-3"' in card
    assert re.findall("<dt>(.*?)</dt>", card) == ["What to do"]
    assert re.findall("<dt>(.*?)</dt>", markup.render_card(verdict(), 3)) == ["What to do", "Evidence", "Caveat"]


def test_a_repeated_advice_is_a_link():
    card = markup.render_card(verdict(advice="long <advice>"), 3, as_in=(0, "<search>"))
    assert 'As under <a href="#verdict-0">&lt;search&gt;</a>.' in card
    assert "long" not in card


def test_the_overview_links_to_every_graded_verdict():
    grades = {"search": "moderate", "pooling": "slight", "twice": "fine", "shape": "described"}
    verdicts = [
        verdict(model=model, subject=subject, grade=grade) for model in "ab" for subject, grade in grades.items()
    ]
    assert markup.render_overview(verdicts[:4]) == ""
    verdicts += [verdict(model="b", subject="twice", grade="severe"), verdict(model="a", subject="once")]
    found = markup.render_overview(verdicts)
    graded = [place for place, one in enumerate(verdicts) if one.grade != "described"]
    assert sorted(map(int, re.findall("#verdict-([0-9]+)", found))) == graded
    rows = re.findall('<tr><th scope="row">(.*?)</th>(.*?)</tr>', found)
    assert {subject: re.findall('class="grade (.*?)"|>(–)<', row) for subject, row in rows} == {
        "search": [("moderate", ""), ("moderate", "")],
        "pooling": [("slight", ""), ("slight", "")],
        "twice": [("fine", ""), ("fine", ""), ("severe", "")],
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
    assert "stacked" not in found


def test_cells_of_a_stacked_table_name_their_column():
    found = markup.render_table(
        Table(key="t", caption="", head=("", "<a>", "b"), rows=(("r", "1", "2"),), stacked=True)
    )
    assert '<td data-label="&lt;a&gt;">1</td><td data-label="b">2</td>' in found


def test_a_row_may_end_in_a_bar():
    table = Table(key="t", caption="", head=("", "n"), rows=(("first <i>", "9"),), bars=((60, 10, 25, 5),))
    found = markup.render_table(table)
    assert 'aria-label="first &lt;i&gt;: 60 found, 10 lost to the cut, 25 lost to pooling, 5 not found"' in found
    assert found.count('<th scope="col"') == 3


def test_figures_have_a_reading_and_a_legend(rich):
    series = all_series(rich)
    figure = closeness(series)
    found = markup.render_figure(figure)
    assert figure.reading.replace("'", "&#x27;") in found
    assert found.count("<button") == 5
    assert found.startswith('<figure id="closeness">')
    assert "readout" not in found
    assert "readout" in markup.render_figure(scatter([(one, one.run.pairs) for one in series], "socm"))
    assert re.search('role="img" aria-label="[^"]+tables of this section hold the numbers', found)


def test_a_figure_with_a_decision_is_folded_under_it(rich):
    found = markup.render_figure(by_layer(all_series(rich), "k", "contraction"))
    assert re.match(r'<details class="fold"><summary><h3>λ: .*?</h3><span class="decision">It names the layers', found)
    assert found.count("<h3>") == 1


@pytest.mark.parametrize("shown", [True, False])
def test_a_hidden_series_has_a_button_that_is_not_pressed(rich, shown):
    figure = closeness(all_series(rich))
    figure = replace(figure, legend=(replace(figure.legend[0], shown=shown),))
    assert f'data-group="m0r0" aria-pressed="{str(shown).lower()}"' in markup.render_figure(figure)
