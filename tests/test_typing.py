"""An editor and a type checker see the public names, the names of options, and the types of results."""

import ast
import inspect
import os
import pydoc
import re
import subprocess
import sys
import typing
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

import pytest

import cenote
from cenote.embedding import search
from cenote.embedding.keywords import EmbedKeywords
from cenote.embedding.options import Request
from cenote.training.keywords import TrainKeywords
from cenote.training.recipe import Recipe

SOURCE = Path(cenote.__file__).parent
ROOT = SOURCE.parent.parent
VERBS = sorted(set(cenote.__all__) - {"__version__"})

# A line of code, and the words of mypy's message about it; none where the line is right.
LINES = [
    # The names of options.
    ('cenote.load("minilm", pooling="mean", dtype="auto")', ""),
    ('cenote.load("minilm", pooling=("mean", "max"), device="cuda:1")', ""),
    ('cenote.load("minilm", pooling="lmk", dtype=torch.float16)', ""),
    ('cenote.load("minilm", pooling="maen")', "Literal['maen']"),
    ('cenote.load("minilm", dtype="float61")', "Literal['float61']"),
    ('cenote.evaluate("minilm", "SciFact", backend="auto", precision="bfloat16", long="segments 8")', ""),
    ('cenote.evaluate("minilm", "SciFact", backend="onx")', "Literal['onx']"),
    ('cenote.evaluate("minilm", data="folder", kind="retreival")', "Literal['retreival']"),
    ('cenote.compare("minilm", "folder", poolings=["cls", "mean+max"], precision="float32")', ""),
    ('cenote.compare("minilm", "folder", precision="float23")', "Literal['float23']"),
    ('cenote.tune("minilm", "folder", precision="auto", kind="sts")', ""),
    ('cenote.tune("minilm", "folder", precision="fast")', "Literal['fast']"),
    ('cenote.train("minilm", "pairs.jsonl", pooling="landmark", intervals=[32, 64], positions="tile")', ""),
    ('cenote.train("minilm", "pairs.jsonl", splitter="fixd")', "Literal['fixd']"),
    ('cenote.train("minilm", "pairs.jsonl", stepz=4)', 'Unexpected keyword argument "stepz"'),
    ('cenote.audit("minilm", only=["weights", "sticky-tokens"], pooling=["cls", "mean"])', ""),
    ('cenote.audit("minilm", only=["wieghts"])', "List item 0 has incompatible type \"Literal['wieghts']\""),
    ('cenote.mine_pairs("texts.txt", ["title", "spans"])', ""),
    ('cenote.mine_pairs("texts.txt", "span")', "Literal['span']"),
    ('cenote.LengthTemperature("log", s=0.3)', ""),
    ('cenote.LengthTemperature("logarithm", s=0.3)', "Literal['logarithm']"),
    # The types of results.
    ("reveal_type(cenote.pool(torch.ones(1, 2, 3)))", "Tensor"),
    ("reveal_type(cenote.pool(np.ones((1, 2, 3))))", "ndarray"),
    ('cenote.pool(torch.ones(1, 2, 3), None, "men")', "Literal['men']"),
    ('reveal_type(cenote.similarity(np.ones((1, 2)), np.ones((1, 2)), "dot"))', "ndarray"),
    ('cenote.similarity(np.ones((1, 2)), np.ones((1, 2)), "cos")', "Literal['cos']"),
    ('reveal_type(cenote.load("minilm"))', "SentenceTransformer"),
    # `embed`: a list gives an array, an iterator an iterator, a folder a manifest.
    ('reveal_type(cenote.embed("minilm", ["a"]))', '"numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", texts=("a", "b"), dtype="float16", long="window-mean"))', '"numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", iter(["a"])))', '"typing.Iterator[numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", [Path("a.txt")]))', '"typing.Iterator[numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", (Path("a.txt"), Path("b.txt"))))', '"typing.Iterator[numpy.ndarray['),
    ('cenote.embed("minilm", tqdm(["a"], total=1))', "No overload variant"),
    ('reveal_type(cenote.embed("minilm", iter(tqdm(["a"]))))', '"typing.Iterator[numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", list[dict[str, Any]]()))', '"numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", {"a", "b"}))', '"numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", {1: "a"}.keys()))', '"numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", np.array(["a"])))', '"numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", (text for text in "abc")))', '"typing.Iterator[numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", "texts.txt"))', '"typing.Iterator[numpy.ndarray['),
    ('reveal_type(cenote.embed("minilm", ["a"], "vectors"))', '"cenote.records.Manifest"'),
    ('reveal_type(cenote.embed("minilm", "texts.txt", output="vectors", keep="all"))', '"cenote.records.Manifest"'),
    ('cenote.embed("minilm", ["a"], backend="auto", precision="auto", on_truncate="error", task="query")', ""),
    ('cenote.embed("minilm", "texts.txt", "vectors", engine="ray", on_error="skip", long="windows", dtype="int8")', ""),
    *(
        (f'cenote.embed("minilm", "texts.txt", "vectors", {option}="misspelt")', "error: ")
        for option in ("task", "dtype", "long", "on_truncate", "on_error", "pooling", "backend", "precision", "engine")
    ),
    ('cenote.embed("minilm", ["a"], dtipe="float32")', 'Unexpected keyword argument "dtipe"'),
    ('reveal_type(cenote.search("vectors", "How deep?", how="dot"))', '"list[cenote.embedding.search.Hit]"'),
    ('reveal_type(cenote.search("vectors", ["How deep?"], top=3))', '"list[list[cenote.embedding.search.Hit]]"'),
    ('cenote.search("vectors", "How deep?", how="cosin")', "error: "),
    ('reveal_type(cenote.search("vectors", collections.UserList(["a"])))', '"list[list[cenote.embedding.search.Hit]]"'),
    ('reveal_type(cenote.search("vectors", np.ones((1, 2)), how="dot_product"))', '"list[list[cenote.embedding.'),
    ('cenote.search("vectors", 5)', "error: "),
    # Names.
    ("cenote.encode", 'Module has no attribute "encode"'),
    ('reveal_type(cenote.data.texts.read("texts.txt"))', "Iterator[tuple[str, str"),
]
LINES += [(f"reveal_type(cenote.{name})", "def ") for name in VERBS]


