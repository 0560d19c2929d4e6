"""The Ray engine: the parts of a corpus written by many machines, through Ray Data.

One task reads the texts on the caller's machine. Actors encode a slice each with a copy of the caller's model, and
write the part into the folder. Ray schedules the work and repeats what a dead machine had; the folder knows which parts
exist.
An error of a text or a model is an answer, not an exception, so that Ray does not try again; the caller raises it.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import platform
import signal
import sys
import threading
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from cenote.embedding.corpus import Slice
from cenote.embedding.folder import COMPARING, Output, missing_parts
from cenote.embedding.messages import error_answer, pack, raise_error, slice_messages, slice_of, unpack
from cenote.embedding.options import Options
from cenote.embedding.parts import Part, part_of, write_part
from cenote.embedding.rows import SliceEncoder
from cenote.encoding.backends import backend
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, CenoteError, last_line
from cenote.listener import Listener
from cenote.models.fingerprints import fingerprint_as
from cenote.models.provenance import versions_of
from cenote.records import Manifest
from cenote.wording import pluralise

# Cores of a worker by default. Each worker has its own copy of the model, and uses a few threads better than many; not
# tuned, see docs/embedding.md.
CORES = 4


@dataclass(frozen=True)
class Allocation:
    """How a cluster is divided: the number of workers, and what each gets of its node."""

    workers: int
    cores: int
    accelerators: float

    def __str__(self) -> str:
        return f"{pluralise(self.workers, 'worker')} of {pluralise(self.cores, 'core')}"


def allocate(nodes: Sequence[tuple[float, float]], workers: int | None, *, accelerated: bool) -> Allocation:
    """Divide nodes, given as (cores, accelerators), into workers: one per accelerator, or per few cores.

    >>> allocate([(16, 0), (8, 0)], None, accelerated=False)
    Allocation(workers=6, cores=4, accelerators=0)
    >>> allocate([(16, 4), (16, 4)], None, accelerated=True)
    Allocation(workers=8, cores=4, accelerators=1)
    >>> allocate([(2, 0), (2, 0)], 4, accelerated=False)
    Allocation(workers=4, cores=1, accelerators=0)

    Args:
        nodes: cores and accelerators of each node.
        workers: the number asked for; None: as many as fit.
        accelerated: whether workers compute on accelerators.

    Raises:
        BadInput: there is no room for this many, or for any.
    """
    cores = [int(node[0]) for node in nodes]
    if not accelerated:
        most = max(cores, default=0)
        sizes = range(most, 0, -1) if workers else [min(CORES, most)]
        for size in sizes:
            room = sum(have // size for have in cores) if size else 0
            if room >= (workers or 1):
                return Allocation(workers or room, size, 0)
        raise BadInput(f"workers={workers}: the cluster has {sum(cores)} cores, and each worker needs one.")
    found = sum(int(node[1]) for node in nodes)
    if not found:
        raise BadInput("the model is on an accelerator, and the cluster has none: load it with device='cpu'.")
    wanted = workers or found
    each = math.ceil(wanted / found)  # workers on one accelerator
    size = min(have // (int(node[1]) * each) for have, node in zip(cores, nodes, strict=True) if int(node[1]))
    if size < 1:
        raise BadInput(f"workers={workers}: each needs a core beside its accelerator, and a node has fewer.")
    return Allocation(wanted, min(CORES, size), 1 if each == 1 else 1 / each)


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know. The caller has decided everything."""

    model: Any  # Ray's reference to it
    device: str
    options: Options
    backend: str
    precision: str
    folder: Path
    manifest: Manifest
    cores: int

    def encoder(self, model: Any, notify: Callable[[str], object]) -> SliceEncoder:
        """Return an encoder like the caller's; raise if this machine has other versions or weights."""
        there = self.manifest.versions
        here = versions_of(*(name for name in there if name not in ("cenote", "python")))
        if other := [name for name, version in here.items() if version != there.get(name)]:
            name = other[0]
            raise BadInput(
                f"{platform.node()} has {name} {here[name]}, and the caller has {there.get(name)}: install the same "
                "on every node."
            )
        recorded = self.manifest.settings["fingerprint"]
        if (weights := fingerprint_as(recorded, model)) != recorded:
            raise CenoteError(f"the model that arrived on {platform.node()} is another than the caller's ({weights}).")
        torch.set_num_threads(self.cores)
        os.environ["RAYON_NUM_THREADS"] = str(self.cores)  # of the tokenizer, which reads it when it is first used
        model.to(self.device)
        chosen = backend(model, self.backend, self.precision, task=self.options.task)
        return SliceEncoder(model, self.options, Encoder(model, chosen, notify=notify))


