"""A graph of token vectors gives what a pass of torch gives, and is taken only where it does."""

import copy
import json

import numpy as np
import pytest
import torch
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Dense

import cenote
from cenote.account import pooled_texts
from cenote.account.pooled_texts import read_pooled
from cenote.diagnosis import forecast, reading
from cenote.encoding import backends, passes
from cenote.encoding.backends import computing_as_stored, computing_in
from cenote.encoding.forward import forward
from cenote.encoding.passes import Passes, can_have_a_graph
from cenote.encoding.tokens import tokenise
from cenote.evaluation import own_sentences
from cenote.models.repooling import repool
from cenote.nn import Pooling
from cenote.surgery.tempering import temper

from ..bags import TINY, make_texts

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")

TEXTS = ["the pool", "one two three: light! " * 11, "a deep cave? a stone.", "water", "query document " * 3]
BY_LENGTH = cenote.LengthTemperature("linear", start=1.0, end=0.2, shortest=4, longest=32)
MANY = 10**6


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Every processor counts as one on which OpenVINO is faster."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def graphs(model, precision="auto"):
    """Passes that must be those of a graph."""
    run = Passes(model, precision, tokens=MANY, notify=pytest.fail)
    run.prepare()
    assert run.graph is not None
    return run


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
def test_a_graph_gives_the_token_vectors_and_the_vectors_of_torch(kind, pooling, tiny_st):
    torch.manual_seed(3)
    model = cenote.load(tiny_st(kind, Dense(32, 24)), device="cpu")
    if pooling != "mean":
        model = repool(model, pooling, **({"interval": 4} if pooling == "landmark" else {}))
    assert 0 < compare(model, graphs(model)) < 1e-5


def test_a_graph_leaves_a_prompt_out_of_the_pooling(tiny_st):
    model = cenote.load(tiny_st("roberta", include_prompt=False), device="cpu")
    run = graphs(model)
    assert 0 < compare(model, run, prompt="query: ") < 1e-5
    assert 0 < compare(model, run) < 1e-5


