"""Summaries hold what they say of the arrays that they were made of."""

import math
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cenote.data.texts import Text
from cenote.diagnosis import summaries
from cenote.diagnosis.reading import Reading
from cenote.diagnosis.summaries import (
    Compared,
    Excerpts,
    compare_all_pairs,
    length_curve,
    measure_change,
    summarise,
    summarise_all_pairs,
    summarise_given_pairs,
    summarise_lengths,
    summarise_null,
    summarise_sigma_a,
)
from cenote.functional.concentration import Known
from cenote.functional.intervals import change_of_difference, change_of_mean, mean_over_pairs
from cenote.functional.second_order import SecondOrder, socm, split_halves
from cenote.records import Change, Estimate, Spread
from cenote.surgery.profiles import Undefined


def test_spread_and_histogram():
    values = np.arange(101) / 100
    assert summarise(values) == Spread(101, 0.5, 0.1, 0.5, 0.9)
    found = summaries._histogram([0.1, 0.2, 0.9, 1.0], [0, 0.5, 1.0])
    assert (found.edges, found.counts) == ((0.0, 0.5, 1.0), (2, 2))


def test_lengths():
    found = summarise_lengths(np.array([10, 300, 20]), np.array([10, 256, 20]), 256)
    assert (found.cut, found.limit) == (1, 256)
    assert found.unseen == pytest.approx(44 / 330)
    assert sum(found.histogram.counts) == 3
    assert sum(summarise_lengths(np.array([7, 7]), np.array([7, 7]), None).histogram.counts) == 2


def test_what_is_cut_computed_by_hand():
    whole, read = np.array([10, 20, 30]), np.array([10, 15, 10])
    found = summarise_lengths(whole, read, 16, 8)
    assert (found.cut, found.unseen, found.longest) == (2, pytest.approx(25 / 60), pytest.approx(20 / 25))
    assert found.declared == 8
    for limit, declared in ((16, 16), (16, 32), (16, None), (None, 8)):
        assert summarise_lengths(whole, read, limit, declared).declared is None


def test_excerpts_keep_each_text_once_and_short():
    excerpts = Excerpts()
    places = [excerpts.place(Text(*text)) for text in (("a", "one"), ("b", "x " * 400), ("a", "one"))]
    assert places == [0, 1, 0]
    kept = excerpts.kept()
    assert [excerpt.id for excerpt in kept] == ["a", "b"]
    assert len(kept[1].text) == 240
    assert kept[1].text.endswith("…")


def test_a_long_text_among_pairs_costs_its_own_length():
    pairs = [(f"text {row}", "light " * 20_000 if row == 7 else "stone") for row in range(300)]
    found = SecondOrder(*np.random.default_rng(0).random((3, 300)))
    tracemalloc.start()
    try:
        found = summarise_given_pairs(found, pairs, range(300), Excerpts(), 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.texts, found.pairs) == (302, 300)
    assert peak < 20_000_000  # an array of strings as wide as the longest is 144 MB for either side


def test_pairs_are_in_condensed_order():
    generator = np.random.default_rng(0)
    tokens = {row: generator.normal(size=(4 + row, 3)) + 2 for row in (1, 3, 4)}
    reading = Reading(np.zeros(5, np.int64), np.zeros((5, 3), np.float32), tokens)
    texts = [Text(str(row), f"text {row}") for row in range(5)]
    excerpts = Excerpts()
    compared = compare_all_pairs(reading, [1, 2, 3, 4], lambda *_: None)
    assert compared.rows == [1, 3, 4]
    found = summarise_all_pairs(compared, texts, excerpts, 0)
    assert found.mean == Estimate(found.socm.mean, None, None)
    kept = excerpts.kept()
    shown = [(kept[pair.first].id, kept[pair.second].id) for pair in found.shown]
    assert shown == [("1", "3"), ("1", "4"), ("3", "4")]
    for pair in found.shown:
        alone = socm(*([tokens[int(kept[place].id)]] for place in (pair.first, pair.second)))
        assert pair.socm == pytest.approx(alone.socm[0], rel=1e-5)
    assert found.worst == (min(found.shown, key=lambda pair: pair.d_mu),)
    assert compare_all_pairs(reading, [1], lambda *_: None) is None


def worst_by_loop(values, d_mu, first, second):
    """The highest values first, of the tenth whose means lie closest, while no text is used a third time."""
    most = np.quantile(d_mu, 0.1)
    close = [row for row in range(len(values)) if d_mu[row] <= most]
    rounded = [float(f"{value:.9g}") for value in values]
    uses, found = {}, []
    for row in sorted(close, key=lambda row: (-rounded[row], row)):
        sides = first[row], second[row]
        if len(found) < 10 and all(uses.get(side, 0) < 2 for side in sides):
            found.append(row)
            for side in sides:
                uses[side] = uses.get(side, 0) + 1
    return found


