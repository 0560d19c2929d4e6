"""`cenote diagnose`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cenote.commands.names import models_and_texts
from cenote.commands.progress import progress
from cenote.commands.shared import Usage, count, hush, in_columns, natural
from cenote.declarations import find
from cenote.errors import BadInput, CenoteError

if TYPE_CHECKING:
    from cenote.results import Diagnosis

MEANING = "show whether pooling and length cost a model quality on your texts"
# What a page may end in, and what makes it.
PAGES = {".html": ("cenote.report.page", "to_html"), ".md": ("cenote.report.markdown", "to_markdown")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="a folder, a hub id, or minilm, the demo model; several stand side by side. The last one may be texts: a "
        "file, a folder, or - for standard input, as for `cenote pool`; without any, docstrings of Python's standard "
        "library are read. Beside others, the last one counts as a hub id only if it has a slash or a hyphen, or is in "
        "the hub's cache",
    )
    parser.usage = f"{parser.prog} [options] MODEL [MODEL ...] [TEXTS]"
    parser.set_defaults(more="models")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page to write: .html, or .md for Markdown")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON; - for standard output")
    parser.add_argument("--pairs", metavar="FILE", help="pairs to compare, in columns text1 and text2")
    parser.add_argument("--prompt", metavar="NAME", help="which of the model's prompts is read before texts")
    parser.add_argument(
        "--pair-prompts", metavar="NAME,NAME", help="and before either side of pairs (default: that of --prompt)"
    )
    parser.add_argument("--quick", action="store_true", help="look at fewer pairs, and at fewer texts layer by layer")
    parser.add_argument("--sample", type=count, default=1000, metavar="N", help="texts to draw (default: 1000)")
    parser.add_argument(
        "--temperatures", default="1", metavar="T,T", help="attention temperatures to try besides 1, such as 0.9,0.8"
    )
    parser.add_argument("--no-layers", action="store_true", help="leave out what needs a look into every layer")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of all that is drawn (default: 0)")
    parser.add_argument("--column", default="text", help="where the text is, in files with columns (default: text)")
    parser.add_argument("--id-column", metavar="NAME", help="where the id is (default: id if there is one)")
    parser.add_argument(
        "--max-seq-length", type=count, metavar="N", help="read texts up to N tokens; default: as the model says"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ...; default: the best there is")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that a model brings along")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Diagnose, print the verdicts, write what was asked for."""
    models, source = models_and_texts(args.models)
    for model in models:
        find(model)
    page = _page(args.output)
    _refuse_overwriting(args, source)
    for path in (args.output, args.json):
        _refuse_unwritable(path)
    temperatures = _numbers(args.temperatures)
    pair_prompts = _two_names(args.pair_prompts)
    from cenote.texts import read

    texts = None if source is None else read(source, column=args.column, id_column=args.id_column)
    pairs = None if args.pairs is None else _read_pairs(args.pairs)

    from cenote.diagnosis import diagnose
    from cenote.loading import load

    hush()
    with progress() as tell:
        found = diagnose(
            models,
            texts,
            pairs=pairs,
            sample=args.sample,
            layers=not args.no_layers,
            temperatures=temperatures,
            seed=args.seed,
            quick=args.quick,
            source=_called(source),
            prompt_name=args.prompt,
            pair_prompts=pair_prompts,
            progress=tell,
            loader=partial(
                load,
                device=args.device,
                max_seq_length=args.max_seq_length,
                trust_remote_code=args.trust_remote_code,
            ),
        )
    # Files first: whoever reads the lines may leave before the last one.
    if args.json and args.json != "-":
        Path(args.json).write_text(found.to_json(), "utf-8")
    if page is not None:
        Path(args.output).write_text(page(found, command=shlex.join(["cenote", *sys.argv[1:]])), "utf-8")
    if args.json == "-":
        yield found.to_json().rstrip()
        return
    yield from _in_words(found)
    yield from (f"{what}: {path}" for what, path in (("figures", args.json), ("report", args.output)) if path)


def _called(source: str | None) -> str:
    return "texts" if source is None else "standard input" if source == "-" else source


