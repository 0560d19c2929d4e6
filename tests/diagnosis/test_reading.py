"""What is read is what `encode` gives, once for every text."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import processors

import cenote
from cenote.diagnosis.layers import profile_layers
from cenote.encoding.reading import as_read, count_tokens, read_texts
from cenote.errors import UnknownName
from cenote.functional.token_batches import refuse_rows

TEXTS = ["a pool", "the deep cave " * 200, "collapse", "", "a query about two documents 🕳️"]


def test_vectors_tokens_and_layers(demo):
    seen = []
    reading = read_texts(demo, TEXTS, tokens_of=[0, 4], traced=[4, 2], progress=lambda *at: seen.append(at))
    assert np.allclose(reading.vectors, demo.encode(TEXTS), atol=1e-6)
    assert reading.lengths.tolist() == [4, 256, 3, 2, 7 + 1]
    assert sorted(reading.tokens) == [0, 4]
    for row, tokens in reading.tokens.items():
        alone = demo.encode(TEXTS[row], output_value="token_embeddings")
        assert np.allclose(tokens, alone.numpy(), atol=1e-5)
    assert reading.traced == [2, 4]
    expected = profile_layers(demo, [TEXTS[2], TEXTS[4]])
    for found, layer in zip(reading.layers, expected, strict=True):
        assert torch.allclose(found.concentration, layer.concentration, rtol=1e-4)
        assert torch.allclose(found.sigma_a, layer.sigma_a, rtol=3e-4)
    assert seen == [(2, 5), (5, 5)]
    assert not any(module._forward_hooks for module in demo.modules())


def test_the_default_prompt_is_read_too(demo):
    demo.prompts = {**demo.prompts, "here": "search: "}
    demo.default_prompt_name = "here"
    try:
        reading = read_texts(demo, ["a pool"], tokens_of=[0])
        assert np.allclose(reading.vectors, demo.encode(["a pool"]), atol=1e-6)
        assert count_tokens(demo, ["a pool"]).tolist() == reading.lengths.tolist() == [6]
    finally:
        demo.default_prompt_name = None
        demo.prompts.pop("here")


def test_every_part_of_a_model_keeps_its_mode(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    modes = [module.training for module in model.modules()]
    assert set(modes) == {True, False}  # as it is loaded: the transformer is in no training, what holds it is
    read_texts(model, ["a"], traced=[0])
    profile_layers(model, ["a"])
    assert [module.training for module in model.modules()] == modes
    model.train()
    first, second = (profile_layers(model, ["a pool"])[0].concentration for _ in range(2))
    assert torch.equal(first, second)  # without dropout
    assert all(module.training for module in model.modules())


def test_the_mode_is_restored_also_after_an_error(demo):
    demo.train()
    try:
        read_texts(demo, ["a"])
        assert demo.training
        with pytest.raises(ZeroDivisionError):
            read_texts(demo, ["a"], traced=[0], progress=lambda *_: 1 / 0)
        assert demo.training
    finally:
        demo.eval()
    assert not any(module._forward_hooks for module in demo.modules())


def test_counting_knows_no_limit(demo):
    long = "word " * 60_000  # in pieces
    assert count_tokens(demo, ["a pool", long, "x" * 250_000]).tolist()[:2] == [4, 60_002]
    plain = demo.tokenizer(TEXTS, truncation=False)["input_ids"]
    assert count_tokens(demo, TEXTS).tolist() == [len(ids) for ids in plain]


def test_a_prompt_by_its_name(tiny_st):
    prompts = {"page": "document: a deep "}
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts=prompts)
    texts = ["a pool", "the deep cave", "light"]
    reading = read_texts(model, texts, prompt_name="page", tokens_of=[1], traced=[0])
    assert np.allclose(reading.vectors, model.encode(texts, prompt_name="page"), atol=1e-5)
    assert count_tokens(model, texts, prompt_name="page").tolist() == reading.lengths.tolist() == [8, 9, 7]
    model.default_prompt_name = "page"
    assert np.allclose(reading.vectors, read_texts(model, texts).vectors, atol=1e-5)
    assert read_texts(model, texts, prompt_name="query").lengths.tolist() == [4, 5, 3]  # one without words
    with pytest.raises(UnknownName, match="unknown prompt 'pages'; did you mean 'page'"):
        read_texts(model, texts, prompt_name="pages")


@pytest.mark.parametrize("kind", ["bert", "qwen", "t5", "neox"])
def test_tokens_are_those_that_are_pooled(kind, tiny_st):
    model = SentenceTransformer(
        str(tiny_st(kind, include_prompt=False)), device="cpu", prompts={"page": "document: a deep "}
    )
    texts = ["a pool", "the deep cave one two three", "light stone", ""]
    reading = read_texts(model, texts, prompt_name="page", tokens_of=range(4), traced=[0])
    for row, tokens in reading.tokens.items():
        assert np.allclose(tokens.mean(0), reading.vectors[row], atol=1e-5)
        assert len(tokens) < reading.lengths[row]
    whole = profile_layers(model, ["document: a deep a pool"])
    assert torch.allclose(reading.layers[1].concentration, whole[1].concentration)  # layers: prompt included
    # Where nothing is left without its prompt, there is nothing to pool.
    empty = {3} if kind == "neox" else set()  # whose tokenizer puts nothing around a text
    assert set(reading.unread) == empty
    assert set(reading.tokens) == set(range(4)) - empty


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")
def test_landmarks_say_themselves_which_tokens_are_a_prompts(tiny_st):
    folder = str(tiny_st("bert", include_prompt=False, prompts={"page": "document: a deep "}))
    model = cenote.load(folder, pooling="landmark", interval=2, device="cpu")
    texts = ["a pool", "the deep cave one two three"]
    reading = read_texts(model, texts, prompt_name="page", tokens_of=[0, 1])
    for row, text in enumerate(texts):
        features = model.preprocess([text], prompt="document: a deep ")
        states = model.encode(text, prompt_name="page", output_value="token_embeddings")
        assert features["prompt_mask"].any()
        assert np.allclose(reading.tokens[row], states[~features["prompt_mask"][0]].numpy(), atol=1e-5)


def test_one_text_stops_no_other(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    model.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("$A", "$A $B", [])
    texts = ["a pool", "\x01", "the deep cave", "", "light"]
    seen = []
    reading = read_texts(model, texts, tokens_of=range(5), traced=[1, 2, 3], progress=lambda *at: seen.append(at))
    assert reading.unread == dict.fromkeys((1, 3), "no token that is pooled")
    assert reading.traced == [2]
    assert [len(layer.concentration) for layer in reading.layers] == [1, 1]
    assert sorted(reading.tokens) == [0, 2, 4]
    assert reading.lengths.tolist() == [2, 0, 3, 0, 1]
    assert np.allclose(reading.vectors[[0, 2, 4]], model.encode([texts[row] for row in (0, 2, 4)]), atol=1e-5)
    assert seen[-1] == (5, 5)
    assert read_texts(model, [""], traced=[0]).layers == []


def test_what_refuses_a_text_refuses_it_alone(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    stone = model.tokenizer.convert_tokens_to_ids("stone")

    def refuse(_, args):
        refuse_rows((args[0]["input_ids"] == stone).any(1), "a stone", "take it out")

    texts = [f"{'a ' * row}pool" for row in range(40)]
    texts[7] = texts[30] = "a stone"
    handle = model[0].register_forward_pre_hook(refuse)
    seen = []
    try:
        reading = read_texts(model, texts, traced=[2, 7, 9], progress=lambda *at: seen.append(at))
    finally:
        handle.remove()
    assert reading.untraced == {7: "a stone: take it out."}
    assert reading.unread == dict.fromkeys((7, 30), "a stone: take it out.")
    assert reading.traced == [2, 9]
    alone = profile_layers(model, [texts[2], texts[9]])
    for found, layer in zip(reading.layers, alone, strict=True):
        assert torch.allclose(found.concentration, layer.concentration, rtol=1e-4)
    rest = [row for row in range(40) if row not in reading.unread]
    assert np.allclose(reading.vectors[rest], model.encode([texts[row] for row in rest]), atol=1e-5)
    assert seen[-1] == (40, 40)


def test_cut_where_the_model_cuts(demo):
    assert as_read(demo, np.array([3, 300])).tolist() == [3, 256]
