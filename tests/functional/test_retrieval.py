"""Ranks, token matches and resampled means: against plain loops, laws, and draws from known distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional import retrieval
from cenote.functional.intervals import FEWEST_WITH_INTERVAL
from cenote.functional.retrieval import (
    jackknife,
    nearest,
    own_ranks,
    ranks_of_variants,
    resampled_means,
    token_matches,
    without_each_document,
)
from cenote.records import Estimate

from .helpers import unit


def dot(one, other):
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def best_scores(query, candidates, owners, count):
    """The score of each document: that of its best window."""
    return [
        max(dot(query, row) for row, owner in zip(candidates, owners, strict=True) if owner == place)
        for place in range(count)
    ]


def rank_by_loop(query, candidates, owners, own, count, reached=None):
    scores = best_scores(query, candidates, owners, count)
    mine = scores[own] if reached is None else reached
    return 1 + sum(score >= mine for place, score in enumerate(scores) if place != own)


@st.composite
def searches(draw):
    """A search over few small whole numbers, so that many scores tie and none is rounded."""
    count, queries = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    windows = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    variants = draw(st.lists(st.integers(1, 3), min_size=queries, max_size=queries))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))

    def rows(number):
        return generator.integers(-2, 3, size=(number, 3)).astype(np.float32)

    return {
        "queries": rows(queries),
        "candidates": rows(sum(windows)),
        "owners": np.repeat(np.arange(count), windows),
        "variants": rows(sum(variants)),
        "variant_owners": np.repeat(np.arange(queries), variants),
        "own": generator.integers(0, count, size=queries),
    }


# Ranks.


@pytest.mark.parametrize("block", [1, 7, 2**24])
@settings(max_examples=60, deadline=None)
@given(found=searches())
def test_ranks_equal_a_plain_loop(block, found):
    """Candidates that tie rank before a query's own document, a document scores as its best window; in any blocks."""
    queries, candidates, owners, own = (found[name] for name in ("queries", "candidates", "owners", "own"))
    count = int(owners.max()) + 1
    reached = [
        max(dot(query, row) for row, of in zip(found["variants"], found["variant_owners"], strict=True) if of == place)
        for place, query in enumerate(queries)
    ]
    expected, of_variants = (
        [rank_by_loop(query, candidates, owners, own[row], count, score) for row, (query, score) in enumerate(pairs)]
        for pairs in (
            [(query, None) for query in queries],
            list(zip(queries, reached, strict=True)),
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_BLOCK", block)
        assert own_ranks(queries, candidates, own, owners=owners).tolist() == expected
        ranks = ranks_of_variants(
            queries, found["variants"], candidates, own, owners=owners, variant_owners=found["variant_owners"]
        )
        assert ranks.tolist() == of_variants
        # A single window of each document is the document.
        first = np.flatnonzero(np.diff(owners, prepend=-1))
        single = own_ranks(queries, candidates[first], own)
        assert single.tolist() == own_ranks(queries, candidates[first], own, owners=np.arange(count)).tolist()


@pytest.mark.parametrize(("count", "width"), [(3, 384), (101, 384), (5, 768), (10, 32)])
def test_a_copy_of_a_document_leaves_its_sentences_not_found(count, width):
    """The copy has the same score but for rounding, and ranks before it."""
    generator = np.random.default_rng(count)
    documents = unit(generator.normal(size=(count, width)).astype(np.float32))
    own = generator.integers(0, count, size=37)
    queries = (documents[own] + 0.03 * generator.normal(size=(37, width))).astype(np.float32)
    before = own_ranks(queries, documents, own)
    copied = int(own[0])
    for place in (0, count // 2, count):
        more = np.insert(documents, place, documents[copied], axis=0)
        after = own_ranks(queries, more, own + (own >= place))
        assert np.array_equal(after, before + (own == copied))
        assert (after[own == copied] > 1).all()


def test_a_variant_that_is_a_copy_of_another_document_is_not_found():
    generator = np.random.default_rng(0)
    documents = unit(generator.normal(size=(30, 64)).astype(np.float32))
    queries = (documents + 0.03 * generator.normal(size=(30, 64))).astype(np.float32)
    own = (np.arange(30) + 1) % 30
    assert ranks_of_variants(queries, documents, documents, own).min() > 1


def test_a_variant_that_is_the_document_ranks_as_the_document():
    generator = np.random.default_rng(0)
    documents, queries = (unit(generator.normal(size=(30, 64))).astype(np.float32) for _ in range(2))
    own = generator.permutation(30)
    assert np.array_equal(
        ranks_of_variants(queries, documents[own], documents, own), own_ranks(queries, documents, own)
    )


def test_a_text_without_a_vector_comes_last():
    documents = np.eye(3, dtype=np.float32) + 0.5
    assert own_ranks(np.zeros((1, 3), np.float32), documents, np.array([1])).tolist() == [3]
    documents[1] = 0
    assert own_ranks(np.ones((1, 3), np.float32), documents, np.array([1])).tolist() == [3]


@pytest.mark.parametrize("owners", [None, np.array([0, 0, 1, 2])])
def test_nan_finds_nothing_and_is_no_rival(owners):
    documents = np.eye(3, dtype=np.float32) + 0.5
    candidates = documents if owners is None else documents[owners]
    queries, rivals = np.array([[np.nan] * 3, [1.0, 0.0, 0.0]], np.float32), np.zeros(2, np.int64)
    assert own_ranks(queries, candidates, np.array([0, 0]), owners=owners).tolist() == [4, 1]
    candidates[-1] = np.nan
    assert own_ranks(queries, candidates, np.array([0, 2]), owners=owners, rivals=rivals).tolist() == [4, 4]
    assert rivals[1] == 0
    variants = np.array([[1.0, 0.0, 0.0], [np.nan] * 3], np.float32)
    assert ranks_of_variants(queries, variants, candidates, np.array([0, 0]), owners=owners).tolist() == [4, 4]


# Neighbours and tokens.


@pytest.mark.parametrize("block", [1, 2**24])
def test_nearest_equals_a_full_sort(block, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    generator = np.random.default_rng(1)
    queries, candidates = (generator.integers(-2, 3, size=(count, 3)).astype(np.float32) for count in (8, 30))
    found = nearest(queries, candidates, 12)
    for row, query in zip(found.tolist(), queries, strict=True):
        scores = [dot(query, one) for one in candidates]
        assert row == sorted(range(30), key=lambda place: (-scores[place], place))[:12]
    assert nearest(queries, candidates[:4], 12).shape == (8, 4)
    assert nearest(queries[:0], candidates, 12).shape == (0, 12)


def test_token_matches_equal_a_plain_loop():
    generator = np.random.default_rng(2)
    queries, documents = (
        [unit(generator.normal(size=(generator.integers(1, 9), 16))).astype(np.float16) for _ in range(count)]
        for count in (6, 10)
    )
    rows = np.array([4, 0, 5, 5])
    candidates = np.stack([generator.permutation(10)[:7] for _ in rows])
    found = token_matches(queries, documents, rows, candidates)
    for row, places, scores in zip(rows, candidates, found, strict=True):
        expected = [
            sum(max(dot(token, other) for other in documents[place]) for token in queries[row]) for place in places
        ]
        assert scores == pytest.approx(expected, abs=1e-5)
    # A text finds itself: no sum is higher than that of its own tokens.
    same = token_matches(queries, [*documents, queries[3]], np.array([3]), np.arange(11)[None])[0]
    assert same.argmax() == 10
    assert same[10] == pytest.approx(len(queries[3]), rel=1e-2)


# Means with intervals.


def test_means_weigh_every_query_alike_and_documents_by_their_queries():
    documents = np.array([0] * 5 + [1] * 1 + list(range(2, 12)))
    values = np.arange(16.0)
    (found,) = resampled_means([values], documents)
    assert found.value == pytest.approx(values.mean())
    generator = np.random.default_rng(0)  # the interval, by a plain bootstrap of documents
    groups = [values[documents == place] for place in range(12)]
    means = [np.concatenate([groups[place] for place in generator.integers(0, 12, 12)]).mean() for _ in range(4000)]
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.25)


def test_columns_are_resampled_together_and_the_names_of_documents_do_not_matter():
    generator = np.random.default_rng(0)
    documents, values = np.repeat(np.arange(15), 3), generator.normal(size=45)
    first, shifted, alone = resampled_means([values, values + 1, values], documents)
    renamed = resampled_means([values], documents * 7 + 100)[0]
    ends = (first.low, first.high)
    for low, high in ((alone.low, alone.high), (renamed.low, renamed.high), (shifted.low - 1, shifted.high - 1)):
        assert (low, high) == pytest.approx(ends)
    assert resampled_means([values], documents, seed=1)[0].low != pytest.approx(first.low)
    wide = resampled_means([values], documents, confidence=0.999)[0]
    assert wide.low < first.low < first.high < wide.high


def clustered(generator, documents, share=0.7):
    """Three sentences a document, found or not, which depend on one another through their document."""
    chance = generator.beta(2 * share, 2 * (1 - share), size=documents)
    return (generator.random((documents, 3)) < chance[:, None]).astype(float).ravel()


def test_the_interval_covers_the_truth_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(retrieval, "_RESAMPLES", 500)
    generator, documents = np.random.default_rng(0), np.repeat(np.arange(60), 3)
    columns = [clustered(generator, 60) for _ in range(300)]
    found = resampled_means(columns, documents)
    assert 0.91 <= np.mean([one.low <= 0.7 <= one.high for one in found]) <= 0.98
    # Sentences drawn one by one would seem to know more than they do.
    naive = resampled_means(columns, np.arange(180))
    assert np.mean([one.low <= 0.7 <= one.high for one in naive]) < 0.9


def test_few_documents_have_no_interval():
    for count in (FEWEST_WITH_INTERVAL - 1, FEWEST_WITH_INTERVAL):
        (found,) = resampled_means([np.tile([0.0, 1.0, 1.0], count)], np.repeat(np.arange(count), 3))
        assert found.value == pytest.approx(2 / 3)
        assert (found.low is None) == (found.high is None) == (count < FEWEST_WITH_INTERVAL)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, r"\[\] values of 12 queries"),
        ([np.zeros(12), np.zeros(3)], {}, r"\[12, 3\] values of 12 queries: pass one of each"),
        ([np.zeros(12)], {"confidence": 95}, "confidence=95"),
    ],
)
def test_bad_input_is_refused(values, options, message):
    with pytest.raises(BadInput, match=message):
        resampled_means(values, np.arange(12), **options)


