"""Sentences of texts of every kind: one written by hand of each, laws for any text, and time."""

import itertools
import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.data.builtin import read_builtin
from cenote.data.sentences import count_words, split_sentences

KINDS = {
    "prose": (
        "The pool is deep. Has anyone seen its ground? No! Nobody has; it may have none.",
        ["The pool is deep.", "Has anyone seen its ground?", "No!", "Nobody has; it may have none."],
    ),
    "wrapped lines": (
        "Nobody has ever seen the ground of this pool,\nso nobody can say for sure. But it is deep. We\nmeasured it.",
        [
            "Nobody has ever seen the ground of this pool,\nso nobody can say for sure.",
            "But it is deep.",
            "We\nmeasured it.",
        ],
    ),
    "a heading, then wrapped lines": (
        "What we know\nNobody has ever seen the ground of this pool, which is deeper\nthan any rope",
        ["What we know", "Nobody has ever seen the ground of this pool, which is deeper\nthan any rope"],
    ),
    "a long heading, and paragraphs without an empty line": (
        "What we know of the pool in the old forest\n"
        "Nobody has ever seen the ground of this pool, which is deeper than any\n"
        "rope that can be found in the town, or boat\nIt was measured with a lamp on a rope of wool",
        [
            "What we know of the pool in the old forest",
            "Nobody has ever seen the ground of this pool, which is deeper than any\n"
            "rope that can be found in the town, or boat",
            "It was measured with a lamp on a rope of wool",
        ],
    ),
    "a long word after a narrow line": (
        "This pool has no ground that is not\nimmeasurable",
        ["This pool has no ground that is not\nimmeasurable"],
    ),
    "paragraphs in single lines": (
        f"{'collapse ' * 18}end\n{'measures ' * 18}end\nA short one",
        [f"{'collapse ' * 18}end", f"{'measures ' * 18}end", "A short one"],
    ),
    "verse": (
        "The pool is deep,\nthe pool is round,\nand no one knows\nwhere is its ground",
        ["The pool is deep,", "the pool is round,", "and no one knows", "where is its ground"],
    ),
    "mail": (
        "From: ann@pools.org (Ann Lee)\nSubject: Re: The pool, and how deep it is\nLines: 9\n\n"
        "Bob Ray (bob@pools.org) writes:\n>> I wonder if it is one hundred metres deep\n"
        "> I read that this pool is more than one hundred \n> metres deep. Is that\n> true?\n\n"
        "Nobody has ever seen the ground of this pool, so\nnobody can say.\n\n"
        "-- \nAnn Lee                 Institute of Pools\nann@pools.org           Phone 12 34 56\n",
        [
            "From: ann@pools.org (Ann Lee)",
            "Subject: Re: The pool, and how deep it is",
            "Lines: 9",
            "Bob Ray (bob@pools.org) writes:",
            "I wonder if it is one hundred metres deep",
            "I read that this pool is more than one hundred \n> metres deep.",
            "Is that",  # the line is far shorter than the one before
            "true?",
            "Nobody has ever seen the ground of this pool, so\nnobody can say.",
            "Ann Lee                 Institute of Pools",
            "ann@pools.org           Phone 12 34 56",
        ],
    ),
    "lists": (
        "Take these:\n- a rope that is as long as you can find in\n  the shops of the town, however old or worn\n"
        "* a boat\n• a lamp\n1.\tRow out. Wait until the waves are gone and you see\n   the ground of the pool\n"
        "2) Let down the rope\n(c) pull it up\nd. measure how long the rope is, which is wet by now\niv) write it down",
        [
            "Take these:",
            "a rope that is as long as you can find in\n  the shops of the town, however old or worn",
            "a boat",
            "a lamp",
            "1.\tRow out.",
            "Wait until the waves are gone and you see\n   the ground of the pool",
            "2) Let down the rope",
            "(c) pull it up",
            "d. measure how long the rope is, which is wet by now",
            "iv) write it down",
        ],
    ),
    "a dash at the start of a line": (
        "The pool in the middle of the forest is deep\n-- or so they say, for nobody has seen the ground.",
        ["The pool in the middle of the forest is deep\n-- or so they say, for nobody has seen the ground."],
    ),
    "markup": (
        "<p>The pool is deep.<br />It is <b>cold.</b> And dark as the forest in the winter at night<br>"
        "Is it as dark as that?</p><ul><li>one</li><li>two</li></ul>",
        [
            "The pool is deep.",
            "It is <b>cold.</b>",
            "And dark as the forest in the winter at night",
            "Is it as dark as that?",
            "one",
            "two",
        ],
    ),
    "markdown": (
        "# The pool\nIt is **deep.** It is [cold](a.md).[1] See ![Its page](a.png)\n\nWhere it is\n-----------\n"
        "| name | depth |\n|---|---:|\n| Ik Kil | 48 m |\n\n```sh\nmake pool\n```\n> Quoted. Yes.\n***\nEnd",
        [
            "The pool",
            "It is **deep.**",
            "It is [cold](a.md).[1]",
            "See ![Its page](a.png)",
            "Where it is",
            "name | depth",
            "Ik Kil | 48 m",
            "```sh",
            "make pool",
            "Quoted.",
            "Yes.",
            "End",
        ],
    ),
    "columns": (
        "these are the pools and how many metres deep\npools that are deeper than all the others\t119\n"
        "pools that are not as deep as the others    48\nand these were all the pools that we measured",
        [
            "these are the pools and how many metres deep",
            "pools that are deeper than all the others\t119",
            "pools that are not as deep as the others    48",
            "and these were all the pools that we measured",
        ],
    ),
    "code": (
        "def depth(pool):\n    # It is measured with a rope, which takes a boat and\n    # an hour. Or two.\n"
        "    return pool.depth\n\n\nfor pool in pools_of_the_peninsula_by_depth:\n"
        "    print(pool, depth(pool), rope, boat, lamp)\n",
        [
            "def depth(pool):",
            "It is measured with a rope, which takes a boat and\n    # an hour.",
            "Or two.",
            "return pool.depth",
            "for pool in pools_of_the_peninsula_by_depth:",
            "print(pool, depth(pool), rope, boat, lamp)",
        ],
    ),
    "a docstring": (
        "Measure a pool\n\n>>> measure('Ik Kil')\n48\n\nArgs:\n    pool: its name. It must have one, or a place\n"
        "        where it is found by all those who look\n    rope: as long as you can find, in metres\n",
        [
            "Measure a pool",
            "measure('Ik Kil')",
            "48",
            "Args:",
            "pool: its name.",
            "It must have one, or a place\n        where it is found by all those who look",
            "rope: as long as you can find, in metres",
        ],
    ),
    "Chinese": (
        "水池是由塌陷形成的。它很深！你见过吗？“没有。”他说。版本3.0已发布,太好了!我们走吧",
        ["水池是由塌陷形成的。", "它很深！", "你见过吗？", "“没有。”", "他说。", "版本3.0已发布,太好了!", "我们走吧"],
    ),
    "Chinese in lines": (
        "今天天气很好，我们决定去附近的石灰岩水池游泳，那里的水又清\n又凉。下午我们就回家了。\n第二天下雨",
        ["今天天气很好，我们决定去附近的石灰岩水池游泳，那里的水又清\n又凉。", "下午我们就回家了。", "第二天下雨"],
    ),
    "Japanese": (
        "「深いですか。」と彼は聞いた。池は深い。「はい。」「本当？」",
        ["「深いですか。」と彼は聞いた。", "池は深い。", "「はい。」", "「本当？」"],
    ),
    "Thai": (
        "ทะเลสาบนี้เกิดจากการยุบตัวของหิน น้ำในทะเลสาบใสมากและลึกมาก นาย สมชาย ดำน้ำที่นี่ทุกปี",
        ["ทะเลสาบนี้เกิดจากการยุบตัวของหิน", "น้ำในทะเลสาบใสมากและลึกมาก", "นาย สมชาย ดำน้ำที่นี่ทุกปี"],
    ),
    "Hindi": (
        "यह झील चट्टान के धँसने से बनी है। पानी बहुत साफ़ है। क्या आपने इसे देखा है?",
        ["यह झील चट्टान के धँसने से बनी है।", "पानी बहुत साफ़ है।", "क्या आपने इसे देखा है?"],
    ),
    "Arabic": (
        "هذه البحيرة عميقة جدا. هل رأيتها من قبل؟ نعم، رأيتها.",
        ["هذه البحيرة عميقة جدا.", "هل رأيتها من قبل؟", "نعم، رأيتها."],
    ),
    "Cyrillic": (
        "Его написал А. С. Пушкин. Книга вышла в 1833 г. и имела успех! Да.",
        ["Его написал А. С. Пушкин.", "Книга вышла в 1833 г. и имела успех!", "Да."],
    ),
    "Spanish": ("No sé. ¿Es hondo? ¡Sí! «No.» Bien.", ["No sé.", "¿Es hondo?", "¡Sí!", "«No.»", "Bien."]),
    "no marks": ("it just goes on and on as people write on a phone",) * 2,
    "a transcript": (
        "A: Is it deep?\nB: Yes, it is. Very\nspeaker_1: and nobody has ever seen the ground of it\n"
        "Ann Lee: nobody knows how deep it may be then\n[00:12] Bob: no",
        [
            "A: Is it deep?",
            "B: Yes, it is.",
            "Very",
            "speaker_1: and nobody has ever seen the ground of it",
            "Ann Lee: nobody knows how deep it may be then",
            "[00:12] Bob: no",
        ],
    ),
    "spaces before all marks": (
        "The pool is deep . it 's cold , too . Is it ? yes , said Poe .",
        ["The pool is deep .", "it 's cold , too .", "Is it ?", "yes , said Poe ."],
    ),
    "abbreviations": (
        "Dr. Poe, e.g. in the U.S. Army, drew Fig. 3 of J. R. R. Tolkien's book. He left the U.S. He came at 5 p.m. on "
        "Jan. 5. It is No. 7, approx. five, by Smith et al. (1990). Ask J. A. Smith, J.-P. Sartre, etc. and so on. "
        "So do I. Yes.",
        [
            "Dr. Poe, e.g. in the U.S. Army, drew Fig. 3 of J. R. R. Tolkien's book.",
            "He left the U.S.",
            "He came at 5 p.m. on Jan. 5.",
            "It is No. 7, approx. five, by Smith et al. (1990).",
            "Ask J. A. Smith, J.-P. Sartre, etc. and so on.",
            "So do I.",
            "Yes.",
        ],
    ),
    "short words that are no abbreviations": (
        "I can't. Nobody can. He said no. Never.",
        ["I can't.", "Nobody can.", "He said no.", "Never."],
    ),
    "decimals and addresses": (
        "It is 3.50 m, see http://a.org/b?c=d.html and www.b.com. Version 2.0 is next. Use COMMAND.COM or .NET here.",
        [
            "It is 3.50 m, see http://a.org/b?c=d.html and www.b.com.",
            "Version 2.0 is next.",
            "Use COMMAND.COM or .NET here.",
        ],
    ),
    "ellipses": (
        "Well... I do not know. It was... strange… Then it ended… and began again. ...So",
        ["Well...", "I do not know.", "It was... strange…", "Then it ended… and began again.", "...So"],
    ),
    "quotes": (
        'He said "Stop." She did not. "Why?" he asked. (It was late.) “Yes!” ‘No.’ He said "never." and left.',
        [
            'He said "Stop."',
            "She did not.",
            '"Why?" he asked.',
            "(It was late.)",
            "“Yes!”",
            "‘No.’",
            'He said "never." and left.',
        ],
    ),
    "capitals": (
        "WARNING: DO NOT OPEN. DR. SMITH IS OUT. CALL BACK AT 5 P.M. THE DOOR IS SHUT!",
        ["WARNING: DO NOT OPEN.", "DR. SMITH IS OUT.", "CALL BACK AT 5 P.M.", "THE DOOR IS SHUT!"],
    ),
    "no capitals": (
        "i saw it. it was bad. e.g. the plot. then i left",
        ["i saw it.", "it was bad.", "e.g. the plot.", "then i left"],
    ),
    "small letters after a full stop": (
        "The plot is awful. then I left the cinema approx. at ten, and env. one hour late.",
        ["The plot is awful.", "then I left the cinema approx. at ten, and env. one hour late."],
    ),
    "forgotten spaces": (
        "A bad film.It was long.But os.Path and vitamin.A are not. J.A. Smith agrees.",
        ["A bad film.", "It was long.", "But os.Path and vitamin.A are not.", "J.A. Smith agrees."],
    ),
    "a long sentence": (
        f"{'word ' * 30}end; {'word ' * 30}end: {'word ' * 10}end.",
        [f"{'word ' * 30}end;", f"{'word ' * 30}end:", f"{'word ' * 10}end."],
    ),
}


