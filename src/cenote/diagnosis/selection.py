"""Which texts and pairs a measure looks at, where all of them would take too long or too much memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cenote.encoding.tokens import Whole

# Texts of more tokens are not traced: attention takes heads x tokens² numbers, several times over.
TRACEABLE = 1024
# The paper's bins for sigma_a, in tokens, and their number.
BIN_OF_SIGMA, BINS_OF_SIGMA = 50, 10
# Seconds that one core takes for the second-order collapse of two texts of n tokens: a n² + b n³, mostly for the
# eigenvalues of a Gram matrix.
_SECONDS = (3e-8, 9e-11)
_CORES = 2
# Numbers in the token matrices that are kept at once: 400 MB of float32.
_NUMBERS = 10**8
# Pairs that are compared, at most: all of 1,414 texts. How well a mean over pairs is known depends on the number of
# texts, and the fifty million pairs of 10,000 short texts would take gigabytes.
_PAIRS = 10**6


def select_for_tracing(lengths: Whole, count: int, seed: int) -> list[int]:
    """Return `count` texts of all lengths: one at random from each of as many equal parts of the sorted lengths."""
    generator = np.random.default_rng(seed)
    order = [row for row in np.argsort(lengths, kind="stable").tolist() if lengths[row] <= TRACEABLE]
    parts = [part for part in np.array_split(np.array(order), min(count, len(order))) if len(part)]
    return sorted(int(generator.choice(part)) for part in parts)


def select_by_length(lengths: Whole, count: int, chosen: Sequence[int], seed: int) -> list[int]:
    """Return texts at random so that, with those already chosen, every bin of length has `count` where it can.

    Bins are those of `bin_of_sigma`; texts that are too long to trace are passed over.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(lengths <= TRACEABLE))
    order = np.concatenate([np.array(chosen, np.int64), order[~np.isin(order, chosen)]])
    bins = bin_of_sigma(lengths[order])
    kept = np.concatenate([order[bins == place][:count] for place in np.unique(bins)] or [order])
    return sorted(set(kept.tolist()) - set(chosen))


def bin_of_sigma(lengths: Whole) -> Whole:
    """Return the place of each length in the paper's bins for sigma_a; the last one is open above."""
    found: Whole = np.minimum(lengths // BIN_OF_SIGMA, BINS_OF_SIGMA - 1)
    return found


def select_for_pairs(lengths: Whole, width: int, seconds: float, seed: int) -> list[int]:
    """Return as many texts, at random, as can have all their pairs compared in about so many seconds.

    Their tokens fit into memory, and there are at most a million pairs. The time is computed and not measured, so that
    the same texts are selected on a slow day.

    Args:
        lengths: tokens of the texts as the model reads them.
        width: dimensions of a token vector.
        seconds: time to spend on two cores.
        seed: of the choice.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    tokens = lengths[order].astype(np.float64)
    cost = _SECONDS[0] * tokens**2 + _SECONDS[1] * tokens**3

    def fits(count: int) -> bool:
        # Sorted from the longest to the shortest, each text is the shorter one of as many pairs as stand before it.
        descending = np.sort(cost[:count])[::-1]
        quick = bool((descending * np.arange(count)).sum() <= seconds * _CORES)
        small = bool(lengths[order[:count]].sum() * width <= _NUMBERS)
        return quick and small and count * (count - 1) // 2 <= _PAIRS

    most = max((count for count in _round_counts(len(lengths)) if fits(count)), default=2)
    return sorted(order[:most].tolist())


def select_pairs(lengths: Whole, width: int, seed: int, texts: Whole) -> list[int]:
    """Return as many pairs, at random, as have their tokens fit into memory; at most a million.

    Args:
        lengths: `[P, 2]` tokens of both texts of each pair.
        width: dimensions of a token vector.
        seed: of the choice.
        texts: `[P, 2]` which texts these are: the tokens of one that stands in several pairs are kept once.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))[:_PAIRS]
    first = np.unique(texts[order], return_index=True)[1]
    once = np.zeros(texts[order].size, bool)
    once[first] = True
    kept = np.cumsum(np.where(once.reshape(-1, 2), lengths[order], 0).sum(1)) * width <= _NUMBERS
    return sorted(order[: max(1, int(kept.sum()))].tolist())


def _round_counts(count: int) -> list[int]:
    """Return numbers of texts to choose among, few and round: 2, 3, 5, 10, 15, 20 ... and all."""
    steps = [int(digit * 10**power) for power in range(1, 6) for digit in (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)]
    return [step for step in (2, 3, 5, *steps) if step < count] + [count]
