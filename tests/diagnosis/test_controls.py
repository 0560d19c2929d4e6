"""The controls of length collapse, on the real model and against plain loops."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis import controls
from cenote.diagnosis.controls import read_repeated, repeat_words, tokenise_word_pairs, word_vectors
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput
from cenote.records import Repeated


def test_word_vectors_are_averages_of_the_words_alone(demo):
    texts = ["a pool", "", "the deep cave " * 200, "[SEP] light"]
    vectors, kept = word_vectors(demo, tokenise(demo, texts))
    assert kept.tolist() == [0, 2, 3]
    table = demo[0].model.embeddings.word_embeddings.weight.detach().double().numpy()
    for row, text in zip(vectors, (texts[index] for index in kept), strict=True):
        ids = demo.tokenizer.tokenize(text)[: 256 - 2]  # as far as the model reads
        ids = [i for i in demo.tokenizer.convert_tokens_to_ids(ids) if i not in demo.tokenizer.all_special_ids]
        expected = np.zeros(384)
        for id_ in ids:
            expected += table[id_]
        assert np.allclose(row.numpy(), expected / len(ids), atol=1e-6)
    assert word_vectors(demo, tokenise(demo, [""]))[1].tolist() == []


def test_words_of_a_router_are_those_of_the_route_that_read_them(routed):
    texts = ["a pool", "the deep cave"]
    document = SentenceTransformer(modules=[*routed[0].sub_modules["document"]], device="cpu")
    expected, _ = word_vectors(document, tokenise(document, texts))
    found, _ = word_vectors(routed, tokenise(routed, texts))
    assert torch.equal(found, expected)


def test_repeated_words(demo):
    found = repeat_words(demo)
    assert (found.words, found.tokens) == (("dog", "cat"), (3, 4, 6, 10, 18, 34, 66, 130, 256))
    for count, cosine in zip((1, 2, 4, 8, 16, 32, 64, 128, 254), found.cosines, strict=True):
        dogs, cats = demo.encode([" ".join(["dog"] * count), " ".join(["cat"] * count)])
        assert cosine == pytest.approx(float(dogs @ cats), abs=1e-5)
    short = repeat_words(demo, ("embedding", "cave"), counts=[3, 1])
    assert isinstance(short, Repeated)
    assert short.tokens[0] > short.tokens[1]
    assert short.tokens[1] == len(demo.tokenizer.tokenize("embedding")) + 2
    with cenote.temper(demo, 0.5):
        assert repeat_words(demo, counts=[8]).cosines[0] != pytest.approx(found.cosines[3], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "counts", "message"),
    [
        (("dog", "dog"), None, "pass two different words"),
        (("dog", " "), None, "pass two different words"),
        (("dog",), None, "pass two different words"),
        (("dog", "cat"), [0], "whole numbers of at least 1"),
        (("dog", "cat"), [], "whole numbers of at least 1"),
        (("dog", "cat"), [255], r"the model reads 'dog' at most 254 times"),
    ],
)
def test_words_and_counts_that_cannot_be_repeated(words, counts, message, demo):
    with pytest.raises(BadInput, match=message):
        repeat_words(demo, words, counts)


def test_pairs_of_words_are_read_together_and_each_is_the_pair_alone(tiny_st, monkeypatch):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    monkeypatch.setattr(controls, "WORD_PAIRS", (("dog", "cat"), ("\x02", "music"), ("water", "cave")))
    texts = tokenise_word_pairs(model, None, 40)
    found = read_repeated(model, texts)
    assert [one.words for one in found] == [("dog", "cat"), ("water", "cave")]  # of "\x02" there is no token
    for one in found:
        alone = repeat_words(model, one.words, limit=40)
        assert one.tokens == alone.tokens
        assert one.cosines == pytest.approx(alone.cosines, abs=1e-5)
        assert max(one.tokens) <= 40
    assert read_repeated(model, []) == ()


def test_repeated_words_follow_the_default_prompt(tiny_st):
    prompts = {"page": "document: a deep "}
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts=prompts, default_prompt_name="page")
    around, dog = 4 + 2, 3  # the prompt and special tokens; the letters of the word
    assert repeat_words(model, counts=[1]).tokens == (around + dog,)
    assert repeat_words(model).tokens[-1] == around + dog * ((256 - around) // dog)


@pytest.mark.parametrize("include_prompt", [True, False])
def test_word_vectors_include_a_prompt_that_is_pooled(include_prompt, tiny_st):
    folder = str(tiny_st("bert", include_prompt=include_prompt))
    model = SentenceTransformer(folder, device="cpu", prompts={"page": "document: a deep "})
    table = model[0].model.get_input_embeddings().weight.detach()
    vectors, kept = word_vectors(model, tokenise(model, ["a pool", "light"], "page"))
    prompt = ["document", ":", "a", "deep"] if include_prompt else []
    for vector, words in zip(vectors, (["a", "pool"], ["light"]), strict=True):
        ids = model.tokenizer.convert_tokens_to_ids(prompt + words)
        assert torch.allclose(vector, table[ids].mean(0), atol=1e-6)
    assert kept.tolist() == [0, 1]
    model.default_prompt_name = "page"
    assert torch.equal(word_vectors(model, tokenise(model, ["a pool", "light"]))[0], vectors)
    assert repeat_words(model, prompt_name="page", counts=[1]).tokens == (repeat_words(model, counts=[1]).tokens)
    assert repeat_words(model, prompt_name="page", counts=[1]).tokens[0] == 4 + len(model.tokenizer("dog")["input_ids"])


def test_words_whose_row_is_broken_have_no_average(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    with torch.no_grad():
        model[0].model.get_input_embeddings().weight[model.tokenizer.convert_tokens_to_ids("stone")] = torch.nan
    vectors, kept = word_vectors(model, tokenise(model, ["a pool", "a stone", "light"]))
    assert kept.tolist() == [0, 2]
    assert vectors.isfinite().all()


def test_words_without_tokens_cannot_be_repeated(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    with pytest.raises(BadInput, match=r"the tokenizer makes no token of '\\x02'"):
        repeat_words(model, ("pool", "\x02"))
