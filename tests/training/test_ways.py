"""Pairs of one text: draws that depend on its id alone, spans, sentences and paragraphs."""

import re
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from cenote.errors import BadInput, UnknownName
from cenote.training.ways import (
    LONGEST_PARAGRAPH,
    STRETCH,
    WAYS,
    Document,
    check_settings,
    find_paragraphs,
    find_words,
    pair_sentence,
    pair_spans,
    pair_title,
)


def settings(ways="spans", words=(16, 64), keep=0.1, per_text=1, min_words=10, seed=0):
    return check_settings(ways, words, keep, per_text, min_words, seed)


def numbered(count):
    return " ".join(f"w{number}" for number in range(count))


# Draws.


@pytest.mark.parametrize("way", WAYS)
def test_pairs_depend_on_the_seed_and_the_id(way):
    text = " ".join(f"This is sentence number {number} of the text in question." for number in range(40))
    drawn = {
        (seed, name): tuple(WAYS[way](Document(name, text, "A title"), settings(per_text=4, seed=seed))[0])
        for seed in range(3)
        for name in "abc"
    }
    assert len(set(drawn.values())) == (1 if way == "title" else 9)
    assert drawn[1, "b"] == tuple(WAYS[way](Document("b", text, "A title"), settings(per_text=4, seed=1))[0])


@pytest.mark.parametrize("way", ["spans", "sentence"])
def test_more_pairs_of_a_text_begin_with_the_fewer(way):
    text = " ".join(f"This is sentence number {number} of the text in question." for number in range(40))
    five, two = (WAYS[way](Document("a", text), settings(per_text=count))[0] for count in (5, 2))
    assert five[:2] == two
    assert len(set(five)) == 5


# Title.


@pytest.mark.parametrize("title", [None, "", " \n"])
def test_a_text_without_a_title_is_counted(title):
    assert pair_title(Document("a", "A text.", title), settings()) == ([], {"no_title": 1})


def test_a_title_at_the_beginning_of_the_text_is_removed():
    body = "It is a pool that a collapse of the cave made."
    for text in (body, f"A pool\n\n{body}", f" a POOL - {body}", f"A pool. {body}"):
        assert pair_title(Document("a", text, "A pool "), settings()) == ([("A pool", body)], {})
    assert pair_title(Document("a", f"A poolside. {body}", "A pool"), settings())[0][0][1].startswith("A poolside")
    longer = "A title of more than ten words, which is all that the text has to say"
    assert pair_title(Document("a", f"{longer}. And this.", longer), settings()) == ([], {"short_texts": 1})
    assert pair_title(Document("a", longer, longer), settings()) == ([(longer, longer)], {})  # counted as equal


# Spans.


def test_words_of_scripts_without_spaces_are_parts_of_a_run():
    text = "naïve  “words”\n水池是由塌陷形成的 — end"
    assert [text[start:end] for start, end in find_words(text)] == [
        "naïve",
        "“words”",
        "水池",
        "是由",
        "塌陷",
        "形成的",
        "—",
        "end",
    ]
    assert find_words(" \n") == []


def test_spans_have_legal_lengths_and_do_not_overlap():
    first = Counter()
    for number in range(300):
        (pair,), left_out = pair_spans(Document(str(number), numbered(100)), settings(words=(5, 20)))
        query, positive = ([int(word[1:]) for word in side.split()] for side in pair)
        assert not left_out
        for side in (query, positive):
            assert side == list(range(side[0], side[-1] + 1))
            assert 5 <= len(side) <= 20
        assert not set(query) & set(positive)
        assert max(*query, *positive) - min(*query, *positive) < STRETCH * 20
        first[query[0] < positive[0]] += 1
    assert min(first.values()) > 110


def test_every_length_and_every_place_is_drawn():
    pairs = [pair_spans(Document(str(number), numbered(9)), settings(words=(2, 4)))[0][0] for number in range(500)]
    lengths = {len(side.split()) for pair in pairs for side in pair}
    words = {word for pair in pairs for side in pair for word in side.split()}
    assert lengths == {2, 3, 4}
    assert words == set(numbered(9).split())


def test_a_text_of_twice_the_fewest_words_gives_two_spans_and_a_shorter_one_none():
    (pair,), _ = pair_spans(Document("a", numbered(6)), settings(words=(3, 8)))
    assert sorted(pair) == ["w0 w1 w2", "w3 w4 w5"]
    assert pair_spans(Document("a", numbered(5)), settings(words=(3, 8))) == ([], {"no_spans": 1})


def test_spans_of_a_long_text_are_near_each_other_and_anywhere_in_it():
    starts = []
    for number in range(200):
        (pair,), _ = pair_spans(Document(str(number), numbered(5000)), settings())
        places = [int(word[1:]) for side in pair for word in side.split()]
        assert max(places) - min(places) < STRETCH * 64
        starts.append(min(places))
    assert np.histogram(starts, bins=4, range=(0, 5000))[0].min() > 25


