"""A sample of fixed size that no order of arrival can change, and what resampling it says of a figure's uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Texts of a sample, in the order of their keys."""

    keys: Keys  # [N]
    rows: Floats  # [N, D]
    lengths: Whole  # [N]

    def __len__(self) -> int:
        return len(self.keys)


def keys_of(rows: npt.NDArray[Any], lengths: Whole, seed: int) -> Keys:
    """A pseudo-random number for each text, from its embedding's values, its length and the seed alone.

        key = mix(sum_j a_j u_j + a_length * length  mod 2^64)

    `u_j` are the 64 bits of the value as float64, their upper half folded into the lower; `a` are odd numbers drawn
    from the seed; `mix` is the finaliser of splitmix64, after which every bit of the key depends on every bit of the
    sum. Two copies of a text have one key; otherwise keys behave like independent uniform draws.

    >>> rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    >>> keys = keys_of(rows, np.array([7, 7, 7, 8]), seed=0)
    >>> bool(keys[0] == keys[2]), len(set(keys.tolist()))                  # a copy, but not of the same length
    (True, 3)

    Args:
        rows: `[N, D]`, floating. A value counts alike in every dtype that holds it.
        lengths: `[N]`.
        seed: another seed draws another sample.

    Returns:
        `[N]`, uint64.
    """
    factors = np.random.default_rng(seed).integers(0, 2**64, size=rows.shape[1] + 1, dtype=np.uint64) | np.uint64(1)
    # Adding 0 makes a copy, and -0.0 the 0.0 that it equals. We fold since float32's values leave lower bits empty.
    bits = (np.ascontiguousarray(rows, np.float64) + 0.0).view(np.uint64)
    bits ^= bits >> np.uint64(32)
    total = np.einsum("ij,j->i", bits, factors[1:]) + lengths.astype(np.uint64) * factors[0]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        total = (total ^ (total >> np.uint64(shift))) * np.uint64(factor)
    mixed: Keys = total ^ (total >> np.uint64(31))
    return mixed


def smallest(size: int, parts: Sequence[Sample]) -> Sample:
    """The `size` texts with the smallest keys of all `parts`: the sample of the whole, whatever the parts were.

    A text among the smallest of the whole is among the smallest of its part, so that nothing is lost by taking the
    smallest of each part first. This makes the sample independent of batches, of their order and of who read them.

    >>> part = lambda keys: Sample(np.array(keys, np.uint64), np.zeros((len(keys), 1)), np.array(keys))
    >>> smallest(3, [part([5, 9]), part([1, 7, 3])]).lengths.tolist()
    [1, 3, 5]
    """
    keys = np.concatenate([part.keys for part in parts])
    if len(keys) > size:
        limit = np.partition(keys, size - 1)[size - 1]
        parts = [_where(part, part.keys <= limit) for part in parts]  # before rows are copied: most are not needed
        keys = np.concatenate([part.keys for part in parts])
    order = np.argsort(keys, kind="stable")[:size]
    rows = np.concatenate([part.rows for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    return Sample(keys[order], rows[order], lengths[order])


def _where(sample: Sample, mask: npt.NDArray[np.bool_]) -> Sample:
    return sample if mask.all() else Sample(sample.keys[mask], sample.rows[mask], sample.lengths[mask])


def bootstrap(size: int, times: int, seed: Sequence[int]) -> tuple[Whole, Floats]:
    """Bootstrap resamples of `size` texts: which texts, with replacement, and how often each.

    >>> chosen, weights = bootstrap(4, 1000, seed=(0,))
    >>> chosen.shape, weights.shape, bool((weights.sum(1) == 4).all())
    ((1000, 4), (1000, 4), True)

    Returns:
        Indices `[times, size]`, and weights `[times, size]`: how often each text is among the indices of its row.
    """
    chosen = np.random.default_rng(seed).integers(0, size, size=(times, size))
    flat = chosen + size * np.arange(times)[:, None]
    return chosen, np.bincount(flat.ravel(), minlength=times * size).reshape(times, size).astype(np.float64)


def interval(replicates: Floats, confidence: float) -> tuple[float, float] | None:
    """The percentile interval: what lies between the quantiles (1 - confidence)/2 and (1 + confidence)/2.

    NaN marks a resample in which the figure is undefined; those do not count, and without any other there is no
    interval.

    >>> interval(np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    replicates = replicates[np.isfinite(replicates)]
    if not len(replicates):
        return None
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
