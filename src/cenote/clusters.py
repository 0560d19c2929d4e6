"""The parts of a corpus written by many machines, through Ray Data.

One task reads the texts, where the caller is. Actors read a part each with a copy of the caller's model and write it
into the folder. Who does what, and what is done again when a machine dies, is Ray's business; what is there already is
the folder's. Nothing that goes wrong with a text or a model is an exception to Ray: it is an answer like any other, and
is raised where the caller is.
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

from cenote.backends import backend
from cenote.descriptions import versions_of
from cenote.encoding import Encoder
from cenote.errors import BadInput, CenoteError
from cenote.fingerprints import of_weights
from cenote.outputs import Output, Part, missing, there, write_part
from cenote.parcels import packed, parcels, raise_wrong, stretch_of, unpacked, wrong
from cenote.phrases import counted
from cenote.results import Manifest
from cenote.sources import Stretch
from cenote.tables import part_of
from cenote.vectorising import Options, Vectoriser

# Cores of a worker where nothing else is said. Each worker holds a model of its own, and a few threads are used better
# than many; not tuned, see docs/embedding.md.
CORES = 4


@dataclass(frozen=True)
class Share:
    """How a cluster is shared: so many workers, and what each has of its node."""

    workers: int
    cores: int
    accelerators: float

    def __str__(self) -> str:
        return f"{counted(self.workers, 'worker')} of {counted(self.cores, 'core')}"


def share(nodes: Sequence[tuple[float, float]], workers: int | None, *, accelerated: bool) -> Share:
    """Workers for nodes of so many cores and accelerators each: one for each accelerator, or for every few cores.

    >>> share([(16, 0), (8, 0)], None, accelerated=False)
    Share(workers=6, cores=4, accelerators=0)
    >>> share([(16, 4), (16, 4)], None, accelerated=True)
    Share(workers=8, cores=4, accelerators=1)
    >>> share([(2, 0), (2, 0)], 4, accelerated=False)
    Share(workers=4, cores=1, accelerators=0)

    Args:
        nodes: cores and accelerators of each.
        workers: how many there shall be; None: as many as fit.
        accelerated: whether each computes on an accelerator.

    Raises:
        BadInput: there is no room for so many, or for any.
    """
    cores = [int(node[0]) for node in nodes]
    if not accelerated:
        most = max(cores, default=0)
        sizes = range(most, 0, -1) if workers else [min(CORES, most)]
        for size in sizes:
            room = sum(have // size for have in cores) if size else 0
            if room >= (workers or 1):
                return Share(workers or room, size, 0)
        raise BadInput(f"workers={workers}: the cluster has {sum(cores)} cores, and each worker needs one.")
    found = sum(int(node[1]) for node in nodes)
    if not found:
        raise BadInput("the model is on an accelerator, and the cluster has none: load it with device='cpu'.")
    wanted = workers or found
    each = math.ceil(wanted / found)  # workers on one accelerator
    size = min(have // (int(node[1]) * each) for have, node in zip(cores, nodes, strict=True) if int(node[1]))
    if size < 1:
        raise BadInput(f"workers={workers}: each needs a core beside its accelerator, and a node has fewer.")
    return Share(wanted, min(CORES, size), 1 if each == 1 else 1 / each)


@dataclass(frozen=True)
class Job:
    """All that a worker has to know. What the model is, and what is written, was decided by the caller."""

    model: Any  # where Ray keeps it
    device: str
    options: Options
    backend: str
    precision: str
    folder: Path
    manifest: Manifest
    cores: int

    def begin(self, model: Any, notify: Callable[[str], object]) -> Vectoriser:
        """What reads texts as the caller's own would."""
        there = self.manifest.versions
        here = versions_of(*(name for name in there if name not in ("cenote", "python")))
        if other := [name for name, version in here.items() if version != there.get(name)]:
            name = other[0]
            raise BadInput(
                f"{platform.node()} has {name} {here[name]}, and the caller has {there.get(name)}: install the same "
                "on every node."
            )
        if (weights := of_weights(model)) != self.manifest.settings["fingerprint"]:
            raise CenoteError(f"the model that arrived on {platform.node()} is another than the caller's ({weights}).")
        torch.set_num_threads(self.cores)
        os.environ["RAYON_NUM_THREADS"] = str(self.cores)  # of the tokenizer, read when it is first used
        model.to(self.device)
        chosen = backend(model, self.backend, self.precision, task=self.options.task)
        return Vectoriser(model, self.options, Encoder(model, chosen, notify=notify))


