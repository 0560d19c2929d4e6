"""Length collapse: how much closer together the embeddings of longer texts lie (arXiv 2410.24200).

An accumulator reads embeddings and lengths batch by batch and keeps sums and samples, never the embeddings.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from cenote.errors import BadInput, check_at_least, some
from cenote.functional.bins import FEWEST_IN_BIN, check_edges, check_lengths
from cenote.functional.dispersion import (
    check_embeddings,
    effective_rank,
    mean_over_weighted_pairs,
    row_blocks,
    weighted_mean_cosine,
    weighted_uniformity,
)
from cenote.functional.intervals import FEWEST_WITH_INTERVAL, check_confidence, percentile_interval
from cenote.functional.sampling import Floats, Sample, Whole, bootstrap, keys_of, smallest
from cenote.functional.units import to_unit
from cenote.records import Estimate, LengthBin, LengthCurve

# Digits of a cosine that count when cosines are ranked: with more, copies of a text would differ by rounding.
_DIGITS = 12


class _Bin:
    """The sums and the sample of the texts of one bin."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.total: Floats = np.zeros(width)
        self.sample = Sample(np.zeros(0, np.uint64), np.zeros((0, width)), np.zeros(0, np.int64))

    def add(self, count: int, total: Floats, sample: Sample, size: int) -> None:
        self.count += count
        self.total += total
        self.sample = smallest(size, [self.sample, sample])

    def cosine(self) -> float:
        means = mean_over_weighted_pairs(self.total @ self.total - self.count, self.count, self.count)
        return float(means.clip(-1, 1))

    def resampled_cosines(self, weights: Floats) -> Floats:
        """Return bootstrap replicates of the mean cosine.

        Resampling shows the uncertainty of a mean over the sample; that over all `count` texts is smaller by the
        square root of the sample's share.
        """
        rows = self.sample.rows
        changes = weighted_mean_cosine(rows, weights) - weighted_mean_cosine(rows, np.ones((1, len(rows))))
        return np.clip(self.cosine() + math.sqrt(len(rows) / self.count) * changes, -1, 1)


