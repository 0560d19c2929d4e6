"""`engine="ray"`: a cluster writes the bytes that one machine would, also where nodes or callers die.

First how a cluster is divided, and what is refused, with a fake of Ray; then two nodes on this machine, one of them
lost.
"""

import contextlib
import copy
import datetime
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import cenote
from cenote.embedding import cluster as clusters
from cenote.embedding import corpus as sources
from cenote.embedding.cluster import Allocation, Job, Worker, allocate
from cenote.embedding.embed import embed
from cenote.embedding.folder import missing_parts
from cenote.embedding.messages import slice_messages, unpack
from cenote.embedding.options import Options
from cenote.errors import BadInput, CenoteError

from ..folders import content

PLAIN = {"backend": "torch", "precision": "float32", "name": "tiny"}
PATIENCE = 300  # seconds, on a busy machine
WORDS = ("pool", "cave", "water", "deep light", "a stone")
TEXTS = [(f"i{row}", f"{WORDS[row % 5]} {row} " + "the water " * (row * 7 % 11)) for row in range(120)]


def with_columns(rows):
    """Return rows of (id, text) as mappings with columns that JSON has no types for."""
    return [
        {
            "id": name,
            "text": text,
            "place": {"row": number, "tags": ["a"] * (number % 3)},
            "seen": datetime.date(2020, 1, 1 + number),
        }
        for number, (name, text) in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def saved(tiny_st):
    return tiny_st("bert")


@pytest.fixture
def model(saved):
    return cenote.load(saved, device="cpu")


# How a cluster is divided.


@pytest.mark.parametrize(
    ("nodes", "workers", "expected"),
    [
        ([(4, 0)], None, Allocation(1, 4, 0)),
        ([(3, 0)], None, Allocation(1, 3, 0)),
        ([(2, 0), (64, 0)], None, Allocation(16, 4, 0)),  # a small head does not make small workers
        ([(16, 0), (9, 0)], 1, Allocation(1, 16, 0)),
        ([(16, 0), (9, 0)], 2, Allocation(2, 9, 0)),
        ([(16, 0), (9, 0)], 3, Allocation(3, 8, 0)),
        ([(1.5, 0), (1, 0)], 2, Allocation(2, 1, 0)),
    ],
)
def test_cores_are_divided(nodes, workers, expected):
    assert allocate(nodes, workers, accelerated=False) == expected


@pytest.mark.parametrize(
    ("nodes", "workers", "expected"),
    [
        ([(8, 0), (16, 2)], None, Allocation(2, 4, 1)),
        ([(2, 2)], None, Allocation(2, 1, 1)),
        ([(16, 2), (16, 2)], 3, Allocation(3, 4, 1)),
        ([(16, 2)], 4, Allocation(4, 4, 0.5)),
        ([(16, 2)], 5, Allocation(5, 2, 1 / 3)),
    ],
)
def test_accelerators_are_divided(nodes, workers, expected):
    assert allocate(nodes, workers, accelerated=True) == expected


@pytest.mark.parametrize("accelerated", [False, True])
def test_every_worker_finds_room(accelerated):
    for cores in range(1, 9):
        for more in range(1, 9):
            for workers in (None, 1, 2, 3, 4, 7):
                nodes = [(cores, 1), (more, 2)]
                try:
                    found = allocate(nodes, workers, accelerated=accelerated)
                except BadInput:
                    continue
                rooms = [
                    min(has // found.cores, int(held / found.accelerators + 1e-9) if accelerated else has)
                    for has, held in nodes
                ]
                assert sum(rooms) >= found.workers == (workers or found.workers)


@pytest.mark.parametrize(
    ("nodes", "workers", "accelerated", "match"),
    [
        ([(2, 0), (1, 0)], 4, False, "workers=4: the cluster has 3 cores"),
        ([(0, 0)], None, False, "the cluster has 0 cores"),
        ([(8, 0)], None, True, "the cluster has none: load it with device='cpu'"),
        ([(1, 2)], None, True, "a node has fewer"),
    ],
)
def test_too_many_workers_are_refused(nodes, workers, accelerated, match):
    with pytest.raises(BadInput, match=match):
        allocate(nodes, workers, accelerated=accelerated)


# The caller's side, with a fake of Ray.


@pytest.fixture
def faked(monkeypatch):
    """`faked(rounds)`: no cluster but this process, whose n-th round does so many parts; a list of what was done."""
    monkeypatch.setattr(sources, "PART_TEXTS", 6)
    monkeypatch.setattr(clusters, "refuse_missing_ray", lambda: None)
    monkeypatch.setattr(clusters, "_connected", lambda: contextlib.nullcontext())
    monkeypatch.setattr(clusters, "_nodes", lambda ray: [(1, 0)])
    monkeypatch.setattr(clusters, "_put", lambda ray, thing, name: thing)

    def make(*rounds):
        begun, left = [], iter(rounds)

        def answers(ray, source, done, job, allocation):
            begun.append(sorted(done))
            assert not json.loads((job.folder / "manifest.json").read_text())["complete"]
            worker = Worker.__new__(Worker)
            worker.job, worker.notes = job, ["out of memory: smaller batches"]
            worker.encoder = job.encoder(copy.deepcopy(job.model), print)
            for table in itertools.islice(
                slice_messages(lambda: missing_parts(source(), done, job.folder), Path.cwd()), next(left)
            ):
                yield unpack(worker(table))
            yield {"lost": "The actor died."}

        monkeypatch.setattr(clusters, "_answers", answers)
        return begun

    return make


def test_where_ray_gives_up_the_reason_is_raised(faked, model, tmp_path):
    begun, told = faked(1, 0), []
    with pytest.raises(CenoteError, match="114 texts were not embedded, since all workers were lost: The actor died"):
        embed(model, TEXTS, tmp_path / "out", engine="ray", notify=told.append, **PLAIN)
    assert begun == [[], [0]]
    assert "out of memory: smaller batches" in told
    assert any("their slices are read again: The actor died." in line for line in told)
    assert [path.name for path in tmp_path.glob("out/part-*")] == ["part-00000.parquet"]


def test_workers_end_with_a_run_that_failed(faked, model, tmp_path, monkeypatch):
    """The error keeps all frames alive; the workers must end all the same."""
    faked(2)
    answers, ended = clusters._answers, []

    def watched(*given):
        try:
            yield from answers(*given)
        finally:
            ended.append(True)

    def burst(what, done, total):
        if done == 6:
            raise RuntimeError("the caller fell over")

    monkeypatch.setattr(clusters, "_answers", watched)
    with pytest.raises(RuntimeError, match="fell over") as kept:
        embed(model, TEXTS, tmp_path / "out", engine="ray", progress=burst, **PLAIN)
    assert kept.tb is not None
    assert ended == [True]


def test_the_folder_is_not_complete_while_a_deleted_part_is_written_again(faked, model, tmp_path):
    folder, begun, told = tmp_path / "out", faked(1), []
    rows = [*TEXTS[:7], ("none", None), *TEXTS[7:18]]
    options = {**PLAIN, "on_error": "skip", "dtype": "int8", "notify": told.append}
    whole = embed(model, rows, folder, **options)
    before = content(folder)
    (folder / "part-00001.parquet").unlink()
    assert embed(model, rows, folder, engine="ray", **options) == whole  # the fake looks at what is said meanwhile
    assert begun == [[0, 2, 3]]
    assert content(folder) == before
    assert "going on: 13 texts are embedded" in told


def test_finished_parts_are_a_step_of_their_own(faked, model, tmp_path):
    told = []
    for parts in (1, 2):
        faked(parts)
        told.clear()
        more = {"engine": "ray", "progress": lambda *step: told.append(step), "stop": lambda parts=parts: parts == 1}
        embed(model, TEXTS[:18], tmp_path / "out", **more, **PLAIN)
    first = next(place for place, step in enumerate(told) if step[0] == "embedding")
    assert told[first - 1] == ("comparing the texts of finished parts", 0, 6)
    assert told[first] == ("embedding", 12, 18)
    assert told[-1] == ("embedding", 18, 18)


@pytest.mark.parametrize(("parts", "kept"), [(1, 6), (2, 12), (3, None)])
def test_the_listener_may_stop_the_run_after_each_part_but_the_last(faked, model, tmp_path, parts, kept):
    faked(3)
    told, asked = [], itertools.count(1)
    more = {"stop": lambda: next(asked) >= parts, "notify": told.append}
    found = embed(model, TEXTS[:18], tmp_path / "out", engine="ray", **more, **PLAIN)
    assert found.complete == (kept is None)
    assert ([f"stopped: {kept} texts are kept"] if kept else []) == [line for line in told if "kept" in line]


def test_kept_columns_arrive_with_the_types_of_all_rows(faked, model, tmp_path):
    faked(9)
    rows = with_columns(TEXTS[:20])
    rows[-1]["place"] = {"row": 0.5}  # those of the first parts are whole
    here = embed(model, rows, tmp_path / "here", keep=["place", "seen"], **PLAIN)
    there = embed(model, rows, tmp_path / "there", keep=["place", "seen"], engine="ray", **PLAIN)
    assert here == there
    assert here.settings["keep_types"] == ["struct<row: double, tags: list<item: string>>", "date32[day]"]
    assert content(tmp_path / "here") == content(tmp_path / "there")


def test_texts_that_changed_since_the_survey_are_refused(faked, model, tmp_path):
    faked(9)
    reads = itertools.count()

    def texts():
        last = "another" if next(reads) else "the one"
        yield from [*TEXTS[:8], ("last", last)]

    with pytest.raises(BadInput, match="the texts changed while they were read"):
        embed(model, texts, tmp_path / "out", engine="ray", **PLAIN)
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]


@pytest.mark.parametrize("lacking", [0, 1])
def test_parts_of_other_texts_are_refused(faked, model, tmp_path, lacking):
    """Also where the input differed only while it was read, and is that of the survey again."""
    rows, folder = TEXTS[:12], tmp_path / "out"
    reads = iter([rows, [*rows[:6], ("other", "a stone"), *rows[7:]]])

    def texts():
        yield from next(reads)

    faked(9)
    with pytest.raises(BadInput, match="the texts changed while they were read"):
        embed(model, texts, folder, engine="ray", **PLAIN)
    if lacking:
        (folder / "part-00000.parquet").unlink()
    begun = faked(9)
    with pytest.raises(BadInput, match="rows 6 to 11 are not those that"):
        embed(model, rows, folder, engine="ray", **PLAIN)
    assert begun == [[1]] * lacking


# A worker.


@pytest.fixture
def job(model, tmp_path):
    """`job(**changes)`: the job of a folder that one machine wrote."""
    manifest = embed(model, TEXTS[:2], tmp_path / "out", **PLAIN)
    whole = Job(None, "cpu", Options(), "torch", "float32", tmp_path / "out", manifest, 1)
    return lambda **changes: replace(whole, **changes)


def test_a_worker_has_the_encoder_of_the_caller(job, model, monkeypatch):
    monkeypatch.setenv("RAYON_NUM_THREADS", "7")
    threads = torch.get_num_threads()
    try:
        encoder = job(cores=2).encoder(copy.deepcopy(model), print)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert os.environ["RAYON_NUM_THREADS"] == "2"
    backend = encoder.encoder.backend
    assert (backend.name, backend.precision, encoder.options) == ("torch", "float32", Options())


@pytest.mark.parametrize("package", ["torch", "pyarrow"])
def test_another_version_on_a_node_is_refused(job, model, package):
    manifest = job().manifest
    other = replace(manifest, versions={**manifest.versions, package: "0.1"})
    with pytest.raises(BadInput, match=rf"has {package} .*, and the caller has 0\.1: install the same on every node"):
        job(manifest=other).encoder(model, print)


def test_another_model_is_refused(job, model):
    manifest = job().manifest
    other = replace(manifest, settings={**manifest.settings, "fingerprint": "0" * 16})
    with pytest.raises(CenoteError, match="is another than the caller's"):
        job(manifest=other).encoder(model, print)


# Two nodes in this machine.


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray.data", reason="ray is not installed: pip install 'cenote[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    # A node that does not answer for three seconds is dead; Ray itself waits for fifteen.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**node, "_system_config": quick, "include_dashboard": False})
    made.other = made.add_node(**node)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def in_parts(monkeypatch):
    """`in_parts(texts)`: a function that reads them in parts of six, in whatever process."""
    monkeypatch.setattr(sources, "PART_TEXTS", 6)

    def make(rows):
        def read():
            from cenote.embedding import corpus as sources

            sources.PART_TEXTS = 6
            yield from rows

        return read

    return make


def test_windows_int8_kept_columns_and_skipped_rows_are_those_of_one_machine(cluster, model, in_parts, tmp_path):
    rows = [*TEXTS[:9], ("twice", "a pool"), ("twice", "a cave"), ("none", None), ("long", "the water " * 300)]
    texts = in_parts(with_columns([*rows, *TEXTS[9:20]]))
    options = {**PLAIN, "long": "windows", "dtype": "int8", "on_error": "skip", "keep": ["place", "seen"]}
    here = embed(model, texts, tmp_path / "here", **options)
    there = embed(model, texts, tmp_path / "there", engine="ray", workers=2, **options)
    assert here == there
    assert here.counts.rejected == 2
    assert content(tmp_path / "here") == content(tmp_path / "there")


def test_an_error_of_a_worker_is_that_of_one_machine(cluster, model, in_parts, tmp_path):
    broken, (token,) = copy.deepcopy(model), model.tokenizer("%", add_special_tokens=False)["input_ids"]
    assert not any(token in model.tokenizer(text)["input_ids"] for _, text in TEXTS)
    broken[0].model.get_input_embeddings().weight.data[token] = torch.nan
    texts = in_parts([*TEXTS[:8], ("bad", "half a %"), *TEXTS[8:]])
    messages = []
    for engine, more in (("local", {}), ("ray", {"workers": 1})):
        with pytest.raises(BadInput, match="row 8, id 'bad': it has NaN or inf among the real tokens") as caught:
            embed(broken, texts, tmp_path / engine, engine=engine, **more, **PLAIN)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert not json.loads((tmp_path / "ray" / "manifest.json").read_text())["complete"]


def test_texts_that_cannot_be_sent_are_refused(cluster, model, tmp_path):
    lock = threading.Lock()

    def texts():
        with lock:
            yield from TEXTS

    with pytest.raises(BadInput, match="the texts cannot be sent to other machines"):
        embed(model, texts, tmp_path / "out", engine="ray", **PLAIN)


DRIVER = """
import os, sys
import cenote

def make(rows, stalled):
    caller = os.getpid()
    def read():
        import time
        from cenote.embedding import corpus as sources
        sources.PART_TEXTS = 6
        for place, row in enumerate(rows):
            if place == stalled and os.getpid() != caller:
                time.sleep(1000)  # it does not come to its end by itself
            yield row
    return read

rows = [tuple(row) for row in __import__("json").loads(sys.argv[3])]
texts, options = make(rows, int(sys.argv[4])), {"backend": "torch", "precision": "float32", "name": "tiny"}
cenote.embed(cenote.load(sys.argv[1], device="cpu"), texts, sys.argv[2], engine="ray", **options)
"""


def run_on_ray(cluster, saved, folder, stalled=-1):
    """Start a process that embeds `TEXTS` on the cluster, and stalls before the row `stalled`."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(saved), str(folder), json.dumps(TEXTS), str(stalled)],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        stdout=subprocess.PIPE,
    )


def test_after_a_killed_caller_a_run_goes_on_and_stops_when_asked(cluster, saved, model, in_parts, tmp_path):
    here = embed(model, in_parts(TEXTS), tmp_path / "here", **PLAIN)
    there = tmp_path / "there"
    driver = run_on_ray(cluster, saved, there, stalled=24)
    try:
        until = time.monotonic() + PATIENCE
        while len(list(there.glob("part-*"))) < 2:
            assert driver.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:  # or its workers would keep the cluster from all who come after
        driver.send_signal(signal.SIGKILL)
    assert driver.communicate()[0] == b""
    time.sleep(2)  # its workers see that it is gone
    first = {path.name: path.stat().st_mtime_ns for path in there.glob("part-*")}
    assert 2 <= len(first) <= 4

    asked = []
    texts = in_parts(TEXTS)
    stop = {"stop": lambda: asked.append(1) is None}
    stopped = embed(model, texts, there, engine="ray", workers=1, **stop, **PLAIN)
    assert not stopped.complete
    assert len(asked) == 1
    assert len(first) < len(list(there.glob("part-*"))) < 20

    assert embed(model, in_parts(TEXTS), there, **PLAIN) == here  # one engine goes on where the other was
    assert content(there) == content(tmp_path / "here")
    assert first.items() <= {path.name: path.stat().st_mtime_ns for path in there.glob("part-*")}.items()


@pytest.mark.soak
def test_runs_on_ray_killed_at_random_lose_nothing(cluster, saved, model, in_parts, tmp_path):
    """One kill for forty of CENOTE_KILLS; CENOTE_SEED sets other moments."""
    kills, seed = int(os.environ.get("CENOTE_KILLS", 1000)) // 40, int(os.environ.get("CENOTE_SEED", 0))
    chance, there = random.Random(seed), tmp_path / "there"
    embed(model, in_parts(TEXTS), tmp_path / "here", **PLAIN)
    killed = finished = 0
    while killed < kills:
        before = len(list(there.glob("part-*")))
        driver = run_on_ray(cluster, saved, there)
        while driver.poll() is None and len(list(there.glob("part-*"))) == before:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        driver.kill()
        driver.communicate()
        if driver.returncode == -signal.SIGKILL:
            killed += 1
        else:
            assert driver.returncode == 0, f"seed {seed}, after {killed} kills"
            assert content(there) == content(tmp_path / "here"), f"seed {seed}, after {killed} kills"
            shutil.rmtree(there)
            finished += 1
    assert embed(model, in_parts(TEXTS), there, **PLAIN).complete
    assert content(there) == content(tmp_path / "here"), f"seed {seed}"
    print(f"{killed} kills, {finished} runs to the end from seed {seed}")  # noqa: T201  # shown by `make soak`


def at_work():
    """Return the nodes that a worker is on."""
    from ray._private.state import actors

    found = [one for one in actors().values() if one["State"] == "ALIVE" and "Worker" in one["ActorClassName"]]
    return {one["Address"]["NodeID"] for one in found}


def test_after_a_lost_node_the_bytes_are_the_same(cluster, model, in_parts, tmp_path):  # the last of all, for it is
    both, caller = tmp_path / "both", os.getpid()

    def texts():
        for place, row in enumerate(in_six()):
            if place == 24 and os.getpid() != caller:  # parts enough for each to have some in hand, once there are two
                until = time.monotonic() + PATIENCE
                while not both.exists() and time.monotonic() < until:
                    time.sleep(0.02)
            yield row

    def watch():
        until = time.monotonic() + PATIENCE
        while len(at_work()) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        both.touch()

    lost, told = [], []

    def progress(what, done, total):
        told.append((what, done))
        if what == "embedding" and 24 < done < 120 and not lost:
            lost.append(at_work())
            cluster.remove_node(cluster.other, allow_graceful=False)

    in_six = in_parts(TEXTS)
    here = embed(model, texts, tmp_path / "here", **PLAIN)
    watching = threading.Thread(target=watch)
    watching.start()
    there = embed(model, texts, tmp_path / "there", engine="ray", progress=progress, **PLAIN)
    watching.join()
    assert cluster.other.node_id in lost[0]
    assert len(lost[0]) == 2
    assert there == here
    assert told[-1] == ("embedding", 120)
    assert content(tmp_path / "there") == content(tmp_path / "here")
