"""Measure source trees of this package with `ast`, and print a Markdown table with a column for each tree.

    git worktree add /tmp/before 0987e9b
    python benchmarks/house.py /tmp/before/src/cenote src/cenote

Nothing is imported or run. A column is named after the folder that holds `src`, or by `--names before,after`.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Tree:
    """The Python files of a package, parsed."""

    def __init__(self, root: Path) -> None:
        self.name = root.name
        self.files = sorted(root.rglob("*.py"))
        if not self.files:
            sys.exit(f"no Python files in {root}")
        self.texts = [path.read_text("utf-8") for path in self.files]
        self.parsed = [ast.parse(text) for text in self.texts]
        self.modules = [_module_name(path.relative_to(root)) for path in self.files]
        self.functions = [node for one in self.parsed for node in ast.walk(one) if isinstance(node, FUNCTIONS)]

    def arrows(self) -> set[tuple[str, str]]:
        """Return the imports between modules, at any depth: (importing, imported)."""
        known = set(self.modules)
        return {
            (module, other)
            for module, parsed in zip(self.modules, self.parsed, strict=True)
            for other in _imports(parsed, self.name, known)
            if other != module
        }


def _module_name(path: Path) -> str:
    """Return the dotted name below the package; a package's `__init__` has the name of the package."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(parsed: ast.Module, package: str, known: set[str]) -> Iterator[str]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == package:
                # `from cenote.data.texts import read`: the name itself, or the module that holds it.
                found = next((one for one in (rest, rest.rpartition(".")[0]) if one and one in known), None)
                if found is not None:
                    yield found


def lines(tree: Tree) -> str:
    return f"{sum(len(text.splitlines()) for text in tree.texts):,}"


def code_lines(tree: Tree) -> str:
    """Lines that hold code: no blank lines, comments or docstrings."""
    total = 0
    for text, parsed in zip(tree.texts, tree.parsed, strict=True):
        documented = {
            number
            for node in ast.walk(parsed)
            if isinstance(node, (*DEFINITIONS, ast.Module)) and (found := _docstring(node))
            for number in range(found.lineno, (found.end_lineno or found.lineno) + 1)
        }
        total += sum(
            bool(line.strip()) and not line.lstrip().startswith("#") and number not in documented
            for number, line in enumerate(text.splitlines(), 1)
        )
    return f"{total:,}"


def _docstring(node: ast.AST) -> ast.Expr | None:
    body = getattr(node, "body", [])
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first
    return None


def module_lengths(tree: Tree) -> str:
    """Modules without a line, such as empty `__init__` files, are left out."""
    counts = {path: len(text.splitlines()) for path, text in zip(tree.files, tree.texts, strict=True) if text}
    largest = max(counts, key=lambda path: counts[path])
    return f"{statistics.median(counts.values()):.0f}, {counts[largest]} (`{largest.name}`)"


def function_lengths(tree: Tree) -> str:
    counts = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in tree.functions]
    longest = max(tree.functions, key=lambda node: (node.end_lineno or 0) - node.lineno)
    return f"{statistics.median(counts):.0f}, {_percentile(counts, 95)}, {max(counts)} (`{longest.name}`)"


def argument_counts(tree: Tree) -> str:
    counts = [len(_arguments(node)) for node in tree.functions]
    return f"{statistics.median(counts):.0f}, {_percentile(counts, 95)}, {max(counts)}"


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """Return the arguments, `*args` and `**kwargs` included, without `self` and `cls`."""
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    every += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
    return [one for one in every if one.arg not in ("self", "cls")]


def _percentile(counts: list[int], percent: int) -> int:
    return sorted(counts)[min(len(counts) - 1, len(counts) * percent // 100)]


def annotated(tree: Tree) -> str:
    """Functions whose arguments and result are all annotated."""
    typed = sum(
        node.returns is not None and all(one.annotation is not None for one in _arguments(node))
        for node in tree.functions
    )
    return f"{100 * typed / len(tree.functions):.0f} %"


def used_once(tree: Tree) -> str:
    """Definitions whose name occurs exactly once in the package outside of their own definition.

    Names in imports and in `__all__` are not uses. Methods that begin and end with two underscores are left out.
    """
    words = Counter(word for parsed in tree.parsed for word in _names_used(parsed))
    definitions = [
        node
        for parsed in tree.parsed
        for node in ast.walk(parsed)
        if isinstance(node, DEFINITIONS) and not re.fullmatch(r"__\w+__", node.name)
    ]
    once = sum(words[node.name] - Counter(_names_used(node))[node.name] == 1 for node in definitions)
    return f"{once} of {len(definitions)} ({100 * once / len(definitions):.0f} %)"


def _names_used(parsed: ast.AST) -> Iterator[str]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def package_arrows(tree: Tree) -> str:
    """Import arrows between the folders and modules at the top of the package."""
    tops = {(one.partition(".")[0], other.partition(".")[0]) for one, other in tree.arrows()}
    arrows = {(one or "__init__", other) for one, other in tops if one != other}
    nodes = {module.partition(".")[0] for module in tree.modules} - {""}
    return f"{len(arrows)} between {len(nodes)}"


def largest_cycle(tree: Tree) -> str:
    """Modules of the largest import cycle."""
    arrows = tree.arrows()
    reached = {module: _reachable(module, arrows) for module in tree.modules}
    sizes = [sum(module in reached[other] for other in reached[module]) for module in tree.modules]
    return str(max(sizes)) if max(sizes) > 1 else "none"


def _reachable(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        new = {other for one, other in arrows if one == here} - found
        found |= new
        waiting += new
    return found


def documented(tree: Tree) -> str:
    """Modules, classes and functions that have a docstring: all public ones, and of all definitions."""
    nodes = [
        node
        for text, parsed in zip(tree.texts, tree.parsed, strict=True)
        if text
        for node in ast.walk(parsed)
        if isinstance(node, (*DEFINITIONS, ast.Module))
    ]
    public = [node for node in nodes if isinstance(node, ast.Module) or not node.name.startswith("_")]
    shares = (100 * sum(_docstring(node) is not None for node in some) / len(some) for some in (public, nodes))
    return ", ".join(f"{share:.0f} %" for share in shares)


ROWS: dict[str, Callable[[Tree], str]] = {
    "files": lambda tree: str(len(tree.files)),
    "lines": lines,
    "lines of code, without blank lines, comments and docstrings": code_lines,
    "lines of a module: median, largest": module_lengths,
    "lines of a function: median, 95th percentile, longest": function_lengths,
    "arguments of a function: median, 95th percentile, most": argument_counts,
    "functions that are fully annotated": annotated,
    "definitions used once": used_once,
    "import arrows between top-level packages and modules": package_arrows,
    "modules in the largest import cycle": largest_cycle,
    "definitions with a docstring: public, all": documented,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of a package, such as src/cenote")
    parser.add_argument("--names", help="column heads, with commas between them")
    args = parser.parse_args()
    trees = [Tree(folder.resolve()) for folder in args.folders]
    heads = args.names.split(",") if args.names else [folder.resolve().parents[1].name for folder in args.folders]
    if len(heads) != len(trees):
        parser.error(f"--names has {len(heads)} names for {len(trees)} folders")
    print(f"| | {' | '.join(heads)} |\n|---{'|--:' * len(trees)}|")
    for label, measure in ROWS.items():
        print(f"| {label} | {' | '.join(measure(tree) for tree in trees)} |")


if __name__ == "__main__":
    main()
