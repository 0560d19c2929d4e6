"""Every script that the documentation names is there, finds what it imports, and takes the arguments of its command.

Scripts take minutes to hours, so each is run up to the end of its command line.
"""

import argparse
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from .documented import PAGES, ROOT, commands_of

pytest.importorskip("matplotlib")
pytest.importorskip("mteb")

# Commands that run no script of ours, and what they are for.
OTHERS = {
    "python -c pass": "a table compares the start of Python alone with that of Cenote",
    "python -m build": "another project's program writes the files of a release",
}
COMMANDS = sorted({line for page in PAGES for line in commands_of(page, "python")} - {*OTHERS})


class Accepted(Exception):
    """The arguments were parsed."""


def of_scripts():
    """Return the modules of experiments and benchmarks that were imported, with the packages that hold them."""
    folders = tuple(str(ROOT / folder) for folder in ("experiments", "benchmarks"))
    return {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "experiments" or (getattr(module, "__file__", None) or "").startswith(folders)
    }


@pytest.fixture
def as_started(monkeypatch):
    """`as_started(folder)`: scripts import each other anew and from that folder alone, as in a process of their own."""
    before = of_scripts()

    def start(folder):
        others = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "experiments")]
        monkeypatch.setattr(sys, "path", [str(folder), *others])
        forget()

    def forget():
        for name in of_scripts():
            del sys.modules[name]

    yield start
    forget()
    sys.modules.update(before)


def script_of(words):
    """Return the file that a command runs, its arguments, and the folder that Python imports from first."""
    if words[0] == "-m":
        return ROOT / f"{words[1].replace('.', '/')}.py", words[2:], ROOT
    return ROOT / words[0], words[1:], (ROOT / words[0]).parent


@pytest.mark.parametrize("command", COMMANDS)
def test_the_script_takes_the_arguments(command, as_started, monkeypatch):
    words = shlex.split(command)[1:]
    if words[:2] == ["-m", "pytest"]:
        assert (ROOT / words[2]).exists()
        return
    script, arguments, folder = script_of(words)
    assert script.is_file()
    as_started(folder)
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    main = runpy.run_path(str(script), run_name="imported").get("main")
    if "parse_args" not in script.read_text("utf-8") and "parse_args" not in main.__code__.co_names:
        assert arguments == []  # it would not stop before its work
        return
    with pytest.raises(Accepted):
        run_until_parsed(script, monkeypatch)


def run_until_parsed(script, monkeypatch):
    """Run a script as a program, and raise `Accepted` instead of returning what it parsed."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_raise(self, *given):
        parse(self, *given)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_raise)
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("wrong", ["--no-such-option", "--data"])
def test_wrong_arguments_are_not_taken(wrong, as_started, monkeypatch):
    as_started(ROOT)
    monkeypatch.setattr(sys, "argv", ["pairs.py", wrong])
    with pytest.raises(SystemExit):
        run_until_parsed(ROOT / "experiments" / "second_order" / "pairs.py", monkeypatch)


def test_what_runs_no_script_is_on_a_page_and_says_why():
    written = {line for page in PAGES for line in commands_of(page, "python")}
    assert OTHERS.keys() <= written
    assert all(OTHERS.values())
