"""A graph of token vectors gives what a pass of torch gives, and is taken only where it does."""

import copy
import json

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Dense

import cenote
from cenote.account.pooled_texts import read_pooled
from cenote.encoding import passes
from cenote.encoding.backends import computing_in
from cenote.encoding.forward import forward
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import tokenise
from cenote.models.repooling import repool
from cenote.nn import Pooling
from cenote.surgery.tempering import temper

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")

TEXTS = ["the pool", "one two three: light! " * 11, "a deep cave? a stone.", "water", "query document " * 3]
BY_LENGTH = cenote.LengthTemperature("linear", start=1.0, end=0.2, shortest=4, longest=32)
MANY = 10**6


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Every processor counts as one on which OpenVINO is faster."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


@pytest.fixture
def runs(monkeypatch):
    """The batches that graphs have read."""
    original, seen = passes._TokenGraph.read, []
    monkeypatch.setattr(passes._TokenGraph, "read", lambda self, features: seen.append(1) or original(self, features))
    return seen


def compare(model, run, task=None, prompt=None):
    """The largest difference of vectors and of real tokens' vectors from torch's, relative to the largest number."""
    features = model.preprocess(TEXTS, prompt=prompt)
    expected, made = forward(model, features, task), run(features, task)
    assert made.keys() == expected.keys()
    real = features["attention_mask"].bool()
    pairs = [(made[name], expected[name]) for name in ("sentence_embedding", "token_embeddings")]
    pairs[1] = tuple(one[real] for one in pairs[1])
    assert all(one.dtype == other.dtype == torch.float32 for one, other in pairs)
    return max(((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)


@pytest.mark.parametrize("kind", ["bert", "qwen"])  # padded on the right, and on the left
@pytest.mark.parametrize("pooling", ["mean", "landmark", "cls"])
def test_a_graph_gives_the_token_vectors_and_the_vectors_of_torch(kind, pooling, tiny_st, runs):
    torch.manual_seed(3)
    model = cenote.load(tiny_st(kind, Dense(32, 24)), device="cpu")
    if pooling != "mean":
        model = repool(model, pooling, **({"interval": 4} if pooling == "landmark" else {}))
    assert compare(model, Passes(model, tokens=MANY)) < 1e-5
    assert runs


def test_a_graph_leaves_a_prompt_out_of_the_pooling(tiny_st, runs):
    model = cenote.load(tiny_st("roberta", include_prompt=False), device="cpu")
    run = Passes(model, tokens=MANY)
    assert compare(model, run, prompt="query: ") < 1e-5
    assert compare(model, run) < 1e-5
    assert runs


@pytest.mark.parametrize("temperature", [0.5, BY_LENGTH])
def test_a_graph_has_the_temperature_of_the_moment_when_it_was_made(temperature, tiny_st, runs):
    model = cenote.load(tiny_st("bert"), device="cpu")
    plain = Passes(model, tokens=MANY)
    assert compare(model, plain) < 1e-5
    with temper(model, temperature):
        assert compare(model, Passes(model, tokens=MANY)) < 1e-5
        assert compare(model, plain) > 1e-3
    assert len(runs) > 3


def test_a_temperature_for_each_role_is_left_to_torch(tiny_st, runs):
    model = cenote.load(tiny_st("bert"), device="cpu")
    with temper(model, {"query": 0.5, "document": 1.0}):
        run = Passes(model, tokens=MANY)
        assert [compare(model, run, task) for task in ("query", "document")] == [0, 0]
    assert not runs


def test_few_tokens_are_read_by_torch(tiny_bert, runs):
    run = Passes(tiny_bert, tokens=passes.WORTH_A_GRAPH - 1)
    assert compare(tiny_bert, run) == 0
    assert not runs


def test_models_of_which_no_graph_is_made_are_read_by_torch(tiny_bert, tiny_st, routed, runs):
    deep = cenote.load(tiny_st("bert"), device="cpu")
    deep.insert(1, Dense(32, 32, module_input_name="token_embeddings", module_output_name="token_embeddings"))
    half = copy.deepcopy(tiny_bert).bfloat16()
    for model in (deep, half, routed):
        run = Passes(model, tokens=MANY)
        features = model.preprocess(TEXTS, task="document") if model is routed else model.preprocess(TEXTS)
        made, expected = run(features, "document"), forward(model, features, "document")
        assert torch.equal(made["sentence_embedding"], expected["sentence_embedding"])
    assert not runs


@pytest.mark.parametrize("matrix", [True, False])
def test_torch_reads_where_openvino_is_not_faster(matrix, tiny_bert, runs, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512" if matrix else "AVX2")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix)
    assert compare(tiny_bert, Passes(tiny_bert, tokens=MANY)) == 0
    assert not runs


def test_a_graph_that_computes_something_else_is_not_used_and_said(tiny_bert, monkeypatch):
    original = passes.openvino_runner
    monkeypatch.setattr(passes, "openvino_runner", lambda *how: lambda inputs: original(*how)(inputs) + 0.5)
    said = []
    run = Passes(tiny_bert, tokens=MANY, notify=said.append)
    assert compare(tiny_bert, run) == 0
    run(tiny_bert.preprocess(TEXTS))
    assert len(said) == 1
    assert said[0].startswith("torch reads the texts: at float32, OpenVINO's vectors differ by ")


def test_a_graph_is_compared_with_float32_where_the_model_computes_in_less(demo, runs):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16")
    features = demo.preprocess(TEXTS)
    expected = forward(demo, features)["sentence_embedding"]
    with computing_in(demo, "bfloat16"):
        run = Passes(demo, "bfloat16", tokens=MANY)
        assert torch.equal(run._read_plainly(features), expected)
        made = run(features)["sentence_embedding"]
    assert runs
    assert 0.999 < torch.cosine_similarity(made, expected).min() < 0.9999999


def test_other_poolings_of_a_graph_are_those_of_torch(tiny_bert, runs):
    tokens, others = tokenise(tiny_bert, TEXTS), {"max": Pooling(32, "max")}
    read = [
        read_pooled(tiny_bert, tokens, others, task="document", keep_tokens=True, passes=run)
        for run in (None, Passes(tiny_bert, tokens=MANY))
    ]
    for name in ("", "max"):
        np.testing.assert_allclose(read[1].vectors[name], read[0].vectors[name], atol=1e-5)
    for ours, theirs in zip(read[1].tokens, read[0].tokens, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert runs


def test_a_diagnosis_and_a_comparison_by_a_graph_are_those_of_torch(tiny_st, runs, monkeypatch):
    from ..bags import TINY, make_texts

    model, texts = cenote.load(tiny_st("bert"), device="cpu"), make_texts(25, 4, 8, vocabulary=TINY)
    asked = [(text[: text.index(".") + 1], str(row)) for row, text in enumerate(texts)]
    found = {}
    for worth in (MANY * MANY, 0):
        monkeypatch.setattr(passes, "WORTH_A_GRAPH", worth)
        compared = cenote.compare(model, unlabelled=texts, poolings=["mean", "max"], temperatures=[1.0, 0.7])
        found[worth] = cenote.diagnose(model, texts, temperatures=[0.7], queries=asked, layers=False), compared
        if worth:
            assert not runs
    assert runs
    plain, graph = found.values()
    for one, other in zip(plain, graph, strict=True):
        assert_close(json.loads(one.to_json()), json.loads(other.to_json()))


def assert_close(one, other, where=""):
    """Numbers of two records agree to rounding, but for times; all else is equal."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds"}:
            assert_close(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for place, pair in enumerate(zip(one, other, strict=True)):
            assert_close(*pair, f"{where}[{place}]")
    elif isinstance(one, float):
        # Bounds of intervals jump where a resampled value passes another.
        close = 0.03 if where.endswith((".low", ".high")) else 1e-3
        assert one == pytest.approx(other, rel=close, abs=close), where
    else:
        assert one == other, where
