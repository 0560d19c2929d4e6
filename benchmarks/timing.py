"""Timing for all benchmarks: the functions take turns, so that other load on the machine affects them all alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


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
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    """Return the processor's name, if the system states it, with the vector units that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    units = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(units) or 'no avx512'})"
