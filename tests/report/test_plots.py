"""Parts of figures, with numbers computed by hand."""

import pytest

from cenote.records import Histogram, Spread
from cenote.report.plots import axis, band, line, logarithmic, outline
from cenote.report.series import Look

LOOK = Look("m0", "a <b>", "@s1", "circle", "dash")


def test_a_line_has_the_look_of_its_series():
    trace = line(LOOK, (1, 2), (0.5, None), ["one", "two"])
    assert trace["line"] == {"color": "@s1", "dash": "dash", "width": 2}
    assert trace["marker"]["symbol"] == "circle"
    assert trace["name"] == "a &lt;b&gt;"
    assert trace["legendgroup"] == "m0"


def test_a_band_follows_the_high_values_and_returns_by_the_low_ones():
    trace = band(LOOK, (0, 1), (Spread(2, 2.0, 1.0, 2.0, 3.0), Spread(2, 5.0, 4.0, 5.0, 6.0)))
    assert trace["x"] == [0, 1, 1, 0]
    assert trace["y"] == [3.0, 6.0, 4.0, 1.0]
    assert trace["hoverinfo"] == "skip"


def test_an_outline_starts_and_ends_at_zero():
    trace = outline(LOOK, Histogram((0.0, 2.0, 4.0), (3, 1)), "{} to {} tokens", ["low", "high"])
    assert trace["x"] == [0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0]
    assert trace["y"] == [0, 3, 3, 3, 1, 1, 1, 0]
    low, high = "<b>a &lt;b&gt;</b><br>0 to 2.00 tokens<br>low", "<b>a &lt;b&gt;</b><br>2.00 to 4.00 tokens<br>high"
    assert trace["hovertext"] == ["", low, low, low, high, high, high, ""]


@pytest.mark.parametrize(
    ("values", "wide"), [((1, 24), False), ((1, 26), True), ((0, 1000), False), ((-5, 900), False), ((), False)]
)
def test_an_axis_is_logarithmic_if_values_are_far_apart(values, wide):
    assert (axis("x", values).get("type") == "log") is wide


def test_a_logarithmic_axis_has_readable_ticks():
    found = logarithmic(3, 500)
    assert found["tickvals"] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert found["ticktext"][-1] == "5,000"
    assert logarithmic(0.05, 0.9)["ticktext"][:3] == ["0.01", "0.02", "0.05"]
    assert logarithmic(1, 1e6)["tickvals"] == [10.0**decade for decade in range(7)]
