"""Timing for all benchmarks: the functions take turns, so that other load on the machine affects them all alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cenote.training.environment import processor


def interleaved(
    functions: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of each function over `repeats` rounds in which each is called once.

    Each function is called once before, untimed: first calls load and allocate. On a GPU a function must wait for its
    result, for example with `torch.cuda.synchronize()`. With `time.process_time` as the clock other work on the machine
    does not count, nor does what a second thread saves.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def machine() -> str:
    """Return the machine and the versions, for the head of a table."""
    return (
        f"{processor()} ({_vector_units()}), {os.cpu_count()} cores, {torch.get_num_threads()} torch threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _vector_units() -> str:
    """Return the units that matter here, as far as the system states them."""
    try:
        words = Path("/proc/cpuinfo").read_text("utf-8").split()
    except OSError:
        return "units unknown"
    units = [flag for flag in ("avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in words]
    return ", ".join(units) or "no avx512"
