"""Figures of pairs: points, lines of equal SOCM, and shares."""

from dataclasses import replace

import pytest

from cenote.records import Histogram
from cenote.report import pairs
from cenote.report.plots import Cloud, Curve, Rule
from cenote.report.series import all_series


@pytest.fixture
def found(rich):
    return [(one, one.run.pairs) for one in all_series(rich)]


def of(figure, kind):
    return [mark for mark in figure.marks if isinstance(mark, kind)]


def test_points_and_rings_lie_within_the_axes(rich, found):
    figure = pairs.scatter(found, "socm")
    clouds = of(figure, Cloud)
    assert len(clouds) == 8
    first = rich.models[0].runs[0].pairs
    assert (clouds[0].pairs, clouds[0].rings) == (first.shown, False)
    assert (clouds[1].pairs, clouds[1].rings) == (first.worst, True)
    assert [entry.shown for entry in figure.legend] == [True, False, True, False]
    for pair in (pair for cloud in clouds for pair in cloud.pairs):
        assert 0 <= figure.x.place(pair.d_mu) <= 1
        assert 0 <= figure.y.place(pair.d_sigma) <= 1


def test_lines_of_equal_socm_lie_within_the_figure(found):
    figure = pairs.scatter(found, "socm")
    lines = of(figure, Curve)
    assert len(lines) == 4
    for line in lines:
        level = float(line.label.split()[1])
        assert all((1 - d_mu) * d_sigma == pytest.approx(level) for d_mu, d_sigma in zip(line.x, line.y, strict=True))
        assert figure.y.place(max(line.y)) <= 1
        assert len(line.x) > 5


def test_the_histogram_shows_shares(rich, found):
    figure = pairs.histogram(found, "socm")
    counts = rich.models[0].runs[0].pairs.histogram.counts
    assert max(figure.marks[0].y) == max(counts) / sum(counts)
    assert figure.y.ticks[-1].label.endswith(" %")
    assert of(figure, Rule) == []


def test_a_high_socm_is_marked_without_a_grade(found):
    one, content = found[0]
    wide = replace(content, histogram=Histogram((0.0, 0.4, 0.8), (9, 1)))
    figure = pairs.histogram([(one, wide)], "socm")
    assert [mark.value for mark in of(figure, Rule)] == [0.5]
    assert "severe" not in figure.reading + figure.decision


def test_no_pairs_give_an_empty_figure(found):
    one, content = found[0]
    bare = replace(content, shown=(), worst=(), histogram=Histogram((), ()))
    for figure in (pairs.scatter([(one, bare)], "k"), pairs.histogram([(one, bare)], "k"), pairs.scatter([], "k")):
        assert figure.is_empty


def test_points_at_zero_still_have_axes(found):
    one, content = found[0]
    twins = replace(content, shown=(replace(content.shown[0], d_mu=0.0, d_sigma=0.0, socm=0.0),), worst=())
    figure = pairs.scatter([(one, twins)], "k")
    assert (figure.x.high, figure.y.high) == (1.06, 1.06)
    assert of(figure, Curve) == []
