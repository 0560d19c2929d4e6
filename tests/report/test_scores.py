"""The sections of an evaluation: tables, axes, and figures by length."""

import pytest

from cenote.evaluation_records import Part, Setting
from cenote.records import Estimate
from cenote.report import scores
from cenote.report.formatting import MISSING
from cenote.report.plots import Line, Rule

from .evaluations import (
    bare_task,
    clusters,
    estimate,
    evaluation,
    part,
    parts,
    rich_evaluation,
    search,
    setting,
    short_parts,
    task,
)


@pytest.fixture(scope="module")
def sections():
    return {one.key: one for one in scores.build_sections(rich_evaluation())}


def table(sections, key):
    (found,) = [one for section in sections.values() for one in section.tables if one.key == key]
    return found


def by_length_of(parts, by="text"):
    (named,) = scores.name_tasks([task(by_length=parts)])
    return scores.draw_by_length(named, by)


def test_equal_names_are_numbered():
    assert [(one.key, one.name) for one in scores.name_tasks([task(), task()])] == [
        ("t0", "scifact (1)"),
        ("t1", "scifact (2)"),
    ]


def test_changes_beyond_chance_are_marked(sections):
    found = table(sections, "ways")
    assert found.head == ("task", "way", "score", "change", "vectors per text")
    assert [row[1:2] + row[3:] for row in found.rows] == [
        ("truncate, unchanged", "–", "1.0"),
        ("window-mean", "higher: +0.0310 (+0.0210 to +0.0410)", "1.0"),
        ("windows", "lower: −0.0240 (−0.0340 to −0.0140)", "2.4"),
        ("segments 8", "+0.0040 (−0.0060 to +0.0140)", "1.9"),
    ]
    assert found.strips.values[0] is None
    assert found.strips.axis.low == -found.strips.axis.high
    assert found.strips.axis.high >= 0.041


def sized(*settings):
    (named,) = scores.name_tasks([task(settings=settings)])
    return scores.draw_sizes(named, "truncate")


def test_a_score_is_drawn_against_the_vectors_of_a_text():
    ways = {"window-mean": 1.0, "segments 1": 1.0, "windows": 61.0, "segments 8": 7.9, "segments 2": 2.0}
    figure = sized(*(setting(name, size / 1000, vectors=size) for name, size in ways.items()))
    rule, line = figure.marks
    assert (rule.value, rule.label, rule.upright) == (0.6451, "truncate", False)
    assert line.x == (1.0, 2.0, 7.9, 61.0)
    assert line.y == pytest.approx((0.601, 0.602, 0.6079, 0.661))
    assert line.labels[2] == "scifact\nsegments 8, 7.9 vectors a text\n0.6079 (0.5579 to 0.6579)"
    assert line.ends[0] == pytest.approx((0.551, 0.651))
    assert figure.x.log
    assert [tick.label for tick in figure.x.ticks] == ["1", "2", "5", "10", "20", "50"]
    assert figure.y.low <= 0.551 < 0.711 <= figure.y.high


def test_few_sizes_of_an_index_are_no_curve(sections):
    few = [setting("window-mean", 0), *(setting(f"segments {size}", 0.1, vectors=size) for size in (2, 4))]
    assert sized(*few) is None
    assert sized(*few, setting("windows", 0.1, vectors=9)) is not None
    assert sections["long"].figures == ()
    found = scores.build_sections(evaluation(task(settings=(*few, setting("windows", 0.1, vectors=9)))))
    assert [one.title for section in found for one in section.figures] == ["scifact, by the size of the index"]


def test_the_vectors_of_an_unknown_way_are_a_dash():
    found = evaluation(search(), settings={"long": "segments 4"})
    row = table({one.key: one for one in scores.build_sections(found)}, "ways").rows[0]
    assert row[1::3] == ("segments 4, unchanged", "–")


def test_texts_that_are_cut_are_a_share_of_all(sections):
    assert table(sections, "cut").rows[0] == ("scifact", "5,483", "3,291", "60.0 %")
    (section,) = [one for one in scores.build_sections(evaluation(bare_task(texts=0))) if one.key == "long"]
    assert section.tables[1].rows == (("tatoeba", "0", "0", "–"),)
    assert "No other way to read long texts was tried" in section.intro


@pytest.mark.parametrize(
    ("values", "ends", "labels"),
    [
        ([Estimate(0.4, 0.3, 0.5), None], (0, 1), ["0", "0.5", "1"]),
        ([Estimate(-0.6, None, None)], (-1, 1), ["−1", "−0.5", "0", "0.5", "1"]),
        ([Estimate(1.2, 0.9, 1.4)], (0, 1.5), ["0", "0.5", "1", "1.5"]),
        ([], (0, 1), ["0", "0.5", "1"]),
    ],
)
def test_scores_are_drawn_from_0_to_1_unless_they_lie_outside(values, ends, labels):
    axis = scores.score_axis(values)
    assert (axis.low, axis.high) == ends
    assert [tick.label for tick in axis.ticks] == labels


@pytest.mark.parametrize("change", [Estimate(0.0, None, None), Estimate(1e-9, -1e-9, 2e-9), Estimate(-0.7, -0.9, 0.1)])
def test_any_change_has_an_axis_around_0(change):
    axis = scores.change_axis([None, change])
    assert axis.place(0) == pytest.approx(0.5)
    assert axis.ticks[1].label == "0"
    assert all(0 <= axis.place(one) <= 1 for one in (change.value, change.low, change.high) if one is not None)


