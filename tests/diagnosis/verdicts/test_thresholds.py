"""The threshold table is ordered, has a reason in every row, and is what verdicts are graded by."""

import pytest

from cenote.diagnosis.verdicts.ranking import collect_verdicts
from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS

from ...builders import length_curve, lengths, model, pairs, repeated, run, texts_read


@pytest.mark.parametrize("subject", THRESHOLDS)
def test_thresholds_rise_and_a_value_at_one_has_its_grade(subject):
    row = THRESHOLDS[subject]
    assert 0 < row.slight < row.moderate < row.severe
    values = (row.slight, row.moderate, row.severe)
    assert [row.grade(value - 1e-9) for value in values] == ["none", "slight", "moderate"]
    assert [row.grade(value) for value in values] == ["slight", "moderate", "severe"]
    assert row.grade(0) == "none"


@pytest.mark.parametrize("row", [*THRESHOLDS.values(), *CUTOFFS.values()])
def test_every_row_has_a_reason(row):
    assert len(row.reason) > 40


@pytest.mark.parametrize("grade", ["moderate", "severe"])
@pytest.mark.parametrize("subject", THRESHOLDS)
def test_verdicts_are_graded_by_the_table(subject, grade):
    value = getattr(THRESHOLDS[subject], grade)
    measured = {
        "truncation": lambda: model(lengths=lengths(unseen=value)),
        "length collapse": lambda: model(run(length=length_curve((value / 10, value / 20, value / 5), deviation=0.1))),
        "closeness": lambda: model(run(length=length_curve(mean=value))),
        "second-order collapse": lambda: model(run(pairs=pairs(value))),
        "repeated words": lambda: model(run(repeated=repeated(value))),
    }[subject]()
    grades = {verdict.subject: verdict.grade for verdict in collect_verdicts(texts_read(), (measured,), 100)}
    assert grades[subject] == grade
