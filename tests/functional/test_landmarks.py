"""Landmark insertion: chunk ends, sentences, rows by hand, a slow reference, laws, prompts, bad input."""

import itertools
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional import landmarks
from cenote.functional.landmarks import (
    Content,
    Marker,
    ModelInput,
    Template,
    assemble,
    check_settings,
    cost,
    cut,
    cut_all,
    fit,
    fixed,
    keep,
    sentence,
)

BERT = Template(before=(101,), between=(102,), after=(102,), types=(0, 0, 0, 1, 1))
SEP, CLS = Marker(102), Marker(101, closes=False)


# The reference: the contract of landmark pooling, slow and plain.


def sides_of(template, texts):
    """The tokens that open and close each text. Between two, those that open a lone text open the second."""
    if texts == 1:
        return [(template.before, template.after)]
    size = len(template.before)
    opening = template.before if size and template.between[-size:] == template.before else ()
    closing = template.between[: len(template.between) - len(opening)]
    return [(template.before, closing), (opening, template.after)]


def slow_row(chunks_of_texts, template, marker):
    """Ids and marks of texts that are given as lists of chunks."""
    row = []
    for chunks, (opening, closing) in zip(chunks_of_texts, sides_of(template, len(chunks_of_texts)), strict=True):
        row += [(token, not marker.closes and place == len(opening) - 1) for place, token in enumerate(opening)]
        for place, chunk in enumerate(chunks):
            if not marker.closes and not (place == 0 and opening):
                row.append((marker.token, True))
            row += [(token, False) for token in chunk]
            if marker.closes and not (place == len(chunks) - 1 and closing):
                row.append((marker.token, True))
        row += [(token, marker.closes and place == 0) for place, token in enumerate(closing)]
    return [token for token, _ in row], [mark for _, mark in row]


def slow_chunks(content, first, last):
    """The chunks of a text of which only the tokens from `first` to `last` are left; one empty chunk if none is."""
    starts = [0, *content.ends[:-1]]
    pieces = [content.ids[max(s, first) : min(e, last)] for s, e in zip(starts, content.ends, strict=True)]
    return [piece for piece in pieces if piece] or [[]]


def windows(content, side):
    """Every way to cut a text on one side, the longest first."""
    count = len(content.ids)
    return [(0, n) if side == "right" else (count - n, count) for n in range(count, -1, -1)]


def slow_assemble(content, template, marker, most, side):
    for first, last in windows(content, side):
        ids, marks = slow_row([slow_chunks(content, first, last)], template, marker)
        if most is None or len(ids) <= most:
            return ids, marks
    return None


# Random inputs. Content tokens count from 1000, so that each is known wherever it ends up.

special = st.lists(st.integers(1, 9), max_size=2).map(tuple)
templates = st.builds(Template, before=special, between=special, after=special)
markers = st.builds(Marker, token=st.integers(1, 9), closes=st.booleans())
sides = st.sampled_from(["right", "left"])


@st.composite
def contents(draw, start=1000, most=14):
    count = draw(st.integers(0, most))
    inner = draw(st.sets(st.integers(1, count - 1))) if count > 1 else set()
    return Content(list(range(start, start + count)), [*sorted(inner), count])


pairs = st.tuples(contents(), contents(start=2000))


def own_marks(template, marker, texts):
    return sum(bool(closing if marker.closes else opening) for opening, closing in sides_of(template, texts))


def specials(template, texts):
    return sum(len(opening) + len(closing) for opening, closing in sides_of(template, texts))


def least(template, marker, texts):
    """The smallest limit that leaves room for one token: every special token, a mark per text, one token."""
    return specials(template, texts) + texts - own_marks(template, marker, texts) + 1


# Shapes.


@given(st.integers(0, 300), st.integers(1, 300))
def test_fixed_chunks_are_full_but_for_the_last(count, interval):
    sizes = [end - start for start, end in itertools.pairwise([0, *fixed(count, interval)])]
    assert sum(sizes) == count
    assert all(size == interval for size in sizes[:-1])
    assert 0 <= sizes[-1] <= interval
    assert sizes[-1] > 0 or count == 0


# Sentences.


