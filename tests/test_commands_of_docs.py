"""Every `cenote` command of the documentation runs in the order of its page, on toy data, but for those of a table."""

import json
import re
import shlex
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cenote.auditing import endpoint_requests
from cenote.cli import COMMANDS, main, parser
from cenote.data import builtin
from cenote.diagnosis import controls
from cenote.encoding import backends

from .auditing.servers import App, serving
from .documented import PAGES, commands, commands_of, name
from .evaluation.labelled import EVERY, write_folder
from .loopback import allow_loopback
from .words import WORDS

# Commands that are parsed, and why they are not run.
PARSED = {
    "cenote embed MODEL texts.jsonl -o /shared/vectors --engine ray": "a cluster: embedding/test_cluster.py starts one",
    "cenote evaluate MODEL --tasks SciFact STSBenchmark": "mteb downloads its tasks",
    "cenote compare CLS_MODEL MEAN_MODEL LANDMARK_MODEL --tasks SciFact NFCorpus TwentyNewsgroupsClustering": (
        "mteb downloads its tasks"
    ),
    "cenote train answerdotai/ModernBERT-base PAIRS -o out --pooling landmark --intervals 32,64,128,256": (
        "a model of the hub"
    ),
    "cenote evaluate out --tasks LEMBQMSumRetrieval LEMBSummScreenFDRetrieval": "mteb downloads its tasks",
}
# What writes the files that a page takes for granted.
BEFORE = {
    "docs/design.md": ["cenote pairs texts.jsonl -o pairs.jsonl"],
    "docs/landmarks.md": ["cenote pairs texts.jsonl -o pairs.jsonl"],
    "docs/using.md": ["cenote embed minilm texts.jsonl -o vectors"],
}
# Commands that would take minutes are given less to do.
FEWER = {
    "audit": ["--quick", "--only", "pooling,weights,padding"],
    "diagnose": ["--sample", "40"],
    "train": ["--steps", "1", "--batch-size", "2"],
}
# The addresses of servers that pages name.
SERVER = re.compile(r"https?://(?:localhost:\d+|HOST)(/v1)?")
docstrings = builtin._documented


@cache
def docstrings_once(library):
    """Return the texts of the built-in corpus, which take seconds to read, for all commands that read them."""
    return [*docstrings(library)]


def text_of(number):
    """Return a text of four sentences, of words that no other text has in this order."""
    words = [WORDS[(number * step + place * place) % len(WORDS)] for step, place in ((3, 1), (5, 2), (7, 3), (11, 4))]
    return " ".join(f"The {word} of {number} is {WORDS[number % 13]} and a deep {words[0]}." for word in words)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_search(folder, texts):
    """Write a labelled search: the query is the first sentence of the one text that answers it."""
    folder.mkdir()
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
    monkeypatch.setattr(builtin, "_documented", docstrings_once)
    # Every CPU computes in int8 and bfloat16; some do so slowly.
    monkeypatch.setattr(backends, "_hardware_obstacle", lambda *_: None)
    texts = [text_of(number) for number in range(80)]
    rows = [{"id": str(number), "title": f"Cave {number}", "text": text} for number, text in enumerate(texts)]
    for file in ("texts.jsonl", "titled.jsonl", "docstrings.jsonl", "corpus.jsonl", "posts.jsonl"):
        write_lines(tmp_path / file, rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus.parquet")
    (tmp_path / "queries.csv").write_text("text,id\n" + "".join(f"cave {number},{number}\n" for number in range(40)))
    for folder in ("FOLDER", "OTHER_FOLDER", "scifact"):
        write_search(tmp_path / folder, texts)
    write_folder(EVERY["classification"], tmp_path / "20news_titles")
    write_folder(EVERY["sts"], tmp_path / "pairs").joinpath("test.jsonl").rename(tmp_path / "sickr.jsonl")
    (tmp_path / "docs" / "howto").mkdir(parents=True)
    for number, text in enumerate(texts[:5]):
        (tmp_path / "docs" / "howto" / f"{number}.md").write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "texts.txt").write_text("\n".join(texts))
    models = dict.fromkeys(("MODEL", "./model", "models/encoder"), str(tiny_st("bert")))
    return {**models, "OTHER": str(demo_path), "TEXTS": "texts.jsonl"}


