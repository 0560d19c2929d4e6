"""Probes: which documents and sentences are drawn, and what is counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.account.probes import SHORTEST, draw_probes
from cenote.data.rows import Text
from cenote.data.sentences import count_words, split_sentences

from ..bags import make_texts, numbered


def sentence(*names):
    return [f"This is the sentence with the name {name}." for name in names]


def document(*names):
    return " ".join(sentence(*names))


def test_the_first_the_middle_and_the_last_sentence_are_drawn():
    texts = [Text("a", document(*"abcde")), Text("b", document(*"fgh")), Text("c", document(*"ijkl"))]
    found = draw_probes(texts, 10, 0)
    assert found.sentences == sentence(*"ace", *"fgh", *"ikl")
    assert found.texts == texts
    assert found.owners.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.positions.tolist() == [0, 1, 2] * 3
    assert (len(found), found.few, found.unsplit, found.copies, found.repeated) == (9, 0, 0, 0, 0.0)


def test_short_sentences_are_passed_over():
    found = draw_probes([Text("a", f"A title. {document(*'ab')} So it is. {document('c')} The end.")], 10, 0)
    assert found.sentences == sentence(*"abc")


def test_a_document_without_its_sentence_holds_all_else():
    found = draw_probes([Text("a", f"  {document('a')}\n\n{document(*'bc')} \n")], 10, 0)
    rest = [" ".join(one.split()) for one in found.remainders(range(3))]
    assert rest == [document(*"bc"), document(*"ac"), document(*"ab")]
    assert found.remainders([0])[0] == document(*"bc")  # no white space is left at its ends


def test_texts_that_cannot_be_used_are_counted():
    long = "word " * 60
    texts = [document(*"abc"), document(*"ab"), "A short text.", long, long[:-5], document(*"abc"), document(*"abc")]
    found = draw_probes(numbered(texts), 10, 0)
    assert [text.id for text in found.texts] == ["0"]  # of copies, the first one
    assert (found.few, found.unsplit, found.copies) == (4, 1, 2)


def test_sentences_of_other_documents_are_counted():
    """White space and capitals make no difference, nor whether the other sentence was drawn."""
    texts = [document(*"abcde"), document(*"fghij"), document(*"klm")]
    assert draw_probes(numbered(texts), 10, 0).repeated == 0
    texts[1] = texts[1].replace(sentence("i")[0], sentence("a")[0].upper().replace(" ", "  "))
    assert draw_probes(numbered(texts), 10, 0).repeated == pytest.approx(1 / 9)
    texts[2] = document(*"klmlm")  # twice in one document
    assert draw_probes(numbered(texts), 10, 0).repeated == pytest.approx(1 / 9)


def test_documents_are_drawn_by_the_seed_and_stand_in_their_order():
    texts = numbered(make_texts(50, 3, 6))
    found = draw_probes(texts, 20, 3)
    places = [int(text.id) for text in found.texts]
    assert len(places) == 20
    assert places == sorted(places) == [int(text.id) for text in draw_probes(texts, 20, 3).texts]
    assert places != [int(text.id) for text in draw_probes(texts, 20, 4).texts]
    assert draw_probes(texts, 100, 3).texts == texts


def plain(one):
    return " ".join(one.lower().split())


def sentences_of(text):
    every = (text[slice(*span)] for span in split_sentences(text))
    return {plain(one) for one in every if count_words(one) >= SHORTEST}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(st.sampled_from("aB .!?\n-。水1"), max_size=120), max_size=8), st.integers(0, 3))
def test_whatever_the_texts_sentences_are_of_their_documents(texts, seed):
    texts = [*texts, document(*"abc"), document(*"aBd")]
    found = draw_probes(numbered(texts), 3, seed)
    assert len(found.texts) <= 3
    assert len(found) == 3 * len(found.texts) == len(found.sentences)
    for owner, one in zip(found.owners, found.sentences, strict=True):
        assert one in found.texts[owner].text
        assert count_words(one) >= SHORTEST
    for place, text in enumerate(found.texts):
        drawn = [found.spans[row] for row in np.flatnonzero(found.owners == place)]
        every = [span for span in split_sentences(text.text) if count_words(text.text[slice(*span)]) >= SHORTEST]
        assert (drawn[0], drawn[-1]) == (every[0], every[-1])
        assert drawn == sorted(set(drawn))
    distinct = len(set(texts))
    assert found.copies == len(texts) - distinct
    usable = [text for text in set(texts) if len(draw_probes(numbered([text]), 1, 0))]
    assert found.few == distinct - len(usable)
    assert len(found.texts) == min(3, len(usable))
    held = [sum(plain(one) in sentences_of(text.text) for text in found.texts) for one in found.sentences]
    assert found.repeated == pytest.approx(np.mean([count > 1 for count in held]))