def split(text, pattern=r"\w+|[^\w\s]"):
    """The sentences of a text, by tokens that are words and signs."""
    spans = [match.span() for match in re.finditer(pattern, text)]
    ends = sentence(text, spans)
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
        ("我们去公园吧！好吗？「是的。」他说", ["我们去公园吧！", "好吗？", "「是的。」", "他说"]),
        ("吾輩は猫である。名前はまだ無い。", ["吾輩は猫である。", "名前はまだ無い。"]),
        ("हाँ। वह गया।", ["हाँ।", "वह गया।"]),
        ("هل أنت بخير؟ نعم.", ["هل أنت بخير؟", "نعم."]),
        ("«Стой!» Он ушёл.", ["«Стой!»", "Он ушёл."]),
        # An abbreviation before a space ends a chunk: one too many costs a token, a list of them serves one language.
        ("Dr. Smith left. U.S. law", ["Dr.", "Smith left.", "U.S.", "law"]),
    ],
)
def test_sentence_ends_in_many_languages(text, sentences):
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
def test_sentence_ends_for_the_spans_of_tokenizers(text, spans, ends):
    assert sentence(text, spans) == ends


@given(st.text(alphabet="ab .!?\n。”)"), st.sampled_from([r"\w+|[^\w\s]", r"\s*\w+|\s*[^\w\s]", r"."]))
def test_sentence_ends_increase_to_the_end_of_the_text(text, pattern):
    spans = [match.span() for match in re.finditer(pattern, text)]
    ends = sentence(text, spans)
    assert ends[-1] == len(spans)
    assert all(0 < a < b for a, b in itertools.pairwise(ends))


# By hand.


def test_one_text_gets_marks_at_its_chunk_ends():
    row = assemble([Content([7, 8, 9], [2, 3])], BERT, SEP)
    assert row == ModelInput([101, 7, 8, 102, 9, 102], [0, 0, 0, 0, 0, 1], [False, False, False, True, False, True], 0)
    assert assemble([Content([7, 8], [2]), Content([5], [1])], BERT, SEP).types == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("template", "marker", "ids", "marked"),
    [
        (BERT, SEP, [101, 7, 102, 8, 102, 5, 102], [2, 4, 6]),
        (BERT, CLS, [101, 7, 101, 8, 102, 101, 5, 102], [0, 2, 5]),
        (Template((0,), (0,), ()), Marker(0, closes=False), [0, 7, 0, 8, 0, 5], [0, 2, 4]),  # BOS opens both texts
        (
            Template((0,), (2, 2), (2,)),
            Marker(2),
            [0, 7, 2, 8, 2, 2, 5, 2],
            [2, 4, 7],
        ),  # RoBERTa: one </s> closes
        (Template((), (1,), (1,)), Marker(2), [7, 2, 8, 1, 5, 1], [1, 3, 5]),  # T5, Qwen: nothing before
        (Template((), (), ()), Marker(2), [7, 2, 8, 2, 5, 2], [1, 3, 5]),  # no special tokens: all marks are inserted
        (Template((0,), (), ()), Marker(2), [0, 7, 2, 8, 2, 5, 2], [2, 4, 6]),
        (Template((0,), (0,), ()), Marker(2), [0, 7, 2, 8, 2, 0, 5, 2], [2, 4, 7]),  # Llama: BOS closes neither
        (Template((0,), (2, 0), (2,)), Marker(2), [0, 7, 2, 8, 2, 0, 5, 2], [2, 4, 7]),
    ],
)
def test_special_tokens_of_the_template_serve_as_marks(template, marker, ids, marked):
    row = assemble([Content([7, 8], [1, 2]), Content([5], [1])], template, marker)
    assert row.ids == ids
    assert [i for i, mark in enumerate(row.marks) if mark] == marked


def test_an_empty_text_has_one_landmark():
    for template in (BERT, Template((), (), ()), Template((), (), (1,)), Template((0,), (), ())):
        for marker in (SEP, CLS):
            assert sum(assemble([Content([], [0])], template, marker).marks) == 1
            assert sum(assemble([Content([], [0]), Content([], [0])], template, marker).marks) == 2


@pytest.mark.parametrize(
    ("side", "most", "ids"),
    [
        ("right", 9, [101, 1, 2, 3, 102, 4, 5, 102]),  # all
        ("right", 8, [101, 1, 2, 3, 102, 4, 5, 102]),
        ("right", 7, [101, 1, 2, 3, 102, 4, 102]),
        ("right", 6, [101, 1, 2, 3, 102]),  # a fourth token would need a mark of its own
        ("right", 5, [101, 1, 2, 3, 102]),
        ("right", 3, [101, 1, 102]),
        ("left", 7, [101, 2, 3, 102, 4, 5, 102]),
        ("left", 6, [101, 3, 102, 4, 5, 102]),
        ("left", 5, [101, 4, 5, 102]),
        ("left", 3, [101, 5, 102]),
    ],
)
def test_room_for_marks_is_reserved(side, most, ids):
    assert assemble([Content([1, 2, 3, 4, 5], [3, 5])], BERT, SEP, most=most, side=side).ids == ids


# Against the reference.


