"""Where landmarks go: chunk ends, insertion into token ids, and the mask that remembers the places.

    [CLS] z1 [SEP] z2 [SEP] ... zn [SEP]

A text is cut into chunks z1 ... zn and each chunk is closed by a landmark; the tokenizer's own final special
token is the last one, so nothing is doubled. Every content token lies in a chunk that is closed: room for the
landmarks is reserved before a long text is cut. Landmarks are known by where they were put, never by their id,
since a text may contain the literal marker.

Everything here is lists of integers, one text at a time; tokenizers and tensors are the business of `cenote.nn`.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from cenote.errors import BadInput, choose

# The intervals that training draws from, and the one that serves afterwards, as the best reported recipe has them.
TRAINING_INTERVALS = (32, 64, 128, 256)
INTERVAL = 32

SPLITTERS: dict[str, str] = {
    "fixed": "every `interval` tokens",
    "variable": "as fixed; in training the interval of each text is drawn from `training_intervals`",
    "sentence": "at the ends of sentences",
}

# What each marker inserts: the tokenizer attributes to take the token from, the first that is set, and whether it
# closes a chunk or opens it.
MARKERS: dict[str, tuple[tuple[str, ...], bool]] = {
    "landmark": (("sep_token_id", "eos_token_id"), True),
    "multi_cls": (("cls_token_id", "bos_token_id"), False),
}


@dataclass(frozen=True)
class Template:
    """The special tokens that a tokenizer puts around a text, or around and between two.

    `types` are the token types of before, first text, between, second text, after.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Content:
    """One text as token ids without special tokens, and where each of its chunks ends."""

    ids: list[int]
    ends: list[int]


@dataclass
class Row:
    """One model input: ids, token types, which positions are marked, how many leading ones are the prompt's."""

    ids: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    marks: list[bool] = field(default_factory=list)
    prompt: int = 0

    def add(self, ids: Sequence[int], kind: int, marked: int | None = None) -> None:
        """Append tokens of one type, the one at index `marked` as a mark."""
        marks = [False] * len(ids)
        if marked is not None and ids:
            marks[marked] = True
        self.ids.extend(ids)
        self.types.extend([kind] * len(ids))
        self.marks.extend(marks)


@dataclass(frozen=True)
class Marker:
    """What is inserted: the token, and whether it closes each chunk (a landmark) or opens it (`multi_cls`)."""

    token: int
    closes: bool = True


def fixed(count: int, interval: int) -> list[int]:
    """Chunk ends every `interval` tokens; an empty text is one empty chunk.

    >>> fixed(7, 3), fixed(6, 3), fixed(0, 3)
    ([3, 6, 7], [3, 6], [0])
    """
    return [*range(interval, count, interval), count]


def variable(count: int, intervals: Sequence[int], draw: random.Random) -> list[int]:
    """Chunk ends at one interval drawn for this text.

    >>> variable(7, [3], random.Random(0))
    [3, 6, 7]
    """
    return fixed(count, draw.choice(intervals))


# A sentence ends with its closing punctuation and the quotes or brackets after it, before white space (none is
# written after full-width punctuation), or at a line break.
_SENTENCE_END = re.compile(r"""[.!?…]+["'”’)\]]*(?=\s)|[。！？｡]+["'”’」』）)]*|\n+""")


