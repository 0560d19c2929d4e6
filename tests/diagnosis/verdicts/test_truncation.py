"""The verdict on truncation."""

import pytest

from cenote.diagnosis.verdicts import truncation

from ...builders import lengths, model


def judge(**fields):
    (verdict,) = truncation.judge(model(lengths=lengths(**fields)))
    return verdict


def test_the_share_never_read_and_a_remedy_are_named():
    found = judge(cut=94, unseen=0.94)
    assert found.finding == "94 % of your texts' tokens are never read by this model."
    assert "cenote embed --long windows writes a vector for each window" in found.advice
    assert found.evidence.startswith("94 of 100 texts are longer than the model's limit of 256 tokens; the longest 10")


@pytest.mark.parametrize(("cut", "texts"), [(1, "1 of 100 texts is longer"), (9, "9 of 100 texts are longer")])
def test_one_text_with_most_of_the_truncated_tokens_is_named(cut, texts):
    found = judge(cut=cut, unseen=0.997, longest=0.99)
    assert found.finding.startswith("More than 99 % of your texts' tokens")
    assert found.evidence.startswith(texts)
    assert found.evidence.endswith("one text alone has 99 % of the truncated tokens.")


def test_nothing_truncated_needs_no_advice():
    found = judge()
    assert (found.grade, found.advice) == ("none", "")
    assert found.finding == "Nothing is truncated: the model reads every text to its end."


def test_a_model_without_a_limit_has_no_verdict():
    assert list(truncation.judge(model(lengths=lengths(limit=None)))) == []