class LengthCollapse:
    """Measure how close texts of similar length lie together, by length, from embeddings read batch by batch.

    >>> generator = np.random.default_rng(0)
    >>> lengths = generator.integers(1, 200, size=300)
    >>> embeddings = generator.normal(size=(300, 8)) + 0.02 * lengths[:, None]   # longer texts lie closer together
    >>> collapse = LengthCollapse([0, 50, 100])
    >>> collapse.update(embeddings[:200], lengths[:200])
    >>> collapse.update(embeddings[200:], lengths[200:])
    >>> curve = collapse.compute()
    >>> [round(bin.cosine.value, 2) for bin in curve.bins]
    [0.13, 0.7, 0.9]
    >>> difference = curve.difference
    >>> round(difference.value, 2), 0 < difference.low < difference.high < 1
    (0.77, True)
    >>> round(curve.slope_per_doubling.value, 2)
    0.21

    Embeddings are divided by their norms. In a bin b of n texts with the sum s, the mean cosine over all pairs is
    (|s|² - n) / (n (n - 1)); between bins a and b it is s_a.s_b / (n_a n_b); the mean cosine of one text to the others
    of its bin is c = (x.s - 1) / (n - 1). These are exact, not sampled. Correlation and slope relate c to length.

    Intervals show how the figures would vary with other texts from the same source. They come from bootstrap
    resamples of a fixed number of texts per bin. If a bin is larger than its sample, the interval of its mean cosine
    is narrowed by the square root of their ratio and lies around the exact value; for correlation and slope, texts
    outside the sample stay fixed; uniformity and effective rank are those of the sample. For embeddings without any
    mean direction, intervals are too wide rather than too narrow. Fewer than ten texts have no interval.

    The sample is the texts with the smallest keys (see `keys_of`), whatever the batches and their order. Copies of a
    text, of one embedding and length, share a key, so a corpus with many copies of few texts is sampled unevenly:
    pass each text once.

    Memory: per bin (sample + 1) * D numbers of float64, however many texts there are.

    Args:
        edges: the smallest token count of each bin, whole and increasing, as from `length_bins`; the last bin is
            open above.
        sample: texts kept of each bin, at least 2.
        resamples: how many, at least 1.
        seed: of the sample and of the resamples.
        confidence: of the intervals, between 0 and 1.
    """

    def __init__(
        self, edges: Any, *, sample: int = 1000, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> None:
        self.edges = check_edges(edges)
        self.sample = check_at_least(2, sample, "sample")
        self.resamples = check_at_least(1, resamples, "resamples")
        self.seed = check_at_least(0, seed, "seed")
        self.confidence = check_confidence(confidence)
        self._width: int | None = None
        self._bins: dict[int, _Bin] = {}

    def update(self, embeddings: Any, lengths: Any) -> None:
        """Read the embeddings [N, D] of N texts and their lengths in tokens, N whole numbers of at least 1.

        N may be 0. Either may be a torch tensor or numpy array, lengths also a list. Bad input changes nothing.
        """
        tokens = check_lengths(lengths)
        if not len(tokens) and not len(embeddings):
            return
        rows = check_embeddings(embeddings)
        if len(rows) != len(tokens):
            raise BadInput(f"{len(rows)} embeddings but {len(tokens)} lengths: pass one length for each text.")
        places = np.searchsorted(self.edges, tokens, side="right") - 1
        if (places < 0).any():
            short = np.flatnonzero(places < 0).tolist()
            raise BadInput(
                f"lengths[{short[0]}] is {tokens[short[0]]}, below the first edge {self.edges[0]}: "
                f"start the edges lower, or leave out texts {some(short)}."
            )
        self._check_width(rows.shape[1])
        for part in row_blocks(*rows.shape):
            texts = Sample(keys_of(rows[part], tokens[part], self.seed), to_unit(rows[part]), tokens[part])
            for place in np.unique(places[part]).tolist():
                own = texts.select(places[part] == place)
                self._bin(place).add(len(own), own.rows.sum(0), own, self.sample)

    def _check_width(self, width: int) -> None:
        if self._width not in (None, width):
            raise BadInput(f"embeddings have {width} dimensions, earlier ones {self._width}: are they of one model?")
        self._width = width

    def _bin(self, place: int) -> _Bin:
        return self._bins.setdefault(place, _Bin(self._width or 0))

    def merge(self, other: LengthCollapse) -> None:
        """Add the texts that another accumulator has read, for instance in another process."""
        for name in ("edges", "sample", "resamples", "seed", "confidence"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise BadInput(f"{name} is {mine} here and {theirs} there: merge accumulators with equal settings.")
        if other._width is None:
            return
        self._check_width(other._width)
        for place, bin in other._bins.items():
            self._bin(place).add(bin.count, bin.total, bin.sample, self.sample)

    def compute(self) -> LengthCurve:
        """Return the figures of all texts read so far, without `closeness`. Reading may go on afterwards."""
        if not self._bins:
            raise BadInput("no embeddings yet: call update(embeddings, lengths) first.")
        bins = {place: self._bins[place] for place in sorted(self._bins)}
        texts = sum(bin.count for bin in bins.values())
        centroid = sum((bin.total for bin in bins.values()), np.zeros(self._width or 0)) / texts
        # Effective ranks are comparable only for equal numbers of texts.
        matched = min((len(bin.sample) for bin in bins.values() if len(bin.sample) >= FEWEST_IN_BIN), default=None)
        replicates = {place: self._replicates(place) for place, bin in bins.items() if bin.count >= 2}
        notes: list[str] = []
        difference = self._difference(replicates, notes)
        rank_correlation, slope = self._trend(notes)
        return LengthCurve(
            closeness=None,
            bins=tuple(
                self._record(place, replicates.get(place), centroid, matched) for place in range(len(self.edges))
            ),
            difference=difference,
            rank_correlation=rank_correlation,
            slope_per_doubling=slope,
            notes=tuple(notes),
        )

    def between(self) -> tuple[tuple[float | None, ...], ...]:
        """Return the mean cosine of texts of two bins, for all bins; within one bin on the diagonal. None: no pairs."""
        places = range(len(self.edges))
        return tuple(tuple(self.cosine_between(a, b) for b in places) for a in places)

    def cosine_between(self, a: int, b: int) -> float | None:
        """Return the mean cosine of texts of two bins, which may be the same, by their places. None: no pairs."""
        left, right = self._bins.get(a), self._bins.get(b)
        if left is None or right is None or (a == b and left.count < 2):
            return None
        return left.cosine() if a == b else float(left.total @ right.total / (left.count * right.count))

    def _replicates(self, place: int) -> tuple[Floats, Floats]:
        """Return bootstrap replicates of a bin's mean cosine and uniformity; none if there are too few texts."""
        bin = self._bins[place]
        if len(bin.sample) < FEWEST_WITH_INTERVAL:
            return np.zeros(0), np.zeros(0)
        _, weights = bootstrap(len(bin.sample), self.resamples, (self.seed, place))
        return bin.resampled_cosines(weights), weighted_uniformity(bin.sample.rows, weights)

    def _estimate(self, value: float, replicates: Floats) -> Estimate:
        return Estimate(value, *percentile_interval(replicates, self.confidence))

    def _record(
        self, place: int, replicates: tuple[Floats, Floats] | None, centroid: Floats, matched: int | None
    ) -> LengthBin:
        bin = self._bins.get(place)
        cosine = distance = evenness = rank = None
        if bin is not None:
            # The mean of |x - m|² is 1 - 2 m.mean(x) + |m|², which rounding may leave a little below 0.
            square = float(1 - 2 * centroid @ bin.total / bin.count + centroid @ centroid)
            distance = math.sqrt(max(0.0, square))
        if bin is not None and replicates is not None:
            rows = bin.sample.rows
            cosine = self._estimate(bin.cosine(), replicates[0])
            evenness = self._estimate(float(weighted_uniformity(rows, np.ones((1, len(rows))))[0]), replicates[1])
            rank = _rank_of(rows[:matched]) if matched and len(rows) >= matched else None
        return LengthBin(
            low=self.edges[place],
            high=self.edges[place + 1] if place + 1 < len(self.edges) else None,
            count=0 if bin is None else bin.count,
            cosine=cosine,
            distance=distance,
            uniformity=evenness,
            effective_rank=rank,
        )

    def _difference(self, replicates: dict[int, tuple[Floats, Floats]], notes: list[str]) -> Estimate | None:
        if len(replicates) < 2:
            enough, all_bins = len(replicates), len(self.edges)
            notes.append(f"no difference of long and short: {enough} of {all_bins} bins have two texts.")
            return None
        short, long = min(replicates), max(replicates)
        value = self._bins[long].cosine() - self._bins[short].cosine()
        if not (len(replicates[long][0]) and len(replicates[short][0])):
            return Estimate(value, None, None)
        return self._estimate(value, replicates[long][0] - replicates[short][0])

    def _trend(self, notes: list[str]) -> tuple[Estimate | None, Estimate | None]:
        """Return the rank correlation of nearness and length, and the slope, over one sample of all texts."""
        usable = [bin.sample for bin in self._bins.values() if bin.count >= 2]
        if not usable:
            notes.append("no rank correlation and no slope: no bin has two texts.")
            return None, None
        sample = smallest(self.sample, usable)
        if len(set(sample.lengths.tolist())) == 1:
            notes.append(
                f"no rank correlation and no slope: all texts that share a bin have {sample.lengths[0]} tokens."
            )
            return None, None
        replicates = np.zeros(0), np.zeros(0)
        if len(sample) >= FEWEST_WITH_INTERVAL:
            chosen, weights = bootstrap(len(sample), self.resamples, (self.seed, len(self.edges)))
            nearness = np.take_along_axis(self._nearness(sample, weights), chosen, axis=1)
            replicates = _trends(sample.lengths[chosen], nearness)
        (rank,), (slope,) = _trends(sample.lengths[None], self._nearness(sample, np.ones((1, len(sample)))))
        if math.isnan(rank):
            notes.append("no rank correlation: each text is as close to the others of its bin as any other is.")
        correlation = None if math.isnan(rank) else self._estimate(float(rank), replicates[0])
        return correlation, self._estimate(float(slope), replicates[1])

    def _nearness(self, sample: Sample, weights: Floats) -> Floats:
        """Return each text's mean cosine to the others of its bin, [R, N] for weights [R, N]; NaN if there are none.

        Weights say how often each text of the sample is in the corpus, 1 for the exact figures; texts outside the
        sample count once.
        """
        places = np.searchsorted(self.edges, sample.lengths, side="right") - 1
        totals = np.array([self._bins[place].total for place in places])
        counts = np.array([self._bins[place].count for place in places])
        same = (places[:, None] == places).astype(np.float64)
        cosines = same * (sample.rows @ sample.rows.T)
        products = (sample.rows * totals).sum(1) + (weights - 1) @ cosines - weights
        others = counts + (weights - 1) @ same - weights
        nearness: Floats = np.divide(products, others, out=np.full(weights.shape, np.nan), where=others > 0)
        rounded: Floats = nearness.round(_DIGITS)
        return rounded


def _rank_of(rows: Floats) -> float:
    """Return the effective rank of the centred covariance of unit vectors."""
    centred = rows - rows.mean(0)
    products = centred @ centred.T if len(rows) < rows.shape[1] else centred.T @ centred  # they share eigenvalues
    eigenvalues = np.linalg.eigvalsh(products / len(rows))
    # Eigenvalues as small as the rounding of unit vectors count as 0.
    return effective_rank(np.where(eigenvalues > len(eigenvalues) * np.finfo(np.float64).eps, eigenvalues, 0)[::-1])


def _trends(lengths: Whole, nearness: Floats) -> tuple[Floats, Floats]:
    """Return Spearman's correlation of each row, [R, N] of both, and the least-squares slope against log2 length.

    Texts whose nearness is NaN are left out. NaN if all lengths are equal; the correlation also if all nearness is.
    """
    used = np.isfinite(nearness)
    tokens = np.where(used, lengths, np.nan)

    def centre(values: Floats) -> Floats:
        means = np.nansum(values, axis=1, keepdims=True) / np.maximum(used.sum(1, keepdims=True), 1)
        centred: Floats = np.nan_to_num(values - means)
        return centred

    def divide(values: Floats, by: Floats, where: Any) -> Floats:
        quotients: Floats = np.divide(values, by, out=np.full(len(values), np.nan), where=where)
        return quotients

    dot = partial(np.einsum, "rn,rn->r")
    ranks = [centre(stats.rankdata(values, axis=1, nan_policy="omit")) for values in (tokens, nearness)]
    log_tokens, near = centre(np.log2(tokens)), centre(nearness)
    # Sums of ranks are exact: 0 if and only if all values are equal.
    varied, near_varied = (dot(rank, rank) for rank in ranks)
    correlation = divide(dot(*ranks), np.sqrt(varied * near_varied), (varied > 0) & (near_varied > 0))
    return np.clip(correlation, -1, 1), divide(dot(log_tokens, near), dot(log_tokens, log_tokens), varied > 0)
