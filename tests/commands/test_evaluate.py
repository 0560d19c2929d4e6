"""`cenote evaluate`: its lines, its files, its refusals."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest

from cenote.cli import Exit, main
from cenote.commands.evaluate import lines_of

from ..evaluation.labelled import retrieval, sts
from ..report.evaluations import clusters, evaluation, search

pytest.importorskip("mteb", reason="evaluate needs mteb: pip install 'cenote[eval]'")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def model(copy_of):
    return str(copy_of("bert"))


@pytest.fixture
def pairs(tmp_path):
    data = sts(40)
    rows = zip(data.first, data.second, data.scores, strict=True)
    path = tmp_path / "pairs.csv"
    path.write_text("text1,text2,score\n" + "".join(f"{first},{second},{score}\n" for first, second, score in rows))
    return str(path)


@pytest.fixture
def beir(tmp_path):
    """A folder as BEIR has them, of texts longer than the model reads."""
    data, folder = retrieval(queries=160, words=(100, 200)), tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = zip(data.corpus_ids, data.titles, data.texts, strict=True)
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": name, "title": title, "text": text}) + "\n" for name, title, text in rows)
    )
    queries = zip(data.query_ids, data.queries, strict=True)
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in queries)
    )
    judged = [f"{query}\t{one}\t{grade}\n" for query, some in data.judgments.items() for one, grade in some.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return str(folder)


def test_a_table_and_what_length_does(model, pairs, beir, tmp_path, capsys):
    files = {name: tmp_path / name for name in ("out.json", "items", "page.html", "page.md")}
    arguments = ["--cache", str(tmp_path / "cache"), "--backend", "torch", "--max-seq-length", "20"]
    written = ["--json", str(files["out.json"]), "--items", str(files["items"]), "-o", str(files["page.html"])]
    assert main(["evaluate", model, "--data", pairs, beir, *arguments, *written]) == Exit.SUCCESS
    shown, told = capsys.readouterr()
    lines = shown.splitlines()
    found = json.loads(files["out.json"].read_text())
    assert lines[0].split() == ["task", "measure", "score", "items"]
    for line, task in zip(lines[1:], found["tasks"], strict=False):
        name, metric, score, *_ = line.split()
        assert (name, metric, float(score)) == (task["name"], task["metric"], round(task["score"], 4))
    assert "are cut at the limit" in shown
    words = [" ".join(line.split()) for line in lines[lines.index("beir") :]]
    (search,) = (task for task in found["tasks"] if task["name"] == "beir")
    start = words.index("long texts by score change vectors a text")
    assert words[start + 1] == f"truncate {search['score']:.4f}"
    ways = {one["name"]: one for one in search["settings"]}
    assert [line.split()[:2] for line in words[start + 2 : start + 4]] == [
        [name, f"{ways[name]['score']['value']:.4f}"] for name in ("window-mean", "windows")
    ]
    assert words[start + 3].endswith(f" {ways['windows']['vectors']:.1f}")
    start = words.index("length of part ndcg_at_10 items")
    assert [line.split()[1:3] for line in words[start + 1 : start + 5]] == [
        ["quarter", f"{one},"] for one in (1, 2, 3, 4)
    ]
    assert "longest 20 %, " in shown
    start = words.index("lowest item value text expected found")
    worst = search["worst"][0]
    assert words[start + 1].startswith(f"{worst['item']} {worst['value']:.2f} ")
    assert sorted(path.name for path in files["items"].iterdir()) == ["beir.parquet", "pairs.parquet"]
    assert "<html" in files["page.html"].read_text()
    assert "cenote: task 1 of 2: pairs" in told
    assert "Standardizing" not in told  # mteb's own bars
    assert main(["evaluate", model, "--data", pairs, beir, *arguments, "--json", "-"]) == Exit.SUCCESS
    shown, told = capsys.readouterr()
    assert json.loads(shown) == found
    assert "task 1" not in told  # from the cache


def test_parts_of_a_clustering_are_shown_with_their_measure():
    lines = [re.sub(" {2,}", "  ", line.strip()) for line in lines_of(evaluation(clusters()))]
    assert lines[-8] == "length of  part  adjusted Rand index  items"
    assert lines[-3:] == [
        "text  shortest 20 %  0.4100 (0.3600 to 0.4600)  80",
        "text  longest 20 %  0.3100 (0.2600 to 0.3600)  80",
        "all items  0.3377 (0.3277 to 0.3477)  2,048",
    ]


def test_lines_of_a_rich_evaluation_are_narrow():
    assert max(map(len, lines_of(evaluation(search(notes=()))))) <= 110


def test_the_temperature_and_the_pooling_are_those_asked_for(model, pairs, tmp_path, capsys):
    arguments = ["--cache", str(tmp_path), "--backend", "torch", "--json", "-"]
    assert main(["evaluate", model, "--data", pairs, *arguments, "--temperature", "0.5", "--pooling", "max"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["temperature"], found["pooling"]) == ("0.5", "max")


def test_columns_of_other_names_are_read_and_recorded(model, pairs, tmp_path, capsys):
    odd = tmp_path / "odd.csv"
    odd.write_text(Path(pairs).read_text().replace("text1,text2,score", "left,right,text1", 1))
    arguments, found = ["--cache", str(tmp_path / "cache"), "--backend", "torch", "--json", "-"], []
    for more in (["--data", pairs], ["--data", str(odd), "--data-columns", "text1=left, text2=right,score=text1"]):
        assert main(["evaluate", model, *more, *arguments]) == Exit.SUCCESS
        found.append(json.loads(capsys.readouterr().out))
    usual, named = found
    assert usual["tasks"][0]["score"] == named["tasks"][0]["score"]
    assert "data_columns" not in usual["settings"]
    assert named["settings"]["data_columns"] == {"text1": "left", "text2": "right", "score": "text1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to evaluate on: name tasks (--tasks) or labelled data (--data)"),
        (["--data", "no/such"], "no such file or folder: no/such"),
        (["--data", "{pairs}", "-o", "page.pdf"], "name a file that ends in .html or .md"),
        (["--data", "{pairs}", "-o", "no/such/page.html"], "There is no folder 'no/such'"),
        (["--data", "{pairs}", "--json", "{pairs}"], "is an input and would be overwritten"),
        (["--data", "{pairs}", "-o", "a.html", "--json", "a.html"], "-o and --json both name 'a.html'"),
        (["--data", "{pairs}", "--cache", "a", "--no-cache"], "--cache and --no-cache exclude each other"),
        (["--data", "{pairs}", "--kind", "retrival"], "did you mean 'retrieval'"),
        (["--data", "{pairs}", "--long", "trunkate"], "did you mean 'truncate'"),
        (["--data", "{pairs}", "--long", "segments"], "give truncate, window-mean, windows or 'segments 8'"),
        (["--data", "{pairs}", "--temperature", "nan"], "'nan' is not a positive, finite number"),
        (["--data", "{pairs}", "--backend", "openvin"], "did you mean 'openvino'"),
        (["--data", "{pairs}", "--data-columns", "score"], "'score': name each column after its role"),
        (["--data", "{pairs}", "--data-columns", "score=a,score=b"], "names two columns for one role"),
        (["--data", "{pairs}", "--data-columns", "score=grade"], "named for 'score' (data_columns, --data-columns)"),
        (["--data", "{pairs}", "--items", "{pairs}"], "pairs.csv' is a file: name a folder to write into"),
        (["--data", "{folder}", "--json", "{folder}/new.jsonl"], "would be an input of the next run: name another"),
        (["--data", "{folder}", "--items", "{folder}"], "would be an input of the next run: name another folder"),
        (["--tasks", "STS12", "--split", "dev"], "--kind and --split are of --data, which is not given"),
        (["--tasks", "STS12", "--kind", "sts"], "--kind and --split are of --data, which is not given"),
        (["--tasks", "STS12", "--data-columns", "score=a"], "--data-columns names the columns of --data, which is not"),
    ],
)
def test_wrong_arguments_are_told_before_the_work(model, pairs, arguments, message, capsys, monkeypatch):
    monkeypatch.setattr("cenote.evaluation.evaluate.evaluate", lambda *_, **__: pytest.fail("the work began"))
    folder = str(Path(pairs).parent)
    arguments = [one.replace("{pairs}", pairs).replace("{folder}", folder) for one in arguments]
    with suppress(SystemExit):  # of argparse
        assert main(["evaluate", model, *arguments]) != Exit.SUCCESS
    assert message in capsys.readouterr().err


def test_an_unknown_folder_says_what_was_looked_for(model, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("a pool")
    assert main(["evaluate", model, "--data", str(tmp_path)]) != Exit.SUCCESS
    told = " ".join(capsys.readouterr().err.split())
    assert "corpus" in told
    assert "notes.txt" in told
