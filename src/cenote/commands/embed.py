"""`cenote embed`."""

from __future__ import annotations

import argparse
import signal
import threading
import time
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cenote.choices import names_in
from cenote.commands.arguments import (
    COMMON,
    add_common,
    check_packages,
    check_prompts,
    check_texts,
    kept_columns,
    load_model,
    natural,
    positive,
    word,
)
from cenote.commands.progress import Pace, progress
from cenote.commands.terminal import note, say, warn
from cenote.embedding.options import Request
from cenote.errors import Usage
from cenote.models.hub import refuse_missing
from cenote.wording import in_minutes, pluralise

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from cenote.records import Counts, Manifest

# Groups of options in the help. Other options of `Request` that have a flag stand outside of groups.
GROUPS = {
    "how texts are read": ("limit", "long", "vectors", "window", "overlap", "on_truncate", "on_error"),
    "how vectors are computed": ("pooling", "temperature", "backend", "precision", "agreement", "engine", "workers"),
    "what is written": ("keep", "dtype", "dimensions", "normalize", "restart", "verify"),
}
# The types of the options by name, and parsers of those that are neither words nor numbers.
_KINDS = typing.get_type_hints(Request)
_PARSED: dict[str, dict[str, Any]] = {
    "keep": {"type": kept_columns, "metavar": "A,B"},
    "temperature": {"type": positive, "metavar": "TAU"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; the options of `embed` are those of `Request`."""
    add_common(parser, "model", "texts")
    add_common(parser, "-o, --output", help="new folder, or that of an earlier run, to continue it")
    add_common(parser, "--columns, --column", "--id-column", "--device", "--trust-remote-code")
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
    kind, flag = _KINDS[option.name], option.metadata["flag"]
    if flag in COMMON:
        add_common(group, flag)
        return
    shown = option.metadata["help"]
    more: dict[str, Any] = _PARSED.get(option.name, {})
    if more:
        more = {**more, "default": option.default}
    elif kind is bool:
        more["action"] = "store_true"
    elif kind == int | None:
        more |= {"type": natural, "metavar": "N"}  # `Request` knows the least value of each
    else:
        more |= {"default": option.default, "metavar": "NAME"}
        if kind is float:
            more |= {"type": positive, "metavar": "X"}
        elif names := names_in(kind):
            more["type"] = word(names)  # `Request` checks it
        shown += f" (default: {option.default})" if option.default else ""
    group.add_argument(flag, dest=option.name, help=shown, **more)


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
    check_texts(args, args.texts, faults=True, keep=args.keep)  # `embed` raises a fault of the first row
    refuse_unfit(Path(args.output), restart=args.restart)
    check_prompts(args.model, args.prompt_name)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Embed the texts, and print a summary or the manifest."""
    from cenote.embedding.embed import embed
    from cenote.json_records import to_json

    with progress() as tell, _interruptible(args.output, args.restart) as interruption:

        def report(step: str, done: int, total: int) -> None:
            tell(step, done, total)
            if step == "embedding":
                interruption.reach(done)

        manifest = embed(
            args.model,
            args.texts,
            columns=args.columns,
            id_column=args.id_column,
            progress=report,
            notify=say,
            part=interruption.begin_part,
            stop=interruption.asked.is_set,
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


def _load(args: argparse.Namespace, name: Any, **options: Any) -> SentenceTransformer:
    note(f"loading {name} ...")
    return load_model(args, name, **options)


def _summary(manifest: Manifest, folder: str) -> Iterator[str]:
    counts, settings = manifest.counts, manifest.settings
    if counts is None:
        return
    rows = sum(counts.rows)
    pieces = {"windows": "window", "segments": "segment"}.get(settings["long"])
    windows = f" in {pluralise(rows, pieces)}" if pieces else ""
    tokens = f"{pluralise(counts.tokens, 'token')}{_read(counts)}"
    yield f"{pluralise(counts.texts - counts.rejected, 'text')}{windows}, {tokens}"
    yield f"computed by {settings['backend']} at {settings['precision']}, written as {settings['dtype']}"
    if manifest.neighbours is not None:
        common = f"{manifest.neighbours:.1%} of the ten nearest texts in common"
        yield f"compared with float32 on a sample: least cosine {manifest.agreement}, {common}"
    if counts.rejected:
        yield f"left out: {pluralise(counts.rejected, 'row')}, see {folder}/rejects.jsonl"
    yield f"embeddings: {folder}"


def _read(counts: Counts) -> str:
    """Return how many tokens the model read, where those are not all tokens, each once."""
    if counts.read is None or counts.read == counts.tokens:
        return ""
    read = f"{counts.read:,}"
    return f", of which {read} were read" if counts.read < counts.tokens else f", read as {read} in windows"


class _Interruption:
    """The wish of the user to stop, and the part that is finished before."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.pace: Pace | None = None  # once parts are being written
        self.end: int | None = None  # texts that are done after the part; None where parts are written elsewhere

    def begin_part(self, end: int) -> None:
        """Note with how many texts the next part ends."""
        self.end = end

    def reach(self, done: int) -> None:
        """Note how many texts are done."""
        self.pace = self.pace or Pace()
        self.pace.reach(done, time.monotonic())

    def ask(self, *_: Any) -> None:
        """Stop after the current part; at once where none is being written, or if asked before."""
        if self.asked.is_set() or self.pace is None:
            raise KeyboardInterrupt
        self.asked.set()
        warn(f"stopping after this part{self._rest(self.pace)}; press again to stop at once and lose the part.")

    def _rest(self, pace: Pace) -> str:
        """Return in words what is left of the part."""
        from cenote.embedding.corpus import PART_TEXTS

        if self.end is None:
            return f" of up to {PART_TEXTS:,} texts"
        left = max(0, self.end - pace.done)
        seconds = pace.seconds(left)
        return f": {pluralise(left, 'more text')}{'' if seconds is None else f', about {in_minutes(seconds)}'}"


@contextmanager
def _interruptible(output: str, restart: bool) -> Iterator[_Interruption]:
    """Yield what to report progress to, and to ask whether to stop after the current part.

    Before the first report an interrupt or SIGTERM ends the run at once; after it, the first one lets the part be
    finished, and the second ends the run at once.
    """
    interruption = _Interruption()
    before = {number: signal.signal(number, interruption.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    except KeyboardInterrupt:
        if interruption.pace is not None:
            same = "the same command without --restart" if restart else "the same command"
            warn(f"stopped; the parts in {output} are complete, and {same} continues from there.")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
