"""Two versions of Cenote side by side: the bytes that `embed` writes, the figures of `diagnose`, time and memory.

The versions take turns in one run.

    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before/src src --texts texts.jsonl --repeats 3
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONG, DTYPES = ("truncate", "window-mean", "windows"), ("float32", "float16", "int8")

# What a process of either version runs. It prints seconds and peak memory, imports and loading excluded from the time.
EMBED = """
import json, resource, sys, time, warnings, cenote
warnings.simplefilter("ignore")
texts = [(one["id"], one["text"]) for one in map(json.loads, open(sys.argv[1]))]
model, start = cenote.load("minilm", device="cpu"), time.perf_counter()
cenote.embed(model, texts, sys.argv[2], backend="torch", precision="float32", name="m", **json.loads(sys.argv[3]))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
DIAGNOSE = """
import json, pathlib, resource, sys, time, cenote
model, start = cenote.load("minilm", device="cpu"), time.perf_counter()
found = cenote.diagnose(model, names=["m"], **json.loads(sys.argv[2]))
seconds = time.perf_counter() - start
pathlib.Path(sys.argv[1]).write_text(found.to_json())
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(source: Path, code: str, *arguments: str) -> tuple[float, float]:
    """Run code with the version whose package lies in `source`; return seconds and megabytes."""
    environment = {**os.environ, "PYTHONPATH": str(source.resolve())}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, megabytes = map(float, done.stdout.split()[-2:])
    return seconds, megabytes


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every part."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in sorted(folder.glob("*.parquet"))}


def differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two values from JSON, with its path."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{path}[{place}]")
    elif one != other:
        yield path, one, other


def group(path: str) -> str:
    """Return a path with its indices left out."""
    return "".join(part.partition("]")[2] if place else part for place, part in enumerate(path.split("[")))


def report_bytes(sources: list[Path], texts: str, folder: Path) -> None:
    """Compare the parts of every form of output."""
    for long, dtype in itertools.product(LONG, DTYPES):
        outputs = [folder / f"{long}-{dtype}-{side}" for side in ("before", "after")]
        for source, output in zip(sources, outputs, strict=True):
            run(source, EMBED, texts, str(output), json.dumps({"long": long, "dtype": dtype}))
        before, after = map(digests, outputs)
        print(f"{long:<12} {dtype:<8} {'the same bytes' if before == after else f'{before} {after}'}", flush=True)


def report_figures(sources: list[Path], folder: Path) -> None:
    """Compare the JSON of a diagnosis of the built-in corpus: largest relative difference by field."""
    found = []
    for source, side in zip(sources, ("before", "after"), strict=True):
        run(source, DIAGNOSE, str(folder / f"{side}.json"), json.dumps({"temperatures": [0.9], "quick": True}))
        found.append(json.loads((folder / f"{side}.json").read_text()))
    fields: dict[str, tuple[int, float, str]] = {}
    for path, before, after in differences(*found):
        numbers = isinstance(before, float) and isinstance(after, float)
        relative = abs(before - after) / max(abs(before), abs(after)) if numbers else math.inf
        count, most, example = fields.get(group(path), (0, 0.0, ""))
        shown = f"{before!r} -> {after!r}" if relative >= most else example
        fields[group(path)] = count + 1, max(most, relative), shown
    for path, (count, most, example) in sorted(fields.items()):
        print(f"{path}: {count} differ, relatively by {most:.1g} at most: {example[:200]}", flush=True)


def report_time(sources: list[Path], texts: str, folder: Path, repeats: int) -> None:
    """Time both versions in turn."""
    jobs = {
        "embed": lambda source, turn: run(source, EMBED, texts, str(folder / f"timed-{turn}-{source.name}"), "{}"),
        "embed --long windows": lambda source, turn: run(
            source, EMBED, texts, str(folder / f"windows-{turn}-{source.name}"), '{"long": "windows"}'
        ),
        "diagnose --quick": lambda source, _: run(source, DIAGNOSE, str(folder / "timed.json"), '{"quick": true}'),
    }
    print("| | seconds before | after | ratio | megabytes before | after |\n|---|--:|--:|--:|--:|--:|")
    for name, job in jobs.items():
        sides: list[list[tuple[float, float]]] = [[], []]
        for turn in range(repeats):
            for side, source in enumerate(sources):
                sides[side].append(job(source, f"{turn}-{side}"))
        (old, old_memory), (new, new_memory) = (map(statistics.median, zip(*side, strict=True)) for side in sides)
        ratio = statistics.median(b[0] / a[0] for a, b in zip(*sides, strict=True))
        print(f"| {name} | {old:.1f} | {new:.1f} | {ratio:.2f} | {old_memory:.0f} | {new_memory:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the folder that holds the package `cenote` of one version")
    parser.add_argument("after", type=Path, help="that of the other")
    parser.add_argument("--texts", required=True, help="JSON lines with id and text")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("bytes", "figures", "time"))
    args = parser.parse_args()
    sources = [args.before, args.after]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only in (None, "bytes"):
            report_bytes(sources, args.texts, folder)
        if args.only in (None, "figures"):
            report_figures(sources, folder)
        if args.only in (None, "time"):
            report_time(sources, args.texts, folder, args.repeats)


if __name__ == "__main__":
    main()
