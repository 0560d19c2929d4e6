"""From a slice of texts to its rows: texts kept, cut, averaged and left out, against plain loops."""

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Normalize

import cenote
from cenote.data.rows import Fault, Text
from cenote.data.texts import open_texts
from cenote.embedding import rows as room
from cenote.embedding.corpus import cut_slices
from cenote.embedding.options import Options
from cenote.embedding.rows import SliceEncoder, refuse_truncated
from cenote.encoding.backends import backend
from cenote.encoding.tokens import count_tokens
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput

LONG = "The deep cave holds light. " * 60
TEXTS = ["the pool", LONG, "", "one two three: light! " * 60, "water"]
IN_WINDOWS = {"window": 60, "overlap": 8}


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


@pytest.fixture(scope="module")
def unit(tiny_st):
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
    encoder = SliceEncoder(model, Options(**options), Encoder(model, run))
    (part,) = cut_slices(open_texts([(f"id{row}", text) for row, text in enumerate(texts)]).read())
    return encoder, encoder.prepare(part)


def read(model, texts=TEXTS, change=None, **options):
    encoder, prepared = prepare(model, texts, change, **options)
    return encoder.read(prepared)


def texts_of(rows, texts=TEXTS):
    """Return the text of each row: of a window, its characters."""
    return [texts[owner][start:end] for owner, start, end in zip(rows.owner, rows.start, rows.end, strict=True)]


def test_cut_texts_are_flagged_and_counted_to_their_ends(model):
    _, prepared = prepare(model)
    lengths = [len(model.tokenizer(text, verbose=False)["input_ids"]) for text in TEXTS]
    rows = read(model).rows
    assert rows.n_tokens.tolist() == prepared.texts.n_tokens.tolist() == lengths
    assert rows.truncated.tolist() == prepared.texts.truncated.tolist() == [False, True, False, True, False]
    assert texts_of(rows) == TEXTS
    assert rows.owner.tolist() == [0, 1, 2, 3, 4]
    assert not rows.window.any()
    embedded = read(model)
    assert (embedded.tokens, embedded.truncated) == (sum(lengths), 2)


def test_windows_have_the_vectors_of_texts_of_their_own(model):
    rows = read(model, long="windows", **IN_WINDOWS).rows
    texts = texts_of(rows)
    np.testing.assert_allclose(rows.vector, model.encode(texts), atol=1e-5)
    assert rows.n_tokens.tolist() == [len(model.tokenizer(text)["input_ids"]) for text in texts]
    assert rows.owner.tolist() == sorted(rows.owner.tolist())
    assert [(rows.owner == row).sum() > 2 for row in range(5)] == [False, True, False, True, False]
    for row in range(5):
        assert rows.window[rows.owner == row].tolist() == list(range((rows.owner == row).sum()))
    assert not rows.truncated.any()
    assert rows.n_tokens.max() <= 62


def test_a_text_that_is_read_in_windows_counts_as_one_and_as_not_cut(model):
    embedded = read(model, long="windows", **IN_WINDOWS)
    assert embedded.tokens == sum(len(model.tokenizer(text, verbose=False)["input_ids"]) for text in TEXTS)
    assert embedded.truncated == 0


@pytest.mark.parametrize("normalised", [False, True])
def test_window_mean_is_the_mean_weighted_by_tokens(model, unit, normalised):
    model = unit if normalised else model
    rows = read(model, long="window-mean", **IN_WINDOWS).rows
    windows = read(model, long="windows", **IN_WINDOWS).rows
    for row in range(len(TEXTS)):
        total, tokens = np.zeros(32), 0
        for text in texts_of(windows.take(np.flatnonzero(windows.owner == row))):
            weight = len(model.tokenizer(text)["input_ids"])
            total += weight * model.encode(text).astype(float)
            tokens += weight
        expected = total / tokens
        if normalised:
            expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(rows.vector[row], expected, atol=1e-5)
    assert rows.owner.tolist() == [0, 1, 2, 3, 4]
    assert not rows.truncated.any()
    assert rows.n_tokens[1] == len(model.tokenizer(LONG, verbose=False)["input_ids"])


def test_the_vector_of_one_window_is_not_changed_beside_a_text_of_several(unit):
    """To the last bit: it is not divided by its norm once more."""

    def constant(vectors, features):
        return torch.full_like(vectors, 0.3)

    rows = read(unit, ["the pool", LONG, "water"], constant, long="window-mean", **IN_WINDOWS).rows
    assert (rows.vector[[0, 2]] == np.float32(0.3)).all()
    np.testing.assert_allclose(np.linalg.norm(rows.vector[1]), 1, rtol=1e-6)


