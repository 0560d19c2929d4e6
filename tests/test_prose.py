"""Source, tests and documentation avoid phrases that must be read twice; docs/design.md names every module."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("src", "docs", "tests", "benchmarks", "experiments", ".ci")
FILES = [
    *(ROOT / name for name in ("Makefile", "pyproject.toml")),
    *sorted(ROOT.glob("*.md")),
    *sorted(path for suffix in ("*.py", "*.md", "*.js") for top in FOLDERS for path in (ROOT / top).rglob(suffix)),
]
FILES.remove(Path(__file__))  # it holds the phrases
# Each pattern with the plain words to write instead.
PHRASES = {
    r"makes? nothing of": "name the failure: 'the tokenizer produced no tokens'",
    r"\b(what|as) there (is|are)\b": "name the thing",
    r"\bsuch as (there are|it is|they are)\b": "name the things",
    r"\bas it is\b(?! (read|written|[a-z]+ed)\b)": "'unchanged'",
    r"\bas they are\b(?! (read|written|[a-z]+ed)\b)": "'unchanged'",
    r"\b(is|are|was|were|be|been|being) told\b(?! apart)": "'is reported', 'is passed', 'raises'",
    r"\bbegun by\b": "'was started with'",
    r"\bgone on with\b": "'continued'",
    r"\bwhat (it|they|each|these|those) (is|are|was|were) of\b": "name the thing",
    r"\bwhat cannot run\b": "'a backend that is not available'",
    r"\b(did|does|do) not come to an end\b": "'interrupted'",
    r"\bthose left who\b": "'interrupted runs'",
    r"\bof what (there|it|they|he) (is|are|was|were|had)\b": "name the thing",
    r"\bwhat is (done|called|being done)\b": "name the function",
    r"\b(makes?|made) (much|little|something) of\b": "say what is computed",
    r"\btold_apart\b": "functions are verbs",
    r"\bin the mean\b": "'on average'",
    r"\bas it stands\b": "'unchanged'",
    r"\bhas not[.:;,]": "'does not have'",
}
# A docstring starts with a verb or a noun.
STARTS = re.compile(r"(What|Whose|Who|Whatever|Those|Such|That)\b")


def found_in(text):
    """Yield (line number, phrase, remedy) for every phrase; one may run over the end of a line."""
    for pattern, remedy in PHRASES.items():
        spaced = pattern.replace(" ", r"[ \n]+(?:[#|>*-] +)?")
        for match in re.finditer(spaced, text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match.group().split()), remedy


def docstring_starts(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            docstring = ast.get_docstring(node)
            if docstring and (start := STARTS.match(docstring)):
                yield getattr(node, "lineno", 1), f'"""{start.group()} ...', "start with a verb or a noun"


@pytest.mark.parametrize(
    "text",
    [
        "texts that a model makes nothing of",
        "the default: what there\n    is room for",
        "the file is left as it is.",
        "the caller\n# is told",
        "a run begun by another backend",
        "169 tokens in the mean",
    ],
)
def test_riddles_are_found(text):
    assert len(list(found_in(text))) == 1


@pytest.mark.parametrize("text", ["texts are read as they are consumed", "as it is written here", "What remains."])
def test_plain_words_are_not_found(text):
    assert not list(found_in(text))


def test_docstrings_start_with_a_verb_or_a_noun():
    assert list(docstring_starts('def f():\n    """What it is of."""'))
    assert not list(docstring_starts('def f():\n    """Return the mean."""'))


def test_prose_is_plain():
    shown = []
    for path in FILES:
        text = path.read_text("utf-8")
        found = sorted([*found_in(text), *(docstring_starts(text) if path.suffix == ".py" else ())])
        shown += [f"{path.relative_to(ROOT)}:{line}: {phrase!r}: {remedy}" for line, phrase, remedy in found]
    assert not shown, "\n".join(shown)


def test_the_design_page_names_every_module():
    tree = (ROOT / "docs" / "design.md").read_text("utf-8").partition("**Import rule.**")[0]
    modules = {path.stem for path in (ROOT / "src" / "cenote").rglob("*.py")}
    assert not modules - set(re.findall(r"\w+", tree))