@pytest.mark.parametrize("temperature", [0.5, BY_LENGTH])
def test_a_graph_has_the_temperature_of_the_moment_when_it_was_made(temperature, tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    plain = graphs(model)
    with temper(model, temperature):
        assert 0 < compare(model, graphs(model)) < 1e-5
        assert compare(model, plain) > 1e-3
    assert 0 < compare(model, plain) < 1e-5


def test_what_surrounds_the_modules_is_compared_too(tiny_bert):
    said, run = [], Passes(tiny_bert, tokens=MANY, notify=lambda one: said.append(one))

    def whiten(_, __, output):
        return {**output, "sentence_embedding": output["sentence_embedding"] - 1}

    handle = tiny_bert.register_forward_hook(whiten)
    try:
        assert compare(tiny_bert, run) == 0
    finally:
        handle.remove()
    assert len(said) == 1


def test_few_tokens_are_read_by_torch(tiny_bert):
    run = Passes(tiny_bert, tokens=passes.WORTH_A_GRAPH - 1)
    assert compare(tiny_bert, run) == 0
    assert run.graph is None


def test_models_that_one_graph_cannot_stand_for_are_read_by_torch(tiny_bert, tiny_st, routed, monkeypatch):
    deep, by_role = (cenote.load(tiny_st("bert"), device="cpu") for _ in range(2))
    deep.insert(1, Dense(32, 32, module_input_name="token_embeddings", module_output_name="token_embeddings"))
    temper(by_role, {"query": 0.5, "document": 1.0})
    half = copy.deepcopy(tiny_bert).bfloat16()
    later = cenote.load(tiny_st("bert"), device="cpu")
    later.append(Router.for_query_document([Dense(32, 32)], [Dense(32, 32)]))
    for model in (deep, by_role, half, routed, later):
        run = Passes(model, tokens=MANY, notify=pytest.fail)
        assert run.graph is None
        features = model.preprocess(TEXTS, task="query") if model is routed else model.preprocess(TEXTS)
        made, expected = run(features, "query"), forward(model, features, "query")
        assert torch.equal(made["sentence_embedding"], expected["sentence_embedding"])
    monkeypatch.setattr(passes, "_LARGEST", 1000)
    assert Passes(tiny_bert, tokens=MANY, notify=pytest.fail).graph is None


@pytest.mark.parametrize("matrix", [True, False])
def test_torch_reads_where_openvino_is_not_faster(matrix, tiny_bert, monkeypatch):
    assert passes.packages() == ("openvino",)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512" if matrix else "AVX2")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix)
    run = Passes(tiny_bert, tokens=MANY)
    assert compare(tiny_bert, run) == 0
    assert run.graph is None
    assert passes.packages() == (("openvino",) if matrix else ())  # with matrix units in bfloat16 alone
    monkeypatch.setattr(passes, "obstacle", lambda *_: None)
    assert can_have_a_graph(tiny_bert, "bfloat16") is matrix


def test_a_graph_that_computes_something_else_is_not_used_and_said(tiny_bert, monkeypatch):
    original = passes.openvino_runner
    monkeypatch.setattr(passes, "openvino_runner", lambda *how: lambda inputs: original(*how)(inputs) + 0.5)
    said = []
    run = Passes(tiny_bert, tokens=MANY, notify=said.append)
    assert compare(tiny_bert, run) == 0
    run(tiny_bert.preprocess(TEXTS))
    assert len(said) == 1
    assert said[0].startswith("torch reads the texts: at float32 OpenVINO's vectors differ by ")


def test_a_graph_that_cannot_be_made_is_not_used_and_said(tiny_bert, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(passes, "openvino_runner", fail)
    said = []
    assert compare(tiny_bert, Passes(tiny_bert, tokens=MANY, notify=said.append)) == 0
    assert said == ["torch reads the texts: at float32 a graph of OpenVINO cannot be used: no kernel"]


def test_a_batch_of_which_the_graph_is_not_finite_is_read_by_torch(tiny_bert, monkeypatch):
    run = graphs(tiny_bert)
    original = run.graph.run
    monkeypatch.setattr(run.graph, "run", lambda inputs: original(inputs) * np.nan)
    assert compare(tiny_bert, run) == 0


def off(change):
    """A runner of which all tokens but the first are changed."""

    def changed(inputs, run):
        found = run(inputs)
        found[:, 1:] = change(found[:, 1:])
        return found

    return lambda original: lambda *how: lambda inputs: changed(inputs, original(*how))


def test_tokens_that_the_models_own_pooling_does_not_read_are_compared_too(tiny_bert, monkeypatch):
    model = repool(tiny_bert, "cls")
    monkeypatch.setattr(passes, "openvino_runner", off(lambda tokens: tokens + 0.5)(passes.openvino_runner))
    said = []
    assert compare(model, Passes(model, tokens=MANY, notify=said.append)) == 0
    assert len(said) == 1
    assert said[0].startswith("torch reads the texts: at float32 OpenVINO's vectors of tokens differ by ")


def test_tokens_are_compared_in_half_precision_too(demo, monkeypatch):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16")
    model = repool(copy.deepcopy(demo), "cls")
    monkeypatch.setattr(passes, "openvino_runner", off(lambda tokens: tokens + 0.2)(passes.openvino_runner))
    said = []
    assert Passes(model, "bfloat16", tokens=MANY, notify=said.append).graph is None
    assert said[0].startswith("torch reads the texts: at bfloat16 OpenVINO's vectors of tokens have a cosine of ")


def test_a_token_that_is_not_finite_is_read_by_torch(tiny_bert, monkeypatch):
    model = repool(tiny_bert, "cls")
    run = graphs(model)
    original = run.graph.run
    monkeypatch.setattr(run.graph, "run", off(lambda tokens: tokens * np.nan)(lambda: original)())
    assert compare(model, run) == 0


def test_features_that_a_graph_does_not_give_are_those_of_torch(tiny_bert):
    tiny_bert[0].auto_model.config.output_hidden_states = True
    said = []
    run = Passes(tiny_bert, tokens=MANY, notify=said.append)
    assert "all_layer_embeddings" in run(tiny_bert.preprocess(TEXTS))
    assert len(said) == 1
    assert said[0].endswith("OpenVINO returns no all_layer_embeddings, as the model does")


def test_torch_goes_on_where_the_runtime_fails_and_memory_that_ran_out_is_told(tiny_bert):
    said = []
    run = Passes(tiny_bert, tokens=MANY, notify=said.append)

    def fail(message):
        def failing(_):
            raise RuntimeError(message)

        return failing

    run.graph.run = fail("can't allocate memory")
    with pytest.raises(RuntimeError, match="allocate"):
        run(tiny_bert.preprocess(TEXTS))
    run.graph.run = fail("no primitive")
    assert compare(tiny_bert, run) == compare(tiny_bert, run) == 0
    assert said == ["torch reads the texts: at float32 a graph of OpenVINO cannot be used: no primitive"]


def test_a_graph_is_compared_with_float32_where_the_model_computes_in_less(demo):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16")
    features = demo.preprocess(TEXTS)
    expected = forward(demo, features)["sentence_embedding"]
    with computing_in(demo, "bfloat16"):
        rounded = forward(demo, features)["sentence_embedding"]
        with computing_as_stored():
            assert torch.equal(forward(demo, features)["sentence_embedding"], expected)
        made = graphs(demo, "bfloat16")(features)["sentence_embedding"]
    assert not torch.equal(made, rounded)
    assert 0.999 < torch.cosine_similarity(made, expected).min() < 0.9999999


def test_other_poolings_of_a_graph_are_those_of_torch(tiny_bert):
    tokens, others = tokenise(tiny_bert, TEXTS), {"max": Pooling(32, "max")}
    read = [
        read_pooled(tiny_bert, tokens, others, task="document", keep_tokens=True, passes=run)
        for run in (None, graphs(tiny_bert))
    ]
    for name in ("", "max"):
        np.testing.assert_allclose(read[1].vectors[name], read[0].vectors[name], atol=1e-5)
    for ours, theirs in zip(read[1].tokens, read[0].tokens, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def forbid_torch(monkeypatch, *modules):
    """Fail where torch runs the model, but to compare a graph with it; return a list that such runs are added to."""
    ran = []
    for module in modules:
        monkeypatch.setattr(module, "forward", lambda *_: ran.append(1) or pytest.fail("torch ran the model"))
    original = passes._find_disagreement

    def compare_by_torch(*which):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backends, "forward", forward)
            patch.setattr(passes, "forward", forward)
            return original(*which)

    monkeypatch.setattr(passes, "_find_disagreement", compare_by_torch)
    return ran


def test_a_diagnosis_and_a_comparison_by_a_graph_are_those_of_torch(tiny_st, monkeypatch):
    model, texts = cenote.load(tiny_st("bert"), device="cpu"), make_texts(25, 4, 8, vocabulary=TINY)
    asked = [(text[: text.index(".") + 1], str(row)) for row, text in enumerate(texts)]
    how = {"temperatures": [0.7], "queries": asked, "pairs": [*zip(texts[:3], texts[3:], strict=False)]}

    def run():
        compared = cenote.compare(model, unlabelled=texts, poolings=["mean", "max"], temperatures=[1.0, 0.7])
        return cenote.diagnose(model, texts, layers=False, **how), compared

    plain = run()
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 0)
    monkeypatch.setattr(own_sentences, "WORTH_A_GRAPH", 0)
    ran = forbid_torch(monkeypatch, passes, backends, pooled_texts, reading, forecast)
    by_graph = run()
    for one, other in zip(plain, by_graph, strict=True):
        records = [json.loads(some.to_json()) for some in (one, other)]
        versions = [record.pop("versions") for record in records]
        assert "openvino" in versions[1]
        assert_close(*records)
    assert "openvino" not in plain[1].versions
    assert cenote.diagnose(model, texts, layers=False, **how).to_json() == by_graph[0].to_json()
    assert not ran


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
