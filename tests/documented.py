"""The pages of the documentation, and the commands that they show."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A block is matched first, so that a span is never sought inside one.
_BLOCK_OR_SPAN = re.compile(rf"{BLOCK.pattern}|`([^`]*)`", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    return [content for kind, content in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def name(page):
    return page.relative_to(ROOT).as_posix()


def commands(text, program):
    """Return the commands of a program in a page's text, in order: lines of `sh` and `text` blocks, and spans of code.

    `console` blocks show what is printed, and test_docs.py compares it.
    """
    found = []
    for kind, content, span in _BLOCK_OR_SPAN.findall(text):
        if kind in ("sh", "text"):  # a step of GitHub's workflows begins with `- run:`
            found += [re.sub(r"^\s*(- run: )?", "", line) for line in content.splitlines()]
        elif not kind:
            found += " ".join(span.split()).split("; ")
    return [line for line in found if re.match(rf"(\.venv/bin/)?{program} ", line)]


def commands_of(page, program):
    return commands(page.read_text("utf-8"), program)
