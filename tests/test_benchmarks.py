"""Benchmarks: `make bench` runs all, and the rivals of a GPU, tried on the CPU as far as it can run them."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import cenote

ROOT = Path(__file__).parent.parent
# They compare two source trees, which are named on the command line.
OF_TREES = {"house", "versions"}


@pytest.fixture
def rivals(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("rivals")


def test_make_bench_runs_every_benchmark():
    listed = re.search(r"^BENCHMARKS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE).group(1).split()
    scripts = {
        path.stem for path in (ROOT / "benchmarks").glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")
    }
    assert listed == sorted(scripts - OF_TREES)


def test_a_gpu_has_rivals_of_every_attention(rivals):
    names = [plan.name("flash_attention_2" if plan.flash else "sdpa") for plan in rivals.gpu_plans(flash=True)]
    assert len(names) == len(set(names))
    for size in (32, 128, 512):
        for way in ("sdpa", "flash_attention_2", "flash_attention_2, flattened"):
            assert f"sentence-transformers, float16 weights, {way}, batches of {size}" in names
    assert names[-3:] == [
        "cenote, float16 weights, flash_attention_2, flattened, landmarks",
        "cenote, float16 weights, flash_attention_2, flattened, tempered by length",
        "cenote, float16 weights, flash_attention_2, flattened, landmarks, tempered by length",
    ]


def test_without_flash_attention_nothing_is_flattened(rivals):
    plans = rivals.gpu_plans(flash=False)
    assert not any(plan.flash or plan.flattened for plan in plans)
    assert {(plan.landmarks, plan.by_length) for plan in plans if plan.ours} == {
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    }


def test_the_plans_of_a_gpu_run_and_only_landmarks_and_temperatures_change_vectors(rivals, tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    texts = ["the pool of a cave", "water", "a stone in the deep water of the pool " * 5]
    truth = model.encode(texts)
    for plan in rivals.gpu_plans(flash=False):
        name, rival = rivals.planned(plan, model, texts, torch.float32)
        assert ", sdpa" in name
        vectors = rival.run()
        assert vectors.shape == truth.shape
        assert np.allclose(vectors, truth, atol=1e-5) == rival.same, name


def test_a_model_that_cannot_be_flattened_is_left_out(rivals, tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    with pytest.raises(ValueError, match="cannot be flattened"):
        rivals.planned(rivals.Plan(flattened=True), model, ["the pool"], torch.float32)
