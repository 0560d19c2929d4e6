"""The built-in corpus: docstrings of Python's standard library, real prose of many lengths that every machine has."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from cenote.lines import readable
from cenote.texts import Text, started

# Left out: tests, programs, and what is bundled or private.
NO_PROSE = {"test", "tests", "idlelib", "idle_test", "lib2to3", "ensurepip", "turtledemo"}


def sample() -> Iterator[Text]:
    """The built-in corpus: docstrings of Python's standard library, real prose of 3 to several hundred words.

    >>> next(sample())
    Text(id='abc', text='Abstract Base Classes (ABCs) according to PEP 3119.')

    The order is always the same, no text and no id comes twice, and ids read `argparse:ArgumentParser.add_argument`.
    Sources are parsed, never imported. Texts differ between versions of Python: compare results within one only.
    """
    library = Path(sysconfig.get_path("stdlib"))
    return started(_distinct(_documented(library)), f"the standard library in {library}")


def _modules(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Names and sources of public modules, sorted. Folders that are left out are not even walked."""
    for entry in sorted(folder.iterdir()):
        name = entry.name.removesuffix(".py")
        if name == "__init__":
            yield prefix.removesuffix("."), entry
        elif name.startswith("_") or name in NO_PROSE or not name.isidentifier():
            continue  # no identifiers: site-packages, lib-dynload, config-3.11-x86_64-linux-gnu
        elif entry.suffix == ".py":
            yield prefix + name, entry
        elif entry.is_dir():
            yield from _modules(entry, f"{prefix}{name}.")


def _documented(library: Path) -> Iterator[Text]:
    with readable(str(library)):
        for module, path in _modules(library):
            tree = ast.parse(path.read_bytes())  # bytes, since a source may declare another encoding
            yield Text(module, ast.get_docstring(tree) or "")
            yield from _definitions(tree, f"{module}:")


def _definitions(node: ast.AST, prefix: str) -> Iterator[Text]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Text(prefix + child.name, ast.get_docstring(child) or "")
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.stmt, ast.excepthandler)):  # definitions under an if, a try, a with
            yield from _definitions(child, prefix)


def _distinct(texts: Iterable[Text]) -> Iterator[Text]:
    """Without stubs, repeated texts, and repeated ids (setters of a property, both branches of an if)."""
    seen: set[str] = set()
    for found in texts:
        if len(found.text.split()) >= 3 and seen.isdisjoint(found):
            seen.update(found)
            yield found
