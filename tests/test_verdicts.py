"""Verdicts follow the numbers, come in the order of their cost, and do not guess."""

from dataclasses import replace

import pytest

from cenote.results import (
    Closeness,
    Estimate,
    Histogram,
    LengthBin,
    LengthCurve,
    Lengths,
    ModelDiagnosis,
    Pairs,
    Repeated,
    Run,
    Spread,
    TextsRead,
)
from cenote.thresholds import THRESHOLDS
from cenote.verdicts import verdicts

TEXTS = TextsRead("a list", 100, 100, 0, "ab")
HISTOGRAM = Histogram((0.0, 1.0), (1,))


def spread(mean, count=4950):
    return Spread(count, mean, mean / 2, mean, 2 * mean)


def curve(value, low, high, *, deviation=0.1, any_two=0.1):
    bins = tuple(
        LengthBin(start, end, 50, Estimate(0.1, 0.05, 0.15), 0.9, None, None) for start, end in ((0, 100), (100, None))
    )
    near = Closeness(spread(any_two), deviation)
    return LengthCurve(near, bins, Estimate(value, low, high), None, Estimate(value / 3, low, high), ())


def pairs(mean):
    measure, found = spread(mean), Estimate(mean, mean / 1.1, mean * 1.1)
    return Pairs(100, 4950, found, measure, measure, measure, min(1.0, mean), HISTOGRAM, (), ())


def model(*, unseen=0.0, length=(0.0, -0.01, 0.01), socm=0.01, words=0.0, repeated=0.1, **closeness):
    probe = Repeated(("dog", "cat"), (3, 256), (0.6, repeated))
    run = Run("1", None, curve(*length, **closeness), pairs(socm), None, 0, None, (), (), probe)
    lengths = Lengths(256, Spread(100, 60, 10, 50, 300), HISTOGRAM, int(100 * unseen), unseen, 0.1)
    return ModelDiagnosis("m", "Bert", "mean", "1", 384, "ab", None, lengths, curve(words, words, words), (run,))


def found(*models, texts=TEXTS, distinct=100):
    return {verdict.subject: verdict for verdict in verdicts(texts, models, distinct)}


def test_a_healthy_model_is_not_accused():
    assert {verdict.grade for verdict in found(model()).values()} == {"none"}


@pytest.mark.parametrize("subject", THRESHOLDS)
def test_grades_follow_the_table(subject):
    row = THRESHOLDS[subject]
    assert row.slight < row.moderate < row.severe
    assert len(row.reason) > 40
    grades = [row.grade(value) for value in (0, row.slight, row.moderate, row.severe)]
    assert grades == ["none", "slight", "moderate", "severe"]
    made = {
        "truncation": lambda value: model(unseen=value),
        "length collapse": lambda value: model(length=(value / 10, value / 20, value / 5), deviation=0.1),
        "closeness": lambda value: model(any_two=value),
        "second-order collapse": lambda value: model(socm=value),
        "repeated words": lambda value: model(repeated=value),
    }[subject]
    assert found(made(row.moderate))[subject].grade == "moderate"
    assert found(made(row.severe))[subject].grade == "severe"


def test_length_collapse_is_measured_by_how_cosines_differ_at_all():
    """0.05 is much where all cosines lie within a tenth, and little where they lie anywhere."""
    narrow, wide = (found(model(length=(0.05, 0.04, 0.06), deviation=size)) for size in (0.04, 0.3))
    assert (narrow["length collapse"].grade, wide["length collapse"].grade) == ("severe", "none")
    assert "+1.2 times the deviation" in narrow["length collapse"].evidence


@pytest.mark.parametrize(
    ("value", "low", "high", "grade"),
    [
        (0.045, -0.001, 0.0499, "unknown"),  # slight, or nothing
        (0.06, 0.05, 0.07, "moderate"),
        (0.06, 0.005, 0.115, "unknown"),  # moderate, or nothing
        (0.11, 0.03, 0.19, "unknown"),  # severe, or slight
        (0.11, 0.06, 0.16, "severe"),
        (0.01, -0.02, 0.04, "none"),
        (0.01, -0.05, 0.07, "unknown"),  # nothing, or moderate
    ],
)
def test_a_grade_that_the_interval_leaves_open_is_unknown(value, low, high, grade):
    assert found(model(length=(value, low, high), deviation=0.1))["length collapse"].grade == grade


def test_why_lengths_cannot_be_compared():
    plain = model()
    one_bin = replace(plain.runs[0].length, difference=None, bins=plain.runs[0].length.bins[:1])
    run = replace(plain.runs[0], length=one_bin)

    def why(**tokens):
        lengths = replace(plain.lengths, tokens=Spread(**{"count": 100, "mean": 60.0, "median": 60.0, **tokens}))
        return found(replace(plain, runs=(run,), lengths=lengths))["length collapse"].evidence

    assert why(low=300.0, high=600.0) == "Nearly all texts are cut to 256 tokens: the model reads one length."
    assert why(low=8.0, high=155.0).startswith("There are no two groups of 20 texts of different length")
    assert why(count=2, low=8.0, high=155.0) == "There are 2 texts, too few for two groups of 20."


