"""The verdict on pooling."""

import pytest

from cenote.diagnosis.verdicts import pooling

from .accounts import account, model, setting


def judge(lost, **fields):
    (verdict,) = pooling.judge(model(account=account(pooling=lost, found=0.95 - lost, **fields)))
    return verdict


@pytest.mark.parametrize(
    ("lost", "grade"), [(0.049, "fine"), (0.05, "slight"), (0.15, "moderate"), (0.3, "severe"), (0.0, "fine")]
)
def test_the_grade_is_that_of_the_sentences_lost(lost, grade):
    found = judge(lost, settings={"pooling max": setting(-0.02)})
    assert found.grade == grade
    assert bool(found.advice) is (grade != "fine")


def test_what_is_lost_is_said_with_its_interval_and_by_length():
    found = judge(0.2)
    assert found.finding == (
        "Of 100 sentences, pooling loses 20: the model reads them, their tokens or a window find their text, but its "
        "one vector does not."
    )
    assert found.evidence == "20 % (19 to 21 %) of the sentences. Lost to pooling: texts of 10 to 90 tokens 6 %."


def test_where_nothing_was_searched_for_there_is_no_verdict():
    assert list(pooling.judge(model(account="only 3 texts"))) == []
