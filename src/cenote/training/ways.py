"""Ways to draw pairs from one text: title and body, two spans, a sentence and its paragraph.

Every draw depends on the seed, the way and the id of the text alone, so that it does not change with other texts or
with their order. A new way is one function here and one row of `WAYS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from cenote.data.sentences import Span, count_words, split_sentences
from cenote.errors import BadInput, check_at_least, choose
from cenote.functional.draws import number_of

# A shorter sentence says too little to name its paragraph.
SHORTEST_SENTENCE = 6
# A paragraph of more words is cut between sentences: a model would read only its beginning.
LONGEST_PARAGRAPH = 200
# Both spans are drawn from a stretch of so many times the longest span: a long text changes its subject.
STRETCH = 4

# Between two sentences: an empty line, or tags of HTML that make one.
_NEW_PARAGRAPH = re.compile(r"(?i)\n[\s>|]*\n|\r[\s>|]*\r|(?:<br\s*/?>\s*){2}|</?(?:p|li|div|h[1-6]|td|tr)\b")


class Document(NamedTuple):
    """One text of a corpus, with its id and its title."""

    id: str
    text: str
    title: str | None = None


@dataclass(frozen=True)
class Settings:
    """How pairs are drawn from a text."""

    ways: tuple[str, ...]
    words: tuple[int, int]  # of a span, the fewest and the most
    keep: float  # share of the sentences that stay in their paragraph
    per_text: int  # pairs of each text and way, at most
    min_words: int  # of a text; also of a paragraph without its sentence
    seed: int


# The pairs of a text (query, positive), and counts of what was left out, by the keys of `LEFT_OUT`.
Drawn = tuple[list[tuple[str, str]], Mapping[str, int]]

# What may be left out: a noun, and why.
LEFT_OUT: dict[str, tuple[str, str]] = {
    "short_texts": ("text", "of too few words"),
    "no_title": ("text", "without a title"),
    "no_spans": ("text", "too short for two spans"),
    "no_sentence": ("text", "without a paragraph that is long enough"),
    "short_paragraphs": ("paragraph", "that are too short or have no long sentence"),
    "equal": ("pair", "whose query equals the positive"),
    "repeated": ("pair", "drawn before"),
    "few_negatives": ("pair", "with too few negatives"),
}


def check_settings(
    ways: str | Sequence[str], words: Sequence[int], keep: float, per_text: int, min_words: int, seed: int
) -> Settings:
    """Return the settings; raise `BadInput` if one has no legal value.

    >>> check_settings("title, spans", (16, 64), 0.1, 1, 10, 0).ways
    ('title', 'spans')
    """
    names = [name.strip() for name in ways.split(",")] if isinstance(ways, str) else list(ways)
    if not names:
        raise BadInput(f"there are no ways to draw pairs: name one or several of {', '.join(WAYS)}.")
    for name in names:
        choose(name, WAYS, "way")
    bounds = list(words)
    if len(bounds) != 2:
        raise BadInput(f"words={words!r}: pass the fewest and the most words of a span, such as 16,64.")
    low, high = (check_at_least(1, bound, "words") for bound in bounds)
    if low > high:
        raise BadInput(f"words={low},{high}: the first number is the fewest words of a span, and must not be larger.")
    return Settings(
        ways=tuple(dict.fromkeys(names)),
        words=(low, high),
        keep=check_share(keep, "keep"),
        per_text=check_at_least(1, per_text, "per_text"),
        min_words=check_at_least(1, min_words, "min_words"),
        seed=check_at_least(0, seed, "seed"),
    )


def check_share(value: float, name: str) -> float:
    """Return a share; raise `BadInput` if it is not a number from 0 to 1.

    >>> check_share(0.1, "keep")
    0.1
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise BadInput(f"{name}={value!r}: pass a number from 0 to 1.")
    return float(value)


def find_words(text: str) -> list[Span]:
    """Return the places of a text's words; where a script has no spaces, a word is two or three characters.

    >>> text = "A pool, 水池是由塌陷形成的"
    >>> [text[start:end] for start, end in find_words(text)]
    ['A', 'pool,', '水池', '是由', '塌陷', '形成的']
    """
    words: list[Span] = []
    for found in re.finditer(r"\S+", text):
        words.extend([found.span()] if found[0].isascii() else _parts(found[0], found.start()))
    return words


