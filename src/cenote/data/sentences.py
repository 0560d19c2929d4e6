"""The sentences of a text, as places in it: prose, wrapped lines, lists, markup, code, scripts without full stops.

Lines that were wrapped are put together into paragraphs, and paragraphs are cut at the marks that end sentences. Each
step is one pass over the text, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

Span = tuple[int, int]

# Where a line ends; with a tag of HTML, so does the paragraph.
_BREAK = re.compile(
    r"(?i)\r\n|[\n\r\v\f\u2028\u2029]"
    r"|(?P<tag></?(?:br|p|li|ul|ol|div|h[1-6]|table|tr|td|th|blockquote|pre)\b[^<>\r\n]{0,200}>)"
)
# Before the words of a line or a sentence: indentation, quotes of mail, headings, comments of code, bullets.
_MARGIN = re.compile(r"(?:[\s>|]+|[#:/=_~^`*+•·▪●‣–—-]+(?=[\s>|]|$))*")
_QUOTES, _BULLETS = frozenset(">|:#/"), frozenset("*+•·▪●‣–—-")
# The number of an item; a speaker or a field, as in "Ann Lee: yes"; the space between columns.
_NUMBER = re.compile(r"(?:\(?(?:\d{1,3}|[a-z]|[ivx]{2,4})[.)]|\(?[A-Z]\))(?=\s)")
_LABEL = re.compile(r"\w+ ?:(?= )|[^\s:a-z].{0,40}?:(?=\s|$)")
_COLUMNS = re.compile(r"[^\s.!?:)](?: {3}| *\t)|\|$")
# Lines are wrapped at some column between these two; shorter and longer ones end where their writer wanted it.
_NARROWEST, _WIDEST = 40, 150

# Characters of scripts without spaces between words, and how many of them count as one word.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_PER_WORD = 2.5

# Marks that may end a sentence; marks that do, unless a Japanese one goes on; in Thai and Lao, spaces after 15 letters.
_CLOSING = r"(?:[\"'”’»)\]}›」』）】*_]|\[\d{1,3}\]|</\w{1,9}>)*"
_END = re.compile(
    rf"(?P<mark>[.!?…‼⁇⁈⁉։]+){_CLOSING}|[。！？｡।॥؟۔።။។།]+(?![」』）]+[\u3041-\u3096]){_CLOSING}"
    r"|(?<=[\u0e01-\u0e2e\u0e30-\u0e45\u0e47-\u0eff]{15}) +(?=[\u0e01-\u0eff])"
)
_BETWEEN = re.compile(rf"{_MARGIN.pattern}[\"'“‘„«‹(\[{{¿¡*_]*")
_BEFORE, _AFTER = re.compile(r"[\w.'’-]+\Z"), re.compile(r"[^\W_]+")
# What a full stop shortens: words, initials, and letters with full stops between them.
_SHORTENED = re.compile(
    r"(?:mrs?|ms|drs?|prof|st|[js]r|rev|hon|gen|col|capt|lt|sgt|govt?|sen|rep|vs|etc|al|eg|ie|cf|figs?|eqs?|vol|pp|eds?"
    r"|inc|ltd|corp?|co|dept|univ|esp|resp|approx|ca|est|mt|ft|(?!i\Z)[^\W\d_]|(?:[^\W\d_]{1,2}\.-?)+[^\W\d_]{1,2})"
)
# Words that begin a sentence even after those, if they have a capital letter.
_BEGINNING = re.compile(
    r"(?i)an?|the|th(?:is|at|ese|ose|ere|ey)|it|s?he|we|i|you|in|on|at|as|for|from|by|but|so|however|if|when|while|after"
    r"|what|my|his|her|their|our|its"
)

# A sentence of more words is cut at weaker marks, if it has any, and then at line breaks.
_LONGEST = 60
_WEAKER = (re.compile(r"[;:](?=\s)|[；：]"), re.compile(r"\n"))


class _Line(NamedTuple):
    start: int
    end: int
    width: int  # in columns
    opens: bool  # whether a paragraph begins with it, whatever its neighbours


def split_sentences(text: str) -> list[Span]:
    r"""Return the places of a text's sentences, in order; `text[start:end]` is one, without white space at its ends.

    A line break ends no sentence, unless the line is far shorter than its neighbours, or the next one is empty, an item
    of a list, a row of a table, or quoted otherwise. Marks of layout before a sentence, such as bullets and tags of
    HTML, are left out. What has no marks at all comes back as one long sentence.

    >>> text = "On page 5, Mr. Poe tells of the House of\nUsher. Was it read? Yes!\n\n- a list\n- of two"
    >>> [text[start:end] for start, end in split_sentences(text)]
    ['On page 5, Mr. Poe tells of the House of\nUsher.', 'Was it read?', 'Yes!', 'a list', 'of two']
    """
    sentences = chain.from_iterable(_sentences(text, *paragraph) for paragraph in _paragraphs(text))
    pieces = chain.from_iterable(_shorter(text, *sentence) for sentence in sentences)
    return [(start, end) for start, end in (_trim(text, *piece) for piece in pieces) if start < end]


def count_words(text: str) -> int:
    """Count the words of a text; where a script has no spaces, one for every two or three characters.

    >>> count_words("A pool, that a collapse made."), count_words("水池是由塌陷形成的")
    (6, 4)
    """
    unspaced = len(_UNSPACED.findall(text))
    words = _UNSPACED.sub(" ", text).split()
    return sum(any(map(str.isalnum, word)) for word in words) + round(unspaced / _PER_WORD)


def _paragraphs(text: str) -> Iterator[Span]:
    """Put together the lines that were wrapped."""
    lines = list(_lines(text))
    first = 0
    for at, line in enumerate(lines, 1):
        if at == len(lines) or lines[at].opens or _ends_early(text, lines[max(first, at - 2)], line, lines[at]):
            yield lines[first].start, line.end
            first = at


def _lines(text: str) -> Iterator[_Line]:
    """Yield the lines that hold words, without their margins."""
    place, quotes, opens = 0, "", True
    for found in chain(_BREAK.finditer(text), [None]):
        limit = found.start() if found else len(text)
        start, end = _trim(text, place, limit)
        row = bool(_COLUMNS.search(text, start, limit))
        if start < end:
            margin, before = text[place:start], quotes
            quotes = "".join(filter(_QUOTES.__contains__, margin))
            opens = opens or row or quotes != before or not _BULLETS.isdisjoint(margin.split())
            opens = opens or bool(_NUMBER.match(text, start, limit) or _LABEL.match(text, start, limit))
            yield _Line(start, end, end - start + len(_UNSPACED.findall(text, start, end)), opens)
        opens = start == end or row or bool(found and found["tag"])
        place = found.end() if found else limit


def _ends_early(text: str, before: _Line, line: _Line, following: _Line) -> bool:
    """Return whether a line had room for the next word, as after a heading, a verse, a line of code, a paragraph."""
    if line.width > _WIDEST or text[line.end - 1] in ":;{}":
        return True
    width = line.width + min(_skip(_AFTER, text, following.start, following.end) - following.start, 15)
    return width < max(_NARROWEST, 0.7 * max(before.width, following.width))


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a paragraph at the marks that end sentences."""
    small = text[start:end].islower()
    for found in _END.finditer(text, start, end):
        if not found["mark"] or _ends_sentence(text, start, end, found, small):
            yield start, found.end()
            start = _skip(_MARGIN, text, found.end(), end)
    yield start, end


