"""Properties of loaded models."""

import pytest

import cenote
from cenote.errors import UnknownName
from cenote.models.properties import limit_of, prompt_name_for, prompt_of, width_of


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
    model.max_seq_length = 10**30  # a tokenizer without a limit reports a number like this
    assert limit_of(model) is None