def test_the_mean_of_vectors_with_fewer_dimensions_is_not_normalised(unit):
    unit.truncate_dim = 8
    try:
        rows = read(unit, [LONG], long="window-mean", **IN_WINDOWS).rows
        assert np.linalg.norm(rows.vector[0]) < 0.95
    finally:
        unit.truncate_dim = None
    cut = read(unit, [LONG], long="window-mean", **IN_WINDOWS, dimensions=8).rows
    np.testing.assert_allclose(cut.vector, rows.vector, atol=1e-6)


@pytest.mark.parametrize("long", ["windows", "window-mean"])
def test_where_no_text_is_long_there_are_no_windows(model, long):
    short = ["the pool", "water"]
    rows = read(model, short, long=long, **IN_WINDOWS).rows
    np.testing.assert_array_equal(rows.vector, read(model, short).rows.vector)
    assert rows.owner.tolist() == [0, 1]


@pytest.mark.parametrize("interval", [2, 9])
def test_windows_become_smaller_where_landmarks_take_room(tiny_st, interval):
    from sentence_transformers import SentenceTransformer

    from cenote.nn import LandmarkTransformer, Pooling

    reader = LandmarkTransformer.adopt(cenote.load(tiny_st("bert"), device="cpu")[0], interval=interval)
    model = SentenceTransformer(modules=[reader, Pooling(32, "landmark")], device="cpu")
    rows = read(model, [LONG], long="windows", window=254, overlap=31).rows
    assert not rows.truncated.any()
    assert rows.n_tokens.max() > 180
    np.testing.assert_allclose(rows.vector, model.encode(texts_of(rows, [LONG])), atol=1e-5)


def test_dimensions_are_cut_before_vectors_are_normalised(model):
    rows = read(model, dimensions=5, normalize=True).rows
    expected = model.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    np.testing.assert_allclose(rows.vector, expected, atol=1e-5)


# Texts that cannot be read or written.


def marking(model, word, value):
    """Give texts that hold a word the vector `value`."""
    number = model.tokenizer.convert_tokens_to_ids(word)

    def change(vectors, features):
        return torch.where(features["input_ids"].eq(number).any(1)[:, None], value, vectors)

    return change


@pytest.mark.parametrize(
    ("value", "options", "why"),
    [
        (float("nan"), {}, "the model's vector is not finite."),
        (0.0, {"normalize": True}, "its vector is zero, which cannot be normalised."),
        (1e5, {"dtype": "float16"}, "its vector has numbers too large for float16."),
    ],
)
@pytest.mark.parametrize("long", ["truncate", "window-mean", "windows"])
def test_a_text_without_a_usable_vector_is_named_or_left_out(model, value, options, why, long):
    sizes = {} if long == "truncate" else IN_WINDOWS
    change = marking(model, "three", value)
    with pytest.raises(BadInput, match=rf"row 3, id 'id3': {why} Or leave such rows out"):
        read(model, change=change, long=long, **sizes, **options)
    embedded = read(model, change=change, long=long, on_error="skip", **sizes, **options)
    assert embedded.rejected == [{"row": 3, "id": "id3", "why": why}]
    assert sorted(set(embedded.rows.owner.tolist())) == [0, 1, 2, 4]
    plain = read(model, [text for row, text in enumerate(TEXTS) if row != 3], long=long, **sizes, **options)
    np.testing.assert_allclose(embedded.rows.vector, plain.rows.vector, atol=1e-6)
    assert (embedded.tokens, embedded.truncated) == (plain.tokens, plain.truncated)


def test_a_zero_vector_is_kept_where_it_is_not_normalised(model):
    rows = read(model, change=marking(model, "three", 0.0)).rows
    assert not rows.vector[3].any()
    assert rows.vector[1].any()


def test_a_cut_text_may_be_an_error_or_be_left_out(model):
    with pytest.raises(BadInput, match=r"row 1, id 'id1': it has [\d,]+ tokens, and the model reads 256\."):
        prepare(model, on_truncate="error")
    _, prepared = prepare(model, on_truncate="error", on_error="skip")
    assert prepared.texts.owner.tolist() == [0, 2, 4]
    assert [one["row"] for one in prepared.rejected] == [1, 3]


def test_a_text_without_tokens_is_named_or_left_out(tiny_st):
    bare = cenote.load(tiny_st("neox"), device="cpu")
    with pytest.raises(BadInput, match="row 1, id 'id1': the tokenizer produced no tokens"):
        prepare(bare, ["a pool", ""])
    rows = read(bare, ["a pool", "", "water"], on_error="skip").rows
    assert rows.owner.tolist() == [0, 2]
    np.testing.assert_allclose(rows.vector, bare.encode(["a pool", "water"]), atol=1e-5)


