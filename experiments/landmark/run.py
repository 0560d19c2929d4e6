"""Landmark pooling against CLS and mean, trained under equal conditions: the claim of arXiv 2601.21525.

    python -m experiments.landmark.run --size cpu
    python -m experiments.landmark.run --size gpu --model answerdotai/ModernBERT-base
    python -m experiments.landmark.run --quick --model minilm --model FOLDER --data scifact -o results

Every arm has the same backbone, pairs, order of pairs and steps; only the pooling differs. Each model is scored on
searches that it was not trained on, by the tokens that it reads and by the place of the evidence. Below the tables
stand the claims of the paper, and whether each holds in what was measured.

`--data` names further searches with judgments. The training pairs, the posts and the evidence cannot be replaced: they
were chosen together, so that no text that is sought is trained on, and the claims are tested on them.

Trainings are kept in the user's cache, and scores of all queries beside the tables: the same command goes on after a
stop, and several at once, each with its own threads, share the trainings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import cenote
from benchmarks.timing import machine
from cenote.evaluation.results import default_folder
from cenote.models.provenance import versions_of
from cenote.storage import write_text
from experiments.data_sets import fingerprint_of, refuse_missing_data
from experiments.lab import OUTPUT, errors_in_a_line, fingerprint_of_model, refuse_same_names
from experiments.landmark.material import JUDGED, SOURCES, judged_searches, searches, training_pairs
from experiments.landmark.plan import SIZES, Size, of_model, trainings
from experiments.landmark.summary import claim_lines, summarise
from experiments.landmark.training import tell, train_and_score

WORK = default_folder().parent / "landmark"
QUICK = "toy"
# Modules whose changes leave what was made.
_SHOWING = ("run", "summary")


@dataclass(frozen=True)
class Job:
    """Trainings of one table: a size, the searches with judgments, and where everything is kept."""

    name: str  # of its files, after `landmark-`
    size: Size
    judged: Sequence[str]
    output: Path
    work: Path
    keep: bool
    made_by: str  # a digest of the size, the code, the versions, the judged data and a given model

    @property
    def scores(self) -> Path:
        """The folder with the scores of all queries."""
        return self.output / f"landmark-{self.name}"


def main() -> None:
    """Make the backbones, train and score every arm, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model",
        action="append",
        help="backbone, of which no layer is drawn anew: folder, hub id or minilm; repeatable (default: the backbones "
        "of the size, whose last layers are new or adapted). The pooling that it had is at an advantage",
    )
    parser.add_argument(
        "--data",
        action="append",
        help=f"data with queries and judgments, searched beside the posts and the evidence; repeatable (default: "
        f"{', '.join(JUDGED)}). Training pairs, posts and evidence are fixed: no text that is sought is trained on",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--size", choices=SIZES, default="cpu", help="default: cpu, which takes hours")
    sizes.add_argument("--quick", action="store_true", help=f"the size {QUICK}: too few steps to test the claims")
    parser.add_argument("--minutes", type=float, help="start no training after so many minutes")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the trainings (default: {WORK})")
    parser.add_argument("--keep", action="store_true", help="keep the trained models in the folder of the trainings")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"folder (default: {OUTPUT})")
    args = parser.parse_args()
    with errors_in_a_line():
        measure(
            QUICK if args.quick else args.size,
            args.model or (),
            args.data or (),
            args.output,
            work=args.work,
            keep=args.keep,
            minutes=args.minutes,
        )


def measure(
    size: str,
    models: Sequence[str],
    data: Sequence[str],
    output: Path,
    *,
    work: Path = WORK,
    keep: bool = False,
    minutes: float | None = None,
) -> None:
    """Train and score every arm from every backbone, and write a table for each backbone that is given.

    Args:
        size: its name in `SIZES`.
        models: backbones; without any those of the size, in one table.
        data: searches with judgments; without any those of `JUDGED`.
        output: the folder of tables, figures and scores.
        work: the folder of backbones and trainings.
        keep: whether trained models are kept.
        minutes: after which no training is started.
    """
    refuse_same_names(models)
    judged = data or JUDGED
    refuse_missing_data([*sources_of(size), *judged])
    contents = {one: fingerprint_of(one) for one in judged}
    backbones: Sequence[str | None] = models or (None,)
    jobs: list[Job] = []
    for model in backbones:
        own, given = (of_model(SIZES[size], model), digest_of_model(model)) if model else (SIZES[size], "")
        made_by = digest(own, [contents, given])
        # A table of other backbones or searches never replaces that of the size.
        parts = (size, *filter(None, [model]), *(f"on-{Path(one).name}" for one in data))
        name = "-".join(re.sub(r"[^\w.]+", "-", Path(one).name) for one in parts)
        jobs.append(Job(name, own, judged, output, work / name / made_by, keep, made_by))
    end = time.perf_counter() + 60 * (minutes or float("inf"))
    for job in jobs:
        carry_out(job, end)


