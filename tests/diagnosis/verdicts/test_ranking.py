"""All verdicts of a diagnosis: their order, and what too few texts leave unknown."""

import pytest

from cenote.diagnosis.verdicts.ranking import collect_verdicts

from ...builders import length_curve, lengths, model, pairs, repeated, run, texts_read

HEALTHY = model(run(length=length_curve(), pairs=pairs(0.01), repeated=repeated(0.1)), words=length_curve())


def collect(*models, distinct=100, **texts):
    return {verdict.subject: verdict for verdict in collect_verdicts(texts_read(**texts), models, distinct)}


def test_a_healthy_model_has_no_finding():
    found = collect(HEALTHY)
    assert len(found) == 5
    assert {verdict.grade for verdict in found.values()} == {"none"}


def test_no_measures_are_no_verdicts_on_them():
    assert list(collect(model(run(length=length_curve(closeness=None)), lengths=lengths(limit=None)))) == [
        "second-order collapse",
        "length collapse",
    ]


@pytest.mark.parametrize(
    ("unseen", "order"),
    [
        (0.1, ["truncation", "second-order collapse"]),  # moderate and severe
        (0.002, ["second-order collapse", "truncation"]),  # slight and severe
    ],
)
def test_notable_truncation_precedes_worse_grades(unseen, order):
    found = model(run(length=length_curve(), pairs=pairs(0.5)), lengths=lengths(cut=10, unseen=unseen))
    assert list(collect(found))[:2] == order


def test_few_different_texts_leave_general_findings_unknown():
    """Copies of a few texts do not generalise, however narrow their intervals."""
    found = collect(model(run(length=length_curve((0.4, 0.39, 0.41), mean=0.9), pairs=pairs(0.5))), distinct=3)
    general = [found[subject] for subject in ("length collapse", "second-order collapse", "closeness")]
    assert {verdict.grade for verdict in general} == {"unknown"}
    assert {verdict.finding for verdict in general} == {"There are too few different texts for this verdict: 3."}
    assert {verdict.advice for verdict in general} == {"Diagnose more texts."}
    assert found["truncation"].grade == "none"


def test_few_different_texts_withdraw_an_unknown_difference_too():
    """It would state a difference that is more than chance."""
    found = collect(model(run(length=length_curve((0.06, 0.005, 0.115)))), distinct=3)
    assert found["length collapse"].grade == "unknown"
    assert found["length collapse"].finding == "There are too few different texts for this verdict: 3."
