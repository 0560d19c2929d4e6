"""Every command of the pages that lead through a task runs, in the order of the page, on toy data and a tiny model."""

import json
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cenote.auditing import endpoint_requests
from cenote.cli import main
from cenote.diagnosis import controls

from .auditing.servers import App, serving
from .loopback import allow_loopback
from .test_docs import ROOT, blocks, name
from .words import WORDS

PAGES = [
    ROOT / "docs" / "start.md",
    *sorted(path for part in ("concepts", "howto") for path in (ROOT / "docs" / part).glob("*.md")),
]
SERVER = "http://localhost:8080"
# Commands that would take minutes are given less to do.
FEWER = {
    "audit": ["--quick", "--only", "pooling,weights,padding"],
    "diagnose": ["--sample", "40"],
    "train": ["--steps", "1", "--batch-size", "2"],
}


def text_of(number):
    """Return a text of four sentences, of words that no other text has in this order."""
    words = [WORDS[(number * step + place * place) % len(WORDS)] for step, place in ((3, 1), (5, 2), (7, 3), (11, 4))]
    return " ".join(f"The {word} of {number} is {WORDS[number % 13]} and a deep {words[0]}." for word in words)


def write_lines(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_search(folder, texts):
    """Write a labelled search: the query is the first sentence of the one text that answers it."""
    documents = ({"id": f"d{row}", "title": "", "text": text} for row, text in enumerate(texts))
    write_lines(folder / "corpus.jsonl", documents)
    queries = (text.partition(".")[0] for text in texts)
    write_lines(folder / "queries.jsonl", ({"id": f"q{row}", "text": query} for row, query in enumerate(queries)))
    lines = [f"q{row}\td{row}\t1" for row in range(len(texts))]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")


@pytest.fixture
def workplace(tmp_path, monkeypatch, tiny_st, demo_path):
    """The folder in which a page is followed, with every file that pages name; return what stands for their names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CENOTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(controls, "WORD_PAIRS", controls.WORD_PAIRS[:2])  # twenty take longer than all else
    texts = [text_of(number) for number in range(80)]
    rows = [{"id": str(number), "title": f"Cave {number}", "text": text} for number, text in enumerate(texts)]
    for file in ("texts.jsonl", "titled.jsonl", "docstrings.jsonl"):
        write_lines(tmp_path / file, rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus.parquet")
    (tmp_path / "queries.csv").write_text("text,id\n" + "".join(f"cave {number},{number}\n" for number in range(40)))
    for folder in ("FOLDER", "OTHER_FOLDER"):
        write_search(tmp_path / folder, texts)
    (tmp_path / "docs" / "howto").mkdir(parents=True)
    for number, text in enumerate(texts[:5]):
        (tmp_path / "docs" / "howto" / f"{number}.md").write_text(text)
    return {"MODEL": str(tiny_st("bert")), "OTHER": str(demo_path)}


@pytest.fixture
def server(no_network, monkeypatch, tiny_st):
    """The address of a server of the tiny model; connections to this machine alone are allowed."""
    from sentence_transformers import SentenceTransformer

    allow_loopback(monkeypatch)
    monkeypatch.setattr(endpoint_requests, "pause_for", lambda *_: None)
    with serving(App(SentenceTransformer(str(tiny_st("bert")), device="cpu"))) as address:
        yield address


def commands(page):
    """Return the words of each `cenote` line of a page."""
    lines = (shlex.split(line, comments=True) for line in "".join(blocks(page, "sh")).splitlines())
    return [words[1:] for words in lines if words[:1] == ["cenote"]]


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")  # a page may show what is warned of
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_a_reader_can_follow_the_page_to_its_end(page, workplace, server, capsys):
    pytest.importorskip("mteb", reason="mteb is not installed: pip install 'cenote[eval]'")
    for words in commands(page):
        verb, *arguments = ({**workplace, SERVER: server}.get(word, word) for word in words)
        code = main([verb, *arguments, *FEWER.get(verb, [])])
        assert code == 0, f"cenote {' '.join(words)}\n{capsys.readouterr().err[-2000:]}"
        if "-o" in arguments and verb != "tune":  # which writes a confirmed gain only
            assert Path(arguments[arguments.index("-o") + 1]).exists(), words


def test_less_to_do_is_given_only_where_a_page_has_the_verb():
    assert FEWER.keys() <= {words[0] for page in PAGES for words in commands(page)}