def _page(output: str | None) -> Callable[..., str] | None:
    """What writes the page, found before the work begins."""
    if output is None:
        return None
    suffix = Path(output).suffix
    if suffix not in PAGES:
        raise Usage(f"-o {output!r}: a page ends in {' or '.join(PAGES)}.")
    if suffix == ".html" and importlib.util.find_spec("plotly") is None:
        raise CenoteError(f"-o {output!r}: a page is drawn with plotly, which is missing: pip install 'cenote[report]'")
    module, function = PAGES[suffix]
    made: Callable[..., str] = getattr(importlib.import_module(module), function)
    return made


def _refuse_overwriting(args: argparse.Namespace, source: str | None) -> None:
    """Two files of one name, or a file of figures over the texts that they are of."""
    outputs = [(name, Path(path).resolve()) for name, path in (("-o", args.output), ("--json", args.json)) if path]
    if len({path for _, path in outputs}) < len(outputs):
        raise Usage(f"-o and --json both name {args.json!r}: name two files.")
    inputs = [Path(path).resolve() for path in (source, args.pairs) if path not in (None, "-")]
    for name, path in outputs:
        if path in inputs:
            raise Usage(f"{name} {str(path)!r} is what is read, and would be written over: name another file.")


def _refuse_unwritable(path: str | None) -> None:
    if path is None or path == "-":
        return
    file = Path(path)
    new = not file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        missing = "" if file.parent.is_dir() else f" There is no folder {str(file.parent)!r}."
        raise BadInput(f"cannot write {path!r}: {error.strerror}.{missing}") from error
    if new:
        file.unlink()


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise Usage(f"--temperatures {text!r}: pass positive numbers with commas between them, such as 1,0.8.")
    return numbers


def _two_names(text: str | None) -> tuple[str | None, str | None] | None:
    """Names of prompts; an empty one is the model's default."""
    if text is None:
        return None
    first, comma, second = text.partition(",")
    if not comma or "," in second:
        raise Usage(f"--pair-prompts {text!r}: pass two names with a comma between them, such as query,document.")
    return first.strip() or None, second.strip() or None


def _read_pairs(path: str) -> list[tuple[str, str]]:
    from cenote.texts import read

    if path == "-":
        raise Usage("--pairs -: pairs are read twice, column by column: name a file.")
    try:
        first, second = ([text.text for text in read(path, column=column)] for column in ("text1", "text2"))
    except BadInput as error:
        there = str(error).partition(" There are: ")[2].partition(". Name the ")[0]  # other columns would not do
        if not there:
            raise
        where = ", line " + line.partition(":")[0] if (line := str(error).partition(f"{path}, line ")[2]) else ""
        wanted = "every pair stands in columns text1 and text2, and there are"
        raise BadInput(f"--pairs {path}{where}: {wanted}: {there}.") from error
    return list(zip(first, second, strict=True))


def _in_words(found: Diagnosis) -> Iterator[str]:
    """The verdicts, for a terminal."""
    texts = found.texts
    of = "" if texts.given == texts.used else f" of {texts.given:,}"
    yield f"{texts.used:,}{of} texts from {texts.source}"
    several = len(found.models) > 1
    width = max(map(len, ("moderate", "unknown")))
    yield from _side_by_side(found)
    said: set[str] = set()  # advice and limits that several models share are printed once
    for verdict in found.verdicts:
        yield ""
        about = f"{verdict.model}: {verdict.subject}" if several and verdict.model else verdict.subject
        yield in_columns(verdict.grade.upper(), width, about)
        for part in (verdict.finding, verdict.evidence, verdict.limit, verdict.advice):
            if part and part not in said:
                yield in_columns("", width, part)
        said |= {verdict.limit, verdict.advice}
    yield ""


def _side_by_side(found: Diagnosis) -> Iterator[str]:
    """Grades of several models, subject by subject."""
    from cenote.report.tables import overview

    table = overview(found.verdicts)
    if table.is_empty:
        return
    corner, *models = table.head
    subjects = max(len(row[0]) for row in table.rows)
    room = max(10, (shutil.get_terminal_size().columns - subjects) // len(models) - 2)
    ends = [name if len(name) <= room else f"…{name[1 - room :]}" for name in models]  # paths differ at the end
    rows = [(corner, *ends), *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield ""
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
