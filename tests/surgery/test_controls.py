"""The controls of length collapse, on the real model and against plain loops."""

import numpy as np
import pytest

import cenote
from cenote.errors import BadInput
from cenote.surgery.controls import RepeatedWords, repeat_words, word_vectors


def test_word_vectors_are_averages_of_the_words_alone(demo):
    texts = ["a pool", "", "the deep cave " * 200, "[SEP] light"]
    vectors, kept = word_vectors(demo, texts, batch_size=2)
    assert kept.tolist() == [0, 2, 3]
    table = demo[0].model.embeddings.word_embeddings.weight.detach().double().numpy()
    for row, text in zip(vectors, (texts[index] for index in kept), strict=True):
        ids = demo.tokenizer.tokenize(text)[: 256 - 2]  # as far as the model reads
        ids = [i for i in demo.tokenizer.convert_tokens_to_ids(ids) if i not in demo.tokenizer.all_special_ids]
        expected = np.zeros(384)
        for id_ in ids:
            expected += table[id_]
        assert np.allclose(row.numpy(), expected / len(ids), atol=1e-6)
    assert word_vectors(demo, [""])[1].tolist() == []


def test_repeated_words(demo):
    found = repeat_words(demo)
    assert found.counts == (1, 2, 4, 8, 16, 32, 64, 128, 254)
    assert found.tokens == (3, 4, 6, 10, 18, 34, 66, 130, 256)
    for count, cosine in zip(found.counts, found.cosines, strict=True):
        dogs, cats = demo.encode([" ".join(["dog"] * count), " ".join(["cat"] * count)])
        assert cosine == pytest.approx(float(dogs @ cats), abs=1e-5)
    short = repeat_words(demo, ("embedding", "cave"), counts=[3, 1])
    assert isinstance(short, RepeatedWords)
    assert short.counts == (3, 1)
    assert short.tokens[1] == len(demo.tokenizer.tokenize("embedding")) + 2
    with cenote.temper(demo, 0.5):
        assert repeat_words(demo, counts=[100]).cosines != repeat_words(demo, counts=[50]).cosines


@pytest.mark.parametrize(
    ("words", "counts", "message"),
    [
        (("dog", "dog"), None, "name two words that differ"),
        (("dog", " "), None, "name two words that differ"),
        (("dog",), None, "name two words"),
        (("dog", "cat"), [0], "whole numbers of at least 1"),
        (("dog", "cat"), [], "whole numbers of at least 1"),
        (("dog", "cat"), [255], r"the model reads 'dog' 254 times at most"),
    ],
)
def test_what_cannot_be_repeated(words, counts, message, demo):
    with pytest.raises(BadInput, match=message):
        repeat_words(demo, words, counts)


def test_the_probe_counts_a_default_prompt(demo):
    demo.prompts = {**demo.prompts, "here": "search: "}
    demo.default_prompt_name = "here"
    try:
        assert repeat_words(demo).tokens[-1] == 256
        assert repeat_words(demo, counts=[1]).tokens == (5,)
    finally:
        demo.default_prompt_name = None
        demo.prompts.pop("here")
