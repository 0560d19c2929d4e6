"""The input of `embed`: rows, what is wrong with them, and the parts that they fall into.

Rows of every kind; then what a survey sees; then laws of the parts: nothing lost, nothing moved, whoever reads.
"""

import pickle
import tracemalloc
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.data.rows import rows_of
from cenote.data.texts import Fault, Text
from cenote.embedding import corpus as sources
from cenote.embedding.corpus import checked, hash_of, sound, stretches, stretches_anew, survey, told_apart, unchanged
from cenote.errors import BadInput


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(sources, "PART_TEXTS", 3)
    monkeypatch.setattr(sources, "PART_CHARACTERS", 20)


# Rows.


def test_a_fault_is_raised_with_the_remedy_or_kept_for_skipping():
    rows = list(rows_of(["a", None, "c"]))
    with pytest.raises(BadInput, match=r"row 1: .* Or leave such rows out: on_error='skip' \(--on-error skip\)"):
        list(sound(rows, skip=False))
    assert list(sound(rows, skip=True)) == rows


# The survey.


def test_a_survey_counts_and_tells_texts_apart():
    one = survey(rows_of(["a", "b"]), skip=False)
    assert (one.rows, one.suspected) == (2, frozenset())
    others = (["a", "c"], ["b", "a"], ["a"], ["a", "b", ""], [("0", "a"), ("x", "b")])
    assert one.fingerprint == survey(rows_of([("0", "a"), ("1", "b")]), skip=False).fingerprint
    assert one.fingerprint not in {survey(rows_of(other), skip=False).fingerprint for other in others}


def test_a_survey_raises_the_first_fault_or_counts_it():
    rows = [Text("0", "a"), Fault("row 1: it is null."), Text("2", "c")]
    with pytest.raises(BadInput, match="row 1: it is null"):
        survey(rows, skip=False)
    found = survey(rows, skip=True)
    assert found.rows == 3
    assert found.fingerprint != survey([rows[0], rows[2]], skip=True).fingerprint


@given(names=st.lists(st.sampled_from("abcdefgh"), max_size=12))
def test_a_survey_suspects_ids_that_come_again(names):
    found = survey((Text(name, "") for name in names), skip=False)
    assert found.suspected == {hash_of(name) for name in names if names.count(name) > 1}


def test_a_survey_tells_how_far_it_is_and_keeps_eight_bytes_of_each_id():
    told = []
    rows = (Text(f"{number:07d}", "a") for number in range(200_000))
    tracemalloc.start()
    found = survey(rows, skip=False, progress=told.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told == list(range(10_000, 200_001, 10_000))
    assert found.suspected == frozenset()
    assert peak < 200_000 * 8 * 4 + 2**22  # sorting takes copies; a block of Python numbers is 2^16 of them


def test_hashes_of_a_block_and_the_next_are_compared():
    names = [str(number) for number in range(2**16 + 5)] + ["3"]
    assert survey((Text(name, "") for name in names), skip=False).suspected == {hash_of("3")}


# Ids that come again.


def test_the_first_of_several_is_kept_and_the_others_name_it():
    rows = list(rows_of([("x", "a"), ("y", "b"), ("x", "c"), ("x", "d")]))
    expected = [rows[0], rows[1]]
    for suspected in (survey(rows, skip=False).suspected, None):
        kept, faults = (list(told_apart(rows, suspected))[part] for part in (slice(2), slice(2, 4)))
        assert kept == expected
        assert faults[0].why.startswith("rows 0 and 2 have the same id 'x': their vectors could not be told apart")
        assert faults[1].why.startswith("rows 0 and 3 have")


def test_an_id_of_more_digits_than_python_reads_is_a_name():
    rows = [Text("9" * 5000, "a"), Text("1", "b"), Text("9" * 5000, "c")]
    assert [isinstance(row, Fault) for row in told_apart(rows, None)] == [False, False, True]


def test_ids_whose_hashes_agree_by_chance_are_told_apart(monkeypatch):
    monkeypatch.setattr(sources, "hash_of", lambda name: 7)
    rows = [Text("x", "a"), Text("y", "b"), Text("x", "c")]
    assert [isinstance(row, Fault) for row in told_apart(rows, frozenset({7}))] == [False, False, True]


def test_row_numbers_take_no_memory_and_still_clash_with_a_given_id():
    rows = [("2", "given"), "a", "numbered 2"]
    assert [isinstance(row, Fault) for row in told_apart(rows_of(rows), None)] == [False, False, True]
    count = 100_000
    tracemalloc.start()
    assert sum(1 for _ in told_apart((Text(str(place), "") for place in range(count)), None)) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**18


def test_texts_that_change_between_two_readings_are_told():
    rows = list(rows_of(["a", "b"]))
    looked = survey(rows, skip=False)
    assert list(unchanged(rows, looked)) == rows
    for other in ([*rows, Text("2", "c")], rows[:1], rows[::-1]):
        with pytest.raises(BadInput, match=r"changed while they were read: run again with restart \(--restart\)"):
            list(unchanged(other, looked))


# Parts.


def test_a_part_ends_by_texts_or_by_characters(small):
    parts = list(stretches(rows_of(["a", "b", "c", "d", "e" * 20, "f", "g" * 15, "h" * 30, "i"])))
    assert [(part.index, part.first, part.rows) for part in parts] == [(0, 0, 3), (1, 3, 2), (2, 5, 3), (3, 8, 1)]
    assert [part.places for part in parts] == [[0, 1, 2], [3, 4], [5, 6, 7], [8]]


def test_faults_count_as_rows_and_keep_their_places(small):
    parts = list(stretches([Text("x", "a"), Fault("why"), Fault("too"), Fault("also"), Text("y", "b")]))
    assert [part.rejected for part in parts] == [
        [{"row": 1, "why": "why"}, {"row": 2, "why": "too"}],
        [{"row": 3, "why": "also"}],
    ]
    assert [(part.texts, part.places) for part in parts] == [([("x", "a")], [0]), ([("y", "b")], [4])]


rows = st.lists(st.one_of(st.text("abc", max_size=12), st.none()), max_size=20)


@given(found=rows)
def test_parts_hold_every_row_once_in_order(found):
    before, sources.PART_TEXTS, sources.PART_CHARACTERS = (sources.PART_TEXTS, sources.PART_CHARACTERS), 3, 20
    try:
        parts = list(stretches(rows_of(found)))
        longer = list(stretches(rows_of([*found, "more"])))
    finally:
        sources.PART_TEXTS, sources.PART_CHARACTERS = before
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.first for part in parts] == [sum(part.rows for part in parts[:index]) for index in range(len(parts))]
    kept = [(place, text.text) for part in parts for place, text in zip(part.places, part.texts, strict=True)]
    assert kept == [(place, text) for place, text in enumerate(found) if text is not None]
    left = [one["row"] for part in parts for one in part.rejected]
    assert left == [place for place, text in enumerate(found) if text is None]
    assert all(part.rows > 0 for part in parts)
    # What comes later changes no part that is full.
    whole = [part.fingerprint for part in parts if part.rows == 3 or sum(len(text.text) for text in part.texts) >= 20]
    assert [part.fingerprint for part in longer][: len(whole)] == whole


