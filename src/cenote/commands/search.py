"""`cenote search`."""

from __future__ import annotations

import argparse
import base64
import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from cenote.commands.arguments import add_common, check_packages, check_prompts, count, load_model
from cenote.commands.progress import progress
from cenote.commands.terminal import note, say
from cenote.data.columns import TEXT
from cenote.data.lines import lines
from cenote.data.rows import raise_faults
from cenote.embedding.manifest import complete_manifest
from cenote.errors import BadInput, UnknownName, Usage

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from cenote.embedding.search import Hit

# Lines of the words of a text that are shown, and the letters of a word that says little.
_LINES, _SHORT = 4, 3
# Characters of a kept column that is shown beside the id.
_COLUMN = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("vectors", metavar="VECTORS", help="folder that cenote embed wrote")
    parser.add_argument(
        "queries",
        nargs="+",
        metavar="QUERY",
        help='a question, such as "How deep is the pool?", or several; - reads one from each line of standard input',
    )
    parser.add_argument("--top", type=count, default=10, metavar="N", help="texts for each question (default: 10)")
    parser.add_argument(
        "--index",
        metavar="KIND",
        help="ask an index of FAISS of this kind, such as HNSW32, which is built once and kept in VECTORS (default: "
        "compare every vector)",
    )
    parser.add_argument("--full", action="store_true", help=f"show all words of a text, not the best {_LINES} lines")
    parser.add_argument("--model", metavar="MODEL", help="the model, where it is no longer where VECTORS names it")
    add_common(
        parser, "--task", default="query", help="query, or document where texts are the questions (default: query)"
    )
    parser.add_argument("--prompt", dest="prompt_name", metavar="NAME", help="the model's prompt before each question")
    add_common(parser, "--device", "--trust-remote-code", "--json")


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model."""
    if args.index is not None:
        check_packages(f"--index {args.index}", "index")
    piped = args.queries == ["-"]
    if piped:
        found = lines(sys.stdin.buffer, "standard input")
        args.queries = [line.rstrip("\r\n") for line in raise_faults(line for _, line in found)]
    elif "-" in args.queries:
        raise Usage("- stands for standard input and goes with no other question.")
    for number, query in enumerate(args.queries, 1):
        if not query.strip():
            where = f"line {number} of standard input" if piped else "a question"
            raise Usage(f"{where} is empty: ask something.")
    if not args.queries:
        raise BadInput("there is no question on standard input.")
    if not piped and len(args.queries) > 1 and not any(" " in query.strip() for query in args.queries):
        say(f"asking {len(args.queries)} questions of one word each: put a question of several words in quotes.")
    settings = complete_manifest(args.vectors).settings
    try:
        check_prompts(args.model or settings["model"], args.prompt_name)
    except BadInput as error:
        if args.model or isinstance(error, UnknownName):
            raise
        # `search` says what to do where the model of the folder was moved.


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print the texts that were found for each question."""
    from cenote.embedding.search import search

    with progress() as tell:
        found = search(
            args.vectors,
            args.queries,
            model=args.model,
            top=args.top,
            task=args.task,
            prompt_name=args.prompt_name,
            index=args.index,
            progress=tell,
            notify=say,
            loader=partial(_load, args),
        )
    if args.json:
        yield _as_json(args, found)
        return
    for query, hits in zip(args.queries, found, strict=True):
        if len(found) > 1:
            yield f"{query}"
        for place, hit in enumerate(hits, 1):
            yield from _lines(place, hit, query, args.full)
    if found[0] and found[0][0].text is None:
        columns = ",".join(complete_manifest(args.vectors).settings.get("columns") or [TEXT])
        say(f"the words of the texts are not kept in {args.vectors}: cenote embed --keep {columns} keeps them.")


def _load(args: argparse.Namespace, name: Any, **changed: Any) -> SentenceTransformer:
    note(f"loading {name} ...")
    return load_model(args, name, **changed)


def _as_json(args: argparse.Namespace, found: list[list[Hit]]) -> str:
    answers = [
        {"query": query, "hits": [_plain(_once(hit)) for hit in hits]}
        for query, hits in zip(args.queries, found, strict=True)
    ]
    whole = {"vectors": args.vectors, "answers": answers}
    return json.dumps(whole, indent=1, ensure_ascii=False, default=str, allow_nan=False)


def _once(hit: Hit) -> dict[str, Any]:
    """Return the fields of a hit, with the text once where it was kept whole."""
    kept = {name: value for name, value in hit.kept.items() if (name, value) != ("text", hit.text)}
    return {**vars(hit), "kept": kept}


def _plain(value: Any) -> Any:
    """Return a value that was kept as JSON can hold it: null for NaN and infinity, base64 for bytes.

    >>> _plain({"a": [1.5, float("nan")], "b": b"cave"})
    {'a': [1.5, None], 'b': 'Y2F2ZQ=='}
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(place: int, hit: Hit, query: str, full: bool) -> Iterator[str]:
    """Yield a line that names a text, and its words: those lines that share most words with the question, or all."""
    title = hit.kept.get("title")
    part = "" if hit.start is None else f", characters {hit.start:,} to {hit.end:,}"
    named = "".join(f"  {one}" for one in (*([title] if title else []), *_columns(hit)))
    yield f"{place:>2}  {hit.score:.3f}  {hit.id}{part}{named}"
    if hit.text is None:
        return
    indent = " " * 11
    width = max(50, shutil.get_terminal_size().columns - 1)
    words = hit.text.split()
    shown = str(title).split() if title else []
    if words[: len(shown)] == shown:  # the title is part of the text, and stands in the line above
        words = words[len(shown) :]
    lines = textwrap.wrap(" ".join(words), width - len(indent) - len("... ..."))
    yield from (indent + line for line in (lines if full else passage(lines, query)))


def _columns(hit: Hit) -> Iterator[str]:
    """Yield the kept columns that are short and not among the words of the hit: a label, a date, an address."""
    for name, value in hit.kept.items():
        if name == "title" or not isinstance(value, str | int | float):
            continue
        shown = " ".join(str(value).split())
        known = isinstance(value, str) and (shown == hit.id or shown in (hit.text or ""))
        if 0 < len(shown) <= _COLUMN and not known:
            yield f"{name}: {shown}"


def passage(lines: list[str], query: str, most: int = _LINES) -> list[str]:
    """Return those lines, some one after another, that share most words with a question; of equal ones the first.

    Words of three letters and fewer say little: they count where the question has no others.

    >>> passage(["Water is old.", "The pool", "is deep.", "Nobody swims."], "How deep is the pool?", most=2)
    ['... The pool', 'is deep. ...']
    """
    asked = _words(query)
    wanted = {word for word in asked if len(word) > _SHORT} or asked
    last = max(0, len(lines) - most)
    first = max(range(last + 1), key=lambda start: len(wanted & _words(" ".join(lines[start : start + most]))))
    shown = lines[first : first + most]
    if first:
        shown[0] = f"... {shown[0]}"
    if first < last:
        shown[-1] += " ..."
    return shown


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