# Without each document.


def made_up(seed, count=30, sentences=3, width=32, hub=0.4):
    """Sentences near their documents, and a direction that all share, so that some documents are rivals of many."""
    generator = np.random.default_rng(seed)
    documents = unit(generator.normal(size=(count, width)) + hub * generator.normal(size=(count, 1)))
    owners = np.repeat(np.arange(count), sentences)
    return unit(documents[owners] + 0.3 * generator.normal(size=(len(owners), width))), documents, owners


@pytest.mark.parametrize("seed", range(5))
def test_shares_without_each_document_are_those_of_a_search_without_it(seed):
    queries, documents, owners = made_up(seed)
    rivals = np.zeros(len(owners), np.int64)
    ranks = own_ranks(queries, documents, owners, rivals=rivals)
    assert 0.2 < (ranks == 1).mean() < 0.9
    found = without_each_document((ranks == 1) * 1.0, np.ones(len(ranks)), ranks, rivals, owners, len(documents))
    # A fate of the lost ones, such as "lost to the cut": whoever comes first has it no more.
    cut = (ranks > 1) & (np.arange(len(ranks)) % 2 == 0)
    lost = without_each_document(cut * 1.0, np.zeros(len(ranks)), ranks, rivals, owners, len(documents))
    for place in range(len(documents)):
        kept, others = owners != place, np.delete(np.arange(len(documents)), place)
        again = own_ranks(queries[kept], documents[others], np.searchsorted(others, owners[kept]))
        assert found[place] == pytest.approx((again == 1).mean())
        assert lost[place] == pytest.approx((cut[kept] & (again > 1)).mean())


