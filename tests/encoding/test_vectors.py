"""Tokens to vectors: order, memory that runs out, and texts that cannot be used, by backends that fail on purpose."""

import itertools

import numpy as np
import pytest
import torch

import cenote
from cenote.encoding.backends import backend
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder, out_of_memory
from cenote.errors import BadInput, CenoteError
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
    """Of each text a vector that only it has: its tokens summed up. `fail` sees a batch first and may raise."""

    name, precision = "fake", "float32"

    def __init__(self, fail=lambda features: None):
        self.fail, self.shapes = fail, []

    def __call__(self, features):
        self.shapes.append(tuple(features["input_ids"].shape))
        self.fail(features)
        ids, mask = features["input_ids"], features["attention_mask"]
        places = torch.arange(ids.shape[1])
        return torch.stack([(ids * mask).sum(1), (ids * mask * places).sum(1), mask.sum(1)], 1).float()


@pytest.fixture(scope="module")
def truth(model):
    one = [Fake()(model.preprocess([text]))[0] for text in TEXTS]
    return torch.stack(one).numpy()


def areas(fake):
    return [rows * length for rows, length in fake.shapes]


def test_order_is_restored(model, tokens, truth):
    told = []
    vectors, bad = Encoder(model, fake := Fake(), budget=300)(tokens, told.append)
    np.testing.assert_array_equal(vectors, truth)
    assert (bad, vectors.dtype) == ({}, np.float32)
    assert sum(told) == len(TEXTS)
    assert max(areas(fake)) <= 300
    assert len(fake.shapes) < len(TEXTS) / 2


def test_the_longest_comes_first(model, tokens):
    Encoder(model, fake := Fake(), budget=300)(tokens)
    lengths = [length for _, length in fake.shapes]
    assert lengths[0] == max(lengths)
    assert lengths != sorted(lengths, reverse=True)


@pytest.mark.parametrize("budget", [1, 100, 1000, 10**6])
def test_vectors_are_those_of_encode(model, tokens, budget):
    vectors, _ = Encoder(model, backend(model), budget=budget)(tokens)
    np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-5)


def test_of_no_texts(model):
    vectors, bad = Encoder(model, Fake())(tokenise(model, []))
    assert (vectors.shape, bad) == ((0, 32), {})


# Memory.

LACKS = [
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    type("RuntimeException", (Exception,), {})("Failed to allocate memory for requested buffer of size 1024"),
]


def short_of(most, error):
    def fail(features):
        if features["input_ids"].numel() > most:
            raise error

    return fail


@pytest.mark.parametrize("error", LACKS, ids=lambda error: f"{type(error).__name__}: {error}"[:30])
def test_out_of_memory_halves_the_budget_and_goes_on(model, tokens, truth, error):
    said = []
    encoder = Encoder(model, fake := Fake(short_of(150, error)), budget=1000, notify=said.append)
    vectors, bad = encoder(tokens)
    np.testing.assert_array_equal(vectors, truth)
    assert bad == {}
    assert 75 <= encoder.budget <= 150
    assert said
    assert said[-1] == f"out of memory: going on with batches of {encoder.budget:,} tokens"
    failed = [place for place, area in enumerate(areas(fake)) if area > 150]
    assert len(failed) == len(said) <= 4
    before = areas(fake)
    encoder(tokens)  # a second part makes the batches that it would have made alone
    assert areas(fake) == before * 2


def test_one_text_too_many(model, tokens):
    with pytest.raises(CenoteError, match=r"one text of 93 tokens does not fit into memory: read it in windows"):
        Encoder(model, Fake(short_of(80, MemoryError())), budget=1000)(tokens)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), KeyError("x"), KeyboardInterrupt()])
def test_other_errors_are_not_taken_for_a_lack_of_memory(model, tokens, error):
    with pytest.raises(type(error)):
        Encoder(model, fake := Fake(short_of(0, error)))(tokens)
    assert len(fake.shapes) == 1


@pytest.mark.parametrize("error", LACKS, ids=lambda error: f"{type(error).__name__}: {error}"[:30])
def test_lacks_are_known(error):
    assert out_of_memory(error)


# Texts that cannot be used.


def refusing(model, marks):
    """Refuses texts that hold one of the numbers."""
    ids = {model.tokenizer.convert_tokens_to_ids(mark) for mark in marks}

    def fail(features):
        found = torch.tensor([bool(ids & set(row)) for row in features["input_ids"].tolist()])
        refuse_rows(found, "a number in it", "leave it out")

    return fail


def test_a_text_that_is_refused_is_named_and_stops_no_other(model, tokens, truth):
    vectors, bad = Encoder(model, fake := Fake(refusing(model, "5")), budget=10**5)(tokens)
    ours = [row for row, text in enumerate(TEXTS) if "5" in text]
    assert bad == dict.fromkeys(ours, "it has a number in it: leave it out.")
    rest = [row for row in range(len(TEXTS)) if row not in bad]
    np.testing.assert_array_equal(vectors[rest], truth[rest])
    assert not vectors[ours].any()
    assert len(fake.shapes) < 2 * len(ours) * np.log2(len(TEXTS)) + 10


def test_all_texts_refused_cost_two_calls_each(model, tokens):
    vectors, bad = Encoder(model, fake := Fake(refusing(model, "01234567")))(tokens)
    assert sorted(bad) == list(range(len(TEXTS)))
    assert len(fake.shapes) < 2 * len(TEXTS)
    assert vectors.shape == (len(TEXTS), 32)


def test_not_to_the_end(model, tokens):
    told = []
    encoder = Encoder(model, Fake(refusing(model, "01234567")), budget=100)
    _, bad = encoder(tokens, told.append, to_end=False)
    assert bad
    assert sum(told) < len(TEXTS) / 2


def test_no_number_is_worth_nothing(model, tokens, truth):
    class Spoiled(Fake):
        def __call__(self, features):
            made = super().__call__(features)
            made[features["input_ids"].eq(ids[0]).any(1), 1] = float("nan")
            made[features["input_ids"].eq(ids[1]).any(1), 0] = float("-inf")
            return made

    ids = model.tokenizer.convert_tokens_to_ids(["2", "6"])
    vectors, bad = Encoder(model, Spoiled())(tokens)
    ours = [row for row, text in enumerate(TEXTS) if text[-1] in "26"]
    assert bad == dict.fromkeys(ours, "the model's vector of it is not finite.")
    rest = [row for row in range(len(TEXTS)) if row not in bad]
    np.testing.assert_array_equal(vectors[rest], truth[rest])


def test_other_words_of_a_refusal_stay(model, tokens):
    def fail(features):
        raise BadInput("no such role.")

    assert set(Encoder(model, Fake(fail))(tokens)[1].values()) == {"no such role."}
