"""Every snippet of the pages at the top and in docs/ runs; generated pages are fresh; links lead somewhere."""

import ast
import io
import re
import shlex
import subprocess
import sys
import warnings
from contextlib import redirect_stdout

import pytest

from cenote.cli import main, parser
from cenote.errors import CenoteWarning

from .documented import PAGES, ROOT, blocks, name

# How many values the comments of a page's snippets show. Others say something in words.
SHOWN = {
    "README.md": 3,
    "docs/auditing.md": 1,
    "docs/collapse.md": 3,
    "docs/comparison.md": 1,
    "docs/diagnosis.md": 4,
    "docs/embedding.md": 8,
    "docs/evaluation.md": 2,
    "docs/export.md": 2,
    "docs/landmarks.md": 2,
    "docs/pooling.md": 5,
    "docs/search.md": 1,
    "docs/serving.md": 1,
    "docs/start.md": 2,
    "docs/temperature.md": 1,
    "docs/training.md": 2,
}


def literal(text):
    """Return whether a comment is a value of Python, or the size of a tensor, and which."""
    try:
        return True, ast.literal_eval(re.sub(r"^torch\.Size\(\[([\d, ]*)\]\)$", r"(\1,)", text))
    except (SyntaxError, ValueError):
        return False, None


def run_snippet(content, file, names):
    """Run a snippet statement by statement; return how many values its comments show, each of which is compared."""
    lines, count = content.splitlines(), 0
    for statement in ast.parse(content).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), file, "exec"), names)
            continue
        value = eval(compile(ast.Expression(statement.value), file, "eval"), names)
        code, _, comment = lines[statement.end_lineno - 1].rpartition("  # ")
        is_value, shown = literal(comment)
        if code and is_value:
            assert value == shown, f"{code}  # {comment}, not {value!r}"
            count += 1
    return count


@pytest.mark.parametrize(
    ("comment", "value"),
    [
        ("(2, 3)", (2, 3)),
        ("torch.Size([2, 16])", (2, 16)),
        ("torch.Size([3])", (3,)),
        ("True", True),
        ("['a', 'b']", ["a", "b"]),
        ("'only 0 of 3'", "only 0 of 3"),
    ],
)
def test_values_that_comments_show_are_recognised_and_compared(comment, value):
    assert literal(comment) == (True, value)
    assert run_snippet(f"given = {value!r}\ngiven  # {comment}\n", "page.md", {}) == 1
    with pytest.raises(AssertionError, match="not 0"):
        run_snippet(f"0  # {comment}\n", "page.md", {})


def test_comments_in_words_show_no_value():
    assert literal("numbers") == literal("one number each: there is one pair") == (False, None)


# The snippets of using.md need libraries that may be missing: test_using.py runs them.
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and page.name != "using.md"], ids=name
)
def test_python_snippets_run_and_say_what_their_comments_say(page, tmp_path, monkeypatch, demo_path):
    monkeypatch.chdir(tmp_path)
    names, shown = {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CenoteWarning)  # a page may show what is warned of
        for content in blocks(page, "python"):
            shown += run_snippet(content, page.name, names)
    assert shown == SHOWN.get(name(page), 0)


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
    """`sh` blocks install and build, which a test of the installed thing cannot repeat; what they name must exist.

    Other tests run the commands of `cenote` and `python`: test_commands_of_docs.py and test_scripts_of_docs.py.
    """
    makefile, project = ((ROOT / file).read_text("utf-8") for file in ("Makefile", "pyproject.toml"))
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] == ".":
            continue
        assert words[0] in ("make", "pip", "cenote", "python", "embedding-atlas"), line
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


def test_the_first_search_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    vectors = str(tmp_path / "vectors")
    embed, search = (
        shlex.split(line.replace("-o vectors", f"-o {vectors}").replace("search vectors", f"search {vectors}"))
        for block in blocks(ROOT / "docs" / "start.md", "sh")
        for line in block.splitlines()
        if line.startswith(("cenote embed minilm", "cenote search"))
    )
    assert main(embed[1:]) == 0
    capsys.readouterr()
    assert main(search[1:]) == 0
    *shown, rest = next(iter(blocks(ROOT / "docs" / "start.md", "text"))).splitlines()
    assert rest.strip() == "..."
    printed = capsys.readouterr().out.splitlines()
    assert printed[1 : len(shown)] == shown[1:]
    first, expected = printed[0].split(), shown[0].split()
    assert float(first[1]) == pytest.approx(float(expected[1]), abs=0.002)
    assert [first[0], *first[2:]] == [expected[0], *expected[2:]]
