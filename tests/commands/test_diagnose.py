"""`cenote diagnose`."""

import importlib.util
import io
import json
import shlex
import subprocess
import sys

import pytest

from cenote.cli import Exit, main
from cenote.records import Diagnosis

QUICK = ["--quick", "--no-layers", "--device", "cpu"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"A pool number {row}, " + "that a collapse made " * row + "\n" for row in range(40)))
    return str(path)


def test_verdicts_are_printed_and_figures_written(demo_path, corpus, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["diagnose", "minilm", corpus, "--json", str(out), *QUICK]) == Exit.SUCCESS
    shown, told = capsys.readouterr()
    assert shown.startswith(f"40 texts from {corpus}\n")
    assert f"figures: {out}" in shown
    assert max(len(line) for line in shown.splitlines() if str(tmp_path) not in line) <= 80
    for subject in ("truncation", "length collapse", "second-order collapse", "repeated words"):
        assert subject in shown
    found = Diagnosis.from_json(out.read_text("utf-8"))
    assert found.models[0].name == "minilm"
    assert found.verdicts[0].finding.split()[0] in shown
    assert told.splitlines() == [
        "cenote: loading minilm",
        "cenote: minilm: tokenising: 40",
        "cenote: minilm: reading texts: 40",
        "cenote: minilm: comparing pairs: 780",
        "cenote: minilm: repeating two words",
    ]


def test_json_on_standard_output_stands_alone(demo_path, corpus, capsys):
    assert main(["diagnose", "minilm", corpus, "--json", "-", "--sample", "20", *QUICK]) == Exit.SUCCESS
    assert json.loads(capsys.readouterr().out)["texts"]["used"] == 20


def test_models_are_compared_on_texts_of_standard_input(demo_path, copy_of, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a pool\na cave\nlight and stone\n")))
    other = str(copy_of("bert"))
    assert main(["diagnose", "minilm", other, "-", *QUICK]) == Exit.SUCCESS
    shown = capsys.readouterr().out
    assert "3 texts from standard input" in shown
    assert "minilm: truncation" in shown
    lines = shown.splitlines()
    assert lines[2].split()[:2] == ["subject", "minilm"]
    assert lines[2].endswith(other[-8:])  # a long path is cut at its beginning
    truncation = next(line for line in lines if line.startswith("truncation"))
    assert truncation.split()[1:] == ["none", "none"]
    assert max(map(len, lines[2 : lines.index("", 3)])) <= 80


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_reports_are_written_and_name_the_command(name, demo_path, corpus, tmp_path, capsys):
    out = tmp_path / name
    assert main(["diagnose", "minilm", corpus, "-o", str(out), *QUICK]) == Exit.SUCCESS
    text = out.read_text("utf-8")
    assert "minilm" in text
    assert f"report: {out}" in capsys.readouterr().out
    assert "Command line" in text


def test_a_failed_run_leaves_no_empty_report(tmp_path, demo_path, monkeypatch, capsys):
    out = tmp_path / "page.md"
    assert main(["diagnose", "minilm", str(tmp_path / "none.txt"), "-o", str(out)]) == Exit.FAILURE
    assert not out.exists()


def test_a_missing_plotly_is_reported_before_the_work(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "plotly" else real(name, *more))
    assert main(["diagnose", "minilm", "-o", str(tmp_path / "page.html")]) == Exit.FAILURE
    assert "plotly, which is missing: pip install 'cenote[report]'" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_files_are_written_before_verdicts_are_printed(demo_path, corpus, tmp_path):
    files = [tmp_path / "page.md", tmp_path / "figures.json"]
    options = ["-o", str(files[0]), "--json", str(files[1]), "--sample", "5", *QUICK]
    command = shlex.join([sys.executable, "-m", "cenote", "diagnose", "minilm", corpus, *options])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} | true"], check=False)
    assert done.returncode == Exit.SUCCESS
    assert all(file.stat().st_size for file in files)


def test_tracing_is_reported_as_a_step(demo_path, corpus, capsys):
    assert main(["diagnose", "minilm", corpus, "--quick", "--device", "cpu", "--temperatures", "0.8"]) == Exit.SUCCESS
    told = capsys.readouterr().err.splitlines()
    for step in ("tracing layers: 24", "reading texts: 16", "comparing pairs: 780", "repeating two words"):
        assert [line for line in told if line.endswith(step)] == [
            f"cenote: minilm: {step}",
            f"cenote: minilm at 0.8: {step}",
        ]


def test_smaller_batches_are_reported(demo_path, corpus, monkeypatch, capsys):
    from cenote.encoding import batches

    real, failed = batches.collate, []

    def collate(model, tokens, rows):
        if len(rows) > 1 and not failed:
            failed.append(len(rows))
            raise MemoryError
        return real(model, tokens, rows)

    monkeypatch.setattr(batches, "collate", collate)
    assert main(["diagnose", "minilm", corpus, *QUICK]) == Exit.SUCCESS
    assert failed
    assert "cenote: out of memory: going on with batches of " in capsys.readouterr().err


def test_pairs_are_read_from_a_file(demo_path, corpus, tmp_path, capsys):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"text1": f"a pool {row}", "text2": "a cave"}) + "\n" for row in range(5)))
    assert main(["diagnose", "minilm", corpus, "--pairs", str(pairs), "--json", "-", *QUICK]) == Exit.SUCCESS
    assert json.loads(capsys.readouterr().out)["models"][0]["runs"][0]["given_pairs"]["pairs"] == 5


def test_prompts_of_texts_and_pairs_are_used(copy_of, corpus, tmp_path, capsys):
    model = str(copy_of("bert", prompts={"query": "query: ", "page": "document: "}))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text1,text2\na pool,a cave\n,a stone\n")
    named = ["--pairs", str(pairs), "--prompt", "page", "--pair-prompts", "query,", "--json", "-"]
    assert main(["diagnose", model, corpus, *named, *QUICK]) == Exit.SUCCESS
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["prompt"] == "page"
    assert found["settings"]["pair_prompts"] == ["query", None]
    own = found["models"][0]["runs"][0]["given_pairs"]
    assert own["pairs"] == 1
    assert own["left_out"] == [{"measure": "the given pairs", "why": "an empty side", "count": 1, "ids": ["pair 1"]}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "texts.txt --pairs pairs.jsonl",
            "--pairs needs columns text1 and text2: unknown column of pairs.jsonl",
        ),
        ("texts.txt --pairs ragged.jsonl", "ragged.jsonl, line 2: 'text2'; did you mean 'text1'? There are: text1."),
        ("texts.txt --pairs late.jsonl", "line 1: 'text1'; did you mean 'text'?"),
        ("texts.txt --pair-prompts query,document", "there are no pairs: pass pairs too"),
        ("blank.txt", "all 3 texts are empty in 'blank.txt'"),
        ("late.jsonl", "late.jsonl, line 2: not JSON"),
    ],
)
def test_bad_texts_and_pairs_are_refused_before_a_model_is_loaded(
    arguments, message, tmp_path, monkeypatch, capsys, demo_path
):
    monkeypatch.setattr("cenote.models.loading.load", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    (tmp_path / "blank.txt").write_text("\n  \n\t\n")
    (tmp_path / "late.jsonl").write_text('{"text": "one"}\n{"text": \n')
    (tmp_path / "ragged.jsonl").write_text('{"text1": "a", "text2": "b"}\n{"text1": "c"}\n')
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "neg": "b"}\n')
    assert main(["diagnose", "minilm", *arguments.split()]) == Exit.FAILURE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
