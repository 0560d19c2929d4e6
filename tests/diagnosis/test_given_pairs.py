"""Given pairs: excluded ones are reported, a text is read once, and figures come from the model's own tokens."""

import math

import pytest
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis import selection
from cenote.diagnosis.given_pairs import GivenPair, GivenPairs, check_pairs, compare_pairs, tokenise_pairs
from cenote.diagnosis.summaries import Excerpts
from cenote.encoding.batches import NOT_FINITE
from cenote.errors import BadInput
from cenote.listener import Listener

from ..fakes import spoiled, without_special_tokens

PROMPTS = {"query": "query: ", "page": "document: a deep ", "same": "query: "}


@pytest.fixture
def model(tiny_st):
    return SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts=PROMPTS)


def compared(model, given, prompts=(None, None)):
    excerpts = Excerpts()
    ready = tokenise_pairs(model, given, prompts, 0)
    found, excluded = compare_pairs(model, ready, excerpts, 0, Listener())
    assert found is None or found.excluded == excluded
    return (excluded if found is None else found), excerpts.kept()


def by_hand(model, pairs, prompts=(None, None)):
    sides = [
        [model.encode(text, prompt_name=name, output_value="token_embeddings") for text in side]
        for side, name in zip(zip(*pairs, strict=True), prompts, strict=True)
    ]
    return cenote.socm(*sides).socm.tolist()


def test_empty_sides_are_excluded_and_numbers_stay():
    found = check_pairs(iter([("a", "b"), ("", "c"), ["d", "e"], ("f", " \n")]))
    assert found.pairs == [GivenPair(0, "a", "b"), GivenPair(2, "d", "e")]
    (record,) = found.excluded
    assert (record.why, record.count, record.ids) == ("an empty side", 2, ("pair 1", "pair 3"))
    assert check_pairs(None) == check_pairs([]) == GivenPairs([])
    many = check_pairs([("a", "b")] + [("", "")] * 1000).excluded[0]
    assert many.count == 1000
    assert many.in_words().startswith("1,000 (pair 1, pair 2,")
    assert many.in_words().endswith("pair 8 and 992 more): an empty side")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", "b"), ("a", None)], r"pair 1 is \('a', None\): pass two texts"),
        (["ab"], "pair 0 is 'ab': pass two texts"),
        ([("a", "b", "c")], "pair 0 is .*: pass two texts"),
        ([("a", "\ud800")], "pair 0 holds a lone surrogate"),
    ],
)
def test_something_other_than_two_texts_is_refused(pairs, message):
    with pytest.raises(BadInput, match=message):
        check_pairs(pairs)


def test_a_text_of_many_pairs_is_read_once(model):
    pairs = [("a pool", f"a cave {'stone ' * row}".strip()) for row in range(20)]
    rows = []
    handle = model[0].register_forward_pre_hook(lambda _, args: rows.append(len(args[0]["input_ids"])))
    try:
        found, kept = compared(model, check_pairs(pairs))
    finally:
        handle.remove()
    assert sum(rows) == 21
    assert (found.pairs, found.texts) == (20, 21)
    named = {kept[pair.first].id: pair.socm for pair in found.shown}
    expected = by_hand(model, pairs)
    assert [named[f"pair {row}"] for row in range(20)] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("prompts", "texts"), [(("query", "page"), 4), ((None, "query"), 4), (("query", "same"), 3), (("page", "page"), 3)]
)
def test_each_side_is_read_with_its_prompt(prompts, texts, model):
    pairs = [("a pool", "the deep cave"), ("light", "a pool")]
    rows = []
    handle = model[0].register_forward_pre_hook(lambda _, args: rows.append(len(args[0]["input_ids"])))
    try:
        found, kept = compared(model, check_pairs(pairs), prompts)
    finally:
        handle.remove()
    assert sum(rows) == texts  # "a pool" is read twice where its two prompts differ
    named = {kept[pair.first].id: pair.socm for pair in found.shown}
    expected = by_hand(model, pairs, prompts)
    assert [named["pair 0"], named["pair 1"]] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found.texts == 3


def test_pairs_of_which_a_side_has_no_tokens(model):
    without_special_tokens(model)
    given = check_pairs([("a pool", "\x01"), ("a pool", "a cave"), ("a", "")])
    found, kept = compared(model, given)
    assert found.pairs == 1
    assert kept[0].id == "pair 1"
    assert [(record.why, record.ids) for record in found.excluded] == [
        ("an empty side", ("pair 2",)),
        ("a side without tokens", ("pair 0",)),
    ]
    none = tokenise_pairs(model, check_pairs([("\x01", "a pool")]), (None, None), 0)
    assert none.pairs == []
    assert [record.in_words() for record in none.excluded] == ["1 (pair 0): a side without tokens"]


def test_pairs_of_which_a_side_has_no_vector(model):
    with spoiled(model, stone=lambda states: states * math.nan):
        found, _ = compared(model, check_pairs([("a pool", "a stone"), ("a pool", "a cave")]))
        assert found.pairs == 1
        assert [(record.why, record.ids) for record in found.excluded] == [(NOT_FINITE, ("pair 0",))]
        (left,), _ = compared(model, check_pairs([("a pool", "a stone")]))
        assert left.in_words() == f"1 (pair 0): {NOT_FINITE}"


def test_as_many_pairs_are_selected_as_fit_into_memory(model, monkeypatch):
    monkeypatch.setattr(selection, "_NUMBERS", 32 * 40)
    given = check_pairs([(f"a pool {'stone ' * row}", "a cave") for row in range(20)])
    ready = tokenise_pairs(model, given, (None, None), 0)
    assert 1 < len(ready.pairs) < 20
    read = {text for pair in ready.pairs for text in pair[1:]}
    assert sum(len(model.tokenizer(text)["input_ids"]) for text in read) <= 40
    shared = tokenise_pairs(model, check_pairs([("a pool", "a cave")] * 20), (None, None), 0)
    assert len(shared.pairs) == 20