def _parts(word: str, start: int) -> Iterator[Span]:
    count = max(1, count_words(word))
    return pairwise(start + len(word) * number // count for number in range(count + 1))


def find_paragraphs(text: str) -> Iterator[list[Span]]:
    r"""Yield the sentences of each paragraph; one of more than `LONGEST_PARAGRAPH` words is cut between sentences.

    An empty line ends a paragraph, and so do tags of HTML.

    >>> [len(sentences) for sentences in find_paragraphs("It is a pool. It is deep.\n\nWhat made it? A cave.")]
    [2, 2]
    """
    paragraph: list[Span] = []
    words = 0
    for start, end in split_sentences(text):
        more = count_words(text[start:end])
        if paragraph and (_NEW_PARAGRAPH.search(text, paragraph[-1][1], start) or words + more > LONGEST_PARAGRAPH):
            yield paragraph
            paragraph, words = [], 0
        paragraph.append((start, end))
        words += more
    if paragraph:
        yield paragraph


# Ways.


def pair_title(document: Document, settings: Settings) -> Drawn:
    """Pair the title with the text, from whose beginning the title is removed: equal words are matched without reading.

    >>> settings = check_settings("title", (16, 64), 0.1, 1, 3, 0)
    >>> pair_title(Document("7", "Cenote. A pool that a collapse made.", "Cenote"), settings)
    ([('Cenote', 'A pool that a collapse made.')], {})
    """
    title, text = (document.title or "").strip(), document.text.strip()
    if not title:
        return [], {"no_title": 1}
    body = _without_title(text, title) or text
    return ([(title, body)], {}) if count_words(body) >= settings.min_words else ([], {"short_texts": 1})


def _without_title(text: str, title: str) -> str:
    """Return a text without a title at its beginning, and without marks and space between them.

    >>> _without_title("CENOTE: a pool", "Cenote"), _without_title("Cenotes are pools", "Cenote")
    ('a pool', 'Cenotes are pools')
    """
    rest = text[len(title) :]
    begins = text[: len(title)].casefold() == title.casefold() and not (title[-1].isalnum() and rest[:1].isalnum())
    return rest.lstrip(" \t\r\n.:;,|-–—") if begins else text


def pair_spans(document: Document, settings: Settings) -> Drawn:
    """Pair two spans of the text that do not overlap. Their lengths, their places and which is the query are drawn.

    >>> settings = check_settings("spans", (2, 3), 0.1, 1, 10, 0)
    >>> pair_spans(Document("7", "one two three four five six seven"), settings)
    ([('three four', 'five six seven')], {})
    """
    words = find_words(document.text)
    if len(words) < 2 * settings.words[0]:
        return [], {"no_spans": 1}
    numbers = range(settings.per_text)
    places = [_two_spans(len(words), settings, number, document.id) for number in numbers]
    return [(_cut(document.text, words, query), _cut(document.text, words, other)) for query, other in places], {}


def _two_spans(count: int, settings: Settings, number: int, name: str) -> tuple[Span, Span]:
    """Return two spans of a text of `count` words, as places of words; the first one is the query."""

    def one_of(choices: int, purpose: str) -> int:
        return number_of(settings.seed, "spans", number, purpose, name) % choices

    low, high = settings.words
    stretch = min(count, STRETCH * high)
    start = one_of(count - stretch + 1, "stretch")
    first = low + one_of(min(high, stretch - low) - low + 1, "first length")
    second = low + one_of(min(high, stretch - first) - low + 1, "second length")
    rest = stretch - first - second
    before, until = sorted(start + one_of(rest + 1, purpose) for purpose in ("one place", "another place"))
    spans = (before, before + first), (until + first, until + first + second)
    return spans if one_of(2, "order") else (spans[1], spans[0])


def _cut(text: str, words: Sequence[Span], span: Span) -> str:
    return text[words[span[0]][0] : words[span[1] - 1][1]]


def pair_sentence(document: Document, settings: Settings) -> Drawn:
    """Pair a sentence with its paragraph, from which it is removed unless the draw keeps it: the inverse cloze task.

    >>> settings = check_settings("sentence", (16, 64), 0.0, 1, 5, 0)
    >>> text = "What made this pool was a collapse. The water of the pool is deep."
    >>> pair_sentence(Document("7", text), settings)
    ([('The water of the pool is deep.', 'What made this pool was a collapse.')], {'short_paragraphs': 0})

    A sentence has at least `SHORTEST_SENTENCE` words, and the rest of its paragraph at least `min_words`.
    """

    def key(purpose: str, sentence: Span) -> int:
        return number_of(settings.seed, "sentence", sentence[0], purpose, document.id) % 2**53

    found: list[tuple[Span, Span]] = []
    short = 0
    for sentences in find_paragraphs(document.text):
        words = [count_words(document.text[start:end]) for start, end in sentences]
        least, most = SHORTEST_SENTENCE, sum(words) - settings.min_words
        usable = [sentence for sentence, count in zip(sentences, words, strict=True) if least <= count <= most]
        found += [(sentence, (sentences[0][0], sentences[-1][1])) for sentence in usable]
        short += not usable
    chosen = sorted(found, key=lambda place: key("choice", place[0]))[: settings.per_text]
    keeps = [key("keep", sentence) < settings.keep * 2**53 for sentence, _ in chosen]
    pairs = [_pair_of(document.text, *place, keep) for place, keep in zip(chosen, keeps, strict=True)]
    return pairs, {"short_paragraphs": short} if pairs else {"short_paragraphs": short, "no_sentence": 1}


def _pair_of(text: str, sentence: Span, paragraph: Span, keep: bool) -> tuple[str, str]:
    """Return a sentence and its paragraph, without the sentence unless it is to be kept."""
    query = text[slice(*sentence)]
    if keep:
        return query, text[slice(*paragraph)]
    before, after = text[paragraph[0] : sentence[0]], text[sentence[1] : paragraph[1]]
    return query, f"{before.rstrip()} {after.lstrip()}".strip()


# The one list of ways: the look-up, the flag and the error message derive from it.
WAYS: dict[str, Callable[[Document, Settings], Drawn]] = {
    "title": pair_title,
    "spans": pair_spans,
    "sentence": pair_sentence,
}
