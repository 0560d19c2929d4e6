"""The experiment on intervals of landmarks: planted differences, and trainings that are kept."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("mteb", reason="labelled data are scored by mteb: pip install 'cenote[eval]'")
sys.path.insert(0, str(Path(__file__).parents[1]))

import cenote
from cenote.training.trainer import PairTrainer
from experiments.poolings import intervals
from experiments.poolings.intervals import DRAWN, FIXED, Effort, over_seeds, summarise

SEEDS, QUERIES, READ = 3, 200, (16, 32, 64, 128)


def scores(levels, spread=0.01, seed=0):
    """Return values `[S, R, Q]` around a level for each interval, alike in all seeds but for a little noise."""
    generator = np.random.default_rng(seed)
    each = np.array(levels)[None, :, None] + generator.normal(size=(1, 1, QUERIES)) * 0.2
    return each + generator.normal(size=(SEEDS, len(levels), QUERIES)) * spread


@pytest.mark.parametrize(("longer", "holds"), [(0.4, True), (0.5, None), (0.6, False)])
def test_a_planted_interval_is_found(longer, holds):
    same = np.random.default_rng(1).normal(size=(SEEDS, 1, QUERIES)) * 0.2
    drawn = scores([0.5, 0.5, longer, longer]) if holds is not None else np.repeat(same, 4, 1)
    found = {one.claim: one for one in summarise({DRAWN: drawn, FIXED: drawn.copy()}, READ).findings}
    assert found["read"].holds is holds
    assert found["read"].value == pytest.approx(0.5 - longer, abs=0.01)
    assert found["drawn"].holds is None
    assert found["drawn"].value == 0


@pytest.mark.parametrize(("fixed", "holds"), [(0.4, True), (0.6, False)])
def test_a_planted_training_is_found(fixed, holds):
    found = summarise({DRAWN: scores([0.5] * 4), FIXED: scores([fixed] * 4, seed=1)}, READ).findings
    assert [one.holds for one in found if one.claim == "drawn"] == [holds]


def test_rows_are_means_over_seeds_and_queries():
    drawn, fixed = scores([0.5, 0.4, 0.3, 0.2]), scores([0.2, 0.3, 0.4, 0.5], seed=1)
    rows = summarise({DRAWN: drawn, FIXED: fixed}, READ).rows
    assert [(row["trained with"], row["read every"]) for row in rows] == [
        (name, every) for name in (DRAWN, FIXED) for every in READ
    ]
    assert [row["score"] for row in rows] == pytest.approx([*drawn.mean((0, 2)), *fixed.mean((0, 2))])
    changes = [row.get("change") for row in rows[:4]]
    assert changes[1] is None
    assert changes[0] == pytest.approx(drawn[:, 0].mean() - drawn[:, 1].mean())


def test_trainings_that_differ_widen_the_interval():
    """Seeds of which one has a score of its own say less than seeds that agree, about the same mean difference."""
    alike = np.random.default_rng(0).normal(0.05, 0.1, (SEEDS, 1, QUERIES))
    apart = alike + np.array([-0.1, 0.0, 0.1])[:, None, None]
    widths = []
    for values in (alike, apart):
        (one,) = intervals.compare_paired([over_seeds(values)], seed=0).tasks[0]
        assert one.value == pytest.approx(values.mean())
        widths.append(one.high - one.low)
    assert widths[1] > 2 * widths[0]
    assert over_seeds(alike[:1]).draws is None


def test_a_training_is_done_once_for_all_data(tiny_st, tmp_path, monkeypatch):
    monkeypatch.setattr(intervals, "WORK", tmp_path)
    model = cenote.load(str(tiny_st("bert")), device="cpu")
    size, steps = Effort(2, 4, 64, 1, (32,)), []
    step = PairTrainer.training_step
    monkeypatch.setattr(PairTrainer, "training_step", lambda *given: (steps.append(1), step(*given))[1])
    for _ in range(2):
        with intervals.folder_of_trainings(model, quick=False) as folder:
            backbone = intervals.saved(model, folder / "backbone")
            made = intervals.trained(backbone, intervals.quick_pairs(), DRAWN, 0, size)
        assert len(steps) == size.steps
    assert folder.is_relative_to(tmp_path)
    tuned = cenote.load(made, device="cpu", interval=16)
    assert tuned.encode("a pool").shape == model.encode("a pool").shape