# Any text, with much of what the rules look for.
MARKS = st.sampled_from("\n\n\n\r\t\u2028\x85   >|-#.!?…;:。」と।؟()*'\x00\u200b\ud800😀I")
TAGS = st.sampled_from(["1. ", "a)", "A: ", "=====", "<br />", "</p>", "<p", ". ", "...", '?"', "[1]", "3.5"])
WORDS = st.sampled_from(["The", "pool", "e.g.", "Dr", "U.S", "水池", "word " * 20, "ท" * 15, "a" * 40])
TEXTS = st.lists(st.one_of(MARKS, MARKS, TAGS, WORDS, st.text(max_size=3)), max_size=40).map("".join)
LAYOUT = re.compile(r"(?:[\s>|#:/=_~^`*+•·▪●‣–—-]|</?(?:br|p)\b[^<>\n]*>)*")


def pieces(text):
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_split_by_hand(kind):
    text, expected = KINDS[kind]
    assert pieces(text) == ([expected] if isinstance(expected, str) else expected)


@given(TEXTS)
@settings(max_examples=500, deadline=None)
def test_sentences_are_in_order_and_leave_only_layout_out(text):
    spans = split_sentences(text)
    for start, end in spans:
        assert text[start:end]
        assert text[start:end] == text[start:end].strip()
    for (_, end), (start, _) in pairwise([(0, 0), *spans, (len(text), len(text))]):
        assert end <= start
        assert LAYOUT.fullmatch(text, end, start), text[end:start]


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_ends_of_lines_may_be_those_of_windows(text):
    text = text.replace("\r", "")
    assert pieces(text.replace("\n", "\r\n")) == [piece.replace("\n", "\r\n") for piece in pieces(text)]


