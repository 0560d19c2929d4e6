"""The chapters of a comparison as plain data: the tables, the axis, what is said in words."""

from dataclasses import replace

import pytest

from cenote.report import differences
from cenote.report.formatting import MISSING

from .comparisons import EVIL_TASK, bare_comparison, cell, cells, comparison, own_sentences, rich_comparison


@pytest.fixture(scope="module")
def chapters():
    return {one.section.key: one for one in differences.build_chapters(rich_comparison())}


def table(chapter, place=0):
    return chapter.section.tables[place]


def test_the_mean_of_all_tasks_comes_first(chapters):
    assert list(chapters) == ["t0", "t1", "t2", "length", "cost", "notes"]
    assert [chapters[key].section.label for key in ("t0", "t1", "t2")] == ["All tasks", "scifact", EVIL_TASK]


def test_a_row_holds_all_figures_of_a_cell(chapters):
    found = table(chapters["t1"])
    assert found.head[:7] == ("setting", "score", "size", "time", "difference", "relative", "p (alone)")
    assert found.head[7:] == ("effect", "won / lost / same", "resolvable", "neighbours", "verdict")
    rows = [tuple(part.replace("\N{NO-BREAK SPACE}", " ") for part in row) for row in found.rows]
    assert rows[1] == (
        "MiniLM: cls",
        "0.6039",
        "768 x 1.25",
        "8.31",
        "−0.0412 (−0.0542 to −0.0282)",
        "−6.39 %",
        "< 0.001 (< 0.001)",
        "−0.288",
        "81 / 1,064 / 155",
        "0.0187",
        "74.3 %",
        "worse",
    )
    assert rows[0] == ("MiniLM: mean", "0.6451", "384", "7.31", *[""] * 7, "baseline")
    assert rows[3][6] == "0.322 (0.088)"


def test_columns_without_values_are_left_out(chapters):
    assert "neighbours" not in table(chapters["t0"]).head
    bare = differences.build_chapters(bare_comparison())[0]
    assert table(bare).head == ("setting", "score", "difference", "verdict")
    assert [row[-1] for row in table(bare).rows] == ["baseline", "too few items"]


def test_the_baseline_is_named_and_its_row_stands_out(chapters):
    assert table(chapters["t1"]).strong == (0,)
    assert chapters["t1"].section.intro == (
        "retrieval, scored by ndcg_at_10. Better than MiniLM: mean: MiniLM: landmark; MiniLM: <b>own | module</b>, "
        "temperature linear(start=1, end=0.8, shortest=32, longest=256), window-mean. Worse: MiniLM: cls. These items "
        "would show differences from 0.0187 on. 6 settings compared, better: 2, worse: 1, not told apart: 2, "
        "cannot be resolved: 1. The baseline is MiniLM: mean."
    )


def test_several_baselines_get_a_column():
    other = cell("e5: cls", 0.01, "better", baseline="e5: mean")
    (chapter, *_) = differences.build_chapters(comparison(*cells(), other))
    assert table(chapter).head[-1] == "compared with"
    assert table(chapter).rows[-1][-1] == "e5: mean"


def test_the_forest_has_the_figures_of_the_cells(chapters):
    found = rich_comparison().of("scifact")
    rows = chapters["t1"].forest.rows
    assert [(row.name, row.difference, row.band, row.verdict) for row in rows] == [
        (one.setting, one.difference, one.resolvable, one.verdict) for one in found
    ]
    axis = chapters["t1"].forest.axis
    for one in found:
        parts = (one.difference.value, one.difference.low, one.difference.high, one.resolvable, 0.0)
        assert all(0 <= axis.place(part) <= 1 for part in parts if part is not None)
    assert axis.title == "difference of ndcg_at_10"


def test_quarters_are_rows_over_one_axis(chapters):
    found = table(chapters["length"])
    assert len(chapters["length"].section.tables) == 1  # the other task has none
    assert found.rows[1] == (
        "MiniLM: cls",
        "document",
        "quarter 2, 40 to 91 tokens",
        "76",
        "−0.0412 (−0.0612 to −0.0212)",
    )
    assert len(found.rows) == len(found.strips.values) == 12
    assert found.strips.axis.low == -found.strips.axis.high <= -0.1436


def test_of_many_quarters_only_the_first_table_is_open():
    found = comparison(*(replace(one, task=name) for name in "abc" for one in cells()))
    (section,) = [one.section for one in differences.build_chapters(found) if one.section.key == "length"]
    assert [one.open for one in section.tables] == [True, False, False]


def test_own_sentences_have_a_table_of_what_becomes_of_them():
    left_out, kept = (one.section.tables[1] for one in differences.build_chapters(own_sentences())[:2])
    assert left_out.head == ("setting", "mean reciprocal rank")
    assert kept.head == ("setting", "found", "lost to the cut", "lost to pooling", "not found", "mean reciprocal rank")
    assert kept.rows[1] == (
        "cls",
        "50 % (48 to 52 %)",
        "20 % (18 to 22 %)",
        "25 % (23 to 27 %)",
        "5 % (3 to 7 %)",
        "0.6100 (0.5800 to 0.6400)",
    )
    assert "lost to pooling" in differences.explain_columns(own_sentences())
    assert "lost to pooling" not in differences.explain_columns(comparison())


def test_costs_are_those_of_the_record(chapters):
    assert table(chapters["cost"]).rows[1] == ("MiniLM: cls", "768", "1.25", "8.31", "5,483")


def test_what_the_scores_rest_on_is_said():
    assert "one test for all settings and tasks" in differences.state_evidence(comparison())
    assert "labelled data" in differences.state_evidence(comparison())
    assert "no relevance is claimed" in differences.state_evidence(comparison(labelled=False))
    assert differences.state_subject(rich_comparison()) == '7 settings of all-MiniLM-L6-v2 and <i>e5 & "x" on 2 tasks'
    assert differences.state_subject(comparison(models=())) == "0 settings of no model on 0 tasks"


def test_a_missing_figure_is_a_dash():
    few = cell("cls", 0.1, "too few items", wins=0, losses=0, ties=0)
    (chapter, *_) = differences.build_chapters(comparison(*cells(), few))
    row = dict(zip(table(chapter).head, table(chapter).rows[-1], strict=True))
    assert (row["p (alone)"], row["resolvable"], row["won / lost / same"]) == (MISSING, MISSING, MISSING)
    assert row["difference"] == "+0.1000"


def test_the_settings_are_listed_with_their_parts():
    compared, models = differences.list_settings(rich_comparison())
    assert compared.rows[5][1:] == (
        "MiniLM",
        "<b>own | module</b>",
        "linear(start=1, end=0.8, shortest=32, longest=256)",
        "all",
        "window-mean",
    )
    assert ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2") in models.rows


@pytest.mark.parametrize("verdict", ["too few items", "items not known"])
def test_nothing_is_said_to_be_better_or_not_where_nothing_is_claimed(verdict):
    own, untested = cell("mean", 0.0, "baseline"), cell("cls", 0.1, verdict, resolvable=None)
    assert comparison(own, untested).answer("scifact") == f"Nothing can be claimed: {verdict}."
    tested = cell("max", 0.0, "not told apart", resolvable=None)
    assert comparison(own, untested, tested).answer("scifact") == "Nothing is better than mean."
