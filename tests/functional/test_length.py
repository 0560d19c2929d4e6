"""`LengthCollapse`: values by hand, plain loops over all pairs, intervals, known corpora, streams, bad input."""

import dataclasses
import itertools
import math
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional.dispersion import effective_rank, mean_cosine, uniformity
from cenote.functional.length import LengthCollapse, _trends
from cenote.functional.sampling import bootstrap
from cenote.functional.words import word_averages
from cenote.json_records import from_json, to_json
from cenote.records import Estimate, LengthCurve

from .helpers import unit

EDGES = (0, 30, 60)
# What depends on the keys of texts: ends of intervals, and ranks of subsamples.
SAMPLED = (".low", ".high", "effective_rank")


def corpus(n=90, width=6, seed=0, growth=0.3, shift=0.3):
    """Embeddings [n, width] that point more and more in one direction as texts grow, and lengths from 1 to 99."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 100, size=n)
    rows = generator.standard_normal((n, width))
    rows[:, 0] += shift + growth * np.log(lengths)
    return rows, lengths


def collapse_of(rows, lengths, edges=EDGES, **options):
    collapse = LengthCollapse(edges, **options)
    collapse.update(rows, lengths)
    return collapse


def curve_of(rows, lengths, edges=EDGES, **options):
    return collapse_of(rows, lengths, edges, **options).compute()


def interval(estimate):
    return estimate.low, estimate.high


def figures(made, prefix=""):
    """Return every number of a curve by its path, None if it is undefined."""
    if dataclasses.is_dataclass(made):
        made = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    if isinstance(made, dict):
        return {key: value for name in made for key, value in figures(made[name], f"{prefix}.{name}").items()}
    if isinstance(made, (tuple, np.ndarray)):
        return {key: value for i in range(len(made)) for key, value in figures(made[i], f"{prefix}[{i}]").items()}
    return {prefix: made}


def same(left, right, tolerance=1e-10, but=()):
    left, right = figures(left), figures(right)
    assert left.keys() == right.keys()
    for name, value in left.items():
        if not any(part in name for part in but):
            close = isinstance(value, (float, np.floating))
            assert right[name] == (pytest.approx(value, rel=tolerance, abs=tolerance) if close else value), name


# --- an independent reference: plain loops over all pairs ---------------------------------------------------------


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def ranks(values):
    return [mean([sum(v < value for v in values) + 1, sum(v <= value for v in values)]) for value in values]


def slope_loop(x, y):
    a, b = mean(x), mean(y)
    product = math.fsum((u - a) * (v - b) for u, v in zip(x, y, strict=True))
    return product / math.fsum((u - a) ** 2 for u in x)


def spearman_loop(x, y):
    x, y = ranks(x), ranks(y)
    return slope_loop(x, y) * math.sqrt(
        math.fsum((u - mean(x)) ** 2 for u in x) / math.fsum((v - mean(y)) ** 2 for v in y)
    )


def rank_of(rows):
    return effective_rank(np.linalg.eigvalsh(np.cov(unit(rows).T, bias=True)).clip(0))


def members(lengths, edges):
    ends = [*edges[1:], math.inf]
    return [[i for i, n in enumerate(lengths) if low <= n < high] for low, high in zip(edges, ends, strict=True)]


def reference(rows, lengths, edges):
    x, groups = unit(rows).tolist(), members(lengths, edges)
    centre = [mean(column) for column in zip(*x, strict=True)]
    own = {i: mean(dot(x[i], x[j]) for j in group if j != i) for group in groups if len(group) > 1 for i in group}
    return {
        "cosine": [mean(dot(x[i], x[j]) for i, j in itertools.combinations(group, 2)) for group in groups],
        "between": [[mean(dot(x[i], x[j]) for i in a for j in b if i != j) for b in groups] for a in groups],
        "distance": [
            math.sqrt(mean(math.fsum((v - m) ** 2 for v, m in zip(x[i], centre, strict=True)) for i in group))
            for group in groups
        ],
        "rank": spearman_loop([lengths[i] for i in own], [round(value, 12) for value in own.values()]),
        "slope": slope_loop([math.log2(lengths[i]) for i in own], list(own.values())),
    }


# --- shapes -------------------------------------------------------------------------------------------------------


def test_the_result_is_a_record_of_plain_data():
    collapse = collapse_of(*corpus())
    curve = collapse.compute()
    assert from_json(LengthCurve, to_json(curve)) == curve
    assert [(bin.low, bin.high) for bin in curve.bins] == [(0, 30), (30, 60), (60, None)]
    assert [len(row) for row in collapse.between()] == [3, 3, 3]
    assert sum(bin.count for bin in curve.bins) == 90
    assert (curve.closeness, curve.notes) == (None, ())
    for name, value in figures(curve).items():
        assert value is None or isinstance(value, (int, float)), name
        assert value is None or math.isfinite(value), name


# --- values -------------------------------------------------------------------------------------------------------


def test_figures_computed_by_hand():
    rows = np.array([[1.0, 0], [0, 5], [2, 0], [3, 0], [0, 1]])
    collapse = collapse_of(rows, [1, 3, 10, 10, 10], (0, 10))
    curve, between = collapse.compute(), collapse.between()
    short, long = curve.bins
    assert short.cosine == Estimate(0, None, None)  # two texts are too few for an interval
    assert long.cosine.value == pytest.approx(1 / 3)
    assert between[0][1] == between[1][0] == pytest.approx(0.5)
    assert curve.difference.value == pytest.approx(1 / 3)
    assert short.uniformity.value == pytest.approx(-4)
    # Nearness is 0, 0, 1/2, 1/2, 0 at lengths 1, 3, 10, 10, 10.
    slope = np.polyfit(np.log2([1, 3, 10, 10, 10]), [0, 0, 0.5, 0.5, 0], 1)[0]
    assert curve.slope_per_doubling.value == pytest.approx(slope)


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_plain_loops_over_all_pairs(seed):
    rows, lengths = corpus(seed=seed)
    collapse, expected = collapse_of(rows, lengths), reference(rows, lengths, EDGES)
    curve = collapse.compute()
    assert [bin.cosine.value for bin in curve.bins] == pytest.approx(expected["cosine"], rel=1e-11)
    for row, other in zip(collapse.between(), expected["between"], strict=True):
        assert row == pytest.approx(other, rel=1e-11)
    assert [bin.distance for bin in curve.bins] == pytest.approx(expected["distance"], rel=1e-11)
    assert curve.rank_correlation.value == pytest.approx(expected["rank"], rel=1e-10)
    assert curve.slope_per_doubling.value == pytest.approx(expected["slope"], rel=1e-10)
    assert curve.difference.value == pytest.approx(expected["cosine"][2] - expected["cosine"][0], rel=1e-10)


def test_figures_of_a_bin_equal_the_functions_of_dispersion():
    rows, lengths = corpus()
    curve = curve_of(rows, lengths)
    for bin, group in zip(curve.bins, members(lengths, EDGES), strict=True):
        own = rows[group]
        assert bin.cosine.value == pytest.approx(mean_cosine(own), rel=1e-12)
        assert bin.uniformity.value == pytest.approx(uniformity(own), rel=1e-12)
    smallest = min(range(3), key=lambda place: curve.bins[place].count)  # all of its texts count
    own = rows[members(lengths, EDGES)[smallest]]
    assert curve.bins[smallest].effective_rank == pytest.approx(rank_of(own), rel=1e-11)


def test_effective_ranks_are_of_equal_counts_without_rounding():
    rows, lengths = corpus(400, 40, growth=0, shift=0)
    lengths[:] = np.where(np.arange(400) < 25, 5, np.where(np.arange(400) < 390, 40, 70))
    short, middle, long = curve_of(rows, lengths).bins
    assert short.effective_rank == pytest.approx(rank_of(rows[:25]), rel=1e-9)
    assert rank_of(rows[25:390]) > 1.5 * short.effective_rank  # more texts, a higher rank
    assert middle.effective_rank == pytest.approx(short.effective_rank, rel=0.1)
    assert long.effective_rank is None  # ten texts
    rows, lengths = corpus(30, 50)
    assert curve_of(rows, lengths, (0,)).bins[0].effective_rank <= 29
    assert curve_of(np.ones((30, 50)), lengths, (0,)).bins[0].effective_rank == 0


# --- trends -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=40),
    seed=st.integers(0, 99),
    missing=st.integers(0, 5),
)
def test_trends_equal_plain_loops(lengths, seed, missing):
    near = np.random.default_rng(seed).integers(-4, 5, size=len(lengths)) / 8
    near[np.random.default_rng(seed).integers(0, len(lengths), size=missing)] = np.nan
    used = [i for i, value in enumerate(near) if not math.isnan(value)]
    (rank,), (slope,) = _trends(np.array([lengths]), near[None])
    x, y = [lengths[i] for i in used], [near[i] for i in used]
    assert math.isnan(slope) == (len(set(x)) < 2)
    assert math.isnan(rank) == (len(set(x)) < 2 or len(set(y)) < 2)
    if not math.isnan(slope):
        assert slope == pytest.approx(slope_loop([math.log2(n) for n in x], y), rel=1e-9, abs=1e-12)
    if not math.isnan(rank):
        assert rank == pytest.approx(spearman_loop(x, y), abs=1e-12)
        assert -1 <= rank <= 1
        for same in (np.array([lengths]) ** 3, np.array([lengths])):  # only the order of lengths counts
            assert _trends(same, near[None])[0][0] == pytest.approx(rank, abs=1e-12)
        assert _trends(np.array([lengths]), -near[None])[0][0] == pytest.approx(-rank, abs=1e-12)


# --- intervals ----------------------------------------------------------------------------------------------------


def test_intervals_equal_resampling_in_a_loop():
    rows, lengths = corpus(12)
    curve = curve_of(rows, lengths, (0,), resamples=40, seed=3)
    sample = collapse_of(rows, lengths, (0,), seed=3)._bins[0].sample
    x, n = sample.rows, len(sample)
    cosines, evenness = [], []
    for own in bootstrap(n, 40, (3, 0))[0]:
        pairs = [x[i] @ x[j] for a, i in enumerate(own) for j in own[a + 1 :] if i != j]
        cosines.append(mean(pairs))
        evenness.append(math.log(mean(math.exp(-2 * (2 - 2 * c)) for c in pairs)))
    assert interval(curve.bins[0].cosine) == pytest.approx(np.quantile(cosines, [0.025, 0.975]), rel=1e-10)
    assert interval(curve.bins[0].uniformity) == pytest.approx(np.quantile(evenness, [0.025, 0.975]), rel=1e-10)
    correlations, slopes = [], []
    for own in bootstrap(n, 40, (3, 1))[0]:
        near = [mean(x[i] @ x[j] for j in own if j != i) for i in own]
        correlations.append(spearman_loop(sample.lengths[own].tolist(), np.round(near, 12).tolist()))
        slopes.append(np.polyfit(np.log2(sample.lengths[own]), near, 1)[0])
    assert interval(curve.rank_correlation) == pytest.approx(np.quantile(correlations, [0.025, 0.975]), rel=1e-9)
    assert interval(curve.slope_per_doubling) == pytest.approx(np.quantile(slopes, [0.025, 0.975]), rel=1e-9)


def test_texts_outside_the_sample_stay_fixed_in_resamples():
    rows, lengths = corpus(60)
    collapse = collapse_of(rows, lengths, sample=7)
    sample = collapse._bins[1].sample
    near = collapse._nearness(sample, bootstrap(7, 5, (0,))[1])
    x = unit(rows)
    for weights, got in zip(bootstrap(7, 5, (0,))[1], near, strict=True):
        everyone = []  # the bin with the sampled texts as often as drawn, and all others once
        for i in members(lengths, EDGES)[1]:
            found = [s for s in range(7) if np.allclose(sample.rows[s], x[i], rtol=0, atol=1e-12)]
            everyone += [(i, x[i])] * (int(weights[found[0]]) if found else 1)
        for s in range(7):
            others = [other for _, other in everyone if not np.allclose(other, sample.rows[s], rtol=0, atol=1e-12)]
            assert got[s] == pytest.approx(mean(sample.rows[s] @ other for other in others), abs=1e-11)


def test_a_larger_bin_has_a_narrower_interval_about_the_exact_value():
    rows, lengths = corpus(20000, growth=0, shift=1.5)
    few, many = (curve_of(rows[:n], lengths[:n], (0,), sample=200).bins[0].cosine for n in (200, 20000))
    assert few.low < few.value < few.high
    assert many.low < many.value < many.high
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.25)
    narrow, wide = (curve_of(rows, lengths, (0,), confidence=share).bins[0].cosine for share in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(("n", "sample"), [(60, 1000), (300, 60)])
def test_intervals_cover_the_truth_as_often_as_they_say(n, sample):
    # The truth by a million texts: the mean cosine of independent texts is the squared norm of the mean direction.
    rows, _ = corpus(1_000_000, 5, seed=99, growth=0, shift=1)
    truth = np.square(unit(rows).mean(0)).sum()
    hits = {"cosine": 0, "slope": 0, "rank": 0}
    for seed in range(100):
        curve = curve_of(*corpus(n, 5, seed, growth=0, shift=1), (0,), sample=sample, resamples=100)
        hits["cosine"] += curve.bins[0].cosine.low <= truth <= curve.bins[0].cosine.high
        hits["slope"] += curve.slope_per_doubling.low <= 0 <= curve.slope_per_doubling.high
        hits["rank"] += curve.rank_correlation.low <= 0 <= curve.rank_correlation.high
    # 95 on average: three and a half deviations down, and not all, as with intervals of twice the width.
    assert all(87 <= count <= 99 for count in hits.values()), hits


# --- known corpora ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [1000, 100])
def test_planted_collapse_is_found(sample):
    curve = curve_of(*corpus(600, 16, growth=0.5), sample=sample)
    for estimate in (curve.difference, curve.slope_per_doubling, curve.rank_correlation):
        assert 0 < estimate.low < estimate.value < estimate.high
    cosines, distances = ([getattr(bin, name) for bin in curve.bins] for name in ("cosine", "distance"))
    assert cosines[0].high < cosines[2].low
    assert distances[0] > distances[1] > distances[2]
    assert curve.bins[0].uniformity.value < curve.bins[2].uniformity.value


def test_no_collapse_is_found_where_there_is_none():
    covered = 0
    for seed in range(30):
        curve = curve_of(*corpus(100, 8, seed, growth=0, shift=0), resamples=100)
        covered += all(
            estimate.low <= 0 <= estimate.high
            for estimate in (curve.difference, curve.slope_per_doubling, curve.rank_correlation, curve.bins[1].cosine)
        )
    assert covered >= 27  # where there is no mean direction, intervals are rather too wide


def test_averages_of_random_words_collapse_with_length():
    generator = np.random.default_rng(0)
    table = generator.standard_normal((500, 16)) + 0.3
    lengths = generator.integers(1, 100, size=200)
    ids = [generator.integers(0, 500, size=n).tolist() for n in lengths]
    curve = curve_of(word_averages(table, ids), lengths)
    assert curve.slope_per_doubling.low > 0
    assert curve.difference.low > 0.2


# --- laws ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(1e-3, 1e3), order=st.randoms(use_true_random=False))
def test_rotation_scale_and_order_do_not_matter(seed, scale, order):
    rows, lengths = corpus(40, 5, seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))
    plain = curve_of(rows, lengths, resamples=20)
    places = order.sample(range(40), 40)
    same(plain, curve_of(rows[places], lengths[places], resamples=20))
    # Another basis or scale changes the keys, hence intervals and subsamples, and nothing else.
    for moved in (rows @ turn, rows * scale):
        same(plain, curve_of(moved, lengths, resamples=20), 1e-9, but=SAMPLED)


def test_scaling_all_lengths_does_not_matter():
    rows, lengths = corpus()
    curve, longer = curve_of(rows, lengths, (0,)), curve_of(rows, lengths * 10, (0,))
    assert longer.rank_correlation.value == pytest.approx(curve.rank_correlation.value, rel=1e-12)
    assert longer.slope_per_doubling.value == pytest.approx(curve.slope_per_doubling.value, rel=1e-10)


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64, 500])
@pytest.mark.parametrize("sample", [30, 1000])
def test_batches_and_their_order_do_not_matter(size, sample):
    rows, lengths = corpus(500)
    rows = rows.astype(np.float32)
    whole = collapse_of(rows, lengths, sample=sample, resamples=50)
    order = np.random.default_rng(size).permutation(500)
    parts = LengthCollapse(EDGES, sample=sample, resamples=50)
    for start in range(0, 500, size):
        parts.update(rows[order][start : start + size], lengths[order][start : start + size])
    for place in range(3):
        for name in ("keys", "rows", "lengths"):
            one, other = (getattr(collapse._bins[place].sample, name) for collapse in (whole, parts))
            assert one.tobytes() == other.tobytes()
    same(whole.compute(), parts.compute(), 1e-12)
    same(whole.compute(), whole.compute(), 0)


def test_copies_of_texts_count_as_texts():
    rows, lengths = corpus(40)
    rows, lengths = np.repeat(rows, 3, axis=0), np.repeat(lengths, 3)
    curve, expected = curve_of(rows, lengths), reference(rows, lengths, EDGES)
    assert [bin.cosine.value for bin in curve.bins] == pytest.approx(expected["cosine"], rel=1e-11)
    order = np.random.default_rng(0).permutation(120)
    same(curve, curve_of(rows[order], lengths[order]), 1e-12)  # equal texts have equal ranks, in any order


def test_the_seed_decides_every_interval_and_nothing_else():
    rows, lengths = corpus(500)
    one, again, other = (figures(curve_of(rows, lengths, seed=seed, resamples=99)) for seed in (1, 1, 2))
    assert one == again
    ends = [name for name in one if name.endswith((".low", ".high")) and "bins" not in name]
    assert all(other[name] != one[name] for name in ends)
    same(*(curve_of(rows, lengths, seed=seed, resamples=99) for seed in (1, 2)), 1e-12, but=SAMPLED)
    slopes = [curve_of(rows, lengths, sample=50, seed=seed).slope_per_doubling.value for seed in (0, 1)]
    assert slopes[0] != slopes[1]


@pytest.mark.parametrize("sample", [30, 1000])
def test_merged_accumulators_equal_one(sample):
    rows, lengths = corpus(500)
    options = {"sample": sample, "resamples": 50}
    whole = collapse_of(rows, lengths, **options)
    thirds = (lengths < 30, lengths >= 50, (lengths >= 30) & (lengths < 50))
    parts = [collapse_of(rows[where], lengths[where], **options) for where in thirds]
    empty = LengthCollapse(EDGES, **options)
    untouched = pickle.dumps(parts[1])
    for other in (parts[2], empty, pickle.loads(pickle.dumps(parts[0])), parts[1]):  # noqa: S301  our own bytes
        empty.merge(other) if other is not empty else None
    assert pickle.dumps(parts[1]) == untouched
    same(whole.compute(), empty.compute(), 1e-12)
    empty.update(rows, lengths)
    assert pickle.dumps(parts[1]) == untouched
    assert sum(bin.count for bin in empty.compute().bins) == 1000


def test_memory_does_not_grow_with_the_stream():
    generator = np.random.default_rng(0)
    collapse, most = LengthCollapse(range(0, 500, 50), sample=500), []
    tracemalloc.start()
    try:
        for turn in range(20):
            tracemalloc.reset_peak()
            collapse.update(generator.standard_normal((10_000, 32)), generator.integers(1, 500, size=10_000))
            if turn in (1, 19):
                most.append(tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    (early, early_peak), (late, late_peak) = most
    assert late < early + 2**16
    assert late_peak < 1.2 * early_peak
    assert late < 4 * 2**20  # ten bins of 500 texts; the embeddings have 51 MB
    assert sum(bin.count for bin in collapse._bins.values()) == 200_000


def test_dtype_and_kind_of_array_do_not_matter():
    rows, lengths = corpus()
    rows = np.round(rows * 16).astype(np.float16) / np.float16(16)  # numbers that bfloat16 has too, or nearly all
    rows[np.abs(rows) < 1 / 16] = 1
    plain = curve_of(rows, lengths, resamples=99)
    kinds = [
        (rows.astype(np.float64), lengths.tolist()),
        (torch.from_numpy(rows), torch.from_numpy(lengths)),
        (torch.from_numpy(rows).float().requires_grad_(), torch.from_numpy(lengths).float()),
        (torch.from_numpy(rows).bfloat16(), tuple(lengths)),
        (np.asfortranarray(rows.astype(">f4")), lengths.astype(np.uint8)),
    ]
    for given_rows, given_lengths in kinds:
        same(plain, curve_of(given_rows, given_lengths, resamples=99), 0)


# --- too few texts -----------------------------------------------------------------------------------------------


def test_bins_of_one_text_and_of_none():
    rows, lengths = corpus(40)
    lengths = np.where(lengths < 60, 5, lengths)
    lengths[0] = 40
    collapse = collapse_of(rows, lengths, (0, 20, 30, 60))
    curve, between = collapse.compute(), collapse.between()
    alone, empty = curve.bins[2], curve.bins[1]
    assert (alone.count, alone.cosine, alone.uniformity, alone.effective_rank) == (1, None, None, None)
    assert alone.distance > 0
    assert (empty.count, empty.distance, empty.cosine) == (0, None, None)
    assert between[2][2] is None
    assert between[1] == (None,) * 4
    assert isinstance(between[2][3], float)
    expected = curve_of(rows[1:], lengths[1:], (0, 60))  # a text alone in its bin has no nearness
    assert curve.slope_per_doubling.value == pytest.approx(expected.slope_per_doubling.value, rel=1e-10)
    assert curve.difference.value == pytest.approx(expected.difference.value, rel=1e-10)


@pytest.mark.parametrize(
    ("lengths", "edges", "bins", "slope"),
    [
        ([7] * 12, (0,), "1 of 1", "all texts that share a bin have 7 tokens"),
        ([7] * 12, (0, 50), "1 of 2", "all texts that share a bin have 7 tokens"),
        ([7] * 11 + [70], (0, 50), "1 of 2", "all texts that share a bin have 7 tokens"),
        ([7], (0, 50), "0 of 2", "no bin has two texts"),
    ],
)
def test_notes_say_why_figures_are_undefined(lengths, edges, bins, slope):
    curve = curve_of(corpus(len(lengths))[0], lengths, edges)
    assert (curve.difference, curve.slope_per_doubling, curve.rank_correlation) == (None,) * 3
    first, second = curve.notes
    assert f"{bins} bins have two texts" in first
    assert f"no slope: {slope}" in second


def test_equal_embeddings_have_a_slope_of_zero_and_no_rank_correlation():
    curve = curve_of(np.full((40, 3), 0.7), np.arange(1, 41), (0, 20))
    assert curve.slope_per_doubling == Estimate(0, 0, 0)
    assert curve.rank_correlation is None
    assert curve.notes == ("no rank correlation: each text is as close to the others of its bin as any other is.",)
    assert curve.bins[0].cosine.value == pytest.approx(1)
    assert curve.bins[0].cosine.value <= 1
    assert curve.bins[0].distance == pytest.approx(0, abs=1e-7)
    assert all(math.isfinite(value) for value in figures(curve).values() if isinstance(value, float))


def test_few_texts_have_no_interval():
    rows, lengths = corpus(24)
    lengths[:] = [5] * 9 + [50] * 15
    curve = curve_of(rows, lengths, (0, 30))
    few = curve_of(rows[:5], [1, 2, 3, 4, 5], (0,)).slope_per_doubling
    narrow = curve_of(rows, lengths, (0, 30), sample=2).bins[1].cosine
    for estimate in (curve.bins[0].cosine, curve.bins[0].uniformity, curve.difference, few, narrow):
        assert interval(estimate) == (None, None)
    for estimate in (curve.bins[1].cosine, curve.slope_per_doubling):
        assert None not in interval(estimate)


# --- bad input ----------------------------------------------------------------------------------------------------

ROWS = np.ones((3, 2))


@pytest.mark.parametrize(
    ("embeddings", "lengths", "message"),
    [
        (ROWS, [1, 2], "3 embeddings but 2 lengths: pass one length for each text"),
        (ROWS[:0], [1, 2], "0 embeddings but 2 lengths"),
        (ROWS, [], "3 embeddings but 0 lengths"),
        (ROWS, [20, 0, 20], r"lengths\[1\] is 0: pass whole numbers"),
        (ROWS, [20, 20, 20.5], r"lengths\[2\] is 20.5"),
        (ROWS, [20, math.nan, 20], "lengths holds NaN or infinity at 1"),
        (ROWS, [20, 3, 4], r"lengths\[1\] is 3, below the first edge 10: .* leave out texts 1, 2"),
        (ROWS * [[1], [0], [1]], [20, 20, 20], "zero vectors in row 1"),
        (ROWS * [[1], [1], [np.inf]], [20, 20, 20], "NaN or infinity in row 2"),
        (np.ones((3, 5)), [20, 20, 20], "embeddings have 5 dimensions, earlier ones 2: are they of one model"),
        (ROWS.tolist(), [20, 20, 20], "embeddings is a list"),
    ],
)
def test_bad_batches_change_nothing(embeddings, lengths, message):
    rows, tokens = corpus(40, 2)
    collapse = collapse_of(rows, tokens + 10, (10,))
    before = collapse.compute()
    with pytest.raises(BadInput, match=message):
        collapse.update(embeddings, lengths)
    same(before, collapse.compute(), 0)
    fresh = LengthCollapse((10,))
    if "earlier ones" not in message:
        with pytest.raises(BadInput, match=message):
            fresh.update(embeddings, lengths)
    fresh.update(np.ones((2, 7)), [20, 20])  # bad input does not fix the width either


def test_an_accumulator_without_texts_has_no_figures():
    collapse = LengthCollapse((0,))
    with pytest.raises(BadInput, match="no embeddings yet: call update"):
        collapse.compute()
    for nothing in (np.zeros((0, 4)), np.zeros(0), torch.zeros(0, 4), []):
        collapse.update(nothing, [])
    with pytest.raises(BadInput, match="no embeddings yet"):
        collapse.compute()
    collapse.update(ROWS, [1, 2, 3])
    collapse.update(np.zeros((0, 2)), np.zeros(0, int))
    assert collapse.compute().bins[0].count == 3


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ((0, 5, 5), {}, "which do not increase"),
        ((), {}, "pass at least one"),
        ((0,), {"sample": 1}, "sample=1: pass a whole number of at least 2"),
        ((0,), {"sample": 10.0}, "sample=10.0"),
        ((0,), {"resamples": 0}, "resamples=0"),
        ((0,), {"seed": -1}, "seed=-1"),
        ((0,), {"confidence": 1.0}, "confidence=1.0: pass a number between 0 and 1"),
        ((0,), {"confidence": 95}, "confidence=95"),
        ((0,), {"confidence": math.nan}, "confidence=nan"),
    ],
)
def test_bad_settings_are_refused(edges, options, message):
    with pytest.raises(BadInput, match=message):
        LengthCollapse(edges, **options)


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ((0, 5), {}, r"edges is \(0,\) here and \(0, 5\) there: merge accumulators with equal settings"),
        ((0,), {"sample": 5}, "sample is 1000 here and 5 there"),
        ((0,), {"seed": 5}, "seed is 0 here and 5 there"),
    ],
)
def test_accumulators_with_other_settings_are_not_merged(edges, options, message):
    with pytest.raises(BadInput, match=message):
        LengthCollapse((0,)).merge(LengthCollapse(edges, **options))
    with pytest.raises(BadInput, match="7 dimensions, earlier ones 2"):
        collapse_of(ROWS, [1, 2, 3], (0,)).merge(collapse_of(np.ones((3, 7)), [1, 2, 3], (0,)))
