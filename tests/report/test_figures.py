"""Figures over length and layers: they show the numbers of the diagnosis, and nothing for missing ones."""

from dataclasses import replace

import pytest

from cenote.records import Histogram, LayerSummary, Passed
from cenote.report import figures
from cenote.report.plots import Band, Line, Rule, Steps
from cenote.report.series import all_series


def of(figure, kind):
    return [mark for mark in figure.marks if isinstance(mark, kind)]


def lines(figure, *, dotted=False):
    return [mark for mark in of(figure, Line) if mark.dotted is dotted]


def test_cut_lengths_are_lines_with_intervals(rich):
    figure = figures.cut_lengths(all_series(rich))
    assert len(figure.marks) == len(figure.legend) == 4
    first = rich.models[0].runs[0].cut_lengths.cuts
    assert figure.marks[0].x == (32, 64, 128, 256)
    assert figure.marks[0].y == tuple(cut.cosine.value for cut in first)
    assert figure.marks[0].ends[0] == (first[0].cosine.low, first[0].cosine.high)
    assert figure.marks[0].labels[0].splitlines()[1] == "90 texts cut at 32 tokens"
    assert figure.y.low <= first[0].cosine.low
    assert figures.cut_lengths(()).is_empty


def test_lengths_are_outlines_with_marked_limits(rich):
    figure = figures.lengths(rich)
    assert [mark.y for mark in of(figure, Steps)] == [model.lengths.histogram.counts for model in rich.models]
    assert [(mark.value, mark.label) for mark in of(figure, Rule)] == [(512, "limit 512"), (256, "limit 256")]
    assert [entry.points for entry in figure.legend] == [False, False]


def test_a_limit_far_above_all_texts_is_a_note(rich):
    model = rich.models[0]
    figure = figures.lengths(replace(rich, models=(replace(model, lengths=replace(model.lengths, limit=8192)),)))
    assert of(figure, Rule) == []
    assert figure.x.high < 600
    assert "the limit of 8,192 tokens lies to the right of this figure" in figure.notes[0]


def test_growing_bins_get_a_logarithmic_axis(rich):
    model = rich.models[0]
    grown = replace(model.lengths, histogram=Histogram((1.0, 10.0, 100.0, 1000.0), (1, 2, 3)), limit=100)
    figure = figures.lengths(replace(rich, models=(replace(model, lengths=grown),)))
    assert figure.x.log
    assert 0 < figure.x.place(1) < figure.x.place(100) < figure.x.place(1000) < 1


def test_closeness_has_intervals_and_the_control(rich):
    figure = figures.closeness(all_series(rich))
    assert len(figure.marks) == len(figure.legend) == 5
    first, control = figure.marks[:2]
    bins = rich.models[0].runs[0].length.bins
    assert first.y == tuple(one.cosine.value for one in bins)
    assert first.x == (20.0, 55.0, 90.0, 145.0, 240.0, 360.0)
    assert first.ends[0] == (bins[0].cosine.low, bins[0].cosine.high)
    assert control.y == tuple(one.cosine.value for one in rich.models[0].words.bins)
    assert "0–39 tokens, 168 texts" in first.labels[0]


def test_bins_without_cosine_or_interval_are_drawn_without(rich, alone):
    length = rich.models[0].runs[0].length
    bins = list(length.bins)
    bins[1] = replace(bins[1], cosine=None)
    bins[2] = replace(bins[2], cosine=replace(bins[2].cosine, low=None, high=None))
    mark, _ = figures.closeness(all_series(alone(length=replace(length, bins=tuple(bins))))).marks
    assert len(mark.x) == 5
    assert mark.ends[1] is None


def test_one_bin_is_a_note_and_no_point_at_0_tokens(rich, alone):
    length = rich.models[0].runs[0].length
    one_bin = replace(length, bins=(replace(length.bins[0], high=None),))
    figure = figures.closeness(all_series(alone(length=one_bin)))
    assert [entry.look.label for entry in figure.legend] == ["all-MiniLM-L6-v2, words alone"]
    assert figure.notes[0].startswith("all-MiniLM-L6-v2: all texts fall into one bin of length")
    figure = figures.passed(all_series(alone(passed=(Passed(0, None, 16, 0.5),))))
    assert figure.is_empty
    assert "all texts fall into one bin" in figure.notes[0]


