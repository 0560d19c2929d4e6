"""`cenote embed`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from cenote.commands.progress import progress
from cenote.commands.shared import Usage, add_model, count, hush, natural, note, warn
from cenote.declarations import find
from cenote.phrases import counted

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from cenote.results import Manifest
    from cenote.vectorising import Choices

MEANING = "embed a corpus to Parquet: fast, resumable, with nothing lost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_model(parser)
    parser.add_argument(
        "texts",
        metavar="TEXTS",
        help="a file; a folder, of its .txt and .md files; or - for lines of standard input",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="a folder, new or of an earlier run, which is gone on with"
    )
    parser.add_argument("--column", default="text", help="where the text is, in files with columns (default: text)")
    parser.add_argument("--id-column", metavar="NAME", help="where the id is (default: id if there is one, else rows)")
    parser.add_argument("--prompt", metavar="NAME", help="of the model's prompts, the one to put before every text")
    parser.add_argument("--task", metavar="TASK", help="query or document, for models that treat them differently")
    reading = parser.add_argument_group("how texts are read")
    reading.add_argument("--max-seq-length", type=count, metavar="N", help="read up to N tokens; default: the model's")
    reading.add_argument(
        "--long", default="truncate", metavar="WAY", help="truncate (default), window-mean or windows: a row for each"
    )
    reading.add_argument(
        "--window", type=count, metavar="N", help="tokens of a window (default: what there is room for)"
    )
    reading.add_argument("--overlap", type=natural, metavar="N", help="tokens that windows share (default: an eighth)")
    reading.add_argument("--on-truncate", default="warn", metavar="WHAT", help="warn (default) or error")
    reading.add_argument(
        "--on-error", default="raise", metavar="WHAT", help="raise (default), or skip into rejects.jsonl"
    )
    speed = parser.add_argument_group("how they are computed")
    speed.add_argument("--backend", default="auto", help="torch, openvino, onnx or auto (default): the fastest here")
    speed.add_argument("--precision", default="auto", help="float32, bfloat16, float16 or auto (default)")
    speed.add_argument("--engine", default="local", help="local (default), or ray: a Ray cluster that reaches OUT")
    speed.add_argument(
        "--workers", type=count, metavar="N", help="with ray (default: one for each accelerator, or every 4 cores)"
    )
    form = parser.add_argument_group("what is written")
    form.add_argument("--dtype", default="float32", help="float32 (default), float16 or int8")
    form.add_argument("--dimensions", type=count, metavar="N", help="keep the first N, for models trained for it")
    form.add_argument("--normalize", action="store_true", help="divide vectors by their norms")
    form.add_argument("--restart", action="store_true", help="delete what an earlier run wrote into OUT, begin anew")
    form.add_argument("--json", action="store_true", help="print the manifest")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Embed, and say what there is now."""
    from cenote.texts import read_rows

    if not args.output.strip():
        raise Usage("-o is empty: name a folder.")
    find(args.model)
    reading = partial(read_rows, args.texts, column=args.column, id_column=args.id_column)
    texts: Any = reading() if args.texts == "-" else reading
    if args.texts != "-":
        next(iter(reading()))  # a wrong path or column is told before a model is loaded

    from cenote.embedding import embed
    from cenote.results import to_json

    with progress() as tell, _interruptible(args.output, args.restart) as (started, stop):

        def told(what: str, done: int, total: int) -> None:
            tell(what, done, total)
            if what == "embedding":
                started()

        manifest = embed(
            args.model,
            texts,
            args.output,
            backend=args.backend,
            precision=args.precision,
            engine=args.engine,
            workers=args.workers,
            restart=args.restart,
            source="standard input" if args.texts == "-" else args.texts,
            progress=told,
            notify=_say,
            stop=stop,
            loader=partial(_loaded, args),
            **_options(args),
        )
        if not manifest.complete:
            raise KeyboardInterrupt
    if args.json:
        yield to_json(manifest).rstrip()
        return
    yield from _summary(manifest, args.output)


def _loaded(args: argparse.Namespace, name: Any) -> SentenceTransformer:
    """The model, once everything else was found to be sound."""
    from cenote.loading import load

    hush()
    note(f"loading {name} ...")
    return load(name, device=args.device, max_seq_length=args.max_seq_length, trust_remote_code=args.trust_remote_code)


def _say(text: str) -> None:
    """What was chosen and what happened, in a log of the night too."""
    print(f"cenote: {text}", file=sys.stderr, flush=True)


def _summary(manifest: Manifest, folder: str) -> Iterator[str]:
    counts, settings = manifest.counts, manifest.settings
    if counts is None:
        return
    rows = sum(counts.rows)
    windows = f" in {counted(rows, 'window')}" if settings["long"] == "windows" else ""
    yield f"{counted(counts.texts - counts.rejected, 'text')}{windows}, {counted(counts.tokens, 'token')}"
    yield f"computed by {settings['backend']} at {settings['precision']}, written as {settings['dtype']}"
    if counts.rejected:
        yield f"left out: {counted(counts.rejected, 'row')}, see {folder}/rejects.jsonl"
    yield f"embeddings: {folder}"


def _options(args: argparse.Namespace) -> Choices:
    """How texts are read and what is written of them, as `embed` takes it."""
    return {
        "prompt_name": args.prompt,
        "task": args.task,
        "dtype": args.dtype,
        "dimensions": args.dimensions,
        "normalize": args.normalize,
        "long": args.long,
        "window": args.window,
        "overlap": args.overlap,
        "on_truncate": args.on_truncate,
        "on_error": args.on_error,
    }


@contextmanager
def _interruptible(output: str, restart: bool) -> Iterator[tuple[Callable[[], object], Callable[[], bool]]]:
    """What to call when there is something to lose, and whether to stop then.

    From then on a first Ctrl-C, or polite kill, lets the part be finished. A second, or one before, ends it at once.
    """
    from cenote.sources import PART_TEXTS

    started, asked = threading.Event(), threading.Event()

    def ask(*_: Any) -> None:
        if asked.is_set() or not started.is_set():
            raise KeyboardInterrupt
        asked.set()
        warn(f"stopping after this part, of {PART_TEXTS:,} texts at most; press again to stop at once, which loses it.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield started.set, asked.is_set
    except KeyboardInterrupt:
        if started.is_set():
            same = "the same command without --restart" if restart else "the same command"
            warn(f"stopped; what {output} holds is whole, and {same} goes on from there.")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