def test_the_papers_intervals_are_drawn_where_they_lie():
    figure = by_length_of(parts(0.8, 0.05, "text"))
    rule, line = figure.marks
    assert (type(rule), type(line)) == (Rule, Line)
    assert rule.value == 0.6451
    assert line.x == (50, 250, 350, 450, 550)  # the second has no score
    assert line.ends[0] == pytest.approx((0.75, 0.85))
    assert line.labels[-1] == "scifact\n500 tokens and more, 80 items\n0.5500 (0.5000 to 0.6000)"
    assert [tick.label for tick in figure.x.ticks] == ["0", "100", "200", "300", "400", "500"]
    assert figure.notes == ("Not drawn, with fewer than 30 items: 100 to 199 tokens.",)
    assert figure.title == "scifact, by length of the text"


def test_texts_of_one_interval_are_drawn_by_quarters():
    figure = by_length_of(short_parts(0.8, 0.05, "text"))
    assert figure.title == "scifact, by length of the text, in quarters"
    assert figure.marks[1].x == (9, 12.5, 18, 41)
    assert figure.notes == ()


def test_without_two_scores_there_is_no_figure_but_a_note():
    few = (part("0 to 99 tokens", 0.5, "text"), part("quarter 1, 7 to 9 tokens", None, "text", items=12))
    assert by_length_of(few) is None
    (section,) = [one for one in scores.build_sections(evaluation(task(by_length=few))) if one.key == "length"]
    assert section.figures == ()
    assert section.notes == ("No figure, since fewer than two parts have a score: scifact, by text.",)


def test_scores_without_intervals_are_drawn_as_points():
    bare = [Estimate(0.5, None, None), Estimate(0.6, None, None)]
    names = ("0 to 99 tokens", "100 to 199 tokens")
    ends = ((0, 99), (100, 199))
    found = tuple(
        Part("text", "interval", name, *end, 40, score) for name, end, score in zip(names, ends, bare, strict=True)
    )
    assert by_length_of(found).marks[1].ends == (None, None)


def test_parts_without_a_score_say_why(sections):
    found = table(sections, "parts-t1")
    assert found.head == ("part", "length of", "items", "accuracy", "mean entropy of predictions")
    assert found.rows[1] == ("100 to 199 tokens", "text", "7", "fewer than 30 items", "1.76")
    assert table(sections, "parts-t2").head[-1] == "adjusted Rand index"  # no entropy
    same = scores.build_sections(evaluation(task(by_length=(part("longest 20 %", None, items=90),))))
    assert table({one.key: one for one in same}, "parts-t0").rows == (
        (
            "longest 20 %",
            "document",
            "90",
            "items from fewer than 30 sources, unequal ones counted as fewer, or equal scores",
        ),
    )


def test_parts_of_a_clustering_stand_beside_the_whole_by_the_same_measure(sections):
    assert table(sections, "parts-t2").rows[-1] == ("all items", MISSING, "2,048", "0.3377 (0.3277 to 0.3477)")
    assert [row[4] for row in table(sections, "ends").rows if row[0] == "news"] == ["adjusted Rand index"] * 2
    (figure,) = (one for one in sections["length"].figures if one.title.startswith("news"))
    assert (figure.y.title, figure.marks[0]) == ("adjusted Rand index", Rule(0.3377, upright=False))
    assert "Parts have the adjusted Rand index in place of the v_measure" in sections["length"].intro
    (named,) = scores.name_tasks([clusters(part_score=None)])
    assert not any(isinstance(one, Rule) for one in scores.draw_by_length(named, "text").marks)


def test_a_part_of_many_items_from_few_sources_is_not_said_to_have_few_items():
    few = part("100 to 199 tokens", None, "text", items=7), part("200 to 299 tokens", None, "text", items=40)
    drawn = [one for one in parts(0.8, 0.05, "text") if one.score is not None]
    assert by_length_of((*few, *drawn)).notes == (
        "Not drawn, with fewer than 30 items: 100 to 199 tokens.",
        "Not drawn, with items from fewer than 30 sources, unequal ones counted as fewer, or equal scores: "
        "200 to 299 tokens.",
    )


def test_the_ends_and_the_positions_are_rows(sections):
    assert [row[:3] for row in table(sections, "ends").rows[:3]] == [
        ("scifact", "document", "shortest 20 %"),
        ("scifact", "document", "longest 20 %"),
        ("scifact", "query", "shortest 20 %"),
    ]
    assert table(sections, "positions").rows[2] == ("scifact", "truncate", "end", "213", "0.4400 (0.3900 to 0.4900)")
    assert sections["length"].notes == (
        "scifact: the relevant documents among the longest 20 % have a mean rank of 17.3.",
    )


def test_only_pairs_need_their_value_explained():
    found = task(kind="sts", worst=rich_evaluation().tasks[1].worst)
    intros = [
        section.intro
        for one in (found, rich_evaluation().tasks[1])
        for section in scores.build_sections(evaluation(one))
        if section.key == "worst"
    ]
    assert ["The value of a pair" in intro for intro in intros] == [True, False]


def test_a_change_without_an_interval_is_not_marked():
    bare = Setting("windows", estimate(0.5), Estimate(0.5, None, None), 2.0)
    found = scores.build_sections(evaluation(task(settings=(bare,))))
    assert table({one.key: one for one in found}, "ways").rows[1][3] == "+0.5000"
