"""The splitter of `landmarks` that cuts at sentences: by words -> by the spans of real tokenizers -> laws."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.functional.landmarks import sentence


def split(text, pattern=r"\w+|[^\w\s]"):
    """The sentences of a text, by tokens that are words and signs."""
    spans = [match.span() for match in re.finditer(pattern, text)]
    ends = sentence(text, spans)
    assert ends == sorted(set(ends))
    assert ends[-1] == len(spans)
    starts = [0, *ends[:-1]]
    return [text[spans[s][0] : spans[e - 1][1]] for s, e in zip(starts, ends, strict=True) if e > s]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("no end at all", ["no end at all"]),
        ("Just one.", ["Just one."]),
        ("Wait... what?! Yes…  No.", ["Wait...", "what?!", "Yes…", "No."]),
        ("He said “Stop!” Then (finally!) she left.", ["He said “Stop!”", "Then (finally!)", "she left."]),
        ("It cost 3.14 at example.com today. Yes.", ["It cost 3.14 at example.com today.", "Yes."]),
        ("A line\nanother\n\n\nand a third", ["A line", "another", "and a third"]),
        ("Windows\r\nlines\r\n\r\nhere", ["Windows", "lines", "here"]),
        (
            "今天天气很好。我们去公园吧！好吗？「是的。」他说",
            ["今天天气很好。", "我们去公园吧！", "好吗？", "「是的。」", "他说"],
        ),
        ("吾輩は猫である。名前はまだ無い。", ["吾輩は猫である。", "名前はまだ無い。"]),
        ("हाँ। वह गया।", ["हाँ।", "वह गया।"]),
        ("هل أنت بخير؟ نعم.", ["هل أنت بخير؟", "نعم."]),
        ("«Стой!» Он ушёл.", ["«Стой!»", "Он ушёл."]),
        # An abbreviation before a space ends a chunk: one too many costs a token, a list of them serves one language.
        ("Dr. Smith left. U.S. law", ["Dr.", "Smith left.", "U.S.", "law"]),
    ],
)
def test_sentences(text, sentences):
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "spans", "ends"),
    [
        ("", [], [0]),
        ("One.", [(0, 3), (3, 4)], [2]),
        ("One. Two", [(0, 3), (3, 4), (4, 8)], [2, 3]),  # byte-level tokens begin with the space before them
        ("One\nTwo", [(0, 3), (3, 4), (4, 7)], [2, 3]),  # the line break is a token: it closes the line
        ("One\nTwo six", [(0, 3), (3, 7), (7, 11)], [1, 3]),  # sentence pieces begin with the line break before them
        ("好。吗", [(0, 1), (0, 1), (1, 2), (1, 2), (2, 3), (2, 3)], [4, 6]),  # bytes of one character share its span
        ("\n\nOne. ", [(2, 5), (5, 6)], [2]),  # nothing before the first, nothing after the last
        ("Mr.X", [(0, 4)], [1]),
    ],
)
def test_sentences_by_the_spans_that_tokenizers_give(text, spans, ends):
    assert sentence(text, spans) == ends


@given(st.text(alphabet="ab .!?\n。”)"), st.sampled_from([r"\w+|[^\w\s]", r"\s*\w+|\s*[^\w\s]", r"."]))
def test_sentence_ends_are_ends(text, pattern):
    spans = [match.span() for match in re.finditer(pattern, text)]
    ends = sentence(text, spans)
    assert ends[-1] == len(spans)
    assert all(0 < a < b for a, b in itertools.pairwise(ends))
