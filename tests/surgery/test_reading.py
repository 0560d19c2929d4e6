"""What is read is what `encode` gives, once for every text."""

import numpy as np
import pytest
import torch

from cenote.surgery.profiles import profile_layers
from cenote.surgery.reading import count_tokens, read_texts

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
