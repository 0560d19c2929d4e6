"""The input of `embed`: faults among its rows, the survey, repeated ids, and slices that never differ."""

import pickle
import tracemalloc
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.data.texts import Fault, Text, open_texts
from cenote.embedding import corpus
from cenote.embedding.corpus import (
    Source,
    checked_rows,
    cut_slices,
    hash_of,
    mark_repeated_ids,
    raise_unless_skipped,
    read_slices,
    refuse_other_texts,
    survey,
)
from cenote.errors import BadInput


def rows_of(texts):
    return open_texts(texts).read()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(corpus, "PART_TEXTS", 3)
    monkeypatch.setattr(corpus, "PART_CHARACTERS", 20)


# Rows.


def test_a_fault_is_raised_with_the_remedy_unless_it_is_skipped():
    rows = list(rows_of(["a", None, "c"]))
    with pytest.raises(BadInput, match=r"row 1: .* Or leave such rows out: on_error='skip' \(--on-error skip\)"):
        list(raise_unless_skipped(rows, skip=False))
    assert list(raise_unless_skipped(rows, skip=True)) == rows


# The survey.


def test_a_survey_counts_texts_and_has_a_fingerprint_of_them():
    one = survey(rows_of(["a", "b"]), skip=False)
    assert (one.rows, one.repeated) == (2, frozenset())
    others = (["a", "c"], ["b", "a"], ["a"], ["a", "b", ""], [("0", "a"), ("x", "b")])
    assert one.fingerprint == survey(rows_of([("0", "a"), ("1", "b")]), skip=False).fingerprint
    assert one.fingerprint not in {survey(rows_of(other), skip=False).fingerprint for other in others}


def test_a_survey_raises_the_first_fault_or_counts_it():
    rows = [Text("0", "a"), Fault("row 1: it is null."), Text("2", "c")]
    with pytest.raises(BadInput, match="row 1: it is null"):
        survey(rows, skip=False)
    found = survey([*rows, rows[0], rows[0]], skip=True)
    assert (found.rows, found.faults, found.repeats) == (5, 1, 2)
    found = survey(rows, skip=True)
    assert (found.rows, found.faults, found.repeats) == (3, 1, 0)
    assert found.fingerprint != survey([rows[0], rows[2]], skip=True).fingerprint


@given(names=st.lists(st.sampled_from("abcdefgh"), max_size=12))
def test_a_survey_finds_the_hashes_of_repeated_ids(names):
    found = survey((Text(name, "") for name in names), skip=False)
    assert found.repeated == {hash_of(name) for name in names if names.count(name) > 1}


