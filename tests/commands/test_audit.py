"""`cenote audit`: its lines, its files, its exit code, its refusals."""

import json
from contextlib import suppress

import pytest

from cenote.auditing import audit as module
from cenote.auditing.checks.subject import Effort
from cenote.auditing.checks.table import CHECKS
from cenote.cli import Exit, main

from ..auditing.faults import TINY

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    effort = Effort(drawn=60, read=60, documents=20, padded=3, rounded=1, long=2, vocabulary=30, suspects=3)
    monkeypatch.setattr(module, "FULL", effort)
    monkeypatch.setattr(module, "QUICK", effort)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TINY) + "\n")
    return str(path)


@pytest.fixture
def model(copy_of):
    return str(copy_of("bert", pooling="mean"))


def test_a_sound_model_passes_with_a_line_for_each_check(model, texts, tmp_path, capsys):
    files = [tmp_path / name for name in ("out.json", "page.html")]
    assert main(["audit", model, texts, "--json", str(files[0]), "-o", str(files[1])]) == Exit.SUCCESS
    shown, told = capsys.readouterr()
    found = json.loads(files[0].read_text())
    assert [check["name"] for check in found["checks"]] == list(CHECKS)
    assert found["passed"] is True
    assert {check["passed"] for check in found["checks"]} == {True, None}
    for check in found["checks"]:
        assert f"{'pass' if check['passed'] else 'not decided'}" in shown
        assert f"{check['name']}: " in shown
    assert "passes" in shown.splitlines()[-3]  # before the names of the files
    assert "error" not in told
    assert "<html" in files[1].read_text()


def test_a_failed_check_exits_with_1_after_its_lines(model, texts, capsys):
    assert main(["audit", model, texts, "--pooling", "cls", "--quick"]) == Exit.FAILURE
    shown, told = capsys.readouterr()
    assert "FAIL         pooling: Your server pools with 'cls', the files declare 'mean'." in shown
    assert "Serve the model with pooling 'mean'" in " ".join(shown.split())
    assert "fails 1 of" in told
    assert "fails 1 of" not in shown  # said once
    assert told.rstrip().endswith("checks: pooling.")


def test_json_alone_goes_to_standard_output(model, texts, capsys):
    assert main(["audit", model, texts, "--pooling", "cls", "--only", "pooling,hubs", "--json", "-"]) == Exit.FAILURE
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False
    assert [(check["name"], check["passed"]) for check in found["checks"]] == [("pooling", False), ("hubs", True)]
    assert main(["audit", model, texts, "--skip", "pooling", "--json", "-"]) == Exit.SUCCESS
    assert "pooling" not in [check["name"] for check in json.loads(capsys.readouterr().out)["checks"]]


def test_texts_may_stand_after_options(model, texts, tmp_path, capsys):
    more = tmp_path / "more.txt"
    more.write_text("a pool\na deep cave\n")
    for arguments, count in (
        (["--seed", "1", texts], 60),
        ([texts, "--only", "hubs", str(more)], 62),
        (["--seed", "1", texts, str(more)], 62),
    ):
        assert main(["audit", model, *arguments, "--only", "hubs,settings", "--json", "-"]) == Exit.SUCCESS
        assert json.loads(capsys.readouterr().out)["texts"]["given"] == count
    with pytest.raises(SystemExit) as left:
        main(["audit", model, texts, "--seed", "1", "-"])
    assert left.value.code == Exit.USAGE
    assert "- stands for standard input and goes with no file" in capsys.readouterr().err


def test_a_failure_exits_with_1_also_if_the_reader_leaves(model, texts, monkeypatch, capfd):
    def leave(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("cenote.cli.show", leave)
    monkeypatch.setattr("cenote.cli.os.dup2", lambda *_: None)
    assert main(["audit", model, texts, "--pooling", "cls", "--only", "pooling"]) == Exit.FAILURE
    assert main(["audit", model, texts, "--only", "pooling"]) == Exit.SUCCESS


def test_nothing_decided_exits_with_1(model, tmp_path, capsys):
    few = tmp_path / "few.txt"
    few.write_text("a pool\na cave\nlight\nwater\n")
    assert main(["audit", model, str(few), "--only", "hubs"]) == Exit.FAILURE
    assert "Nothing could be decided" in capsys.readouterr().err
    assert main(["audit", model, str(few), "--only", "settings"]) == Exit.SUCCESS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "{texts}", "--pooling", "maen"], "did you mean 'mean'"),
        (["{model}", "{texts}", "--only", "paddng"], "did you mean 'padding'"),
        (["{model}", "no/such.txt"], "no such file or folder: no/such.txt"),
        (["{model}", "{texts}", "-o", "page.pdf"], "name a file that ends in .html or .md"),
        (["{model}", "{texts}", "--json", "{texts}"], "is an input and would be overwritten"),
        (["minilmm"], "did you mean 'minilm'"),
        (["{texts}"], "is a file: name the folder of a model"),
        (["{folder}"], "has no modules.json or config.json"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, model, texts, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    names = {"{model}": model, "{texts}": texts, "{folder}": str(tmp_path / "empty")}
    with suppress(SystemExit):  # of argparse
        assert main(["audit", *(names.get(one, one) for one in arguments)]) != Exit.SUCCESS
    assert message in capsys.readouterr().err


def test_too_few_texts_are_refused(model, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("a pool\na cave\n")
    assert main(["audit", model, str(tmp_path / "few.txt")]) == Exit.FAILURE
    assert "2 texts are too few for an audit" in capsys.readouterr().err
