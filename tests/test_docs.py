"""Every snippet of the README and the pages of docs/ runs; generated pages are fresh; links lead somewhere."""

import io
import re
import shlex
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from cenote.cli import main, parser
from cenote.errors import CenoteWarning

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    return [content for kind, content in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def name(page):
    return page.relative_to(ROOT).as_posix()


# The snippets of using.md need libraries that may be missing: test_using.py runs them.
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and page.name != "using.md"], ids=name
)
def test_python_snippets_run_and_say_what_their_comments_say(page, tmp_path, monkeypatch, demo_path):
    monkeypatch.chdir(tmp_path)
    names = {}
    for content in blocks(page, "python"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CenoteWarning)  # a page may show what is warned of
            exec(compile(content, page.name, "exec"), names)
        # `expression  # (3, 4)`: a comment that is a shape, a torch.Size or a quoted name is checked.
        for code, shown in re.findall(
            r"^(\S.*?)\s{2,}# (torch\.Size\(.*?\)|\(\d[\d, ]*\)|'\w+')$", content, re.MULTILINE
        ):
            assert repr(eval(code, names)) == shown, code


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=name)
def test_console_snippets_print_what_they_show(page, tmp_path, monkeypatch, demo_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for content in blocks(page, "console"):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", content, re.MULTILINE):
            text, _, call = command.rpartition(" | ")
            if text:
                monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(shlex.split(text)[1].encode() + b"\n")))
            program, *arguments = shlex.split(call)
            assert program == "cenote", f"{page.name}: {command}"
            with redirect_stdout(io.StringIO()) as out:
                assert main(arguments) == 0
            assert out.getvalue().strip()
            if shown:
                assert out.getvalue() == shown


def test_generated_pages_are_fresh():
    run = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", page.read_text("utf-8")):
        path = (page.parent / target) if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor[1:] in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name)
def test_shell_lines_name_targets_and_extras_that_there_are(page):
    """`sh` blocks install and build, which a test of the installed thing cannot repeat; what they name must exist."""
    makefile, project = ((ROOT / file).read_text("utf-8") for file in ("Makefile", "pyproject.toml"))
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] == ".":
            continue
        assert words[0] in ("make", "pip", "cenote", "embedding-atlas"), line
        if words[0] == "cenote":
            parser().parse_args(words[1:])
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        for extra in re.findall(r"\[(\w+)\]", line):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), line


def test_every_fence_is_of_a_kind_that_is_checked():
    for page in PAGES:
        fences = re.findall(r"^```(\w*)$", page.read_text("utf-8"), re.MULTILINE)
        assert set(fences[::2]) <= {"python", "console", "sh", "text", "math"}, page.name
        assert set(fences[1::2]) <= {""}, page.name
