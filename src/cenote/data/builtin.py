"""The built-in corpus: docstrings of Python's standard library, prose of many lengths on every machine."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from cenote.data.lines import readable
from cenote.data.rows import Text, refuse_empty

# What results call the corpus.
BUILTIN = "the docstrings of Python's standard library"
# Tests, programs and bundled packages are left out.
EXCLUDED = {"test", "tests", "idlelib", "idle_test", "lib2to3", "ensurepip", "turtledemo"}


def read_builtin() -> Iterator[Text]:
    """Yield the docstrings of Python's standard library: prose of 3 to several hundred words.

    >>> next(read_builtin())
    Text(id='abc', text='Abstract Base Classes (ABCs) according to PEP 3119.')

    The order is fixed, texts and ids are unique, and ids look like `argparse:ArgumentParser.add_argument`. Sources are
    parsed, never imported. Texts differ between versions of Python: compare results within one version only.
    """
    library = Path(sysconfig.get_path("stdlib"))
    return refuse_empty(_distinct(_documented(library)), f"the standard library in {library}")


def _modules(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Yield names and paths of public modules, sorted. Excluded folders are not walked."""
    for entry in sorted(folder.iterdir()):
        name = entry.name.removesuffix(".py")
        if name == "__init__":
            yield prefix.removesuffix("."), entry
        elif name.startswith("_") or name in EXCLUDED or not name.isidentifier():
            continue  # not identifiers: site-packages, lib-dynload, config-3.11-x86_64-linux-gnu
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
    """Drop stubs, repeated texts, and repeated ids (setters of a property, both branches of an if)."""
    seen: set[str] = set()
    for found in texts:
        if len(found.text.split()) >= 3 and seen.isdisjoint(found):
            seen.update(found)
            yield found
