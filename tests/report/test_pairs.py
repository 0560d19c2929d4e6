"""Figures of pairs: points, lines of equal SOCM, and shares."""

from dataclasses import replace

import pytest

from cenote.records import Histogram
from cenote.report import pairs
from cenote.report.series import all_series


@pytest.fixture
def found(rich):
    return [(one, one.run.pairs) for one in all_series(rich)]


def test_points_refer_to_their_texts(rich, found):
    figure = pairs.scatter(found, "socm")
    clouds = [trace for trace in figure.data if trace["mode"] == "markers"]
    assert len(clouds) == 8
    shown, worst = rich.models[0].runs[0].pairs.shown, rich.models[0].runs[0].pairs.worst
    assert clouds[0]["customdata"] == [[pair.first, pair.second] for pair in shown]
    assert clouds[1]["x"] == [pair.d_mu for pair in worst]
    assert clouds[1]["y"] == [pair.d_sigma for pair in worst]
    assert "one of the ten worst" in clouds[1]["hovertext"][0]
    assert [entry.shown for entry in figure.legend] == [True, False, True, False]
    for trace in figure.data:
        assert max(trace["x"]) <= figure.layout["xaxis"]["range"][1]
        assert max(trace["y"]) <= figure.layout["yaxis"]["range"][1]


def test_lines_of_equal_socm_lie_within_the_figure(found):
    figure = pairs.scatter(found, "socm")
    lines = [trace for trace in figure.data if trace["mode"] == "lines"]
    levels = [float(words["text"].split()[1]) for words in figure.layout["annotations"]]
    assert len(lines) == len(levels) == 4
    for line, level in zip(lines, levels, strict=True):
        assert all(
            (1 - d_mu) * d_sigma == pytest.approx(level) for d_mu, d_sigma in zip(line["x"], line["y"], strict=True)
        )
        assert len(line["x"]) > 5


def test_the_histogram_shows_shares(rich, found):
    figure = pairs.histogram(found, "socm")
    counts = rich.models[0].runs[0].pairs.histogram.counts
    assert max(figure.data[0]["y"]) == max(counts) / sum(counts)
    assert figure.layout["shapes"] == []
    assert "severe" not in figure.reading


def test_severe_pairs_are_marked(found):
    one, content = found[0]
    wide = replace(content, histogram=Histogram((0.0, 0.4, 0.8), (9, 1)))
    figure = pairs.histogram([(one, wide)], "socm")
    assert [shape["x0"] for shape in figure.layout["shapes"]] == [0.5]
    assert "severe" in figure.reading


def test_no_pairs_give_an_empty_figure(found):
    one, content = found[0]
    bare = replace(content, shown=(), worst=(), histogram=Histogram((), ()))
    for figure in (pairs.scatter([(one, bare)], "k"), pairs.histogram([(one, bare)], "k"), pairs.scatter([], "k")):
        assert figure.data == ()


def test_points_at_zero_still_have_axes(found):
    one, content = found[0]
    twins = replace(content, shown=(replace(content.shown[0], d_mu=0.0, d_sigma=0.0, socm=0.0),), worst=())
    figure = pairs.scatter([(one, twins)], "k")
    assert figure.layout["xaxis"]["range"] == figure.layout["yaxis"]["range"] == [0, 1.06]
    assert figure.layout["annotations"] == []
