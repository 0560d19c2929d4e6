"""Scores of parts of the items, by length."""

import numpy as np
import pytest
from scipy import stats

from cenote.evaluation.by_length import measure_of_parts, parts_by_length, rank_of_longest, score_of_items
from cenote.evaluation.differences import effective_sources, sources_of
from cenote.evaluation.items import Items


def queries(count=200, seed=0):
    """Queries whose value falls with the length of their documents."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(10, 700, count)
    return Items(
        {
            "item": [f"q{row}" for row in range(count)],
            "value": (1 - lengths / 700).tolist(),
            "query_tokens": [7] * count,
            "document_tokens": lengths.tolist(),
            "ranks": [[row % 9 + 1] for row in range(count)],
            "relevant_tokens_each": [[int(length)] for length in lengths],
        }
    )


def test_parts_are_the_intervals_of_the_paper_quarters_and_both_ends():
    items = queries()
    lengths, values = items.numbers("document_tokens"), items.numbers("value")
    parts = {part.name: part for part in parts_by_length("retrieval", items, 0) if part.by == "document"}
    names = ["0 to 99 tokens", "100 to 199 tokens", "200 to 299 tokens", "300 to 399 tokens", "400 to 499 tokens"]
    assert [name for name, part in parts.items() if part.division == "interval"] == [*names, "500 tokens and more"]
    for low, name in zip(range(0, 500, 100), names, strict=True):
        inside = (lengths >= low) & (lengths < low + 100)
        assert parts[name].items == inside.sum()
        if inside.sum() >= 30:
            assert parts[name].score.value == pytest.approx(values[inside].mean())
    assert parts["500 tokens and more"].items == (lengths >= 500).sum()
    assert sum(part.items for name, part in parts.items() if name.startswith("quarter")) == 200
    ends = {name.partition(",")[0]: part for name, part in parts.items() if part.division == "end"}
    longest, shortest = ends["longest 20 %"], ends["shortest 20 %"]
    assert longest.items == shortest.items == 40
    assert (shortest.low, longest.high) == (lengths.min(), lengths.max())
    assert (parts[names[1]].low, parts[names[1]].high, parts["500 tokens and more"].high) == (100, 199, None)
    order = np.sort(values)
    assert longest.score.value == pytest.approx(order[:40].mean())
    assert longest.score.high < shortest.score.low


def test_the_entropy_of_a_part_is_the_mean_of_its_texts():
    lengths, entropy = np.repeat([50, 150, 250], [40, 60, 20]), np.linspace(0, 2, 120)
    columns = {"item": [str(row) for row in range(120)], "value": [1.0, 0.0] * 60, "text_tokens": lengths.tolist()}
    parts = parts_by_length("classification", Items({**columns, "entropy": entropy.tolist()}), 0)
    found = {part.name: part.entropy for part in parts if part.division == "interval"}
    assert found["0 to 99 tokens"] == pytest.approx(entropy[:40].mean())
    assert found["100 to 199 tokens"] == pytest.approx(entropy[40:100].mean())
    assert found["200 to 299 tokens"] is None  # 20 texts
    assert {part.entropy for part in parts_by_length("classification", Items(columns), 0)} == {None}


def test_texts_of_one_length_have_one_part():
    assert [part.name for part in parts_by_length("retrieval", queries(), 0) if part.by == "query"] == [
        "0 to 99 tokens"
    ]


def test_parts_of_few_items_have_a_count_and_no_score():
    parts = parts_by_length("retrieval", queries(100), 0)
    assert {part.score is None for part in parts if part.items < 30} == {True}
    assert {part.score is None for part in parts if part.items >= 30} == {False}


def pairs(count=120, seed=0):
    generator = np.random.default_rng(seed)
    scores = generator.uniform(0, 5, count)
    lengths = generator.integers(3, 40, count)
    noise = np.where(lengths < 20, 0.1, 5.0)  # long pairs are scored by chance
    return Items(
        {
            "item": [str(row) for row in range(count)],
            "value": [0.0] * count,
            "pair_tokens": lengths.tolist(),
            "score": scores.tolist(),
            "cosine": (scores + noise * generator.normal(size=count)).tolist(),
        }
    )


def test_pairs_are_ranked_within_their_part():
    items = pairs()
    parts = {part.name: part for part in parts_by_length("sts", items, 0)}
    quarter = next(part for name, part in parts.items() if name.startswith("quarter 1"))
    rows = np.sort(np.argsort(items.numbers("pair_tokens"), kind="stable")[:30])
    expected = stats.spearmanr(items.numbers("score")[rows], items.numbers("cosine")[rows]).statistic
    assert quarter.score.value == pytest.approx(expected)
    last = next(part for name, part in parts.items() if name.startswith("quarter 4"))
    assert last.score.high < quarter.score.low


def test_pairs_of_one_score_have_no_correlation():
    items = pairs()
    items.columns["score"] = [1.0] * len(items)
    assert {part.score for part in parts_by_length("sts", items, 0)} == {None}


def texts(count=60, draws=4):
    """Texts of which the short ones are clustered right, and the long ones all alike."""
    rows = list(range(count)) * draws
    return Items(
        {
            "item": [str(row) for row in rows],
            "draw": [draw for draw in range(draws) for _ in range(count)],
            "value": [0.5] * len(rows),
            "text_tokens": [10 if row < 30 else 200 + row for row in rows],
            "label": [str(row % 3) for row in rows],
            "cluster": [row % 3 if row < 30 else 0 for row in rows],
        }
    )


def test_clusters_of_a_part_are_scored_in_every_draw():
    parts = {part.name: part for part in parts_by_length("clustering", texts(), 0)}
    assert (parts["0 to 99 tokens"].items, parts["0 to 99 tokens"].score.value) == (30, pytest.approx(1))
    assert parts["200 to 299 tokens"].score.value == pytest.approx(0)
    score, what = score_of_items("clustering", texts(), 0)
    assert what == "other draws of the same texts"
    assert 0 < score.value < 1


@pytest.mark.parametrize("wrong", [1.0, 0.4])
def test_parts_of_clusters_that_do_not_depend_on_length_score_as_the_whole(wrong):
    """The v-measure of the smallest part would be ten times that of the whole, where all clusters are random."""
    generator = np.random.default_rng(3)
    labels, lengths = generator.integers(0, 20, 2000), generator.lognormal(4.3, 0.8, 2000).round()
    clusters = np.where(generator.random((5, 2000)) < wrong, generator.integers(0, 20, (5, 2000)), labels)
    items = Items(
        {
            "item": [str(row) for row in range(2000)] * 5,
            "draw": np.repeat(np.arange(5), 2000).tolist(),
            "value": [0.5] * 10_000,
            "text_tokens": lengths.tolist() * 5,
            "label": [str(label) for label in labels] * 5,
            "cluster": clusters.ravel().tolist(),
        }
    )
    measure, whole = measure_of_parts("clustering", items, 0)
    parts = [part for part in parts_by_length("clustering", items, 0) if part.score is not None]
    assert measure == "adjusted Rand index"
    assert min(part.items for part in parts) < 60
    for part in parts:
        assert part.score.value == pytest.approx(whole.value, abs=1.5 / np.sqrt(part.items * 5))
    assert measure_of_parts("sts", pairs(), 0) == (None, None)


def test_the_rank_of_the_longest_is_the_mean_over_a_fifth_of_the_relevant_documents():
    items = queries()
    order = np.argsort(-items.numbers("document_tokens"), kind="stable")[:40]
    assert rank_of_longest(items) == pytest.approx(np.mean([items.columns["ranks"][row][0] for row in order]))
    assert rank_of_longest(queries(100)) is None  # a fifth is 20
    assert rank_of_longest(pairs()) is None


def test_the_interval_of_items_that_share_sources_is_for_other_sources():
    """Ten copies of each query, all on one document, say no more than the query."""
    one = queries(60)
    one.columns["relevant"] = [[f"d{row}"] for row in range(60)]
    many = Items({name: [value for value in column for _ in range(10)] for name, column in one.columns.items()})
    many.columns["item"] = [str(row) for row in range(600)]
    score, what = score_of_items("retrieval", many, 0)
    alone, _ = score_of_items("retrieval", one, 0)
    assert score.value == pytest.approx(alone.value)
    assert score.high - score.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert what == "other relevant documents with their queries"
    parts = parts_by_length("retrieval", many, 0)
    few = [part for part in parts if part.by == "document" and 30 <= part.items < 300]  # of fewer than 30 documents
    assert few
    assert {part.score for part in few} == {None}


def test_parts_of_which_one_source_has_most_items_have_no_score():
    items = queries(200)
    items.columns["relevant"] = [["d"] if row < 100 else [f"d{row}"] for row in range(200)]
    parts = [part for part in parts_by_length("retrieval", items, 0) if part.items >= 30]
    sources = sources_of("retrieval", items)
    assert effective_sources(items, sources) < 4
    assert parts
    assert {part.score for part in parts} == {None}


def test_a_text_that_is_drawn_several_times_is_one_item_of_its_source():
    items = Items({"item": ["a", "a", "a", "b", "c"], "text": ["x", "x", "x", "y", "y"]})
    assert effective_sources(items, np.array([0, 0, 0, 1, 1])) == 9 / 5
    assert effective_sources(items, None) == 3
