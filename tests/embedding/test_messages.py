"""Messages between machines: slices arrive as they were sent, and errors keep their class."""

import datetime
from pathlib import Path

import pytest

from cenote.data.rows import Kept
from cenote.data.texts import Fault, open_texts
from cenote.embedding.corpus import cut_slices
from cenote.embedding.messages import error_answer, pack, raise_error, slice_messages, slice_of, unpack
from cenote.errors import BadInput, BadRows, CenoteError, UnsupportedModel


def parts_of(monkeypatch, rows):
    monkeypatch.setattr("cenote.embedding.corpus.PART_TEXTS", 3)
    return lambda: cut_slices(open_texts(rows).read())


ROWS = ["a pool", ("ID é", 'a "cave"\n\0😀 你好'), Fault("row 2: no text."), "", "the stone", ("x", "y"), "light"]


def test_stretches_arrive_as_they_were(monkeypatch):
    parts = parts_of(monkeypatch, ROWS)
    arrived = [slice_of(unpack(table)) for table in slice_messages(parts, Path.cwd())]
    assert len(arrived) == 3
    assert [vars(one) for one in arrived] == [vars(one) for one in parts()]


def test_kept_values_of_any_type_arrive_as_they_were(monkeypatch):
    values = [(datetime.date(2020, 1, row), {"k": [b"\0", None]}, row / 7) for row in range(1, 8)]
    rows = [Kept(str(row), "a pool", kept) for row, kept in enumerate(values)]
    monkeypatch.setattr("cenote.embedding.corpus.PART_TEXTS", 3)
    parts = lambda: cut_slices(rows, dict.fromkeys(("day", "meta", "share")))  # noqa: E731
    arrived = [slice_of(unpack(table)) for table in slice_messages(parts, Path.cwd())]
    assert [vars(one) for one in arrived] == [vars(one) for one in parts()]
    assert arrived[2].kept.to_pylist() == [{"day": values[6][0], "meta": {"k": [b"\0", None]}, "share": 1.0}]


def test_texts_are_read_in_the_callers_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(Path.cwd())  # and back again
    (tmp_path / "texts").write_text("a pool")
    rows = ([Path("texts").read_text()] for _ in range(1))
    parts = lambda: cut_slices(open_texts(next(rows)).read())  # noqa: E731
    (arrived,) = slice_messages(parts, tmp_path)
    assert unpack(arrived)["texts"] == [["0", "a pool"]]


def test_an_error_while_reading_comes_after_the_slices_before_it(monkeypatch):
    def rows():
        yield from ROWS[:4]
        raise OSError("the disk is gone")

    monkeypatch.setattr("cenote.embedding.corpus.PART_TEXTS", 3)
    first, last = map(unpack, slice_messages(lambda: cut_slices(open_texts(rows()).read()), Path.cwd()))
    assert first["rows"] == 3
    with pytest.raises(CenoteError, match=r"a worker on .* failed: OSError: the disk is gone"):
        raise_error(last)


@pytest.mark.parametrize("kind", [BadInput, BadRows, UnsupportedModel, CenoteError])
def test_errors_keep_their_class_and_words(kind):
    with pytest.raises(kind) as caught:
        raise_error(unpack(pack(error_answer(kind("row 8: é.")))))
    assert type(caught.value) is kind
    assert str(caught.value) == "row 8: é."


def test_an_unknown_class_becomes_the_base_class():
    class Usage(BadInput):
        pass

    with pytest.raises(CenoteError, match="no such thing"):
        raise_error(error_answer(Usage("no such thing.")))


def test_a_good_answer_raises_nothing():
    raise_error({"part": {}})
