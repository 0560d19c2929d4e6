"""The heat map: a cell for each pair, its number in it, its colour by sign and size."""

import re

from cenote.report.heatmap import Cell, HeatMap, render_heat_map

CELLS = (
    Cell(0.8, 1.0, 0.5, "query 0.8: <i>"),
    Cell(1.0, 0.8, -1.0, "query 1"),
    Cell(0.8, 0.8, 0.25, "both"),
)


def test_columns_rise_and_rows_fall():
    found = HeatMap(CELLS)
    assert found.columns == (0.8, 1.0)
    assert found.rows == (1.0, 0.8)


def test_each_cell_has_its_number_and_a_colour_by_sign_and_size():
    written = render_heat_map(HeatMap(CELLS))
    assert "Pairs without a number were not tried." in written
    assert re.findall('class="value">(.*?)<', written) == ["+0.50", "−1.00", "+0.25"]
    assert re.findall('class="(up|down)" fill-opacity="(.*?)"', written) == [
        ("up", "0.250"),
        ("down", "0.500"),
        ("up", "0.125"),
    ]
    assert '<rect x="50.00%" y="50.00%" width="50.00%" height="50.00%" class="down"' in written
    assert "<title>query 0.8: &lt;i&gt;</title>" in written


def test_frames_are_named_where_they_are_drawn():
    written = render_heat_map(HeatMap(CELLS, chosen=(0.8, 1.0), own=(1.0, 1.0)))
    assert '<rect x="0.00%" y="0.00%" width="50.00%" height="50.00%" class="frame"/>' in written
    assert 'class="frame own-frame"/>' in written
    assert "A frame marks the chosen pair. A dashed frame marks the model's own temperature." in re.sub(
        "&#x27;", "'", written
    )
    plain = render_heat_map(HeatMap(CELLS, own=(0.3, 0.3)))  # no such cell
    assert "<rect" in plain
    assert 'class="frame' not in plain
    assert "chosen pair" not in plain


def test_cells_without_any_change_have_no_colour():
    written = render_heat_map(HeatMap((Cell(1, 1, 0.0, ""), Cell(0.9, 1, 0.0, ""))))
    assert re.findall('fill-opacity="(.*?)"', written) == ["0.000", "0.000"]
    assert "not tried" not in written
