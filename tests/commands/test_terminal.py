"""Columns that commands print, and characters that they must not print, wherever these come from."""

import ast
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unicodedata import category

import pytest

import cenote
from cenote.cli import main
from cenote.commands.terminal import in_columns, printable, say
from cenote.json_records import Result

SOURCE = Path(cenote.__file__).parent


def test_columns_are_wrapped_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = in_columns("name", 6, "word " * 30).splitlines()
    assert lines[0].startswith("name    word")
    assert all(line.startswith("        word") for line in lines[1:])
    assert max(map(len, lines)) < 60
    assert in_columns("name", 6, "short") == "name    short"


# Characters that command a terminal.

HOSTILE = "a\x1b[31mred\x07\r\x9b2J\x7f \u202eevil\u2066 \u2028"
SHOWN = r"a\u001b[31mred\u0007\u000d\u009b2J\u007f \u202eevil\u2066 \u2028"


def test_characters_that_command_a_terminal_are_escaped_and_no_others():
    assert printable(HOSTILE) == SHOWN
    for text in ("a pool\n\tand a cave", "Ünï 池 🕳", "שלום", "नमस्ते", "👩\u200d👧", "می\u200cخواهم"):
        assert printable(text) == text


def test_escapes_leave_json_the_same():
    record = {HOSTILE: [HOSTILE, "é🕳", "\udce9"]}
    for encoding in ("utf-8", "ascii", "latin-1", "cp1252"):
        shown = printable(json.dumps(record, indent=1, ensure_ascii=False), encoding)
        assert json.loads(shown) == record
        assert shown.encode(encoding).decode(encoding) == shown
        assert not any(category(one) in ("Cc", "Cs", "Zl") for one in shown.replace("\n", ""))


def test_a_terminal_of_ascii_shows_everything(monkeypatch):
    for encoding, expected in (("ascii", r"cenote: caf\u00e9 \ud83d\udd73"), ("utf-8", "cenote: café 🕳")):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding))
        say("café 🕳")
        assert raw.getvalue().decode(encoding).rstrip() == expected


PRINTING = ("print", "sys.stdout.write", "sys.stderr.write")


def test_nothing_else_prints():
    found = [
        path.relative_to(SOURCE).as_posix()
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTING
    ]
    assert found == ["commands/terminal.py"]


# From each place that a name can come from.


def save(path, content):
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("place", ["pooling", "prompt", "architecture", "tokenizer"])
def test_a_model_folder_commands_no_terminal(copy_of, capfd, place):
    folder = copy_of("bert")
    match place:
        case "pooling":
            save(folder / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": HOSTILE})
        case "prompt":
            save(folder / "config_sentence_transformers.json", {"prompts": {HOSTILE: HOSTILE}})
        case "architecture":
            save(folder / "config.json", {"architectures": [HOSTILE], "model_type": HOSTILE})
        case "tokenizer":
            save(folder / "tokenizer_config.json", {"tokenizer_class": HOSTILE, "model_max_length": HOSTILE})
    capfd.readouterr()  # bars of transformers, as the fixture saved the model
    for command in (["info", str(folder)], ["info", str(folder), "--json"], ["pool", str(folder), "-"]):
        main(command)
        assert_harmless(capfd.readouterr())


@pytest.mark.parametrize("command", ["embed", "diagnose", "audit", "pool"])
def test_names_of_files_and_columns_command_no_terminal(tmp_path, capfd, command, tiny_st):
    model, output = str(tiny_st("bert")), ["-o", str(tmp_path / "out")] if command == "embed" else []
    capfd.readouterr()  # bars of transformers, as the fixture saved the model
    bad = tmp_path / f"{HOSTILE}.jsonl"
    bad.write_text(json.dumps({HOSTILE: "a pool"}))
    for words in ([str(bad)], [f"{bad}.gone"], [str(bad), "--column", HOSTILE], [f"--{HOSTILE}"]):
        with suppress(SystemExit):
            assert main([command, model, *words, *output]) in (1, 2)
        assert_harmless(capfd.readouterr())


def assert_harmless(printed):
    for text in printed:
        assert not set(text) & (set(HOSTILE) - set(SHOWN)), ascii(text)


@pytest.mark.parametrize("command", ["embed", "diagnose", "info"])
def test_names_that_are_not_utf8_are_refused_before_any_work(tmp_path, capfd, command):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    Path(name).write_text("a pool\n" * 20)
    extra = [] if command == "info" else [name, "--json", *([] if command == "embed" else [str(tmp_path / "x.json")])]
    extra += ["-o", str(tmp_path / "out")] if command == "embed" else []
    assert main([command, name if command == "info" else "no/such-model", *extra]) == 2
    assert r"caf\udce9.txt' is not UTF-8: rename the file" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).name]


def test_a_file_of_json_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        Result.save(SimpleNamespace(to_json=lambda: '{"name": "\udce9"}'), tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()
