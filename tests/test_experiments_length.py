"""The arithmetic of the experiments on length: by hand, by loops, and by other libraries."""

import doctest
import importlib
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[1]))

from cenote.encoding.tokens import Tokens
from cenote.functional.concentration import Known
from cenote.functional.spectrum import sigma_a_bound
from cenote.records import Estimate
from cenote.surgery.profiles import Undefined
from experiments.lab import Finding, judge
from experiments.length import maps, sigma
from experiments.length.accuracy import (
    Texts,
    by_length,
    by_reading,
    by_temperature,
    difference_of_means,
    rows_by_tokens,
)
from experiments.length.corollary import cosine_bound
from experiments.length.layers import findings
from experiments.length.maps import evenness
from experiments.length.powers import ratios_by_power
from experiments.length.reading import known, pair_cosines, pair_sides
from experiments.length.sigma import Heads, printed_bound
from experiments.length.sigma import findings as findings_of_sigma
from experiments.length.words import shuffle_words

DOCUMENTED = (
    "lab",
    "data_sets",
    "poolings.positions",
    *map("length.{}".format, ("accuracy", "corollary", "maps", "powers", "repeated", "sigma")),
)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_examples_of_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"experiments.{name}"))
    assert result.attempted
    assert not result.failed


def test_powers_of_attention_against_matrix_powers(generator):
    attention = torch.tensor(generator.normal(size=(2, 5, 5))).softmax(-1)
    tokens = generator.normal(size=(5, 3))
    found = ratios_by_power(attention, torch.tensor(tokens), 4)
    for head, power in np.ndindex(2, 5):
        signal = np.linalg.matrix_power(attention[head].numpy(), power) @ tokens
        constant = np.tile(signal.mean(0), (5, 1))
        expected = np.linalg.norm(signal - constant) / np.linalg.norm(constant)
        assert found[head, power].item() == pytest.approx(expected)


def test_evenness_against_scipy(generator):
    attention = torch.tensor(generator.normal(size=(3, 7, 7))).softmax(-1)
    expected = [np.mean([stats.entropy(row) / math.log(7) for row in head]) for head in attention.numpy()]
    assert evenness(attention).tolist() == pytest.approx(expected)


def test_theorem_3_as_printed_rises_with_length():
    assert printed_bound(np.array([1.0]), np.array([3.0])) == pytest.approx(math.sqrt(1 / (2 * math.sqrt(2))))
    bounds = printed_bound(np.arange(16.0, 4096.0), np.full(4080, 1.0))
    assert (np.diff(bounds) > 0).all()


def test_theorem_3_as_derived_falls_with_length(generator):
    lengths = np.repeat([16.0, 64.0, 256.0], 8)
    variance = generator.uniform(0.9, 1.1, (24, 2))
    wide = np.broadcast_to(lengths[:, None], variance.shape).copy()
    heads = Heads(variance, printed_bound(wide, variance), sigma_a_bound(wide, variance).numpy())
    found = {one.claim: one.holds for one in findings_of_sigma(lengths, {1.0: heads, 0.8: heads}, [])}
    assert found["derived falls"] is True
    assert found["printed falls"] is False


def test_what_arithmetic_gives_is_no_finding_about_a_model():
    named = {"sharp": maps.EXPERIMENT, "even": maps.EXPERIMENT, "derived falls": sigma.EXPERIMENT}
    for name, experiment in named.items():
        claim = experiment.claims[name]
        assert judge(claim, {"m": [Finding(name, 0.1, 0.05, 0.15, True)]}) == "by construction"


def test_the_bound_of_the_corollary_as_the_paper_writes_it():
    constant, varying = 2.0, [1.0, 3.0, 0.5]
    expected = [
        constant**2 / (math.sqrt(constant**2 + varying[i] ** 2) * math.sqrt(constant**2 + varying[j] ** 2))
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert cosine_bound((np.array(varying) / constant) ** 2) == pytest.approx(expected)


def test_cosines_of_pairs_in_their_order(generator):
    vectors = generator.normal(size=(4, 3))
    first, second = pair_sides(4)
    expected = [vectors[i] @ vectors[j] for i, j in zip(first, second, strict=True)]
    assert pair_cosines(vectors) == pytest.approx(expected)


def test_shuffled_words_are_the_same_words_in_texts_of_the_same_lengths(generator):
    ids = np.arange(20, dtype=np.int32)
    tokens = Tokens({"input_ids": ids, "attention_mask": ids * 0 + 1}, np.array([0, 5, 20]), np.array([5, 15]), {})
    shuffled = shuffle_words(tokens, 0)
    assert sorted(shuffled.columns["input_ids"]) == ids.tolist() != shuffled.columns["input_ids"].tolist()
    assert shuffled.lengths.tolist() == [5, 15]


def test_a_measure_that_a_text_does_not_have_is_not_known():
    values = torch.tensor([1.0, 2.0])
    assert known(values).tolist() == [1, 2]
    assert known(Known(values, torch.tensor([[True, True]]))).tolist() == [[1, 2]]
    assert known(Known(values, torch.tensor([True, False, True]))) is None
    assert known(Undefined("no attention")) is None


def test_welchs_interval_by_its_formula(generator):
    first, second = generator.normal(size=30), generator.normal(1, 2, size=12)
    errors = [one.var(ddof=1) / len(one) for one in (first, second)]
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / 29 + errors[1] ** 2 / 11)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(sum(errors))
    found = difference_of_means(first, second)
    difference = second.mean() - first.mean()
    assert (found.low, found.value, found.high) == pytest.approx((difference - reach, difference, difference + reach))


