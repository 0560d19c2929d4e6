"""Landmarks with causal models: each closes the chunk before it, so every token of the text reaches the embedding."""

import pytest
import torch
from sentence_transformers import SentenceTransformer

from cenote.models.repooling import repool

from .words import WORDS

# `llama` opens a text with BOS and closes it with nothing, `qwen` closes it with a token that is not EOS, and `neox`
# adds no special token at all. None has a SEP.
KINDS = ["llama", "qwen", "neox"]
INTERVAL = 4


@pytest.fixture(params=KINDS)
def model(request, tiny_st):
    loaded = repool(SentenceTransformer(str(tiny_st(request.param)), device="cpu"), "landmark", interval=INTERVAL)
    assert loaded.tokenizer.sep_token_id is None
    return loaded.eval()


def text_of(words):
    """A text of so many tokens: each word is one, with the space before it."""
    return "".join(f" {WORDS[place % len(WORDS)]}" for place in range(words))


def own_tokens(model, features):
    """The positions of the text's own tokens in a batch of one."""
    special = len(model.tokenizer("")["input_ids"])
    marks = features["landmark_mask"][0].nonzero().flatten().tolist()
    opens = special if model.tokenizer("")["input_ids"][:1] == [model.tokenizer.bos_token_id] else 0
    return [place for place in range(opens, features["input_ids"].shape[1]) if place not in marks]


def embed(model, features):
    """The embedding of a batch of one, in float64, so that a small effect is not rounded away."""
    with torch.no_grad():
        return model({key: value.clone() if torch.is_tensor(value) else value for key, value in features.items()})[
            "sentence_embedding"
        ][0]


@pytest.mark.parametrize("words", [1, 3, 4, 5, 8, 11, 29])
def test_every_chunk_has_one_landmark_after_it(model, words):
    features = model.preprocess([text_of(words)])
    marks = features["landmark_mask"][0].nonzero().flatten().tolist()
    own = own_tokens(model, features)
    assert len(own) == words
    assert len(marks) == -(-words // INTERVAL)
    assert marks == [place + 1 for place in [*own[INTERVAL - 1 :: INTERVAL], *([own[-1]] if words % INTERVAL else [])]]
    assert marks[-1] == features["input_ids"].shape[1] - 1
    eos = model.tokenizer.eos_token_id
    assert set(features["input_ids"][0, marks[:-1]].tolist()) <= {eos}
    closing = model.tokenizer.convert_tokens_to_ids("<end>") if model.tokenizer.padding_side == "left" else eos
    assert features["input_ids"][0, -1] == closing


@pytest.mark.parametrize("limit", [256, 16, 15, 14])
def test_every_token_of_every_chunk_changes_the_embedding(model, limit):
    model.double().max_seq_length = limit
    features = model.preprocess([text_of(22)])
    own = own_tokens(model, features)
    assert len(own) == 22 if limit == 256 else len(features["input_ids"][0]) in (limit - 1, limit)
    assert features["landmark_mask"].sum() == -(-len(own) // INTERVAL)
    before = embed(model, features)
    for place in own:
        changed = {**features, "input_ids": features["input_ids"].clone()}
        changed["input_ids"][0, place] -= 1
        assert (embed(model, changed) - before).abs().max() > 1e-6, place


def test_without_the_last_landmark_the_last_chunk_would_be_lost(model):
    model.double()
    features = model.preprocess([text_of(11)])
    features["landmark_mask"][0, -1] = False
    before, own = embed(model, features), own_tokens(model, features)
    lost = []
    for place in own[:11]:
        changed = {**features, "input_ids": features["input_ids"].clone()}
        changed["input_ids"][0, place] -= 1
        lost.append(bool(torch.equal(embed(model, changed), before)))
    assert lost == [False] * 8 + [True] * 3  # so the models are causal, and the tests above can fail


@pytest.mark.parametrize("limit", [256, 15])
def test_every_token_has_a_gradient(model, limit):
    model.double().max_seq_length = limit
    features, kept = model.preprocess([text_of(22)]), []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)

    handle = model[0].model.get_input_embeddings().register_forward_hook(keep)
    own = own_tokens(model, features)
    vector = model(features)["sentence_embedding"][0]
    handle.remove()
    # A direction at random: norms before the pooling leave some sums of the vector constant.
    (vector @ torch.randn(len(vector), generator=torch.Generator().manual_seed(0), dtype=vector.dtype)).backward()
    assert (kept[0].grad[0, own].abs().sum(1) > 1e-8).all()


def test_the_side_of_the_padding_makes_no_difference(model):
    texts = [text_of(words) for words in (29, 1, 4, 6, 11)]
    expected = [model.encode(text) for text in texts]
    for side in ("left", "right"):
        model.tokenizer.padding_side = side
        features = model.preprocess(texts)
        assert not features["attention_mask"][:, 0 if side == "left" else -1].all()
        for vector, alone in zip(model.encode(texts), expected, strict=True):
            assert vector == pytest.approx(alone, abs=1e-5)