def test_its_intervals_cover_where_some_documents_are_rivals_of_many():
    """A resample of sentences among fixed rivals covers less."""
    truth, spans = [], []
    for seed in range(300):
        queries, documents, owners = made_up(seed, count=40, hub=1.5)
        rivals = np.zeros(len(owners), np.int64)
        ranks = own_ranks(queries, documents, owners, rivals=rivals)
        values = (ranks == 1) * 1.0
        truth.append(values.mean())
        without = without_each_document(values, np.ones(len(values)), ranks, rivals, owners, len(documents))
        spans.append(jackknife(float(values.mean()), without))
    mean = np.mean(truth)
    assert 0.92 <= np.mean([one.low <= mean <= one.high for one in spans]) <= 1.0


def test_a_share_of_none_or_all_has_the_rule_of_three():
    none, every = (jackknife(value, np.full(30, value)) for value in (0.0, 1.0))
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 30)) == pytest.approx(1 - every.low)
    assert jackknife(0.0, np.zeros(30), share=False) == Estimate(0.0, None, None)
    assert jackknife(0.5, np.full(9, 0.5)) == Estimate(0.5, None, None)


def test_a_loss_of_one_sentence_is_no_better_known_than_no_loss():
    """The upper end does not fall where more is lost, and the lower end of what is found does not rise."""
    count, highs, lows = 200, [], []
    owners = np.repeat(np.arange(count), 3)
    for lost in range(5):
        flags = np.zeros(3 * count, bool)
        flags[: 3 * lost : 3] = True
        ranks, rivals = np.where(flags, 2, 1), (owners + 100) % count
        for values, freed, ends in ((flags, 0.0, highs), (~flags, 1.0, lows)):
            without = without_each_document(values * 1.0, np.full(len(owners), freed), ranks, rivals, owners, count)
            one = jackknife(float(values.mean()), without)
            again = resampled_means([values], owners)[0]
            assert 0 <= one.low <= one.value <= one.high <= 1
            ends.append([(found.high if ends is highs else found.low) for found in (one, again)])
    assert np.all(np.diff(highs, axis=0) >= 0)
    assert np.all(np.diff(lows, axis=0) <= 0)
    assert highs[0] == pytest.approx([1 - 0.025 ** (1 / count)] * 2)


def test_what_all_queries_share_has_an_interval_if_it_is_a_share():
    flags, values = resampled_means([np.ones(50, bool), np.full(50, 0.3)], np.arange(50))
    assert (flags.low, flags.high) == (pytest.approx(0.025 ** (1 / 50)), 1)
    assert (values.low, values.high) == (None, None)
