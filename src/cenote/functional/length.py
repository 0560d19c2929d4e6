"""Length collapse: how much closer together the embeddings of longer texts lie (arXiv 2410.24200).

An accumulator reads embeddings and lengths batch by batch and keeps sums and samples, never the embeddings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cenote.errors import BadInput, some
from cenote.functional.bins import FEW, at_least, checked_edges, whole_lengths
from cenote.functional.sampling import Floats, Keys, Sample, Whole, bootstrap, interval, keys_of, smallest
from cenote.functional.spread import (
    blocks,
    checked,
    effective_rank,
    mean_cosines,
    pair_means,
    slope,
    spearman,
    uniformities,
    unit,
)

# Fewer texts than these say nothing of how their figure might have come out otherwise: it has no interval.
LEAST = 10
# Cosines are told apart to this many digits when they are ranked: beyond, copies of a text would differ by rounding.
_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """A figure, and the interval that its resamples span; None where there are too few texts for one."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class LengthBin:
    """The texts of `low` to `high` - 1 tokens. What too few texts leave undefined is None, never NaN."""

    low: int
    high: int | None  # None: open above
    count: int
    mean_length: float | None  # tokens
    cosine: Estimate | None  # mean over all pairs in the bin, in [-1/(count-1), 1]; higher is more collapsed
    distance: float | None  # root mean square distance to the centroid of all texts, in [0, 2]
    uniformity: Estimate | None  # of the bin's sample, in [-8, 0]; higher is more collapsed
    spectrum: Floats | None  # [D] eigenvalues of the centred covariance, descending; they sum to at most 1
    effective_rank: float | None  # of the spectrum, at most count - 1: compare only bins of like count
    matched_rank: float | None  # the same of as many texts from each bin: comparable


@dataclass(frozen=True, eq=False)
class LengthCurve:
    """What `LengthCollapse.compute` returns. What the texts leave undefined is None, and `notes` says why."""

    texts: int
    bins: tuple[LengthBin, ...]
    between: tuple[tuple[float | None, ...], ...]  # mean cosine of texts of two bins; on the diagonal within one
    difference: Estimate | None  # cosine of the longest bin minus that of the shortest: the headline
    rank_correlation: Estimate | None  # Spearman's, of length and the mean cosine to the other texts of the bin
    slope: Estimate | None  # of that cosine against log length: cosine per e-fold of length
    slope_per_doubling: Estimate | None  # the same, cosine per doubling of length
    sampled: int  # texts behind the correlation and the slopes
    matched_count: int | None  # texts behind each matched rank
    notes: tuple[str, ...]


class _Cloud:
    """What is kept of the texts of one bin."""

    def __init__(self, width: int, spectrum: bool) -> None:
        self.count = self.tokens = 0
        self.total: Floats = np.zeros(width)
        self.moment: Floats | float = np.zeros((width, width)) if spectrum else 0.0
        self.sample = Sample(np.zeros(0, np.uint64), np.zeros((0, width)), np.zeros(0, np.int64))

    def add(self, count: int, tokens: int, total: Floats, moment: Floats | float, sample: Sample, size: int) -> None:
        self.count += count
        self.tokens += tokens
        self.total += total
        self.moment += moment
        self.sample = smallest(size, [self.sample, sample])

    def cosine(self) -> float:
        return float(pair_means(self.total @ self.total - self.count, self.count, self.count).clip(-1, 1))

    def cosines(self, weights: Floats) -> Floats:
        """The mean cosine as it might have come out with other texts.

        What resampling the sample changes is what a sample of this size leaves to chance; with all `count` texts it
        is less by the square root of their share.
        """
        changes = mean_cosines(self.sample.rows, weights) - mean_cosines(
            self.sample.rows, np.ones((1, len(self.sample)))
        )
        return np.clip(self.cosine() + math.sqrt(len(self.sample) / self.count) * changes, -1, 1)

    def spectrum(self) -> Floats:
        mean = self.total / self.count
        return _clipped(np.linalg.eigvalsh(self.moment / self.count - np.outer(mean, mean)))


def _clipped(eigenvalues: Any) -> Floats:
    """In descending order, and 0 where nothing but rounding is left of unit vectors."""
    return np.where(eigenvalues > len(eigenvalues) * np.finfo(np.float64).eps, eigenvalues, 0)[::-1]