def test_a_span_keeps_the_white_space_of_the_text():
    (pair,), _ = pair_spans(Document("a", " one\n two\t\tthree  four "), settings(words=(2, 2)))
    assert sorted(pair) == ["one\n two", "three  four"]


# Sentences.

SENTENCES = [f"This is sentence number {number} of the text." for number in range(5)]


def test_the_sentence_is_removed_from_its_paragraph_alone():
    text = "\n\n".join([" ".join(SENTENCES[:3]), " ".join(SENTENCES[3:]), "A last line."])
    places = set()
    for number in range(60):
        ((query, positive),), left_out = pair_sentence(Document(str(number), text), settings(keep=0.0, min_words=5))
        group = SENTENCES[:3] if query in SENTENCES[:3] else SENTENCES[3:]
        assert positive == " ".join(sentence for sentence in group if sentence != query)
        assert left_out == {"short_paragraphs": 1}
        places.add(query)
    assert places == set(SENTENCES)


def test_the_stated_share_of_sentences_stays():
    text = " ".join(SENTENCES)
    kept = 0
    for number in range(2000):
        ((query, positive),), _ = pair_sentence(Document(str(number), text), settings(keep=0.1))
        kept += query in positive
        assert (positive == text) == (query in positive)
    assert 160 < kept < 240  # 200 are expected, with a deviation of 13


@pytest.mark.parametrize(("keep", "stays"), [(0.0, False), (1.0, True)])
def test_no_or_every_sentence_stays(keep, stays):
    for number in range(30):
        ((query, positive),), _ = pair_sentence(Document(str(number), " ".join(SENTENCES)), settings(keep=keep))
        assert (query in positive) == stays


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("This is the one sentence of a text that is not short at all.", 1),
        ("Yes. This is the one long sentence of a text that is not short at all.", 1),  # nothing remains without it
        ("Why not? Well, so it is. Oh, it really is.", 1),  # no sentence says enough
        ("This is the only sentence of a paragraph.\n\nThis is the only sentence of another paragraph.", 2),
        ("", 0),
    ],
)
def test_short_paragraphs_are_counted(text, short):
    assert pair_sentence(Document("a", text), settings()) == ([], {"short_paragraphs": short, "no_sentence": 1})


def test_as_many_pairs_as_there_are_sentences():
    pairs, _ = pair_sentence(Document("a", " ".join(SENTENCES)), settings(per_text=9))
    assert sorted(query for query, _ in pairs) == SENTENCES


@pytest.mark.parametrize("between", ["\n\n", "\n \n", "\n> \n> ", "\r\n\r\n", "<br /><br />", "</p><p>", "<p>\n"])
def test_empty_lines_and_tags_end_paragraphs(between):
    text = f"It was a pool.{between}What made it? A cave."
    assert [len(paragraph) for paragraph in find_paragraphs(text)] == [1, 2]


@pytest.mark.parametrize("between", [" ", "\n", "\r\n", "<br />", "\n    "])
def test_a_single_line_end_does_not_end_a_paragraph(between):
    assert len(list(find_paragraphs(f"It was a pool.{between}What made it? A cave."))) == 1


def test_a_long_paragraph_is_cut_between_sentences():
    text = " ".join(SENTENCES * 20)
    paragraphs = list(find_paragraphs(text))
    assert len(paragraphs) > 3
    assert list(chain.from_iterable(paragraphs)) == [found.span() for found in re.finditer(r"This[^.]*\.", text)]
    for paragraph in paragraphs:
        assert len(text[paragraph[0][0] : paragraph[-1][1]].split()) <= LONGEST_PARAGRAPH


# Settings.


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ways": []}, "there are no ways to draw pairs: name one or several of title, spans, sentence"),
        ({"words": (16,)}, r"words=\(16,\): pass the fewest and the most words of a span, such as 16,64"),
        ({"words": (0, 4)}, "words=0: pass a whole number of at least 1"),
        ({"words": (1.5, 4)}, "words=1.5: pass a whole number"),
        ({"words": (9, 3)}, "words=9,3: the first number is the fewest words"),
        ({"keep": 1.1}, "keep=1.1: pass a number from 0 to 1"),
        ({"keep": float("nan")}, "keep=nan: pass a number from 0 to 1"),
        ({"keep": True}, "keep=True: pass a number from 0 to 1"),
        ({"keep": "0.1"}, "keep='0.1': pass a number from 0 to 1"),
        ({"per_text": 0}, "per_text=0: pass a whole number of at least 1"),
        ({"min_words": 0}, "min_words=0: pass a whole number of at least 1"),
        ({"seed": -1}, "seed=-1: pass a whole number of at least 0"),
    ],
)
def test_bad_settings(changed, message):
    with pytest.raises(BadInput, match=message):
        settings(**changed)


@pytest.mark.parametrize("ways", ["tilte", "spans,tilte", ["spans", "tilte"]])
def test_unknown_way(ways):
    with pytest.raises(UnknownName, match="unknown way 'tilte'; did you mean 'title'"):
        settings(ways=ways)


def test_a_way_that_is_named_twice_counts_once():
    assert settings(ways="spans, title,spans").ways == ("spans", "title")
