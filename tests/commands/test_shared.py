"""What commands have in common."""

import argparse

import pytest

from cenote.commands.shared import count, in_columns, make_folder
from cenote.errors import BadInput


def test_columns_are_wrapped_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = in_columns("name", 6, "word " * 30).splitlines()
    assert lines[0].startswith("name    word")
    assert all(line.startswith("        word") for line in lines[1:])
    assert max(map(len, lines)) < 60
    assert in_columns("name", 6, "short") == "name    short"


def test_a_folder_is_made_and_never_written_over(tmp_path):
    assert make_folder(str(tmp_path / "a" / "b")).is_dir()
    (tmp_path / "full").write_text("x")
    for path in (tmp_path, tmp_path / "full"):
        with pytest.raises(BadInput, match="is there already: name a new folder"):
            make_folder(str(path))


def test_counts():
    assert count("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match="0 is not at least 1"):
        count("0")
