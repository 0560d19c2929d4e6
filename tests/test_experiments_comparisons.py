"""The script of the tables of comparisons: what it tunes, and what it prints."""

import argparse
import importlib
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sentence_transformers import SentenceTransformer

from cenote.data.labelled import Sts
from cenote.records import Estimate

from .evaluation import labelled

HERE = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, which reads data from a temporary folder."""
    monkeypatch.syspath_prepend(str(HERE))
    module = importlib.import_module("comparisons")
    monkeypatch.setattr(module, "DATA", tmp_path)
    for name in ("retrieval", "sts", "classification"):
        labelled.write_folder(labelled.EVERY[name], tmp_path / name)
    yield module
    for name in ("comparisons", "evaluations"):
        sys.modules.pop(name, None)


def tuning(recommendation, chosen="queries 0.9, documents 1"):
    tried = [SimpleNamespace(temperature=chosen, gain=Estimate(0.02, 0.01, 0.03))]
    gain = None if chosen is None else Estimate(0.01, -0.01, 0.02)
    return SimpleNamespace(
        tried=tried,
        chosen=chosen,
        gain=gain,
        expected=Estimate(0.005, 0.0, 0.01),
        recommendation=recommendation,
        needed=None,
    )


@pytest.mark.parametrize(("by_role", "tuned"), [(True, ["retrieval"]), (False, ["retrieval", "sts", "classification"])])
def test_only_searches_are_tuned_by_role(script, monkeypatch, capsys, by_role, tuned):
    calls = []

    def tune(model, data, **options):
        options["progress"]("search, temperature 0.9 (1 of 5): reading texts", 0, 60)
        calls.append((*data, options["by_role"]))
        return tuning({"query": 0.9, "document": 1.0} if len(calls) == 1 else None, "0.9" if len(calls) < 3 else None)

    monkeypatch.setattr(script.cenote, "tune", tune)
    args = argparse.Namespace(quick=False, by_length=False, by_role=by_role)
    script.tuned(None, "toy", [(name, None, None) for name in ("retrieval", "sts", "classification")], args)
    assert calls == [(name, by_role) for name in tuned]
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("| toy")]
    assert len(rows) == len(tuned)
    assert rows[0].endswith("| yes |  |")
    assert f"toy: 1 of {min(2, len(tuned))} chosen temperatures are confirmed, on {len(tuned)} data sets." in out
    assert "temperature 0.9 (1 of 5): reading texts: 60" in err


# Poolings that are tried, beside plain loops over the tokens of a text.

TOKENS = torch.tensor([[1.0, 3.0], [4.0, -1.0], [0.5, 2.0], [2.0, 2.0], [9.0, 9.0]])  # the last one is padding
IDS, MASK = torch.tensor([[5, 6, 5, 7, 0]]), torch.tensor([[1, 1, 1, 1, 0]])


def pooled(module):
    features = {"token_embeddings": TOKENS[None].clone(), "attention_mask": MASK, "input_ids": IDS}
    return module(features)["sentence_embedding"][0]


def unit(vector):
    return vector / vector.norm()


def test_unit_chunks_are_averaged(script, monkeypatch):
    monkeypatch.setattr(script, "CHUNK", 3)
    expected = (unit(TOKENS[:3].mean(0)) + unit(TOKENS[3])) / 2
    torch.testing.assert_close(pooled(script.UnitChunks()), expected)


def test_mean_with_max_is_the_sum_of_both_as_unit_vectors(script):
    largest = torch.tensor([max(token[place] for token in TOKENS[:4].tolist()) for place in range(2)])
    torch.testing.assert_close(pooled(script.MeanWithMax()), unit(TOKENS[:4].mean(0)) + unit(largest))


def test_word_weights_are_those_of_the_corpus(script, tiny_st):
    """By a loop: the weight of a token from the texts that have it, and from its share of all tokens."""
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    texts = [f"{one} pool" for one in ("one", "one two", "two light", "deep cave", "stone", "deep stone")]
    data = Sts(tuple(texts[:3]), tuple(texts[3:]), (0.1, 0.2, 0.3))
    tokens = [model.tokenizer(text)["input_ids"] for text in texts]
    made = script.cures(model, [data])
    every = [one for row in tokens for one in row]
    for word in {*every}:
        rows = sum(word in row for row in tokens)
        idf = max(0.0, math.log(max(1.0, len(tokens) / (1 + rows)))) ** 0.5 + 1e-3
        sif = script.SMOOTH / (script.SMOOTH + every.count(word) / len(every))
        assert made["idf^.5"].table[word].item() == pytest.approx(idf, abs=1e-6)
        assert made["sif"].table[word].item() == pytest.approx(sif, rel=1e-5)
    weights = torch.arange(8.0)
    expected = sum(weights[word] * TOKENS[place] for place, word in enumerate([5, 6, 5, 7])) / (5 + 6 + 5 + 7)
    torch.testing.assert_close(pooled(script.ByWord(weights)), expected)
