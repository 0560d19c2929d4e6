"""Cenote's notes on a model's card, loaded or generated."""

import pytest

from cenote._nn.cards import MARKS, note_change, set_card
from cenote.nn import Pooling

OLD = "---\ntags:\n- x\n---\n# A model\n\nIt scored 0.8.\n"


class Model(list):
    """As much of a SentenceTransformer as a card looks at."""

    def __init__(self, how, text):
        super().__init__([Pooling(4, how)])
        self._model_card_text = text
        self.model_card_data = object()  # of a kind that is not ours to change


def noted(text, before, after):
    model = Model(after, text)
    note_change(model, before, (after,))
    return model._model_card_text


def test_a_note_is_between_metadata_and_text():
    card = noted(OLD, ("mean",), "cls")
    assert card.startswith("---\ntags:\n- x\n---\n\n" + MARKS[0])
    assert "'cls' instead of 'mean'" in card
    assert card.endswith("\n\n# A model\n\nIt scored 0.8.\n")
    assert "needs Cenote" not in card
    assert "needs Cenote" in noted(OLD, ("mean",), "every_k")
    assert "'max' instead of 'none'" in noted(OLD, (), "max")
    assert noted("# No metadata", ("mean",), "cls").endswith("\n\n# No metadata")


def test_a_new_note_replaces_the_old_one():
    once = noted(OLD, ("mean",), "every_k")
    assert noted(once, ("every_k",), "cls").count(MARKS[0]) == 1
    assert "needs Cenote" not in noted(once, ("every_k",), "cls")
    assert noted(once, ("every_k",), "every_k") == once


@pytest.mark.parametrize("text", [None, ""])
def test_a_model_without_a_card_stays_without(text):
    assert noted(text, ("mean",), "cls") == text
    model = Model("mean", text)
    data = model.model_card_data
    set_card(model)
    assert model.model_card_data is data
