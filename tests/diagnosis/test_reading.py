"""A diagnosis reads each text once, and one text stops no other. Its vectors: `tests/encoding/test_contract.py`."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis.layers import profile_layers
from cenote.diagnosis.reading import read_texts
from cenote.diagnosis.summaries import summarise_sigma_a
from cenote.encoding.batches import NO_TOKENS
from cenote.encoding.tokens import tokenise
from cenote.listener import Listener
from cenote.surgery.profiles import Undefined

from ..fakes import refusing, short_of_memory, without_special_tokens

TEXTS = ["a pool", "the deep cave " * 200, "collapse", "", "a query about two documents 🕳️"]
PROMPTS = {"page": "document: a deep "}
MANY = [f"{'a ' * row}pool" for row in range(40)]


def read(model, texts, prompt_name=None, **options):
    return read_texts(model, tokenise(model, texts, prompt_name), **options)


@pytest.fixture
def model(tiny_st):
    return SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts=PROMPTS)


def assert_layers(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.concentration, other.concentration, rtol=1e-4)
        assert torch.allclose(one.sigma_a, other.sigma_a, rtol=3e-4)


def test_vectors_tokens_and_layers(demo):
    seen = []
    reading = read(demo, TEXTS, keep=[0, 4], traced=[4, 2], listener=Listener(lambda *at: seen.append(at)))
    assert reading.lengths.tolist() == [4, 256, 3, 2, 7 + 1]
    assert sorted(reading.tokens) == [0, 4]
    for row, tokens in reading.tokens.items():
        alone = demo.encode(TEXTS[row], output_value="token_embeddings")
        assert np.allclose(tokens, alone.numpy(), atol=1e-5)
    assert reading.traced == [2, 4]
    assert_layers(reading.layers, profile_layers(demo, [TEXTS[2], TEXTS[4]]))
    assert [at for at in seen if at[0] == "tracing layers"] == [("tracing layers", 0, 2), ("tracing layers", 2, 2)]
    assert [at for at in seen if at[1] in (0, 3)][1:] == [("reading texts", 0, 3), ("reading texts", 3, 3)]
    assert not any(module._forward_hooks for module in demo.modules())


def test_the_last_layer_alone_has_the_attention_of_a_whole_trace(demo):
    """Texts of which only the last layer's attention is profiled are read once, as all others are."""
    texts, seen = [*MANY[:6], TEXTS[1]], []
    whole = read(demo, texts, traced=[0, 3, 6])
    reading = read(demo, texts, traced=[0], attended=[3, 6], listener=Listener(lambda *at: seen.append(at)))
    assert (reading.traced, reading.attended) == ([0], [3, 6])
    last, expected = reading.attention[-1], whole.layers[-1]
    assert torch.allclose(last.sigma_a, expected.sigma_a[1:], rtol=3e-4)
    assert torch.allclose(last.sigma_a_bound.values, expected.sigma_a_bound.values[12:], rtol=1e-4)
    assert isinstance(reading.attention[0].sigma_a, Undefined)
    assert np.allclose(reading.vectors, read(demo, texts).vectors, atol=1e-5)
    assert [at for at in seen if at[1] == at[2]] == [
        ("tracing layers", 1, 1),
        ("tracing the last layer", 2, 2),
        ("reading texts", 4, 4),
    ]
    found = {one.low: (one.count, one.sigma_a) for one in summarise_sigma_a(reading)}
    assert found == {one.low: (one.count, pytest.approx(one.sigma_a, rel=3e-4)) for one in summarise_sigma_a(whole)}
    assert found[0][0] == 2


def test_a_prompt_by_its_name(model):
    texts = ["a pool", "the deep cave", "light"]
    reading = read(model, texts, "page", keep=[1], traced=[0])
    assert np.allclose(reading.vectors, model.encode(texts, prompt_name="page"), atol=1e-5)
    assert reading.lengths.tolist() == [8, 9, 7]
    assert read(model, texts, "query").lengths.tolist() == [4, 5, 3]  # this prompt is empty


def test_every_module_keeps_its_mode(model):
    modes = [module.training for module in model.modules()]
    assert set(modes) == {True, False}  # a loaded model: its transformer is in evaluation, its container in training
    read(model, ["a"], traced=[0])
    profile_layers(model, ["a"])
    assert [module.training for module in model.modules()] == modes
    model.train()
    first, second = (profile_layers(model, ["a pool"])[0].concentration for _ in range(2))
    assert torch.equal(first, second)  # without dropout
    assert all(module.training for module in model.modules())


def test_an_error_leaves_no_hook_and_the_mode(model):
    model.train()
    with pytest.raises(ZeroDivisionError):
        read(model, ["a"], traced=[0], listener=Listener(lambda _, done, total: done and 1 / 0))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["bert", "qwen", "t5", "neox"])