def _rank_of(rows: Floats) -> float:
    centred = rows - rows.mean(0)
    products = centred @ centred.T if len(rows) < rows.shape[1] else centred.T @ centred  # they share eigenvalues
    return effective_rank(_clipped(np.linalg.eigvalsh(products / len(rows))))


class LengthCollapse:
    """How closely texts of like length lie together, by length, from embeddings read batch by batch.

    >>> generator = np.random.default_rng(0)
    >>> lengths = generator.integers(1, 200, size=300)
    >>> embeddings = generator.normal(size=(300, 8)) + 0.02 * lengths[:, None]   # longer texts lie closer together
    >>> collapse = LengthCollapse([0, 50, 100])
    >>> collapse.update(embeddings[:200], lengths[:200])
    >>> collapse.update(embeddings[200:], lengths[200:])
    >>> curve = collapse.compute()
    >>> [round(bin.cosine.value, 2) for bin in curve.bins]
    [0.13, 0.7, 0.9]
    >>> low, high = curve.difference.interval
    >>> round(curve.difference.value, 2), 0 < low < high < 1
    (0.77, True)
    >>> round(curve.slope.value, 2), round(curve.slope_per_doubling.value, 2)
    (0.3, 0.21)

    Embeddings are divided by their norms. Within a bin b of n texts with the sum s, the mean cosine over all pairs is
    (|s|² - n) / (n (n - 1)), between bins a and b it is s_a.s_b / (n_a n_b); a text's mean cosine to the others of its
    bin is c = (x.s - 1) / (n - 1). Nothing of these is sampled. Correlation and slopes relate c to length.

    Uncertainty is that of other texts from the same source, from bootstrap resamples of a fixed number of texts of
    each bin. Where a bin is larger than its sample, the interval of its mean cosine is narrowed by the square root of
    their share and lies about the exact value; in correlation and slope, what was not sampled stays as it is; the
    uniformity is that of the sample. Where directions have no mean at all, intervals are too wide rather than too
    narrow. Fewer than ten texts have none.

    The sample is the texts with the smallest keys (see `keys_of`): the same whatever the batches and their order.
    Copies of a text, of one embedding and length, share their key and come together, so that a corpus with very many
    copies of few texts is sampled unevenly: count each text once.

    Memory: per bin D² + sample * D numbers of float64, however many texts there are.

    Args:
        edges: the first number of tokens of each bin, whole and increasing, as from `length_bins`; the last bin is
            open above.
        sample: texts kept of each bin, at least 2.
        resamples: how many, at least 1.
        seed: of the sample and of the resamples.
        confidence: of the intervals, between 0 and 1.
        spectrum: whether to know each bin's spectrum and effective rank, which takes D² memory and D³ work.
    """

    def __init__(
        self,
        edges: Any,
        *,
        sample: int = 1000,
        resamples: int = 1000,
        seed: int = 0,
        confidence: float = 0.95,
        spectrum: bool = True,
    ) -> None:
        self.edges, self.spectrum = checked_edges(edges), spectrum
        self.sample = at_least(2, sample, "sample")
        self.resamples = at_least(1, resamples, "resamples")
        self.seed = at_least(0, seed, "seed")
        if not (isinstance(confidence, float) and 0 < confidence < 1):
            raise BadInput(f"confidence={confidence!r}: pass a number between 0 and 1, such as 0.95.")
        self.confidence = confidence
        self._width: int | None = None
        self._clouds: dict[int, _Cloud] = {}

    def update(self, embeddings: Any, lengths: Any) -> None:
        """Read the embeddings [N, D] of N texts and their lengths in tokens, N whole numbers of at least 1.

        N may be 0. Either may be a torch tensor or numpy array, lengths also a list. What is refused changes nothing.
        """
        tokens = whole_lengths(lengths)
        if not len(tokens) and not len(embeddings):
            return
        rows = checked(embeddings)
        if len(rows) != len(tokens):
            raise BadInput(f"{len(rows)} embeddings but {len(tokens)} lengths: pass one length for each text.")
        places = np.searchsorted(self.edges, tokens, side="right") - 1
        if (places < 0).any():
            short = np.flatnonzero(places < 0).tolist()
            raise BadInput(
                f"lengths[{short[0]}] is {tokens[short[0]]}, below the first edge {self.edges[0]}: "
                f"start the edges lower, or leave out texts {some(short)}."
            )
        self._agree(rows.shape[1])
        for part in blocks(*rows.shape):
            self._read(unit(rows[part]), tokens[part], places[part], keys_of(rows[part], tokens[part], self.seed))

    def _agree(self, width: int) -> None:
        if self._width not in (None, width):
            raise BadInput(f"embeddings have {width} dimensions, earlier ones {self._width}: are they of one model?")
        self._width = width

    def _read(self, rows: Floats, tokens: Whole, places: Whole, keys: Keys) -> None:
        for place in np.unique(places).tolist():
            where = places == place
            own, ours = rows[where], tokens[where]
            cloud = self._clouds.setdefault(place, _Cloud(rows.shape[1], self.spectrum))
            sample = Sample(keys[where], own, ours)
            moment = own.T @ own if self.spectrum else 0.0
            cloud.add(len(own), int(ours.sum()), own.sum(0), moment, sample, self.sample)

    def merge(self, other: LengthCollapse) -> None:
        """Add what `other` has read, as if it had been read here: for accumulators of several processes."""
        for name in ("edges", "sample", "resamples", "seed", "confidence", "spectrum"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise BadInput(f"{name} is {mine} here and {theirs} there: merge accumulators made alike.")
        if other._width is None:
            return
        self._agree(other._width)
        for place, cloud in other._clouds.items():
            here = self._clouds.setdefault(place, _Cloud(other._width, self.spectrum))
            here.add(cloud.count, cloud.tokens, cloud.total, cloud.moment, cloud.sample, self.sample)

    def compute(self) -> LengthCurve:
        """The figures of all that was read. Takes D³ work per bin; reading may go on afterwards."""
        if not self._clouds:
            raise BadInput("no embeddings yet: call update(embeddings, lengths) first.")
        clouds = [self._clouds[place] for place in sorted(self._clouds)]
        texts = sum(cloud.count for cloud in clouds)
        centroid = sum((cloud.total for cloud in clouds), np.zeros_like(clouds[0].total)) / texts
        matched = min((len(cloud.sample) for cloud in clouds if len(cloud.sample) >= FEW), default=None)
        drawn = {place: self._drawn(place) for place in sorted(self._clouds) if self._clouds[place].count >= 2}
        places = range(len(self.edges))
        notes: list[str] = []
        difference = self._difference(drawn, notes)
        sampled, rank_correlation, per_efold = self._trend(notes)
        return LengthCurve(
            texts=texts,
            bins=tuple(self._bin(place, drawn.get(place), centroid, matched) for place in places),
            between=tuple(tuple(self._between(a, b) for b in places) for a in places),
            difference=difference,
            rank_correlation=rank_correlation,
            slope=per_efold,
            slope_per_doubling=per_efold and _times(per_efold, math.log(2)),
            sampled=sampled,
            matched_count=matched,
            notes=tuple(notes),
        )

    def _drawn(self, place: int) -> tuple[Floats, Floats]:
        """Replicates of a bin's mean cosine and uniformity; none where there are too few texts."""
        cloud = self._clouds[place]
        if len(cloud.sample) < LEAST:
            return np.zeros(0), np.zeros(0)
        _, weights = bootstrap(len(cloud.sample), self.resamples, (self.seed, place))
        return cloud.cosines(weights), uniformities(cloud.sample.rows, weights)

    def _bin(self, place: int, drawn: tuple[Floats, Floats] | None, centroid: Floats, matched: int | None) -> LengthBin:
        low, high = self.edges[place], self.edges[place + 1] if place + 1 < len(self.edges) else None
        cloud = self._clouds.get(place)
        if cloud is None:
            return LengthBin(low, high, 0, None, None, None, None, None, None, None)
        # The mean of |x - m|² is 1 - 2 m.mean(x) + |m|², which rounding may leave a little below 0
        distance = math.sqrt(max(0.0, float(1 - 2 * centroid @ cloud.total / cloud.count + centroid @ centroid)))
        about = low, high, cloud.count, cloud.tokens / cloud.count
        if drawn is None:
            return LengthBin(*about, None, distance, None, None, None, None)
        rows, spectrum = cloud.sample.rows, cloud.spectrum() if self.spectrum else None
        even = float(uniformities(rows, np.ones((1, len(rows))))[0])
        return LengthBin(
            *about,
            cosine=Estimate(cloud.cosine(), interval(drawn[0], self.confidence)),
            distance=distance,
            uniformity=Estimate(even, interval(drawn[1], self.confidence)),
            spectrum=spectrum,
            effective_rank=None if spectrum is None else effective_rank(spectrum),
            matched_rank=_rank_of(rows[:matched]) if matched and len(rows) >= matched else None,
        )

    def _between(self, a: int, b: int) -> float | None:
        left, right = self._clouds.get(a), self._clouds.get(b)
        if left is None or right is None or (a == b and left.count < 2):
            return None
        return left.cosine() if a == b else float(left.total @ right.total / (left.count * right.count))

    def _difference(self, drawn: dict[int, tuple[Floats, Floats]], notes: list[str]) -> Estimate | None:
        if len(drawn) < 2:
            notes.append(f"no difference of long and short: {len(drawn)} of {len(self.edges)} bins have two texts.")
            return None
        short, long = min(drawn), max(drawn)
        value = self._clouds[long].cosine() - self._clouds[short].cosine()
        if not (len(drawn[long][0]) and len(drawn[short][0])):
            return Estimate(value, None)
        return Estimate(value, interval(drawn[long][0] - drawn[short][0], self.confidence))

    def _trend(self, notes: list[str]) -> tuple[int, Estimate | None, Estimate | None]:
        """Over one sample of all texts: its size, and rank correlation and slope of closeness against length."""
        usable = [cloud.sample for cloud in self._clouds.values() if cloud.count >= 2]
        if not usable:
            notes.append("no rank correlation and no slope: no bin has two texts.")
            return 0, None, None
        sample = smallest(self.sample, usable)
        if len(set(sample.lengths.tolist())) == 1:
            notes.append(
                f"no rank correlation and no slope: all texts that share a bin have {sample.lengths[0]} tokens."
            )
            return len(sample), None, None
        near = self._nearness(sample, np.ones((1, len(sample))))[0]
        drawn = np.zeros((2, 0))
        if len(sample) >= LEAST:
            chosen, weights = bootstrap(len(sample), self.resamples, (self.seed, len(self.edges)))
            every = self._nearness(sample, weights)
            found = [_relations(sample.lengths[own], row[own]) for own, row in zip(chosen, every, strict=True)]
            drawn = np.array(found).T
        rank, rise = _relations(sample.lengths, near)
        if math.isnan(rank):
            notes.append("no rank correlation: each text is as close to the others of its bin as any other is.")
        rank_correlation = None if math.isnan(rank) else Estimate(rank, interval(drawn[0], self.confidence))
        return len(sample), rank_correlation, Estimate(rise, interval(drawn[1], self.confidence))

    def _nearness(self, sample: Sample, weights: Floats) -> Floats:
        """Each text's mean cosine to the others of its bin: [R, N] for weights [R, N], all 1 for the exact ones.

        Weights say how often each text of the sample is in the corpus; what was not sampled stays in it once. NaN
        where nothing else is left of the bin.
        """
        places = np.searchsorted(self.edges, sample.lengths, side="right") - 1
        totals = np.array([self._clouds[place].total for place in places])
        counts = np.array([self._clouds[place].count for place in places])
        same = (places[:, None] == places).astype(np.float64)
        cosines = same * (sample.rows @ sample.rows.T)
        products = (sample.rows * totals).sum(1) + (weights - 1) @ cosines - weights
        others = counts + (weights - 1) @ same - weights
        near: Floats = np.divide(products, others, out=np.full(weights.shape, np.nan), where=others > 0)
        rounded: Floats = near.round(_DIGITS)
        return rounded


def _relations(lengths: Whole, near: Floats) -> tuple[float, float]:
    """Spearman's correlation of closeness and length, and the slope of closeness against log length; NaN for none."""
    lengths, near = lengths[np.isfinite(near)], near[np.isfinite(near)]
    if len(near) < 2 or not np.ptp(lengths):
        return math.nan, math.nan
    rise = slope(np.log(lengths), near)
    return (spearman(lengths, near) if np.ptp(near) else math.nan), rise


def _times(estimate: Estimate, factor: float) -> Estimate:
    ends = estimate.interval
    return Estimate(estimate.value * factor, ends and (ends[0] * factor, ends[1] * factor))
