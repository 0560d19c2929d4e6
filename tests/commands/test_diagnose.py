"""`cenote diagnose`."""

import io
import json
import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cenote.cli import Exit, main
from cenote.records import Diagnosis

from ..systems import posix
from ..words import WORDS

QUICK = ["--quick", "--no-layers", "--device", "cpu"]


@pytest.fixture(autouse=True)
def few_word_pairs(monkeypatch):
    """Repeat two pairs of words instead of twenty, which take longer than all else."""
    from cenote.diagnosis import controls

    monkeypatch.setattr(controls, "WORD_PAIRS", controls.WORD_PAIRS[:2])


@pytest.fixture
def corpus(tmp_path):
    """Texts of one sentence each."""
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"A pool number {row}, " + "that a collapse made " * row + "\n" for row in range(40)))
    return str(path)


@pytest.fixture
def searched(tmp_path):
    """Texts of four sentences."""
    chance = random.Random(0)
    path = tmp_path / "searched.txt"
    texts = [[f"A {' '.join(chance.sample(WORDS, 7))}." for _ in range(4)] for _ in range(25)]
    path.write_text("".join(" ".join(sentences) + "\n" for sentences in texts))
    return str(path)


@pytest.fixture
def model(tiny_st):
    return str(tiny_st("bert"))


def test_the_first_lines_say_what_a_search_loses(model, searched, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["diagnose", model, searched, "--json", str(out), *QUICK]) == Exit.SUCCESS
    shown, told = capsys.readouterr()
    found = Diagnosis.from_json(out.read_text("utf-8"))
    assert found.verdicts[0].subject == "search"
    lines = shown.splitlines()
    assert lines[:2] == [f"25 texts from {searched}", ""]
    assert lines[2].split() == [found.verdicts[0].grade.upper(), "search"]
    assert " ".join(" ".join(lines[3:6]).split()).startswith(found.verdicts[0].finding)
    assert f"figures: {out}" in shown
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    heads = [line.split(maxsplit=1) for line in lines if line[:1].isupper()]
    assert heads == [[verdict.grade.upper(), verdict.subject] for verdict in found.verdicts]
    steps = [line.removeprefix(f"cenote: {found.models[0].name}: ") for line in told.splitlines()]
    assert steps[0].startswith("cenote: loading ")
    assert steps[1:3] == ["tokenising: 25", "tokenising sentences"]
    assert [step for step in steps if step.startswith(("reading", "comparing", "repeating"))] == [
        "reading documents: 25",
        "reading sentences: 75",
        "reading documents without a sentence: 25",
        "reading texts: 25",
        "comparing pairs: 300",
        "repeating words: 2",
    ]
    assert len([step for step in steps if step.endswith(" for this model")]) == 1


def test_the_json_has_the_account_of_each_model_and_its_settings_by_name(model, searched, capsys):
    short = ["--max-seq-length", "20", "--temperatures", "0.8", "--json", "-"]
    assert main(["diagnose", model, model, searched, *short, *QUICK]) == Exit.SUCCESS
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], len(found["models"])) == (2, 2)
    for one in found["models"]:
        settings = one["account"]["settings"]
        assert {"pooling max", "windows of 20 tokens, best", "windows of 20 tokens, mean", "temperature 0.8"} <= set(
            settings
        )
        for shares in (one["account"], *settings.values()):
            values = [shares[fate]["value"] for fate in ("found", "lost_to_cut", "lost_to_pooling", "not_found")]
            assert sum(values) == pytest.approx(1)
            assert shares["found"]["low"] <= shares["found"]["value"] <= shares["found"]["high"]
    assert found["models"][0]["account"] == found["models"][1]["account"]


