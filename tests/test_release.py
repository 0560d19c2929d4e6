"""Files of a release agree with each other, and with the scripts that continuous integration calls."""

import re
from pathlib import Path

import cenote

ROOT = Path(__file__).parent.parent


def text(name):
    return (ROOT / name).read_text("utf-8")


def test_the_version_is_the_same_wherever_it_is_stated():
    last = re.search(r"^## \[(\d.*?)\] - (\S+)$", text("CHANGELOG.md"), re.MULTILINE).groups()
    cited = re.search(r"^version: (.*)\ndate-released: (.*)$", text("CITATION.cff"), re.MULTILINE).groups()
    assert last == cited
    assert cenote.__version__ == cited[0]


def test_the_citation_names_the_four_sources():
    cited = text("CITATION.cff")
    assert re.findall(r'value: "arXiv:(.*)"', cited) == ["2604.27398", "2601.21525", "2410.24200"]
    assert 'title: "The Art of Pooling Embeddings"' in cited


def test_the_workflow_only_calls_scripts_of_the_project():
    workflow = text(".github/workflows/ci.yml")
    commands = re.findall(r"^ *- run: (.*)$", workflow, re.MULTILINE)
    assert len(commands) == len(re.findall(r"\brun:", workflow))
    for command in commands:
        program, script, *options = command.split()
        if program == "make":
            assert re.search(rf"^{script}:", text("Makefile"), re.MULTILINE), command
            continue
        assert program in ("python", "bash"), command
        assert all(option in text(script) for option in options if option.startswith("--")), command


def test_the_workflow_runs_every_check_of_a_release():
    workflow = text(".github/workflows/ci.yml")
    for command in ("bash .ci/run", "make broad", "make docs", "make guides", "python .ci/wheel.py"):
        assert f"- run: {command}\n" in workflow
    for script in (*Path(ROOT, ".ci").glob("*.py"), Path(ROOT, ".ci/run")):
        assert f".ci/{script.name}" in workflow


def test_the_workflow_runs_on_every_python_that_is_stated():
    stated = re.findall(r"Python :: (3\.\d+)", text("pyproject.toml"))
    tried = re.search(r"python: (\[.*\])", text(".github/workflows/ci.yml")).group(1)
    assert re.findall(r"3\.\d+", tried) == stated
    lowest = re.search(r'LOWEST_PYTHON = "(.*)"', text(".ci/core.py")).group(1)
    assert f'requires-python = ">={lowest}"' in text("pyproject.toml")
    assert stated[0] == lowest


def test_security_names_tests_that_exist():
    named = re.findall(r"`(tests/.*?\.py)`", text("SECURITY.md"))
    assert len(named) >= 5
    assert all((ROOT / name).is_file() for name in named)


def test_contributing_names_files_and_targets_that_exist():
    page = text("CONTRIBUTING.md")
    for target in re.findall(r"`make ([a-z]+)`", page):
        assert re.search(rf"^{target}:", text("Makefile"), re.MULTILINE), target
    for path in set(re.findall(r"`([\w./]+/[\w.]*)`", page)) - {"dist/"}:  # what a build writes
        assert any((ROOT / place / path).exists() for place in ("", "src/cenote")), path
