"""`cenote tune`: what it passes on, its lines, its files, its refusals."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from cenote.cli import Exit, main
from cenote.commands import tune
from cenote.tuning_records import Tuning

from ..report.tunings import bare_tuning, confirmed, rich_tuning, tuning

pytest.importorskip("mteb", reason="tune needs mteb: pip install 'cenote[eval]'")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("text1,text2,score\none,two,0.5\nthree,four,1.0\n")
    return str(path)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    return str(folder)


@pytest.fixture
def given(monkeypatch):
    """The arguments that the function was called with; it returns the rich tuning, and writes a folder."""
    found = {}

    def fake(**arguments):
        found.update(arguments)
        if arguments["output"]:
            folder = Path(arguments["output"])
            folder.mkdir(exist_ok=True)
            (folder / "modules.json").write_text("[]")
        return rich_tuning()

    monkeypatch.setitem(sys.modules, "cenote.evaluation.tune", SimpleNamespace(tune=fake))
    return found


def test_arguments_are_passed_on(given, model, pairs, tmp_path):
    forms = ["--by-length", "--by-role", "--temperatures", "1, 0.9,0.8", "-o", str(tmp_path / "new"), "--force"]
    data = ["--as", "STS12", "--kind", "sts", "--split", "test", "--quick", "--data-columns", "score=score"]
    more = ["--precision", "float32", "--seed", "3", "--pooling", "mean", "--max-seq-length", "64", "--cache", "kept"]
    assert main(["tune", model, "--data", pairs, *forms, *data, *more]) == Exit.SUCCESS
    called = {name: given[name] for name in given if name not in ("progress", "notify", "loader")}
    assert called == {
        "model": model,
        "data": [pairs],
        "by_length": True,
        "by_role": True,
        "temperatures": [1.0, 0.9, 0.8],
        "output": str(tmp_path / "new"),
        "force": True,
        "official": "STS12",
        "kind": "sts",
        "split": "test",
        "data_columns": {"score": "score"},
        "quick": True,
        "precision": "float32",
        "cache": "kept",
        "seed": 3,
    }


def test_defaults_leave_the_choice_to_the_function(given, model, pairs):
    assert main(["tune", model, "--data", pairs]) == Exit.SUCCESS
    assert "temperatures" not in given
    assert (given["output"], given["force"], given["by_role"], given["cache"]) == (None, False, False, True)
    assert main(["tune", model, "--data", pairs, "--no-cache"]) == Exit.SUCCESS
    assert given["cache"] is False


def test_the_answer_comes_first_then_the_curve_then_the_held_out_half(given, model, pairs, capsys):
    assert main(["tune", model, "--data", pairs]) == Exit.SUCCESS
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == rich_tuning().answer
    assert lines[2] == "development half"
    assert lines[3].split() == ["temperature", "change"]
    assert " ".join(lines[7].split()) == "0.8, chosen +0.82 % (+0.22 to +1.42 %)"
    assert "  25 other temperatures by role: see the page (--page) or the figures (--json)" in lines
    held = lines[lines.index("held-out half") + 1 :]
    assert held[0].split() == ["task", "items", "before", "after", "difference", "relative", "p", "resolvable"]
    assert " ".join(held[1].split()) == (
        "scifact 1,150 0.6451 0.6489 +0.0038 (+0.0007 to +0.0069) +0.59 % 0.017 0.0044"
    )
    assert " ".join(held[3].split()).startswith("all tasks 1,150 0.6451 0.6489 +0.47 % (+0.08 to +0.86 %) +0.47 %")
    assert "no gain to expect" in shown
    assert "a half of 1,743 items would show a gain of 0.53 %" in shown
    assert shown.isascii()


def test_a_tuning_without_a_choice_has_no_held_out_table():
    lines = list(tune.lines_of(bare_tuning()))
    assert lines[0].startswith("No temperature helps here")
    assert "held-out half" not in lines
    assert " ".join(lines[4].split()) == "0.9 -1.00 % (-1.60 to -0.40 %)"
    few = list(tune.lines_of(tuning(held_out=(confirmed(p=None, resolvable=None),))))
    assert next(line for line in few if "scifact " in line).split()[-2:] == ["-", "-"]


def test_the_chosen_temperature_by_role_is_always_printed():
    chosen = "0.5 for a query and 0.6 for a document"
    assert f"  {chosen}, chosen" in "\n".join(tune.lines_of(rich_tuning(chosen=chosen)))


def test_files_are_written(given, model, pairs, tmp_path, capsys):
    page, figures, new = (str(tmp_path / name) for name in ("page.md", "figures.json", "new"))
    files = ["--page", page, "--json", figures, "-o", new]
    assert main(["tune", model, "--data", pairs, *files, "--force"]) == Exit.SUCCESS
    assert Path(page).read_text("utf-8").startswith("# Cenote tuning")
    assert Tuning.from_json(Path(figures).read_text("utf-8")) == rich_tuning()
    assert capsys.readouterr().out.splitlines()[-3:] == [f"figures: {figures}", f"report: {page}", f"model: {new}"]


def test_a_folder_that_is_not_written_is_named(model, pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cenote.evaluation.tune.tune", lambda **_: rich_tuning(recommendation=None))
    new = str(tmp_path / "new")
    assert main(["tune", model, "--data", pairs, "-o", new]) == Exit.SUCCESS
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"model: the folder {new} is not written, since no gain is confirmed"
    assert main(["tune", model, "--data", pairs, "-o", new, "--json", "-"]) == Exit.SUCCESS
    assert json.loads(capsys.readouterr().out)["chosen"] == "0.8"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to tune on: name labelled data (--data)"),
        (["--data", "{pairs}", "--temperatures", "1,0"], "'0' is not a positive, finite number: give one, such as 0.8"),
        (["--data", "{pairs}", "--temperatures", "1,,2"], "'1,,2' has an empty part: write A,B"),
        (["--data", "{pairs}", "--force"], "--force has no folder to write: name one with -o"),
        (["--data", "{pairs}", "-o", ""], "-o is empty: name a new folder"),
        (
            ["--data", "{pairs}", "-o", "page.html"],
            "-o 'page.html' is the folder of the model: name a page with --page",
        ),
        (["--data", "{pairs}", "--page", "page.pdf"], "--page 'page.pdf': name a file that ends in .html or .md"),
        (["--data", "{pairs}", "--page", "a.md", "--json", "a.md"], "--page and --json both name 'a.md'"),
        (["--data", "{pairs}", "--json", "{pairs}"], "is an input and would be overwritten"),
        (["--data", "{pairs}", "--cache", "a", "--no-cache"], "--cache and --no-cache exclude each other"),
        (["--data", "{pairs}", "--kind", "retrival"], "did you mean 'retrieval'"),
        (["--data", "{pairs}", "--pooling", "maen"], "did you mean 'mean'"),
    ],
)
def test_wrong_arguments_are_told_before_the_work(given, model, pairs, arguments, message, capsys):
    code = Exit.USAGE
    with suppress(SystemExit):  # of argparse, also with exit code 2
        code = main(["tune", model, *(one.replace("{pairs}", pairs) for one in arguments)])
    assert code == Exit.USAGE
    assert message in capsys.readouterr().err
    assert not given


def test_a_folder_that_holds_something_is_refused_before_the_work(given, model, pairs, tmp_path, capsys):
    assert main(["tune", model, "--data", pairs, "-o", model]) != Exit.SUCCESS
    assert "already exists: name a new folder" in capsys.readouterr().err
    assert main(["tune", model, "--data", "no/such"]) != Exit.SUCCESS
    assert "no such file or folder: no/such" in capsys.readouterr().err
    assert not given
    (tmp_path / "empty").mkdir()
    assert main(["tune", model, "--data", pairs, "-o", str(tmp_path / "empty")]) == Exit.SUCCESS


def test_a_model_that_is_forced_is_said_to_be(model, pairs, tmp_path, monkeypatch, capsys):
    def forced(**given):
        Path(given["output"]).mkdir()
        (Path(given["output"]) / "modules.json").write_text("[]")
        return rich_tuning(recommendation=None)

    monkeypatch.setattr("cenote.evaluation.tune.tune", forced)
    new = str(tmp_path / "new")
    assert main(["tune", model, "--data", pairs, "-o", new, "--force"]) == Exit.SUCCESS
    assert capsys.readouterr().out.splitlines()[-1] == f"model: {new}, though its gain is not confirmed"


def test_a_model_that_could_not_be_written_fails_after_its_result(model, pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cenote.evaluation.tune.tune", lambda **_: rich_tuning())
    new, figures = tmp_path / "new", tmp_path / "t.json"
    (new / ".cenote-of-a-killed-run").mkdir(parents=True)
    assert rich_tuning().recommendation is not None
    arguments = ["tune", model, "--data", pairs, "-o", str(new)]
    assert main([*arguments, "--json", str(figures)]) == Exit.FAILURE
    shown, told = capsys.readouterr()
    assert shown.startswith(rich_tuning().answer)
    assert told == f"cenote: error: the folder '{new}' is not written: the warning above says why.\n"
    assert Tuning.from_json(figures.read_text("utf-8")) == rich_tuning()
    assert main([*arguments, "--json", "-"]) == Exit.FAILURE
    assert json.loads(capsys.readouterr().out)["chosen"] == "0.8"
