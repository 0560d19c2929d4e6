"""The texts of an account: which sentences a model reads, windows, more room, the prompts of both sides."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Normalize
from tokenizers import processors

import cenote
from cenote.account import texts as account_texts
from cenote.account.pooled_texts import mean_of_windows, read_pooled
from cenote.account.texts import count_in_small_windows, tokenise_small_windows
from cenote.encoding.tokens import tokens_around

from ..bags import TINY, load_bags, make_texts, plan

PLAIN = make_texts(30, 4, 8, seed=5, vocabulary=TINY)


# What is read.


def test_a_tokenizer_that_keeps_the_end_reads_the_last_sentences(bag_folder):
    model = load_bags(bag_folder)
    model.max_seq_length, model.tokenizer.truncation_side = 40, "left"
    planned = plan(model, make_texts(30))
    assert planned.read.reshape(-1, 3).tolist() == [[False, True, True]] * 30
    model.tokenizer.truncation_side = "right"
    # Of six sentences of thirteen tokens the fourth is the middle one, and 38 tokens do not hold three.
    assert plan(model, make_texts(30)).read.reshape(-1, 3).tolist() == [[True, False, False]] * 30


def test_the_documents_of_a_router_are_read_by_their_own_tokenizer(bag_folder):
    queries, documents = load_bags(bag_folder), load_bags(bag_folder)
    documents.max_seq_length, documents.tokenizer.truncation_side = 40, "left"
    sides = [list(model.children()) for model in (queries, documents)]
    routed = SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")
    assert plan(routed, make_texts(30)).read.tolist() == plan(documents, make_texts(30)).read.tolist()


@pytest.mark.parametrize("side", ["left", "right"])
def test_white_space_moves_no_cut(side, bag_folder):
    model = load_bags(bag_folder)
    model.max_seq_length, model.tokenizer.truncation_side = 40, side
    texts = make_texts(30)
    wide = [text.replace(" ", " " * 60) for text in texts]
    assert plan(model, wide).read.tolist() == plan(model, texts).read.tolist()


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_places_of_tokens_the_cut_is_where_their_share_of_the_characters_is(side, bag_folder, monkeypatch):
    model = load_bags(bag_folder)
    model.max_seq_length, model.tokenizer.truncation_side = 40, side
    known = plan(model, make_texts(30)).read
    monkeypatch.setattr(type(model.tokenizer), "is_fast", False)
    assert plan(model, make_texts(30)).read.tolist() == known.tolist()
    # A prompt takes the place of the text.
    model.prompts["document"] = " ".join(["stone"] * 20)
    monkeypatch.undo()
    known = plan(model, make_texts(30)).read
    monkeypatch.setattr(type(model.tokenizer), "is_fast", False)
    assert plan(model, make_texts(30)).read.tolist() == known.tolist()
    assert not known.all()


def test_an_error_while_more_is_read_leaves_the_limit(bag_model, monkeypatch):
    original = account_texts.tokenise

    def tokenise(model, *args, **options):
        if model.max_seq_length == 512:
            raise MemoryError
        return original(model, *args, **options)

    bag_model.max_seq_length = 40
    monkeypatch.setattr(account_texts, "tokenise", tokenise)
    with pytest.raises(MemoryError):
        plan(bag_model, make_texts(30))
    assert bag_model.max_seq_length == 40


def test_more_is_read_where_documents_have_a_limit_of_their_own(bag_folder):
    model, plain = load_bags(bag_folder), load_bags(bag_folder)
    model[0].document_length = plain.max_seq_length = 40
    texts = make_texts(30)
    found, expected = (
        next(other for other in plan(one, texts).alternatives if other.name == "reading 512 tokens")
        for one in (model, plain)
    )
    assert found.documents.tokens.lengths.tolist() == expected.documents.tokens.lengths.tolist()
    assert found.read.all()
    assert model[0].document_length == 40


# Windows are those of `embed`: what is advised has been measured.


def vectors_written(model, texts, folder, **options):
    cenote.embed(model, texts, folder, task="document", backend="torch", precision="float32", **options)
    table = pq.read_table(sorted(folder.glob("*.parquet")))
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("long", "size", "after"),
    [
        ("windows", 40, ()),
        ("window-mean", 40, (Normalize,)),
        ("windows", 20, ()),
        ("window-mean", 40, ()),
    ],
)
def test_windows_are_those_that_embed_writes(long, size, after, short_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(account_texts, "SMALL_WINDOW", size)
    model = load_bags(short_folder, *(module() for module in after))
    planned = plan(model, make_texts(20) + make_texts(10, 3, 10))
    other = next(one for one in planned.alternatives if one.name == f"windows of {size} tokens")
    whole, pieces = (
        read_pooled(model, tokens, {}, task="document") for tokens in (planned.documents, other.documents.tokens)
    )
    found, owners, weights = other.documents.merge(whole, planned.documents.lengths, pieces)
    if long == "window-mean":
        found = mean_of_windows(found, owners, weights, len(planned.documents))
    texts = [text.text for text in planned.probes.texts]
    model.max_seq_length = size  # as the advice says
    expected = vectors_written(model, texts, tmp_path / "out", long=long)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-5)


def test_windows_of_documents_have_the_room_that_their_own_tokenizer_leaves(short_folder):
    """The texts without a task are queries, of which the tokenizer makes ten special tokens more."""
    queries, documents = load_bags(short_folder), load_bags(short_folder)
    special = [(name, queries.tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    template = processors.TemplateProcessing(single=f"[CLS] $A{' [SEP]' * 11}", special_tokens=special)
    queries.tokenizer.backend_tokenizer.post_processor = template
    sides = {"query": [*queries.children()], "document": [*documents.children()]}
    routed = SentenceTransformer(modules=[Router(sides, "query", allow_empty_key=False)], device="cpu")
    assert tokens_around(routed) == tokens_around(routed, task="document") + 10
    found, expected = (
        {one.name: one.documents.tokens.lengths.tolist() for one in plan(model, make_texts(20)).alternatives}
        for model in (routed, documents)
    )
    assert found == expected
    assert found


# Prompts.

PROMPTS = {"query": "query: ", "passage": "document: a deep "}


@pytest.mark.parametrize("name", [None, "query"])
def test_sentences_have_the_prompt_of_queries_and_documents_theirs_or_the_one_asked_for(name, tiny_st):
    model = SentenceTransformer(str(tiny_st("bert", prompts=PROMPTS)), device="cpu")
    model.prompts.pop("document")  # an empty one, added by sentence-transformers
    planned = plan(model, PLAIN, prompt_name=name)
    assert planned.prompts == ("query", name or "passage")
    assert plan(SentenceTransformer(str(tiny_st("bert")), device="cpu"), PLAIN).prompts == (None, None)
    around, queries = 2, 2
    documents = 4 if name is None else queries
    for tokens, texts, prompt in (
        (planned.documents, PLAIN, documents),
        (planned.remainders, planned.probes.remainders(planned.left_out.tolist()), documents),
        (planned.sentences, planned.probes.sentences, queries),
    ):
        assert tokens.lengths.tolist() == [around + prompt + len(model.tokenizer.tokenize(text)) for text in texts]


def test_windows_have_the_prompt_of_documents(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert", prompts=PROMPTS)), device="cpu")
    model.prompts.pop("document")
    model.max_seq_length = 24
    (windows, longer) = plan(model, PLAIN).alternatives
    assert (windows.name, longer.name) == ("windows of 24 tokens", "reading 256 tokens")
    start = model.tokenizer(PROMPTS["passage"])["input_ids"][:-1]
    for pieces in (windows.documents, windows.remainders, longer.documents, longer.remainders):
        ids, offsets = pieces.tokens.columns["input_ids"], pieces.tokens.offsets[:-1]
        assert {tuple(ids[place : place + len(start)]) for place in offsets} == {tuple(start)}


@pytest.mark.parametrize("limit", [4, 6])
def test_a_prompt_that_fills_the_limit_leaves_nothing_read(limit, tiny_st):
    model = SentenceTransformer(str(tiny_st("bert", prompts=PROMPTS)), device="cpu")
    model.prompts.pop("document")
    model.max_seq_length = limit
    planned = plan(model, PLAIN)
    assert not planned.read.any()
    assert [other.name for other in planned.alternatives] == ["reading 256 tokens"]


def test_windows_that_embed_refuses_are_not_tried(bag_model):
    bag_model.max_seq_length = 9
    assert [other.name for other in plan(bag_model, make_texts(30)).alternatives] == ["reading 512 tokens"]


@pytest.mark.parametrize("sentences", [6, 20])
def test_small_windows_are_the_first_alternative_and_their_tokens_are_estimated_before(bag_model, sentences):
    bag_model.max_seq_length = 40
    planned = plan(bag_model, make_texts(30, sentences))
    known, windows = planned.alternatives[0], tokenise_small_windows(bag_model, planned)
    for side in ("documents", "remainders"):
        tokens = [getattr(one, side).tokens.as_bytes() for one in (known, windows)]
        assert tokens[0] == tokens[1]
    tokens = sum(int(side.tokens.lengths.sum()) for side in (windows.documents, windows.remainders))
    assert tokens == pytest.approx(count_in_small_windows(bag_model, planned), rel=0.2)
    bag_model.max_seq_length = 512
    planned = plan(bag_model, make_texts(30))
    assert tokenise_small_windows(bag_model, planned) is None
    assert count_in_small_windows(bag_model, planned) == 0
