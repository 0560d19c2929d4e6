"""`cenote embed`."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from cenote.commands.progress import progress
from cenote.commands.shared import add_model, count, hush, note, warn
from cenote.declarations import find

if TYPE_CHECKING:
    from cenote.results import Manifest

MEANING = "embed a corpus to Parquet: fast, resumable, with nothing lost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_model(parser)
    parser.add_argument("texts", metavar="TEXTS", help="a file or folder of texts, or - for standard input")
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="a folder, new or of an earlier run, which is gone on with"
    )
    parser.add_argument("--column", default="text", help="where the text is, in files with columns (default: text)")
    parser.add_argument("--id-column", metavar="NAME", help="where the id is (default: id if there is one, else rows)")
    parser.add_argument("--prompt", metavar="NAME", help="of the model's prompts, the one to put before every text")
    parser.add_argument("--task", metavar="TASK", help="query or document, for models that treat them differently")
    reading = parser.add_argument_group("how texts are read")
    reading.add_argument(
        "--long", default="truncate", metavar="WAY", help="truncate (default), window-mean or windows: a row for each"
    )
    reading.add_argument(
        "--window", type=count, metavar="N", help="tokens of a window (default: what there is room for)"
    )
    reading.add_argument("--overlap", type=count, metavar="N", help="tokens that windows share (default: an eighth)")
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

    find(args.model)
    reading = partial(read_rows, args.texts, column=args.column, id_column=args.id_column)
    texts: Any = reading() if args.texts == "-" else reading
    if args.texts != "-":
        next(iter(reading()))  # a wrong path or column is told before a model is loaded

    from cenote.embedding import embed, in_words
    from cenote.loading import load
    from cenote.results import to_json

    hush()
    note(f"loading {args.model} ...")
    model = load(args.model, device=args.device, trust_remote_code=args.trust_remote_code)
    with progress() as tell, _interruptible() as stop:
        manifest = embed(
            model,
            texts,
            args.output,
            backend=args.backend,
            precision=args.precision,
            engine=args.engine,
            workers=args.workers,
            restart=args.restart,
            source="standard input" if args.texts == "-" else args.texts,
            name=args.model,
            progress=tell,
            notify=note,
            stop=stop,
            prompt_name=args.prompt,
            task=args.task,
            dtype=args.dtype,
            dimensions=args.dimensions,
            normalize=args.normalize,
            long=args.long,
            window=args.window,
            overlap=args.overlap,
            on_truncate=args.on_truncate,
            on_error=args.on_error,
        )
    if not manifest.complete:
        warn(f"stopped; what {args.output} holds is whole, and the same command goes on from there.")
        raise KeyboardInterrupt
    if args.json:
        yield to_json(manifest).rstrip()
        return
    yield from _summary(manifest, args.output)
    if manifest.counts is not None and manifest.counts.truncated:
        warn(in_words(manifest.counts.truncated, manifest.settings["max_seq_length"]))


def _summary(manifest: Manifest, folder: str) -> Iterator[str]:
    counts, settings = manifest.counts, manifest.settings
    if counts is None:
        return
    rows = sum(counts.rows)
    windows = f" in {rows:,} windows" if settings["long"] == "windows" else ""
    yield f"{counts.texts - counts.rejected:,} texts{windows}, {counts.tokens:,} tokens"
    yield f"computed by {settings['backend']} at {settings['precision']}, written as {settings['dtype']}"
    if counts.rejected:
        yield f"{counts.rejected:,} rows were left out: {folder}/rejects.jsonl"
    if counts.clipped:
        yield f"{counts.clipped:,} numbers lie beyond the scales of int8 and were clipped"
    yield f"embeddings: {folder}"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Whether it was asked to stop: a first Ctrl-C, or polite kill, lets the part be finished, a second does not."""
    asked = threading.Event()

    def ask(*_: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        warn("stopping after this part; press again to stop at once, which loses it.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
