"""Figures and bars as SVG, with positions computed by hand."""

import re

import pytest

from cenote.records import Pair
from cenote.report import svg
from cenote.report.plots import Axis, Band, Cloud, Curve, Entry, Figure, Line, Rule, Steps, Tick
from cenote.report.series import SYMBOLS, Look

LOOK = Look("m0", "a <b>", "s1", "circle", "dash")
SHOWN = (Entry(LOOK),)
AXIS = Axis("x", 0, 10, (Tick(0, "0"), Tick(5, "5", minor=True), Tick(10, "10")))


def drawn(*marks, legend=SHOWN):
    return svg.draw_figure(Figure("k", "t", "r", AXIS, AXIS, marks, legend))


def positions(found, tag="use"):
    return re.findall(rf'<{tag} [^>]*?x="([0-9.]+)%" y="([0-9.]+)%"', found)


def test_axes_are_in_percent_and_count_from_below():
    found = drawn()
    assert re.findall(r'<text x="([0-9]+%)" y="100%"[^>]*>(.*?)<', found) == [("0%", "0"), ("50%", "5"), ("100%", "10")]
    assert re.findall(r'<text x="0" y="([0-9]+%)"[^>]*>(.*?)<', found) == [("100%", "0"), ("50%", "5"), ("0%", "10")]
    assert found.count("minor") == 1


def test_a_line_has_points_intervals_and_titles():
    found = drawn(Line(LOOK, (0, 5), (2, 4), ("a <b>\none", "a <b>\ntwo"), ends=((1, 3), None)))
    assert 'd="M0 80L50 60" class="line dash"' in found
    assert '<line x1="0%" x2="0%" y1="90%" y2="70%" class="line"/>' in found
    assert re.findall('<use href="#circle"[^>]*class="point"><title>(.*?)</title>', found, re.DOTALL) == [
        "a &lt;b&gt;\none",
        "a &lt;b&gt;\ntwo",
    ]
    assert '<g class="s1" data-group="m0">' in found


def test_a_dotted_line_shows_no_symbols_until_it_is_pointed_at():
    found = drawn(Line(LOOK, (0, 5), (2, 4), ("one", "two"), dotted=True))
    assert 'class="line dot"' in found
    assert re.findall('<use [^>]*class="(.*?)"', found) == ["quiet", "quiet"]


def test_steps_start_and_end_at_zero():
    found = drawn(Steps(LOOK, (0, 2, 4), (3, 1), ("low", "high")))
    assert found.count('d="M0 100L0 70L20 70L20 90L40 90L40 100"') == 2  # the area and its outline
    assert positions(found) == [("10", "70"), ("30", "90")]


def test_a_band_follows_the_high_values_and_returns_by_the_low_ones():
    assert 'd="M0 50L10 20L10 40L0 90z" class="fill"' in drawn(Band(LOOK, (0, 1), (1, 6), (5, 8)))


def test_points_of_pairs_hold_their_texts_and_figures():
    found = drawn(Cloud(LOOK, (Pair(3, 17, 2.0, 5.0, 0.25),)), Cloud(LOOK, (Pair(1, 2, 1.0, 1.0, 0.0),), rings=True))
    assert re.findall('data-pair="(.*?)"', found) == ["3 17 2.00 5.00 0.250", "1 2 1.00 1.00 0"]
    assert re.findall('<use href="#(.*?)"', found) == ["circle-small", "ring"]


def test_rules_and_curves_have_labels():
    found = drawn(Rule(9, upright=True, label="limit <9>"), Rule(2, upright=False), Curve((0, 10), (1, 2), "SOCM 1"))
    assert 'x1="90%" x2="90%"' in found
    assert 'y1="80%" y2="80%"' in found
    assert re.findall('class="note(.*?)">(.*?)<', found) == [(" end", "limit &lt;9&gt;"), ("", "SOCM 1")]


def test_a_series_that_is_hidden_at_first_is_drawn_without_being_shown():
    assert 'class="s1 off"' in drawn(Line(LOOK, (0,), (0,), ("",)), legend=(Entry(LOOK, shown=False),))


@pytest.mark.parametrize("symbol", [f"{name}{kind}" for name in SYMBOLS for kind in ("", "-open", "-open-dot")])
def test_every_symbol_is_defined(symbol):
    found = svg.draw_swatch(Entry(Look("g", "<i>", "s1", symbol, "solid")))
    (name,) = re.findall('href="#(.*?)"', found)
    assert f'id="{name}"' in svg.definitions()
    assert f'id="{name}-small"' in svg.definitions()
    assert ("hollow" in found) is ("open" in symbol)


def test_a_bar_of_a_hundred_fills_its_width():
    shares = [("found", 83, "83 <found>"), ("cut", 2, "2"), ("pooling", 15, "15"), ("missed", 0, "0")]
    found = svg.draw_bar(shares, 'of "100"')
    assert re.findall('<rect x="([0-9]+)%" width="([0-9]+)%"', found) == [("0", "83"), ("83", "2"), ("85", "15")]
    assert re.findall('<text x="(.*?)" y="50%">(.*?)<', found) == [("41.5%", "83"), ("92.5%", "15")]  # 2 has no room
    assert "<title>83 &lt;found&gt;</title>" in found
    assert 'role="img" aria-label="of &quot;100&quot;"' in found
    assert "missed" not in found
    assert "<text" not in svg.draw_bar(shares, "", numbers=False)
