"""Columns that commands print."""

from cenote.commands.terminal import in_columns


def test_columns_are_wrapped_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = in_columns("name", 6, "word " * 30).splitlines()
    assert lines[0].startswith("name    word")
    assert all(line.startswith("        word") for line in lines[1:])
    assert max(map(len, lines)) < 60
    assert in_columns("name", 6, "short") == "name    short"
