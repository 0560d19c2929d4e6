"""The chapters of a tuning as plain data: the curve, the heat map, the tables, what is said in words."""

import pytest

from cenote.records import Estimate
from cenote.report import tuned
from cenote.report.plots import Line, Rule

from .tunings import EVIL_TASK, bare_tuning, confirmed, estimate, gain_at, rich_tuning, tried, tuning


@pytest.fixture(scope="module")
def rich():
    return rich_tuning()


@pytest.fixture(scope="module")
def sections(rich):
    return {one.key: one for one in tuned.build_sections(rich)}


def lines(figure):
    return [mark for mark in figure.marks if isinstance(mark, Line)]


def test_the_curve_has_the_constants_with_their_intervals(rich):
    figure = tuned.draw_curve(rich)
    development, _ = lines(figure)
    assert development.x == (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert development.y[:5] == pytest.approx([100 * gain_at(tau, tau) for tau in development.x[:5]])
    assert development.y[5] == 0  # the model's own, by definition
    assert development.ends[3] == pytest.approx((0.82 - 0.6, 0.82 + 0.6))
    assert development.ends[5] is None
    assert "temperature 0.8" in development.labels[3]
    assert [mark.value for mark in figure.marks if isinstance(mark, Rule)] == [1.0, 0]


def test_the_held_out_point_is_another_mark(rich):
    figure = tuned.draw_curve(rich)
    development, held_out = lines(figure)
    assert held_out.y == pytest.approx((0.47,))
    assert held_out.ends[0] == pytest.approx((0.08, 0.86))
    assert 0 < held_out.x[0] - 0.8 < 0.02
    assert development.look.symbol != held_out.look.symbol
    assert [entry.look.label for entry in figure.legend] == [
        "development half",
        "held-out half, the chosen temperature only",
    ]
    assert "The diamond is the chosen temperature on the held-out half" in figure.reading


@pytest.mark.parametrize("chosen", ["1 up to 84 tokens and <0.8> beyond", "0.8 for a query and 0.9 for a document"])
def test_a_choice_that_is_no_constant_is_named_below_the_curve(chosen):
    figure = tuned.draw_curve(rich_tuning(chosen=chosen))
    assert len(lines(figure)) == 1
    assert figure.notes == (
        f"The chosen temperature, {chosen}, is no constant: its held-out gain is in the next chapter.",
    )


def test_without_two_constants_there_is_no_curve_but_a_note():
    found = tuning(tried(0.9), own="linear(start=1, end=0.8, shortest=32, longest=256)")
    assert tuned.draw_curve(found) is None
    (section, *_) = tuned.build_sections(found)
    assert section.notes == ("Fewer than two constants were tried: no curve.",)
    assert tuned.draw_curve(bare_tuning()) is not None  # its own temperature is one of two


def test_the_heat_map_has_pairs_and_on_its_diagonal_constants(rich):
    found = tuned.draw_heat_map(rich)
    cells = {(cell.query, cell.document): cell.percent for cell in found.cells}
    assert len(cells) == 36
    assert cells[0.8, 0.9] == pytest.approx(100 * gain_at(0.8, 0.9))
    assert cells[0.7, 0.7] == pytest.approx(100 * gain_at(0.7, 0.7))
    assert cells[1.0, 1.0] == 0
    assert (found.chosen, found.own) == ((0.8, 0.8), (1.0, 1.0))
    assert tuned.draw_heat_map(bare_tuning()) is None


def test_all_temperatures_are_rows_and_the_choice_stands_out(sections, rich):
    (table,) = sections["curve"].tables
    assert len(table.rows) == len(rich.tried) == len(table.strips.values) == 36
    assert table.head == ("temperature", "form", "change", "scifact", EVIL_TASK)
    assert table.rows[3] == ("0.8, chosen", "constant", "+0.82 % (+0.22 to +1.42 %)", "+0.95 %", "+0.69 %")
    assert table.strong == (3,)
    assert [tick.label for tick in table.strips.axis.ticks][1] == "0"


def test_many_tasks_have_a_table_of_their_own():
    names = tuple(f"t{place}" for place in range(5))
    found = tuning(tried(0.9, tasks=(0.01,) * 5), tasks=names)
    every, by_task = tuned.build_sections(found)[0].tables
    assert every.head == ("temperature", "form", "change")
    assert by_task.head == ("temperature", *names)
    assert by_task.rows == (("0.9", *["+1.00 %"] * 5),)
    assert not by_task.open


def test_the_held_out_half_by_task(sections):
    (table,) = sections["held-out"].tables
    rows = [tuple(part.replace("\N{NO-BREAK SPACE}", " ") for part in row) for row in table.rows]
    assert rows[0] == (
        "scifact",
        "retrieval",
        "ndcg_at_10",
        "1,150",
        "0.6451",
        "0.6489",
        "+0.0038 (+0.0007 to +0.0069)",
        "+0.59 %",
        "0.017",
        "0.0044",
    )
    # Of all tasks the difference is a mean of relative changes.
    assert rows[2][0] == "all tasks"
    assert rows[2][6:] == ("+0.47 % (+0.08 to +0.86 %)", "+0.47 %", "0.017", "0.44 %")


def test_a_half_too_small_for_a_test_has_dashes():
    found = tuning(held_out=(confirmed(p=None, resolvable=None, difference=Estimate(0.01, None, None)),))
    (row,) = tuned.build_sections(found)[0].tables[0].rows
    assert row[6:] == ("+0.0100", "+0.59 %", "–", "–")


def test_what_the_figures_mean_is_said(rich):
    said = tuned.state_expectations(rich)
    assert said == (
        "On the held-out half, temperature 0.8 changes the score by +0.47 % (+0.08 to +0.86 %) on average over the "
        "tasks.",
        "The figures of the development half are what the choice was made on: no gain to expect.",
        "In cross-validation within the development half, choosing so changes the score by +0.29 % (−0.13 to +0.71 %), "
        "which the held-out half confirms.",
        "By the spread of these differences, a half of 1,743 items would show a gain of 0.53 %, the mean that the "
        "TempScale paper reports, four times of five.",
    )
    loss = tuned.state_expectations(rich_tuning(recommendation=None, expected=Estimate(-0.0022, None, None)))
    assert loss[2].endswith("choosing so changes the score by −0.22 %.")
    bare = tuned.state_expectations(bare_tuning())
    assert bare[0].startswith("No temperature was better than the model's own (1) on the development half")
    assert "items would show" not in " ".join(bare)


def test_the_result_is_listed(rich):
    rows = dict(tuned.list_result(rich).rows)
    assert rows["recommendation"] == "0.8"
    assert rows["held-out gain"] == "+0.47 % (+0.08 to +0.86 %)"
    none = dict(tuned.list_result(bare_tuning()).rows)
    assert (none["recommendation"], none["best on the development half"], none["held-out gain"]) == (
        "none",
        "none",
        "–",
    )
    both = dict(tuned.list_result(tuning(recommendation={"query": 0.8, "document": 1})).rows)
    assert both["recommendation"] == '{"query": 0.8, "document": 1}'


def test_gains_far_apart_are_drawn_over_a_logarithmic_axis():
    found = tuning(tried(0.01), tried(2.0, gain=estimate(0.0)), chosen="2", own="1")
    assert tuned.draw_curve(found).x.log
    assert lines(tuned.draw_curve(found))[1].x[0] > 2