def test_kept_tokens_are_those_that_are_pooled(kind, tiny_st):
    model = SentenceTransformer(str(tiny_st(kind, include_prompt=False)), device="cpu", prompts=PROMPTS)
    texts = ["a pool", "the deep cave one two three", "light stone", ""]
    reading = read(model, texts, "page", keep=range(4), traced=[0])
    for row, tokens in reading.tokens.items():
        assert np.allclose(tokens.mean(0), reading.vectors[row], atol=1e-5)
        assert len(tokens) < reading.lengths[row]
    whole = profile_layers(model, ["document: a deep a pool"])
    assert torch.allclose(reading.layers[1].concentration, whole[1].concentration)  # layers: prompt included
    # The tokenizer of neox adds no token to an empty text, and the prompt is not pooled.
    empty = {3: "it has no token to pool: leave such texts out"} if kind == "neox" else {}
    assert reading.unread == empty
    assert set(reading.tokens) == set(range(4)) - set(empty)


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")
def test_landmarks_mark_the_tokens_of_a_prompt(tiny_st):
    folder = str(tiny_st("bert", include_prompt=False, prompts=PROMPTS))
    model = cenote.load(folder, pooling="landmark", interval=2, device="cpu")
    texts = ["a pool", "the deep cave one two three"]
    reading = read(model, texts, "page", keep=[0, 1])
    for row, text in enumerate(texts):
        features = model.preprocess([text], prompt="document: a deep ")
        states = model.encode(text, prompt_name="page", output_value="token_embeddings")
        assert features["prompt_mask"].any()
        assert np.allclose(reading.tokens[row], states[~features["prompt_mask"][0]].numpy(), atol=1e-5)


def test_a_text_without_tokens_stops_no_other(model):
    without_special_tokens(model)
    texts = ["a pool", "\x01", "the deep cave", "", "light"]
    seen = []
    reading = read(model, texts, keep=range(5), traced=[1, 2, 3], listener=Listener(lambda *at: seen.append(at)))
    assert reading.unread == reading.untraced == dict.fromkeys((1, 3), NO_TOKENS)
    assert (reading.traced, reading.measured) == ([2], [0, 2, 4])
    assert [len(layer.concentration) for layer in reading.layers] == [1, 1]
    assert sorted(reading.tokens) == [0, 2, 4]
    assert reading.lengths.tolist() == [2, 0, 3, 0, 1]
    assert np.allclose(reading.vectors[[0, 2, 4]], model.encode([texts[row] for row in (0, 2, 4)]), atol=1e-5)
    assert ("tracing layers", 3, 3) in seen
    assert seen[-1] == ("reading texts", 4, 4)
    nothing = read(model, [""], traced=[0])
    assert (nothing.layers, nothing.why_untraced) == ([], NO_TOKENS)


@pytest.mark.parametrize("place", [0, 20, 39])
def test_a_text_refused_halfway_leaves_nothing_in_the_profile(place, model):
    """Wherever it stands in the order of reading: the first, the middle and the last length."""
    texts = [text.replace("pool", "stone") if row == place else text for row, text in enumerate(MANY)]
    rest = [row for row in range(40) if row != place]
    with refusing(model, "stone"):
        reading = read(model, texts, traced=range(40))
    assert reading.untraced == reading.unread == {place: "it has a stone: take it out"}
    assert reading.traced == reading.measured == rest
    assert_layers(reading.layers, profile_layers(model, [texts[row] for row in rest]))
    assert np.allclose(reading.vectors[rest], model.encode([texts[row] for row in rest]), atol=1e-5)


@pytest.mark.parametrize("traced", [(), range(40)])
def test_memory_that_runs_out_halves_batches_and_changes_no_figure(traced, model):
    plain, said = read(model, MANY, keep=[3, 30], traced=traced), []
    with short_of_memory(model, 120):
        reading = read(model, MANY, keep=[3, 30], traced=traced, listener=Listener(notify=said.append))
    assert said
    assert all(words.startswith("out of memory: going on with batches of") for words in said)
    assert np.allclose(reading.vectors, plain.vectors, atol=1e-5)
    assert (reading.unread, reading.untraced, reading.traced) == ({}, {}, plain.traced)
    assert_layers(reading.layers, plain.layers)
    for row in (3, 30):
        assert np.allclose(reading.tokens[row], plain.tokens[row], atol=1e-5)


def test_a_text_that_does_not_fit_into_memory_is_excluded_alone(model):
    texts = ["a pool", "the deep cave " * 40, "light"]
    with short_of_memory(model, 100):
        reading = read(model, texts, traced=[0, 1])
    assert set(reading.unread) == set(reading.untraced) == {1}
    assert "do not fit into memory" in reading.unread[1]
    assert reading.traced == [0]
