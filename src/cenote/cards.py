"""What a saved model's card says of Cenote: how its pooling was changed, and what it takes to load it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardData

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

# Our lines stand between these, so that they can be found and taken back.
MARKS = ("<!-- cenote -->", "<!-- end cenote -->")
_OURS = re.compile(rf"{MARKS[0]}.*?{MARKS[1]}\n*", re.DOTALL)

_HOW_TO_LOAD = """**Loading this model needs Cenote**: `pip install cenote`, then

```python
import cenote

model = cenote.load("{name}")
```"""
_ANY_NAME = "path/or/hub-id"


class _Card(SentenceTransformerModelCardData):
    """A generated card whose usage section is true of a model that sentence-transformers alone cannot load."""

    def generate_usage_snippet(self) -> str:
        """The lines that load the model."""
        return "\n".join((MARKS[0], _HOW_TO_LOAD.format(name=self.model_id or _ANY_NAME), MARKS[1]))


def set_card(model: BaseModel) -> None:
    """Give the model the kind of generated card that is true of it, unless it has one of the user's own kind."""
    card = model.model_card_data
    if type(card) in (SentenceTransformerModelCardData, _Card):
        card.__class__ = _Card if _needs_cenote(model) else SentenceTransformerModelCardData


def note_change(model: Any, before: Sequence[str], after: Sequence[str]) -> None:
    """Head the card that a model came with by a note of its new pooling: what it says was measured with the old one."""
    set_card(model)
    if not isinstance(model._model_card_text, str) or tuple(before) == tuple(after):
        return
    note = [
        MARKS[0],
        f"**Pooling changed with Cenote: {'+'.join(after)!r} instead of {'+'.join(before) or 'none'!r}.** "
        "What is reported below was measured before.",
        *(["", _HOW_TO_LOAD.format(name=_ANY_NAME)] if _needs_cenote(model) else []),
        MARKS[1],
    ]
    card = _OURS.sub("", model._model_card_text)
    metadata, end, rest = card.partition("\n---\n") if card.startswith("---\n") else ("", "", card)
    model._model_card_text = f"{metadata}{end}\n" + "\n".join(note) + f"\n\n{rest.lstrip()}"


def _needs_cenote(model: BaseModel) -> bool:
    """Whether a module of the model is saved under an address of ours."""
    return any(type(module).__module__.startswith("cenote.") for module in model)