def _ends_sentence(text: str, start: int, end: int, found: re.Match[str], small: bool) -> bool:
    """Return whether a mark ends the sentence from `start`, in a paragraph without capitals or with some."""
    mark, place, after = found["mark"], found.end(), _skip(_BETWEEN, text, found.end(), end)
    word = text[after : _skip(_AFTER, text, after, end)]
    begins = bool(_BEGINNING.fullmatch(word)) and word[0].isupper() and not text.startswith(".", after + len(word))
    strong = "!" in mark or "?" in mark
    if found.start() == start:
        return False
    if place < end and not text[place].isspace():  # a space was forgotten, or none belongs there
        return (begins and after == place and len(word) > 1) or (strong and bool(_UNSPACED.match(text, place)))
    goes_on = word[:1].islower() and not small
    if mark != "." or (goes_on and place > found.end("mark")):  # also an ellipsis, a quote
        return not goes_on or (strong and place == found.end("mark"))
    if text[found.start() - 1].isspace():  # a text with spaces before all marks
        return True
    before = _BEFORE.search(text, max(start, found.start() - 20), found.start())
    last = before[0].lower() if before else ""
    if _SHORTENED.fullmatch(last):
        return begins
    numbers = _skip(_NUMBER, text, start, end) == place  # "1. An item"
    return not numbers and (len(last) > 4 or not (goes_on or word[:1].isdigit()))


def _shorter(text: str, start: int, end: int, weaker: tuple[re.Pattern[str], ...] = _WEAKER) -> Iterator[Span]:
    """Cut a sentence that is too long at weaker marks."""
    if weaker and count_words(text[start:end]) > _LONGEST:
        places = [start, *(found.end() for found in weaker[0].finditer(text, start, end)), end]
        yield from chain.from_iterable(_shorter(text, *part, weaker[1:]) for part in pairwise(places))
    else:
        yield start, end


def _skip(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    """Return where a pattern that begins at `start` ends."""
    found = pattern.match(text, start, end)
    return found.end() if found else start


def _trim(text: str, start: int, end: int) -> Span:
    """Return a span without margins, without white space and frames at its end."""
    start = _skip(_MARGIN, text, start, end)
    while start < end and (text[end - 1].isspace() or text[end - 1] == "|"):
        end -= 1
    return start, end
