"""The verdict on length collapse."""

import pytest

from cenote.diagnosis.verdicts import length_collapse
from cenote.records import Estimate, Spread

from ...builders import length_curve, lengths, model, run

SEVERE = (0.11, 0.1, 0.12)  # with a standard deviation of 0.1


def judge(difference=SEVERE, *, words=None, **fields):
    (verdict,) = length_collapse.judge(model(run(length=length_curve(difference, **fields)), words=words))
    return verdict


# Grades and findings.


def test_the_difference_is_graded_in_standard_deviations_of_all_cosines():
    narrow, wide = (judge((0.05, 0.04, 0.06), deviation=deviation) for deviation in (0.04, 0.3))
    assert (narrow.grade, wide.grade) == ("severe", "none")
    assert "+1.2 times the standard deviation of all pairs' cosines (0.040)" in narrow.evidence


@pytest.mark.parametrize(
    ("difference", "grade", "start", "end"),
    [
        ((0.045, -0.001, 0.0499), "unknown", "Inconclusive: ", "which may be chance."),  # slight or none
        ((0.06, 0.05, 0.07), "moderate", "Texts of 100 or more tokens are 0.06 closer", ": moderate length collapse."),
        ((0.06, 0.005, 0.115), "unknown", "Texts of 100 or more", "do not show whether it is little or much."),
        ((0.11, 0.03, 0.19), "unknown", "Texts of 100 or more", "whether it is little or much."),  # severe or slight
        ((0.11, 0.06, 0.16), "severe", "Texts of 100 or more", "under 100: severe length collapse."),
        ((0.01, -0.02, 0.04), "none", "No notable length collapse: texts of 100 or more tokens are 0.01", "under 100."),
        ((0.01, -0.05, 0.07), "unknown", "Inconclusive: ", "which may be chance."),  # none or moderate
        ((0.2, -0.01, 0.4), "unknown", "Inconclusive: texts of 100 or more tokens are 0.20 closer", "may be chance."),
        ((-0.2, -0.3, -0.1), "none", "No length collapse: texts of 100 or more tokens are 0.20 farther", "under 100."),
    ],
)  # fmt: skip
def test_the_grade_and_finding_state_the_difference_and_how_certain_it_is(difference, grade, start, end):
    found = judge(difference)
    assert found.grade == grade
    assert found.finding.startswith(start)
    assert found.finding.endswith(end)


def test_a_certain_trend_is_stated_where_the_ends_are_inconclusive():
    slopes = (Estimate(0.01, 0.005, 0.02), Estimate(-0.01, -0.02, -0.005), Estimate(0.01, -0.01, 0.02))
    rises, falls, open_ = (judge((0.2, -0.01, 0.4), slope_per_doubling=slope).finding for slope in slopes)
    assert rises.endswith("Over all lengths, closeness rises with length.")
    assert falls.endswith("Over all lengths, closeness falls with length.")
    assert open_.endswith("which may be chance.")


def test_the_control_is_stated_in_its_own_deviations():
    found = judge(words=length_curve((0.07, 0.06, 0.08)))
    assert "are 0.07 closer for long texts, 0.7 times their own standard deviation" in found.evidence
    found = judge(words=length_curve((-0.1, -0.2, 0.0)))
    assert "Control: plain averages of the word embeddings show no length collapse." in found.evidence
    assert "Control" not in judge().evidence


def test_truncated_texts_are_stated_as_a_limit():
    (found,) = length_collapse.judge(model(lengths=lengths(cut=12)))
    assert found.limit.endswith("; 12 % of the texts are truncated, and count as texts of 256 tokens.")


# Texts that cannot show it.


@pytest.mark.parametrize(
    ("count", "shortest", "cut", "evidence"),
    [
        (100, 300.0, 60, "Nearly all texts are truncated to 256 tokens, so the model reads only one length."),
        (100, 8.0, 0, "The lengths of the texts differ too little for two groups of 20."),
        (
            100,
            8.0,
            60,
            "After truncation to 256 tokens, the lengths of the texts differ too little for two groups of 20.",
        ),
        (2, 8.0, 0, "There are 2 texts, too few for two groups of 20."),
    ],
)
def test_the_reason_is_stated_if_lengths_cannot_be_compared(count, shortest, cut, evidence):
    curve = length_curve(None, bins=length_curve().bins[:1])
    tokens = Spread(count=count, mean=400.0, low=shortest, median=400.0, high=600.0)
    (found,) = length_collapse.judge(model(run(length=curve), lengths=lengths(tokens=tokens, cut=cut)))
    assert (found.grade, found.evidence) == ("unknown", evidence)
    assert found.limit == "The measure needs at least 20 short and 20 long texts, better hundreds."


def test_notes_of_the_measure_are_the_reason_if_there_are_bins():
    found = judge(None, notes=("no difference of long and short: 1 of 1 bins.",))
    assert (found.grade, found.evidence) == ("unknown", "No difference of long and short: 1 of 1 bins.")


def test_equal_cosines_cannot_show_it():
    found = judge(deviation=0.0)
    assert found.grade == "unknown"
    assert found.evidence == "All pairs of embeddings have the same cosine, so there is no scale for a difference."
