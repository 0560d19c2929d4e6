"""Length collapse is described by the same texts cut at several lengths, and never graded."""

import pytest

from cenote.diagnosis.verdicts import length_collapse

from ...builders import length_curve, lengths
from .accounts import cut_lengths, model, run


def judge(cuts=None, *, words=None, cut=0, **fields):
    """The verdict where the cosines of all pairs have a standard deviation of 0.1, unless `fields` say otherwise."""
    one = run(length=length_curve(**{"difference": (0.11, 0.1, 0.12)} | fields), cut_lengths=cuts)
    (verdict,) = length_collapse.judge(model(one, words=words, lengths=lengths(cut=cut)))
    return verdict


@pytest.mark.parametrize("difference", [0.0, 0.4, 2.0])
def test_it_is_never_graded(difference):
    ends = (difference, difference - 0.01, difference + 0.01)
    assert judge(cut_lengths(0.1, 0.9), difference=ends).grade == "described"
    assert judge(difference=ends).grade == "unknown"


@pytest.mark.parametrize(
    ("last", "reach", "start"),
    [
        (0.3, 0.05, "Reading more of the same texts draws them together: "),
        (0.104, 0.001, "Reading more of the same texts does not draw them together: "),  # too little to notice
        (0.02, 0.05, "Reading more of the same texts moves them apart: "),
        (0.096, 0.001, "Reading more of the same texts does not draw them together: "),
    ],
)
def test_the_headline_is_of_the_same_texts_at_two_lengths(last, reach, start):
    found = judge(cut_lengths(0.1, last, reach))
    assert found.finding == (
        f"{start}cut at 32 tokens, 90 texts have a mean cosine of 0.10; cut at 256, the same texts have {last:.2f}."
    )


def test_a_change_that_may_be_chance_is_not_said_to_be_none():
    assert "does not draw" not in judge(cut_lengths(0.1, 0.3, 0.25)).finding


def test_the_evidence_has_the_whole_curve_and_the_change():
    found = judge(cut_lengths(0.1, 0.3))
    assert found.evidence.startswith(
        "Mean cosine by cut: 32 tokens 0.100, 64 tokens 0.200, 256 tokens 0.300. Longest minus shortest: +0.200 (95 % "
        "interval +0.150 to +0.250). "
    )


def test_texts_that_are_long_by_nature_are_context():
    found = judge(cut_lengths(), difference=(0.11, 0.1, 0.12))
    assert (
        "By nature, texts of 100 or more tokens lie 0.11 closer together than texts under 100 (50 texts and 50; +0.110 "
        "(95 % interval +0.100 to +0.120)), and may differ in subject."
    ) in found.evidence
    assert "lie 0.20 farther apart than texts under 100" in judge(difference=(-0.2, -0.3, -0.1)).evidence
    assert "; 12 % of the texts are cut, and count as texts of 256 tokens." in judge(cut=12).evidence
    for none in ({"difference": None}, {"bins": length_curve().bins[:1]}):
        assert judge(**none).evidence == (
            "The lengths of the texts differ too little to compare long texts with short ones."
        )


def test_a_short_query_meets_the_cosine_of_short_with_long_texts():
    assert "short with short 0.10, short with long 0.04, long with long 0.10" in judge(between=0.04).evidence
    assert "short with long" not in judge().evidence


def test_the_control_is_stated_in_its_own_deviations():
    found = judge(words=length_curve((0.07, 0.06, 0.08)))
    assert "Plain averages of the word embeddings: +0.07, or +0.7 standard deviations." in found.evidence
    for none in (None, length_curve(None), length_curve((0.07, 0.06, 0.08), deviation=0.0)):
        assert "Plain averages" not in judge(words=none).evidence


def test_texts_that_are_not_long_enough_show_nothing_of_length_alone():
    found = judge()
    assert found.finding.startswith("These texts cannot show what length alone does: too few are long enough")
    assert "needs 20 of 64 tokens or more" in found.limit
    assert found.evidence.startswith("By nature, texts of 100 or more tokens")
