"""All verdicts of a diagnosis: their order, and what too few texts leave unknown."""

import pytest

from cenote.diagnosis.verdicts.ranking import collect_verdicts
from cenote.records import Change

from ...builders import length_curve, lengths, repeated, texts_read
from .accounts import READING, account, cut_lengths, model, pairs, run, setting

MEASURED = run(length=length_curve(), cut_lengths=cut_lengths(), pairs=pairs(0.01), repeated=repeated(0.1))
FINE = {"found": 0.96, "cut": 0.0, "pooling": 0.03}


def collect(*models, distinct=100, **texts):
    return {verdict.subject: verdict for verdict in collect_verdicts(texts_read(**texts), models, distinct)}


def test_a_healthy_model_has_no_finding():
    found = collect(model(MEASURED, account=account(**FINE), words=length_curve()))
    assert {subject: verdict.grade for subject, verdict in found.items()} == {
        "search": "fine",
        "truncation": "fine",
        "pooling": "fine",
        "length collapse": "described",
        "second-order collapse": "described",
        "closeness": "described",
        "repeated words": "described",
    }


def test_no_measures_are_no_verdicts_on_them():
    poor = run(length=length_curve(closeness=None))
    found = collect(model(poor, account="no texts", lengths=lengths(limit=None)))
    assert list(found) == ["search", "length collapse", "second-order collapse"]
    assert {verdict.grade for verdict in found.values()} == {"unknown"}


@pytest.mark.parametrize(
    ("shares", "order"),
    [
        ({"found": 0.6, "cut": 0.03, "pooling": 0.35}, ["search", "pooling", "truncation"]),  # severe, slight
        ({"found": 0.6, "cut": 0.3, "pooling": 0.06}, ["search", "truncation", "pooling"]),  # severe, slight
        ({"found": 0.5, "cut": 0.25, "pooling": 0.25}, ["search", "truncation", "pooling"]),  # severe, moderate
        ({"found": 0.97, "cut": 0.025, "pooling": 0.0}, ["search", "truncation", "pooling"]),  # slight, fine
    ],
)
def test_search_comes_first_and_then_the_most_costly(shares, order):
    found = model(MEASURED, account=account(parts=READING, **shares), lengths=lengths(cut=10))
    assert list(collect(found))[:3] == order
    assert list(collect(found))[3:] == ["length collapse", "second-order collapse", "closeness", "repeated words"]


def test_search_of_every_model_comes_before_what_either_loses_it_to():
    models = [
        model(MEASURED, name=name, account=account(parts=READING, **shares), lengths=lengths(cut=10))
        for name, shares in (("a", FINE), ("b", {"found": 0.1, "cut": 0.5, "pooling": 0.4}))
    ]
    found = collect_verdicts(texts_read(), tuple(models), 100)
    assert [(verdict.subject, verdict.model) for verdict in found[:4]] == [
        ("search", "b"),
        ("search", "a"),
        ("truncation", "b"),
        ("pooling", "b"),
    ]


def test_few_different_texts_leave_general_findings_unknown():
    """Copies of a few texts do not generalise, however narrow their intervals."""
    curve = length_curve((0.4, 0.39, 0.41), mean=0.9)
    tempered = run("0.8", change=Change(None, None, None, None))
    one = model(run(length=curve, cut_lengths=cut_lengths(), pairs=pairs(0.5)), tempered, account="only 3 texts")
    found = collect(one, distinct=3)
    general = [found[subject] for subject in ("length collapse", "second-order collapse", "closeness")]
    assert {verdict.grade for verdict in general} == {"unknown"}
    assert {verdict.finding for verdict in general} == {"There are too few different texts for this verdict: 3."}
    assert {verdict.advice for verdict in general} == {"Diagnose more texts."}
    assert found["truncation"].grade == "fine"
    assert (found["search"].grade, found["temperature"].grade) == ("unknown", "unknown")


def test_few_different_texts_withdraw_a_temperature_that_would_be_advised():
    helping = account(settings={"temperature 0.8": setting(0.3)})
    one = model(run(), run("0.8", change=Change(None, None, None, None), tried=0.8), account=helping)
    assert collect(one)["temperature"].grade == "fine"
    assert collect(one, distinct=19)["temperature"].grade == "unknown"