def test_a_survey_reports_progress_and_keeps_eight_bytes_of_each_id():
    advanced = []
    rows = (Text(f"{number:07d}", "a") for number in range(100_000))
    tracemalloc.start()
    found = survey(rows, skip=False, advance=advanced.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert advanced == [10_000] * 10
    assert found.repeated == frozenset()
    assert peak < 100_000 * 8 * 1.3 + 2**20  # sorted in place; the lengths of 2^14 texts are Python numbers


# Repeated ids.


def test_the_first_of_several_is_kept_and_the_others_name_it():
    rows = list(rows_of([("x", "a"), ("y", "b"), ("x", "c"), ("x", "d")]))
    expected = [rows[0], rows[1]]
    for repeated in (survey(rows, skip=False).repeated, None):
        kept, faults = (list(mark_repeated_ids(rows, repeated))[part] for part in (slice(2), slice(2, 4)))
        assert kept == expected
        assert faults[0].why.startswith("rows 0 and 2 have the same id 'x': every vector needs an id of its own")
        assert faults[1].why.startswith("rows 0 and 3 have")


def test_an_id_of_more_digits_than_python_reads_is_a_name():
    rows = [Text("9" * 5000, "a"), Text("1", "b"), Text("9" * 5000, "c")]
    assert [isinstance(row, Fault) for row in mark_repeated_ids(rows, None)] == [False, False, True]


def test_ids_whose_hashes_agree_by_chance_are_not_repeated(monkeypatch):
    monkeypatch.setattr(corpus, "hash_of", lambda name: 7)
    rows = [Text("x", "a"), Text("y", "b"), Text("x", "c")]
    assert [isinstance(row, Fault) for row in mark_repeated_ids(rows, frozenset({7}))] == [False, False, True]


def test_row_numbers_take_no_memory_and_still_clash_with_a_given_id():
    rows = [("2", "given"), "a", "numbered 2"]
    assert [isinstance(row, Fault) for row in mark_repeated_ids(rows_of(rows), None)] == [False, False, True]
    count = 30_000
    tracemalloc.start()
    assert sum(1 for _ in mark_repeated_ids((Text(str(place), "") for place in range(count)), None)) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**17


def test_texts_that_change_between_two_readings_are_refused():
    rows = list(rows_of(["a", "b"]))
    surveyed = survey(rows, skip=False)
    assert list(refuse_other_texts(rows, surveyed)) == rows
    for other in (rows[:1], rows[::-1]):
        with pytest.raises(BadInput, match=r"changed .* between rows 0 and 1: run again with restart \(--restart\)"):
            list(refuse_other_texts(other, surveyed))


def test_a_change_is_found_soon_after_its_row(monkeypatch):
    monkeypatch.setattr(corpus, "_MARKED", 4)
    rows = [Text(str(row), "a") for row in range(22)]
    surveyed = survey(rows, skip=False)
    assert list(refuse_other_texts(iter(rows), surveyed)) == rows
    for other in ([*rows[:9], Text("9", "b"), *rows[10:]], rows[:9] + rows[10:]):
        reading, came = refuse_other_texts(iter(other), surveyed), []
        with pytest.raises(BadInput, match="between rows 8 and 11:"):
            came.extend(reading)
        assert came == other[: len(came)]
        assert len(came) < 12
    with pytest.raises(BadInput, match="between rows 20 and 21:"):
        list(refuse_other_texts(rows[:-1], surveyed))


def test_rows_that_were_added_are_refused_before_they_are_used():
    rows = [Text(str(row), "a") for row in range(3)]
    came = []
    with pytest.raises(BadInput, match=r"rows were added after the 2 that were checked .* first 2 rows alone"):
        came.extend(refuse_other_texts(rows, survey(rows[:2], skip=False)))
    assert came == rows[:2]


# Slices.


def test_a_slice_ends_by_texts_or_by_characters(small):
    parts = list(cut_slices(rows_of(["a", "b", "c", "d", "e" * 20, "f", "g" * 15, "h" * 30, "i"])))
    assert [(part.index, part.first, part.rows) for part in parts] == [(0, 0, 3), (1, 3, 2), (2, 5, 3), (3, 8, 1)]
    assert [part.places for part in parts] == [[0, 1, 2], [3, 4], [5, 6, 7], [8]]


def test_faults_count_as_rows_of_a_slice(small):
    parts = list(cut_slices([Text("x", "a"), Fault("why"), Fault("too"), Fault("also"), Text("y", "b")]))
    assert [part.rejected for part in parts] == [
        [{"row": 1, "why": "why"}, {"row": 2, "why": "too"}],
        [{"row": 3, "why": "also"}],
    ]
    assert [(part.texts, part.places) for part in parts] == [([("x", "a")], [0]), ([("y", "b")], [4])]


rows = st.lists(st.one_of(st.text("abc", max_size=12), st.none()), max_size=20)


@given(found=rows)
def test_slices_hold_every_row_once_in_order(found):
    before, corpus.PART_TEXTS, corpus.PART_CHARACTERS = (corpus.PART_TEXTS, corpus.PART_CHARACTERS), 3, 20
    try:
        parts = list(cut_slices(rows_of(found)))
        longer = list(cut_slices(rows_of([*found, "more"])))
    finally:
        corpus.PART_TEXTS, corpus.PART_CHARACTERS = before
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.first for part in parts] == [sum(part.rows for part in parts[:index]) for index in range(len(parts))]
    kept = [(place, text.text) for part in parts for place, text in zip(part.places, part.texts, strict=True)]
    assert kept == [(place, text) for place, text in enumerate(found) if text is not None]
    left = [one["row"] for part in parts for one in part.rejected]
    assert left == [place for place, text in enumerate(found) if text is None]
    assert all(part.rows > 0 for part in parts)
    # Later rows change no slice that is full.
    whole = [part.fingerprint for part in parts if part.rows == 3 or sum(len(text.text) for text in part.texts) >= 20]
    assert [part.fingerprint for part in longer][: len(whole)] == whole


