"""Probes: sentences of the texts themselves, which a search over these texts should lead back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cenote.data.rows import Text
from cenote.data.sentences import Span, count_words, split_sentences
from cenote.encoding.tokens import Whole

# A shorter sentence says too little to name its document.
SHORTEST = 6
# Words of a text that three sentences could be expected of.
_LONG = 60
# Fewer documents give no account.
FEWEST_DOCUMENTS = 20
# Sentences drawn of each document, spread over it, and what their places are called.
POSITIONS = ("first", "middle", "last")


@dataclass(frozen=True, eq=False)
class Probes:
    """Documents, and sentences of them."""

    texts: list[Text]  # the documents
    owners: Whole  # [Q] the document of each sentence
    spans: list[Span]  # where each sentence stands in its document
    positions: Whole  # [Q] places in POSITIONS
    given: int  # texts that they were drawn from
    few: int  # texts with fewer than three sentences of six words or more
    unsplit: int  # those among them that are long, but have no marks to split them at
    copies: int  # texts that are copies of others
    repeated: float  # share of the sentences that another of these documents holds word by word

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def sentences(self) -> list[str]:
        """The text of each sentence."""
        return [self.texts[owner].text[start:end] for owner, (start, end) in zip(self.owners, self.spans, strict=True)]

    def why_too_few(self) -> str | None:
        """Return why these documents give no account; None if they are enough."""
        if len(self.texts) >= FEWEST_DOCUMENTS:
            return None
        copies = f", of which {self.copies:,} are copies," if self.copies else ""
        return (
            f"only {len(self.texts)} of {self.given:,} texts{copies} have three sentences of {SHORTEST} words or more, "
            f"and {FEWEST_DOCUMENTS} are needed"
        )

    def remainders(self, rows: Sequence[int]) -> list[str]:
        """Return the documents of some sentences, each without its sentence."""
        return [_without(self.texts[self.owners[row]].text, *self.spans[row]) for row in rows]


def draw_probes(texts: Sequence[Text], count: int, seed: int) -> Probes:
    """Draw documents with three sentences or more, and of each the first, the middle and the last one.

    >>> text = " ".join(f"This is sentence number {word} of the text." for word in ("one", "two", "three", "four"))
    >>> found = draw_probes([Text("a", text), Text("b", "A short text.")], 10, seed=0)
    >>> found.sentences[1], found.few
    ('This is sentence number three of the text.', 1)

    Args:
        texts: to draw from. Of copies, the first one counts.
        count: documents to draw, at most.
        seed: of the draw.
    """
    distinct = list({text.text: text for text in reversed(texts)}.values())[::-1]
    usable: list[tuple[Text, list[Span]]] = []
    unsplit = 0
    for text in distinct:
        sentences = split_sentences(text.text)
        spans = [(start, end) for start, end in sentences if count_words(text.text[start:end]) >= SHORTEST]
        if len(spans) >= len(POSITIONS):
            usable.append((text, spans))
        else:
            unsplit += len(sentences) < len(POSITIONS) and count_words(text.text) >= _LONG
    order = np.random.default_rng(seed).permutation(len(usable))[:count]
    drawn = [usable[place] for place in sorted(order.tolist())]
    found: dict[str, set[int]] = {}
    for place, (_, spans) in enumerate(drawn):
        for start, end in spans:
            found.setdefault(_plain(drawn[place][0].text[start:end]), set()).add(place)
    chosen = [(place, spans[at]) for place, (_, spans) in enumerate(drawn) for at in _spread(len(spans))]
    shared = [len(found[_plain(drawn[place][0].text[start:end])]) > 1 for place, (start, end) in chosen]
    return Probes(
        texts=[text for text, _ in drawn],
        owners=np.array([place for place, _ in chosen], np.int64),
        spans=[span for _, span in chosen],
        positions=np.tile(np.arange(len(POSITIONS)), len(drawn)),
        given=len(texts),
        few=len(distinct) - len(usable),
        unsplit=int(unsplit),
        copies=len(texts) - len(distinct),
        repeated=float(np.mean(shared)) if shared else 0.0,
    )


def _spread(count: int) -> tuple[int, int, int]:
    return 0, count // 2, count - 1


def _plain(sentence: str) -> str:
    return " ".join(sentence.lower().split())


def _without(text: str, start: int, end: int) -> str:
    return f"{text[:start].rstrip()} {text[end:].lstrip()}".strip()
