"""The verdict on pooling."""

import pytest

from cenote.diagnosis.verdicts import pooling, search

from ...builders import lengths
from .accounts import account, model, part, setting


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


def test_parts_of_few_sentences_are_not_listed():
    few = (part("length", "110 to 110 tokens", sentences=6), part("length", "10 to 90 tokens"))
    assert judge(0.2, parts=few).evidence.endswith("Lost to pooling: texts of 10 to 90 tokens 6 %.")
    assert judge(0.2, parts=few[:1]).evidence == "20 % (19 to 21 %) of the sentences."


def test_where_most_is_never_read_only_what_reads_on_is_advised():
    one = account(found=0.4, pooling=0.4, settings={"pooling cls": setting(0.1, left_out=0.08)})
    for unseen, told in ((0.49, "pooling='cls'"), (0.98, "")):
        unread = model(account=one, lengths=lengths(cut=90, unseen=unseen))
        for judging in (pooling, search):
            (verdict,) = judging.judge(unread)
            assert told in verdict.advice
            assert bool(verdict.advice) is bool(told)


def test_where_nothing_was_searched_for_there_is_no_verdict():
    assert list(pooling.judge(model(account="only 3 texts"))) == []
