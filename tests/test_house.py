"""The house: which package imports which, what is public, and that every address in the documentation works."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import cenote

SOURCE = Path(cenote.__file__).parent
ROOT = SOURCE.parent.parent
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): path
    for path in sorted(SOURCE.rglob("*.py"))
    if path.name != "__init__.py"
}
# From the ground up, as in docs/design.md. A package imports only from the floors below its own.
FLOORS = [
    {"errors"},
    {"storage"},
    {"json_records"},
    {"records"},
    {"evaluation_records", "comparison_records", "tuning_records", "audit_records", "parity_records"},
    {"functional", "data", "wording", "choices", "listener"},
    {"_nn"},
    {"nn"},
    {"surgery"},
    {"models"},
    {"encoding"},
    {"account"},
    {"embedding", "diagnosis", "evaluation", "training", "auditing", "exporting"},
    {"report"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# These two may import from their own floor.
NEIGHBOURLY = {"data", "wording"}
# Modules that are tested in another file than their own, with the reason.
TESTED_IN = {
    "commands.labelled": "commands/test_compare.py",
    "data.inputs": "commands/test_outputs.py",
    "data.formats": "data/test_texts.py",  # formats are read through `texts.read`
    "data.sheets": "data/test_shards.py",
    "data.lines": "data/test_texts.py",
    # What turns texts into scores is tested by the scores.
    **dict.fromkeys(
        map("evaluation.{}".format, ("encoder", "items", "reading", "recording", "tasks", "ways")),
        "evaluation/test_scoring.py",
    ),
    **dict.fromkeys(  # the parts of `read_labelled`
        ("data.labelled_files", "data.labelled_schemas", "data.labelled_searches", "data.labelled_samples"),
        "data/test_labelled.py",
    ),
    "embedding.scan": "embedding/test_search.py",  # a search is this scan, against brute force
    "data.labelled_halves": "evaluation/test_tune.py",
    "account.fates": "diagnosis/test_account.py",
    "account.ranks": "diagnosis/test_account.py",  # ranks are summed up there
    "json_records": "test_records.py",  # records are what is converted
    "evaluation_records": "evaluation/test_evaluate.py",
    "comparison_records": "evaluation/test_compare.py",
    "tuning_records": "evaluation/test_tune.py",
    **dict.fromkeys(  # the parts of `compare`
        map("evaluation.{}".format, ("arm_scores", "cells", "differences", "own_sentences")),
        "evaluation/test_compare.py",
    ),
    **dict.fromkeys(map("evaluation.{}".format, ("candidates", "choosing")), "evaluation/test_tune.py"),
    **dict.fromkeys(  # the parts of `parity`
        map(
            "auditing.{}".format,
            (
                "causes",
                "parity_findings",
                "parity_measures",
                "parity_remedies",
                "parity_sides",
            ),
        ),
        "auditing/test_parity.py",
    ),
    **dict.fromkeys(  # the parts of its `endpoint`
        map("auditing.endpoint_{}".format, ("addresses", "connections", "requests")), "auditing/test_endpoint.py"
    ),
    **dict.fromkeys(("parity_records", "report.parity"), "auditing/test_parity.py"),
    "audit_records": "auditing/test_audit.py",
    **dict.fromkeys(  # the checks are tested by planted faults
        map(
            "auditing.checks.{}".format,
            (
                "batches",
                "files",
                "lengths",
                "neighbours",
                "numbers",
                "poolings",
                "prompts",
                "readings",
                "subject",
                "table",
                "thresholds",
                "tokens",
            ),
        ),
        "auditing/test_audit.py",
    ),
    **dict.fromkeys(  # the parts of `train`
        map("training.{}".format, ("backbone", "folder", "recipe", "trainer", "watching")), "training/test_train.py"
    ),
    "evaluation.task_list": "evaluation/test_evaluate.py",
}
# One signature, with a documented line for every option.
LONG_FUNCTIONS = {("diagnosis.diagnose", "diagnose"), ("evaluation.compare", "compare"), ("evaluation.tune", "tune")}


def imports(text):
    """Return the modules of ours that a source imports, at any depth, except for the type checker alone."""
    found, waiting = [], [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found += [alias.name.removeprefix("cenote.") for alias in node.names if alias.name.startswith("cenote.")]
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"relative import: {ast.unparse(node)}")
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "cenote":
            places = [f"{node.module}.{alias.name}".removeprefix("cenote.") for alias in node.names]
            found += [place if place in MODULES else node.module.removeprefix("cenote").strip(".") for place in places]
    return sorted({place for place in found if place})


IMPORTS = {module: imports(path.read_text("utf-8")) for module, path in MODULES.items()}


def cycle(graph):
    """Return a path of modules that leads back to its start, or None."""
    done = set()

    def search(path):
        for other in graph.get(path[-1], ()):
            if other in path:
                return [*path[path.index(other) :], other]
            if other not in done and (found := search([*path, other])):
                return found
        done.add(path[-1])
        return None

    return next(filter(None, (search([start]) for start in graph if start not in done)), None)


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("from cenote.functional import similarity", ["functional.similarity"]),
        ("from cenote.errors import BadInput", ["errors"]),
        ("from cenote import __version__, cli", ["cli"]),
        ("def f():\n    from cenote.nn import Pooling", ["nn"]),
        ("import cenote.models.loading", ["models.loading"]),
        ("if TYPE_CHECKING:\n    from cenote import cli\nelse:\n    from cenote import nn", ["nn"]),
        ("import torch\nfrom torch import nn", []),
    ],
)
def test_imports_are_found(text, modules):
    assert imports(text) == modules


def test_cycles_are_found():
    assert cycle({"a": ["b", "c"], "b": ["c"], "c": []}) is None
    assert cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


def test_packages_import_only_from_below():
    def allowed(module, other):
        here, there = module.split(".")[0], other.split(".")[0]
        beside = FLOOR[there] == FLOOR[here] and here in NEIGHBOURLY
        return here == there or beside or FLOOR[there] < FLOOR[here]

    pairs = [(module, other) for module, others in IMPORTS.items() for other in others]
    wrong = [f"{module} imports {other}" for module, other in pairs if not allowed(module, other)]
    assert not wrong
    assert len(pairs) > 200


def test_modules_import_in_no_cycle():
    assert cycle(IMPORTS) is None


def test_no_module_reads_a_clock_that_can_be_set_back():
    """Caches, folders and waits depend on contents and on clocks that only go forward."""
    clocks = re.compile(r"time\.time\(|time_ns\(|\.now\(|utcnow|\.today\(|st_[acm]time|get[acm]time|localtime|gmtime")
    assert clocks.search("time.time() - path.stat().st_mtime")
    assert [module for module, path in MODULES.items() if clocks.search(path.read_text("utf-8"))] == []


def test_package_files_are_empty():
    packages = [path for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE]
    assert len(packages) > 5
    assert [path for path in packages if path.read_text("utf-8").strip()] == []


def test_modules_and_functions_can_be_read_in_one_sitting():
    """Over 500 and 80 lines, say why in the file, and here."""
    for module, path in MODULES.items():
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 500, module
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (module, node.name) not in LONG_FUNCTIONS:
                assert node.end_lineno - node.lineno < 80, f"{module}: {node.name}"


def test_functional_modules_know_no_model():
    platform = re.compile(r"^\s*(?:import|from) (?:transformers|sentence_transformers)", re.MULTILINE)
    functional = [path for module, path in MODULES.items() if module.startswith("functional.")]
    assert [path for path in functional if platform.search(path.read_text("utf-8"))] == []


def test_tests_mirror_the_source():
    tests = Path(__file__).parent
    assert TESTED_IN.keys() <= MODULES.keys()
    for module, path in MODULES.items():
        *folder, name = module.split(".")
        own = "/".join((*folder, f"test_{name}.py"))
        file = TESTED_IN.get(module, own)
        assert (tests / file).is_file() or len(path.read_text("utf-8").splitlines()) <= 60, f"{module} has no {file}"
        assert file == own or not (tests / own).is_file(), f"{module} has {own}: TESTED_IN names {file}"


def test_public_names():
    verbs = {
        "bake",
        "compare",
        "diagnose",
        "embed",
        "evaluate",
        "load",
        "pool",
        "read_embeddings",
        "similarity",
        "socm",
    }
    verbs |= {"audit", "mine_pairs", "parity", "search", "temper", "train", "tune"}
    assert set(cenote.__all__) == {"LengthTemperature", "__version__", *verbs}
    assert set(cenote.__all__) <= set(dir(cenote))
    for name in cenote.__all__:
        assert getattr(cenote, name) is not None
    with pytest.raises(AttributeError, match="module 'cenote' has no attribute 'encode'"):
        _ = cenote.encode


def test_import_and_help_load_nothing_heavy():
    heavy = ("torch", "transformers", "sentence_transformers", "numpy", "pyarrow", "scipy")
    script = (
        "import sys, cenote, cenote.cli\n"
        "try:\n    cenote.cli.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert "Measure what a search with an embedding model loses" in run.stdout


ADDRESS = re.compile(r"(?<![\w./-])cenote(?:\.[a-zA-Z_]\w*)+")
# Resolves every address that it is given, by attributes after a plain `import cenote`, and prints those that fail.
RESOLVE = """
import functools, json, sys
import cenote
wrong = []
for address in json.load(sys.stdin):
    try:
        functools.reduce(getattr, address.split(".")[1:], cenote)
    except AttributeError as error:
        wrong.append(address)
