"""Results on disk: whole or not at all, and damaged ones are no results."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cenote.errors import BadInput, CenoteWarning
from cenote.evaluation.results import Results, default_folder, refuse_overwriting, refuse_same_files
from cenote.evaluation_records import TaskScore

RECORD = TaskScore("a", "sts", "m", 0.5, 0.4, 0.6, 2, "pairs", (), (), (), (), {"m": 0.5}, None, 2, 0, (), "x", "test")
TABLE = pa.table({"item": ["0", "1"], "value": [0.4, 0.6]})


def test_a_result_comes_back_with_its_items(tmp_path):
    results = Results(tmp_path / "new" / "folder", TaskScore)
    assert results.find("k") is None
    results.keep("k", {"task": "a"}, RECORD, TABLE)
    record, table = results.find("k")
    assert record == RECORD
    assert table.equals(TABLE)
    assert json.loads((tmp_path / "new" / "folder" / "k.json").read_text())["settings"] == {"task": "a"}


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Results(None, TaskScore).keep("k", {}, RECORD, TABLE)
    assert Results(None, TaskScore).find("k") is None
    assert not list(tmp_path.iterdir())


def test_damaged_results_are_none(tmp_path):
    results = Results(tmp_path, TaskScore)
    for damage in ("{", "{}", '{"result": {}}', '{"result": {"name": 1}}'):
        (tmp_path / "k.json").write_text(damage)
        assert results.find("k") is None
    results.keep("k", {}, RECORD, TABLE)
    (tmp_path / "k.parquet").write_bytes(b"PAR1")
    assert results.find("k") is None
    (tmp_path / "k.parquet").unlink()
    assert results.find("k") is None


def test_a_result_without_items_needs_no_table(tmp_path):
    Results(tmp_path, TaskScore).keep("k", {}, replace(RECORD, items=0), None)
    assert Results(tmp_path, TaskScore).find("k") == (replace(RECORD, items=0), None)


def test_the_key_depends_on_every_setting():
    key = Results(None, TaskScore).key_of
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1}) != key({"a": 1, "b": 3})


def test_the_folder_is_that_of_a_variable_or_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("CENOTE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "evaluations"
    monkeypatch.delenv("CENOTE_CACHE")
    assert default_folder().parts[-3:] == (".cache", "cenote", "evaluations")


def test_two_runs_may_keep_the_same_score_at_once(tmp_path, monkeypatch):
    results, real, second = Results(tmp_path, TaskScore), pq.write_table, []

    def write(table, path, **options):
        real(table, path, **options)
        if not second:
            second.append(path)
            results.keep("k", {}, RECORD, TABLE)

    monkeypatch.setattr(pq, "write_table", write)
    results.keep("k", {}, RECORD, TABLE)
    assert results.find("k") == (RECORD, TABLE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.json", "k.parquet"]


def test_a_score_that_cannot_be_kept_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(CenoteWarning, match="the score is not kept, and the next run computes it again: cannot write"):
        Results(tmp_path / "file" / "folder", TaskScore).keep("k", {}, RECORD, TABLE)


def test_names_that_differ_by_case_alone_are_one_file_of_items(tmp_path):
    with pytest.raises(BadInput, match=r"the items of 'STS' and of 'sts' would both be in 'sts\.parquet': rename"):
        refuse_same_files(tmp_path, ["STS", "other", "sts"])
    refuse_same_files(tmp_path, ["STS", "other", "STS"])


def test_items_overwrite_no_labelled_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(TABLE, "reviews.parquet")
    Path("beir", "qrels").mkdir(parents=True)
    for folder, data, fate in (
        (".", {"reviews": "reviews.parquet"}, "is an input and would be overwritten"),
        (".", {"other": "beir", "reviews": Path("reviews.parquet")}, "is an input and would be overwritten"),
        ("beir", {"beir": tmp_path / "beir"}, "would be an input of the next run"),
        ("beir/qrels", {"beir": "beir"}, "would be an input of the next run"),
    ):
        with pytest.raises(BadInput, match=rf"{fate}: name another folder for the items \(items, --items\)"):
            refuse_overwriting(Path(folder), data)
    for folder, data in ((".", {"beir": "beir"}), ("beir/items", {"beir": "beir"}), (".", {"reviews": object()})):
        refuse_overwriting(Path(folder), data)
