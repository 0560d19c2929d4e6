"""`cenote compare`: what it passes on, its lines, its files, its refusals."""

import json
import re
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest

from cenote.cli import Exit, main
from cenote.commands import compare
from cenote.comparison_records import Comparison

from ..report.comparisons import bare_comparison, cell, comparison, cost, own_sentences, rich_comparison

pytest.importorskip("mteb", reason="compare needs mteb: pip install 'cenote[eval]'")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("text1,text2,score\none,two,0.5\nthree,four,1.0\n")
    return str(path)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\n")
    return str(path)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    return str(folder)


@pytest.fixture
def given(monkeypatch):
    """The arguments that the function was called with; it returns the rich comparison."""
    found = {}

    def fake(**arguments):
        found.update(arguments)
        return rich_comparison()

    monkeypatch.setitem(sys.modules, "cenote.evaluation.compare", SimpleNamespace(compare=fake))
    return found


def test_arguments_are_passed_on(given, model, pairs):
    listed = ["--poolings", "mean, cls,lmk+mean", "--temperatures", "1,0.9", "--limits", "128,256"]
    ways = ["--long", "truncate,segments 8", "--baseline", "mean", "--as", "STS12", "--kind", "sts", "--split", "test"]
    more = ["--data-columns", "score=score", "--quick", "--precision", "float32", "--seed", "3", "--cache", "kept"]
    assert main(["compare", model, model, "--data", pairs, *listed, *ways, *more]) == Exit.SUCCESS
    called = {name: given[name] for name in given if name not in ("progress", "notify", "loader")}
    assert called == {
        "models": [model, model],
        "data": [pairs],
        "tasks": None,
        "unlabelled": None,
        "poolings": ["mean", "cls", "lmk+mean"],
        "temperatures": [1.0, 0.9],
        "limits": [128, 256],
        "long": ["truncate", "segments 8"],
        "baseline": "mean",
        "official": "STS12",
        "kind": "sts",
        "split": "test",
        "data_columns": {"score": "score"},
        "quick": True,
        "precision": "float32",
        "cache": "kept",
        "seed": 3,
        "names": None,
    }


def test_defaults_leave_the_choice_to_the_function(given, model, texts):
    assert main(["compare", "--unlabelled", texts, "--poolings", "cls", model]) == Exit.SUCCESS
    assert given["models"] == [model]
    assert given["unlabelled"] == texts
    assert given["cache"] is True
    assert all(given[name] is None for name in ("data", "tasks", "temperatures", "limits", "long", "baseline"))
    main(["compare", model, "--tasks", "STS12", "--poolings", "cls", "--no-cache"])
    assert given["cache"] is False


def test_texts_may_be_in_another_column(given, model, tmp_path, capsys):
    (tmp_path / "texts.jsonl").write_text('{"body": "a pool", "key": "b"}\n')
    call = ["compare", model, "--poolings", "cls", "--unlabelled", str(tmp_path / "texts.jsonl")]
    assert main([*call, "--column", "body", "--id-column", "key"]) == Exit.SUCCESS
    assert list(given["unlabelled"]) == [("b", "a pool")]
    assert main(call) == Exit.USAGE
    assert "There are: body, key" in capsys.readouterr().err
    assert main(["compare", model, model, "--data", str(tmp_path), "--column", "body"]) == Exit.USAGE


def test_standard_input_is_left_to_the_function(given, model):
    assert main(["compare", model, "--unlabelled", "-", "--poolings", "cls"]) == Exit.SUCCESS
    assert given["unlabelled"] == "-"


def test_a_table_for_each_task_then_the_costs(given, model, pairs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["compare", model, "--data", pairs, "--poolings", "cls"]) == Exit.SUCCESS
    shown, said = capsys.readouterr()
    lines = shown.splitlines()
    assert lines[0] == "scifact, ndcg_at_10, 300 items"
    assert lines[1].split() == ["setting", "score", "difference", "p", "resolvable", "verdict"]
    assert lines[2].split() == ["MiniLM:", "mean", "0.6451", "baseline"]
    assert " ".join(lines[3].split()) == "MiniLM: cls 0.6039 -0.0412 (-0.0542 to -0.0282) < 0.001 0.0187 worse"
    assert "mean of all tasks, mean of scores, 300 items" in lines
    assert any(line.startswith("  Better than MiniLM: mean: ") for line in lines)
    assert "MiniLM: landmark".ljust(20) in shown
    costs = lines[lines.index(next(line for line in lines if line.split() == ["setting", "size", "time"])) :]
    assert costs[2].split() == ["MiniLM:", "cls", "768", "x", "1.25", "8.3"]
    assert "cenote: warning: On scifact, pooling landmark is better" in said
    assert "scifact: this is a fixed sample of 300 queries." in lines


def test_size_and_time_stand_beside_the_score_where_they_fit_in_100_columns():
    settings = (("mean", 0.0, "baseline"), ("cls", -0.04, "worse"), ("lasttoken", 0.01, "not told apart"))
    costs = [cost("mean"), cost("cls", dimensions=768, seconds=123.4), cost("lasttoken", texts=300)]
    found = comparison(*(cell(*one, baseline="mean") for one in settings), costs=tuple(costs))
    lines = list(compare.lines_of(found))
    assert lines[1].split() == ["setting", "score", "size", "time", "difference", "p", "resolvable", "verdict"]
    assert lines[2].split() == ["mean", "0.6451", "384", "7.3", "baseline"]
    assert lines[3].split()[:4] == ["cls", "0.6051", "768", "123"]
    assert lines[4].split()[:4] == ["lasttoken", "0.6551", "384", "-"]
    assert max(map(len, lines)) <= 100
    assert not any(line.split() == ["setting", "size", "time"] for line in lines)
    assert "time: seconds of reading for 1,000 texts; - for fewer than 500, which are too few to time" in lines


