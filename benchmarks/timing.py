"""One way to time, for every benchmark: the rivals take turns, so what else the machine does hits them all alike."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def interleaved(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median seconds of one call of each function, over `repeats` rounds in which each is called once.

    Every function is called once beforehand, untimed: first calls load and allocate. On a GPU a function has to wait
    for its own result, for example with `torch.cuda.synchronize()`.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
