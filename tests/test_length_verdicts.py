"""Verdicts on length: that they follow what was tried. Their grades and their order are tested in test_verdicts."""

from dataclasses import replace

import pytest

from cenote.length_verdicts import length_collapse, temperatures, truncation
from cenote.results import (
    Change,
    Closeness,
    Estimate,
    Histogram,
    LengthBin,
    LengthCurve,
    Lengths,
    ModelDiagnosis,
    Run,
    Spread,
)

ANY = Spread(4950, 0.1, 0.05, 0.1, 0.2)
HISTOGRAM = Histogram((0.0, 1.0), (1,))
BINS = tuple(LengthBin(*ends, 50, Estimate(0.1, 0.05, 0.15), 0.9, None, None) for ends in ((0, 100), (100, None)))


def model(*tried, cut=0, unseen=0.0, longest=0.1):
    """A model whose long texts lie 0.11 closer; `tried` are changes of that by temperatures 0.9, 0.8 ..."""
    curve = LengthCurve(Closeness(ANY, 0.1), BINS, Estimate(0.11, 0.1, 0.12), None, None, ())
    plain = Run("1", None, curve, None, None, 0, None, (), (), None)
    runs = (plain, *(replace(plain, temperature=f"0.{9 - at}", change=one) for at, one in enumerate(tried)))
    lengths = Lengths(256, Spread(100, 60, 10, 50, 300), HISTOGRAM, cut, unseen, longest)
    return ModelDiagnosis("m", "Bert", "mean", "1", 384, "ab", None, lengths, None, runs)


APART = Change(Estimate(-0.05, -0.06, -0.04), Estimate(0.002, -0.001, 0.005))
FURTHER = Change(Estimate(-0.07, -0.08, -0.06), None)
NOT = [Estimate(0.04, 0.02, 0.06), Estimate(-0.04, -0.1, 0.02), Estimate(-0.001, -0.002, -0.0005)]


def test_a_temperature_that_keeps_long_texts_apart_is_named():
    (said,) = temperatures(model(APART))
    assert "At temperature 0.9 long texts lie 0.05 less close" in said.finding
    assert "0.9: -0.050 (-0.060 to -0.040) and +0.002 (-0.001 to +0.005)." in said.evidence
    assert said.advice == "Judge on labelled data before you keep one."
    (collapse,) = length_collapse(model(APART, FURTHER))
    assert collapse.advice.startswith("Temperature 0.8 keeps them farther apart: judge it on labelled data. Or split")


@pytest.mark.parametrize("change", NOT)
def test_a_temperature_that_does_not_is_advised_no_more(change):
    """The wrong way, perhaps chance, and too little to notice."""
    (said,) = temperatures(model(Change(change, None)))
    assert "No temperature" in said.finding
    assert said.advice == ""
    (collapse,) = length_collapse(model(Change(change, None)))
    assert collapse.advice.startswith("None of the temperatures that were tried keeps them apart. Split long texts, or")


@pytest.mark.parametrize("tried", [(), (Change(None, None),)])
def test_what_was_not_tried_or_not_known_is_advised(tried):
    (collapse,) = length_collapse(model(*tried))
    assert collapse.grade == "severe"
    assert collapse.advice.startswith("Try an attention temperature below 1 for long texts (diagnose")


def test_of_what_is_cut_the_way_out_is_named():
    (said,) = truncation(model(cut=94, unseen=0.94))
    assert "(cenote embed --long windows, every one of them searched, " in said.advice
    assert said.evidence.startswith("94 of 100 texts are longer than the 256 tokens that it reads; the longest tenth")


@pytest.mark.parametrize("cut", [1, 9])
def test_one_text_that_is_most_of_what_is_cut_is_told(cut):
    (said,) = truncation(model(cut=cut, unseen=0.997, longest=0.99))
    assert said.finding.startswith("more than 99 % of your texts' tokens")
    assert "one text alone makes up 99 %" in said.evidence
    assert said.evidence.startswith("1 of 100 texts is longer" if cut == 1 else "9 of 100 texts are longer")