def test_a_difference_that_may_be_chance_is_none():
    assert found(model(length=(0.01, -0.01, 0.03)))["length collapse"].grade == "none"
    wide = found(model(length=(0.2, -0.01, 0.4)))["length collapse"]
    assert wide.grade == "unknown"
    assert "leave it open" in wide.finding
    some = found(model(length=(0.06, 0.005, 0.115)))["length collapse"]
    assert some.grade == "unknown"
    assert some.finding == (
        "Texts of 100 tokens and more are 0.06 closer to each other than those under 100, which is more than chance; "
        "whether it is little or much, these texts leave open."
    )
    copies = found(model(length=(0.06, 0.005, 0.115)), distinct=3)["length collapse"]
    assert (copies.grade, copies.finding) == ("unknown", "3 different texts cannot show it.")
    assert "farther from" in found(model(length=(-0.2, -0.3, -0.1)))["length collapse"].finding


def test_the_control_is_told():
    said = found(model(length=(0.11, 0.1, 0.12), words=0.07))["length collapse"].evidence
    assert "word embeddings gain 0.07, 0.7 times their own deviation" in said
    assert "none of it" in found(model(length=(0.11, 0.1, 0.12), words=-0.1))["length collapse"].evidence


def test_what_is_cut_comes_first():
    order = [verdict.subject for verdict in verdicts(TEXTS, (model(unseen=0.1, socm=0.5),), 100)]
    assert order[:2] == ["truncation", "second-order collapse"]
    order = [verdict.subject for verdict in verdicts(TEXTS, (model(unseen=0.002, socm=0.5),), 100)]
    assert order[:2] == ["second-order collapse", "truncation"]
    assert "94 % of your texts' tokens are never seen" in found(model(unseen=0.94))["truncation"].finding


def test_what_texts_cannot_carry_is_said():
    bare = model()
    empty = replace(bare.runs[0].length, difference=None, notes=("no difference of long and short: 1 of 1 bins.",))
    bare = replace(bare, runs=(replace(bare.runs[0], length=empty, pairs=None),))
    said = found(bare)
    assert said["length collapse"].grade == said["second-order collapse"].grade == "unknown"
    assert said["length collapse"].evidence == "No difference of long and short: 1 of 1 bins."
    # Copies of a few texts say nothing of texts in general, however tight their intervals.
    same = found(model(socm=0.5, length=(0.4, 0.39, 0.41), any_two=0.9), distinct=3)
    general = ("length collapse", "second-order collapse", "closeness")
    assert {same[subject].grade for subject in general} == {"unknown"}
    assert {same[subject].finding for subject in general} == {"3 different texts cannot show it."}
    assert same["truncation"].grade == "none"
    every = [verdict.finding for verdict in verdicts(replace(TEXTS, used=3, empty=2), (bare,), 1)]
    assert "All texts are the same." in every
    assert "2 empty texts were left out." in every
    assert any(finding.startswith("3 texts are few") for finding in every)


def test_given_pairs_have_their_own_verdict():
    plain = model()
    both = replace(plain, runs=(replace(plain.runs[0], given_pairs=pairs(0.5)),))
    said = [v for v in verdicts(TEXTS, (both,), 100) if v.subject.startswith("second-order collapse")]
    assert [verdict.grade for verdict in said] == ["severe", "none"]
    assert [verdict.subject for verdict in said] == ["second-order collapse, given pairs", "second-order collapse"]
    assert "the given pairs" in said[0].finding


def test_few_pairs_and_other_poolings_have_no_verdict():
    plain = model(socm=0.5)
    few = replace(plain, runs=(replace(plain.runs[0], pairs=replace(pairs(0.5), pairs=3)),))
    assert found(few)["second-order collapse"].grade == "unknown"
    assert "The texts that stand in 3 pairs are too few" in found(few)["second-order collapse"].finding
    pooled = found(replace(plain, pooling="max"))["second-order collapse"]
    assert pooled.grade == "unknown"
    assert pooled.finding.startswith("This model pools by max; of the mean, SOCM is 0.50")


def test_pairs_that_share_one_text_are_told():
    plain = model()
    shared = replace(pairs(0.5), mean=Estimate(0.5, None, None))
    said = found(replace(plain, runs=(replace(plain.runs[0], given_pairs=shared),)))[
        "second-order collapse, given pairs"
    ]
    assert said.grade == "unknown"
    assert said.finding.startswith("Nearly all pairs share one text, and say no more than that one")


def test_words_that_are_alike_from_the_start_show_nothing_of_length():
    plain = model()
    alike = replace(plain.runs[0], repeated=Repeated(("dog", "cat"), (3, 256), (0.95, 0.96)))
    assert found(replace(plain, runs=(alike,)))["repeated words"].grade == "none"
