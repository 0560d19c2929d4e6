"""The verdict on search: what is lost, to what, and how sure that is."""

import re
from dataclasses import replace

import pytest

from cenote.diagnosis.verdicts import pooling, search, truncation
from cenote.records import Estimate

from ...builders import lengths
from .accounts import READING, account, model, setting


def judge(**fields):
    return judge_record(account(**fields))


def judge_record(record):
    (verdict,) = search.judge(model(account=record))
    return verdict


def test_of_100_sentences_each_has_one_fate():
    found = judge(found=0.5149, cut=0.2249, pooling=0.2301)
    assert found.finding == (
        "Of 100 sentences of your texts, 52 find their text first. Lost to the cut: 22; lost to pooling: 23; not found "
        "by their tokens either: 3."
    )
    assert found.evidence.startswith(
        "300 sentences, searched for among 100 texts: 52 % (50 to 52 %) find their text first, 97 % (96 to 98 %)"
    )
    assert "With the sentence left out of its text, 70 % (69 to 71 %) find it." in found.evidence
    assert "Found: first sentences 95 %, last sentences 80 %." in found.evidence
    assert "Found: texts of 10 to 90 tokens 97 %." in found.evidence


@pytest.mark.parametrize(
    ("found", "grade"),
    [
        (0.91, "fine"),
        (0.9, "slight"),
        (0.75, "moderate"),
        (0.5, "severe"),
        (0.1, "severe"),
    ],
)
def test_the_grade_is_that_of_all_that_is_lost(found, grade):
    assert judge(found=found).grade == grade


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (0.95, ""),
        (0.905, "Lost are 8.5 to 10 %, and the threshold of 10 % lies between"),
        (0.745, "Lost are 24 to 26 %, and the threshold of 25 % lies between"),
    ],
)
def test_a_threshold_within_the_interval_is_named(found, named):
    evidence = judge(found=found).evidence
    assert named in evidence
    assert ("another sample may have another grade" in evidence) is bool(named)


def test_figures_without_an_interval_stand_alone():
    none = {name: Estimate(getattr(account(), name).value, None, None) for name in ("found", "in_ten", "left_out")}
    found = judge_record(replace(account(), **none))
    assert "90 % find their text first, 97 % among the first ten" in found.evidence
    assert "threshold" not in found.evidence


def test_repeated_sentences_are_said_where_they_are_many():
    assert "in several texts" not in judge(repeated=0.049).evidence
    assert (
        " 5 % of the sentences stand in several texts: no search can know which one is meant."
        in judge(repeated=0.05).evidence
    )


@pytest.mark.parametrize(
    ("unread", "told"), [(1, " 1 text has no vector, and its sentences"), (20, " 20 texts have no vector, and their")]
)
def test_texts_without_a_vector_are_counted_as_what_is_lost(unread, told):
    assert "vector" not in judge().evidence
    assert told in judge(unread=unread).evidence


def test_prompts_of_both_sides_are_named():
    assert "prompt" not in judge().evidence
    both, one = (judge(prompts=prompts).evidence for prompts in (("query", "passage"), ("query", None)))
    assert " Read: sentences with the prompt 'query', texts with the prompt 'passage'." in both
    assert " Read: sentences with the prompt 'query'." in one


def test_what_helps_is_advised_where_much_is_lost():
    settings = {"windows of 128 tokens, best": setting(0.06, rows=2.5)}
    assert judge(found=0.95, pooling=0.03, settings=settings).advice == search.NOTHING
    assert "windows of 128 tokens, of which the best" in judge(found=0.8, settings=settings).advice


def test_nothing_needs_to_be_done_only_where_the_causes_are_fine_too():
    settings = {"windows of 128 tokens, best": setting(0.04)}
    one = model(account=account(found=0.93, cut=0.05, pooling=0.02, parts=READING, settings=settings))
    one = replace(one, lengths=lengths(cut=9))
    (whole,), (cut,) = (module.judge(one) for module in (search, truncation))
    assert (whole.grade, cut.grade) == ("fine", "slight")
    assert whole.advice == cut.advice
    assert "windows of 128 tokens" in cut.advice


def test_ten_that_are_shown_as_lost_are_not_fewer_than_ten():
    found = judge(found=541 / 600, cut=0, pooling=0.04)
    assert found.finding.startswith("Of 100 sentences of your texts, 90 find")
    assert found.advice != search.NOTHING
    assert judge(found=546 / 600, cut=0, pooling=0.04).advice == search.NOTHING


def test_the_reason_is_stated_where_there_is_no_account():
    (found,) = search.judge(model(account="only 3 of 30 texts have three sentences"))
    assert (found.grade, found.finding) == ("unknown", "These texts cannot show what a search over them loses.")
    assert "only 3 of 30 texts have three sentences." in found.evidence
    assert "longer ones" in found.advice


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0.5, 0.2, 0.2), (50, 20, 20, 10)),
        ((0.333, 0.333, 0.334), (33, 33, 34, 0)),
        ((0.667, 0.157, 0.176), (67, 16, 17, 0)),
    ],
)
def test_search_truncation_and_pooling_tell_the_same_counts(values, told):
    """A reader who adds up the first lines of three verdicts finds no contradiction."""
    one = model(
        account=account(found=values[0], cut=values[1], pooling=values[2], parts=READING), lengths=lengths(cut=9)
    )
    (whole,), (cut,), (pooled,) = (module.judge(one) for module in (search, truncation, pooling))
    assert [int(word) for word in re.findall(r"\d+", whole.finding)] == [100, *told]
    assert cut.finding.startswith(f"Of 100 sentences, the cut loses {told[1]}:")
    assert pooled.finding.startswith(f"Of 100 sentences, pooling loses {told[2]}:")
    assert cut.evidence.startswith(f"{told[1]} % ")
    assert pooled.evidence.startswith(f"{told[2]} % ")
