"""`cenote embed` killed at any moment and run again: the folder has the bytes of a run that was not killed.

Runs are killed by SIGKILL, at every step of writing; the real command before every rename. Imports take seconds, so one
process imports once, and every run is a fork of it. `make soak` kills the command 1,000 times at random moments over
4,000 rows; runs on Ray are killed in `test_cluster.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forks of a process that has imported")

SEED = int(os.environ.get("CENOTE_SEED", 0))

# What both scripts have in common: read the task, import once, fork runs, compare folders.
COMMON = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
import cenote.cli, cenote.embedding.embed, cenote.embedding.folder, cenote.embedding.corpus, cenote.embedding.manifest
import cenote.embedding.parts
import torch

task = json.loads(sys.argv[1])
torch.set_num_threads(1)
base = Path(task["base"])
clean, other, out = base / "clean", base / "other", base / "out"
for room in (cenote.embedding.embed, cenote.embedding.corpus):
    room.PART_TEXTS = task["part_texts"]


def fork(work):
    number = os.fork()
    if number == 0:
        code = 70
        try:
            os.dup2(os.open(base / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.dup2(2, 1)
            code = work() or 0
        except BaseException as error:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    return number


def ended(number):
    # True if the run ended by itself, False if it was killed; anything else is a failure.
    _, status = os.waitpid(number, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return False
    assert os.waitstatus_to_exitcode(status) == 0, (base / "log").read_text()
    return True


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same():
    ours, theirs = content(out), content(clean)
    assert ours.keys() == theirs.keys(), (sorted(ours), sorted(theirs))
    assert ours == theirs, [name for name in ours if ours[name] != theirs[name]]
"""

# A run is killed at the n-th step of writing, for every n. A step is anything that changes the disk.
STEPWISE = (
    COMMON
    + """
model = cenote.load(task["model"], device="cpu")
texts = [
    {"id": f"i{number % 37}", "text": "the pool of a cave " * (number % 5), "place": {"row": number}, "tags": ["a"]}
    for number in range(task["rows"])
]
texts[4] = None


def run(folder, restart=False, dtype=task["dtype"]):
    options = {"backend": "torch", "precision": "float32", "on_error": "skip", "name": "tiny", "source": "texts"}
    options |= {"keep": ["place", "tags"]}
    cenote.embedding.embed.embed(model, texts, folder, restart=restart, **options, dtype=dtype)


def dying(step, folder, **options):
    # Count the steps, and die before, during or after the step of that number.
    count = 0

    def passed(half=lambda: None):
        nonlocal count
        count += 1
        if count == step:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, name, half=None):
        do = getattr(owner, name)

        def stepping(*args, **kwargs):
            passed()
            if half is not None:
                passed(lambda: half(do, *args, **kwargs))
            return do(*args, **kwargs)

        setattr(owner, name, stepping)

    def half_a_part(do, path, *given):
        do(path, *given)
        os.truncate(path, path.stat().st_size // 2)

    around(os, "fsync")
    around(Path, "replace")
    around(Path, "mkdir")
    around(Path, "unlink")
    around(Path, "write_text", lambda do, path, text, *rest: do(path, text[: len(text) // 2], *rest))
    around(cenote.embedding.parts, "write_groups", half_a_part)
    around(cenote.embedding.folder, "read_footer")  # rejected rows are listed from footers, one after another
    run(folder, **options)
    passed()
    (base / "count").open("w").write(str(count))


def every_step(prepare, most=None, **options):
    prepare()
    assert ended(fork(lambda: dying(0, out, **options)))
    same()
    steps = int((base / "count").read_text())
    for step in range(1, min(steps, most or steps) + 1):
        prepare()
        assert not ended(fork(lambda: dying(step, out, **options))), step
        assert_readable_only_if_whole()
        assert ended(fork(lambda: run(out, **(options if untouched() else {}))))
        same()
    return steps


def assert_readable_only_if_whole():
    try:
        found = cenote.read_embeddings(out)
    except cenote.errors.BadInput as error:
        assert "is not complete" in str(error) or "Make one: cenote embed" in str(error), error
        return
    assert len(found[:]) == sum(found.manifest.counts.rows) == len(found.ids)


def untouched():
    # Whether a restart has not begun, so that restart must be asked for again: then all old files are there.
    manifest = out / "manifest.json"
    if not manifest.exists() or cenote.embedding.manifest.manifest_of(out).settings["dtype"] == task["dtype"]:
        return False
    there = {name: data for name, data in content(out).items() if not name.startswith(".cenote-")}
    assert there == content(other), sorted(there)
    return True


def afresh():
    shutil.rmtree(out, ignore_errors=True)


def finished(folder):
    afresh()
    shutil.copytree(folder, out)


assert ended(fork(lambda: run(clean)))
assert ended(fork(lambda: run(other, dtype="float32")))
finished(clean)
assert ended(fork(lambda: run(out)))  # nothing is left to do
same()
found = {"afresh": every_step(afresh)}
found["restart"] = every_step(lambda: finished(other), task["clearing"], restart=True)
print(json.dumps(found))
"""
)

