"""Notes on a saved model's card: what Cenote changed, and how to load the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardData

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

# Our lines are between these marks, so that they can be found and removed.
MARKS = ("<!-- cenote -->", "<!-- end cenote -->")
# With the line breaks that `note` adds, so that removing the block restores the text.
_OURS = re.compile(rf"\n?{MARKS[0]}.*?{MARKS[1]}\n?\n?", re.DOTALL)

_HOW_TO_LOAD = """**Loading this model needs Cenote**: `pip install cenote`, then

```python
import cenote

model = cenote.load("{name}")
```"""
_ANY_NAME = "path/or/hub-id"


class _Card(SentenceTransformerModelCardData):
    """A generated card whose usage section has our notes and, if the model needs Cenote, says how to load it."""

    needs_cenote = False
    notes: Sequence[str] = ()

    def generate_usage_snippet(self) -> str:
        """Return the usage section."""
        how = _HOW_TO_LOAD.format(name=self.model_id or _ANY_NAME)
        ours = [*self.notes, *([how] if self.needs_cenote else [])]
        theirs = [] if self.needs_cenote else [super().generate_usage_snippet()]
        return "\n".join((MARKS[0], "\n\n".join(ours), MARKS[1], *theirs))


def set_card(model: BaseModel) -> None:
    """Give the model a generated card that says whether it needs Cenote, unless its card is of a user's class."""
    card = model.model_card_data
    if type(card) in (SentenceTransformerModelCardData, _Card):
        needs, notes = _needs_cenote(model), getattr(card, "notes", ())
        card.__class__ = _Card if needs or notes else SentenceTransformerModelCardData
        if isinstance(card, _Card):
            card.needs_cenote = needs
        else:
            for name in ("needs_cenote", "notes"):
                vars(card).pop(name, None)


def note_change(model: Any, before: Sequence[str], after: Sequence[str]) -> None:
    """Note a new pooling, in the card's text only: a generated card describes the modules itself."""
    changed = tuple(before) != tuple(after)
    sentence = f"{'+'.join(after)!r} instead of {'+'.join(before) or 'none'!r}"
    note(model, "Pooling", sentence if changed else None, keep=not changed, generated=False)


def note_temperature(model: Any, temperature: str | None) -> None:
    """Note the temperature that a model is tempered by, or remove the note."""
    note(model, "Attention", f"its logits are divided by {temperature} as the model runs" if temperature else None)


def note_baked(model: Any, temperature: float) -> None:
    """Note the temperature that is folded into the weights."""
    note(model, "Weights", f"the attention temperature {temperature:g} is folded into them")


def note(model: Any, subject: str, sentence: str | None, *, keep: bool = False, generated: bool = True) -> None:
    """Put a note at the head of the model's card: figures on the card were measured before the change.

    There is one note for each `subject`. A new sentence replaces it; None removes it, unless `keep` is set.
    """
    head = f"**{subject} changed with Cenote: "
    new = [f"{head}{sentence}.** What was reported of this model earlier was measured before."] if sentence else []
    card = model.model_card_data
    if generated and type(card) in (SentenceTransformerModelCardData, _Card):
        notes = [line for line in getattr(card, "notes", ()) if keep or not line.startswith(head)] + new
        card.__dict__["notes"] = notes
    set_card(model)
    if not model._model_card_text:  # sentence-transformers generates a card for an empty one too
        return
    found = _OURS.search(model._model_card_text)
    old = [
        line for line in (found.group() if found else "").split("\n") if re.match(r"\*\*.* changed with Cenote: ", line)
    ]
    lines = [line for line in old if keep or not line.startswith(head)] + new
    if lines == old:
        return
    text = _OURS.sub("", model._model_card_text)
    metadata, end, rest = text.partition("\n---\n") if text.startswith("---\n") else ("", "", text)
    if lines and _needs_cenote(model):
        lines.append(_HOW_TO_LOAD.format(name=_ANY_NAME))
    block = "\n" + "\n".join((MARKS[0], "\n\n".join(lines), MARKS[1])) + "\n\n" if lines else ""
    model._model_card_text = f"{metadata}{end}{block}{rest}"


def _needs_cenote(model: BaseModel) -> bool:
    """Return whether a module of the model is saved under an address of ours."""
    return any(type(module).__module__.startswith("cenote.") for module in model)
