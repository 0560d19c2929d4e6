"""Encoders made from one, comparisons with backbones, and gains of an order, each against an independent reference."""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import ndcg_score

pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[1]))

import cenote
from cenote.encoding.tokens import tokenise
from experiments import lab
from experiments.lab import Cell, Measured
from experiments.poolings import details, similarity
from experiments.second_order import fine_tuning, layers, pairs, scores
from experiments.second_order.clouds import BACKBONES, TUNED_HERE, against_backbones, mean_change, read_clouds
from experiments.second_order.encoders import encoders_of, perturb, shorten
from experiments.second_order.terms import partial_correlation
from experiments.validity import gain_of_order, grades_of

from .evaluation import labelled

TEXTS = ["a pool", "the deep cave holds light and water", "stone"]


def test_a_shortened_model_ends_at_a_hidden_state_of_the_whole(tiny_bert):
    features = tiny_bert.preprocess(TEXTS)
    whole = tiny_bert[0].model.eval()(
        input_ids=features["input_ids"], attention_mask=features["attention_mask"], output_hidden_states=True
    )
    short = shorten(copy.deepcopy(tiny_bert), 1).eval()(dict(features))["token_embeddings"]
    torch.testing.assert_close(short, whole.hidden_states[1])


def test_encoders_are_different_and_leave_the_model_unchanged(tiny_bert):
    before = tiny_bert.encode(TEXTS)
    names, vectors = [], []
    for encoder in encoders_of(tiny_bert):
        names.append(encoder.name)
        vectors.append(encoder.model.encode(TEXTS))
    np.testing.assert_array_equal(vectors[0], before)
    np.testing.assert_array_equal(tiny_bert.encode(TEXTS), before)
    assert len(set(names)) == len(names) >= 10
    assert all(np.abs(one - before).max() > 1e-6 for one in vectors[1:])


def test_noise_is_in_units_of_each_matrix(tiny_bert):
    other = perturb(copy.deepcopy(tiny_bert), 0.5)
    for old, new in zip(tiny_bert.parameters(), other.parameters(), strict=True):
        if old.ndim > 1 and old.numel() > 1000:
            assert float((new - old).std() / old.std()) == pytest.approx(0.5, rel=0.1)
        elif old.ndim == 1:
            assert torch.equal(old, new)


def test_clouds_are_the_hidden_states_of_each_text(tiny_bert):
    model = copy.deepcopy(tiny_bert).double()  # in float32 the order of sums, which depends on the batch, shows
    found = read_clouds(model, TEXTS)
    for place, text in enumerate(TEXTS):
        states = model.encode(text, output_value="token_embeddings").cpu().numpy()
        if place in found:
            np.testing.assert_allclose(found[place], states, atol=1e-6)
        else:
            assert len(states) < 4


def test_gains_are_those_of_sklearn():
    generator = np.random.default_rng(0)
    scores, grades = generator.normal(size=(20, 30)), generator.integers(0, 3, (20, 30)).astype(float)
    order = np.argsort(-scores, axis=1)
    expected = [ndcg_score(grades[None, row], scores[None, row], k=10) for row in range(20)]
    np.testing.assert_allclose(gain_of_order(order, grades), expected)


def test_grades_leave_out_what_is_not_relevant_or_unknown():
    grades = grades_of(["q"], ["a", "b", "c"], {"q": {"b": 2, "c": -1, "other": 1}})
    assert grades.tolist() == [[0.0, 2.0, 0.0]]


def test_a_partial_correlation_is_that_of_what_the_third_value_leaves():
    generator = np.random.default_rng(0)
    given, one, other = generator.normal(size=(3, 300))
    one, other = given + one, given + other + one / 2
    ranks = [stats.rankdata(values) for values in (one, other, given)]
    base = np.stack([ranks[2], np.ones(300)], 1)
    left = [values - base @ np.linalg.lstsq(base, values, rcond=None)[0] for values in ranks[:2]]
    assert partial_correlation(one, other, given) == pytest.approx(np.corrcoef(left)[0, 1])


def backbone_and_tuned(name, before, after):
    return [
        Cell("minilm", "d", Measured([], [], {name: {str(at): value for at, value in enumerate(before)}})),
        Cell("sre-minilm", "d", Measured([], [], {name: {str(at): value for at, value in enumerate(after)}})),
        Cell("sre-minilm", "e", Measured([], [], {name: {}})),
    ]