IMPORT = "import cenote"


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """The messages of mypy about the lines, by line."""
    file = tmp_path_factory.mktemp("typing") / "snippet.py"
    head = [
        "import collections",
        "from pathlib import Path",
        "from typing import Any",
        "",
        "import numpy as np",
        "import torch",
        "from tqdm import tqdm",
        "",
        IMPORT,
    ]
    file.write_text("\n".join([*head, *(code for code, _ in LINES)]) + "\n")
    # The project's settings and cache, so that libraries are not read again.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--hide-error-context", str(file)],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(SOURCE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = defaultdict(list)
    # From its cache mypy repeats messages with the path at which it first saw the same lines.
    for line, message in re.findall(rf"^.*{file.name}:(\d+): (.*)$", done.stdout, re.MULTILINE):
        found[LINES[int(line) - len(head) - 1][0]].append(message)
    return found


@pytest.mark.parametrize(("code", "words"), LINES, ids=[code for code, _ in LINES])
def test_mypy_says(code, words, messages):
    if not words:
        assert not messages[code]
        return
    assert any(words in message for message in messages[code]), messages[code]
    if code.startswith("reveal_type"):
        assert [message.partition(":")[0] for message in messages[code]] == ["note"], messages[code]


@pytest.mark.parametrize(("keywords", "declared"), [(TrainKeywords, Recipe), (EmbedKeywords, Request)])
def test_keywords_are_the_fields_that_declare_them(keywords, declared):
    typed, own = typing.get_type_hints(keywords), typing.get_type_hints(declared)
    assert list(typed) == [field.name for field in fields(declared) if field.name not in ("output", "_")]
    # A keyword may take more than its field keeps: one number for several, what is loaded later.
    wider = {"intervals", "temperature"}
    assert {name for name in typed if typed[name] != own[name]} <= wider


def test_keywords_of_search_are_those_of_its_signature():
    own = inspect.signature(cenote.search).parameters.values()
    types = typing.get_type_hints(cenote.search)
    keywords = {one.name: types[one.name] for one in own if one.kind is inspect.Parameter.KEYWORD_ONLY}
    typed = typing.get_type_hints(search._Options)
    assert typed == keywords
    assert list(typed) == list(keywords)


def imported_for_type_checkers():
    """Yield the name and the module of each import that `cenote/__init__.py` makes for type checkers."""
    tree = ast.parse((SOURCE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    for node in block.body:
        yield from ((alias.name, node.module) for alias in node.names)


def test_type_checkers_see_the_public_names_where_they_are():
    public = {name: module for name, module in imported_for_type_checkers() if module != "cenote"}
    assert public == cenote._MODULES
    assert sorted(public) == VERBS


def test_type_checkers_see_every_module_and_package():
    places = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    seen = {name for name, module in imported_for_type_checkers() if module == "cenote"}
    assert seen == {place for place in places if not place.startswith("_")}


@pytest.mark.parametrize("name", VERBS)
def test_a_public_name_has_documentation_with_its_arguments_or_an_example(name):
    documented = inspect.getdoc(getattr(cenote, name))
    assert documented
    assert "Args:\n" in documented or ">>> " in documented
    shown = pydoc.plain(pydoc.render_doc(getattr(cenote, name)))
    assert documented.splitlines()[0] in " ".join(shown.split()) or documented.splitlines()[0] in shown
    for argument in inspect.signature(getattr(cenote, name)).parameters:
        assert argument in shown


def test_dir_lists_the_public_names_alone():
    assert dir(cenote) == sorted(cenote.__all__)
