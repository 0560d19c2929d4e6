"""Values of items in scores that are no means, against scipy and scikit-learn, derivatives by loops, and bootstraps."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import v_measure_score

from cenote.errors import BadInput
from cenote.functional.influence import pair_values, spearman_values, v_measure_values, values_over_draws
from cenote.functional.intervals import mean_over_pairs


def ranked(count, seed=0, decimals=1):
    generator = np.random.default_rng(seed)
    first = generator.normal(size=count)
    return first.round(decimals), (first + generator.normal(size=count)).round(decimals)


def clustered(count, seed=0, wrong=0.4):
    generator = np.random.default_rng(seed)
    labels = generator.choice(4, count, p=[0.4, 0.3, 0.2, 0.1])
    return labels, np.where(generator.random(count) < wrong, generator.integers(0, 5, count), labels)


def weighted_spearman(x, y, weights):
    shares = weights / weights.sum()
    ranks = [
        np.array([sum(w * ((b < a) + (b == a) / 2) for b, w in zip(side, shares, strict=True)) for a in side])
        for side in (x, y)
    ]
    centred = [rank - shares @ rank for rank in ranks]
    return shares @ (centred[0] * centred[1]) / np.sqrt((shares @ centred[0] ** 2) * (shares @ centred[1] ** 2))


def weighted_v_measure(labels, clusters, weights):
    shares = weights / weights.sum()
    entropies = []
    for keys in (labels, clusters, [*zip(labels, clusters, strict=True)]):
        sums = {}
        for key, share in zip(keys, shares, strict=True):
            sums[key] = sums.get(key, 0) + share
        entropies.append(-sum(share * np.log(share) for share in sums.values() if share))
    return 2 * (entropies[0] + entropies[1] - entropies[2]) / (entropies[0] + entropies[1])


def derivative(score, count, step=1e-5):
    """Return how fast the score moves as each item alone gets more weight, by a plain loop."""
    found = []
    for item in range(count):
        change = np.zeros(count)
        change[item] = step
        found.append((score(1 + change) - score(1 - change)) / (2 * step) * count)
    return np.array(found)


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_the_mean_of_ranked_values_is_the_correlation_of_scipy_with_and_without_ties(decimals):
    for seed in range(5):
        x, y = ranked(60, seed, decimals)
        assert spearman_values(x, y).mean() == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("wrong", [0, 0.4, 1])
def test_the_mean_of_clustered_values_is_the_v_measure_of_scikit_learn(wrong):
    for seed in range(5):
        labels, clusters = clustered(60, seed, wrong)
        assert v_measure_values(labels, clusters).mean() == pytest.approx(v_measure_score(labels, clusters), abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 12])
def test_a_ranked_value_is_the_derivative_by_the_weight_of_its_item(decimals):
    x, y = ranked(25, 1, decimals)
    values = spearman_values(x, y)
    expected = derivative(lambda weights: weighted_spearman(x, y, weights), 25)
    assert values - values.mean() == pytest.approx(expected, abs=1e-6)


def test_a_clustered_value_is_the_derivative_by_the_weight_of_its_text():
    labels, clusters = clustered(40)
    values = v_measure_values(labels, clusters)
    expected = derivative(lambda weights: weighted_v_measure(labels.tolist(), clusters.tolist(), weights), 40)
    assert values - values.mean() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("decimals", [0, 12])
def test_the_spread_of_ranked_values_is_the_error_of_the_correlation(decimals):
    x, y = ranked(400, 2, decimals)
    rows = np.random.default_rng(0).integers(0, 400, (2000, 400))
    ranks = [stats.rankdata(side[rows], axis=1) for side in (x, y)]
    expected = np.std([np.corrcoef(*both)[0, 1] for both in zip(*ranks, strict=True)])
    assert spearman_values(x, y).std() / 20 == pytest.approx(expected, rel=0.07)  # four standard errors


def test_the_spread_of_clustered_values_is_the_error_of_the_v_measure():
    labels, clusters = clustered(400)
    pairs, counts = np.unique(np.stack([labels, clusters]), axis=1, return_counts=True)
    resampled = np.random.default_rng(0).multinomial(400, counts / 400, 2000)
    expected = np.std([weighted_v_measure(*pairs.tolist(), weights) for weights in resampled])
    assert v_measure_values(labels, clusters).std() / 20 == pytest.approx(expected, rel=0.07)


@pytest.mark.parametrize("count", [3, 10, 49])
def test_one_label_in_one_cluster_is_a_v_measure_of_1_whatever_the_number_of_texts(count):
    """Sums of 1 / 10 are not quite 1."""
    assert v_measure_values(["a"] * count, [0] * count).tolist() == [1] * count
    assert v_measure_values(["a"] * count, range(count)).mean() == pytest.approx(0, abs=1e-12)


def drawn(count=30, size=50, draws=4, seed=0):
    """Draws with replacement of the texts, as MTEB makes them, each with clusters of its own."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    texts = generator.integers(0, count, (draws, size)).ravel()
    clusters = np.where(generator.random(draws * size) < 0.3, generator.integers(0, 3, draws * size), labels[texts])
    return labels[texts], clusters, texts, np.repeat(np.arange(draws), size)


