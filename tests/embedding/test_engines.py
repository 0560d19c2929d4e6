"""Engines: slices are tokenised ahead in their order, and engines that cannot run are refused.

`read_ahead` runs with a fake encoder here; the bytes of the parts are tested with `embed`.
"""

import itertools
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

import cenote
from cenote.embedding import cluster as clusters
from cenote.embedding import corpus as sources
from cenote.embedding.embed import embed
from cenote.embedding.engines import read_ahead, refuse_engine
from cenote.errors import BadInput

TEXTS = ["a pool", "a cave", "the stone"]


@pytest.fixture
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


def encoder(prepare=lambda item: item):
    """Return a fake encoder."""
    return SimpleNamespace(model=torch.nn.Identity(), prepare=prepare)


# Reading ahead.


def test_slices_are_read_in_their_order():
    assert list(read_ahead([], encoder(), str)) == []
    assert list(read_ahead(range(4), encoder(lambda item: item + 1), str)) == ["1", "2", "3", "4"]


def test_the_next_is_prepared_in_another_thread_while_one_is_read():
    there = threading.Event()

    def prepare(item):
        if item == 1:
            there.set()
        return item, threading.get_ident()

    def read(prepared):
        if prepared[0] == 0:
            assert there.wait(30)
        return prepared

    (_, first), (_, second) = read_ahead([0, 1], encoder(prepare), read)
    assert first == threading.get_ident() != second


def test_a_slice_that_is_ready_comes_before_an_error_of_the_input():
    def items():
        yield from (0, 1)
        raise OSError("the pipe broke")

    came = []
    with pytest.raises(OSError, match="the pipe broke"):
        came.extend(read_ahead(items(), encoder(), str))
    assert came == ["0", "1"]


def test_a_slice_that_was_read_comes_before_an_error_in_the_next():
    def prepare(item):
        if item == 2:
            raise BadInput("row 2 is bad.")
        return item

    came = []
    with pytest.raises(BadInput, match="row 2 is bad"):
        came.extend(read_ahead(range(4), encoder(prepare), str))
    assert came == ["0", "1"]


# The local engine.


def test_it_notes_where_it_goes_on_and_where_it_stopped(model, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PART_TEXTS", 1)
    told, asked = [], itertools.count()
    plain = {"backend": "torch", "precision": "float32", "notify": told.append}
    assert not embed(model, TEXTS, tmp_path / "out", stop=lambda: next(asked) == 2, **plain).complete
    assert told == ["stopped: 2 texts are kept"]
    assert embed(model, TEXTS, tmp_path / "out", **plain).complete
    assert told[1:] == ["going on: 2 texts are embedded"]
    assert embed(model, TEXTS, tmp_path / "out", **plain).complete
    checked = "the footers of the parts were checked (--verify reads every page)"
    assert told[2:] == [f"all 3 texts are embedded already: {checked}"]


def test_finished_parts_are_a_step_of_their_own(model, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PART_TEXTS", 1)
    plain = {"backend": "torch", "precision": "float32"}
    embed(model, TEXTS, tmp_path / "out", **plain)
    for index in (1, 2):
        (tmp_path / "out" / f"part-0000{index}.parquet").unlink()
    told = []
    embed(model, TEXTS, tmp_path / "out", progress=lambda *step: told.append(step), **plain)
    first = told.index(("embedding", 1, 3))
    assert told[first - 2 : first] == [("comparing the texts of finished parts", done, 1) for done in (0, 1)]
    assert told[-1] == ("embedding", 3, 3)
    (tmp_path / "out" / "part-00001.parquet").unlink()
    told.clear()
    embed(model, TEXTS, tmp_path / "out", progress=lambda *step: told.append(step), **plain)
    assert [done for name, done, _ in told if name.startswith("comparing")] == [0, 1]  # and not that of part 2


def test_a_run_that_is_to_stop_asks_for_no_more_texts(model, tmp_path, monkeypatch):
    """The input may be a pipe, which blocks until it has the texts of a part."""
    monkeypatch.setattr(sources, "PART_TEXTS", 2)
    asked = threading.Event()

    def texts():
        for row in range(9):
            assert not asked.is_set(), f"row {row} was read"
            yield f"text {row}"

    def part(end):
        if end == 4:
            asked.set()

    plain = {"backend": "torch", "precision": "float32"}
    assert not embed(model, texts(), tmp_path / "out", part=part, stop=asked.is_set, **plain).complete
    assert len(list((tmp_path / "out").glob("part-*"))) == 2


def test_an_empty_stream_is_named(model, tmp_path):
    plain = {"backend": "torch", "precision": "float32"}
    for source in ("standard input", "a socket"):  # a second time too, by its own name
        with pytest.raises(BadInput, match=f"there are no texts in '{source}'"):
            embed(model, iter([]), tmp_path / "out", source=source, **plain)


# Refused before anything is done.


def test_without_ray_the_message_has_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)
    with pytest.raises(BadInput, match=r"engine 'ray' needs ray, which is missing .*pip install 'cenote\[ray\]'"):
        refuse_engine("ray", rereadable=True)
    refuse_engine("local", rereadable=True)


@pytest.mark.parametrize("given", ["memory", "iterator"])
def test_texts_that_cannot_be_read_again_are_refused(monkeypatch, tmp_path, given):
    monkeypatch.setattr(clusters, "refuse_missing_ray", lambda: None)
    texts, output = (TEXTS, None) if given == "memory" else (iter(TEXTS), tmp_path / "out")
    with pytest.raises(BadInput, match="name an output, and a file"):
        embed("nowhere", texts, output, engine="ray")
