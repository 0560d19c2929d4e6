"""The table of thresholds is ordered, and verdicts are graded by it."""

import pytest

from cenote.diagnosis.verdicts.ranking import collect_verdicts
from cenote.diagnosis.verdicts.thresholds import THRESHOLDS

from ...builders import length_curve, lengths, model, pairs, repeated, run, texts_read


@pytest.mark.parametrize("row", THRESHOLDS.values(), ids=list(THRESHOLDS))
def test_a_value_at_a_threshold_has_its_grade(row):
    assert [row.grade(value - 1e-9) for value in row.steps] == ["none", "slight", "moderate"]
    assert [row.grade(value) for value in row.steps] == ["slight", "moderate", "severe"]


@pytest.mark.parametrize(("step", "grade"), [(1, "moderate"), (2, "severe")])
@pytest.mark.parametrize("subject", THRESHOLDS)
def test_verdicts_are_graded_by_the_table(subject, step, grade):
    value = THRESHOLDS[subject].steps[step]
    measured = {
        "truncation": lambda: model(lengths=lengths(unseen=value)),
        "length collapse": lambda: model(run(length=length_curve((value / 10, value / 20, value / 5), deviation=0.1))),
        "closeness": lambda: model(run(length=length_curve(mean=value))),
        "second-order collapse": lambda: model(run(pairs=pairs(value))),
        "repeated words": lambda: model(run(repeated=repeated(value))),
    }[subject]()
    grades = {verdict.subject: verdict.grade for verdict in collect_verdicts(texts_read(), (measured,), 100)}
    assert grades[subject] == grade