@pytest.mark.parametrize("texts", [2, 5, 11, 80])
def test_the_worst_pairs_are_those_of_a_plain_loop(texts):
    """Values that agree in nine digits stand in the order in which they came, however many do."""
    generator = np.random.default_rng(texts)
    first, second = np.triu_indices(texts, 1)
    count = len(first)
    for spread in (1, 1e-3, 1e-8, 1e-10, 0):
        values = 0.3 + spread * generator.random(count)
        values[generator.random(count) < 0.5] = values[0]
        for d_mu in (generator.random(count), np.zeros(count)):
            found = summaries._worst(values, d_mu, first, second)
            assert found == worst_by_loop(values.tolist(), d_mu.tolist(), first.tolist(), second.tolist())
            assert 1 <= len(found) <= 10


def test_one_text_does_not_fill_the_list_of_worst_pairs():
    """Nor do pairs whose means lie far apart, whatever their SOCM: they cannot be confused."""
    first, second = np.triu_indices(30, 1)
    far = (first == 3) | (second == 3)
    values, d_mu = np.where((first == 0) | far, 5.0, 0.1), np.where(far, 0.5, 0.001)
    found = summaries._worst(values, d_mu, first, second)
    assert [int(first[row]) for row in found].count(0) == 2
    assert not far[found].any()
    assert len(found) == 10