@pytest.fixture
def server(no_network, monkeypatch, tiny_st):
    """The address of a server of the tiny model; connections to this machine alone are allowed."""
    from sentence_transformers import SentenceTransformer

    allow_loopback(monkeypatch)
    monkeypatch.setattr(endpoint_requests, "pause_for", lambda *_: None)
    monkeypatch.setenv("served", "the key of the server")
    with serving(App(SentenceTransformer(str(tiny_st("bert")), device="cpu"))) as address:
        yield address


def is_whole(line):
    """Return whether a command names what it works on; others are mentions, such as `cenote embed --long windows`."""
    words = line.split()
    return len(words) > 2 and not words[2].startswith("-")


def arguments_of(line, names, server):
    """Return the arguments of a command, with all parts of a synopsis, and what stands for the names in it."""
    verb, *words = shlex.split(re.sub(r"\.\.\.|[\[\]]", "", line), comments=True)[1:]
    if any(map(SERVER.fullmatch, words)):  # it serves the tiny model under one name
        names = {**names, "minilm": names["MODEL"], "all-minilm": "served", "NAME": "served"}
    if words[0] == "FOLDER":  # of a model
        words[0] = names["MODEL"]
    return [verb, *(SERVER.sub(rf"{server}\1", names.get(word, word)) for word in words)]


def outputs_of(arguments):
    """Return the files and folders that a command says it writes."""
    args = vars(parser(arguments[:1]).parse_args(arguments))
    named = (args.get(option) for option in ("output", "json", "items"))
    return [Path(one) for one in named if isinstance(one, str) and one != "-"]


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")  # a page may show what is warned of
@pytest.mark.parametrize("page", [page for page in PAGES if any(map(is_whole, commands_of(page, "cenote")))], ids=name)
def test_a_reader_can_follow_the_page_to_its_end(page, workplace, server, capsys):
    pytest.importorskip("mteb", reason="mteb is not installed: pip install 'cenote[eval]'")
    for line in [*BEFORE.get(name(page), ()), *filter(is_whole, commands_of(page, "cenote"))]:
        if line in PARSED:
            continue
        arguments = arguments_of(line, workplace, server)
        code = main([*arguments, *FEWER.get(arguments[0], [])])
        assert code == 0, f"{line}\n{capsys.readouterr().err[-2000:]}"
        if arguments[0] != "tune":  # which writes a confirmed gain only
            assert [path for path in outputs_of(arguments) if not path.exists()] == [], line


def test_commands_are_those_of_blocks_and_spans():
    text = "Use `cenote info\nMODEL`, `cenote` or `cenote a; cenote b`.\n" + "".join(
        f"```{kind}\n{content}\n```\n"
        for kind, content in {
            "sh": "cenote embed `MODEL`  # a comment\npip install cenote",
            "console": "$ cenote shown",
            "text": "cenote: 3 texts\n  - run: cenote audit MODEL",
        }.items()
    )
    found = ["cenote info MODEL", "cenote a", "cenote b", "cenote embed `MODEL`  # a comment", "cenote audit MODEL"]
    assert commands(text, "cenote") == found
    assert commands("`.venv/bin/python -m pytest`", "python") == [".venv/bin/python -m pytest"]


def test_mentions_name_commands_and_their_options():
    every = parser()
    for page in PAGES:
        for line in commands_of(page, "cenote"):
            verb = line.split()[1]
            if not is_whole(line) and verb != "COMMAND":
                assert verb in COMMANDS or verb.startswith("-"), f"{name(page)}: {line}"
                shown = every.commands.get(verb, every).format_help()
                for option in re.findall(r"--[\w-]+", line):
                    assert re.search(rf"{option}(?![\w-])", shown), f"{name(page)}: {line}"


def test_what_is_parsed_only_is_on_a_page_and_says_why():
    written = {line for page in PAGES for line in commands_of(page, "cenote")}
    for line, reason in PARSED.items():
        assert line in written
        assert reason
        parser().parse_args(shlex.split(line)[1:])


def test_more_is_written_and_less_to_do_is_given_only_for_what_pages_have():
    assert BEFORE.keys() <= set(map(name, PAGES))
    assert FEWER.keys() <= {line.split()[1] for page in PAGES for line in commands_of(page, "cenote")}