@given(contents(), templates, markers)
def test_whole_texts_equal_the_reference(content, template, marker):
    row = assemble([content], template, marker)
    assert (row.ids, row.marks) == slow_assemble(content, template, marker, None, "right")
    assert len(row.ids) == len(row.types) == len(row.marks)


@settings(max_examples=300)
@given(contents(), templates, markers, st.integers(0, 20), sides)
def test_truncated_texts_equal_the_reference(content, template, marker, spare, side):
    most = least(template, marker, 1) + spare
    row = assemble([content], template, marker, most=most, side=side)
    assert (row.ids, row.marks) == slow_assemble(content, template, marker, most, side)


@settings(max_examples=300)
@given(pairs, templates, markers, st.integers(0, 30), sides)
def test_truncated_pairs_cannot_keep_one_token_more(texts, template, marker, spare, side):
    most = least(template, marker, 2) + spare
    row = assemble(texts, template, marker, most=most, side=side)
    assert len(row.ids) <= most
    held = [[i for i in row.ids if start <= i < start + 1000] for start in (1000, 2000)]
    sizes = [len(ids) for ids in held]

    def build(left):
        chosen = [windows(text, side)[len(text.ids) - n] for text, n in zip(texts, left, strict=True)]
        return slow_row([slow_chunks(text, *w) for text, w in zip(texts, chosen, strict=True)], template, marker)

    assert (row.ids, row.marks) == build(sizes)
    for grown in ([sizes[0] + 1, sizes[1]], [sizes[0], sizes[1] + 1]):
        if all(n <= len(text.ids) for n, text in zip(grown, texts, strict=True)):
            assert len(build(grown)[0]) > most


@given(pairs, st.integers(4, 30), sides)
def test_the_longer_text_of_a_pair_is_cut_first(texts, room, side):
    left = [len(text.ids) for text in cut_all(texts, room, side)]
    for mine, other in ((0, 1), (1, 0)):
        if left[mine] < len(texts[mine].ids):  # a text is cut only if the other is no longer, up to the room of a mark
            assert left[other] <= left[mine] + 2


# Laws.


@given(st.one_of(contents().map(lambda text: [text]), pairs), templates, markers, st.integers(0, 30), sides)
def test_every_content_token_lies_in_a_closed_chunk(texts, template, marker, spare, side):
    most = least(template, marker, len(texts)) + spare
    row = assemble(texts, template, marker, most=most, side=side)
    assert len(row.ids) <= most
    for start, text in zip((1000, 2000), texts, strict=False):
        places = [i for i, token in enumerate(row.ids) if token in text.ids]
        others = [i for i, token in enumerate(row.ids) if token >= 1000 and not start <= token < start + 1000]
        if not places:
            continue
        # A mark closes the text, or opens it, before anything of the other text begins.
        if marker.closes:
            end = min((i for i in others if i > places[-1]), default=len(row.ids))
            assert any(row.marks[places[-1] + 1 : end])
        else:
            begin = max((i for i in others if i < places[0]), default=-1)
            assert any(row.marks[begin + 1 : places[0]])


@given(pairs, templates, st.integers(10, 19), st.one_of(st.none(), st.integers(0, 30)), sides)
def test_without_inserted_tokens_the_ids_are_the_tokenizers(texts, template, token, spare, side):
    """The inserted token is not in the template, so that it can be removed."""
    most = None if spare is None else least(template, Marker(token), 2) + spare
    row = assemble(texts, template, Marker(token), most=most, side=side)
    held = [[i for i in row.ids if start <= i < start + 1000] for start in (1000, 2000)]
    plain = [i for i in row.ids if i != token]
    assert plain == [*template.before, *held[0], *template.between, *held[1], *template.after]


def chunk_ends(row, texts, number):
    """The chunks of which tokens are left of one text of a row, at least one."""
    text = texts[number]
    left = {i - (1000, 2000)[number] for i in row.ids} & set(range(len(text.ids)))
    return [
        end
        for start, end in itertools.pairwise([0, *text.ends])
        if left & set(range(start, end)) or (not left and end == text.ends[-1])
    ]


@given(pairs, templates, markers, st.one_of(st.none(), st.integers(0, 30)), sides)
def test_there_are_as_many_marks_as_chunks_and_no_doubled_special(texts, template, marker, spare, side):
    most = None if spare is None else least(template, marker, 2) + spare
    row = assemble(texts, template, marker, most=most, side=side)
    assert sum(row.marks) == sum(len(chunk_ends(row, texts, number)) for number in (0, 1))
    inserted = sum(row.marks) - own_marks(template, marker, 2)
    content = sum(token >= 1000 for token in row.ids)
    assert len(row.ids) == content + inserted + specials(template, 2)


