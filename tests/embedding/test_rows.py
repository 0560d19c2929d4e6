"""From a stretch of texts to the rows of a part: what is kept, cut, averaged and left out, against plain loops."""

import numpy as np
import pytest
import torch

import cenote
from cenote.data.rows import rows_of
from cenote.embedding.corpus import stretches
from cenote.embedding.vectorising import Options, Vectoriser
from cenote.encoding.backends import backend
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput

LONG = "The deep cave holds light. " * 60
TEXTS = ["the pool", LONG, "", "one two three: light! " * 60, "water"]


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


@pytest.fixture(scope="module")
def unit(tiny_st):
    from sentence_transformers.sentence_transformer.modules import Normalize

    return cenote.load(tiny_st("bert", Normalize()), device="cpu")


class Changed:
    """The model's own vectors, then changed."""

    name, precision = "changed", "float32"

    def __init__(self, model, change):
        self.plain, self.change = backend(model), change

    def __call__(self, features):
        return self.change(self.plain(features), features)


def prepare(model, texts=TEXTS, change=None, **options):
    run = backend(model) if change is None else Changed(model, change)
    vectoriser = Vectoriser(model, Options(**options), Encoder(model, run))
    (stretch,) = stretches(rows_of([(f"id{row}", text) for row, text in enumerate(texts)]))
    return vectoriser, vectoriser.prepare(stretch)


def read(model, texts=TEXTS, change=None, **options):
    vectoriser, prepared = prepare(model, texts, change, **options)
    return vectoriser.read(prepared)


def test_truncated_texts_are_flagged(model):
    _, prepared = prepare(model)
    whole = [len(model.tokenizer(text, verbose=False)["input_ids"]) for text in TEXTS]
    assert prepared.whole.tolist() == whole
    assert prepared.truncated.tolist() == [False, True, False, True, False]
    assert [tuple(span) for span in prepared.spans] == [(0, len(text)) for text in TEXTS]
    assert prepared.owners.tolist() == prepared.texts == [0, 1, 2, 3, 4]


def test_vectors_are_those_of_encode(model):
    made = read(model)
    np.testing.assert_allclose(made.vectors, model.encode(TEXTS), atol=1e-5)
    assert made.rows == [0, 1, 2, 3, 4]


def test_windows_are_texts_of_their_own(model):
    made = read(model, long="windows", window=60, overlap=8)
    prepared = made.prepared
    texts = [TEXTS[owner][span.start : span.end] for owner, span in zip(prepared.owners, prepared.spans, strict=True)]
    np.testing.assert_allclose(made.vectors, model.encode(texts), atol=1e-5)
    assert made.rows == list(range(len(texts)))
    assert prepared.owners.tolist() == sorted(prepared.owners.tolist())
    assert [(prepared.owners == row).sum() > 2 for row in range(5)] == [False, True, False, True, False]
    assert not prepared.truncated.any()
    assert prepared.pieces.lengths.max() <= 62


@pytest.mark.parametrize("with_norm", [False, True])
def test_the_mean_of_windows(model, unit, with_norm):
    model = unit if with_norm else model
    made = read(model, long="window-mean", window=60, overlap=8)
    prepared = made.prepared
    for row, text in enumerate(TEXTS):
        total, tokens = np.zeros(32), 0
        for owner, span in zip(prepared.owners, prepared.spans, strict=True):
            if owner == row:
                piece = text[span.start : span.end]
                weight = len(model.tokenizer(piece)["input_ids"])
                total += weight * model.encode(piece).astype(float)
                tokens += weight
        expected = total / tokens
        if with_norm:
            expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(made.vectors[row], expected, atol=1e-5)
    assert made.rows == [0, 1, 2, 3, 4]


def test_a_text_that_fits_has_the_same_vector_beside_any_other(unit):
    """To the last bit: the mean of one vector is that vector, which is not divided by its norm once more."""

    def constant(made, features):
        return torch.full_like(made, 0.3)

    made = read(unit, ["the pool", LONG, "water"], constant, long="window-mean", window=60, overlap=8)
    assert (made.vectors[[0, 2]] == np.float32(0.3)).all()
    np.testing.assert_allclose(np.linalg.norm(made.vectors[1]), 1, rtol=1e-6)


def test_the_mean_of_vectors_that_were_cut_is_not_put_on_a_sphere(unit):
    unit.truncate_dim = 8
    try:
        made = read(unit, [LONG], long="window-mean", window=60, overlap=8)
        assert np.linalg.norm(made.vectors[0]) < 0.95
    finally:
        unit.truncate_dim = None
    cut = read(unit, [LONG], long="window-mean", window=60, overlap=8, dimensions=8)
    np.testing.assert_allclose(cut.vectors, made.vectors, atol=1e-6)


def test_nothing_long_means_no_windows(model):
    short = ["the pool", "water"]
    plain = read(model, short)
    for way in ("windows", "window-mean"):
        made = read(model, short, long=way, window=60, overlap=8)
        np.testing.assert_array_equal(made.vectors, plain.vectors)
        assert made.rows == [0, 1]


