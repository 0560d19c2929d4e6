"""The verdict on the temperatures tried, and the advice on length collapse that follows from them."""

import pytest

from cenote.diagnosis.verdicts import length_collapse, temperature
from cenote.records import Change, Estimate

from ...builders import length_curve, model, run

SEVERE = (0.11, 0.1, 0.12)  # with a standard deviation of 0.1
APART = Change(Estimate(-0.05, -0.06, -0.04), Estimate(0.002, -0.001, 0.005))
FURTHER = Change(Estimate(-0.07, -0.08, -0.06), None)
TRIED = ("0.9", "0.8", "0.7")


def tried(*changes):
    """A model with severe length collapse, and these changes by temperatures 0.9, 0.8 and so on."""
    curve = length_curve(SEVERE)
    others = (run(name, length=curve, change=change) for name, change in zip(TRIED, changes, strict=False))
    return model(run(length=curve), *others)


def test_the_best_temperature_is_named():
    (found,) = temperature.judge(tried(APART))
    assert found.finding == ("At temperature 0.9, long texts lie 0.05 less close together than in the unchanged model.")
    assert found.evidence.endswith("0.9: -0.050 (-0.060 to -0.040) and +0.002 (-0.001 to +0.005).")
    assert found.advice == "Check it on labelled data before you adopt it."
    (found,) = temperature.judge(tried(APART, FURTHER, None))
    assert found.finding.startswith("At temperature 0.8, long texts lie 0.07 less close together")
    assert "0.8: -0.070 (-0.080 to -0.060) and not known; 0.7: not known. " in found.evidence
    assert found.evidence.endswith("The intervals hold for all 3 temperatures together.")
    (collapse,) = length_collapse.judge(tried(APART, FURTHER))
    assert collapse.advice.startswith("Temperature 0.8 keeps long texts farther apart: check it on labelled data. Or")


@pytest.mark.parametrize(
    "change",
    [Estimate(0.04, 0.02, 0.06), Estimate(-0.04, -0.1, 0.02), Estimate(-0.001, -0.002, -0.0005)],
    ids=["closer", "perhaps chance", "too little to notice"],
)
def test_a_temperature_that_does_not_help_is_not_advised(change):
    (found,) = temperature.judge(tried(Change(change, None)))
    assert found.finding == "None of the temperatures tried moves long texts apart by more than chance."
    assert (found.grade, found.advice) == ("none", "")
    (collapse,) = length_collapse.judge(tried(Change(change, None)))
    assert collapse.advice.startswith("None of the temperatures tried keeps long texts apart. Instead, split long")


@pytest.mark.parametrize("changes", [(), (Change(None, None),)], ids=["none tried", "change not known"])
def test_a_temperature_is_advised_if_no_change_is_known(changes):
    (collapse,) = length_collapse.judge(tried(*changes))
    assert collapse.grade == "severe"
    assert collapse.advice.startswith("Try an attention temperature below 1 for long texts (diagnose")


def test_an_unknown_change_is_said_and_no_other_temperature_has_no_verdict():
    (found,) = temperature.judge(tried(Change(None, None)))
    assert found.grade == "unknown"
    assert found.finding == "These texts cannot show whether a temperature moves long texts apart."
    assert list(temperature.judge(tried())) == []
