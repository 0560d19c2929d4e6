"""Who writes the parts of a corpus: one machine, part by part, or a cluster. What a part holds is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

from cenote import clusters
from cenote.errors import BadInput, choose
from cenote.outputs import Output, missing, there
from cenote.sources import Stretch
from cenote.surgery.attention import at_rest
from cenote.tables import part_of
from cenote.vectorising import Prepared, Read, Vectoriser


class _Stopped(Exception):
    """It was asked to stop, and there is more to do."""


def write(
    out: Output,
    parts: Callable[[], Iterable[Stretch]],
    vectoriser: Vectoriser,
    rows: int,
    *,
    progress: Callable[[str, int, int], object],
    notify: Callable[[str], object],
    stop: Callable[[], bool],
) -> bool:
    """Write the parts that are not there yet, here; whether all are there now.

    Args:
        out: the folder.
        parts: starts reading the parts.
        vectoriser: reads what is in them.
        rows: of the input, all of them, 0 where nobody knows.
        progress: called with what is done, how much of it and how much there is.
        notify: told in words what happened.
        stop: asked before each part whether to leave it at what is there.
    """
    done = sum(part.texts for part in out.done.values())
    if done:
        notify(there(done, rows))
    progress("embedding", done, rows)

    def read_one(prepared: Prepared) -> Read:
        if stop():
            raise _Stopped
        return vectoriser.read(prepared, telling(prepared, done, rows, progress))

    try:
        for read in ahead(missing(parts(), out.done, out.folder), vectoriser, read_one):
            out.write(*part_of(read, vectoriser.options))
            done += read.prepared.stretch.rows
            progress("embedding", done, rows)
    except _Stopped:
        notify(f"stopped: {done:,} texts are kept")
        return False
    return True


def telling(
    prepared: Prepared, done: int, rows: int, progress: Callable[[str, int, int], object]
) -> Callable[[int], None]:
    """What is told how much more of a part was read: of its texts, or of their windows, which are more."""
    read = 0

    def tell(more: int) -> None:
        nonlocal read
        read += more
        progress("embedding", done + prepared.stretch.rows * read // len(prepared.pieces), rows)

    return tell


def ahead(items: Iterable[Stretch], vectoriser: Vectoriser, read: Callable[[Prepared], Read]) -> Iterator[Read]:
    """What was read, the next one prepared meanwhile.

    The input is asked in the caller's own thread, and only when nothing waits to be handed on: it may belong to that
    thread, as a database does, or keep one waiting, as a pipe does. While the caller has its turn, nothing is under
    way: it may use the model, whose tokenizer is for one at a time.
    """
    source = iter(items)
    item = next(source, None)
    ready = None if item is None else vectoriser.prepare(item)
    fault: Exception | None = None
    with ThreadPoolExecutor(1) as pool:
        while ready is not None:
            try:
                item = next(source, None)
            except Exception as error:  # of what comes next: what is ready is sound
                item, fault = None, error
            with at_rest(vectoriser.model):  # for both threads at once
                waiting = None if item is None else pool.submit(vectoriser.prepare, item)
                try:
                    made = read(ready)
                finally:
                    wait([waiting] if waiting else [])
            yield made
            ready = waiting.result() if waiting else None
    if fault is not None:
        raise fault


# By name. What they are called with is the same, but for the number of workers.
ENGINES: dict[str, Callable[..., bool]] = {"local": write, "ray": clusters.write}


def refuse_unable(engine: str, workers: int | None, *, again: bool) -> None:
    """Raise if an engine is none, or cannot do what it is asked.

    Args:
        engine: its name.
        workers: how many it shall have; None: not said.
        again: whether the texts can be read more than once, and go to a folder.
    """
    choose(engine, ENGINES, "engine")
    if engine == "local":
        if workers is not None:
            raise BadInput(f"workers={workers} is for engine='ray' (--engine ray): the local one is one worker.")
        return
    if workers is not None and workers < 1:
        raise BadInput(f"workers={workers}: pass a whole number, at least 1.")
    clusters.refuse_missing()
    if not again:
        raise BadInput(
            f"engine={engine!r} writes into a folder, and reads texts again where a machine is lost: name an "
            "output, and a file, or pass a list or a function that starts reading (no iterator, no standard input)."
        )