class Worker:
    """Encodes slices and writes parts. Ray makes an actor of it."""

    def __init__(self, job: Job) -> None:
        import ray

        self.job, self.notes = job, list[str]()
        try:
            self.encoder: SliceEncoder | dict[str, Any] = job.encoder(ray.get(job.model), self.notes.append)
        except Exception as error:  # answered to the first slice; raised here, Ray would try for ever
            self.encoder = error_answer(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer the message of one slice."""
        return pack(self._answer(unpack(table)))

    def _answer(self, given: dict[str, Any]) -> dict[str, Any]:
        if "error" in given:
            return given
        if isinstance(self.encoder, dict):
            return self.encoder
        try:
            embedded = self.encoder.read(self.encoder.prepare(slice_of(given)))
            part, *content = part_of(embedded, self.job.options)
            write_part(self.job.folder, self.job.manifest, part, *content, by=f"{uuid.uuid4().hex}-")
        except Exception as error:
            return error_answer(error)
        notes, self.notes[:] = list(self.notes), []
        return {"part": asdict(part), "notes": notes}


# The caller's side.


def write(
    out: Output,
    parts: Callable[[], Iterator[Slice]],
    encoder: SliceEncoder,
    rows: int,
    *,
    listener: Listener,
    workers: int | None = None,
) -> bool:
    """Write the parts that are missing. Return whether all parts are there.

    Args:
        out: the folder, which every node reaches under the same path.
        parts: starts reading the slices of the input, each time from the beginning.
        encoder: the caller's.
        rows: of the input.
        listener: hears of the progress; asked after each part whether to stop.
        workers: the number of workers; None: as many as fit.
    """

    def done() -> int:
        return sum(part.texts for part in out.done.values())

    if done():
        listener.notify(out.resume_notice(rows))
    if done() == rows:
        advance = listener.step(COMPARING, rows)
        deque(missing_parts(parts(), out.done, out.folder, advance), 0)  # yields none, but checks the texts
        return True
    step = listener.step(COMPARING, done()) if done() else listener.step("embedding", rows)
    out.unfinish()
    with _connected() as ray:
        job, nodes = _job(ray, out, encoder), _nodes(ray)
        source = _put(ray, parts, "the texts")
        reason = "for an unknown reason."
        while (before := done()) < rows:
            allocation = allocate(nodes, workers, accelerated=job.device != "cpu")
            listener.notify(f"{allocation} on {pluralise(len(nodes), 'node')}")
            with closing(_answers(ray, source, dict(out.done), job, allocation)) as answers:  # else workers would go on
                for answer in answers:
                    if not _note_part(out, answer, listener):
                        reason = answer["lost"]
                        continue
                    if step.name == COMPARING:  # only now, so that the pace of the embedding is that of the workers
                        step = listener.step("embedding", rows, done())
                    step.reach(done())
                    if done() < rows and listener.stop():
                        listener.notify(f"stopped: {done():,} texts are kept")
                        return False
            out.refresh()
            if done() == before:
                raise CenoteError(
                    f"{rows - before:,} texts were not embedded, since all workers were lost: {reason} Check the "
                    "cluster and its memory. The parts written so far are whole, and the same call goes on from there."
                )
            if done() < rows:
                listener.notify(f"workers were lost, and their slices are read again: {reason}")
                nodes = _nodes(ray)
    return True


def _note_part(out: Output, answer: dict[str, Any], listener: Listener) -> bool:
    """Note the part that a worker wrote. Return False where the answer says that workers were lost."""
    raise_error(answer)
    if "lost" in answer:
        return False
    part = Part(**answer["part"])
    out.done[part.index] = part
    for note in answer["notes"]:
        listener.notify(note)
    return True


def _job(ray: Any, out: Output, encoder: SliceEncoder) -> Job:
    model, made = encoder.model, encoder.encoder.backend
    device = model.device
    if device.type not in ("cpu", "cuda"):
        raise BadInput(f"the model is on {str(device)!r}: across machines it runs on 'cpu' or 'cuda' (--device).")
    model.to("cpu")  # tensors on an accelerator cannot be sent
    try:
        sent = _put(ray, model, "the model")
    finally:
        model.to(device)
    where = out.folder.absolute()
    return Job(sent, device.type, encoder.options, made.name, made.precision, where, out.manifest, 1)


def _put(ray: Any, thing: Any, name: str) -> Any:
    """Put an object where every node can fetch it; return Ray's reference."""
    try:
        return ray.put(thing)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise BadInput(f"{name} cannot be sent to other machines: {error}") from error


def _nodes(ray: Any) -> list[tuple[float, float]]:
    """Return the cores and accelerators of each node."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(has.get("CPU", 0), has.get("GPU", 0)) for has in alive]


def _answers(
    ray: Any, source: Any, done: dict[int, Part], job: Job, allocation: Allocation
) -> Generator[dict[str, Any], None, None]:
    """Yield the workers' answers on the missing parts; last, if Ray gives up, its reason."""
    where, folder = Path.cwd(), job.folder
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}

    def read(_: pa.Table) -> Iterator[pa.Table]:
        import ray

        return slice_messages(lambda: missing_parts(ray.get(source)(), done, folder), where)

    with _quietly(ray.data):
        one = ray.data.from_items([0], override_num_blocks=1)
        texts = one.map_batches(
            read, batch_format="pyarrow", num_cpus=0, label_selector=here
        )  # 0 CPUs: always schedulable
        answers = texts.map_batches(
            Worker,
            fn_constructor_args=(replace(job, cores=allocation.cores),),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=allocation.workers),
            num_cpus=allocation.cores,
            num_gpus=allocation.accelerators,
        )
        try:
            for table in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in range(len(table)):
                    yield unpack(table.slice(row, 1))
        except ray.exceptions.RayError as error:  # a slice has no answer; the others may be complete
            yield {"lost": last_line(error)}