def test_texts_are_looked_up_for_the_pairs_that_are_shown_only():
    asked = []

    class Texts(list):
        def __getitem__(self, place):
            asked.append(place)
            return super().__getitem__(place)

    generator = np.random.default_rng(0)
    found = SecondOrder(*generator.random((3, 70 * 69 // 2)))
    texts = Texts(Text(str(row), f"text {row}") for row in range(70))
    made = summarise_all_pairs(Compared(list(range(70)), found), texts, Excerpts(), 0)
    assert (made.pairs, len(made.shown), len(made.worst)) == (2415, 1200, 10)
    assert len(asked) == 2 * (1200 + len(made.worst))


def test_theorem_3_is_of_each_text_and_head():
    """Texts of 2, 10, 1 and 60 tokens, two heads; one token has no logits that vary."""
    lengths, variances = np.array([2, 10, 1, 60]), np.array([[0.5, 1.0], [2.0, 0.1], [np.nan, np.nan], [1.5, 3.0]])
    each = [
        [math.sqrt(n / (2 * math.sqrt(1 + math.exp(-2 * s)) * (n - 1) ** 1.5 + 1)) for s in row]
        for n, row in zip(lengths.tolist(), variances.tolist(), strict=True)
    ]
    defined = torch.tensor(~np.isnan(variances))
    bound = Known(torch.tensor(each, dtype=torch.float64)[defined], defined)
    layer = SimpleNamespace(sigma_a=torch.tensor([[0.1, 0.3], [0.3, 0.5], [0.0, 0.0], [0.6, 0.8]]), sigma_a_bound=bound)
    reading = Reading(np.array([7, *lengths]), np.zeros((5, 3)), traced=[1, 2, 3, 4], layers=[layer])
    short, long = summarise_sigma_a(reading)
    assert (short.low, short.high, short.count, long.low, long.count) == (0, 50, 3, 50, 1)
    assert (short.sigma_a, long.sigma_a) == (pytest.approx(0.2), pytest.approx(0.7))
    assert short.theorem3 == pytest.approx(np.mean(each[:2]), rel=1e-8)
    assert long.theorem3 == pytest.approx(np.mean(each[3]), rel=1e-8)
    layer.sigma_a_bound = Undefined("not asked for")
    assert [one.theorem3 for one in summarise_sigma_a(reading)] == [None, None]


def test_closeness_is_that_of_all_pairs():
    rows = np.random.default_rng(0).normal(size=(30, 5)) + 0.5
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = [unit[a] @ unit[b] for a in range(30) for b in range(a)]
    found = summaries._closeness(rows.astype(np.float32), 0)
    assert found.cosine.count == len(cosines)
    assert (found.cosine.mean, found.deviation) == pytest.approx((np.mean(cosines), np.std(cosines)), abs=1e-6)
    assert summaries._closeness(rows[:1], 0) is None


def test_a_change_is_of_the_same_texts():
    generator = np.random.default_rng(1)
    lengths = np.array([5] * 20 + [50] * 20)
    first, second = (Reading(lengths, generator.normal(size=(40, 4)).astype(np.float32)) for _ in range(2))
    changed = measure_change((first, None), (second, None), (0, 20), 1)
    curves = [length_curve(reading.vectors, lengths, (0, 20), 0) for reading in (first, second)]
    assert changed.difference.value == pytest.approx(curves[1].difference.value - curves[0].difference.value, abs=1e-8)
    assert changed.difference.low < changed.difference.value < changed.difference.high
    for place, one in enumerate((changed.short, changed.long)):
        ends = [curve.bins[place].cosine.value for curve in curves]
        assert one.value == pytest.approx(ends[1] - ends[0], abs=1e-8)
        assert one.low < one.value < one.high
    assert changed.long.value - changed.short.value == pytest.approx(changed.difference.value, abs=1e-8)
    assert changed.socm is None
    assert measure_change((first, None), (second, None), (0,), 1) == Change(None, None, None, None)


def test_intervals_of_five_changes_hold_together():
    """Each fails in one of a hundred cases."""
    generator = np.random.default_rng(1)
    rows = [generator.normal(size=(40, 4)).astype(np.float32) for _ in range(2)]
    tokens = [{row: generator.normal(size=(6, 4)) + 2 for row in range(12)} for _ in range(2)]
    readings = [Reading(np.array([5] * 20 + [50] * 20), *both) for both in zip(rows, tokens, strict=True)]
    compared = [compare_all_pairs(reading, range(12), lambda *_: None) for reading in readings]
    found = measure_change(*zip(readings, compared, strict=True), (0, 20), 5)
    of_socm = compared[1].found.socm - compared[0].found.socm
    wanted = {
        "difference": change_of_difference(*rows, range(20), range(20, 40), confidence=0.99),
        "short": change_of_mean(rows[0][:20], rows[1][:20], confidence=0.99),
        "long": change_of_mean(rows[0][20:], rows[1][20:], confidence=0.99),
        "socm": mean_over_pairs(of_socm, *np.triu_indices(12, 1), confidence=0.99),
    }
    for name, one in wanted.items():
        assert tuple(vars(getattr(found, name)).values()) == pytest.approx(tuple(vars(one).values()), rel=1e-6), name


def test_the_change_of_second_order_collapse_is_that_of_every_pair():
    generator = np.random.default_rng(2)
    rows, lengths = [0, 2, 3, 5], np.full(6, 5)
    tokens = [{row: generator.normal(size=(6, 4)) + shift for row in rows} for shift in (1, 3)]
    readings = [Reading(lengths, np.zeros((6, 4), np.float32), some) for some in tokens]
    compared = [compare_all_pairs(reading, rows, lambda *_: None) for reading in readings]
    before, after = (
        [socm([some[a]], [some[b]]).socm[0] for place, a in enumerate(rows) for b in rows[place + 1 :]]
        for some in tokens
    )
    changed = measure_change(*zip(readings, compared, strict=True), (0,), 1).socm
    assert abs(changed.value) > 0.01
    assert changed.value == pytest.approx(np.mean(np.subtract(after, before)), rel=1e-4)
    fewer = compare_all_pairs(readings[1], rows[:3], lambda *_: None)
    for other in (fewer, None):
        assert measure_change((readings[0], compared[0]), (readings[1], other), (0,), 1).socm is None


def test_between_is_of_the_longest_and_the_shortest_texts():
    generator = np.random.default_rng(3)
    lengths = generator.permutation([5] * 6 + [30] * 5 + [80] * 4)
    vectors = generator.normal(size=(15, 4)) + lengths[:, None] / 40
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = [unit[a] @ unit[b] for a in range(15) for b in range(15) if (lengths[a], lengths[b]) == (80, 5)]
    assert len(cosines) == 24
    assert length_curve(vectors, lengths, (0, 20, 60), 0).between == pytest.approx(np.mean(cosines), abs=1e-6)
    assert length_curve(vectors, lengths, (0,), 0).between is None


# Halves of texts.


def clouds(count, tokens=30, width=200):
    generator = np.random.default_rng(0)
    return {row: 2 + generator.normal(size=(tokens + row % 3, width)).astype(np.float32) for row in range(count)}


def null_of(tokens, seed=0):
    reading = Reading(np.zeros(len(tokens), np.int64), np.zeros((len(tokens), 3), np.float32), tokens)
    return summarise_null(reading, range(len(tokens) + 5), seed)


def test_halves_are_those_of_the_functions():
    tokens = clouds(12)
    found = null_of(tokens)
    order = sorted(tokens, key=lambda row: (len(tokens[row]), row))
    first, second = split_halves([tokens[row] for row in order], 0)
    same, different = socm(first, second), socm(first[:-1], second[1:])
    assert found.texts == 12
    assert found.same.value == pytest.approx(same.socm.mean(), rel=1e-5)
    assert found.different.value == pytest.approx(different.socm.mean(), rel=1e-5)
    assert found.same.low < found.same.value < found.same.high
    neighbours = mean_over_pairs(different.socm, np.arange(11), np.arange(1, 12))  # most texts stand in two pairs
    assert tuple(vars(found.different).values()) == pytest.approx(tuple(vars(neighbours).values()), rel=1e-5)
    assert (found.same_normalised, found.different_normalised) == pytest.approx(
        (same.normalised.mean(), different.normalised.mean()), rel=1e-5
    )


def test_few_tokens_alone_make_second_order_collapse():
    """Nothing sets these texts apart: halves of one text have as much of it as halves of two."""
    found = null_of(clouds(40))
    assert found.same.value > 0.05
    assert found.same.value == pytest.approx(found.different.value, rel=0.05)
    assert found.same_normalised > 0.7  # of at most 1


def test_texts_too_short_to_split_are_left_out_of_the_null():
    tokens = clouds(14)
    tokens |= {row: cloud[:3] for row, cloud in tokens.items() if row < 3}
    assert null_of(tokens).texts == 11
    tokens |= {row: cloud[:3] for row, cloud in tokens.items() if row < 5}
    assert null_of(tokens) is None
