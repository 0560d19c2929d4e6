"""One pass of a model: its vectors, those of other poolings, and the tokens that the pooling sees."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, StaticEmbedding

import cenote
from cenote.encoding.forward import (
    VECTORS,
    forward,
    pooled_tokens,
    pooled_vectors,
    refuse_without_tokens,
    repooled_vectors,
    run_modules,
)
from cenote.errors import UnsupportedModel
from cenote.nn import Pooling

TEXTS = ["a pool", "the deep water of a cave", "", "one two three: light! " * 9]


@pytest.fixture(scope="module")
def bert(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


def test_vectors_are_cut_to_the_models_dimensions_and_are_float32(bert):
    output = forward(bert, bert.preprocess(TEXTS))
    assert pooled_vectors(bert, output).shape == (4, 32)
    with bert.truncate_embeddings(5):
        assert torch.equal(pooled_vectors(bert, output), output[VECTORS][:, :5])
    assert pooled_vectors(bert, {VECTORS: output[VECTORS].half()}).dtype == torch.float32


def test_a_pass_needs_no_gradient_and_leaves_the_mode_of_training(bert):
    bert.train()
    try:
        first, second = (forward(bert, bert.preprocess(TEXTS))[VECTORS] for _ in range(2))
        assert torch.equal(first, second)  # without dropout
        assert first.is_inference()
        assert bert.training
    finally:
        bert.eval()


def test_the_features_that_were_passed_stay(bert):
    features = bert.preprocess(TEXTS)
    before = dict(features)
    forward(bert, features)
    with torch.inference_mode():
        run_modules(bert, features)
    assert features.keys() == before.keys()


# Other poolings of the same pass.


@pytest.fixture(scope="module")
def folder(tiny_st):
    """`folder(name)`: one model with nothing after its pooling, with Normalize, with Dense and Normalize."""
    made = {}

    def of(name):
        if name not in made:
            torch.manual_seed(3)
            after = {"alone": [], "normalize": [Normalize()], "dense": [Dense(32, 24), Normalize()]}[name]
            made[name] = tiny_st("roberta", *after, include_prompt=False, prompts={"ask": "query: "})
        return made[name]

    return of


@pytest.mark.filterwarnings("ignore:.*declares pooling:cenote.errors.CenoteWarning")  # CLS is not trained
@pytest.mark.parametrize("after", ["alone", "normalize", "dense"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken"])
@pytest.mark.parametrize("prompt", [None, "ask"])
def test_another_pooling_gives_the_vectors_of_a_model_loaded_with_it(folder, after, pooling, prompt):
    model = cenote.load(folder(after), device="cpu")
    other = cenote.load(folder(after), device="cpu", pooling=pooling)
    features = model.preprocess(TEXTS, prompt=model.prompts.get(prompt))
    vectors = repooled_vectors(model, forward(model, features), other[1])
    np.testing.assert_allclose(vectors, other.encode(TEXTS, prompt_name=prompt), atol=1e-5)


def test_several_poolings_of_one_pass_do_not_change_each_other(bert):
    output = forward(bert, bert.preprocess(TEXTS))
    before = dict(output)
    first, _, again = (repooled_vectors(bert, output, Pooling(32, how)) for how in ("max", ("cls", "mean"), "max"))
    assert torch.equal(first, again)
    assert output.keys() == before.keys()
    assert all(output[name] is before[name] for name in before)
    with bert.truncate_embeddings(5):
        assert torch.equal(repooled_vectors(bert, output, Pooling(32, "max")), first[:, :5])


def test_a_model_without_a_pooling_cannot_be_repooled(bert):
    model = SentenceTransformer(modules=[bert[0]], device="cpu")
    with pytest.raises(UnsupportedModel, match=r"has no Pooling module among \['Transformer'\]"):
        repooled_vectors(model, {}, Pooling(32, "max"))


# Tokens that the pooling sees.


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("kind", ["bert", "qwen"])
def test_a_prompt_that_is_not_pooled_is_not_among_the_pooled_tokens(tiny_st, kind, ours):
    folder = str(tiny_st(kind, include_prompt=False))
    model = cenote.load(folder, device="cpu") if ours else SentenceTransformer(folder, device="cpu")
    features = model.preprocess(TEXTS, prompt="query: ")
    output = forward(model, features)
    pooled = pooled_tokens(model, output)
    skipped = features["prompt_length"]
    assert pooled.sum(1).tolist() == (features["attention_mask"].sum(1) - skipped).tolist()
    for row, mask in enumerate(pooled):
        mean = output["token_embeddings"][row][mask].mean(0)
        assert torch.allclose(mean, output[VECTORS][row], atol=1e-5)


def test_with_a_pooled_prompt_all_real_tokens_are_pooled(bert):
    features = bert.preprocess(TEXTS, prompt="query: ")
    assert torch.equal(pooled_tokens(bert, features), features["attention_mask"].bool())


def test_a_model_without_token_vectors_is_refused(demo):
    model = SentenceTransformer(modules=[StaticEmbedding(demo.tokenizer, embedding_dim=4)], device="cpu")
    with pytest.raises(UnsupportedModel, match="starts with StaticEmbedding, which gives no attention_mask"):
        pooled_tokens(model, model.preprocess(["a pool"]))
    with pytest.raises(UnsupportedModel, match="gives no token_embeddings: it has no token vectors"):
        refuse_without_tokens(model, {"attention_mask": None})
