"""The contract of all readers: whatever runs a model, the vector of a text is that of `encode` on this text alone.

A new reader, kind of model or kind of text is one entry of a table here.
"""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

import cenote
import cenote.models.loading
from cenote.choices import AGREEMENT, INT8, LEAST_AGREEMENT
from cenote.cli import Exit, main
from cenote.diagnosis.reading import read_texts
from cenote.encoding.backends import BACKENDS, PRECISIONS, backend, obstacle
from cenote.encoding.batches import BatchReader
from cenote.encoding.forward import forward, pooled_vectors
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.nn import LandmarkTransformer, Pooling

pytestmark = pytest.mark.filterwarnings("ignore:.*longer than the:cenote.errors.CenoteWarning")

LONG = "The deep cave holds light, and the pool below it none. " * 25

TEXTS = {
    "short": ["a pool", "a", "the deep cave holds light", "one two three: light! " * 9, "water?"],
    "long": [LONG, "pool " * 254, "pool " * 255, "collapse" * 100, "a pool"],
    "empty": ["a pool", "", " \t\n ", "", "water"],
    "emoji and right to left": [
        "😀🏳️‍🌈👩‍👩‍👧‍👦",
        "שלום עולם، مرحبا بالعالم",
        "你好吗。" * 20,
        "𝔭𝔬𝔬𝔩 𐍈",
        "zwölf e\u0301\u0301",
    ],
    "control characters": ["a pool\0and a cave", "\x01\x02\ufeff\u200b\u202e pool", "one\r\ntwo\u2028three"],
    "repeated": ["the deep cave", "a pool", "the deep cave", "the deep cave", "the " * 200, "the deep cave"],
}

# All in one call, so that each is in a batch with texts unlike it.
ALL = [text for texts in TEXTS.values() for text in texts]

PROMPTS = {"prompts": {"ask": "query: "}, "default_prompt_name": "ask"}
BY_LENGTH = cenote.LengthTemperature("linear", start=1.0, end=0.2, shortest=4, longest=128)


def loaded(kind, *after, temperature=None, **options):
    return lambda tiny_st: cenote.load(tiny_st(kind, *after, **options), device="cpu", temperature=temperature)


def with_landmarks(kind):
    def build(tiny_st):
        plain = cenote.load(tiny_st(kind), device="cpu")
        modules = [LandmarkTransformer.adopt(plain[0], interval=4), Pooling(32, "landmark")]
        return SentenceTransformer(modules=modules, device="cpu")

    return build


MODELS = {
    "bert": loaded("bert"),
    "roberta": loaded("roberta"),
    "t5": loaded("t5"),
    "llama": loaded("llama"),
    "qwen, padded on the left": loaded("qwen"),
    "landmarks": with_landmarks("bert"),
    "landmarks, padded on the left": with_landmarks("qwen"),
    "with Normalize": loaded("bert", Normalize()),
    "with Dense and Normalize": loaded("roberta", Dense(32, 24), Normalize()),
    "with several poolings": loaded("bert", pooling=("cls", "mean", "max")),
    "with a default prompt": loaded("bert", **PROMPTS),
    "with a prompt that is not pooled": loaded("roberta", include_prompt=False, **PROMPTS),
    "the same, padded on the left": loaded("qwen", include_prompt=False, **PROMPTS),
    "with fewer dimensions": loaded("bert"),
    "tempered": loaded("bert", temperature=0.5),
    "tempered by length": loaded("bert", temperature=BY_LENGTH),
    "as sentence-transformers loads it": lambda tiny_st: SentenceTransformer(str(tiny_st("bert")), device="cpu"),
}


@pytest.fixture(scope="module")
def model_of(tiny_st):
    made = {}

    def build(name):
        if name not in made:
            torch.manual_seed(3)
            made[name] = MODELS[name](tiny_st)
            if name == "with fewer dimensions":
                made[name].truncate_dim = 9
        return made[name]

    return build


