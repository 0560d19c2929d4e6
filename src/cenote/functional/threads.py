"""Solve many small problems in parallel: one thread per worker, and one per torch operation of a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside, _before = 0, 1


def thread_count() -> int:
    """Return how many threads the user lets torch use, also while `one_thread_each` limits it to one."""
    with _lock:
        return _before if _inside else torch.get_num_threads()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Limit torch operations in every thread of the process to one thread, until the last caller leaves.

    LAPACK's own threads slow small matrices down, and only torch can stop them: MKL is linked into its library, where
    threadpoolctl does not find it, and has one thread count for the whole process. This is torch's count too, and a
    thread reads it when it first computes: start a new pool of workers each time, or use a pool for this alone.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
            torch.set_num_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.set_num_threads(_before)