@pytest.mark.parametrize(("effort", "quick"), [([], True), (["--quick"], True), (["--full"], False)])
def test_a_full_diagnosis_is_asked_for(effort, quick, model, monkeypatch):
    asked = []
    stub = "cenote.diagnosis.diagnose.diagnose"
    monkeypatch.setattr(stub, lambda *_, **options: asked.append(options["quick"]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["diagnose", model, *effort])
    assert asked == [quick]


def test_another_pooling_than_the_models_own_is_diagnosed(model, searched, capsys):
    assert main(["diagnose", model, searched, "--pooling", "max", "--json", "-", *QUICK]) == Exit.SUCCESS
    found = Diagnosis.from_json(capsys.readouterr().out).models[0]
    assert found.pooling == "max"
    assert "pooling mean" in found.account.settings
    assert "pooling max" not in found.account.settings


def test_texts_in_which_nothing_can_be_searched_say_so_first_and_show_the_rest(demo_path, corpus, capsys):
    assert main(["diagnose", "minilm", corpus, *QUICK]) == Exit.SUCCESS
    shown = capsys.readouterr().out
    head, finding = (line.split() for line in shown.splitlines()[2:4])
    assert head == ["UNKNOWN", "search"]
    assert " ".join(finding) == "These texts cannot show what a search over them loses."
    assert "only 0 of 40 texts have three sentences" in " ".join(shown.split())
    for subject in ("truncation", "length collapse", "second-order collapse", "closeness", "repeated words"):
        assert subject in shown


def test_subjects_stand_above_their_findings(model, corpus, capsys):
    assert main(["diagnose", model, corpus, *QUICK]) == Exit.SUCCESS
    lines = capsys.readouterr().out.splitlines()[2:]
    heads = [line for line in lines if line[:1].isupper()]
    others = [line for line in lines if line[:1] == " "]
    columns = {len(line) - len(line.lstrip()) for line in others}
    assert {line.index(line.split(maxsplit=1)[1]) for line in heads} == columns


def test_json_on_standard_output_stands_alone(model, corpus, capsys):
    assert main(["diagnose", model, corpus, "--json", "-", "--sample", "20", *QUICK]) == Exit.SUCCESS
    found = json.loads(capsys.readouterr().out)
    assert found["texts"]["used"] == 20
    assert found["models"][0]["account"].startswith("only 0 of 20 texts")


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
    assert truncation.split()[1:] == ["fine", "fine"]
    assert max(map(len, lines[2 : lines.index("", 3)])) <= 80


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_reports_are_written_and_name_the_command(name, model, corpus, tmp_path, capsys):
    out = tmp_path / name
    assert main(["diagnose", model, corpus, "-o", str(out), *QUICK]) == Exit.SUCCESS
    text = out.read_text("utf-8")
    assert Path(model).name in text
    assert f"report: {out}" in capsys.readouterr().out
    assert "Command line" in text


def test_a_failed_run_leaves_no_empty_report(tmp_path, demo_path, monkeypatch, capsys):
    out = tmp_path / "page.md"
    assert main(["diagnose", "minilm", str(tmp_path / "none.txt"), "-o", str(out)]) == Exit.FAILURE
    assert not out.exists()


@posix
def test_files_are_written_before_verdicts_are_printed(demo_path, corpus, tmp_path):
    files = [tmp_path / "page.md", tmp_path / "figures.json"]
    options = ["-o", str(files[0]), "--json", str(files[1]), "--sample", "5", *QUICK]
    command = shlex.join([sys.executable, "-m", "cenote", "diagnose", "minilm", corpus, *options])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} | true"], check=False)
    assert done.returncode == Exit.SUCCESS
    assert all(file.stat().st_size for file in files)


def test_tracing_is_reported_as_a_step(model, corpus, capsys):
    assert main(["diagnose", model, corpus, "--quick", "--device", "cpu", "--temperatures", "0.8"]) == Exit.SUCCESS
    told = capsys.readouterr().err.splitlines()
    for step in ("tracing layers: 24", "reading texts: 16", "comparing pairs: 780", "repeating words: 2"):
        assert [line.split(": ", 2)[1][-6:] for line in told if line.endswith(step)] == [
            Path(model).name[-6:],
            "at 0.8",
        ]


def test_smaller_batches_are_reported(model, corpus, monkeypatch, capsys):
    from cenote.encoding import batches

    real, failed = batches.collate, []

    def collate(reader, tokens, rows):
        if len(rows) > 1 and not failed:
            failed.append(len(rows))
            raise MemoryError
        return real(reader, tokens, rows)

    monkeypatch.setattr(batches, "collate", collate)
    assert main(["diagnose", model, corpus, *QUICK]) == Exit.SUCCESS
    assert failed
    assert "cenote: out of memory: going on with batches of " in capsys.readouterr().err


def test_pairs_are_read_from_a_file(model, corpus, tmp_path, capsys):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"text1": f"a pool {row}", "text2": "a cave"}) + "\n" for row in range(5)))
    assert main(["diagnose", model, corpus, "--pairs", str(pairs), "--json", "-", *QUICK]) == Exit.SUCCESS
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
    assert own["excluded"] == [{"measure": "the given pairs", "why": "an empty side", "count": 1, "ids": ["pair 1"]}]


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