@pytest.fixture(scope="module")
def expected_of(model_of):
    """`expected_of(model)`: the vectors of `encode`, text by text."""
    made = {}

    def build(model):
        if model not in made:
            made[model] = np.stack([model_of(model).encode(text) for text in ALL])
        return made[model]

    return build


def assert_those_of_encode(vectors, expected, **tolerance):
    assert len(vectors) == len(expected)
    for kind, texts in TEXTS.items():
        rows = [row for row, text in enumerate(ALL) if text in texts]
        np.testing.assert_allclose(vectors[rows], expected[rows], **tolerance, err_msg=f"{kind} texts")


# Readers: each takes a model, texts and a folder of its own, and returns vectors [N, D].


def in_memory(model, texts, folder):
    return cenote.embed(model, texts)


def from_an_iterator(model, texts, folder):
    return np.concatenate(list(cenote.embed(model, iter(texts))))


def to_a_folder(model, texts, folder):
    cenote.embed(model, texts, folder / "out")
    return cenote.read_embeddings(folder / "out")[:]


def by_an_encoder(model, texts, folder):
    vectors, refused = Encoder(model, backend(model))(tokenise(model, texts))
    assert refused == {}
    return vectors


def text_by_text(model, texts, folder):
    return Encoder(model, backend(model), budget=1)(tokenise(model, texts))[0]


def by_batches(model, texts, folder):
    vectors = {}
    for batch in BatchReader(model, lambda features: forward(model, features)).read(tokenise(model, texts)):
        vectors |= dict(zip(batch.rows, pooled_vectors(model, batch.output).numpy(), strict=True))
    return np.stack([vectors[row] for row in range(len(texts))])


def by_a_diagnosis(model, texts, folder):
    return read_texts(model, tokenise(model, texts)).vectors


def by_a_diagnosis_of_layers(model, texts, folder):
    """Some texts are read while every layer is traced, and their tokens are kept."""
    some = range(len(TEXTS["short"]))
    reading = read_texts(model, tokenise(model, texts), keep=some, traced=some)
    assert sorted(reading.tokens) == list(some)
    return reading.vectors


READERS = {
    "embed in memory": in_memory,
    "embed from an iterator": from_an_iterator,
    "embed to a folder": to_a_folder,
    "Encoder": by_an_encoder,
    "Encoder, a text at a time": text_by_text,
    "BatchReader": by_batches,
    "read_texts": by_a_diagnosis,
    "read_texts with layers": by_a_diagnosis_of_layers,
}


CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_gives_the_vectors_of_encode(model_of, expected_of, tmp_path, reader, model):
    assert_those_of_encode(READERS[reader](model_of(model), ALL, tmp_path), expected_of(model), **CLOSE)


@pytest.mark.parametrize("model", MODELS)
def test_cenote_pool_gives_the_vectors_of_encode(model_of, expected_of, tiny, tmp_path, monkeypatch, capsys, model):
    monkeypatch.setattr(cenote.models.loading, "load", lambda *_, **__: model_of(model))
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in ALL))
    assert main(["pool", str(tiny("bert")), str(file)]) == Exit.SUCCESS
    vectors = [json.loads(line)["embedding"] for line in capsys.readouterr().out.splitlines()]
    assert_those_of_encode(np.array(vectors), expected_of(model), **CLOSE)


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "float16"])
@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_gives_the_vectors_of_encode(demo, name, precision):
    if reason := obstacle(demo, name, precision, None):
        pytest.skip(reason)
    expected, least = demo.encode(ALL), LEAST_AGREEMENT if precision == INT8 else AGREEMENT
    vectors = cenote.embed(demo, ALL, backend=name, precision=precision, agreement=least)
    if precision == "float32":
        assert_those_of_encode(vectors, expected, rtol=0, atol=1e-6)
    cosines = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() >= least


def test_the_kinds_of_models_give_different_vectors(expected_of):
    """Otherwise a prompt or a temperature that is lost would not show."""
    plain = expected_of("bert")
    for model in ("with Normalize", "with a default prompt", "tempered", "tempered by length", "landmarks"):
        assert np.abs(expected_of(model) - plain).max() > 1e-3, model
