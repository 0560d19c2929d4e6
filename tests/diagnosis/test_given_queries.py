"""The user's own queries: figures by plain loops, queries that name no text, both sides of a search."""

import math

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis import given_queries
from cenote.diagnosis.given_queries import check_queries, search_queries
from cenote.errors import BadInput
from cenote.functional.retrieval import resampled_means
from cenote.json_records import from_json, to_json
from cenote.listener import Listener
from cenote.records import GivenQueries

from ..bags import TINY, WORDS, FirstTokens, load_bags, make_texts, numbered

FATES = ("found", "lost_to_cut", "lost_to_pooling", "not_found")


def search(model, queries, texts, prompt_name=None):
    return search_queries(model, check_queries(queries), numbered(texts), prompt_name, 0, Listener())


def first_sentences(texts):
    return [(text[: text.index(".")], str(row)) for row, text in enumerate(texts)]


def gain_by_loop(order, relevant):
    """nDCG at ten, where every text that answers counts the same."""
    gained = sum(1 / math.log2(place + 2) for place, one in enumerate(order[:10]) if one in relevant)
    return gained / sum(1 / math.log2(place + 2) for place in range(min(10, len(relevant))))


def test_queries_of_one_text_are_one_with_several_answers():
    found = check_queries(iter([("a", "1"), ("b", "2"), ("a", "3"), ["a", "1"]]))
    assert found.texts == ("a", "b")
    assert found.relevant == ({"1", "3"}, {"2"})
    assert found.ids == {"1", "2", "3"}
    assert check_queries(None).texts == check_queries([]).texts == ()


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([("a", "1"), ("b", 2)], r"query 1 is \('b', 2\): pass its text and the id"),
        (["ab"], "query 0 is 'ab': pass its text"),
        ([("a", "1", "x")], "query 0 is .*: pass its text"),
        ([(" \n", "1")], "query 0 is empty: leave it out"),
        ([("\ud800", "1")], "query 0"),
    ],
)
def test_something_other_than_a_text_and_an_id_is_refused(queries, message):
    with pytest.raises(BadInput, match=message):
        check_queries(queries)


@pytest.mark.parametrize("kept", [given_queries.KEPT_NUMBERS, 1], ids=["tokens of all", "of the nearest"])
def test_figures_are_those_of_plain_loops(kept, tiny_st, monkeypatch):
    """A random network finds little: every fate but the cut is there."""
    monkeypatch.setattr(given_queries, "KEPT_NUMBERS", kept)
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    texts = make_texts(40, 3, 6, vocabulary=TINY)
    queries = [*first_sentences(texts)[:25], (first_sentences(texts)[0][0], "30"), (first_sentences(texts)[1][0], "31")]
    asked = list(dict.fromkeys(text for text, _ in queries))
    answers = [{int(id_) for text, id_ in queries if text == one} for one in asked]
    read, made = (model.encode(some, output_value=None) for some in (texts, asked))

    def unit(rows):
        rows = np.asarray(rows, np.float64)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    documents, vectors = (unit([one["sentence_embedding"].numpy() for one in some]) for some in (read, made))
    tokens, words = (
        [unit(one["token_embeddings"][one["attention_mask"].bool()].numpy()) for one in some] for some in (read, made)
    )
    fates, gains, reranked_gains = [], [], []
    for query, own_words, relevant in zip(vectors, words, answers, strict=True):
        scores = documents @ query
        order = sorted(range(40), key=lambda place: -scores[place])
        matches = [(own_words @ one.T).max(1).sum() for one in tokens]
        again = sorted(order[:20], key=lambda place: -matches[place])
        best = max(relevant, key=lambda place: scores[place])
        alone = all(matches[best] > matches[place] for place in order[:20] if place != best)
        by_token = again[0] in relevant or alone
        fates.append("found" if order[0] in relevant else "lost_to_pooling" if by_token else "not_found")
        gains.append(gain_by_loop(order, relevant))
        reranked_gains.append(gain_by_loop(again, relevant))
    found = search(model, queries, texts)
    assert (found.queries, found.texts, found.excluded) == (len(asked), 40, ())
    assert [getattr(found, fate).value for fate in FATES] == pytest.approx(
        [np.mean([one == fate for one in fates]) for fate in FATES]
    )
    assert (found.gain.value, found.reranked.value) == pytest.approx(
        (np.mean(gains), np.mean(reranked_gains)), abs=1e-8
    )
    (price,) = resampled_means([np.subtract(reranked_gains, gains)], np.arange(len(asked)))
    assert tuple(vars(found.price).values()) == pytest.approx(tuple(vars(price).values()), abs=1e-8)
    assert from_json(GivenQueries, to_json(found)) == found


