"""Tables: a column for each model or run, and formatted cells."""

from dataclasses import replace

import pytest

from cenote.report import tables
from cenote.report.series import all_series

from .diagnoses import EVIL, EVIL_SHOWN


@pytest.fixture
def series(rich):
    return all_series(rich)


def column(table, name):
    place = table.head.index(name)
    return {row[0]: row[place] for row in table.rows}


def test_lengths_and_truncation(rich, poor):
    assert column(tables.lengths(poor), "tiny")["limit of the model"] == "none"
    table = tables.lengths(rich)
    assert table.head == ("in the model's own tokens", "all-MiniLM-L6-v2", EVIL_SHOWN)
    assert table.stacked
    assert not tables.lengths(poor).stacked
    first = column(table, "all-MiniLM-L6-v2")
    assert first["limit of the model"] == "256 tokens"
    assert first["median length"] == "97.0"
    assert first["share of tokens never read"] == "13.7 %"
    cut = rich.models[0].lengths.cut
    assert first["truncated texts"] == str(cut)
    assert first["share of texts truncated"] == f"{cut / 10:.1f} %"


def test_cosines_by_cut_end_with_their_change(series):
    table = tables.cut_lengths(series)
    assert [row[0] for row in table.rows] == [
        "32 tokens",
        "64 tokens",
        "128 tokens",
        "256 tokens",
        "longest cut minus shortest",
        "texts",
    ]
    assert [row[1] for row in table.rows][-2:] == ["0.060 [0.040, 0.080]", "90"]


def test_cosines_of_runs_and_controls_are_columns(rich, series):
    table = tables.closeness(series)
    assert table.head[1:3] == (series[0].label, "all-MiniLM-L6-v2, words alone")
    assert [row[0] for row in table.rows] == ["0–39", "40–69", "70–109", "110–179", "180–299", "300 or more"]
    assert table.rows[0][1] == "0.310 [0.298, 0.323]"


def test_different_bins_are_merged(rich):
    model = rich.models[0]
    short = replace(model.words, bins=model.words.bins[:2])
    table = tables.closeness(all_series(replace(rich, models=(replace(model, words=short),))))
    assert len(table.rows) == 6
    assert [row[2] for row in table.rows][2:] == ["–"] * 4


def test_a_table_of_each_run_has_all_measures_of_a_bin(series):
    first = tables.bins(series)[0]
    assert first.head == ("tokens", "texts", "mean cosine", "distance to the centre", "uniformity", "effective rank")
    assert first.rows[0] == ("0–39", "168", "0.310 [0.298, 0.323]", "0.797", "−2.89 [−2.95, −2.84]", "90.5")
    assert len(tables.bins(series)) == 5


def test_trend_over_length(series):
    found = column(tables.trend(series), series[0].label)
    assert found["rank correlation with length"] == "0.410 [0.360, 0.460]"
    assert found["longest bin minus shortest"].startswith("0.265")


def test_second_order_collapse_and_the_worst_pairs(rich, series):
    found = [(one, one.run.pairs) for one in series]
    cells = column(tables.collapse(found, "socm"), series[0].label)
    assert cells["pairs"] == "499,500"
    assert cells["d_mu (10 to 90 %)"] == "0.360 (0.270 to 0.450)"
    assert cells["the same of two halves of one text"] == "0.540 [0.510, 0.570]"
    assert cells["the same of halves of two texts"] == "0.470 [0.440, 0.500]"
    assert cells["normalised by the spread of both (10 to 90 %)"] == "0.600 (0.450 to 0.750)"
    assert cells["normalised, two halves of one text"] == "0.610"
    worst = tables.worst(found, rich.excerpts, "socm")
    assert len(worst) == 4
    pair = rich.models[0].runs[0].pairs.worst[0]
    assert worst[0].rows[0][3] == f"{rich.excerpts[pair.first].id}\n{rich.excerpts[pair.first].text}"
    assert len(worst[0].rows) == 10


def test_halves_of_texts_say_nothing_about_given_pairs(series):
    table = tables.collapse([(series[0], series[0].run.given_pairs)], "given")
    assert not [row for row in table.rows if "halves" in row[0]]


def test_changes_by_temperature_are_at_both_ends_of_length(series):
    cells = column(tables.changes(series), series[1].label)
    assert cells["cosine of short texts"] == "−0.010 [−0.020, 0]"
    assert cells["cosine of long texts"] == "−0.030 [−0.040, −0.020]"


def test_described_subjects_are_not_compared(rich):
    table = tables.overview(rich.verdicts)
    assert [row[0] for row in table.rows] == [
        "search",
        "your queries",
        "truncation",
        "temperature",
        "Texts </section>",
    ]
    assert table.rows[2] == ("truncation", "severe", "slight")
    assert table.rows[3] == ("temperature", "–", "unknown")
    assert tables.overview(rich.verdicts[:1]).is_empty


def test_rows_without_any_value_are_left_out():
    table = tables.build_table("k", "c", "", [("a", {"x": "–", "y": "1"}), ("b", {"x": "–"})])
    assert table.rows == (("y", "1", "–"),)


def test_a_measure_that_no_layer_has_gets_no_column(series):
    found = tables.layers(series, ("concentration", "residual_ratio", "filter_rate"), "k")
    assert found[0].head == ("layer", "spread / mean", "r", "layer rate")
    assert found[2].head == ("layer", "spread / mean", "layer rate")
    assert found[0].rows[0][3] == "–"
    assert len(found[2].rows) == 12


def test_sigma_a_and_repeated_words(rich, series):
    assert tables.passed(series).rows[0][0] == "0–39"
    assert len(tables.passed(series).head) == 5
    repeated = tables.repeated(series)
    assert [row[0] for row in repeated.rows] == ["1", "2", "4", "8", "16", "32", "64", "128", "256"]
    assert repeated.rows[0][1] == "0.630"  # the mean of two pairs of words


def test_provenance(rich):
    first = column(tables.models(rich), "all-MiniLM-L6-v2")
    assert first["fingerprint of the weights"] == "b3c1f09a77e2d4c8"
    assert first["temperatures measured"] == "1, 0.8"
    other = column(tables.models(rich), EVIL_SHOWN)
    assert other["name"] == EVIL
    assert other["revision"] == "–"
    texts, settings, versions, command = tables.provenance(rich, "cenote diagnose")
    assert column(texts, "value")["used"] == "1,000"
    assert column(settings, "value")["seed"] == "0"
    assert column(settings, "value")["temperatures"] == "[1.0, 0.8]"
    assert column(versions, "value")["torch"] == "2.13.0"
    assert command.rows == (("command", "cenote diagnose"),)
    assert len(tables.provenance(rich, None)) == 3