def test_equal_items_have_no_interval():
    assert difference_of_means(np.zeros(20), np.ones(20)).low is None


def test_a_difference_of_means_by_sources_has_the_interval_of_resampled_sources(generator):
    """Forty meetings, whose passages are alike: each is resampled with all of them."""
    sources = np.repeat(np.arange(40), 20)
    long = generator.random(800) < 0.5
    values = generator.normal(size=(2, 40))[long.astype(int), sources] + generator.normal(size=800) + 0.3 * long
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(sources == one) for one in generator.integers(0, 40, 40)])
        drawn.append(values[rows][long[rows]].mean() - values[rows][~long[rows]].mean())
    apart = np.concatenate([sources[~long], sources[long]])
    found = difference_of_means(values[~long], values[long], apart)
    assert found.value == pytest.approx(values[long].mean() - values[~long].mean())
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.05)
    alone = difference_of_means(values[~long], values[long])
    assert found.high - found.low > 1.2 * (alone.high - alone.low)


def test_findings_of_a_classification_that_gets_worse_with_length(generator):
    tokens = np.arange(10.0, 310.0)
    chance = generator.random(300)
    texts = Texts(tokens, (chance > tokens / 310).astype(float), 0.3 + tokens / 1000 + chance / 100)
    assert {one.claim: one.holds for one in by_length(texts, 200)} == {
        "falls": True,
        "entropy": True,
        "follows": True,
        "whole": True,
    }
    better = Texts(tokens, np.minimum(texts.accuracy + chance, 1), texts.entropy - chance / 10)
    assert [one.holds for one in by_temperature(texts, better)] == [True, True]
    assert [one.holds for one in by_reading(texts, better, 200)] == [False]


def test_few_texts_that_differ_do_not_decide_a_change_of_accuracy():
    """Four of twelve all gain: the interval lies above 0, but p is .125."""
    plain = Texts(np.full(12, 200.0), np.zeros(12), np.zeros(12))
    gained = Texts(plain.tokens, np.where(np.arange(12) < 4, 0.5 + np.arange(12) / 100, 0.0), plain.entropy)
    (found,) = by_reading(plain, gained, 200)
    assert found.low > 0
    assert found.holds is None


@pytest.mark.parametrize(("layers", "trend"), [(4, None), (12, True)])
def test_findings_of_layers(generator, layers, trend):
    rate = generator.normal(size=(12, layers)) / 10 + np.arange(layers)
    long = {
        "filter_rate": rate,
        "filter_bound": rate + 1 + 1.5 * (np.arange(layers) % 2),  # of neighbours the order is another
        "attention_rate": rate - 1,
        "attention_bound": rate - 1 - generator.random((12, 1)),
    }
    found = findings(long, {"filter_rate": rate, "attention_rate": rate - generator.random((12, 1))})
    expected = {"bound": True, "condition": False, "trend": trend, "theorem": False, "length": True}
    assert {one.claim: one.holds for one in found} == expected
    assert not findings({"filter_rate": rate}, {"filter_rate": rate})


def test_texts_of_one_interval_are_shown_by_quarters():
    def part(division, low, high, known=True):
        return SimpleNamespace(
            division=division,
            low=low,
            high=high,
            items=40,
            score=Estimate(low / 100, 0.0, 1.0) if known else None,
            entropy=1.0,
        )

    quarters = [part("quarter", 3.0, 9.0), part("quarter", 9.0, 40.0)]
    one = SimpleNamespace(by_length=[part("interval", 0.0, 99.0), *quarters])
    assert [(row["tokens"], row["accuracy"]) for row in rows_by_tokens(one, 0.8)] == [("3-9", 0.03), ("9-40", 0.09)]
    few = SimpleNamespace(by_length=[part("interval", 100.0, 199.0, known=False), *one.by_length])
    assert [row["tokens"] for row in rows_by_tokens(few, 1.0)] == ["3-9", "9-40"]
    unknown = SimpleNamespace(by_length=[part("interval", 0.0, 99.0), part("quarter", 3.0, 9.0, known=False)])
    assert [row["tokens"] for row in rows_by_tokens(unknown, 1.0)] == ["0-99"]
    open_above = part("interval", 500.0, None)
    several = SimpleNamespace(by_length=[*one.by_length, part("interval", 100.0, 199.0, known=False), open_above])
    assert [row["tokens"] for row in rows_by_tokens(several, 1.0)] == ["0-99", "500+"]