@given(contents(), st.integers(1, 20), sides)
def test_cut_keeps_as_much_as_fits(content, room, side):
    result = cut(content, room, side)
    assert cost(result) <= max(room, 1)
    assert result == keep(content, len(result.ids), side)
    if len(result.ids) < len(content.ids):
        assert cost(keep(content, len(result.ids) + 1, side)) > room
    assert result.ids == (content.ids[: len(result.ids)] if side == "right" else content.ids[-len(result.ids) or 99 :])


@given(contents(), st.integers(1, 30))
def test_fit_is_the_largest_that_fits(content, room):
    def needs(count):
        return count + (next(i for i, end in enumerate(content.ends, 1) if end >= count))

    assert fit(content.ends, room) == max(n for n in range(len(content.ids) + 1) if n == 0 or needs(n) <= room)


@given(contents(), templates, markers, sides)
def test_the_smallest_accepted_limit_holds_one_token(content, template, marker, side):
    assume(content.ids)
    most = least(template, marker, 1)
    row = assemble([content], template, marker, most=most, side=side)
    assert len(row.ids) == most
    with pytest.raises(BadInput, match=rf"max_seq_length={most - 1} leaves no room .* at least {most}\."):
        assemble([content], template, marker, most=most - 1, side=side)


# Prompts: `row.prompt` is the number of leading positions to skip.


def slow_prompt(row, template, prompt_ids):
    """Positions up to the last token of the prompt, and the marks that close chunks that are all prompt."""
    places = [i for i, token in enumerate(row.ids) if token in prompt_ids]
    if not places:
        return 0
    end = places[-1] + 1
    rest = [i for i, token in enumerate(row.ids) if i >= end and token >= 1000]
    while rest and end < rest[0] and row.marks[end]:
        end += 1
    return end


@given(contents(), templates, st.integers(0, 14), st.integers(1, 9))
def test_a_prompt_includes_special_tokens_before_it_and_marks_that_close_it(content, template, prompt, token):
    prompt = min(prompt, len(content.ids))
    row = assemble([content], template, Marker(token), prompt=prompt)
    assert row.prompt == slow_prompt(row, template, content.ids[:prompt])


@given(contents(), st.integers(0, 14), st.integers(0, 20), sides)
def test_a_truncated_prompt_counts_its_remaining_tokens(content, prompt, spare, side):
    prompt = min(prompt, len(content.ids))
    row = assemble([content], BERT, SEP, most=least(BERT, SEP, 1) + spare, side=side, prompt=prompt)
    left = [token for token in content.ids[:prompt] if token in row.ids]
    assert [token for token in row.ids[: row.prompt] if token >= 1000] == left


@given(contents(), templates, st.integers(0, 14))
def test_multi_cls_skips_chunks_that_are_all_prompt(content, template, prompt):
    prompt = min(prompt, len(content.ids))
    row = assemble([content], template, Marker(5, closes=False), prompt=prompt)
    assert sum(row.marks[: row.prompt]) == sum(end <= prompt for end in content.ends[:-1])


@given(st.one_of(contents().map(lambda text: [text]), pairs), templates, markers, st.integers(0, 14), sides)
def test_a_prompt_never_includes_the_last_mark(texts, template, marker, prompt, side):
    """Otherwise `include_prompt=False` would refuse every short text."""
    prompt = min(prompt, len(texts[0].ids))
    for most in (None, least(template, marker, len(texts)) + 3):
        row = assemble(texts, template, marker, most=most, side=side, prompt=prompt)
        assert any(row.marks[row.prompt :])


def test_the_second_text_has_no_prompt():
    row = assemble([Content([7], [1]), Content([5, 6], [2])], BERT, SEP, prompt=1)
    assert row.ids[row.prompt :] == [102, 5, 6, 102]


# Bad input.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *[((value, "fixed", [32], "landmark"), f"interval={value!r}: pass") for value in (0, 2.0, True, "32", None)],
        *[
            ((32, "variable", [32, value], "landmark"), f"interval={value!r}: pass a")
            for value in (-1, 2.0, True, None)
        ],
        ((32, "sentences", [32], "landmark"), "unknown splitter 'sentences'; did you mean 'sentence'"),
        ((32, "fixed", [32], "cls"), r"unknown marker 'cls'; .*There are: landmark, multi_cls"),
        ((32, "variable", [], "landmark"), "training_intervals is empty"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        check_settings(*settings)


def test_the_published_recipe_is_the_default():
    assert (landmarks.TRAINING_INTERVALS, landmarks.INTERVAL) == ((32, 64, 128, 256), 32)