# The real command is killed before every rename, or at random: some time after its start, or while a part is written.
RANDOM = (
    COMMON
    + """
chance = random.Random(task["seed"])
command = ["embed", "minilm", task["file"], "--device", "cpu", "--backend", "torch", "--precision", "float32"]
command += ["--on-error", "skip", *task.get("options", [])]
run = lambda folder: fork(lambda: cenote.cli.main([*command, "-o", str(folder)]))


def parts():
    return len(list(out.glob("part-*"))) if out.exists() else 0


def writing():
    return out.exists() and any(out.glob(".cenote-*"))


def within(number):
    # Wait for a random time after the start, after a part is begun, or after a part appears; or until the run ends.
    before, start = parts(), time.perf_counter()
    kind = chance.choice(["early", "writing", "between"])
    wait = chance.uniform(0, 1.5) if kind == "early" else chance.uniform(0, 0.005 if kind == "writing" else 0.5)
    until = {"early": lambda: True, "writing": writing, "between": lambda: parts() > before}[kind]
    while not until():
        if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.0005)
    time.sleep(wait)


start = time.perf_counter()
assert ended(run(clean))
if task["renames"]:
    # Whatever appears in a folder is renamed to its name: die before each, and run again.
    def dying(step):
        count, rename = 0, Path.replace

        def replace(path, target):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(path, target)

        Path.replace = replace
        return cenote.cli.main([*command, "-o", str(out)])

    step = 1
    while not ended(fork(lambda: dying(step))):
        assert ended(run(out))
        same()
        shutil.rmtree(out)
        step += 1
    same()
    print(json.dumps({"renames": step - 1}))
    sys.exit()
kills = in_writing = finished = attempts = 0
phases = {"before": 0, "unfinished": 0}
while kills < task["kills"]:
    number = run(out)
    within(number)
    os.kill(number, signal.SIGKILL)
    if ended(number):
        same()
        shutil.rmtree(out)
        finished += 1
        continue
    kills += 1
    in_writing += writing()
    phases["unfinished" if parts() else "before"] += 1
assert ended(run(out))
same()
finished += 1
print(json.dumps({"kills": kills, "in_writing": in_writing, "finished": finished, **phases,
                  "seconds": time.perf_counter() - start}))
"""
)


def drive(script, limit, **task):
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps(task)], capture_output=True, text=True, timeout=limit, check=False
    )
    log = Path(task["base"], "log")
    assert run.returncode == 0, f"{run.stderr}\n{log.read_text() if log.exists() else ''}\n{task}"
    return json.loads(run.stdout.splitlines()[-1])


def corpus(path, rows):
    """Write rows of mixed lengths, some of them without a text or with a repeated id."""
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            text = "water fell into the pool. " * (1 + row * 7919 % 11 // 4)
            record = {"id": f"i{row if row % 50 else row // 2}", "text": None if row % 97 == 5 else f"{row} {text}"}
            file.write(json.dumps(record) + "\n")
    return str(path)


def test_a_run_killed_at_any_step_of_writing_loses_nothing(tmp_path, tiny_st):
    task = {"base": str(tmp_path), "model": str(tiny_st("bert")), "part_texts": 12, "rows": 20, "dtype": "int8"}
    task |= {"clearing": 26}  # steps of a restart until the folder is as new
    steps = drive(STEPWISE, 120, **task)
    # Two parts, the first and the last manifest, and the rejected rows: each is written in two steps, synced, renamed,
    # and its folder synced.
    assert steps["afresh"] >= 5 * 6
    assert steps["restart"] > steps["afresh"]


def test_the_command_killed_before_any_rename_loses_nothing(tmp_path, demo_path):
    task = {"base": str(tmp_path), "file": corpus(tmp_path / "a.jsonl", 100), "part_texts": 50}
    found = drive(RANDOM, 240, **task, renames=True, seed=SEED)
    assert found["renames"] == 2 + 2 + 1  # two parts, the first and the last manifest, the rejected rows


@pytest.mark.soak
@pytest.mark.parametrize("long", ["truncate", "window-mean", "segments", "windows"])
def test_a_thousand_kills_over_the_ways_to_read_long_texts_lose_nothing(tmp_path, demo_path, long):
    """CENOTE_KILLS sets another number, and CENOTE_SEED other moments; a failure shows the seed."""
    kills = int(os.environ.get("CENOTE_KILLS", 1000)) // 4
    options = ["--max-seq-length", "20", "--long", long, "--keep", "text"]
    if long != "truncate":
        options += ["--window", "12", "--overlap", "4"]
    task = {"base": str(tmp_path), "file": corpus(tmp_path / "a.jsonl", 4000), "part_texts": 128, "options": options}
    found = drive(RANDOM, 14_400, **task, kills=kills, renames=False, seed=SEED)
    print(long, found)  # noqa: T201  # shown by `make soak`
    assert found["kills"] == kills
    assert found["in_writing"] >= kills // 10
    assert found["before"] < kills
