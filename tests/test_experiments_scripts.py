"""The scripts that print tables of the documentation run to their end on a toy model and small data."""

import gzip
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cenote
from cenote.data.labelled import Classification, Labels, Retrieval
from cenote.functional import paired
from cenote.functional.paired import Paired

from .evaluation import labelled

pytest.importorskip("mteb")

HERE = Path(__file__).parents[1] / "experiments"
# For each script, with what it is asked for: its other arguments, and the beginnings of the lines that it has to print.
SCRIPTS = {
    "windows": ([], ["bert: 60 documents, 40 answers", "| truncate | 60 |", "| window-mean | 60 |", "| windows | "]),
    "segments": ([], ["bert: 60 documents of ", "| 1 | 60 | ", "| 2 | "]),
    "positions": ([], ["70 queries", "| bert | tile | 256 to 512 | 1.000 | 1.000 |"]),
    "evaluations": (
        ["--data", "scifact", "imdb", "--beside", "windows"],
        ["| scifact | retrieval |", "| bert | imdb |"],
    ),
    "diagnoses": (["--data", "imdb"], ["#### bert, which reads 256 tokens", "| imdb | "]),
    "stability": (["--data", "imdb"], ["| bert | imdb | search |", "| bert | imdb | pooling |"]),
    "comparisons poolings": (
        ["--data", "scifact", "imdb", "--together"],
        ["| bert | scifact | retrieval |", "| bert | imdb | classification |", "| bert | all | all |"],
    ),
    "comparisons temperatures": (["--data", "imdb", "--quick"], ["| bert | imdb | classification |"]),
    "comparisons tuned": (["--data", "scifact", "--by-role"], ["| bert | scifact |", "bert: "]),
    "validity": (
        ["--data", "scifact", "qmsum", "--limits", "16", "32"],
        ["| bert | qmsum |", "kept: mean ", "Over 2 rows"],
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small sets under the names that the scripts read, in compressed files as those that they were written for."""
    root = tmp_path_factory.mktemp("sets")
    labelled.write_folder(replace(labelled.retrieval(queries=70), texts=tuple(sentences(60, 3))), root / "scifact")
    labelled.write_folder(as_meetings(labelled.retrieval(), sentences(60, 20)), root / "qmsum")
    (root / "qmsum" / "queries_answer.jsonl").write_bytes((root / "qmsum" / "queries.jsonl").read_bytes())
    reviews = sentences(240, 4)
    halves = [
        Labels(tuple(some), tuple("ab"[row % 2] for row in range(120))) for some in (reviews[:120], reviews[120:])
    ]
    labelled.write_folder(Classification(*halves), root / "imdb")
    for path in [*root.rglob("*.jsonl"), *root.rglob("*.tsv")]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return root


def sentences(count, each):
    """Return texts of some sentences."""
    return [". ".join(labelled.texts(each, (5, 12), row)) + "." for row in range(count)]


def as_meetings(search, texts):
    """Return a search whose documents are the texts, with ids and judgments as those of meetings."""
    documents, queries = ({one: f"train_{one}" for one in ids} for ids in (search.corpus_ids, search.query_ids))
    return Retrieval(
        tuple(documents.values()),
        search.titles,
        tuple(texts),
        tuple(queries.values()),
        search.queries,
        {
            queries[query]: {documents[one]: int(grade > 0) for one, grade in some.items()}
            for query, some in search.judgments.items()
        },
    )


@pytest.fixture
def start(monkeypatch):
    """`start(script, *arguments)`: run a script as a program, which imports its neighbours anew."""

    def run(script, *arguments):
        monkeypatch.syspath_prepend(str(HERE))
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
        for path in HERE.glob("*.py"):
            monkeypatch.delitem(sys.modules, path.stem, raising=False)
        try:
            runpy.run_path(str(HERE / f"{script}.py"), run_name="__main__")
        finally:
            for path in HERE.glob("*.py"):
                sys.modules.pop(path.stem, None)

    return run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_to_its_end(script, data, start, tiny_st, tmp_path, monkeypatch, capsys):
    arguments, expected = SCRIPTS[script]
    script, *asked = script.split()
    folder = tmp_path / "bert"
    folder.symlink_to(tiny_st("bert"))
    monkeypatch.setenv("CENOTE_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    start(script, *asked, "--models", folder, *arguments)
    printed = capsys.readouterr().out
    for beginning in expected:
        assert f"\n{beginning}" in f"\n{printed}"
    if script != "validity":  # there a resample of so few texts may find none in any setting
        assert "nan" not in printed


def test_families_are_counted_by_what_they_report(start, capsys, monkeypatch):
    monkeypatch.setattr(paired, "RESAMPLES", paired.RESAMPLES)  # the script lowers it for its process
    start("families", "--repeats", 2)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" % |")]
    assert len(rows) == 9
    monkeypatch.syspath_prepend(str(HERE))
    families = runpy.run_path(str(HERE / "families.py"), run_name="imported")
    plain = families["of_means"]
    assert families["count_false"](plain, 40) <= 8  # more has a probability of .0002 where 5 % report
    assert families["count_false"](lambda generator: Paired(plain(generator).values + 3), 5) == 5


def test_gains_of_windows_are_those_of_sklearn(data, start, monkeypatch):
    from sklearn.metrics import ndcg_score

    monkeypatch.setenv("CENOTE_DATA", str(data))
    monkeypatch.syspath_prepend(str(HERE))
    windows = runpy.run_path(str(HERE / "windows.py"), run_name="imported")
    documents, relevant = windows["_texts"]("corpus.jsonl.gz"), windows["_relevant"]()
    queries = [one for one in windows["_texts"]("queries_answer.jsonl.gz") if one.id in relevant]
    scores = np.random.default_rng(0).normal(size=(len(queries), len(documents)))
    judged = [[float(one.id in relevant[query.id]) for one in documents] for query in queries]
    assert windows["mean_ndcg"](scores, queries, documents, relevant) == pytest.approx(ndcg_score(judged, scores, k=10))


@pytest.mark.parametrize("script", ["windows", "segments", "positions"])
def test_data_that_are_not_here_are_named_in_a_line(script, start, tmp_path, monkeypatch):
    monkeypatch.setenv("CENOTE_DATA", str(tmp_path))
    monkeypatch.setattr(cenote, "load", None)  # before any work
    with pytest.raises(SystemExit, match="set CENOTE_DATA to a folder that has"):
        start(script)
