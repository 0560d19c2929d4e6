"""Special tokens, read from each kind of tokenizer, and refused input. The rest: tests/test_nn.py."""

import pytest
from transformers import AutoTokenizer

from cenote._nn.templates import marker_of, stack, template_of, texts_of
from cenote.errors import BadInput


def test_a_template_has_the_special_tokens_around_the_texts(tiny, kind):
    tokenizer = AutoTokenizer.from_pretrained(tiny(kind))
    one, two = (template_of(tokenizer, count) for count in (1, 2))
    text, other = (tokenizer(words, add_special_tokens=False)["input_ids"] for words in ("the pool", "water"))
    assert [*one.before, *text, *one.after] == tokenizer("the pool")["input_ids"]
    assert [*two.before, *text, *two.between, *other, *two.after] == tokenizer("the pool", "water")["input_ids"]


def test_markers_are_special_tokens_of_the_tokenizer(tiny):
    bert = AutoTokenizer.from_pretrained(tiny("bert"))
    assert (marker_of(bert, "landmark").token, marker_of(bert, "landmark").closes) == (bert.sep_token_id, True)
    assert (marker_of(bert, "multi_cls").token, marker_of(bert, "multi_cls").closes) == (bert.cls_token_id, False)
    llama = AutoTokenizer.from_pretrained(tiny("llama"))
    assert marker_of(llama, "landmark").token == llama.eos_token_id
    with pytest.raises(BadInput, match="has no sep_token or eos_token, which landmark pooling inserts: set one"):
        marker_of(AutoTokenizer.from_pretrained(tiny("none")), "landmark")
    with pytest.raises(BadInput, match="has no cls_token or bos_token, which multi_cls pooling inserts"):
        marker_of(AutoTokenizer.from_pretrained(tiny("t5")), "multi_cls")


@pytest.mark.parametrize("item", [3, None, {"text": "a"}, ("a", "b", "c"), ["a", 3], [], ("a", None)], ids=repr)
def test_inputs_that_are_not_texts_are_refused(item):
    with pytest.raises(BadInput, match="takes texts and pairs of texts, not"):
        texts_of(item)


def test_stacks_are_padded_on_either_side():
    assert stack([[1, 2], [3]], 9, "right").tolist() == [[1, 2], [3, 9]]
    assert stack([[True], [False, True]], 0, "left").tolist() == [[0, 1], [0, 1]]