def test_layers_with_bands_bounds_and_reasons(rich):
    series = all_series(rich)
    figure = figures.by_layer(series, "k", "filter_rate")
    assert [mark.x for mark in lines(figure)] == [(1, 2, 3, 4, 5)] * 2 + [tuple(range(1, 12))] * 2
    assert len(of(figure, Band)) == 2  # of the unchanged models
    assert "no layer rate in layer 0" in figure.notes[-1]
    assert figure.decision


def bounded(alone, bound):
    layers = rich_layers = alone().models[0].runs[0].layers
    layers = tuple(
        replace(layer, measures=layer.measures | {"attention_bound": replace(one, mean=bound, low=bound, high=bound)})
        for layer in rich_layers
        for one in [layer.measures["attention_bound"]]
    )
    return figures.by_layer(all_series(alone(layers=layers)), "k", "attention_rate")


def test_a_bound_near_the_values_is_a_dotted_line(alone):
    figure = bounded(alone, -0.3)
    (line,) = lines(figure, dotted=True)
    assert line.y == (-0.3,) * 6
    assert figure.y.high >= -0.3


def test_a_bound_far_from_the_values_is_a_note(alone):
    figure = bounded(alone, 5.0)
    assert lines(figure, dotted=True) == []
    assert figure.y.high < 0
    assert figure.notes[0] == (
        "The attention bound lies outside this figure, far from these texts: all-MiniLM-L6-v2, 5.00 to 5.00."
    )


def test_a_measure_that_one_model_lacks_is_noted(rich):
    figure = figures.by_layer(all_series(rich), "k", "residual_ratio")
    assert [entry.look.label[:3] for entry in figure.legend] == ["all", "all"]
    assert "pre-norm" in figure.notes[0]


def test_a_neutral_value_is_marked_where_values_cross_it(rich):
    series = all_series(rich)
    assert of(figures.by_layer(series, "k", "contraction"), Rule) == []
    assert [mark.value for mark in of(figures.by_layer(series, "k", "block_ratio"), Rule)] == [1.0]


def test_sigma_a_by_length_beside_theorem_3(rich):
    figure = figures.passed(all_series(rich))
    assert len(of(figure, Line)) == 8
    run = rich.models[0].runs[0]
    assert figure.marks[0].y == tuple(one.sigma_a for one in run.passed)
    assert figure.marks[1].y == tuple(one.theorem3 for one in run.passed)
    assert figure.marks[1].x == figure.marks[0].x
    assert figure.marks[1].dotted


def test_sigma_a_above_1_is_named_a_factor(rich, alone):
    passed = tuple(replace(one, sigma_a=1.5) for one in rich.models[0].runs[0].passed)
    figure = figures.passed(all_series(alone(passed=passed)))
    assert [(mark.value, mark.label) for mark in of(figure, Rule)] == [(1, "keeps all differences")]
    assert "factor" in figure.reading
    assert "share" not in figure.reading


def test_theorem_3_is_drawn_only_for_bins_that_have_it(rich, alone):
    passed = rich.models[0].runs[0].passed
    some = (replace(passed[0], theorem3=None), *passed[1:])
    assert [len(mark.y) for mark in figures.passed(all_series(alone(passed=some))).marks] == [6, 5]
    layers = (LayerSummary(0, {"logit_variance": "not asked for"}),)
    bare = tuple(replace(one, theorem3=None) for one in passed)
    figure = figures.passed(all_series(alone(passed=bare, layers=layers)))
    assert [len(mark.y) for mark in figure.marks] == [6]
    assert any("no logit variance, because not asked for" in note for note in figure.notes)


def test_repeated_words_are_named_and_drawn(rich):
    figure = figures.repeated(all_series(rich))
    assert "“dog dog …” against “cat cat …”" in figure.reading
    first, second = rich.models[0].runs[0].repeated
    means = [(one + other) / 2 for one, other in zip(first.cosines, second.cosines, strict=True)]
    assert figure.marks[0].y == pytest.approx(means)
    assert figure.x.log


@pytest.mark.parametrize("build", [figures.cut_lengths, figures.closeness, figures.passed, figures.repeated])
def test_nothing_measured_gives_an_empty_figure(build, poor):
    assert build(all_series(poor)).is_empty
    assert figures.lengths(poor).is_empty
    assert figures.by_layer(all_series(poor), "k", "sigma_a").is_empty
