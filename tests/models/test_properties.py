"""Properties of loaded models."""

import numpy as np
import pytest
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from torch import nn
from transformers import AutoTokenizer

import cenote
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput, UnknownName
from cenote.models.loading import set_max_seq_length
from cenote.models.properties import (
    limit_of,
    limit_of_documents,
    limits_kept,
    positions_of,
    prompt_name_for,
    prompt_of,
    readers_of,
    set_limit,
    tasks_of,
    width_of,
)
from cenote.nn import LandmarkTransformer


def test_the_prompt_of_a_task(tiny_st):
    model = cenote.load(tiny_st("bert", prompts={"query": "query: ", "passage": "document: "}), device="cpu")
    assert prompt_name_for(model, None, "query") == "query"
    assert prompt_name_for(model, None, None) is None
    assert prompt_name_for(model, "passage", "query") == "passage"
    del model.prompts["document"]  # an empty one, added by sentence-transformers
    assert prompt_name_for(model, None, "document") == "passage"
    del model.prompts["passage"]
    assert prompt_name_for(model, None, "document") is None


def test_the_text_of_a_prompt(tiny_st):
    model = cenote.load(tiny_st("bert", prompts={"query": "query: "}), device="cpu")
    assert prompt_of(model) is None
    assert prompt_of(model, "query") == "query: "
    model.default_prompt_name = "query"
    assert prompt_of(model) == "query: "
    with pytest.raises(UnknownName, match="unknown prompt 'qury'; did you mean 'query'"):
        prompt_of(model, "qury")


