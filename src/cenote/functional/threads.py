"""Many small problems at once: a thread for each worker, and one thread for each torch operation of theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside, _before = 0, 1


def workers() -> int:
    """How many threads torch may use, as the user has it, also while `one_thread_each` holds it at one."""
    with _lock:
        return _before if _inside else torch.get_num_threads()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Hold torch operations, in every thread, to one thread each, until the last caller leaves.

    LAPACK's own threads make small matrices slower, and only torch can stop them: MKL is inside of its library, where
    threadpoolctl does not find it, and has one number of threads for the whole process. That number is torch's too,
    and a thread reads it when it first computes: start the workers' pool anew each time, or keep it to this.
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