def test_a_part_is_given_out_before_the_next_row_is_asked_for(small):
    asked = []

    def slow():
        for number in range(7):
            asked.append(number)
            yield str(number)

    parts = stretches(rows_of(slow()))
    next(parts)
    assert asked == [0, 1, 2]


def test_an_id_that_was_the_number_of_an_earlier_row_is_repeated():
    """Two files numbered from 0, one after the other, as a stream that nobody looked through."""
    rows = rows_of([("0", "a"), ("1", "b"), ("0", "c"), ("1", "d"), ("01", "e"), ("4", "f")])
    found = list(told_apart(rows, None))
    assert [isinstance(row, Fault) for row in found] == [False, False, True, True, False, False]
    assert found[2].why.startswith("rows 0 and 2 have the same id '0'")
    many = list(told_apart(rows_of([*(str(row) for row in range(1000)), ("77", "again")]), None))
    assert [place for place, row in enumerate(many) if isinstance(row, Fault)] == [1000]


def test_a_fault_has_one_fingerprint_wherever_the_file_is():
    rows = [[Text("0", "a"), Fault(f"/{folder}/a.jsonl, line 2: not JSON")] for folder in ("one", "two")]
    one, two = (survey(some, skip=True).fingerprint for some in rows)
    assert one == two
    assert one != survey([Text("0", "a")], skip=True).fingerprint


ROWS = ["a pool", ("b", "a cave"), None, ("b", "the stone"), ("c", "light")]


def test_rows_are_checked_whether_somebody_looked_or_not():
    looked = survey(rows_of(ROWS), skip=True)
    for seen in (looked, None):
        found = list(checked(rows_of(ROWS), seen, skip=True))
        assert [isinstance(row, Fault) for row in found] == [False, False, True, True, False]
        assert "rows 1 and 3 have the same id 'b'" in found[3].why
        with pytest.raises(BadInput, match="row 2: the text is null"):
            list(checked(rows_of(ROWS), seen, skip=False))
    with pytest.raises(BadInput, match="changed while they were read"):
        list(checked(rows_of(ROWS[:4]), looked, skip=True))


def test_parts_are_read_anew_wherever_that_is_sent(small):
    looked = survey(rows_of(ROWS), skip=True)
    parts = partial(stretches_anew, partial(rows_of, ROWS), looked, skip=True)
    expected = [vars(part) for part in stretches(checked(rows_of(ROWS), looked, skip=True))]
    assert len(expected) > 1
    there = pickle.loads(pickle.dumps(parts))  # noqa: S301  our own
    for read in (parts, there):
        assert [vars(part) for part in read()] == expected
        assert [vars(part) for part in read()] == expected
