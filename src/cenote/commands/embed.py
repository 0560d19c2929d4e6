"""`cenote embed`."""

from __future__ import annotations

import argparse
import signal
import threading
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cenote.commands.arguments import Usage, add_common, check_packages, check_prompts, check_texts, load_model, natural
from cenote.commands.progress import progress
from cenote.commands.terminal import note, say, warn
from cenote.data.texts import read_rows
from cenote.embedding.options import Request
from cenote.models.hub import refuse_missing

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from cenote.records import Manifest

MEANING = "embed a corpus to Parquet: fast, resumable, with nothing lost"
# Groups of options in the help. Other options of `Request` that have a flag stand outside of groups.
GROUPS = {
    "how texts are read": ("long", "vectors", "window", "overlap", "on_truncate", "on_error"),
    "how vectors are computed": ("backend", "precision", "engine", "workers"),
    "what is written": ("dtype", "dimensions", "normalize", "restart"),
}
# The types of the options by name.
_KINDS = typing.get_type_hints(Request)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; the options of `embed` are those of `Request`."""
    add_common(parser, "model", "texts")
    add_common(parser, "-o, --output", help="new folder, or that of an earlier run, to continue it")
    add_common(parser, "--column", "--id-column", "--device", "--trust-remote-code")
    groups = {title: parser.add_argument_group(title) for title in GROUPS}
    add_common(groups["how texts are read"], "--max-seq-length")
    for option in _flagged():
        title = next((title for title, names in GROUPS.items() if option.name in names), None)
        _add_option(parser if title is None else groups[title], option)
    add_common(parser, "--json", help="print the manifest")


def _flagged() -> Iterator[Field[Any]]:
    """Yield the options of `embed` that have a flag of their own."""
    return (option for option in fields(Request) if option.metadata.get("flag") and option.name != "output")


def _add_option(group: argparse._ActionsContainer, option: Field[Any]) -> None:
    """Add the flag of an option; the type of the option decides how its value is parsed."""
    kind = _KINDS[option.name]
    shown = option.metadata["help"]
    more: dict[str, Any] = {}
    if kind is bool:
        more["action"] = "store_true"
    elif kind == int | None:
        more |= {"type": natural, "metavar": "N"}  # `Request` knows the least value of each
    else:
        more |= {"default": option.default, "metavar": "NAME"}
        shown += f" (default: {option.default})" if option.default else ""
    group.add_argument(option.metadata["flag"], dest=option.name, help=shown, **more)


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model."""
    from cenote.embedding.manifest import refuse_unfit

    if not args.output.strip():
        raise Usage("-o is empty: name a folder.")
    Request(**_options(args))
    if args.engine != "local":
        if args.texts == "-":
            raise Usage(f"--engine {args.engine} reads texts again when a machine is lost: name a file instead of -.")
        check_packages(f"--engine {args.engine}", args.engine)
    check_texts(args, args.texts, faults=True)  # `embed` raises a fault of the first row, with the remedy
    refuse_unfit(Path(args.output))
    check_prompts(args.model, args.prompt_name)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Embed the texts, and print a summary or the manifest."""
    from cenote.embedding.embed import embed
    from cenote.json_records import to_json

    reading = partial(read_rows, args.texts, column=args.column, id_column=args.id_column)
    with progress() as tell, _interruptible(args.output, args.restart) as (started, stop):

        def report(step: str, done: int, total: int) -> None:
            tell(step, done, total)
            if step == "embedding":
                started()

        manifest = embed(
            args.model,
            reading() if args.texts == "-" else reading,
            source="standard input" if args.texts == "-" else args.texts,
            progress=report,
            notify=say,
            stop=stop,
            loader=partial(_load, args),
            **_options(args),
        )
        if not manifest.complete:
            raise KeyboardInterrupt
    if args.json:
        yield to_json(manifest).rstrip()
        return
    yield from _summary(manifest, args.output)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `embed` that the command line sets."""
    return {"output": args.output, **{option.name: getattr(args, option.name) for option in _flagged()}}


def _load(args: argparse.Namespace, name: Any) -> SentenceTransformer:
    note(f"loading {name} ...")
    return load_model(args, name)


def _summary(manifest: Manifest, folder: str) -> Iterator[str]:
    from cenote.wording import pluralise

    counts, settings = manifest.counts, manifest.settings
    if counts is None:
        return
    rows = sum(counts.rows)
    pieces = {"windows": "window", "segments": "segment"}.get(settings["long"])
    windows = f" in {pluralise(rows, pieces)}" if pieces else ""
    yield f"{pluralise(counts.texts - counts.rejected, 'text')}{windows}, {pluralise(counts.tokens, 'token')}"
    yield f"computed by {settings['backend']} at {settings['precision']}, written as {settings['dtype']}"
    if counts.rejected:
        yield f"left out: {pluralise(counts.rejected, 'row')}, see {folder}/rejects.jsonl"
    yield f"embeddings: {folder}"


@contextmanager
def _interruptible(output: str, restart: bool) -> Iterator[tuple[Callable[[], object], Callable[[], bool]]]:
    """Yield what to call when parts are being written, and what returns whether to stop after the current part.

    Before that call an interrupt or SIGTERM ends the run at once; after it, the first one lets the part be finished,
    and the second ends the run at once.
    """
    from cenote.embedding.corpus import PART_TEXTS

    started, asked = threading.Event(), threading.Event()

    def ask(*_: Any) -> None:
        if asked.is_set() or not started.is_set():
            raise KeyboardInterrupt
        asked.set()
        warn(f"stopping after this part of up to {PART_TEXTS:,} texts; press again to stop at once and lose the part.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield started.set, asked.is_set
    except KeyboardInterrupt:
        if started.is_set():
            same = "the same command without --restart" if restart else "the same command"
            warn(f"stopped; the parts in {output} are complete, and {same} continues from there.")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
