"""Axes and marks of figures, with numbers computed by hand."""

import pytest

from cenote.records import Histogram, Spread
from cenote.report.plots import band, layer_axis, line, log_axis, round_axis, spread_axis, steps, tight_axis
from cenote.report.series import Look

LOOK = Look("m0", "a <b>", "s1", "circle", "dash")


def labels(axis):
    return [tick.label for tick in axis.ticks]


@pytest.mark.parametrize(
    ("values", "more", "shown"),
    [
        ([0.03, 0.09], {}, ["0.03", "0.04", "0.05", "0.06", "0.07", "0.08", "0.09"]),
        ([-1.4, -0.9], {}, ["−1.4", "−1.3", "−1.2", "−1.1", "−1.0", "−0.9"]),
        ([230], {"from_zero": True}, ["0", "50", "100", "150", "200", "250"]),
        ([0.12], {"from_zero": True, "share": True}, ["0 %", "2 %", "4 %", "6 %", "8 %", "10 %", "12 %"]),
        ([1200, 4100], {}, ["1,000", "1,500", "2,000", "2,500", "3,000", "3,500", "4,000", "4,500"]),
    ],
)
def test_an_axis_ends_at_round_ticks_around_its_values(values, more, shown):
    axis = round_axis("x", values, **more)
    assert labels(axis) == shown
    assert axis.low == axis.ticks[0].value <= min(values)
    assert axis.high == axis.ticks[-1].value >= max(values)


@pytest.mark.parametrize("values", [[0.0], [0.5, 0.5], [-3.0], [], [1e-12, 1e-12]])
@pytest.mark.parametrize("from_zero", [False, True])
def test_one_value_still_has_an_axis(values, from_zero):
    axis = round_axis("x", values, from_zero=from_zero)
    assert axis.low < axis.high
    assert all(0 <= axis.place(value) <= 1 for value in values)


@pytest.mark.parametrize(
    ("values", "wide"), [((1, 24), False), ((1, 26), True), ((0, 1000), False), ((-5, 900), False), ((), False)]
)
def test_an_axis_is_logarithmic_if_values_are_far_apart(values, wide):
    axis = spread_axis("x", values)
    assert axis.log is wide
    assert all(0 < axis.place(value) < 1 for value in values)


def test_a_logarithmic_axis_has_readable_ticks():
    assert labels(log_axis("x", 3, 4000)) == ["5", "10", "20", "50", "100", "200", "500", "1,000", "2,000", "5,000"]
    assert labels(log_axis("x", 0.05, 0.9)) == ["0.05", "0.1", "0.2", "0.5", "1"]
    assert labels(log_axis("x", 1, 1e6)) == ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]
    # Those of 2 and 5 have no label where there is little room.
    assert [tick.label for tick in log_axis("x", 3, 4000).ticks if not tick.minor] == ["10", "100", "1,000"]


def test_an_axis_with_given_ends_has_ticks_between_them():
    axis = tight_axis("x", 0, 0.63)
    assert (axis.low, axis.high) == (0, 0.63)
    assert labels(axis) == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]


def test_few_layers_have_a_tick_each():
    assert labels(layer_axis(6)) == ["0", "1", "2", "3", "4", "5"]
    assert [tick.label for tick in layer_axis(12).ticks if not tick.minor] == ["0", "2", "4", "6", "8", "10"]
    assert labels(layer_axis(48)) == ["0", "10", "20", "30", "40"]


def test_labels_begin_with_the_name_of_the_series():
    assert line(LOOK, (1, 2), (0.5, 0.6), ["one", "two"]).labels == ("a <b>\none", "a <b>\ntwo")
    found = steps(LOOK, Histogram((0.0, 2.0, 4.0), (3, 1)), "{} to {} tokens", (3, 1), ["low", "high"])
    assert found.edges == (0.0, 2.0, 4.0)
    assert found.labels == ("a <b>\n0 to 2.00 tokens\nlow", "a <b>\n2.00 to 4.00 tokens\nhigh")


def test_a_band_lies_between_the_quantiles():
    found = band(LOOK, (0, 1), (Spread(2, 2.0, 1.0, 2.0, 3.0), Spread(2, 5.0, 4.0, 5.0, 6.0)))
    assert (found.low, found.high) == ((1.0, 4.0), (3.0, 6.0))