@given(TEXTS, TEXTS)
@settings(max_examples=300, deadline=None)
def test_paragraphs_split_as_each_does_alone(first, second):
    assert pieces(f"{first}\n\n{second}") == pieces(first) + pieces(second)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "> \n> \n", "-----", "- ", "<br/>", "|"])
def test_texts_without_words_have_no_sentences(text):
    assert split_sentences(text) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It's well-known, e.g. in the U.S.: see http://a.org/b?c=d -- or not.", 10),
        ("यह झील बहुत गहरी है।", 5),
        ("hàng trăm mét", 3),
        ("ทะเลสาบนี้", 4),
        ("水池。", 1),
        ("这个 pool 很深", 3),
        ("... -- !?", 0),
        ("1 2\n3", 3),
    ],
)
def test_words_are_counted(text, count):
    assert count_words(text) == count


def test_docstrings_split_into_sentences_of_readable_length():
    texts = itertools.islice(read_builtin(), 2000)
    lengths = [count_words(piece) for text in texts for piece in pieces(text.text)]
    assert max(lengths) <= 80
    assert 8 < sum(lengths) / len(lengths) < 12
    assert sum(length >= 6 for length in lengths) > 4000


# What is repeated, and what stands at the end.
REPEATED = {
    "spaces": (" ", "x"),
    "line breaks": ("\n", ""),
    "quotes": ("> ", "x"),
    "rules": ("-", "x"),
    "full stops": (".", "x"),
    "full stops and spaces": (". ", ""),
    "initials": ("a. ", ""),
    "closing marks": ('."', "x"),
    "letters": ("a", ""),
    "ideographs": ("水", ""),
    "digits": ("1", ""),
    "half a tag": ("<p ", ""),
    "fields": ("A: b\n", ""),
    "a mix": ("The pool. > It's 3.5 m\n\n- e.g. a\tb   c; 水池。 <br /> ...x !? ", ""),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_time_is_linear_in_the_characters(kind):
    """Eight times the characters would take 64 times as long where it is not. The shorter ones fail first."""
    part, end = REPEATED[kind]

    def time_of(length):
        text = (part * length)[:length] + end
        began = time.process_time()
        split_sentences(text)
        count_words(text)
        return time.process_time() - began

    for length in (12_500, 100_000):
        long, short = (min(time_of(times * length) for _ in range(3)) for times in (8, 1))
        assert long < 24 * max(short, 1e-3)
