"""Hard negatives: the nearest texts, none of the query's own, one of each, below the margin."""

from collections import Counter

import pytest

pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")

from cenote.data.pairs import Pair
from cenote.training import negatives

from ..bags import WORDS


def words(*places):
    return " ".join(WORDS[place] for place in places)


# The more words a positive shares with a query, the nearer it is: the vectors are sums of random word vectors.
QUERY = words(0, 1, 2, 3, 4, 5)
NEAR = [words(*range(shared), *range(10 * shared + 20, 10 * shared + 26 - shared)) for shared in (5, 4, 3, 2)]


def pairs_of(positives, query=QUERY, positive=QUERY):
    others = [Pair(words(100 + place, 200 + place), text) for place, text in enumerate(positives)]
    return [Pair(query, positive), *others]


def find(pairs, texts, model, count, **options):
    return negatives.find_negatives(pairs, texts, model, count, **{"range_min": 0, "margin": 0.05, **options})


def test_the_nearest_are_found_in_order(bag_model):
    pairs = pairs_of(NEAR)
    found = find(pairs, range(5), bag_model, 3)
    assert found[0] == tuple(NEAR[:3])
    assert all(pair.positive not in negatives for pair, negatives in zip(pairs, found, strict=True))


def test_the_nearest_are_passed_over(bag_model):
    assert find(pairs_of(NEAR), range(5), bag_model, 2, range_min=1)[0] == tuple(NEAR[1:3])


def test_those_within_the_margin_are_no_negatives(bag_model):
    positive = NEAR[1]
    found = find(pairs_of([NEAR[0], *NEAR[2:]], positive=positive), range(4), bag_model, 2, margin=0.0)
    assert found[0] == tuple(NEAR[2:])  # NEAR[0] is nearer than the positive
    assert len(find(pairs_of(NEAR), range(5), bag_model, 4, margin=0.4)[0]) < 4


def test_positives_of_the_same_text_are_no_negatives(bag_model):
    assert find(pairs_of(NEAR), [0, 0, 1, 2, 3], bag_model, 3)[0] == tuple(NEAR[1:])
    assert find(pairs_of(NEAR), [0, 0, 1, 0, 3], bag_model, 2)[0] == (NEAR[1], NEAR[3])


def test_of_another_text_the_nearest_positive_counts(bag_model):
    assert find(pairs_of(NEAR), [0, 1, 1, 2, 3], bag_model, 3)[0] == (NEAR[0], NEAR[2], NEAR[3])


def test_a_query_of_two_texts_has_negatives_of_neither(bag_model):
    pairs = [*pairs_of(NEAR), Pair(QUERY, words(90, 91))]
    found = find(pairs, [0, 1, 2, 3, 4, 1], bag_model, 2, margin=0.0)
    assert set(found[0]).isdisjoint([NEAR[0], words(90, 91)])


def test_a_title_of_many_texts_asks_for_no_more_candidates(bag_model, monkeypatch):
    """Of the pairs that share it the first 10 have negatives, none of a text with this title."""
    asked, mine = [], negatives.mine_hard_negatives

    def watched(dataset, model, **options):
        asked.append((Counter(dataset["query"]).most_common(1)[0][1], options["num_negatives"], options["range_max"]))
        return mine(dataset, model, **options)

    monkeypatch.setattr(negatives, "mine_hard_negatives", watched)
    near = [Pair(QUERY, f"{QUERY} {words(400 + place)}") for place in range(10)]
    far = [Pair(QUERY, words(place, *range(500 + place, 505 + place))) for place in range(50)]
    for count in (20, 60):
        found = find([*near, *far[: count - 10], *pairs_of(NEAR)[1:]], range(count + 4), bag_model, 2)
        assert found[:count] == [tuple(NEAR[:2])] * 10 + [()] * (count - 10)
    assert asked == [(10, 12, 30)] * 2


def test_a_pair_may_have_fewer_or_none(bag_model):
    assert [len(negatives) for negatives in find(pairs_of(NEAR[:1]), range(2), bag_model, 3)] in (
        [1, 1],
        [1, 0],
    )
    assert find(pairs_of([]), [0], bag_model, 3) == [()]


def test_progress_is_reported_and_nothing_is_printed(bag_model, capsys):
    done = []
    find(pairs_of(NEAR), range(5), bag_model, 1, advance=done.append)
    assert sum(done) == 10
    assert capsys.readouterr().out == ""


def test_prompts_of_queries_and_documents_are_used(bag_model, monkeypatch):
    bag_model.prompts = {"query": f"{words(300)} ", "document": f"{words(301)} "}
    seen, encode = [], bag_model.encode

    def watched(**options):
        seen.append(options["prompt_name"])
        return encode(**options)

    monkeypatch.setattr(bag_model, "encode", watched)
    find(pairs_of(NEAR), range(5), bag_model, 1)
    assert sorted(seen) == ["document", "query"]
