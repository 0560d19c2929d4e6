"""The chapter on search: whole numbers of 100, what is lost and to what, tables, examples and notes."""

from dataclasses import replace

import pytest

from cenote.records import Estimate
from cenote.report import account as chapter
from cenote.report.account import KINDS, Answer

from .diagnoses import ADVICE, EVIL_SHOWN, MINILM, account, setting, shares


def answer(found=(0.6, 0.1, 0.25, 0.05), **fields):
    return Answer("m", "m0", account(**shares(*found), **fields), None, ())


@pytest.mark.parametrize(
    ("found", "loss"),
    [
        (
            (0.6, 0.1, 0.25, 0.05),
            "40 of 100 sentences do not lead back to their text: 10 are lost to the cut, 25 are lost to pooling and "
            "5 are not found.",
        ),
        (
            (0.98, 0.01, 0.01, 0.0),
            "2 of 100 sentences do not lead back to their text: 1 is lost to the cut and 1 is lost to pooling.",
        ),
        ((0.97, 0.03, 0.0, 0.0), "3 of 100 sentences are lost to the cut."),
        ((0.99, 0.0, 0.0, 0.01), "1 of 100 sentences is not found."),
        ((0.998, 0.001, 0.001, 0.0), "100 of 100 sentences lead back to their text."),
    ],
)
def test_the_loss_names_the_largest_share_first(found, loss):
    assert chapter.describe_loss(answer(found).account, "sentences", "lead back to their text") == loss


def test_a_missing_account_is_a_sentence_with_its_reason(poor):
    (found,) = chapter.collect_answers(poor)
    (search,) = found.searches
    assert search.shares is None
    assert search.loss == (
        "Not measured: only 0 of 2 texts have three sentences of six words or more, and 20 are needed."
    )
    assert search.advice == "Diagnose more texts."
    assert chapter.find_limit(poor) == ""


def test_whole_numbers_add_up_to_100():
    found = answer((0.334, 0.333, 0.333, 0.0)).account
    assert chapter.count_fates(found) == (34, 33, 33, 0)
    assert chapter.draw_text_bar(found) == "█" * 34 + "/" * 33 + "=" * 33
    assert [share.in_words for share in chapter.describe_shares(found)][:2] == [
        "34 found (30 to 36)",
        "33 lost to the cut (30 to 36)",
    ]


def test_advice_is_that_of_the_verdict(rich):
    first, second = chapter.collect_answers(rich)
    assert (first.name, second.name) == (MINILM, EVIL_SHOWN)
    assert [search.advice for search in first.searches] == [ADVICE, "Rerank the first results."]
    assert [search.advice for search in second.searches] == [""]
    assert chapter.find_limit(rich) == rich.verdicts[0].limit
    unsaid = chapter.collect_answers(replace(rich, verdicts=()))
    assert [answer.searches[0].advice for answer in unsaid] == ["", ""]


def test_given_queries_have_a_bar_and_a_table_of_their_own(rich):
    answers = chapter.collect_answers(rich)
    assert answers[0].searches[1].loss == (
        "30 of 100 of your queries do not find a text that answers them first: 10 are lost to the cut, 15 are lost "
        "to pooling and 5 are not found."
    )
    table = chapter.given_queries(answers)
    assert table.head == ("with 95 % intervals", MINILM)
    assert table.rows[-1] == ("price of pooling: the difference", "0.040 [0.010, 0.070]")
    assert chapter.given_queries(answers[1:]).is_empty
    said = [share.meaning for share in chapter.describe_shares(answers[0].queries)]
    assert "windows of the cut text find it" in said[1]
    assert [share.meaning for share in chapter.describe_shares(answers[0].account)][1] == KINDS[1].meaning
    notes = chapter.describe_texts(answers)
    assert any(note.startswith("For your queries, “found”: a text that answers") and said[1] in note for note in notes)
    assert not any("your queries" in note for note in chapter.describe_texts(answers[1:]))
    assert "Queries excluded: 2 (q1, q<2>): no text has this id." in chapter.describe_texts(answers)


