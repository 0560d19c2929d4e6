"""Replacing the pooling of a loaded model."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling

from cenote.errors import BadInput
from cenote.functional.pooling import POOLINGS
from cenote.models.repooling import repool

TEXTS = ["the pool", "one two three, the deep cave", "water"]


def test_every_operator_can_follow_every_other(tiny_st):
    def fresh():
        return SentenceTransformer(str(tiny_st("bert")), device="cpu")

    model, alone = fresh(), {how: repool(fresh(), how).encode(TEXTS) for how in POOLINGS}
    for first in POOLINGS:
        for second in POOLINGS:
            np.testing.assert_array_equal(repool(repool(model, first), second).encode(TEXTS), alone[second])


def test_bad_settings_leave_the_model_unchanged(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    expected = model.encode(TEXTS)
    with pytest.raises(BadInput, match="landmark and multi_cls insert different tokens"):
        repool(model, ("landmark", "multi_cls"))
    for bad in ({"interval": 0}, {"splitter": "words"}, {"marker": "sep"}, {"intervall": 3}, {"k": 3}):
        with pytest.raises((BadInput, TypeError), match=r"interval|splitter|marker|'?k'?"):
            repool(model, "landmark", **bad)
        np.testing.assert_array_equal(model.encode(TEXTS), expected)
    with pytest.raises(BadInput, match="interval"):
        repool(model, "mean", interval=3)


def test_a_repooled_model_keeps_its_training_mode(tiny_st):
    for training in (True, False):
        model = SentenceTransformer(str(tiny_st("bert")), device="cpu").train(training)
        for how in ("landmark", "every_k", "mean"):
            assert {module.training for module in repool(model, how)} == {training}


def test_a_transformer_of_the_models_own_is_not_replaced(tiny):
    class Louder(Transformer):
        def forward(self, features, **kwargs):
            features = super().forward(features, **kwargs)
            features["token_embeddings"] = features["token_embeddings"] * 7
            return features

    model = SentenceTransformer(modules=[Louder(str(tiny("bert"))), StPooling(32, "mean")], device="cpu")
    with pytest.raises(BadInput, match=r"Louder is a transformer class of the model's own.*Choose another pooling"):
        repool(model, "landmark")
    assert type(repool(model, "max")[0]) is Louder