def test_encoders_are_compared_with_their_backbones_on_the_same_data():
    cells = backbone_and_tuned("x", [1.0], [2.0])
    assert [name for name, *_ in against_backbones(cells)] == ["sre-minilm minus minilm"]
    assert BACKBONES["sre-minilm"] == "minilm"
    assert not list(against_backbones([replace(cell, backbone="other") for cell in cells]))  # the command says so


def test_only_texts_of_both_models_count():
    change = mean_change({"a": 1.0, "b": 2.0, "c": 9.0}, {"a": 2.0, "b": 3.0, "d": 0.0})
    assert change.value == 1.0
    assert mean_change({"a": 1.0}, {"a": 2.0}) is None


@pytest.mark.parametrize(("of_r", "of_lambda", "holds"), [(0.5, 0.9, True), (0.9, 0.9, None), (0.9, 0.5, False)])
def test_r_falls_and_not_lambda_where_it_falls_by_a_larger_share(of_r, of_lambda, holds):
    generator = np.random.default_rng(0)
    cells = backbone_and_tuned("x", [], [])[:2]
    for cell, shares in zip(cells, ((1, 1), (of_r, of_lambda)), strict=True):
        cell.measured.series.update(dict.fromkeys(("concentration", "token cosine")))
        for name, share in zip(("r", "lambda"), shares, strict=True):
            cell.measured.series[name] = {str(at): share * generator.normal(1, 0.05) for at in range(40)}
    found = {one.claim: one for one in layers.across(cells)[0].measured.findings}
    assert found["contraction"].holds is holds
    assert found["contraction"].value == pytest.approx(np.log2(of_r / of_lambda), abs=0.05)
    cells[0].measured.series["lambda"] = None
    assert "contraction" not in {one.claim for one in layers.across(cells)[0].measured.findings}


def test_statements_on_fine_tuning_are_tested_by_a_stand_in_only():
    claims = {**layers.EXPERIMENT.claims, **pairs.EXPERIMENT.claims}
    named = ("residual", "contraction", "concentrated", "aligned", "tuned")
    assert {claims[name].untested for name in named} == {TUNED_HERE}


def test_a_lower_collapse_than_the_backbone_holds():
    generator = np.random.default_rng(0)
    before = generator.normal(1, 0.1, 40)
    cells = backbone_and_tuned("socm of texts", before, before - generator.normal(0.2, 0.05, 40))
    assert [one.holds for one in pairs.across(cells)[0].measured.findings] == [True]


@pytest.mark.parametrize(
    ("order", "holds"),
    [
        ([12, 13, *range(11, 0, -1)], True),
        (range(13, 0, -1), None),  # all resamples are equal
        ([9, 4, 12, 7, 10, 1, 11, 13, 2, 8, 3, 6, 5], None),  # Spearman -0.28, of which p is .35
    ],
)
def test_a_correlation_over_encoders_is_decided_by_their_number(order, holds):
    rows = [{scores.SOCM: at, scores.SCORE: score} for at, score in enumerate(order)]
    rows.append({"encoder": "pooling cls", scores.SCORE: 9.0})
    assert [one.holds for one in scores.over_encoders(rows)] == [holds]


def test_layers_without_a_measure_are_not_compared():
    series = {"concentration": {"a": 1.0, "b": 2.0}, **dict.fromkeys(("token cosine", "lambda", "r"))}
    cells = [Cell(name, "d", Measured([], [], series)) for name in ("minilm", "sre-minilm")]
    assert {one.claim for one in layers.across(cells)[0].measured.findings} == {"concentrated"}


def test_measures_that_tie_decide_nothing():
    few = np.where(np.arange(40) < 4, -0.5 - np.arange(40) / 100, 0.0)  # the interval lies below 0, and p is .125
    many = np.linspace(0.1, 0.3, 40)
    found = similarity._findings({"dot": np.zeros(40), "euclidean": few, "manhattan": many})
    assert [one.holds for one in found] == [None, None, True]
    assert found[1].high < 0


