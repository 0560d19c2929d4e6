"""Layers are profiled in batches; `tests/surgery/test_profiles.py` compares the figures with plain arithmetic."""

import pytest
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.layers import profile_layers
from cenote.errors import BadInput
from cenote.listener import Listener
from cenote.surgery.profiles import Undefined

from ..fakes import refusing

TEXTS = ["a pool", "the deep cave", "light", "a query two", "a"]


@pytest.fixture
def model(tiny_st):
    return SentenceTransformer(str(tiny_st("bert")), device="cpu")


def test_progress_is_reported_by_batch(model):
    seen = []
    profile_layers(model, TEXTS, attention=False, budget=1, listener=Listener(lambda *at: seen.append(at)))
    assert seen == [("tracing layers", done, 5) for done in range(6)]


@pytest.mark.parametrize("texts", [[], "one text"])
def test_something_other_than_a_list_of_texts(texts, model):
    with pytest.raises(BadInput, match="pass a list of texts"):
        profile_layers(model, texts)


def test_a_text_that_cannot_be_profiled_is_named(model):
    with refusing(model, "cave"), pytest.raises(BadInput, match="text 1 cannot be profiled: it has a cave"):
        profile_layers(model, TEXTS)


def test_attention_of_some_layers(model):
    first, last = profile_layers(model, TEXTS, attention=[1])
    assert isinstance(first.sigma_a, Undefined)
    assert last.sigma_a.shape[0] == len(TEXTS)
    assert (last.concentration == profile_layers(model, TEXTS)[1].concentration).all()
