"""An extension of griffe, which reads the docstrings of the API reference."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import griffe

from cenote.embedding.options import HELP, Request

# An example and what it prints, up to an empty line.
DOCTEST = re.compile(r"^( *)>>> .*\n?(?:\1\S.*\n?|\1 +\S.*\n?)*", re.MULTILINE)
# The place in the docstring of `embed` that `takes_request` fills when it is imported.
OPTIONS = "    OPTIONS"


def fence(docstring: str) -> str:
    """Put a fence around each example, which Markdown would take for a quotation."""

    def fenced(found: re.Match[str]) -> str:
        indent, lines = found[1], found[0].removesuffix("\n")
        return f"{indent}```pycon\n{lines}\n{indent}```\n"

    return DOCTEST.sub(fenced, docstring)


def list_fields(record: griffe.Class) -> str:
    """Return a section of the fields of a dataclass whose meaning stands in a comment beside them."""
    meanings = {
        name: found[1]
        for name, field in record.attributes.items()
        if (found := re.search(r"#\s*(.+)$", field.source.partition("\n")[0]))
    }
    lines = [f"    {name}: {meaning}." for name, meaning in meanings.items()]
    return "\n".join(["", "", "Attributes:", *lines]) if lines else ""


class Docstrings(griffe.Extension):
    """Fence the examples of every docstring, list the options of `embed` and the fields of records."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object before it is parsed."""
        if obj.docstring is None:
            return
        text = fence(obj.docstring.value)
        if OPTIONS in text:
            types = {option.name: option.type for option in fields(Request)}
            lines = (f"    {name} ({types[name]}): {meaning}." for name, meaning in HELP.items() if name in types)
            text = text.replace(OPTIONS, "\n".join(lines))
        if isinstance(obj, griffe.Class) and "Args:" not in text:
            text += list_fields(obj)
        obj.docstring.value = text
