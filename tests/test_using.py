"""Every snippet of docs/using.md finds what `cenote.search` finds; a library that is not installed is skipped.

`make guides` installs all of them. A snippet assigns a name of `ANSWERS`. The folder has several parts here: a snippet
that reads one of them, or reads them out of order, fails.
"""

import ast
import io
import json
import re
import shlex
import shutil
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import cenote
from cenote.cli import main

from .folders import make_small_parts

PAGE = Path(__file__).parent.parent / "docs" / "using.md"
# Heading: its snippets, each with its language.
SECTIONS = {
    heading: re.findall(r"^```(python|sh)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
}
FOLDER = "The folder of this page"
VSS = "I want an approximate index: DuckDB's vss"
LANCE = "I want a vector database: LanceDB"
ATLAS = "I want to look at it: embedding-atlas"
SCORES = "I want to know how good my search is"
# Sections that read vectors as the parts hold them run on a folder of each type of number that they take.
TYPES = {
    "I want SQL: DuckDB": ("float32", "float16", "int8"),
    "I want a data frame: pandas": ("float32", "float16", "int8"),
    "I want a data frame: polars": ("float32", "float16", "int8"),
    "I want an approximate index: FAISS": ("float32", "float16", "int8"),
    LANCE: ("float32", "float16"),
}


def snippets(heading, kind):
    return [content for language, content in SECTIONS[heading] if language == kind]


def lines(heading, program):
    words = (shlex.split(line) for content in snippets(heading, "sh") for line in content.splitlines())
    return [arguments for first, *arguments in words if first == program]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, demo_path):
    """Return a function of a type of number: the place of the folder, and the names of the snippet that makes it."""
    made = {}

    def folder_of(dtype):
        if dtype not in made:
            home, names = tmp_path_factory.mktemp(dtype), {}
            (snippet,) = snippets(FOLDER, "python")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(home)
                make_small_parts(patch, 60)
                exec(snippet.replace("keep=", f"dtype={dtype!r}, keep="), names)
            assert len(list(home.glob("vectors/*.parquet"))) > 1
            made[dtype] = home, names
        return made[dtype][0], dict(made[dtype][1])

    return folder_of


@pytest.fixture
def run(folder_of, monkeypatch):
    """Return a function that runs the snippets of a section one after another: it yields the names after each."""

    def run(heading, dtype="float32"):
        home, names = folder_of(dtype)
        monkeypatch.chdir(home)
        for written in ("lance", "chroma", "windows"):
            shutil.rmtree(written, ignore_errors=True)
        for snippet in snippets(heading, "python"):
            skip_unless_installed(snippet)
            for words, prepare in PREPARED.items():
                if words in snippet:
                    prepare(home, names, monkeypatch)
            for answer in ANSWERS:
                names.pop(answer, None)
            exec(compile(snippet, PAGE.name, "exec"), names)
            yield names

    return run


def skip_unless_installed(snippet):
    for node in ast.walk(ast.parse(snippet)):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in [*imported, *([node.module] if isinstance(node, ast.ImportFrom) else [])]:
            package = name.partition(".")[0]
            pytest.importorskip(package, reason=f"{package} is not installed: make guides")


def install_vss(home, names, monkeypatch):
    """Put DuckDB's extension where `install vss` looks first, as nothing is downloaded here."""
    duckdb = pytest.importorskip("duckdb")
    package = pytest.importorskip("duckdb_extension_vss", reason="DuckDB's vss is not installed: make guides")
    (extension,) = Path(package.__file__).parent.glob(f"extensions/v{duckdb.__version__}/vss*")
    monkeypatch.setenv("HOME", str(home))
    duckdb.connect().execute(f"install '{extension}'")


def give_task(home, names, monkeypatch):
    """Let mteb find a task of the page's texts and questions, as nothing is downloaded here."""
    mteb = pytest.importorskip("mteb")
    from cenote.data.labelled import Retrieval
    from cenote.evaluation.tasks import local_task

    exec(snippets(SCORES, "python")[0], names)  # defines `asked`
    ids, contents = zip(*((row["id"], row["text"]) for row in names["texts"]), strict=True)
    judgments = {question: {wanted: 1} for question, wanted in names["asked"].items()}
    data = Retrieval(ids, ("",) * len(ids), contents, tuple(judgments), tuple(judgments), judgments, None)
    monkeypatch.setattr(mteb, "get_task", lambda name: local_task(name, data))


# Words of a snippet, and what it needs before it runs.
PREPARED = {"install vss": install_vss, "mteb.get_task": give_task}


def all_hits(names):
    return cenote.search("vectors", names["question"], top=len(names["texts"]))


def ranks(names):
    """Return the rank of each wanted text among ten, by a loop; infinity for one that is not found."""
    found = {}
    for question, wanted in names["asked"].items():
        for rank, hit in enumerate(cenote.search("vectors", question, top=10), 1):
            if hit.id == wanted:
                found[question] = rank
    return np.array([found.get(question, np.inf) for question in names["asked"]])


