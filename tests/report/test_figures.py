"""Figures over length and layers: they show the numbers of the diagnosis, and nothing for missing ones."""

from dataclasses import replace

import pytest

from cenote.records import Histogram, LayerSummary, Passed
from cenote.report import figures
from cenote.report.series import all_series


def lines(figure):
    return [trace for trace in figure.data if "markers" in trace["mode"]]


def test_lengths_are_outlines_with_marked_limits(rich):
    figure = figures.lengths(rich)
    assert [max(trace["y"]) for trace in figure.data] == [max(model.lengths.histogram.counts) for model in rich.models]
    assert [shape["x0"] for shape in figure.layout["shapes"]] == [256, 512]
    assert [words["text"] for words in figure.layout["annotations"]] == ["limit 256", "limit 512"]
    assert [entry.points for entry in figure.legend] == [False, False]


def test_growing_bins_get_a_logarithmic_axis(rich):
    model = rich.models[0]
    grown = replace(model.lengths, histogram=Histogram((1.0, 10.0, 100.0, 1000.0), (1, 2, 3)), limit=100)
    figure = figures.lengths(replace(rich, models=(replace(model, lengths=grown),)))
    assert figure.layout["xaxis"]["type"] == "log"
    assert figure.layout["annotations"][0]["x"] == 2  # plotly expects a logarithm here
    assert figure.layout["shapes"][0]["x0"] == 100  # but not here


def test_closeness_has_error_bars_and_the_control(rich):
    figure = figures.closeness(all_series(rich))
    assert len(figure.data) == len(figure.legend) == 5
    first = rich.models[0].runs[0].length.bins
    assert figure.data[0]["y"] == [one.cosine.value for one in first]
    assert figure.data[0]["x"] == [20.0, 55.0, 90.0, 145.0, 240.0, 360.0]
    assert figure.data[0]["error_y"]["array"][0] == pytest.approx(0.013)
    assert figure.data[0]["error_y"]["arrayminus"][0] == pytest.approx(0.012)
    assert figure.data[1]["y"] == [one.cosine.value for one in rich.models[0].words.bins]
    assert "0–39 tokens, 168 texts" in figure.data[0]["hovertext"][0]


def test_bins_without_cosine_or_interval_are_drawn_without(rich, alone):
    length = rich.models[0].runs[0].length
    bins = list(length.bins)
    bins[1] = replace(bins[1], cosine=None)
    bins[2] = replace(bins[2], cosine=replace(bins[2].cosine, low=None, high=None))
    trace, _ = figures.closeness(all_series(alone(length=replace(length, bins=tuple(bins))))).data
    assert len(trace["x"]) == 5
    assert trace["error_y"]["array"][1] == trace["error_y"]["arrayminus"][1] == 0


def test_layers_with_bands_bounds_and_reasons(rich):
    series = all_series(rich)
    figure = figures.by_layer(series, "k", "filter_rate")
    assert [trace["x"] for trace in lines(figure)] == [[1, 2, 3, 4, 5]] * 2 + [list(range(1, 12))] * 2
    assert sum(trace.get("fill") == "toself" for trace in figure.data) == 2  # of the unchanged models
    dotted = [trace for trace in figure.data if trace["line"].get("dash") == "dot"]
    assert len(dotted) == 4
    assert dotted[0]["y"][0] == rich.models[0].runs[0].layers[0].measures["filter_bound"].mean
    assert "no layer rate in layer 0" in figure.notes[0]
    assert figure.layout["xaxis"]["dtick"] == 1


def test_a_measure_that_one_model_lacks_is_noted(rich):
    figure = figures.by_layer(all_series(rich), "k", "residual_ratio")
    assert [entry.look.label[:3] for entry in figure.legend] == ["all", "all"]
    assert "pre-norm" in figure.notes[0]


def test_a_threshold_is_drawn_where_values_cross_it(rich):
    series = all_series(rich)
    assert figures.by_layer(series, "k", "contraction").layout["shapes"] == []
    shapes = figures.by_layer(series, "k", "attention_rate").layout["shapes"]
    assert [shape["y0"] for shape in shapes] == [0.0]


def test_sigma_a_by_length_beside_theorem_3(rich):
    figure = figures.passed(all_series(rich))
    assert len(figure.data) == 8
    run = rich.models[0].runs[0]
    assert figure.data[0]["y"] == [one.sigma_a for one in run.passed]
    assert figure.data[1]["y"] == [one.theorem3 for one in run.passed]
    assert figure.data[1]["x"] == figure.data[0]["x"]
    assert figure.data[1]["line"]["dash"] == "dot"


def test_theorem_3_is_drawn_only_for_bins_that_have_it(rich, alone):
    passed = rich.models[0].runs[0].passed
    some = (replace(passed[0], theorem3=None), *passed[1:])
    assert [len(trace["y"]) for trace in figures.passed(all_series(alone(passed=some))).data] == [6, 5]
    layers = (LayerSummary(0, {"logit_variance": "not asked for"}),)
    figure = figures.passed(all_series(alone(passed=(Passed(0, None, 16, 0.5),), layers=layers)))
    assert [trace["y"] for trace in figure.data] == [[0.5]]
    assert any("no logit variance, because not asked for" in note for note in figure.notes)


def test_repeated_words_are_named_and_drawn(rich):
    figure = figures.repeated(all_series(rich))
    assert "“dog dog …” against “cat cat …”" in figure.reading
    assert figure.data[0]["y"] == list(rich.models[0].runs[0].repeated.cosines)
    assert figure.layout["xaxis"]["type"] == "log"
