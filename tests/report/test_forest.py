"""Rows of differences over one axis: places equal the figures, shapes and words tell verdicts apart."""

import re

import pytest

from cenote.records import Estimate
from cenote.report.forest import VERDICTS, Forest, Row, build_axis, render_forest

from .test_page import Page

OWN = Row("mean", Estimate(0.0, None, None), None, "baseline")
CLS = Row("cls", Estimate(-0.04, -0.06, -0.02), 0.03, "worse")
LANDMARK = Row("<b>", Estimate(0.02, 0.01, 0.03), 0.04, "better")


def forest(*rows):
    return Forest("forest-t0", "Differences", "How to read it.", build_axis("difference", rows), rows)


def rows_of(written):
    return written.split('<div class="row ')[1:]


def test_points_intervals_and_bands_lie_where_the_axis_has_them():
    found = forest(OWN, CLS, LANDMARK)
    assert (found.axis.low, found.axis.high) == (-0.06, 0.04)
    own, cls, landmark = rows_of(render_forest(found))
    assert '<svg x="60.00%" y="50%" class="marker">' in own
    assert "band" not in own
    assert 'class="line"' not in own
    assert '<line x1="0.00%" x2="40.00%" y1="50%" y2="50%" class="line"/>' in cls
    assert '<rect x="30.00%" width="60.00%" height="100%" class="band"/>' in cls
    assert '<svg x="80.00%" y="50%" class="marker">' in landmark
    assert '<line x1="60.00%" x2="60.00%" y2="100%" class="zero"/>' in landmark


def test_each_verdict_has_a_shape_and_words_of_its_own():
    rows = [Row(f"s{place}", Estimate(0.01, 0.0, 0.02), 0.01, verdict) for place, verdict in enumerate(VERDICTS)]
    written = render_forest(forest(*rows))
    shapes = [re.search(r'class="marker">.*?<path d="(.*?)"', row).group(1) for row in rows_of(written)]
    assert len({*shapes}) == len(VERDICTS) == 8
    for verdict, row in zip(VERDICTS, rows_of(written), strict=True):
        assert f"<b>{verdict}</b>" in row
    assert written.count('class="swatch-of') == len(VERDICTS)


def test_the_key_names_only_what_is_drawn():
    bare = Row("cls", Estimate(0.01, None, None), None, "too few items")
    key = render_forest(forest(OWN, bare)).split('class="key"')[1].split("</ul>")[0]
    assert re.findall("</svg>(.*?)</li>", key) == ["baseline", "too few items"]
    assert "found less than 4 times of 5" in render_forest(forest(OWN, CLS))


def test_the_difference_stands_in_words_beside_its_verdict():
    own, cls, _ = rows_of(render_forest(forest(OWN, CLS, LANDMARK)))
    assert "<small>" not in own
    assert "<small>−0.0400 (−0.0600 to −0.0200)</small>" in cls


def test_names_are_escaped():
    page = Page(render_forest(forest(LANDMARK)))
    assert page.tags.count("b") == 1  # the verdict
    assert "<b>" in "".join(page.text)


@pytest.mark.parametrize("value", [0.0, 1e-12, -0.7, 3.0])
def test_any_difference_has_an_axis_with_0(value):
    rows = [Row("a", Estimate(value, value, value), None, "not told apart")]
    axis = build_axis("difference", rows)
    assert axis.low <= min(0, value)
    assert axis.high >= max(0, value)
    assert "0" in [tick.label for tick in axis.ticks]


def test_0_keeps_its_label_where_every_second_one_is_hidden():
    ticks = build_axis("difference", [CLS, LANDMARK]).ticks
    assert [tick.label for tick in ticks] == ["−0.06", "−0.04", "−0.02", "0", "+0.02", "+0.04"]
    assert [tick.label for tick in ticks if not tick.minor] == ["−0.04", "0", "+0.04"]