def test_a_slice_is_yielded_before_the_next_row_is_read(small):
    asked = []

    def slow():
        for number in range(7):
            asked.append(number)
            yield str(number)

    parts = cut_slices(rows_of(slow()))
    next(parts)
    assert asked == [0, 1, 2]


def test_an_id_that_was_the_number_of_an_earlier_row_is_repeated():
    """Two files numbered from 0, one after the other, as a stream without a survey."""
    rows = rows_of([("0", "a"), ("1", "b"), ("0", "c"), ("1", "d"), ("01", "e"), ("4", "f")])
    found = list(mark_repeated_ids(rows, None))
    assert [isinstance(row, Fault) for row in found] == [False, False, True, True, False, False]
    assert found[2].why.startswith("rows 0 and 2 have the same id '0'")
    many = list(mark_repeated_ids(rows_of([*(str(row) for row in range(1000)), ("77", "again")]), None))
    assert [place for place, row in enumerate(many) if isinstance(row, Fault)] == [1000]


def test_a_fault_has_one_fingerprint_wherever_the_file_is():
    rows = [[Text("0", "a"), Fault(f"/{folder}/a.jsonl, line 2: not JSON")] for folder in ("one", "two")]
    one, two = (survey(some, skip=True).fingerprint for some in rows)
    assert one == two
    assert one != survey([Text("0", "a")], skip=True).fingerprint


ROWS = ["a pool", ("b", "a cave"), None, ("b", "the stone"), ("c", "light")]
SOURCE = Source.of(ROWS, "texts")


def test_rows_are_checked_with_a_survey_and_without():
    surveyed = survey(SOURCE.read(), skip=True)
    for known in (surveyed, None):
        found = list(checked_rows(SOURCE, known, skip=True))
        assert [isinstance(row, Fault) for row in found] == [False, False, True, True, False]
        assert "rows 1 and 3 have the same id 'b'" in found[3].why
        with pytest.raises(BadInput, match="row 2: the text is null"):
            list(checked_rows(SOURCE, known, skip=False))
    with pytest.raises(BadInput, match="changed while they were read"):
        list(checked_rows(SOURCE, surveyed, skip=True, rows=rows_of(ROWS[:4])))


def test_slices_are_the_same_wherever_they_are_read_again(small):
    surveyed = survey(SOURCE.read(), skip=True)
    expected = [vars(part) for part in cut_slices(checked_rows(SOURCE, surveyed, skip=True))]
    assert len(expected) > 1
    again = partial(read_slices, Source("texts", partial(rows_of, ROWS), True, None), surveyed, skip=True)
    elsewhere = pickle.loads(pickle.dumps(again))  # noqa: S301  our own
    for read in (again, elsewhere):
        assert [vars(part) for part in read()] == expected
        assert [vars(part) for part in read()] == expected


# Sources.


@pytest.mark.parametrize(
    ("texts", "rereadable", "count"),
    [
        (["a", "b"], True, 2),
        (("a", "b"), True, 2),
        (lambda: ["a", "b"], True, None),
        (iter(["a", "b"]), False, None),
        ((text for text in "ab"), False, None),
    ],
)
def test_a_source_knows_whether_it_can_be_read_again(texts, rereadable, count):
    source = Source.of(texts, "texts")
    assert (source.rereadable, source.count) == (rereadable, count)
    assert [row.text for row in source.read()] == ["a", "b"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a pool", r"no such file or folder: a pool\. .* A single text is passed in a list: \[text\]"),
        (b"a pool", "texts is b'a pool': pass strings"),
        ({"a": "one"}, "texts is a dict: pass a list of its texts"),
        (5, "texts is 5: pass strings"),
    ],
)
def test_a_source_that_holds_no_texts_is_refused(texts, message):
    with pytest.raises(BadInput, match=message):
        Source.of(texts, "texts")
