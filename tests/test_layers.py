"""The house: which room may import which, how big a room may be, and what stands at the root."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cenote

SOURCE = Path(cenote.__file__).parent
MODULES = {path.relative_to(SOURCE).with_suffix("").as_posix(): path for path in SOURCE.rglob("*.py")}

# From the ground up, as in docs/design.md. A room imports only from floors above it in this list, functional rooms
# also from each other; rooms of one floor (the verbs, one day) never do.
FLOORS = [
    ["errors"],
    ["files", "folders", "lines", "results"],
    ["thresholds", "phrases"],
    ["texts"],
    ["corpus"],
    ["declarations"],
    ["report/writing"],
    ["report/series"],
    ["report/plots"],
    ["report/figures", "report/pairs"],
    ["report/tables"],
    ["report/sections", "report/markup"],
    ["report/markdown", "report/page"],
    [
        "functional/arrays",
        "functional/batches",
        "functional/concentration",
        "functional/forms",
        "functional/bins",
        "functional/chance",
        "functional/clouds",
        "functional/landmarks",
        "functional/length",
        "functional/packing",
        "functional/pooling",
        "functional/sampling",
        "functional/second_order",
        "functional/similarity",
        "functional/singular",
        "functional/spectrum",
        "functional/spread",
        "functional/temperature",
        "functional/windows",
        "functional/words",
        "functional/threads",
    ],
    ["cards", "templates"],
    ["layouts"],
    ["nn"],
    ["surgery/attention"],
    ["surgery/hooks"],
    ["surgery/proof"],
    ["surgery/tempering"],
    ["surgery/projections"],
    ["surgery/tracing"],
    ["surgery/profiles"],
    ["surgery/controls"],
    ["surgery/reading"],
    ["loading"],
    ["graphs"],
    ["backends"],
    ["fingerprints", "length_verdicts", "summaries"],
    ["verdicts"],
    ["sources"],
    ["drawing"],
    ["given"],
    ["descriptions"],
    ["exporting"],
    ["outputs", "parcels"],
    ["tokenising", "windowing"],
    ["encoding"],
    ["precisions", "vectorising"],
    ["tables"],
    ["embeddings", "clusters"],
    ["engines"],
    ["diagnosis", "embedding"],
    ["commands/shared"],
    ["commands/names", "commands/progress"],
    [
        "commands/diagnose",
        "commands/embed",
        "commands/export",
        "commands/info",
        "commands/pool",
        "commands/poolings",
        "commands/temper",
    ],
    ["cli"],
    ["__main__"],
]
FACES = {
    "__init__",
    "commands/__init__",
    "functional/__init__",
    "report/__init__",
    "surgery/__init__",
}  # they hand names on and hold no code


def imports(text):
    """The rooms of ours that a file imports, at any depth: a late import is still an import."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "name the whole path"
            if node.module and node.module.split(".")[0] == "cenote":
                name = "/".join(node.module.split(".")[1:])
                candidates = [name, *(f"{name}/{alias.name}".strip("/") for alias in node.names)]
                yield from (candidate for candidate in candidates if candidate in MODULES)
        elif isinstance(node, ast.Import):
            yield from ("/".join(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("cenote."))


@pytest.mark.parametrize(
    ("text", "rooms"),
    [
        ("from cenote.functional import similarity", ["functional/similarity"]),
        ("from cenote import cli, errors", ["cli", "errors"]),
        ("def f():\n    from cenote.nn import Pooling", ["nn"]),
        ("import cenote.models.loading", ["loading"]),
        ("import torch\nfrom torch import nn", []),
    ],
)
def test_imports_are_found(text, rooms):
    assert list(imports(text)) == rooms


def test_every_room_is_on_the_plan():
    assert sorted(room for floor in FLOORS for room in floor) == sorted(set(MODULES) - FACES)


@pytest.mark.parametrize("room", sorted(set(MODULES) - FACES))
def test_rooms_import_only_from_below(room):
    level = next(number for number, floor in enumerate(FLOORS) if room in floor)
    for other in imports(MODULES[room].read_text("utf-8")):
        below = next(number for number, floor in enumerate(FLOORS) if other in floor)
        siblings = room.startswith("functional/") and other.startswith("functional/")
        assert below < level or siblings, f"{room} imports {other}"


@pytest.mark.parametrize("room", sorted(MODULES))
def test_rooms_and_functions_stay_small(room):
    text = MODULES[room].read_text("utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, f"{room}:{node.name}"


def test_functional_rooms_know_no_model():
    for room, path in MODULES.items():
        if room.startswith("functional/"):
            text = path.read_text("utf-8")
            assert "import transformers" not in text
            assert "from transformers" not in text
            assert "from sentence_transformers" not in text


def test_tests_mirror_the_source():
    tests = Path(__file__).parent
    for room in set(MODULES) - FACES - {"__main__"}:
        path = tests / f"{room}.py"
        assert path.with_name(f"test_{path.name}").is_file(), f"no test file for {room}"


def test_public_names():
    verbs = {"bake", "diagnose", "embed", "load", "pool", "read_embeddings", "similarity", "socm", "temper"}
    assert set(cenote.__all__) == {"LengthTemperature", "__version__", *verbs}
    assert set(cenote.__all__) <= set(dir(cenote))
    for name in cenote.__all__:
        assert getattr(cenote, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'encode'"):
        _ = cenote.encode


def test_import_and_help_touch_nothing_heavy():
    heavy = ("torch", "transformers", "sentence_transformers", "numpy", "pyarrow")
    script = (
        "import sys, cenote, cenote.cli\n"
        "try:\n    cenote.cli.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert "Pooling in text-embedding models" in run.stdout
