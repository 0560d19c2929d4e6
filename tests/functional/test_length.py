"""`LengthCollapse`: shapes, plain loops over all pairs, intervals, planted and healthy clouds, streams, refusals."""

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
from scipy import stats

from cenote.errors import BadInput
from cenote.functional.dispersion import effective_rank, mean_cosine, uniformity
from cenote.functional.length import Estimate, LengthBin, LengthCollapse, LengthCurve
from cenote.functional.sampling import bootstrap
from cenote.functional.words import word_averages

EDGES = (0, 30, 60)


def corpus(n=90, width=6, seed=0, growth=0.3, shift=0.3):
    """Embeddings [n, width] that point more and more in one direction as texts grow, and lengths from 1 to 99."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 100, size=n)
    rows = generator.standard_normal((n, width))
    rows[:, 0] += shift + growth * np.log(lengths)
    return rows, lengths


def curve_of(rows, lengths, edges=EDGES, **options):
    collapse = LengthCollapse(edges, **options)
    collapse.update(rows, lengths)
    return collapse.compute()


def figures(made, prefix=""):
    """Every number of a curve by its path, None where it is undefined."""
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
        if any(part in name for part in but):
            continue
        if isinstance(value, (float, np.floating)):
            assert right[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name
        else:
            assert right[name] == value, name


# --- an independent reference: plain loops over all pairs ---------------------------------------------------------


def directions(rows):
    return [[value / math.sqrt(math.fsum(v * v for v in row)) for value in row] for row in np.asarray(rows).tolist()]


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def members(lengths, edges):
    ends = [*edges[1:], math.inf]
    return [[i for i, n in enumerate(lengths) if low <= n < high] for low, high in zip(edges, ends, strict=True)]


def reference(rows, lengths, edges):
    x, groups = directions(rows), members(lengths, edges)
    centre = [mean(column) for column in zip(*x, strict=True)]
    own = {i: mean(dot(x[i], x[j]) for j in group if j != i) for group in groups if len(group) > 1 for i in group}
    return {
        "cosine": [mean(dot(x[i], x[j]) for i, j in itertools.combinations(group, 2)) for group in groups],
        "between": [[mean(dot(x[i], x[j]) for i in a for j in b if i != j) for b in groups] for a in groups],
        "distance": [
            math.sqrt(mean(math.fsum((v - m) ** 2 for v, m in zip(x[i], centre, strict=True)) for i in group))
            for group in groups
        ],
        "length": [mean(lengths[i] for i in group) for group in groups],
        "rank": stats.spearmanr([lengths[i] for i in own], list(own.values())).statistic,
        "slope": stats.linregress([math.log(lengths[i]) for i in own], list(own.values())).slope,
    }


# --- shapes -------------------------------------------------------------------------------------------------------


def test_what_comes_out_is_plain():
    curve = curve_of(*corpus())
    assert isinstance(curve, LengthCurve)
    assert [(bin.low, bin.high) for bin in curve.bins] == [(0, 30), (30, 60), (60, None)]
    assert all(isinstance(bin, LengthBin) and bin.spectrum.shape == (6,) for bin in curve.bins)
    assert [len(row) for row in curve.between] == [3, 3, 3]
    assert curve.texts == sum(bin.count for bin in curve.bins) == curve.sampled == 90
    assert curve.notes == ()
    for name, value in figures(curve).items():
        assert value is None or isinstance(value, (int, float)), name
        assert value is None or math.isfinite(value), name
    with pytest.raises(dataclasses.FrozenInstanceError):
        curve.texts = 1


# --- values -------------------------------------------------------------------------------------------------------


def test_by_hand():
    rows = np.array([[1.0, 0], [0, 5], [2, 0], [3, 0], [0, 1]])
    curve = curve_of(rows, [1, 3, 10, 10, 10], (0, 10))
    short, long = curve.bins
    assert short.cosine == Estimate(0, None)  # two texts say nothing of their spread
    assert long.cosine.value == pytest.approx(1 / 3)
    assert (short.mean_length, long.mean_length) == (2, 10)
    assert curve.between[0][1] == curve.between[1][0] == pytest.approx(0.5)
    assert curve.difference.value == pytest.approx(1 / 3)
    assert short.spectrum == pytest.approx([0.5, 0])
    assert long.spectrum == pytest.approx([4 / 9, 0])
    assert long.effective_rank == pytest.approx(1)
    assert short.uniformity.value == pytest.approx(-4)
    # nearness is 0, 0, 1/2, 1/2, 0 at lengths 1, 3, 10, 10, 10
    assert curve.slope.value == pytest.approx(np.polyfit(np.log([1, 3, 10, 10, 10]), [0, 0, 0.5, 0.5, 0], 1)[0])


@pytest.mark.parametrize("seed", range(3))
def test_as_plain_loops(seed):
    rows, lengths = corpus(seed=seed)
    curve, expected = curve_of(rows, lengths), reference(rows, lengths, EDGES)
    assert [bin.cosine.value for bin in curve.bins] == pytest.approx(expected["cosine"], rel=1e-11)
    for row, other in zip(curve.between, expected["between"], strict=True):
        assert row == pytest.approx(other, rel=1e-11)
    assert [bin.distance for bin in curve.bins] == pytest.approx(expected["distance"], rel=1e-11)
    assert [bin.mean_length for bin in curve.bins] == pytest.approx(expected["length"], rel=1e-12)
    assert curve.rank_correlation.value == pytest.approx(expected["rank"], rel=1e-10)
    assert curve.slope.value == pytest.approx(expected["slope"], rel=1e-10)
    assert curve.slope_per_doubling.value == pytest.approx(expected["slope"] * math.log(2), rel=1e-10)
    assert curve.difference.value == pytest.approx(expected["cosine"][2] - expected["cosine"][0], rel=1e-10)


def test_the_functions_of_a_cloud_say_the_same():
    rows, lengths = corpus()
    curve = curve_of(rows, lengths)
    for bin, group in zip(curve.bins, members(lengths, EDGES), strict=True):
        own = rows[group]
        x = own / np.linalg.norm(own, axis=1, keepdims=True)
        eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
        np.testing.assert_allclose(bin.spectrum, eigenvalues, atol=1e-14)
        assert bin.cosine.value == pytest.approx(mean_cosine(own), rel=1e-12)
        assert bin.uniformity.value == pytest.approx(uniformity(own), rel=1e-12)
        assert bin.effective_rank == pytest.approx(effective_rank(eigenvalues), rel=1e-11)


def test_ranks_at_equal_counts():
    rows, lengths = corpus(400, 40, growth=0, shift=0)
    lengths[:] = np.where(np.arange(400) < 25, 5, np.where(np.arange(400) < 390, 40, 70))
    curve = curve_of(rows, lengths)
    assert curve.matched_count == 25
    short, middle, long = curve.bins
    assert short.matched_rank == pytest.approx(short.effective_rank, rel=1e-9)
    assert middle.effective_rank > 1.5 * short.effective_rank  # of one cloud: more texts, a higher rank
    assert middle.matched_rank == pytest.approx(short.matched_rank, rel=0.1)
    assert long.matched_rank is None  # ten texts
    assert all(bin.effective_rank <= bin.count - 1 for bin in curve.bins)


def test_more_dimensions_than_texts_leave_no_rounding_in_the_spectrum():
    rows, lengths = corpus(30, 50)
    curve = curve_of(rows, lengths, (0,))
    assert (curve.bins[0].spectrum > 0).sum() == 29
    assert curve_of(np.ones((30, 50)), lengths, (0,)).bins[0].effective_rank == 0


# --- intervals ----------------------------------------------------------------------------------------------------


def test_intervals_by_resampling_in_a_loop():
    rows, lengths = corpus(12)
    curve = curve_of(rows, lengths, (0,), resamples=40, seed=3)
    collapse = LengthCollapse((0,), seed=3)
    collapse.update(rows, lengths)
    sample = collapse._clouds[0].sample
    x, n = sample.rows, len(sample)
    cosines, evenness = [], []
    for own in bootstrap(n, 40, (3, 0))[0]:
        pairs = [x[i] @ x[j] for a, i in enumerate(own) for j in own[a + 1 :] if i != j]
        cosines.append(mean(pairs))
        evenness.append(math.log(mean(math.exp(-2 * (2 - 2 * c)) for c in pairs)))
    assert curve.bins[0].cosine.interval == pytest.approx(np.quantile(cosines, [0.025, 0.975]), rel=1e-10)
    assert curve.bins[0].uniformity.interval == pytest.approx(np.quantile(evenness, [0.025, 0.975]), rel=1e-10)
    ranks, slopes = [], []
    for own in bootstrap(n, 40, (3, 1))[0]:
        near = [mean(x[i] @ x[j] for j in own if j != i) for i in own]
        ranks.append(stats.spearmanr(sample.lengths[own], np.round(near, 12)).statistic)
        slopes.append(np.polyfit(np.log(sample.lengths[own]), near, 1)[0])
    assert curve.rank_correlation.interval == pytest.approx(np.quantile(ranks, [0.025, 0.975]), rel=1e-9)
    assert curve.slope.interval == pytest.approx(np.quantile(slopes, [0.025, 0.975]), rel=1e-9)
    doubled = np.array(curve.slope.interval) * math.log(2)
    assert curve.slope_per_doubling.interval == pytest.approx(doubled, rel=1e-12)


def test_resampling_leaves_what_was_not_sampled_as_it_is():
    rows, lengths = corpus(60)
    collapse = LengthCollapse(EDGES, sample=7)
    collapse.update(rows, lengths)
    sample = collapse._clouds[1].sample
    near = collapse._nearness(sample, bootstrap(7, 5, (0,))[1])
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
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
    assert few.interval[0] < few.value < few.interval[1]
    assert many.interval[0] < many.value < many.interval[1]
    assert np.diff(few.interval) / np.diff(many.interval) == pytest.approx(10, rel=0.25)
    narrow, wide = (curve_of(rows, lengths, (0,), confidence=share).bins[0].cosine.interval for share in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(("n", "sample"), [(60, 1000), (300, 60)])
def test_intervals_hold_the_truth_as_often_as_they_say(n, sample):
    # The truth by a million texts: the mean cosine of independent texts is the squared norm of the mean direction.
    rows, _ = corpus(1_000_000, 5, seed=99, growth=0, shift=1)
    truth = np.square((rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(0)).sum()
    hits = {"cosine": 0, "slope": 0, "rank": 0}
    for seed in range(100):
        curve = curve_of(*corpus(n, 5, seed, growth=0, shift=1), (0,), sample=sample, resamples=100)
        hits["cosine"] += curve.bins[0].cosine.interval[0] <= truth <= curve.bins[0].cosine.interval[1]
        hits["slope"] += curve.slope.interval[0] <= 0 <= curve.slope.interval[1]
        hits["rank"] += curve.rank_correlation.interval[0] <= 0 <= curve.rank_correlation.interval[1]
    assert all(87 <= count <= 100 for count in hits.values()), hits  # of 95, three and a half deviations down


# --- planted and healthy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [1000, 100])
def test_planted_collapse_is_found(sample):
    curve = curve_of(*corpus(600, 16, growth=0.5), sample=sample)
    for estimate in (curve.difference, curve.slope, curve.slope_per_doubling, curve.rank_correlation):
        assert 0 < estimate.interval[0] < estimate.value < estimate.interval[1]
    cosines, distances = ([getattr(bin, name) for bin in curve.bins] for name in ("cosine", "distance"))
    assert cosines[0].interval[1] < cosines[2].interval[0]
    assert distances[0] > distances[1] > distances[2]
    assert curve.bins[0].uniformity.value < curve.bins[2].uniformity.value


def test_a_healthy_cloud_is_left_alone():
    covered = 0
    for seed in range(30):
        curve = curve_of(*corpus(100, 8, seed, growth=0, shift=0), resamples=100)
        covered += all(
            estimate.interval[0] <= 0 <= estimate.interval[1]
            for estimate in (curve.difference, curve.slope, curve.rank_correlation, curve.bins[1].cosine)
        )
    assert covered >= 27  # where there is no mean direction, intervals are rather too wide


def test_averages_of_more_words_lie_closer_together():
    generator = np.random.default_rng(0)
    table = generator.standard_normal((500, 16)) + 0.3
    lengths = generator.integers(1, 100, size=200)
    ids = [generator.integers(0, 500, size=n).tolist() for n in lengths]
    curve = curve_of(word_averages(table, ids), lengths)
    assert curve.slope.interval[0] > 0
    assert curve.difference.interval[0] > 0.2


# --- laws ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(1e-3, 1e3), order=st.randoms(use_true_random=False))
def test_rotation_scale_and_order_do_not_matter(seed, scale, order):
    rows, lengths = corpus(40, 5, seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))
    plain = curve_of(rows, lengths, resamples=20)
    places = order.sample(range(40), 40)
    same(plain, curve_of(rows[places], lengths[places], resamples=20))
    # Another basis or scale gives texts other keys: intervals and subsamples are others, all else is as before.
    for moved in (rows @ turn, rows * scale):
        same(plain, curve_of(moved, lengths, resamples=20), 1e-9, but=("interval", "matched_rank"))


def test_lengths_count_by_their_order_and_their_ratio():
    rows, lengths = corpus()
    curve, longer = curve_of(rows, lengths, (0,)), curve_of(rows, lengths * 10, (0,))
    assert longer.rank_correlation.value == pytest.approx(curve.rank_correlation.value, rel=1e-12)
    assert longer.slope.value == pytest.approx(curve.slope.value, rel=1e-10)


# --- streams ------------------------------------------------------------------------------------------------------


def batches(n, size):
    return [slice(start, start + size) for start in range(0, n, size)]


@pytest.mark.parametrize("size", [1, 7, 64, 500])
@pytest.mark.parametrize("sample", [30, 1000])
def test_batches_and_their_order_leave_no_trace(size, sample):
    rows, lengths = corpus(500)
    rows = rows.astype(np.float32)
    whole = LengthCollapse(EDGES, sample=sample, resamples=50)
    whole.update(rows, lengths)
    order = np.random.default_rng(size).permutation(500)
    parts = LengthCollapse(EDGES, sample=sample, resamples=50)
    for part in batches(500, size)[::-1]:
        parts.update(rows[order][part], lengths[order][part])
    for place in range(3):
        for name in ("keys", "rows", "lengths"):
            one, other = (getattr(collapse._clouds[place].sample, name) for collapse in (whole, parts))
            assert one.tobytes() == other.tobytes()
    same(whole.compute(), parts.compute(), 1e-12)
    same(whole.compute(), whole.compute(), 0)


def test_copies_of_texts_are_texts():
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
    assert all(other[name] != value for name, value in one.items() if "interval" in name)
    same(
        *(curve_of(rows, lengths, seed=seed, resamples=99) for seed in (1, 2)), 1e-12, but=("interval", "matched_rank")
    )
    assert curve_of(rows, lengths, sample=50, seed=1).slope.value != curve_of(rows, lengths, sample=50).slope.value


@pytest.mark.parametrize("sample", [30, 1000])
def test_merging_is_reading_on(sample):
    rows, lengths = corpus(500)
    whole = LengthCollapse(EDGES, sample=sample, resamples=50)
    whole.update(rows, lengths)
    parts = [LengthCollapse(EDGES, sample=sample, resamples=50) for _ in range(3)]
    for collapse, where in zip(parts, (lengths < 30, lengths >= 50, (lengths >= 30) & (lengths < 50)), strict=True):
        collapse.update(rows[where], lengths[where])
    empty = LengthCollapse(EDGES, sample=sample, resamples=50)
    untouched = pickle.dumps(parts[1])
    for other in (parts[2], empty, pickle.loads(pickle.dumps(parts[0])), parts[1]):  # noqa: S301  our own bytes
        empty.merge(other) if other is not empty else None
    assert pickle.dumps(parts[1]) == untouched
    same(whole.compute(), empty.compute(), 1e-12)
    empty.update(rows, lengths)
    assert pickle.dumps(parts[1]) == untouched
    assert empty.compute().texts == 1000


def test_a_long_stream_stays_small():
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
    assert late < 4 * 2**20  # ten bins of 500 texts and one matrix; the embeddings have 51 MB
    assert sum(cloud.count for cloud in collapse._clouds.values()) == 200_000


def test_any_kind_of_array_will_do():
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


# --- what too few texts leave undefined ---------------------------------------------------------------------------


def test_bins_of_one_text_and_of_none():
    rows, lengths = corpus(40)
    lengths = np.where(lengths < 60, 5, lengths)
    lengths[0] = 40
    curve = curve_of(rows, lengths, (0, 20, 30, 60))
    alone, empty = curve.bins[2], curve.bins[1]
    assert (alone.count, alone.mean_length, alone.cosine, alone.uniformity) == (1, 40, None, None)
    assert alone.distance > 0
    assert (alone.spectrum, alone.effective_rank, alone.matched_rank) == (None, None, None)
    assert (empty.count, empty.mean_length, empty.distance, empty.cosine) == (0, None, None, None)
    assert curve.between[2][2] is None
    assert curve.between[1] == (None,) * 4
    assert isinstance(curve.between[2][3], float)
    assert curve.sampled == 39
    expected = curve_of(rows[1:], lengths[1:], (0, 60))
    assert curve.slope.value == pytest.approx(expected.slope.value, rel=1e-10)
    assert curve.difference.value == pytest.approx(expected.difference.value, rel=1e-10)


@pytest.mark.parametrize(
    ("lengths", "edges", "notes"),
    [
        ([7] * 12, (0,), ["1 of 1 bins have two texts", "no slope: all texts that share a bin have 7 tokens"]),
        ([7] * 12, (0, 50), ["1 of 2 bins have two texts", "no slope: all texts that share a bin have 7 tokens"]),
        (
            [7] * 11 + [70],
            (0, 50),
            ["1 of 2 bins have two texts", "no slope: all texts that share a bin have 7 tokens"],
        ),
        ([7], (0, 50), ["0 of 2 bins have two texts", "no slope: no bin has two texts"]),
    ],
)
def test_what_is_undefined_is_said(lengths, edges, notes):
    curve = curve_of(corpus(len(lengths))[0], lengths, edges)
    assert (curve.difference, curve.slope, curve.slope_per_doubling, curve.rank_correlation) == (None,) * 4
    assert len(curve.notes) == len(notes)
    for note, expected in zip(curve.notes, notes, strict=True):
        assert expected in note


def test_one_direction_only():
    curve = curve_of(np.full((40, 3), 0.7), np.arange(1, 41), (0, 20))
    assert curve.slope == curve.slope_per_doubling == Estimate(0, (0, 0))
    assert curve.rank_correlation is None
    assert curve.notes == ("no rank correlation: each text is as close to the others of its bin as any other is.",)
    assert curve.bins[0].cosine.value == pytest.approx(1)
    assert curve.bins[0].cosine.value <= 1
    assert curve.bins[0].distance == pytest.approx(0, abs=1e-7)
    assert all(
        value is None or not isinstance(value, float) or math.isfinite(value) for value in figures(curve).values()
    )


def test_few_texts_have_no_interval():
    rows, lengths = corpus(24)
    lengths[:] = [5] * 9 + [50] * 15
    curve = curve_of(rows, lengths, (0, 30))
    assert curve.bins[0].cosine.interval is None
    assert curve.bins[0].uniformity.interval is None
    assert curve.bins[1].cosine.interval is not None
    assert curve.difference.interval is None
    assert curve.slope.interval is not None
    assert curve_of(rows[:5], [1, 2, 3, 4, 5], (0,)).slope.interval is None
    assert curve_of(rows, lengths, (0, 30), sample=2).bins[1].cosine.interval is None


# --- what is refused ----------------------------------------------------------------------------------------------

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
        (ROWS.astype(int), [20, 20, 20], "dtype int64"),
    ],
)
def test_bad_batches_change_nothing(embeddings, lengths, message):
    rows, tokens = corpus(40, 2)
    collapse = LengthCollapse((10,))
    collapse.update(rows, tokens + 10)
    before = collapse.compute()
    with pytest.raises(BadInput, match=message):
        collapse.update(embeddings, lengths)
    same(before, collapse.compute(), 0)
    fresh = LengthCollapse((10,))
    if "earlier ones" not in message:
        with pytest.raises(BadInput, match=message):
            fresh.update(embeddings, lengths)
    fresh.update(np.ones((2, 7)), [20, 20])  # not even the width is settled


def test_nothing_read():
    collapse = LengthCollapse((0,))
    with pytest.raises(BadInput, match="no embeddings yet: call update"):
        collapse.compute()
    for nothing in (np.zeros((0, 4)), np.zeros(0), torch.zeros(0, 4), []):
        collapse.update(nothing, [])
    with pytest.raises(BadInput, match="no embeddings yet"):
        collapse.compute()
    collapse.update(ROWS, [1, 2, 3])
    collapse.update(np.zeros((0, 2)), np.zeros(0, int))
    assert collapse.compute().texts == 3


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
def test_bad_settings(edges, options, message):
    with pytest.raises(BadInput, match=message):
        LengthCollapse(edges, **options)


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ((0, 5), {}, r"edges is \(0,\) here and \(0, 5\) there: merge accumulators made alike"),
        ((0,), {"sample": 5}, "sample is 1000 here and 5 there"),
        ((0,), {"seed": 5}, "seed is 0 here and 5 there"),
    ],
)
def test_what_cannot_be_merged(edges, options, message):
    with pytest.raises(BadInput, match=message):
        LengthCollapse((0,)).merge(LengthCollapse(edges, **options))
    one, other = LengthCollapse((0,)), LengthCollapse((0,))
    one.update(ROWS, [1, 2, 3])
    other.update(np.ones((3, 7)), [1, 2, 3])
    with pytest.raises(BadInput, match="7 dimensions, earlier ones 2"):
        one.merge(other)
