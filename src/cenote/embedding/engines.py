"""The engines that write the parts of a corpus: this machine or a Ray cluster. They write the same parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import chain

from cenote.embedding import cluster
from cenote.embedding.corpus import Slice
from cenote.embedding.folder import COMPARING, Output, missing_parts
from cenote.embedding.parts import part_of
from cenote.embedding.rows import Embedded, Prepared, SliceEncoder
from cenote.errors import BadInput
from cenote.listener import Advance, Listener, never, silent


class _Stopped(Exception):
    """The listener asked to stop, and texts are left."""


def write(
    out: Output,
    parts: Callable[[], Iterable[Slice]],
    encoder: SliceEncoder,
    rows: int,
    *,
    listener: Listener,
    part: Advance = silent,
) -> bool:
    """Write the parts that are missing, on this machine. Return whether all parts are there.

    Args:
        out: the folder.
        parts: starts reading the slices of the input.
        encoder: encodes a slice.
        rows: of the input, 0 where that is unknown.
        listener: hears of the progress; asked before each part whether to stop.
        part: called before each part with how many texts are done after it.
    """
    done = sum(part.texts for part in out.done.values())
    if done:
        listener.notify(out.resume_notice(rows))
    compared = listener.step(COMPARING, done) if done else silent

    def read(prepared: Prepared) -> Embedded:
        part(done + prepared.slice.rows)
        return encoder.read(prepared, text_progress(prepared, done, step.reach))

    try:
        missing = missing_parts(parts(), out.done, out.folder, compared)
        first = next(missing, None)
        if first is None:
            return True
        step = listener.step("embedding", rows, done)  # only now, so that its pace is that of the model
        for embedded in read_ahead(chain((first,), missing), encoder, read, listener.stop):
            out.write(*part_of(embedded, encoder.options))
            done += embedded.slice.rows
            step.reach(done)
    except _Stopped:
        listener.notify(f"stopped: {done:,} texts are kept")
        return False
    return True


def text_progress(prepared: Prepared, done: int, reach: Callable[[int], object]) -> Advance:
    """Return a callback that turns pieces read into texts done: windows are more than texts."""
    read = 0

    def advance(more: int) -> None:
        nonlocal read
        read += more
        reach(done + prepared.slice.rows * read // len(prepared.pieces))

    return advance


def read_ahead(
    parts: Iterable[Slice],
    encoder: SliceEncoder,
    read: Callable[[Prepared], Embedded],
    stop: Callable[[], bool] = never,
) -> Iterator[Embedded]:
    """Read slices one after another, the next one tokenised in a second thread meanwhile.

    The input is asked in the caller's thread, and only when no slice waits: it may belong to that thread, as a database
    connection does, or block, as a pipe does. While the caller has its turn nothing runs, so that it may use the model,
    whose tokenizer serves one thread at a time.

    Raises:
        _Stopped: `stop` returned true, which is asked before each slice, and before the input is: a pipe may block.
    """
    source = iter(parts)
    part = next(source, None)
    ready = None if part is None else encoder.prepare(part)
    fault: Exception | None = None
    with ThreadPoolExecutor(1) as pool:
        while ready is not None:
            if stop():
                raise _Stopped
            try:
                part = next(source, None)
            except Exception as error:  # the slice that is ready is sound
                part, fault = None, error
            waiting = None if part is None else pool.submit(encoder.prepare, part)
            try:
                embedded = read(ready)
            finally:
                wait([waiting] if waiting else [])
            yield embedded
            ready = waiting.result() if waiting else None
    if fault is not None:
        raise fault


# All take the same arguments; the local one takes `part` too, that of Ray `workers`.
ENGINES: dict[str, Callable[..., bool]] = {"local": write, "ray": cluster.write}


def refuse_engine(engine: str, *, rereadable: bool) -> None:
    """Raise if an engine is not installed, or cannot read these texts."""
    if engine == "local":
        return
    cluster.refuse_missing_ray()
    if not rereadable:
        raise BadInput(
            f"engine={engine!r} writes into a folder, and reads texts again when a machine is lost: name an output, "
            "and a file, or pass a list or a function that starts reading (no iterator, no standard input)."
        )