def test_limit_and_width(tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu", max_seq_length=9)
    assert (limit_of(model), width_of(model)) == (9, 32)
    model[0].query_length = 5
    assert (limit_of(model, "query"), limit_of(model, "document")) == (5, 9)
    model[0].query_length = 12  # sentence-transformers reads them, too
    assert limit_of(model, "query") == len(tokenise(model, ["a pool " * 20], task="query").columns["input_ids"]) == 12
    model[0] = LandmarkTransformer.adopt(model[0])
    assert limit_of(model, "query") == 9
    model[0].query_length = None
    model.max_seq_length = 10**30  # a tokenizer without a limit reports a number like this
    assert limit_of(model) is None


def routes(tiny, **options):
    """Return a router of two readers, which cut at 50 and at 40 tokens."""
    readers = [Transformer(str(tiny(kind))) for kind in ("bert", "qwen")]
    readers[0].max_seq_length, readers[1].max_seq_length = 50, 40
    router = Router({"ask": [readers[0]], "doc": [readers[1]]}, **options)
    return SentenceTransformer(modules=[router, StPooling(32, "mean")], device="cpu")


def test_the_limit_of_a_router_is_that_of_the_route_which_it_takes(tiny):
    mappings = {("query", "text"): "ask", ("document", "text"): "doc"}
    model = routes(tiny, default_route="doc", route_mappings=mappings)
    assert [limit_of(model, task) for task in ("query", "document", None)] == [50, 40, 40]
    assert limit_of_documents(model) == 40
    assert limit_of(routes(tiny)) == limit_of_documents(routes(tiny)) == 50
    with pytest.raises(BadInput, match="No route found for task type 'query'"):
        limit_of(routes(tiny), "query")
    with pytest.raises(BadInput, match="Could not determine route for task=None"):
        limit_of(routes(tiny, allow_empty_key=False).eval())
    with pytest.raises(BadInput, match="Could not determine route for task=None"):
        limit_of_documents(routes(tiny, allow_empty_key=False).eval())


def test_tasks_take_each_route_once(tiny):
    assert tasks_of(routes(tiny)) == [None, "doc"]
    mappings = {("query", "text"): "ask", (None, None): "doc", ("page", "image"): "ask"}
    assert tasks_of(routes(tiny, route_mappings=mappings)) == [None, "query"]
    assert tasks_of(routes(tiny, allow_empty_key=False).eval()) == ["ask", "doc"]
    assert tasks_of(SentenceTransformer(modules=[Transformer(str(tiny("bert")))], device="cpu")) == [None]


def test_all_limits_come_back(tiny):
    model = routes(tiny)
    model[0].sub_modules["doc"][0].query_length = 30
    with limits_kept(model):
        set_max_seq_length(model, 20)
        assert [(one.max_seq_length, one.query_length) for one in readers_of(model)] == [(20, None), (20, 20)]
    assert [(one.max_seq_length, one.query_length) for one in readers_of(model)] == [(50, None), (40, 30)]


def test_a_reader_without_a_limit_is_passed_over(with_static_queries, tiny_bert):
    model = with_static_queries(tiny_bert)
    static, documents = readers_of(model)
    backwards = SentenceTransformer(modules=[Router.for_query_document([documents], [static])], device="cpu")
    for one in (model, backwards):
        with limits_kept(one):
            set_max_seq_length(one, 20)
            assert (static.max_seq_length, documents.max_seq_length) == (float("inf"), 20)
    with pytest.raises(BadInput, match="max_seq_length=2: the tokenizer adds 2 special tokens"):
        set_max_seq_length(model, 2)
    assert documents.max_seq_length == 256
    with pytest.raises(BadInput, match="max_seq_length=20: StaticEmbedding has no such limit to set"):
        set_max_seq_length(SentenceTransformer(modules=[static], device="cpu"), 20)


def test_a_lower_limit_of_documents_is_raised_where_that_is_asked_for(tiny):
    model = SentenceTransformer(modules=[Transformer(str(tiny("bert")))], device="cpu")
    model[0].query_length, model[0].document_length = 10, 20
    set_limit(model, 30)
    assert (model[0].query_length, model[0].document_length, model.max_seq_length) == (10, 20, 30)
    set_limit(model, 40, documents=True)
    assert (model[0].query_length, model[0].document_length, model.max_seq_length) == (10, 40, 40)
    model[0].document_length = None
    set_limit(model, 50, documents=True)
    assert limit_of(model, "document") == 50


@pytest.mark.parametrize(
    ("kind", "positions"),
    [("bert", 256), ("roberta", 256), ("t5", None), ("llama", None), ("qwen", None), ("neox", None)],
)
def test_positions_are_those_that_a_text_can_use(kind, positions, tiny_st):
    """RoBERTa's table has rows that no token of a text is at; relative and rotary positions have no table."""
    model = cenote.load(tiny_st(kind), device="cpu", max_seq_length=9)
    assert positions_of(model) == positions
    if positions is None:
        return
    model.max_seq_length = positions
    assert np.isfinite(model.encode("a " * 2 * positions)).all()
    model.max_seq_length = positions + 1
    with pytest.raises((IndexError, RuntimeError)):
        model.encode("a " * 2 * positions)


def test_the_smallest_table_of_positions_counts(tiny_st):
    folder = str(tiny_st("bert"))
    model = SentenceTransformer(folder, device="cpu")
    model[0].model.encoder.position_embeddings = nn.Embedding(100, 4)
    assert positions_of(model) == 100
    model[0].model.encoder.position_embeddings = None  # as of a model with relative positions
    assert positions_of(model) == 256
    model[0].model.encoder.embed_positions = nn.Embedding(100, 4)
    model[0].model.encoder.main_input_name = "input_features"  # as of a model that hears too
    assert positions_of(model) == 256


_SIZE = {"num_hidden_layers": 1, "num_attention_heads": 4}
NAMED_OTHERWISE = {
    "GPT2": {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 40},
    "OpenAIGPT": {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 40},
    "OPT": {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "max_position_embeddings": 40, **_SIZE},
    "Bart": {
        **{
            f"{side}_{name}": size
            for side in ("encoder", "decoder")
            for name, size in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 64))
        },
        "d_model": 32,
        "max_position_embeddings": 40,
    },
}


@pytest.mark.parametrize("name", NAMED_OTHERWISE)
def test_a_table_of_positions_may_have_another_name(name, tiny, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny("bert"))
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{name}Config")(**tokens, **NAMED_OTHERWISE[name])
    getattr(transformers, f"{name}Model")(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = SentenceTransformer(modules=[Transformer(str(tmp_path)), StPooling(32, "mean")], device="cpu")
    assert positions_of(model) == 40
    model.max_seq_length = 40
    assert np.isfinite(model.encode("a " * 80)).all()
    model.max_seq_length = 41
    with pytest.raises((IndexError, RuntimeError)):
        model.encode("a " * 80)
    with pytest.raises(BadInput, match="the model has positions for 40 tokens only"):
        set_max_seq_length(model, 41)
