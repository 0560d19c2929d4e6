"""Landmark insertion: find chunk ends, insert landmarks into token ids, and mark their positions.

    [CLS] z1 [SEP] z2 [SEP] ... zn [SEP]

A text is cut into chunks z1 ... zn, each closed by a landmark; the tokenizer's own final special token is the last
landmark, so none is doubled. Every content token lies in a closed chunk: room for landmarks is reserved before a long
text is truncated. Landmarks are identified by position, never by id, since a text may contain the literal marker.

Functions work on lists of integers, one text at a time; tokenizers and tensors belong to `cenote.nn`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from cenote.errors import BadInput, choose
from cenote.functional.draws import number_of

# The intervals of training and of inference in the best reported recipe.
TRAINING_INTERVALS = (32, 64, 128, 256)
INTERVAL = 32

# Where chunks end: every `interval` tokens, or at the ends of sentences. `variable` is `fixed` with an interval that in
# training is drawn from `training_intervals`, for each text in each epoch.
SPLITTERS = ("fixed", "variable", "sentence")

# For each marker, the tokenizer attributes that name its token (the first that is set), and whether it closes a chunk
# (True) or opens it.
MARKERS: dict[str, tuple[tuple[str, ...], bool]] = {
    "landmark": (("sep_token_id", "eos_token_id"), True),
    "multi_cls": (("cls_token_id", "bos_token_id"), False),
}


@dataclass(frozen=True)
class Template:
    """The special tokens that a tokenizer adds around one text, or around and between two.

    `types` are the token types of before, first text, between, second text, after.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

    def around(self, texts: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return the special tokens that open and close each text.

        Tokens between two texts close the first; if they end with those that open a lone text, these open the second:
        `<s> a </s> <s> b </s>`, or `<s> a <s> b`, where nothing closes the first.

        >>> Template(before=(0,), between=(2, 0), after=(2,)).around(2)
        [((0,), (2,)), ((0,), (2,))]
        """
        if texts == 1:
            return [(self.before, self.after)]
        size = len(self.before)
        opens = self.before if size and self.between[-size:] == self.before else ()
        return [(self.before, self.between[: len(self.between) - len(opens)]), (opens, self.after)]


@dataclass(frozen=True)
class Content:
    """The token ids of one text without special tokens, and the end of each of its chunks."""

    ids: list[int]
    ends: list[int]


@dataclass
class ModelInput:
    """One model input: token ids, token types, marked positions, and the length of the prompt in positions."""

    ids: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    marks: list[bool] = field(default_factory=list)
    prompt: int = 0

    @property
    def prompt_mask(self) -> list[bool]:
        """Whether each position belongs to the prompt."""
        return [place < self.prompt for place in range(len(self.ids))]

    def add(self, ids: Sequence[int], kind: int, marked: int | None = None) -> None:
        """Append tokens of one type; the one at index `marked` is a mark."""
        marks = [False] * len(ids)
        if marked is not None and ids:
            marks[marked] = True
        self.ids += ids
        self.types += [kind] * len(ids)
        self.marks += marks


@dataclass(frozen=True)
class Marker:
    """The token to insert, and whether it closes each chunk (a landmark) or opens it (`multi_cls`)."""

    token: int
    closes: bool = True


def fixed(count: int, interval: int) -> list[int]:
    """Return chunk ends every `interval` tokens; an empty text is one empty chunk.

    >>> fixed(7, 3), fixed(6, 3), fixed(0, 3)
    ([3, 6, 7], [3, 6], [0])
    """
    return [*range(interval, count, interval), count]


def drawn(intervals: Sequence[int], seed: int, epoch: int, text: str) -> int:
    """Return the interval of one text in one epoch of training.

    >>> [drawn((32, 64, 128, 256), seed=0, epoch=epoch, text="a pool") for epoch in range(6)]
    [128, 256, 256, 64, 64, 128]
    """
    return intervals[number_of(seed, epoch, text) % len(intervals)]


# A sentence ends after its closing punctuation and the quotes or brackets that follow, before white space (except after
# full-width punctuation), or at a line break.
_SENTENCE_END = re.compile(r"""[.!?…؟۔।॥]+["'”’»)\]]*(?=\s)|[。！？｡]+["'”’」』）)]*|[\r\n]+""")


def sentence(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return chunk ends at the ends of sentences; `spans` are the characters of each token.

    >>> sentence("One. Two!", [(0, 3), (3, 4), (5, 8), (8, 9)])
    [2, 4]
    """
    # A token belongs to the sentence in which it ends, since many tokenizers begin tokens with white space. Some give
    # all bytes of one character the same span; `max` keeps the ends in order, so that these tokens stay together.
    token_ends = list(accumulate((end for _, end in spans), max))
    ends = {bisect_right(token_ends, match.end()) for match in _SENTENCE_END.finditer(text)}
    return [*sorted(end for end in ends if 0 < end < len(spans)), len(spans)]


def fit(ends: Sequence[int], room: int) -> int:
    """Return how many leading tokens fit into `room` positions, together with one mark per chunk they touch.

    >>> fit([3, 6, 7], 10), fit([3, 6, 7], 9), fit([3, 6, 7], 5), fit([3, 6, 7], 4)
    (7, 6, 3, 3)
    """
    best = 0
    for marks, end in enumerate(ends, start=1):
        best = max(best, min(end, room - marks))
        if best < end:
            break
    return best


def cut(content: Content, room: int, side: str = "right") -> Content:
    """Truncate a text on one side so that it fits into `room` positions with its marks.

    >>> cut(Content([1, 2, 3, 4, 5], [2, 4, 5]), room=5)
    Content(ids=[1, 2, 3], ends=[2, 3])
    >>> cut(Content([1, 2, 3, 4, 5], [2, 4, 5]), room=5, side="left")
    Content(ids=[3, 4, 5], ends=[2, 3])
    """
    count = len(content.ids)
    ends = content.ends if side == "right" else [count - start for start in reversed([0, *content.ends[:-1]])]
    return keep(content, fit(ends, room), side)


def keep(content: Content, most: int, side: str = "right") -> Content:
    """Truncate a text on one side to at most `most` tokens, and its chunk ends with it."""
    drop = max(0, len(content.ids) - most)
    if side == "left":
        return Content(content.ids[drop:], [end - drop for end in content.ends if end > drop] or [0])
    left = len(content.ids) - drop
    return Content(content.ids[:left], [*(end for end in content.ends if end < left), left])


def cut_all(texts: Sequence[Content], room: int, side: str = "right") -> list[Content]:
    """Truncate the longest text first, as tokenizers do with pairs, until all fit into `room` with their marks.

    >>> [text.ids for text in cut_all([Content([1, 2, 3, 4], [4]), Content([5], [1])], room=5)]
    [[1, 2], [5]]
    """

    def total(most: int) -> int:
        return sum(cost(keep(text, most, side)) for text in texts)

    if sum(map(cost, texts)) <= room:
        return list(texts)
    # Find the highest level at which all fit; spare room goes to the longest text, the last of equal ones.
    low, high = 0, max(len(text.ids) for text in texts)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if total(middle) <= room else (low, middle - 1)
    result = [keep(text, low, side) for text in texts]
    spare = room - total(low)
    for place in sorted(range(len(texts)), key=lambda place: (-len(texts[place].ids), -place)):
        before = cost(result[place])
        result[place] = cut(texts[place], before + spare, side)
        spare -= cost(result[place]) - before
    return result


def cost(content: Content) -> int:
    """Return how many positions a text takes with its marks."""
    return len(content.ids) + len(content.ends)


def assemble(
    texts: Sequence[Content],
    template: Template,
    marker: Marker,
    *,
    most: int | None = None,
    side: str = "right",
    prompt: int = 0,
) -> ModelInput:
    """Assemble one text or a pair with marks and special tokens, truncated to `most` positions.

    The first `prompt` content tokens of the first text are a prompt; the row's `prompt` is its number of positions,
    including special tokens before it and marks of chunks that are all prompt.

    >>> bert = Template(before=(101,), between=(102,), after=(102,))
    >>> row = assemble([Content([7, 8, 9], [2, 3])], bert, Marker(102))
    >>> row.ids, [int(mark) for mark in row.marks]
    ([101, 7, 8, 102, 9, 102], [0, 0, 0, 1, 0, 1])
    >>> assemble([Content([7, 8, 9], [2, 3])], bert, Marker(102), most=5).ids
    [101, 7, 8, 102]
    """
    around = template.around(len(texts))
    if most is not None:
        # A special token that serves as a mark takes no extra room.
        own = sum(bool(closing if marker.closes else opening) for opening, closing in around)
        room = most - sum(len(opening) + len(closing) for opening, closing in around) + own
        if room <= len(texts):
            raise BadInput(
                f"max_seq_length={most} leaves no room for text beside special tokens and landmarks: "
                f"pass at least {most - room + len(texts) + 1}."
            )
        whole = len(texts[0].ids)
        texts = cut_all(texts, room, side)
        if side == "left":
            prompt = max(0, prompt - (whole - len(texts[0].ids)))
    row = ModelInput()
    before, first, between, second, after = template.types
    kinds = [(before, first, after)] if len(texts) == 1 else [(before, first, between), (between, second, after)]
    for content, (opening, closing), (left, kind, right) in zip(texts, around, kinds, strict=True):
        row.add(opening, left, None if marker.closes else -1)
        _add_chunks(row, content, marker, kind, bool(closing if marker.closes else opening), prompt)
        row.add(closing, right, 0 if marker.closes else None)
        prompt = 0
    return row


def _add_chunks(row: ModelInput, content: Content, marker: Marker, kind: int, own: bool, prompt: int) -> None:
    """Append the chunks of one text and their marks; `own`: the tokenizer's token is the outermost mark.

    The row's prompt never includes the mark of the last chunk, nor, if marks open chunks, that of a chunk that is not
    all prompt, so that pooling has at least one mark.
    """
    start = 0
    for end in content.ends:
        final = end == content.ends[-1]
        if not marker.closes and not (own and start == 0):
            row.add([marker.token], kind, 0)
        row.add(content.ids[start:end], kind)
        if prompt > start and marker.closes:
            row.prompt = len(row.ids) - (end - min(end, prompt))
        if marker.closes and not (own and final):
            row.add([marker.token], kind, 0)
        if prompt >= end > 0 and not final:
            row.prompt = len(row.ids)
        start = end


def check_settings(interval: int, splitter: str, training_intervals: Sequence[int], marker: str) -> None:
    """Raise `BadInput` for settings that no landmark model can have, before a model is loaded."""
    choose(splitter, dict.fromkeys(SPLITTERS), "splitter")
    choose(marker, MARKERS, "marker")
    for value in (interval, *training_intervals):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(f"interval={value!r}: pass a whole number of tokens per chunk, at least 1.")
    if not training_intervals:
        raise BadInput("training_intervals is empty: pass at least one.")
