"""`Encoder`: vectors in the order of the texts, and texts without one. How batches are made: `test_batches.py`."""

import itertools

import numpy as np
import pytest
import torch

import cenote
from cenote.encoding.batches import NOT_FINITE
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.functional.token_batches import refuse_rows

TEXTS = [" ".join(itertools.islice(itertools.cycle(["the", "pool", "collapse"]), count)) for count in (3, 40, 1, 90, 7)]
TEXTS = [f"{text} {place}" for place in range(8) for text in TEXTS]


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


@pytest.fixture(scope="module")
def tokens(model):
    return tokenise(model, TEXTS)


class Fake:
    """A backend whose vector of a text depends on all its tokens. `change` sees a batch and its vectors."""

    name, precision = "fake", "float32"

    def __init__(self, change=lambda features, vectors: vectors):
        self.change = change

    def __call__(self, features):
        ids, mask = features["input_ids"], features["attention_mask"]
        places = torch.arange(ids.shape[1])
        vectors = torch.stack([(ids * mask).sum(1), (ids * mask * places).sum(1), mask.sum(1)], 1).float()
        return self.change(features, vectors)


@pytest.fixture(scope="module")
def expected(model):
    return torch.stack([Fake()(model.preprocess([text]))[0] for text in TEXTS]).numpy()


def holding(model, numbers):
    """Return a function that says which texts of a batch hold one of the numbers."""
    ids = model.tokenizer.convert_tokens_to_ids(list(numbers))
    return lambda features: torch.isin(features["input_ids"], torch.tensor(ids)).any(1)


def refusing(model, numbers):
    found = holding(model, numbers)

    def change(features, vectors):
        refuse_rows(found(features), "a number in it", "leave it out")
        return vectors

    return change


def test_vectors_are_in_the_order_of_the_texts(model, tokens, expected):
    advanced = []
    vectors, refused = Encoder(model, Fake(), budget=300)(tokens, advanced.append)
    np.testing.assert_array_equal(vectors, expected)
    assert (refused, vectors.dtype) == ({}, np.float32)
    assert sum(advanced) == len(TEXTS)
    assert len(advanced) < len(TEXTS) / 2


def test_no_texts_give_no_vectors_of_the_models_width(model):
    vectors, refused = Encoder(model, Fake())(tokenise(model, []))
    assert (vectors.shape, refused) == ((0, 32), {})


def test_refused_texts_have_zeros_and_the_others_their_vectors(model, tokens, expected):
    advanced = []
    vectors, refused = Encoder(model, Fake(refusing(model, "5")))(tokens, advanced.append)
    rows = [row for row, text in enumerate(TEXTS) if "5" in text]
    assert refused == dict.fromkeys(rows, "it has a number in it: leave it out")
    rest = [row for row in range(len(TEXTS)) if row not in refused]
    np.testing.assert_array_equal(vectors[rest], expected[rest])
    assert not vectors[rows].any()
    assert sum(advanced) == len(TEXTS)


def test_where_every_text_is_refused_the_zeros_have_the_models_width(model, tokens):
    vectors, refused = Encoder(model, Fake(refusing(model, "01234567")))(tokens)
    assert sorted(refused) == list(range(len(TEXTS)))
    assert vectors.shape == (len(TEXTS), 32)
    assert not vectors.any()


def test_reading_stops_at_a_refused_text_where_that_is_asked(model, tokens):
    advanced = []
    encoder = Encoder(model, Fake(refusing(model, "01234567")), budget=100)
    _, refused = encoder(tokens, advanced.append, stop_at_refusal=True)
    assert refused
    assert sum(advanced) < len(TEXTS) / 2


def test_vectors_that_are_not_finite_refuse_their_texts_alone(model, tokens, expected):
    def spoil(features, vectors):
        vectors[holding(model, "2")(features), 1] = torch.nan
        vectors[holding(model, "6")(features), 0] = -torch.inf
        return vectors

    vectors, refused = Encoder(model, Fake(spoil))(tokens)
    assert refused == dict.fromkeys([row for row, text in enumerate(TEXTS) if text[-1] in "26"], NOT_FINITE)
    rest = [row for row in range(len(TEXTS)) if row not in refused]
    np.testing.assert_array_equal(vectors[rest], expected[rest])