print(json.dumps(wrong))
"""


def addresses():
    """Return the attribute paths in docstrings, comments and messages of the source and in pages, with their files."""
    found = {}
    for path in (*sorted(SOURCE.rglob("*.py")), ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text("utf-8")
        if path.suffix == ".py":
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            # From Python 3.12 on, the text of an f-string is a token of its own.
            prose = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
            text = "\n".join(token.string for token in tokens if token.type in prose)
        for address in ADDRESS.findall(text):
            found.setdefault(address, []).append(path.relative_to(ROOT).as_posix())
    return found


def test_every_address_works_after_a_plain_import():
    wrong, named = ["cenote.data.nowhere", "cenote.nothing"], addresses()
    assert len(named) > 40
    run = subprocess.run(
        [sys.executable, "-c", RESOLVE],
        input=json.dumps([*sorted(named), *wrong]),
        capture_output=True,
        text=True,
        check=True,
    )
    failed = [address for address in json.loads(run.stdout) if address not in wrong]
    assert not failed, {address: named[address] for address in failed}
    assert json.loads(run.stdout) == wrong  # the test can fail


def test_modules_are_reached_whatever_was_imported_before():
    script = "import cenote\nfrom cenote.nn import Pooling\nprint(cenote.functional.sampling, cenote.embedding.parts)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
