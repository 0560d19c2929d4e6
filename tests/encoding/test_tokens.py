"""Tokens are those of `model.preprocess`, text by text and batch by batch, for every kind of model and text."""

import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cenote
from cenote.encoding import tokens as tokenising
from cenote.encoding.backends import backend
from cenote.encoding.batches import collate
from cenote.encoding.tokens import _beginning, concatenate, count_tokens, tokenise
from cenote.errors import UnsupportedModel
from cenote.models.properties import limit_of, readers_of

TEXTS = [
    "the pool",
    "",
    "one two three: light! " * 60,
    "😀🏳️‍🌈 a deep cave?",
    "שלום the cave",
    "a\0b",
    " ",
    "water " * 300,
    "你好吗。我！",
    "a" * 150,
    "document",
]
FAMILIES = ["bert", "roberta", "t5", "llama", "qwen", "mpnet", "modernbert"]


@pytest.fixture(scope="module")
def model_of(tiny_st, tmp_path_factory):
    """`model_of(name, prompts=...)`: a tiny model of a kind of `conftest`, or of two families more."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel, MPNetConfig, MPNetModel

    made = {}
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}

    def other(name):
        kind = {"mpnet": "roberta", "modernbert": "bert"}[name]
        folder = tmp_path_factory.mktemp(name)
        tokenizer = AutoTokenizer.from_pretrained(tiny_st(kind))
        tokenizer.save_pretrained(folder)
        size.update(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
        torch.manual_seed(0)
        if name == "mpnet":
            network = MPNetModel(MPNetConfig(max_position_embeddings=300, **size), add_pooling_layer=False)
        else:
            network = ModernBertModel(ModernBertConfig(local_attention=16, reference_compile=False, **size))
        network.save_pretrained(folder)
        reader = Transformer(str(folder))
        return SentenceTransformer(modules=[reader, Pooling(32, "mean")], device="cpu")

    def build(name):
        if name not in made:
            made[name] = other(name) if name in ("mpnet", "modernbert") else cenote.load(tiny_st(name), device="cpu")
        return made[name]

    return build


@pytest.fixture(scope="module")
def landmarks(tiny_st):
    from sentence_transformers import SentenceTransformer

    from cenote.nn import LandmarkTransformer, Pooling

    def build(kind="bert", **options):
        plain = cenote.load(tiny_st(kind), device="cpu")
        return SentenceTransformer(
            modules=[LandmarkTransformer.adopt(plain[0], **options), Pooling(32, "landmark")], device="cpu"
        )

    return build


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            assert ours[name].dtype == value.dtype, name
            assert torch.equal(ours[name], value), name
        else:
            assert ours[name] == value, name


def agree(model, texts, prompt_name=None, task=None):
    """Batches of all sorts, as `model.preprocess` makes them."""
    tokens = tokenise(model, texts, prompt_name, task)
    kind = {} if task is None else {"task": task}
    prompt = model.prompts[prompt_name] if prompt_name else None
    rows = list(range(len(texts)))
    for some in (rows, rows[::-1], rows[::3], *([row] for row in rows)):
        same(collate(model, tokens, some), model.preprocess([texts[row] for row in some], prompt=prompt, **kind))
    return tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_those_of_preprocess(model_of, name):
    model = model_of(name)
    tokens = agree(model, TEXTS)
    lengths = [int(model.preprocess([text])["attention_mask"].sum()) for text in TEXTS]
    assert tokens.lengths.tolist() == lengths
    whole = [len(model.tokenizer(text, verbose=False)["input_ids"]) for text in TEXTS]
    assert tokens.full_lengths.tolist() == whole
    assert tokens.truncated.tolist() == [length > limit_of(model) for length in whole]
    assert len(tokens) == len(TEXTS)
    assert 0 < tokens.truncated.sum() < len(TEXTS)


@pytest.mark.parametrize("kind", ["bert", "qwen"])
def test_features_with_a_prompt_that_is_not_pooled(tiny_st, kind):
    prompts = {"ask": "query: ", "": ""}
    model = cenote.load(tiny_st(kind, include_prompt=False, prompts=prompts), device="cpu")
    tokens = agree(model, TEXTS, "ask")
    assert "prompt_length" in collate(model, tokens, [0])
    whole = [len(model.tokenizer(f"query: {text}", verbose=False)["input_ids"]) for text in TEXTS]
    assert tokens.full_lengths.tolist() == whole


@pytest.mark.parametrize("kind", ["bert", "qwen"])
@pytest.mark.parametrize(
    "options", [{"interval": 4}, {"interval": 1}, {"splitter": "sentence"}, {"interval": 7, "marker": "multi_cls"}]
)
def test_features_with_landmarks(landmarks, kind, options):
    if kind == "qwen" and "marker" in options:
        pytest.skip("no CLS")
    model = landmarks(kind, **options)
    model.max_seq_length = 60
    tokens = agree(model, TEXTS)
    assert collate(model, tokens, [0, 2])["landmark_mask"].dtype == torch.bool
    whole = [int(model.preprocess([text], max_length=10**6)["attention_mask"].sum()) for text in TEXTS]
    assert tokens.full_lengths.tolist() == whole
    assert tokens.truncated.any()


@pytest.mark.parametrize("interval", [2, 3, 5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_every_cut_text_is_flagged_with_landmarks(landmarks, interval, side):
    """A text that was cut may be shorter than the limit, by what a mark would have taken."""
    model = landmarks(interval=interval)
    model.tokenizer.truncation_side = side
    texts = ["a " * count for count in range(1, 60)]
    for limit in range(12, 24):
        model.max_seq_length = limit
        tokens = tokenise(model, texts)
        whole = [int(model.preprocess([text], max_length=10**6)["attention_mask"].sum()) for text in texts]
        assert tokens.full_lengths.tolist() == whole
        assert tokens.truncated.any()


def test_landmarks_are_those_of_evaluation_in_training_too(landmarks):
    model = landmarks(splitter="variable", interval=4, training_intervals=[1, 2, 3])
    model.train()
    tokens = tokenise(model, TEXTS)
    assert model.training
    model.eval()
    same(collate(model, tokens, [0, 2]), model.preprocess([TEXTS[0], TEXTS[2]]))


def test_a_task_with_a_limit_of_its_own(model_of):
    model = model_of("bert")
    model[0].query_length = 6
    try:
        tokens = agree(model, TEXTS, task="query")
        assert tokens.lengths.max() == 6
        assert tokens.truncated.tolist() == [len(model.tokenizer(text)["input_ids"]) > 6 for text in TEXTS]
        assert tokenise(model, TEXTS, task="document").lengths.max() == 256
    finally:
        model[0].query_length = None


def flattened(model):
    """A model that hands on one row for all texts, as with flash attention, which there is none of here."""
    from transformers import DataCollatorWithFlattening

    for reader in readers_of(model):
        reader.can_flatten_inputs = True
        reader.data_collator = DataCollatorWithFlattening(
            return_seq_idx=True, return_flash_attn_kwargs=True, return_position_ids=True
        )
        reader._flatten_position_offset = reader._infer_flatten_position_offset()
    return model


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_features_of_a_flattened_batch(tiny_st, kind):
    model = flattened(cenote.load(tiny_st(kind), device="cpu"))
    tokens = agree(model, TEXTS)
    assert "cu_seq_lens_q" in collate(model, tokens, [0, 1])
    assert tokens.lengths.tolist() == model.preprocess(TEXTS)["cu_seq_lens_q"].diff().tolist()


def test_features_of_a_flattened_batch_with_landmarks(landmarks):
    agree(flattened(landmarks(interval=4)), TEXTS)


def test_features_of_a_flattened_batch_of_a_router(routed):
    agree(flattened(routed), TEXTS, task="query")


def test_a_tokenizer_without_an_attention_mask_is_refused(tiny_st):
    """As its damaged configuration may say."""
    model = cenote.load(tiny_st("bert"), device="cpu")
    model.tokenizer.model_input_names = ["input_ids"]
    with pytest.raises(UnsupportedModel, match="gives no attention_mask"):
        tokenise(model, TEXTS)


# Very long texts.

PIECE = 20_000  # characters that are tokenised at once, in place of 100,000

LONG = {
    "words": "the deep cave. " * 4000,
    "no white space": "深你好" * 12_000,
    "one word": "collapse" * 6000,
    "white space": " " * 50_000 + "a pool",
    "marks": "\u0301" * 40_000 + " a pool",
    "emoji": "😀 " * 20_000,
    "a long word, then words": "a" * 30_000 + " the pool" * 1000,
    "line breaks": "\n\r\n" * 12_000 + "water",
}


@pytest.mark.parametrize("name", ["bert", "t5", "qwen", "landmarks"])
def test_very_long_texts_have_the_features_of_preprocess(model_of, landmarks, name, monkeypatch):
    monkeypatch.setattr(tokenising, "_PIECE", PIECE)
    model = landmarks(interval=9) if name == "landmarks" else model_of(name)
    texts = list(LONG.values())
    if name == "t5":  # a lattice of one word of thousands of letters takes it minutes
        texts = [LONG["words"], LONG["emoji"], LONG["white space"]]
    tokens = tokenise(model, texts)
    for row, text in enumerate(texts):
        same(collate(model, tokens, [row]), model.preprocess([text]))
    assert len(_beginning(model, LONG["words"], 256)) < 2 * PIECE


@given(st.text(st.sampled_from("ab .\n\u0301深😀'1-"), min_size=1, max_size=40), st.integers(1, 60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_beginning_decides_the_first_tokens_of_any_text(model_of, text, limit):
    """Pieces of 50 characters, and a margin of a few more tokens than a word has."""
    before = tokenising._PIECE, tokenising._MARGIN
    tokenising._PIECE, tokenising._MARGIN = 50, 110
    try:
        for name in ("bert", "roberta", "qwen"):
            model, text_ = model_of(name), text * 30
            whole = model.tokenizer(text_, add_special_tokens=False, verbose=False)["input_ids"]
            part = model.tokenizer(_beginning(model, text_, limit), add_special_tokens=False, verbose=False)
            assert part["input_ids"][:limit] == whole[:limit]
    finally:
        tokenising._PIECE, tokenising._MARGIN = before


def test_a_text_cut_from_the_left_is_tokenised_whole(model_of, monkeypatch):
    monkeypatch.setattr(tokenising, "_PIECE", PIECE)
    model = model_of("bert")
    model.tokenizer.truncation_side = "left"
    try:
        text = LONG["words"] + "water stone"
        same(collate(model, tokenise(model, [text]), [0]), model.preprocess([text]))
    finally:
        model.tokenizer.truncation_side = "right"


def test_time_is_linear_in_the_characters(model_of):
    """Eight times the text takes at most twice eight times as long."""
    model = model_of("bert")

    def seconds(text):
        start = time.process_time()
        tokens = tokenise(model, [text])
        assert tokens.truncated.all()
        return time.process_time() - start

    short = min(seconds("the deep cave " * 10_000) for _ in range(2))
    assert seconds("the deep cave " * 80_000) < 16 * short


def test_tokens_are_counted_without_a_limit(demo):
    long = "word " * 60_000  # 300,000 characters, counted in pieces
    assert count_tokens(demo, ["a pool", long, "x" * 250_000]).tolist()[:2] == [4, 60_002]
    texts = ["a pool", "the deep cave " * 200, "collapse", "", "a query about two documents 🕳️"]
    plain = demo.tokenizer(texts, truncation=False)["input_ids"]
    assert count_tokens(demo, texts).tolist() == [len(ids) for ids in plain]


def test_a_prompt_is_counted(tiny_st):
    model = cenote.load(tiny_st("bert", prompts={"page": "document: a deep "}), device="cpu")
    texts = ["a pool", "the deep cave", "light"]
    assert count_tokens(model, texts).tolist() == [4, 5, 3]
    assert count_tokens(model, texts, prompt_name="page").tolist() == [8, 9, 7]
    model.default_prompt_name = "page"
    assert count_tokens(model, texts).tolist() == [8, 9, 7]


def test_a_text_is_counted_by_the_tokenizer_of_its_task(routed, model_of):
    texts = ["collapsing pools", "the deep cave " * 200, "deep water " * 20_000]
    for task, kind in (("query", "bert"), ("document", "qwen")):
        expected = count_tokens(model_of(kind), texts).tolist()
        assert count_tokens(routed, texts, task=task).tolist() == expected
        assert tokenise(routed, texts, task=task).full_lengths.tolist() == expected
    assert tokenise(routed, texts, task="document").lengths.max() == 40


def test_a_text_without_a_task_is_read_as_the_router_decides(routed):
    long = "the deep cave " * 200
    found = tokenise(routed, [long])
    assert (found.lengths.tolist(), found.truncated.tolist()) == ([40], [True])
    assert found.full_lengths.tolist() == tokenise(routed, [long], task="document").full_lengths.tolist()


def test_documents_are_padded_by_their_own_tokenizer(tiny):
    """A `bert` has learned positions: where it is padded decides the vectors of short texts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    sides = [[Transformer(str(tiny(kind))), Pooling(32, "mean")] for kind in ("qwen", "bert")]
    sides[0][0].tokenizer.padding_side = "left"
    model = SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")
    texts = ["a pool", "the deep cave holds light", "water"]
    run = backend(model, task="document")
    found = run(collate(model, tokenise(model, texts, task="document"), range(3)))
    np.testing.assert_allclose(found, model.encode_document(texts), atol=1e-6)