def test_what_was_tried_is_ranked_by_the_sentences_left_out_and_judged_in_words():
    table = chapter.tried(answer())
    assert [row[:3] for row in table.rows] == [
        ("the model, unchanged", "60 (57 to 63)", ""),
        ("windows of 128 tokens, best", "68 (65 to 71)", "more: +8.0 (+6.0 to +10.0)"),
        ("pooling max", "61 (57 to 64)", "+0.5 (−1.5 to +2.5)"),
        ("pooling cls", "50 (47 to 53)", "fewer: −10.0 (−12.0 to −8.0)"),
    ]
    assert table.rows[1][3:] == ("44 (41 to 47)", "+4.0 (+0.0 to +8.0)", "1.6")
    assert table.rows[3][3:] == ("35 (32 to 38)", "fewer: −5.0 (−9.0 to −1.0)", "1.0")
    better = replace(setting(-0.2), change_left_out=Estimate(0.1, 0.05, 0.15))
    settings = {"worse": setting(0.1), "better": better}
    assert [row[0] for row in chapter.tried(answer(settings=settings)).rows[1:]] == ["better", "worse"]
    assert chapter.tried(answer(settings={})).is_empty


def test_a_change_without_an_interval_is_not_called_a_gain():
    one = replace(setting(0.1), change=Estimate(0.1, None, None))
    assert chapter.tried(answer(settings={"windows": one})).rows[1][1:3] == ("70 (67 to 73)", "+10.0")


def test_parts_have_names_numbers_and_bars():
    table = chapter.parts(answer())
    assert [row[0] for row in table.rows] == [
        "first sentences",
        "last sentences",
        "texts that are cut",
        "sentences that are read",
    ]
    assert table.rows[1][1:] == ("200", "30 (27 to 33)", "30", "30", "10")
    assert table.bars[1] == (30, 30, 30, 10)


def test_other_figures_have_a_column_for_each_model_with_an_account(rich):
    answers = chapter.collect_answers(rich)
    table = chapter.beside(answers)
    assert table.head == (
        "with 95 % intervals; of ranks and the first ten, for other sentences alone",
        MINILM,
        EVIL_SHOWN,
    )
    cells = dict(row[:2] for row in table.rows)
    assert cells["change of the score of other texts, per doubling of their length"] == "0.050 [0.020, 0.080]"
    assert cells["texts that are never among them"] == "5.0 %"
    assert chapter.beside((replace(answers[0], account="too few texts"),)).is_empty


def test_tables_of_the_first_model_are_open(rich):
    tables = list(chapter.build_tables(chapter.collect_answers(rich), named=True))
    assert [table.open for table in tables] == [True, False, True, False, False, True]
    assert tables[1].caption == f"What was tried: {EVIL_SHOWN}"
    assert len({table.key for table in tables}) == 6


def test_examples_are_collected_by_share(rich):
    answers = chapter.collect_answers(rich)
    found = {kind.field: chapter.collect_examples(answers, kind) for kind in KINDS}
    assert [(name, len(some)) for name, some in found["lost_to_cut"]] == [(MINILM, 1), (EVIL_SHOWN, 1)]
    assert found["not_found"] == []


def test_texts_that_no_search_can_find_are_counted():
    notes = chapter.describe_texts((answer(), answer()))
    assert notes[1:] == (
        "300 texts have too few sentences and took no part in the search; 2 of them are long, but have no marks to "
        "split at.",
        "7 % of the sentences stand word by word in another text too, so a search cannot tell these texts apart.",
    )
    assert chapter.describe_texts((answer(few=1, unsplit=1, repeated=0.0),))[1:] == (
        "1 text has too few sentences and took no part in the search; 1 of them is long, but has no marks to split at.",
    )
    assert len(chapter.describe_texts((answer(few=0, repeated=0.0),))) == 1
