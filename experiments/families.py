"""How often does one test of many settings find a difference where there is none? Simulated items of each kind.

A family is twelve settings that are compared with the same baseline on three tasks. None differs from it in truth, so
that at most 5 % of the families may report a difference.

    python experiments/families.py --repeats 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import stats

from cenote.functional import paired
from cenote.functional.influence import spearman_values, values_over_draws
from cenote.functional.paired import Paired, compare_paired

SETTINGS, TASKS = 12, 3
FLIPS = 499


def main() -> None:
    """Print a row for each kind of items."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    paired.RESAMPLES = 20  # of intervals, which are not looked at
    print("| items | families that report a difference | 95 % interval |")
    print("|---|--:|--:|")
    for name, make in FAMILIES.items():
        found = count_false(make, repeats)
        ends = stats.binomtest(found, repeats).proportion_ci()
        print(
            f"| {name} | {100 * found / repeats:.1f} % | {100 * ends.low:.1f} to {100 * ends.high:.1f} % |", flush=True
        )


def count_false(make: Callable[[np.random.Generator], Paired], repeats: int) -> int:
    """Return how many families report a difference of some setting on some task, or of the mean over tasks."""
    false = 0
    for repeat in range(repeats):
        generator = np.random.default_rng((7, repeat))
        family = compare_paired([make(generator) for _ in range(TASKS)], seed=repeat, flips=FLIPS, fewest=10**6)
        false += any(one.p < 0.05 for row in (*family.tasks, family.together) for one in row)
    return false


def of_means(generator: np.random.Generator) -> Paired:
    """Return items whose mean is the score."""
    own = generator.normal(size=(SETTINGS + 1, 60)) + generator.normal(size=60)
    return Paired(own[1:] - own[0])


def of_skewed_means_with_sources(generator: np.random.Generator) -> Paired:
    """Return skewed items, of which up to three share a source."""
    sources = np.repeat(np.arange(60), generator.integers(1, 4, 60))
    own = generator.gamma(2, size=(SETTINGS + 1, 60))[:, sources] + generator.normal(size=(SETTINGS + 1, len(sources)))
    return Paired(own[1:] - own[0], sources)


def of_hits(generator: np.random.Generator) -> Paired:
    """Return items that are found or not."""
    own = generator.random((SETTINGS + 1, 100)) < generator.beta(1, 1, 100)
    return Paired(own[1:] - own[0].astype(float))


def of_ranks(generator: np.random.Generator) -> Paired:
    """Return pairs whose rank correlation is the score."""
    truth = generator.normal(size=100)
    own = np.array([spearman_values(truth, truth + generator.normal(size=100)) for _ in range(SETTINGS + 1)])
    return Paired(own[1:] - own[0])


def of_classifiers(generator: np.random.Generator, draws: int = 5, spread: float = 0.5) -> Paired:
    """Return classifiers trained on draws of texts: what a draw does to a setting is as large as what items do."""
    difficulty = generator.normal(size=(100, 1)) + generator.normal(size=draws) * spread
    own = difficulty + spread * generator.normal(size=(SETTINGS + 1, 1, draws))
    right = generator.normal(size=(SETTINGS + 1, 100, draws)) < own
    means = right.mean(2)
    of_draws = right.mean(1) - right.mean((1, 2))[:, None]
    return Paired(means[1:] - means[0], draws=of_draws[1:] - of_draws[0])


def of_clusters(generator: np.random.Generator, draws: int = 4, count: int = 120) -> Paired:
    """Return starts that mix up some labels: each draw of a setting has a share of wrong texts of its own."""
    labels = generator.integers(0, 4, count)
    texts = generator.integers(0, count, draws * 2 * count)
    numbers = np.repeat(np.arange(draws), 2 * count)
    own = []
    for _ in range(SETTINGS + 1):
        wrong = generator.uniform(0.2, 0.5, draws)[numbers]
        moved = generator.random(count)[texts] < wrong  # a text is wrong in all draws whose share is that large
        clusters = np.where(moved, generator.integers(0, 4, count)[texts], labels[texts])
        own.append(values_over_draws(labels[texts], clusters, texts, numbers, count))
    values, left = (np.array([one[part] for one in own]) for part in (0, 1))
    return Paired(values[1:] - values[0], draws=left[1:] - left[0])


FAMILIES = {
    "queries or texts, normal values": of_means,
    "skewed values with common sources": of_skewed_means_with_sources,
    "found or not": of_hits,
    "pairs of a rank correlation": of_ranks,
    "texts of a classification, five draws": of_classifiers,
    "texts of a classification, ten draws": partial(of_classifiers, draws=10),
    "texts of a clustering, four draws": of_clusters,
    "texts of a clustering, ten draws": partial(of_clusters, draws=10),
    "60 texts of a clustering, ten draws": partial(of_clusters, draws=10, count=60),
}

if __name__ == "__main__":
    main()