# Parts, and refused models.


def test_parts_are_taken_and_concatenated(model_of):
    model = model_of("roberta")
    whole = tokenise(model, TEXTS)
    again = concatenate(tokenise(model, TEXTS[:4]), tokenise(model, []), tokenise(model, TEXTS[4:]))
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)
    np.testing.assert_array_equal(again.offsets, whole.offsets)
    np.testing.assert_array_equal(again.full_lengths, whole.full_lengths)
    rows = [7, 0, 7, 3]
    some = whole.take(rows)
    same(collate(model, some, [0, 1, 2, 3]), collate(model, whole, rows))
    assert some.truncated.tolist() == [True, False, True, False]
    assert len(whole.take([])) == 0
    assert len(tokenise(model, [])) == 0


def test_columns_take_half_of_the_memory_of_torch(model_of):
    columns = tokenise(model_of("bert"), TEXTS).columns
    assert {column.dtype for column in columns.values()} == {np.dtype(np.int32)}


def test_models_without_rows_of_tokens_are_refused():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "pool": 1}, **{"unk_token": "a"}))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu")
    with pytest.raises(UnsupportedModel, match="StaticEmbedding, which makes no rows of tokens"):
        tokenise(model, ["a pool"])


def test_expanded_queries_are_refused(model_of):
    model = model_of("bert")
    before = model[0].query_expansion
    model[0].query_expansion = {"strategy": "fixed", "length": 8, "token": "a", "attend": False}
    try:
        with pytest.raises(UnsupportedModel, match="ColBERT"):
            tokenise(model, ["a pool"], task="query")
    finally:
        model[0].query_expansion = before


def test_bytes_are_equal_where_the_model_is_given_the_same(model_of):
    model = model_of("bert")
    texts = ["a pool", "a cave", "a pool", "a  pool", "a pool a pool"]
    first, second, third, spaced, longer = tokenise(model, texts).as_bytes()
    assert first == third == spaced
    assert len({first, second, longer}) == 3
    assert tokenise(model, ["a pool"]).as_bytes() == [first]