@pytest.mark.parametrize("interval", [2, 9])
def test_landmarks_leave_windows_less_room(tiny_st, interval):
    """Windows become smaller, and still nothing is cut."""
    from sentence_transformers import SentenceTransformer

    from cenote.nn import LandmarkTransformer, Pooling

    reader = LandmarkTransformer.adopt(cenote.load(tiny_st("bert"), device="cpu")[0], interval=interval)
    model = SentenceTransformer(modules=[reader, Pooling(32, "landmark")], device="cpu")
    made = read(model, [LONG], long="windows", window=254, overlap=31)
    assert not made.prepared.truncated.any()
    assert made.prepared.pieces.lengths.max() > 180
    texts = [LONG[span.start : span.end] for span in made.prepared.spans]
    np.testing.assert_allclose(made.vectors, model.encode(texts), atol=1e-5)


def test_dimensions_and_norm(model):
    made = read(model, dimensions=5, normalize=True)
    expected = model.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    np.testing.assert_allclose(made.vectors, expected, atol=1e-5)


# What cannot be read or written.


def marking(model, word, value):
    """Texts with a word in them come out as `value`."""
    number = model.tokenizer.convert_tokens_to_ids(word)

    def change(made, features):
        return torch.where(features["input_ids"].eq(number).any(1)[:, None], value, made)

    return change


@pytest.mark.parametrize(
    ("value", "options", "why"),
    [
        (float("nan"), {}, "the model's vector of it is not finite."),
        (0.0, {"normalize": True}, "its vector is zero, which cannot be normalised."),
        (1e5, {"dtype": "float16"}, "its vector has numbers too large for float16."),
    ],
)
@pytest.mark.parametrize("long", ["truncate", "window-mean", "windows"])
def test_a_text_that_has_no_vector_is_named_or_left_out(model, value, options, why, long):
    sizes = {} if long == "truncate" else {"window": 60, "overlap": 8}
    change = marking(model, "three", value)
    with pytest.raises(BadInput, match=rf"row 3, id 'id3': {why} Or leave such rows out"):
        read(model, change=change, long=long, **sizes, **options)
    made = read(model, change=change, long=long, on_error="skip", **sizes, **options)
    assert made.prepared.rejected == [{"row": 3, "id": "id3", "why": why}]
    owners = made.prepared.owners[made.rows] if long == "windows" else made.rows
    assert sorted(set(np.array(owners).tolist())) == [0, 1, 2, 4]
    plain = read(model, [text for row, text in enumerate(TEXTS) if row != 3], long=long, **sizes, **options)
    np.testing.assert_allclose(made.vectors, plain.vectors, atol=1e-6)


def test_zero_is_a_vector_where_nobody_divides(model):
    made = read(model, change=marking(model, "three", 0.0))
    assert not made.vectors[3].any()
    assert made.vectors[1].any()


def test_a_cut_text_may_be_an_error(model):
    with pytest.raises(BadInput, match=r"row 1, id 'id1': it has [\d,]+ tokens, and the model reads 256\."):
        prepare(model, on_truncate="error")
    _, prepared = prepare(model, on_truncate="error", on_error="skip")
    assert prepared.texts == [0, 2, 4]
    assert [one["row"] for one in prepared.rejected] == [1, 3]


def test_a_text_of_no_tokens(tiny_st):
    bare = cenote.load(tiny_st("neox"), device="cpu")
    with pytest.raises(BadInput, match="row 1, id 'id1': the model's tokenizer makes nothing of it"):
        prepare(bare, ["a pool", ""])
    made = read(bare, ["a pool", "", "water"], on_error="skip")
    assert made.rows == [0, 1]
    assert made.prepared.texts == [0, 2]
    np.testing.assert_allclose(made.vectors, bare.encode(["a pool", "water"]), atol=1e-5)


def test_if_no_text_can_be_read_the_model_is_at_fault(model):
    texts = ["the pool"] * 120
    with pytest.raises(BadInput, match="none of 120 texts could be read, one after another; of the first: the model"):
        read(model, texts, change=marking(model, "pool", float("nan")), on_error="skip")
    made = read(model, [*texts, "water"], change=marking(model, "pool", float("nan")), on_error="skip")
    assert made.rows == [120]


def test_with_nothing_left_there_are_no_rows(model):
    for options in ({}, {"long": "windows", "window": 60, "overlap": 8}, {"long": "window-mean", "window": 60}):
        options = {"overlap": 8, **options} if options else {}
        made = read(
            model, ["one three"], marking(model, "three", torch.nan), on_error="skip", normalize=True, **options
        )
        assert made.vectors.shape == (0, 32)
        assert made.rows == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"long": "window"}, "unknown way with long texts 'window'; did you mean"),
        ({"task": "qury"}, "unknown task 'qury'; did you mean 'query'"),
        ({"dtype": "int4"}, "unknown dtype 'int4'"),
        ({"on_truncate": "raise"}, "unknown on_truncate"),
        ({"on_error": "warn"}, "unknown on_error"),
        ({"window": 10}, "texts are cut here"),
        ({"long": "windows", "on_truncate": "error"}, "nothing is cut"),
        ({"dimensions": 2.5}, r"dimensions=2\.5: pass a whole number"),
        ({"long": "windows", "window": "10"}, "window='10': pass a whole number"),
        ({"long": "windows", "overlap": True}, "overlap=True: pass a whole number"),
    ],
)
def test_options_refused(options, said):
    with pytest.raises(BadInput, match=said):
        Options(**options)