def sentence(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Chunk ends at the ends of sentences; `spans` are the characters of each token.

    >>> sentence("One. Two!", [(0, 3), (3, 4), (5, 8), (8, 9)])
    [2, 4]
    """
    starts: list[int] = []
    for start, _ in spans:  # some tokenizers give a token of many bytes several spans: keep them in order
        starts.append(max(start, starts[-1] if starts else 0))
    ends = {bisect_left(starts, match.end()) for match in _SENTENCE_END.finditer(text)}
    return [*sorted(end for end in ends if 0 < end < len(spans)), len(spans)]


def fit(ends: Sequence[int], room: int) -> int:
    """The most leading tokens that fit into `room` together with one mark for each chunk they touch.

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
    """The part of a text that fits into `room` with its marks; `side` is the one that loses tokens.

    >>> cut(Content([1, 2, 3, 4, 5], [2, 4, 5]), room=5)
    Content(ids=[1, 2, 3], ends=[2, 3])
    >>> cut(Content([1, 2, 3, 4, 5], [2, 4, 5]), room=5, side="left")
    Content(ids=[3, 4, 5], ends=[2, 3])
    """
    count = len(content.ids)
    ends = content.ends if side == "right" else [count - start for start in reversed([0, *content.ends[:-1]])]
    return keep(content, fit(ends, room), side)


def keep(content: Content, most: int, side: str = "right") -> Content:
    """At most `most` tokens of a text, and the chunk ends among them."""
    drop = max(0, len(content.ids) - most)
    if side == "left":
        return Content(content.ids[drop:], [end - drop for end in content.ends if end > drop] or [0])
    left = len(content.ids) - drop
    return Content(content.ids[:left], [*(end for end in content.ends if end < left), left])


def cut_all(texts: Sequence[Content], room: int, side: str = "right") -> list[Content]:
    """Cut the longest text first, as tokenizers do with pairs, until all fit with their marks.

    >>> [text.ids for text in cut_all([Content([1, 2, 3, 4], [4]), Content([5], [1])], room=5)]
    [[1, 2], [5]]
    """

    def total(most: int) -> int:
        return sum(cost(keep(text, most, side)) for text in texts)

    # The highest level at which all fit; what it leaves over goes to the first text that can still use it.
    low, high = 0, max(len(text.ids) for text in texts)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if total(middle) <= room else (low, middle - 1)
    spare = room - total(low)
    result = []
    for text in texts:
        kept = keep(text, low, side)
        more = cut(text, cost(kept) + spare, side)
        spare -= cost(more) - cost(kept)
        result.append(more)
    return result


def cost(content: Content) -> int:
    """How many positions a text takes with its marks."""
    return len(content.ids) + len(content.ends)


def assemble(
    texts: Sequence[Content],
    template: Template,
    marker: Marker,
    *,
    most: int | None = None,
    side: str = "right",
    prompt: int = 0,
) -> Row:
    """One text or a pair with its marks and special tokens, cut to `most` positions if need be.

    `prompt` content tokens at the start of the first text are a prompt; the row says how many positions that
    makes, with the special tokens before them and the marks of chunks that are all prompt.

    >>> bert = Template(before=(101,), between=(102,), after=(102,))
    >>> row = assemble([Content([7, 8, 9], [2, 3])], bert, Marker(102))
    >>> row.ids, [int(mark) for mark in row.marks]
    ([101, 7, 8, 102, 9, 102], [0, 0, 0, 1, 0, 1])
    >>> assemble([Content([7, 8, 9], [2, 3])], bert, Marker(102), most=5).ids
    [101, 7, 8, 102]
    """
    closings = [template.after] if len(texts) == 1 else [template.between, template.after]
    own = sum(map(bool, closings)) if marker.closes else bool(template.before)
    if most is not None:
        room = most - sum(map(len, (template.before, *closings))) + own
        if room <= len(texts):
            raise BadInput(
                f"max_seq_length={most} leaves no room for a token of text beside its special tokens and landmarks: "
                f"it takes at least {most - room + len(texts) + 1} here."
            )
        whole = len(texts[0].ids)
        texts = cut_all(texts, room, side)
        if side == "left":
            prompt = max(0, prompt - (whole - len(texts[0].ids)))
    row = Row()
    row.add(template.before, template.types[0], None if marker.closes else -1)
    for number, (content, closing) in enumerate(zip(texts, closings, strict=True)):
        last = number + 1 == len(texts)
        _add_chunks(row, content, marker, template.types[1 if number == 0 else 3], bool(closing), prompt)
        row.add(closing, template.types[4 if last else 2], 0 if marker.closes else None)
        prompt = 0
    return row


def _add_chunks(row: Row, content: Content, marker: Marker, kind: int, closed: bool, prompt: int) -> None:
    """The chunks of one text; `closed` says that a special token of the tokenizer's own follows."""
    start = 0
    for end in content.ends:
        final = end == content.ends[-1]
        if not (marker.closes or (row.marks and row.marks[-1])):
            row.add([marker.token], kind, 0)
        row.add(content.ids[start:end], kind)
        if prompt > start:
            row.prompt = len(row.ids) - (end - min(end, prompt))
        if marker.closes and not (final and closed):
            row.add([marker.token], kind, 0)
            if prompt >= end and not final:
                row.prompt += 1
        start = end


def check_settings(interval: int, splitter: str, training_intervals: Sequence[int], marker: str) -> None:
    """Refuse settings that no landmark model can have, before a model is loaded for them."""
    choose(splitter, SPLITTERS, "splitter")
    choose(marker, MARKERS, "marker")
    for value in (interval, *training_intervals):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(f"interval={value!r}: a chunk has a whole number of tokens, at least 1.")
    if not training_intervals:
        raise BadInput("training_intervals is empty: give at least one.")
