"""Malformed input of every kind ends in a result or in an error of Cenote: never in a traceback, a hang or a crash.

Valid files are changed at random, and everything that reads them is called. Each case is named by its subject and its
seed, and runs in a fork, so that a crash is a finding too. `make soak` runs 100,000 cases; CENOTE_CASES sets another
number, and CENOTE_SEED the first seed.
"""

import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import cenote
from cenote.cli import main
from cenote.comparison_records import Comparison
from cenote.data.labelled import read_labelled
from cenote.data.pairs import read_pairs
from cenote.data.texts import read
from cenote.embedding.integrity import refuse_damaged
from cenote.embedding.manifest import MANIFEST
from cenote.errors import CenoteError
from cenote.evaluation_records import Evaluation
from cenote.functional.dispersion import mean_cosine, uniformity
from cenote.functional.spectrum import sigma_a
from cenote.functional.temperature import LengthTemperature
from cenote.listener import silent
from cenote.records import Diagnosis
from cenote.tuning_records import Tuning

from . import sources
from .embedding import test_integrity as folders
from .evaluation import labelled
from .report.comparisons import rich_comparison
from .report.diagnoses import rich_diagnosis
from .report.evaluations import rich_evaluation
from .report.tunings import rich_tuning

resource = pytest.importorskip("resource", reason="cases run in forks, and their memory is measured")
pytestmark = pytest.mark.filterwarnings("ignore")
# Seconds of one case, and bytes of memory that cases may add.
SLOWEST, LARGEST = 10, 4 * 2**30
# Bytes of the unit of `ru_maxrss`.
UNIT = 1 if sys.platform == "darwin" else 1024
# Cases of one fork.
BATCH = 200
# What a model reads whose files are changed.
TEXTS = ["the pool of a cave", "deep water", "one two three. the stone!"]
# Pieces that are put into files: numbers, names and structures that parsers stumble over.
PIECES = [
    *(
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-1",
        b"0",
        b"9" * 400,
        b"1e-400",
        b"[]",
        b"{}",
        b'""',
        b"[[]]",
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b'"\\ud800"', b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\x1b[31m"),
    *(b"\n", b"\r", b"\n\n\n", b'"', b"'", b",", b"\t", b";", b"\\", b"A" * 70_000, b"../../etc/passwd", b"/dev/zero"),
]


def flip(data, draw):
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def cut(data, draw):
    return data[: draw.randrange(len(data))]


def drop(data, draw):
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randrange(1, 60) :]


def repeat(data, draw):
    start = draw.randrange(len(data))
    piece = data[start : start + draw.randrange(1, 200)]
    return data[:start] + piece * draw.randrange(2, 40) + data[start:]


def insert(data, draw):
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice(PIECES) + data[place:]


def exchange(data, draw):
    """Put a piece in the place of a JSON value, where there is one."""
    colons = [place for place, byte in enumerate(data[:20_000]) if byte == ord(":")]
    if not colons:
        return insert(data, draw)
    start = draw.choice(colons) + 1
    end = min((place for place in (data.find(mark, start) for mark in (b",", b"}", b"\n")) if place > 0), default=start)
    return data[:start] + draw.choice(PIECES) + data[end:]


CHANGES = (flip, cut, drop, repeat, insert, exchange, exchange)


@dataclass
class Subject:
    """Files that are changed, and the function that reads them; `same` says whether a result is the right one."""

    folder: Path
    read: object
    same: object = None
    files: object = "*"  # pattern of the files that are changed
    reach: object = len  # how many of a file's first bytes are changed

    def __post_init__(self):
        self.originals = {path: path.read_bytes() for path in sorted(self.folder.rglob(self.files)) if path.is_file()}

    def run(self, draw):
        """Change one file, read, and put the file back."""
        path = draw.choice(list(self.originals))
        original = self.originals[path]
        reach = self.reach(original)
        data = original[:reach]
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            data = draw.choice(CHANGES)(data, draw) or b""
            if not data:
                break
        path.write_bytes(data + original[reach:])
        try:
            found = self.read()
            assert self.same is None or self.same(found), "read without a word, and wrong"
        finally:
            path.write_bytes(original)


class Arrays:
    """Arrays of odd shapes, dtypes and values."""

    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
    values = (0.0, 1.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30, 65504.0)

    def array(self, draw):
        shape = [draw.choice((0, 1, 1, 2, 3, 5)) for _ in range(draw.randrange(5))]
        made = torch.randn(shape, generator=torch.Generator().manual_seed(draw.randrange(2**31)))
        if draw.random() < 0.4 and made.numel():
            made.flatten()[draw.randrange(made.numel())] = draw.choice(self.values)
        made = made.to(draw.choice(self.dtypes)) if draw.random() < 0.4 else made
        kind = draw.random()
        if kind < 0.3 and made.dtype != torch.bfloat16:
            return made.numpy()
        return made.tolist() if kind < 0.4 else made.T if kind < 0.5 and made.ndim == 2 else made

    def run(self, draw):
        tokens, other = self.array(draw), self.array(draw)
        pooling = draw.choice(
            ("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len", "inverse_density", "x")
        )
        call = draw.choice(
            (
                lambda: cenote.pool(tokens, other, pooling),
                lambda: cenote.pool(tokens, None, pooling),
                lambda: cenote.similarity(tokens, other, draw.choice(("cosine", "dot", "minkowski", "chebyshev"))),
                lambda: cenote.socm([tokens], [other]).socm,
                lambda: cenote.socm([tokens, other]).socm,
                lambda: mean_cosine(tokens),
                lambda: uniformity(tokens),
                lambda: sigma_a(tokens, other),
                lambda: LengthTemperature("log", s=draw.choice(self.values))(64),
            )
        )
        found = call()
        floats = torch.as_tensor(found)
        assert not floats.is_floating_point() or torch.isfinite(floats).all(), f"not finite: {found}"


def texts(path):
    return lambda: list(islice(read(path, columns="text"), 5000))


def members(path, right):
    """Return whether texts are those of a gzip file: gzip has checksums, and a file may hold its content repeatedly."""
    return lambda found: found == right * (len(found) // len(right)) and bool(found or not path.stat().st_size)


def results(folder):
    """Return a function that reads every result in a folder, and writes its page."""
    kinds = {"diagnosis": Diagnosis, "evaluation": Evaluation, "comparison": Comparison, "tuning": Tuning}

    def load():
        for name, kind in kinds.items():
            found = kind.from_json((folder / f"{name}.json").read_text("utf-8", "surrogateescape"))
            found.summary() if hasattr(found, "summary") else repr(found)

    return load


def embedded(folder):
    """Return a function that reads a folder of `embed` in every way, and every page of its parts."""

    def load():
        found = folders.everything(folder)
        for path in sorted(folder.glob("*.parquet")):
            refuse_damaged(path, silent)
        return found

    return load


def encoded(folder):
    """Return a function that loads a model and returns its vectors."""
    return lambda: cenote.embed(cenote.load(folder, device="cpu"), TEXTS, backend="torch", precision="float32")


def header(data):
    """Return the bytes of the header of safetensors, which has the names, types and shapes of the weights."""
    return 8 + int.from_bytes(data[:8], "little")


def declared(folder):
    """Return a function that asks for what a model declares, by the command line."""
    return lambda: main(["info", str(folder)])


@pytest.fixture(scope="module")
def subjects(tmp_path_factory, tiny_st):
    base = tmp_path_factory.mktemp("subjects")
    made = {}
    for kind in ("jsonl", "gzip", "zstd", "json", "csv", "tsv", "parquet", "arrow stream", "arrow file", "feather"):
        folder = base / f"texts {kind}"
        folder.mkdir()
        path = sources.PATHS[kind](sources.ROWS, folder)
        same = members(path, texts(path)()) if kind == "gzip" else None
        made[f"texts, {kind}"] = Subject(folder, texts(path), same)
    for kind in ("retrieval", "classification", "sts"):
        folder = labelled.write_folder(labelled.EVERY[kind], base / kind)
        made[f"labelled, {kind}"] = Subject(folder, lambda folder=folder: read_labelled(folder))
    pairs = base / "pairs"
    pairs.mkdir()
    rows = [
        {"query": f"q{n}", "positive": f"p{n}", "negatives": ["a", "b"], "scores": [2.0, 1.0, 0.0]} for n in range(9)
    ]
    (pairs / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    made["pairs"] = Subject(pairs, lambda: list(read_pairs(pairs / "pairs.jsonl")))
    results_folder = base / "results"
    results_folder.mkdir()
    for name, record in (
        ("diagnosis", rich_diagnosis()),
        ("evaluation", rich_evaluation()),
        ("comparison", rich_comparison()),
        ("tuning", rich_tuning()),
    ):
        (results_folder / f"{name}.json").write_text(json.dumps(json.loads(record.to_json()), indent=1))
    made["results"] = Subject(results_folder, results(results_folder))
    for name, pattern in (("manifest", MANIFEST), ("parts", "*.parquet")):
        folder = folders.write(base / name)
        right = folders.everything(folder)
        made[name] = Subject(folder, embedded(folder), lambda found, right=right: folders.same(found, right), pattern)
    model = Path(shutil.copytree(tiny_st("bert"), base / "model"))
    made["model, as declared"] = Subject(model, declared(model), files="*.json")
    vectors = encoded(model)()
    unchanged, usable = partial(np.array_equal, vectors), lambda found: np.isfinite(found).all() and found.any(1).all()
    # Other numbers are other weights, and other words another tokenizer: nothing in their files can tell.
    made["model, header of the weights"] = Subject(model, encoded(model), unchanged, "*.safetensors", header)
    made["model, weights"] = Subject(model, encoded(model), usable, "*.safetensors")
    made["model, tokenizer"] = Subject(model, encoded(model), usable, "*token*.json")
    made["arrays"] = Arrays()
    return made


def run_case(subject, seed):
    """Return why a case is a finding, or None."""
    draw, start = random.Random(seed), time.monotonic()
    signal.alarm(3 * SLOWEST)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            subject.run(draw)
    except CenoteError:
        pass
    except SystemExit as exit:
        if exit.code not in (0, 1, 2):
            return f"exit code {exit.code}"
    except BaseException:
        return traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
    taken = time.monotonic() - start
    return f"took {taken:.0f} seconds" if taken > SLOWEST else None


def run_batch(subject, seeds, log):
    """Run cases in a fork that writes the seed of each before it runs, and findings after."""
    number = os.fork()
    if number == 0:
        code = 1
        faulthandler.disable()  # the status says that the process crashed
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with log.open("w") as file:
                for seed in seeds:
                    print(json.dumps({"at": seed}), file=file, flush=True)
                    if reason := run_case(subject, seed):
                        print(json.dumps({"seed": seed, "reason": reason}), file=file, flush=True)
                added = UNIT * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
                if added > LARGEST:
                    print(json.dumps({"seed": seed, "reason": f"up to here {added:,} bytes more"}), file=file)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(number, 0)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    findings = [(line["seed"], line["reason"]) for line in lines if "reason" in line]
    if status:
        findings.append((lines[-1].get("at", lines[-1].get("seed")), f"the process ended with {status}"))
    return findings


def search_findings(subjects, cases, first, log):
    """Return the findings of so many cases, the same number for each subject, by subject and seed."""
    found = []
    for name, subject in subjects.items():
        seeds = range(first, first + -(-cases // len(subjects)))
        for start in range(0, len(seeds), BATCH):
            for seed, reason in run_batch(subject, seeds[start : start + BATCH], log):
                found.append(f"{name}, seed {seed}: {reason}")
    return found


def test_malformed_input_ends_in_a_result_or_an_error(subjects, tmp_path):
    found = search_findings(subjects, 300, 0, tmp_path / "log")
    assert not found, "\n\n".join(found)


@pytest.mark.soak
def test_100_000_malformed_inputs_end_in_a_result_or_an_error(subjects, tmp_path):
    cases, first = int(os.environ.get("CENOTE_CASES", 100_000)), int(os.environ.get("CENOTE_SEED", 1_000_000))
    start = time.perf_counter()
    found = search_findings(subjects, cases, first, tmp_path / "log")
    seconds = time.perf_counter() - start
    print(f"{cases:,} cases of {len(subjects)} subjects from seed {first:,}: {seconds:.0f} s")  # noqa: T201
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda: {}["a"], "KeyError"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "the process ended with 11"),
        (lambda: "another result", "read without a word, and wrong"),
    ],
    ids=["traceback", "crash", "wrong"],
)
def test_what_is_a_finding(read, reason, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("text")
    subject = Subject(tmp_path / "folder", read, lambda found: found == "the right one")
    ((seed, found),) = run_batch(subject, [7], tmp_path / "log")
    assert seed == 7
    assert reason in found