# Ray, configured.


@contextmanager
def _quietly(data: Any) -> Iterator[None]:
    """Ray Data without its progress bars and reports, and with one slice per block."""
    settings = {"enable_progress_bars": False, "print_on_execution_start": False, "target_max_block_size": 1}
    printing = [one for one in logging.getLogger("ray.data").handlers if isinstance(one, logging.StreamHandler)]
    levels = [one.level for one in printing]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="ray")
        context = data.DataContext.get_current()
        before = {name: getattr(context, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(context, name, value)
            for handler in printing:  # errors come as answers
                handler.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for name, value in before.items():
                setattr(context, name, value)
            for handler, level in zip(printing, levels, strict=True):
                handler.setLevel(level)


def refuse_missing_ray() -> None:
    """Raise if Ray is not installed, before anything is done."""
    try:
        import ray.data  # noqa: F401  `import ray` alone would also find a folder of that name
    except ImportError as error:
        raise BadInput(f"engine 'ray' needs ray, which is missing ({error}): pip install 'cenote[ray]'.") from error


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray on the cluster of the caller, of RAY_ADDRESS or of this machine; else on this machine alone."""
    refuse_missing_ray()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # no usage reports
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    ours = not ray.is_initialized()
    if ours:
        with _handlers_kept():
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise BadInput(f"no Ray cluster can be reached or started: {error}") from error
    try:
        with redirect_stdout(sys.stderr) if ours else nullcontext():  # its messages on lost machines are not output
            yield ray
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM, which Ray replaces."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
