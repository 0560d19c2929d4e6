"""Time `LengthCollapse` on a corpus that does not fit in memory, and its peak: `python benchmarks/length.py`."""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from cenote.functional.length import LengthCollapse
from cenote.functional.sampling import keys_of
from cenote.functional.units import to_unit
from timing import machine


def peak() -> float:
    """Return the peak memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--chunk", type=int, default=10_000)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    # One random chunk, shifted by another number in each turn: new vectors for the price of an addition.
    rows = generator.standard_normal((options.chunk, options.dim), dtype=np.float32)
    lengths = generator.integers(1, 500, size=options.chunk)
    collapse = LengthCollapse(range(0, 500, 50))
    taken = {"update": 0.0, "of that, normalising": 0.0, "of that, hashing": 0.0}
    before = peak()
    for turn in range(options.texts // options.chunk):
        texts = rows + np.float32(turn / 1000)
        marks = [time.perf_counter()]
        collapse.update(texts, lengths)
        marks.append(time.perf_counter())
        to_unit(texts)
        marks.append(time.perf_counter())
        keys_of(texts, lengths, 0)
        marks.append(time.perf_counter())
        for name, start, end in zip(taken, marks, marks[1:], strict=False):
            taken[name] += end - start
    after, start = peak(), time.perf_counter()
    collapse.compute()
    print(machine())
    print(
        f"{options.texts:,} texts of {options.dim} dimensions, {len(collapse.edges)} bins, chunks of {options.chunk:,}"
    )
    for name, seconds in {**taken, "compute": time.perf_counter() - start}.items():
        print(f"{name:<24}{seconds:>8.1f} s")
    print(f"peak memory {before:.0f} MB before, {after:.0f} MB after reading, {peak():.0f} MB after the figures")
