"""Properties of loaded models."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from torch import nn

import cenote
from cenote.errors import UnknownName
from cenote.models.properties import limit_of, positions_of, prompt_name_for, prompt_of, width_of


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
    model[0].query_length = None
    model.max_seq_length = 10**30  # a tokenizer without a limit reports a number like this
    assert limit_of(model) is None


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