# What a snippet may assign, and how it is known.
ANSWERS = {
    "nearest": lambda names: [hit.id for hit in all_hits(names)[:10]],
    "filtered": lambda names: [hit.id for hit in all_hits(names) if hit.kept["module"] == "argparse"][:10],
    "numbers": lambda names: [1000 + hit.row for hit in all_hits(names)[:10]],
    "by_window": lambda names: [hit.id for hit in cenote.search("windows", names["question"])],
    "recall": lambda names: np.isfinite(ranks(names)).mean(),
    "mrr": lambda names: (1 / ranks(names)).mean(),
    "score": lambda names: round((1 / np.log2(1 + ranks(names))).mean(), 5),  # nDCG@10 with one right text each
}


@pytest.mark.parametrize(
    ("heading", "dtype"),
    [
        (heading, dtype)
        for heading in SECTIONS
        for dtype in TYPES.get(heading, ("float32",))
        if snippets(heading, "python") and heading not in (FOLDER, ATLAS)
    ],
    ids=lambda value: value.rpartition(": ")[2],
)
def test_a_snippet_finds_what_search_finds(run, heading, dtype):
    for names in run(heading, dtype):
        answers = {name: names[name] for name in ANSWERS if name in names}
        assert answers
        assert answers == {name: ANSWERS[name](names) for name in answers}


def test_the_snippet_of_the_folder_asks_both_ways(folder_of, monkeypatch):
    home, names = folder_of("float32")
    monkeypatch.chdir(home)
    (hits,) = cenote.search("vectors", names["vector"][None])
    assert names["nearest"] == [hit.id for hit in hits] == ANSWERS["nearest"](names)


@pytest.mark.parametrize(
    "arguments", [words for heading in SECTIONS for words in lines(heading, "cenote")], ids=lambda words: words[-1]
)
def test_the_command_line_finds_them_too(folder_of, monkeypatch, arguments):
    if "--index" in arguments:
        pytest.importorskip("faiss", reason="faiss is not installed: make guides")
    home, names = folder_of("float32")
    monkeypatch.chdir(home)
    with redirect_stdout(io.StringIO()) as out:
        assert main([*arguments, "--json"]) == 0
    (answer,) = json.loads(out.getvalue())["answers"]
    assert [hit["id"] for hit in answer["hits"]] == names["nearest"]


def test_duckdb_filters_after_its_index(run):
    (names,) = run(VSS)
    query = "select id from texts where id like 'argparse%' order by array_cosine_distance(embedding, ?::float[384])"
    plan = names["connection"].execute(f"explain {query} limit 10", [names["vector"]]).fetchall()[0][1]
    assert "HNSW_INDEX_SCAN" in plan
    assert len(names["connection"].execute(f"{query} limit 10", [names["vector"]]).fetchall()) < 10


def test_lancedb_filters_after_the_search_if_asked(run):
    names = next(run(LANCE))
    found = names["table"].search(names["vector"]).distance_type("cosine")
    kept = found.where("module = 'argparse'", prefilter=False).limit(10).to_list()
    assert len(kept) < 10


@pytest.mark.parametrize("arguments", lines(ATLAS, "embedding-atlas"), ids=lambda words: words[0])
def test_embedding_atlas_shows_the_texts_and_their_neighbours(run, monkeypatch, tmp_path, arguments):
    pytest.importorskip("embedding_atlas", reason="embedding_atlas is not installed: make guides")
    from click.testing import CliRunner
    from embedding_atlas.cli import main as atlas

    (names,) = run(ATLAS)
    monkeypatch.setenv("HOME", str(tmp_path))  # where it keeps projections
    files = [str(path) for path in sorted(Path().glob(arguments[0]))]
    page = tmp_path / "page.zip"  # in place of a server
    shown = CliRunner().invoke(atlas, [*files, *arguments[1:], "--export-application", str(page)])
    assert shown.exit_code == 0, shown.output
    with zipfile.ZipFile(page) as archive:
        table = parquet.read_table(io.BytesIO(archive.read("data/dataset.parquet")))
        columns = json.loads(archive.read("data/metadata.json"))["props"]["data"]
    texts = names["texts"]
    assert table["id"].to_pylist() == [row["id"] for row in texts]
    assert table[columns["text"]].to_pylist() == [row["text"] for row in texts]
    assert np.isfinite([table[columns["projection"][axis]].to_numpy() for axis in "xy"]).all()
    first = cenote.search("vectors", names["found"][:1])[0]
    assert table[columns["neighbors"]][0].as_py()["ids"][:10] == [hit.row for hit in first]


def test_the_contents_name_every_section():
    contents = PAGE.read_text("utf-8").partition("\n## ")[0]
    anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in SECTIONS]
    assert re.findall(r"\]\(#(.*?)\)", contents) == anchors


def test_the_table_says_which_types_were_run():
    table = PAGE.read_text("utf-8").partition("## What each of them reads")[2]
    rows = [re.split(r" *\| *", line)[1:5] for line in table.splitlines() if re.match(r"\| \w", line)]
    for names, *cells in rows:
        for name in names.split(", "):
            (heading,) = [one for one in SECTIONS if one.endswith(f": {name}")]
            ran = TYPES.get(heading, ("float32",)) if name != "mteb" else ()
            assert [cell == "yes" for cell in cells] == [dtype in ran for dtype in ("float32", "float16", "int8")], name


def test_snippets_are_short():
    for heading in SECTIONS:
        for snippet in snippets(heading, "python"):
            assert len([line for line in snippet.splitlines() if line.strip()]) <= 14, heading