def test_where_no_text_of_many_can_be_read_it_is_an_error_of_the_model(model):
    texts = ["the pool"] * 120
    broken = marking(model, "pool", float("nan"))
    with pytest.raises(BadInput, match="none of 120 texts in a row could be read; the first: the model's vector"):
        read(model, texts, change=broken, on_error="skip")
    assert read(model, [*texts, "water"], change=broken, on_error="skip").rows.owner.tolist() == [120]


@pytest.mark.parametrize("long", ["truncate", "window-mean", "windows"])
def test_where_all_texts_are_left_out_there_are_no_rows(model, long):
    sizes = {} if long == "truncate" else IN_WINDOWS
    change = marking(model, "three", torch.nan)
    embedded = read(model, ["one three"], change, on_error="skip", normalize=True, long=long, **sizes)
    assert (len(embedded.rows), embedded.rows.vector.shape) == (0, (0, 32))


# Texts that would be cut, where that is an error.


@pytest.fixture
def tokenised(monkeypatch):
    """The texts that are tokenised for the check."""
    seen, original = [], room.tokenise

    def tokenise(model, texts, *given):
        seen.extend(texts)
        return original(model, texts, *given)

    monkeypatch.setattr(room, "tokenise", tokenise)
    return seen


def check(model, texts, **options):
    rows = [text if isinstance(text, Fault) else Text(f"id{row}", text) for row, text in enumerate(texts)]
    return list(refuse_truncated(model, Options(on_truncate="error", **options), rows)) == rows


def test_short_texts_are_not_tokenised_to_find_those_that_would_be_cut(model, tokenised):
    short, long = ["the pool", "", "a" * 250], ["the pool " * 100, "a" * 300]
    assert check(model, [*short, Fault("no text"), *long])
    assert tokenised == long


@pytest.mark.parametrize("place", [0, 3, room._TOGETHER - 1, room._TOGETHER, 2 * room._TOGETHER + 5])
def test_the_first_text_that_would_be_cut_is_named(model, place):
    texts = ["the pool " * 100] * (2 * room._TOGETHER + 10)
    texts[place] = texts[-1] = "the pool " * 128
    with pytest.raises(BadInput, match=rf"row {place}, id 'id{place}': it has 258 tokens, and the model reads 256"):
        check(model, texts)


def test_a_prompt_takes_room(tiny_st):
    model = cenote.load(tiny_st("bert", prompts={"ask": "query: "}), device="cpu")
    text = "pool " * 254
    assert check(model, [text])
    with pytest.raises(BadInput, match="it has 258 tokens, and the model reads 256"):
        check(model, [text], prompt_name="ask")


def test_a_task_with_a_limit_of_its_own_cuts_earlier(tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    model[0].query_length = 6
    assert check(model, ["pool " * 5])
    with pytest.raises(BadInput, match="it has 7 tokens, and the model reads 6"):
        check(model, ["pool " * 5], task="query")


@pytest.fixture(scope="module")
def readers(tiny_st):
    """Models of every kind of tokenizer, and with landmarks before every token; all read 24 tokens."""
    from sentence_transformers import SentenceTransformer

    from cenote.nn import LandmarkTransformer, Pooling

    models = {kind: cenote.load(tiny_st(kind), device="cpu") for kind in ("bert", "roberta", "t5", "llama", "qwen")}
    for kind in ("bert", "qwen"):
        marked = LandmarkTransformer.adopt(cenote.load(tiny_st(kind), device="cpu")[0], interval=1)
        models[f"{kind} with landmarks"] = SentenceTransformer(modules=[marked, Pooling(32, "landmark")], device="cpu")
    for model in models.values():
        model.max_seq_length = 24
    return models


# Characters of one byte and of several, composed, decomposed, and with decompositions longer or shorter than they are.
CHARACTERS = ["a", "a ", " ", "é", "e\u0301", "\u0300", "가", "ﬃ", "½", "㍿", "﷽", "Ａ", "！", "𝔭", "😀", "你", "\x01"]


@pytest.mark.parametrize("character", CHARACTERS)
def test_no_text_that_would_be_cut_passes_unseen(readers, character):
    for name, model in readers.items():
        lengths = [int(count_tokens(model, [character * count])[0]) for count in range(1, 30)]
        count = next((count for count, length in enumerate(lengths, 1) if length > 24), None)
        if count is None:
            assert check(model, [character * 29]), name
            continue
        assert count == 1 or check(model, [character * (count - 1)]), name
        with pytest.raises(BadInput, match=f"it has {lengths[count - 1]} tokens"):
            check(model, [character * count])