def test_what_own_sentences_would_show_is_three_points_at_least():
    lines = list(compare.lines_of(own_sentences()))
    ends = (
        "differences from 0.0300 on. Without labels no difference below 0.03 is claimed.",
        "without labels 0.03 at least",
    )
    assert [sum(line.endswith(end) for line in lines) for end in ends] == [2, 1]
    labelled = "\n".join(compare.lines_of(rich_comparison()))
    assert "without labels" not in labelled.lower()


def test_own_sentences_are_told_apart_by_what_they_are_lost_to():
    lines = [re.sub(" {2,}", "  ", line.strip()) for line in compare.lines_of(own_sentences())]
    start = lines.index("setting  found  lost to the cut  lost to pooling  not found  mean reciprocal rank")
    assert lines[start + 2].startswith(
        "cls  50 % (48 to 52 %)  20 % (18 to 22 %)  25 % (23 to 27 %)  5 % (3 to 7 %)  0.61"
    )
    assert "setting  mean reciprocal rank" in lines


def test_lines_are_narrow_for_names_of_usual_length():
    lines = list(compare.lines_of(bare_comparison()))
    assert max(map(len, lines)) <= 100
    assert lines[3].split() == ["cls", "0.6551", "+0.0100", "-", "-", "too", "few", "items"]


def test_files_are_written(given, model, pairs, tmp_path, capsys):
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    files = ["-o", str(page), "--json", str(figures)]
    assert main(["compare", model, "--data", pairs, "--poolings", "cls", *files]) == Exit.SUCCESS
    assert "Cenote comparison" in page.read_text("utf-8")
    assert Comparison.from_json(figures.read_text("utf-8")) == rich_comparison()
    assert capsys.readouterr().out.splitlines()[-2:] == [f"figures: {figures}", f"report: {page}"]
    assert main(["compare", model, "--data", pairs, "--poolings", "cls", "--json", "-"]) == Exit.SUCCESS
    assert json.loads(capsys.readouterr().out)["models"] == list(rich_comparison().models)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "--poolings", "cls"], "there is nothing to compare on: name labelled data (--data)"),
        (["a.json", "b.json", "--data", "{pairs}"], "settings are compared in one call: give models"),
        (["{model}", "--data", "{pairs}"], "alone is one setting: name --poolings"),
        (["{model}", "--data", "{pairs}", "--long", "windows"], "alone is one setting"),
        (["{model}", "--data", "{pairs}", "--poolings", "maen"], "unknown pooling 'maen'; did you mean 'mean'?"),
        (["{model}", "--data", "{pairs}", "--poolings", "mean+"], "'mean+' has an empty part: join poolings as in"),
        (["{model}", "--data", "{pairs}", "--poolings", "mean,,cls"], "'mean,,cls' has an empty part: write A,B"),
        (["{model}", "--data", "{pairs}", "--temperatures", "1,-2"], "'-2' is not a positive, finite number"),
        (["{model}", "--data", "{pairs}", "--temperatures", "1,warm"], "'warm' is not a positive, finite number"),
        (["{model}", "--data", "{pairs}", "--temperatures", "nan"], "'nan' is not a positive, finite number"),
        (["{model}", "--data", "{pairs}", "--limits", "0"], "0 is not at least 1"),
        (["{model}", "--data", "{pairs}", "--limits", "12.5"], "invalid whole number value: '12.5'"),
        (["{model}", "--data", "{pairs}", "--long", "trunkate"], "did you mean 'truncate'"),
        (["{model}", "--data", "{pairs}", "--long", "segments"], "give truncate, window-mean, windows or 'segments 8'"),
        (["{model}", "--data", "{pairs}", "--long", "windows 3"], "'windows 3' is no way to read long texts"),
        (["{model}", "--data", "{pairs}", "--unlabelled", "{texts}", "--poolings", "cls"], "and --data exclude each"),
        (["{model}", "--tasks", "STS12", "--unlabelled", "{texts}", "--poolings", "cls"], "and --tasks exclude each"),
        *[
            (["{model}", "--unlabelled", "{texts}", "--poolings", "cls", *option], f"{option[0]} is of labelled data")
            for option in (
                ["--split", "dev"],
                ["--cache", "kept"],
                ["--no-cache"],
                ["--kind", "sts"],
                ["--as", "STS12"],
            )
        ],
        (["{model}", "--data", "{pairs}", "--poolings", "cls", "-o", "page.pdf"], "ends in .html or .md"),
        (["{model}", "--data", "{pairs}", "--poolings", "cls", "--json", "{pairs}"], "would be overwritten"),
        (["{model}", "--data", "{pairs}", "--poolings", "cls", "--cache", "a", "--no-cache"], "exclude each other"),
        (["{model}", "--data", "{pairs}", "--poolings", "cls", "--precision", "int8"], "unknown precision 'int8'"),
    ],
)
def test_wrong_arguments_are_told_before_the_work(given, model, pairs, texts, arguments, message, capsys):
    places = {"{model}": model, "{pairs}": pairs, "{texts}": texts}
    code = Exit.USAGE
    with suppress(SystemExit):  # of argparse, also with exit code 2
        code = main(["compare", *(places.get(one, one) for one in arguments)])
    assert code == Exit.USAGE
    assert message in capsys.readouterr().err
    assert not given


@pytest.mark.parametrize("arguments", [["--data", "no/such"], ["--unlabelled", "no/such.txt"]])
def test_missing_files_are_told_before_the_work(given, model, arguments, capsys):
    assert main(["compare", model, "--poolings", "cls", *arguments]) != Exit.SUCCESS
    assert "no such file or folder: no/such" in capsys.readouterr().err
    assert not given
