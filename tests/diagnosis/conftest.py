"""Fewer repeated words in diagnoses."""

import pytest


@pytest.fixture(autouse=True)
def few_word_pairs(monkeypatch):
    """Repeat two pairs of words instead of twenty, which take longer than all else."""
    from cenote.diagnosis import controls

    monkeypatch.setattr(controls, "WORD_PAIRS", controls.WORD_PAIRS[:2])