def sources_of(size: str) -> tuple[str, ...]:
    """Return the names of the data that a size is trained on."""
    return (*SOURCES, *(["qmsum"] if SIZES[size].pairs.get("meetings") else []))


def digest_of_model(model: str) -> str:
    """Return a digest of all that the vectors of a backbone depend on."""
    return fingerprint_of_model(cenote.load(model, pooling="mean", device="cpu"))


def carry_out(job: Job, end: float) -> None:
    """Do what is left of a job until a time, then write its tables if nothing is missing."""
    job.scores.mkdir(parents=True, exist_ok=True)
    pairs = training_pairs(job.size.pairs)
    judged = judged_searches(job.judged, pairs, sampled=job.size.sampled)
    tell(f"{job.name}: {len(pairs):,} pairs")
    given: dict[str, Any] = {}
    for training in trainings(job.size):
        start, arm, seed = training
        if time.perf_counter() > end:
            tell("stopped for time: the same command goes on")
            break
        name = name_of(training)
        scored = job.scores / f"{name}.json"
        with claimed(job.work / "claims" / name) as ours:
            if not ours or is_by(job.made_by, scored):
                continue
            backbone = make_backbone(job.size, start, seed, job.work)
            if not given:
                tokenizer = cenote.load(backbone, pooling="mean").tokenizer
                given = searches(tokenizer, job.size.lengths, job.size.searches, judged)
            folder = job.work / "models" / name
            values = train_and_score(job.size, backbone, arm, seed, pairs, given, folder, job.keep)
            found = {"made_by": job.made_by, "machine": machine_in_words(), "values": values}
            write_text(scored, json.dumps(found) + "\n")
    names = map(name_of, trainings(job.size))
    if missing := [name for name in names if not is_by(job.made_by, job.scores / f"{name}.json")]:
        tell(f"missing, or done by another process: {'; '.join(missing)}")
        return
    summarise(job.output, job.name, job.size)
    print("\n".join(claim_lines(job.output / f"landmark-{job.name}.json")), flush=True)


def digest(size: Size, more: Sequence[Any] = ()) -> str:
    """Return a name for a size, the code that trains and scores and the versions: what others made is not taken up.

    Cenote's own code counts by its version. `more` is what else the scores depend on.
    """
    settings = {**vars(replace(size, known=0)), "starts": list(size.starts)}  # how they are made is in the code
    modules = sorted(Path(__file__).parent.glob("*.py"))
    code = [path.read_text("utf-8") for path in modules if path.stem not in _SHOWING]
    return hashlib.sha256(json.dumps([settings, code, versions_of(), *more]).encode()).hexdigest()[:12]


def is_by(made_by: str, path: Path) -> bool:
    """Return whether scores are there, and were made by the same settings, code and versions."""
    return path.exists() and json.loads(path.read_text("utf-8"))["made_by"] == made_by


@contextmanager
def claimed(path: Path, wait: bool = False) -> Iterator[bool]:
    """Say whether a piece of work is this process's, or another one is doing it; a process that dies claims nothing."""
    import fcntl  # which Windows does not have: there the module is imported for what else is in it

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def name_of(training: tuple[str, str, int]) -> str:
    """Return the name under which a training is kept."""
    return ", ".join(map(str, training))


def machine_in_words() -> str:
    """Return the machine that trains, with its GPU if it has one, and the versions."""
    return f"{torch.cuda.get_device_name()}; {machine()}" if torch.cuda.is_available() else machine()


def make_backbone(size: Size, start: str, seed: int, work: Path) -> Path:
    """Return the folder of a backbone, which is made once for each seed."""
    folder = work / "backbones" / f"{start} {seed}"
    with claimed(work / "claims" / f"backbone {start} {seed}", wait=True):
        if not (folder / "complete").exists():
            tell(f"making the backbone {start!r}, seed {seed}")
            size.starts[start](folder, seed)
            (folder / "complete").touch()
    return folder


if __name__ == "__main__":
    main()
