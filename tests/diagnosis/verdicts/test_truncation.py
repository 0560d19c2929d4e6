"""The verdict on truncation."""

import pytest

from cenote.diagnosis.verdicts import truncation

from ...builders import lengths
from .accounts import PARTS, READING, account, model, setting

WINDOWS = {"windows of 254 tokens, best": setting(0.08, rows=1.5), "pooling max": setting(0.2)}


def judge(lost=None, **fields):
    """The verdict of 100 texts; `lost` is the share of sentences lost to the cut, None where none was searched for."""
    found = "only 3 texts" if lost is None else account(cut=lost, found=0.7, parts=READING, settings=WINDOWS)
    (verdict,) = truncation.judge(model(account=found, lengths=lengths(**fields)))
    return verdict


@pytest.mark.parametrize(
    ("lost", "grade"), [(0.019, "fine"), (0.02, "slight"), (0.1, "moderate"), (0.25, "severe"), (0.0, "fine")]
)
def test_the_grade_is_that_of_the_sentences_lost(lost, grade):
    """The share of tokens that is cut decides nothing."""
    for unseen in (0.001, 0.9):
        found = judge(lost, cut=90, unseen=unseen)
        assert found.grade == grade
        assert bool(found.advice) is (grade != "fine")


def test_what_is_lost_and_what_is_found_all_the_same_are_said():
    found = judge(0.1, cut=9, unseen=0.3)
    assert found.finding == (
        "Of 100 sentences, the cut loses 10: the model stops before them, at 256 tokens, and what it read does not "
        "lead to their text."
    )
    assert found.evidence.startswith(
        "10 % (9 to 11 %) of the sentences. 50 of 300 are unread; 40 % of these find their text all the same. Of "
        "100 sentences, settings find so many lost ones again: windows of 254 tokens, of which the best counts for a "
        "text: 5.0. 9 of 100 texts are longer than the limit, with 30 % of all tokens behind it; the longest 10 % of "
        "the texts have"
    )
    assert found.evidence.endswith(
        "Lost are 9 to 11 %, and the threshold of 10 % lies between: another sample may have another grade."
    )


def test_only_what_reads_the_end_is_advised():
    found = judge(0.1, cut=9)
    assert "windows of 254 tokens, of which the best" in found.advice
    assert "pooling" not in found.advice


def test_a_cut_that_no_sentence_shows_is_described():
    """The share of tokens is no reason to advise anything."""
    read = account(parts=PARTS)
    (searched,) = truncation.judge(model(account=read, lengths=lengths(cut=94, unseen=0.94)))
    for found, grade, limit in (
        (judge(cut=94, unseen=0.94), "described", "Whether a search misses them was not measured."),
        (searched, "fine", "All sentences that were searched for are read."),
    ):
        finding = "94 % of the tokens of your texts are never read by this model."
        assert (found.grade, found.finding, found.advice) == (grade, finding, "")
        assert found.evidence.startswith("94 of 100 texts are longer than the limit, with 94 % of all tokens behind it")
        assert found.limit.startswith(limit)


@pytest.mark.parametrize(("cut", "texts"), [(1, "1 of 100 texts is longer"), (9, "9 of 100 texts are longer")])
def test_one_text_with_most_of_the_truncated_tokens_is_named(cut, texts):
    found = judge(cut=cut, unseen=0.997, longest=0.99)
    assert found.finding.startswith("More than 99 % of the tokens")
    assert found.evidence.startswith(texts)
    assert found.evidence.endswith("one text alone has 99 % of the truncated tokens.")


def test_texts_that_only_the_prompt_of_the_search_cuts_are_not_called_whole():
    searched = account(parts=(*PARTS, READING[0])), account(cut=0.1, found=0.7, parts=READING)
    for found, grade, finding in zip(searched, ("fine", "moderate"), ("The search cuts some", "Of 100"), strict=True):
        (verdict,) = truncation.judge(model(account=found))
        assert verdict.grade == grade
        assert verdict.finding.startswith(finding)
        assert (
            "No text of 100 is longer than the limit of 256 tokens, but some are as the search reads them, with its "
            "own prompt."
        ) in verdict.evidence


def test_nothing_truncated_needs_no_advice():
    (found,) = truncation.judge(model(account=account(parts=PARTS)))
    assert (found.grade, found.advice) == ("fine", "")
    assert found.finding == "Nothing is truncated: the model reads every text to its end."


def test_a_model_without_a_limit_has_no_verdict():
    assert list(truncation.judge(model(lengths=lengths(limit=None)))) == []