def test_a_planted_cut_and_a_planted_pooling_are_told_apart(bag_folder):
    texts = make_texts(30)
    last = [(text[text.rindex(".", 0, -1) + 2 : -1], str(row)) for row, text in enumerate(texts)]
    plain = search(load_bags(bag_folder), last, texts)
    assert plain.found.value == 1
    half = search(load_bags(bag_folder, pooling=FirstTokens(share=0.5)), last, texts)
    assert half.lost_to_cut.value == 0
    assert half.lost_to_pooling.value > 0.8
    assert half.price.low > 0.3
    cut = load_bags(bag_folder)
    cut.max_seq_length = 40
    found = search(cut, last, texts)
    assert found.lost_to_cut.value > 0.8
    assert found.lost_to_pooling.value <= 2 / 30


def test_queries_that_name_no_text_are_counted_and_named(bag_model):
    texts = make_texts(12)
    queries = first_sentences(texts)
    found = search(bag_model, [*queries, ("babaka", "x9"), ("babaki", "x7")], texts)
    assert found.queries == 12
    (left,) = found.excluded
    assert (left.count, left.ids) == (2, ("x9", "x7"))
    with pytest.raises(BadInput, match=r"none of 1 queries names one of the texts\. 1 \(x9\): "):
        search(bag_model, [("babaka", "x9")], texts)


def test_texts_that_answer_queries_are_drawn_first(bag_model):
    texts = make_texts(60)
    queries = [first_sentences(texts)[row] for row in (3, 41, 57)]
    found = cenote.diagnose(bag_model, numbered(texts), queries=queries, sample=25, quick=True, layers=False)
    assert (found.texts.used, found.models[0].queries.queries) == (25, 3)
    assert found.models[0].queries.found.value == 1
    assert found.settings["given_queries"] == 3
    assert cenote.diagnose(bag_model, texts[:3], quick=True, layers=False).models[0].queries is None


def test_each_side_has_its_own_prompt(tiny_st, monkeypatch):
    folder = str(tiny_st("bert", prompts={"query": "query: ", "document": "document: a deep "}))
    model, seen = SentenceTransformer(folder, device="cpu"), []
    original = given_queries.tokenise

    def tokenise(model, texts, prompt_name, task):
        seen.append((prompt_name, task, len(texts)))
        return original(model, texts, prompt_name, task)

    monkeypatch.setattr(given_queries, "tokenise", tokenise)
    texts = make_texts(12, 3, 6, vocabulary=TINY)
    search(model, first_sentences(texts)[:5], texts)
    assert seen == [("document", "document", 12), ("query", "query", 5)]


def test_tokens_that_are_not_finite_take_the_match_from_no_other(bag_folder):
    model, texts = load_bags(bag_folder, pooling=FirstTokens(share=0.5)), make_texts(15, vocabulary=WORDS[1:])
    last = [(text[text.rindex(".", 0, -1) + 2 : -1], str(row)) for row, text in enumerate(texts)]
    plain = search(model, last, texts)
    with torch.no_grad():
        model[0].model.embeddings.word_embeddings.weight[-len(WORDS)] = torch.nan
    found = search(model, last, [*texts, *make_texts(1, vocabulary=WORDS[:1])])
    assert found.lost_to_pooling.value == pytest.approx(plain.lost_to_pooling.value)
