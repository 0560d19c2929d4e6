"""A sample of fixed size that does not depend on the order of the texts, and bootstrap resamples of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """A sample of texts, in the order of their keys."""

    keys: Keys  # [N]
    rows: Floats  # [N, D]
    lengths: Whole  # [N]

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, mask: npt.NDArray[np.bool_]) -> Sample:
        """Return the texts at which `mask` is true."""
        return self if mask.all() else Sample(self.keys[mask], self.rows[mask], self.lengths[mask])


def keys_of(rows: npt.NDArray[Any], lengths: Whole, seed: int) -> Keys:
    """Return a pseudo-random key for each text, from its embedding, its length and the seed alone.

        key = mix(sum_j a_j u_j + a_length * length  mod 2^64)

    `u_j` are the 64 bits of the value as float64, their upper half folded into the lower; `a` are odd numbers drawn
    from the seed; `mix` is the finaliser of splitmix64, which makes every bit of the key depend on every bit of the
    sum. Copies of a text share a key; other keys behave like independent uniform draws. A value gives the same key in
    every dtype that holds it.

    >>> rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    >>> keys = keys_of(rows, np.array([7, 7, 7, 8]), seed=0)
    >>> bool(keys[0] == keys[2]), len(set(keys.tolist()))                  # a copy, but not of the same length
    (True, 3)
    """
    factors = np.random.default_rng(seed).integers(0, 2**64, size=rows.shape[1] + 1, dtype=np.uint64) | np.uint64(1)
    # Adding 0 makes a copy and turns -0.0 into 0.0. Folding: the lower bits of float32 values are empty.
    bits = (np.ascontiguousarray(rows, np.float64) + 0.0).view(np.uint64)
    bits ^= bits >> np.uint64(32)
    total = np.einsum("ij,j->i", bits, factors[1:]) + lengths.astype(np.uint64) * factors[0]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        total = (total ^ (total >> np.uint64(shift))) * np.uint64(factor)
    mixed: Keys = total ^ (total >> np.uint64(31))
    return mixed


def smallest(size: int, parts: Sequence[Sample]) -> Sample:
    """Return the `size` texts with the smallest keys in all `parts`.

    A text with one of the smallest keys of the whole has one of the smallest of its part, so parts may be reduced
    first. The sample therefore does not depend on batches, on their order or on which process read them.

    >>> part = lambda keys: Sample(np.array(keys, np.uint64), np.zeros((len(keys), 1)), np.array(keys))
    >>> smallest(3, [part([5, 9]), part([1, 7, 3])]).lengths.tolist()
    [1, 3, 5]
    """
    keys = np.concatenate([part.keys for part in parts])
    if len(keys) > size:
        limit = np.partition(keys, size - 1)[size - 1]
        # Most rows are not needed: select before copying them.
        parts = [part.select(part.keys <= limit) for part in parts]
        keys = np.concatenate([part.keys for part in parts])
    order = np.argsort(keys, kind="stable")[:size]
    rows = np.concatenate([part.rows for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    return Sample(keys[order], rows[order], lengths[order])


def bootstrap(size: int, times: int, seed: Sequence[int]) -> tuple[Whole, Floats]:
    """Draw resamples of `size` texts with replacement: indices `[times, size]`, and how often each text was drawn.

    >>> chosen, weights = bootstrap(4, 1000, seed=(0,))
    >>> chosen.shape, weights.shape, bool((weights.sum(1) == 4).all())
    ((1000, 4), (1000, 4), True)
    """
    chosen = np.random.default_rng(seed).integers(0, size, size=(times, size))
    return chosen, count_places(chosen)


def resamples(size: int, times: int, generator: np.random.Generator, at_once: int) -> Iterator[Whole]:
    """Yield blocks `[B, size]` of the resamples that `bootstrap` draws, each of at most `at_once` numbers.

    >>> [block.shape for block in resamples(4, 5, np.random.default_rng(0), at_once=12)]
    [(3, 4), (2, 4)]
    """
    step = max(1, at_once // size)
    for start in range(0, times, step):
        yield generator.integers(0, size, (min(step, times - start), size))


def count_places(chosen: Whole) -> Floats:
    """Return how often each place is in each of the resamples `[R, N]`.

    >>> count_places(np.array([[0, 0, 2], [1, 1, 1]])).tolist()
    [[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]]
    """
    times, size = chosen.shape
    flat = chosen + size * np.arange(times)[:, None]
    return np.bincount(flat.ravel(), minlength=times * size).reshape(times, size).astype(np.float64)