def test_tokens_are_matched_with_documents_that_the_mean_ranks_low(monkeypatch):
    angles = np.linspace(0, 1, 30)
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    tokens = [vectors[[row]] for row in range(29)] + [np.array([[1, 0], [0, 1]], np.float32)]
    tokens[0] = vectors[[1]]
    query = np.array([[1, 0]], np.float32)
    sides = {
        "query": ({"mean": query, similarity.WORDS: query}, [query]),
        "document": ({"mean": vectors, similarity.WORDS: vectors}, tokens),
    }
    monkeypatch.setattr(similarity, "_read", lambda model, texts, poolings, task: sides[task])
    names = [str(row) for row in range(30)]
    judged = {"q": {"29": 1}}
    data = SimpleNamespace(
        titles=[""] * 30, texts=names, queries=["a"], query_ids=["q"], corpus_ids=names, judgments=judged
    )
    found = similarity._search(None, data, {"mean": None})
    assert found["mean", "cosine"].tolist() == [0.0]
    assert found["tokens", "cosine"].tolist() == [1.0]


def test_similarities_of_a_search(tiny_st, tmp_path):
    folder = labelled.write_folder(labelled.EVERY["retrieval"], tmp_path / "search")
    record = lab.run(similarity.EXPERIMENT, [str(tiny_st("bert"))], [str(folder)], quick=True, output=tmp_path)
    rows = {row["pooling"]: row for row in record["cells"][0]["rows"]}
    assert rows["mean"]["cosine"] == pytest.approx(rows["mean_sqrt_len"]["cosine"])  # only the norm differs
    assert rows["mean"]["dot"] != rows["mean_sqrt_len"]["dot"]


def test_means_of_random_vectors_against_a_loop(tiny_bert):
    tokens = tokenise(tiny_bert, TEXTS)
    table = np.random.default_rng(0).normal(size=(len(tiny_bert.tokenizer), 5))
    found = details.random_means(tokens, table)
    for row, text in enumerate(TEXTS):
        ids = tiny_bert.tokenizer(text)["input_ids"]
        mean = np.mean([table[one] for one in ids], axis=0)
        assert found[row] == pytest.approx(mean / np.linalg.norm(mean))


def test_details_are_of_first_sentences_that_every_cut_holds(tiny_st, tmp_path, monkeypatch):
    """Texts begin with a sentence of their own: tokens and vectors find it where nothing else is read beside it."""
    model = cenote.load(str(tiny_st("bert")), device="cpu")
    monkeypatch.setattr(details, "CUTS", (32, 64))
    words = [f"{text} pool" for text in labelled.texts(40, 8, seed=3)]  # "a." would be no end of a sentence
    rest = [". ".join(labelled.texts(12, 8, seed=100 + row)) for row in range(40)]
    rows = [{"text": f"{first}. {other}."} for first, other in zip(words, rest, strict=True)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = details.measure(model, str(path), quick=True)
    assert [row["tokens read"] for row in found.rows] == [32, 64]
    texts = [row["text"] for row in rows]
    assert found.rows[0]["sentences"] == sum(sum(first in text for text in texts) == 1 for first in words) > 30
    assert found.rows[0]["token match"] >= found.rows[0]["vector"] > 1 / 40
    assert {one.claim for one in found.findings} == {*details.EXPERIMENT.claims}


def test_a_pair_for_the_statements_on_fine_tuning_is_a_backbone_and_an_encoder_made_from_it(
    tiny_st, tmp_path, monkeypatch
):
    pairs_of_words = [(f"a pool {word}", f"the cave {word}") for word in ("one", "two", "three", "four")]
    monkeypatch.setattr(fine_tuning, "make_backbone", lambda *_: tiny_st("bert"))
    monkeypatch.setattr(fine_tuning, "training_pairs", lambda _: pairs_of_words)
    size = replace(fine_tuning.CPU, steps=2, batch=2, train_length=32, recipe={"query_length": 16})
    backbone, tuned = fine_tuning.make(tmp_path, size)
    again = fine_tuning.make(tmp_path, size)  # what is complete is taken
    assert again == (backbone, tuned)
    vectors = [cenote.load(folder, device="cpu").encode("a pool", convert_to_numpy=True) for folder in again]
    assert vectors[0].shape == vectors[1].shape
    assert not np.allclose(*vectors)
