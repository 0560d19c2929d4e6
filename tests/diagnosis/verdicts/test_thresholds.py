"""The table of thresholds is ordered, and verdicts are graded by it."""

import pytest

from cenote.diagnosis.verdicts.ranking import collect_verdicts
from cenote.diagnosis.verdicts.thresholds import CUTOFFS, GRADES, THRESHOLDS

from ...builders import length_curve, lengths, repeated, texts_read
from .accounts import READING, account, cut_lengths, model, pairs, run


@pytest.mark.parametrize("row", THRESHOLDS.values(), ids=list(THRESHOLDS))
def test_a_value_at_a_threshold_has_its_grade(row):
    assert [row.grade(value - 1e-9) for value in row.steps] == ["fine", "slight", "moderate"]
    assert [row.grade(value) for value in row.steps] == ["slight", "moderate", "severe"]
    assert list(row.steps) == sorted(row.steps)


def test_every_threshold_has_its_reason():
    assert list(THRESHOLDS) == ["search", "truncation", "pooling"]
    for row in (*THRESHOLDS.values(), *CUTOFFS.values()):
        assert len(row.reason.split()) > 5


@pytest.mark.parametrize(("step", "grade"), [(0, "slight"), (1, "moderate"), (2, "severe")])
@pytest.mark.parametrize("subject", THRESHOLDS)
def test_verdicts_are_graded_by_the_table(subject, step, grade):
    value = THRESHOLDS[subject].steps[step] + 1e-6
    lost = {"search": {"found": 1 - value}, "truncation": {"cut": value}, "pooling": {"pooling": value}}[subject]
    measured = account(parts=READING, **{"found": 0.2, "pooling": 0.0} | lost)
    verdicts = collect_verdicts(texts_read(), (model(account=measured, lengths=lengths(cut=9)),), 100)
    assert {verdict.subject: verdict.grade for verdict in verdicts}[subject] == grade


def test_shapes_and_closeness_are_described_whatever_their_size():
    """They cost nobody anything by themselves."""
    curve = length_curve((0.9, 0.8, 1.0), mean=0.98)
    one = model(run(length=curve, cut_lengths=cut_lengths(0.1, 0.99), pairs=pairs(5.0), repeated=repeated(0.99)))
    grades = {verdict.subject: verdict.grade for verdict in collect_verdicts(texts_read(), (one,), 100)}
    geometry = ("length collapse", "second-order collapse", "closeness", "repeated words")
    assert {grades[subject] for subject in geometry} == {"described"}
    assert GRADES == ("severe", "moderate", "slight", "fine", "unknown", "described")