class Worker:
    """Reads parts and writes them: what Ray makes an actor of."""

    def __init__(self, job: Job) -> None:
        import ray

        self.job, self.notes = job, list[str]()
        try:
            self.vectoriser: Vectoriser | dict[str, Any] = job.begin(ray.get(job.model), self.notes.append)
        except Exception as error:  # told with the first part, or Ray would try for ever
            self.vectoriser = wrong(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        """What became of the part in the table's one row."""
        return packed(self._answer(unpacked(table)))

    def _answer(self, given: dict[str, Any]) -> dict[str, Any]:
        if "wrong" in given:
            return given
        if isinstance(self.vectoriser, dict):
            return self.vectoriser
        try:
            read = self.vectoriser.read(self.vectoriser.prepare(stretch_of(given)))
            part, table, rejects = part_of(read, self.job.options)
            write_part(self.job.folder, self.job.manifest, part, table, rejects, by=f"{uuid.uuid4().hex}-")
        except Exception as error:
            return wrong(error)
        notes, self.notes[:] = list(self.notes), []
        return {"part": asdict(part), "notes": notes}


# The caller's side.


def write(
    out: Output,
    parts: Callable[[], Iterator[Stretch]],
    vectoriser: Vectoriser,
    rows: int,
    *,
    workers: int | None = None,
    progress: Callable[[str, int, int], object],
    notify: Callable[[str], object],
    stop: Callable[[], bool],
) -> bool:
    """Write the parts that are not there yet; whether all are there now.

    Args:
        out: the folder, which every node reaches under the same path.
        parts: starts reading the parts anew.
        vectoriser: how the caller would read them.
        rows: of the input, all of them.
        workers: how many; None: as many as fit.
        progress: called with what is done, how much of it and how much there is.
        notify: told in words what happened.
        stop: asked after each part, while there are more, whether to leave it at that.
    """

    def done() -> int:
        return sum(part.texts for part in out.done.values())

    if done():
        notify(there(done(), rows))
    progress("embedding", done(), rows)
    if done() == rows:
        deque(missing(parts(), out.done, out.folder), 0)  # none is; that they are of these texts is looked at
        return True
    out.unfinish()
    with _connected() as ray:
        job, cluster = _job(ray, out, vectoriser), _nodes(ray)
        source = _sent(ray, parts, "the texts")
        why = "nobody says why"
        while (before := done()) < rows:
            shared = share(cluster, workers, accelerated=job.device != "cpu")
            notify(f"{shared} on {counted(len(cluster), 'node')}")
            with closing(_answers(ray, source, dict(out.done), job, shared)) as answers:  # or workers would go on
                for answer in answers:
                    if not _entered(out, answer, notify):
                        why = answer["lost"]
                        continue
                    progress("embedding", done(), rows)
                    if done() < rows and stop():
                        notify(f"stopped: {done():,} texts are kept")
                        return False
            out.look()
            if done() == before:
                raise CenoteError(
                    f"{rows - before:,} texts could not be read, their workers were lost: {why} Look at the cluster "
                    "and its memory; what is there is whole, and the same call goes on from there."
                )
            if done() < rows:
                notify(f"workers were lost, what they had in hand is read anew: {why}")
                cluster = _nodes(ray)
    return True


def _entered(out: Output, answer: dict[str, Any], notify: Callable[[str], object]) -> bool:
    """Note the part that a worker wrote; whether the answer is of one, and not of workers that were lost."""
    raise_wrong(answer)
    if "lost" in answer:
        return False
    part = Part(**answer["part"])
    out.done[part.index] = part
    for note in answer["notes"]:
        notify(note)
    return True


def _job(ray: Any, out: Output, vectoriser: Vectoriser) -> Job:
    model, made = vectoriser.model, vectoriser.encoder.backend
    device = model.device
    if device.type not in ("cpu", "cuda"):
        raise BadInput(f"the model is on {str(device)!r}: across machines it runs on 'cpu' or 'cuda' (--device).")
    model.to("cpu")  # what is sent is not of one machine's accelerator
    try:
        sent = _sent(ray, model, "the model")
    finally:
        model.to(device)
    where = out.folder.absolute()
    return Job(sent, device.type, vectoriser.options, made.name, made.precision, where, out.manifest, 1)


def _sent(ray: Any, thing: Any, name: str) -> Any:
    """Where Ray keeps what every node may fetch."""
    try:
        return ray.put(thing)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise BadInput(f"{name} cannot be sent to other machines: {error}") from error


def _nodes(ray: Any) -> list[tuple[float, float]]:
    """Cores and accelerators of each."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(has.get("CPU", 0), has.get("GPU", 0)) for has in alive]


def _answers(
    ray: Any, source: Any, done: dict[int, Part], job: Job, shared: Share
) -> Generator[dict[str, Any], None, None]:
    """What workers say of the parts that are not done, as it comes; last what Ray says if it gives up."""
    where, folder = Path.cwd(), job.folder
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}

    def read(_: pa.Table) -> Iterator[pa.Table]:
        import ray

        return parcels(lambda: missing(ray.get(source)(), done, folder), where)

    with _quietly(ray.data):
        one = ray.data.from_items([0], override_num_blocks=1)
        texts = one.map_batches(read, batch_format="pyarrow", num_cpus=0, label_selector=here)  # room there always is
        answers = texts.map_batches(
            Worker,
            fn_constructor_args=(replace(job, cores=shared.cores),),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=shared.workers),
            num_cpus=shared.cores,
            num_gpus=shared.accelerators,
        )
        try:
            for table in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in range(len(table)):
                    yield unpacked(table.slice(row, 1))
        except ray.exceptions.RayError as error:  # some part has no answer; what there is may still be gone on from
            yield {"lost": str(error).strip().splitlines()[-1]}


# What Ray is asked to be like.


@contextmanager
def _quietly(data: Any) -> Iterator[None]:
    """Ray Data without its bars and reports, a part to a block."""
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
            for handler in printing:  # what is wrong is told by who reads the answers
                handler.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for name, value in before.items():
                setattr(context, name, value)
            for handler, level in zip(printing, levels, strict=True):
                handler.setLevel(level)


def refuse_missing() -> None:
    """Raise if there is no Ray, before anything is done."""
    try:
        import ray.data  # noqa: F401  a folder of that name can be imported as `ray` alone
    except ImportError as error:
        raise BadInput(f"engine 'ray' needs ray, which is missing ({error}): pip install 'cenote[ray]'.") from error


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, on the cluster that the caller is in, that RAY_ADDRESS or this machine has, or else on this machine."""
    refuse_missing()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anyone
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
        with redirect_stdout(sys.stderr) if ours else nullcontext():  # what Ray says of lost machines is no output
            yield ray
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """What is done at Ctrl-C or a polite kill stays what it was: Ray puts its own in place."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
