"""The table is in order, and every row says why."""

import pytest

from cenote.thresholds import LIMITS, THRESHOLDS


@pytest.mark.parametrize("subject", THRESHOLDS)
def test_grades_follow_the_table(subject):
    row = THRESHOLDS[subject]
    assert 0 < row.slight < row.moderate < row.severe
    below = [row.grade(value - 1e-9) for value in (row.slight, row.moderate, row.severe)]
    assert below == ["none", "slight", "moderate"]
    at = [row.grade(value) for value in (row.slight, row.moderate, row.severe)]
    assert at == ["slight", "moderate", "severe"]


@pytest.mark.parametrize("row", [*THRESHOLDS.values(), *LIMITS.values()])
def test_every_row_has_a_reason(row):
    assert len(row.reason) > 40