def test_values_over_draws_are_derivatives_of_the_mean_of_the_draws():
    labels, clusters, texts, draws = drawn()

    def score(weights):
        each = [
            weighted_v_measure(
                labels[draws == draw].tolist(), clusters[draws == draw].tolist(), weights[texts[draws == draw]]
            )
            for draw in range(4)
        ]
        return np.mean(each)

    values, _ = values_over_draws(labels, clusters, texts, draws, 30)
    expected = [v_measure_score(labels[draws == draw], clusters[draws == draw]) for draw in range(4)]
    assert values.mean() == pytest.approx(np.mean(expected))
    assert values - values.mean() == pytest.approx(derivative(score, 30), abs=1e-6)


def test_draws_are_enlarged_by_what_all_of_them_share():
    labels, clusters, texts, draws = drawn(size=5000)  # so many texts that their choice explains next to nothing
    clusters = np.where(draws == 0, 0, clusters)  # a start that failed
    _, left = values_over_draws(labels, clusters, texts, draws, 30)
    scores = [v_measure_score(labels[draws == draw], clusters[draws == draw]) for draw in range(4)]
    assert left == pytest.approx((scores - np.mean(scores)) * np.sqrt(1 + 4 / 8), rel=0.01)


def test_what_the_choice_of_texts_explains_is_no_part_of_the_draws():
    """With the same clusters in all draws, scores differ by their texts alone; what is left is cut at 0, each time."""
    parts = []
    for seed in range(100):
        labels, clusters, texts, draws = drawn(count=60, size=60, draws=6, seed=seed)
        _, left = values_over_draws(labels, clusters[texts], texts, draws, 60)
        scores = [v_measure_score(labels[draws == draw], clusters[texts][draws == draw]) for draw in range(6)]
        parts.append([np.var(left, ddof=1), np.var(scores, ddof=1) * (1 + 6 / 8)])
    kept, full = np.mean(parts, 0)
    assert kept < 0.35 * full


def test_a_text_that_no_draw_holds_changes_nothing():
    labels, clusters, texts, draws = drawn()
    kept = texts != 7
    values, _ = values_over_draws(labels[kept], clusters[kept], texts[kept], draws[kept], 30)
    assert values[7] == pytest.approx(values.mean())


def test_equal_draws_and_a_single_draw_leave_nothing_to_the_draws():
    labels, clusters, texts, _ = drawn(draws=1)
    twice = [np.tile(one, 2) for one in (labels, clusters, texts)]
    values, left = values_over_draws(labels, clusters, texts, np.zeros(50, int), 30)
    again, nothing = values_over_draws(*twice, np.repeat([0, 1], 50), 30)
    assert left.tolist() == [0]
    assert nothing.tolist() == [0, 0]
    assert values == pytest.approx(again)


@pytest.mark.parametrize("sides", [([1, 2, 3], [1, 2]), ([1], [2]), ([1, 1], [1, 2]), ([[1, 2]], [[2, 1]])])
def test_values_without_a_correlation_are_refused(sides):
    with pytest.raises(BadInput, match="values: pass as many of both, at least two, which are not all equal"):
        spearman_values(*sides)


def test_what_has_no_rank_and_no_partner_is_refused():
    with pytest.raises(BadInput, match="a value is NaN, which has no rank"):
        spearman_values([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(BadInput, match="2 labels and 3 clusters: pass as many of both"):
        v_measure_values(["a", "b"], [0, 1, 1])


def test_values_of_texts_in_a_mean_over_pairs_have_its_dyadic_variance():
    generator = np.random.default_rng(0)
    first, second = np.triu_indices(60, 1)
    of_texts = generator.normal(size=60)
    values = of_texts[first] + of_texts[second] + generator.normal(size=len(first))
    found = pair_values(values, first, second)
    assert found.mean() == pytest.approx(values.mean())
    estimate = mean_over_pairs(values, first, second)
    error = found.std(ddof=1) / np.sqrt(60)
    reach = stats.t.ppf(0.975, 58) * error
    assert estimate.high - estimate.value == pytest.approx(reach, rel=0.05)


def test_a_text_moves_the_mean_of_its_pairs_alone():
    derived = derivative(
        lambda weights: (
            sum(
                weights[i] * weights[j] * value
                for i, j, value in zip([0, 0, 1], [1, 2, 2], [1.0, 2.0, 4.0], strict=True)
            )
            / sum(weights[i] * weights[j] for i, j in zip([0, 0, 1], [1, 2, 2], strict=True))
        ),
        3,
    )
    values = pair_values([1.0, 2.0, 4.0], [0, 0, 1], [1, 2, 2])
    assert values - values.mean() == pytest.approx(derived, abs=1e-6)


@pytest.mark.parametrize(("values", "first", "second"), [([], [], []), ([1.0], [0, 1], [1, 2]), ([1.0, 2.0], [0], [1])])
def test_pairs_need_two_texts_each(values, first, second):
    with pytest.raises(BadInput, match="first and"):
        pair_values(values, first, second)
