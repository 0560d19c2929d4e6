"""Which pairs are in which step: a pure function of pairs, size and seed."""

from collections import Counter

import numpy as np
import pytest

from cenote.errors import BadInput
from cenote.training.batches import Hashes, Order, Partners, Place, Rows, batches_of_epoch, count_batches, draw_rows


def hashed(pairs):
    """The hashes of pairs of numbers."""
    flat = [text for pair in pairs for text in pair]
    return Hashes(np.array(flat, np.uint64), np.cumsum([0, *map(len, pairs)]))


DISTINCT = hashed([(2 * row, 2 * row + 1) for row in range(50)])


def test_an_epoch_holds_every_pair_once_in_full_batches():
    batches = list(batches_of_epoch(DISTINCT, 8, seed=3, epoch=1))
    assert [len(batch) for batch in batches] == [8] * 6
    assert max(Counter(row for batch in batches for row in batch).values()) == 1


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        return list(batches_of_epoch(DISTINCT, 8, seed, epoch))

    assert order(0, 0) == order(0, 0)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("negatives", [0, 1, 2])
def test_no_batch_holds_a_false_negative(negatives):
    """Against a plain comparison of all pairs, which share queries, positives and negatives crosswise."""
    generator = np.random.default_rng(0)
    pairs = [tuple(generator.integers(0, 60, 4).tolist()) for _ in range(200)]
    pairs = [pair for pair in pairs if len(set(pair)) == 4]
    batches = list(batches_of_epoch(hashed(pairs), 4, seed=0, epoch=3, negatives=negatives))
    assert len(batches) > 30
    known = {query: {pair[1] for pair in pairs if pair[0] == query} for query, *_ in pairs}
    shared = 0
    for batch in batches:
        drawn = {row: [pairs[row][2 + at] for at in draw_rows(2, negatives, (0, 3, row))] for row in batch}
        for one in batch:
            for other in set(batch) - {one}:
                assert not {*pairs[one][:2]} & {*pairs[other][:2], *drawn[other]}
                assert not known[pairs[one][0]] & {pairs[other][1], *drawn[other]}
                shared += bool(set(drawn[one]) & set(drawn[other]))
    assert bool(shared) == bool(negatives)  # negatives may be equal
    rows = [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows))


def test_a_text_that_most_pairs_have_takes_no_longer():
    """Rows that wait for one text are not looked at again in every batch: counted in looks at hashes."""

    class Counted(Hashes):
        looks = 0

        def __getitem__(self, row):
            Counted.looks += 1
            return super().__getitem__(row)

    plain = hashed([(0, row + 1) for row in range(300)] + [(1000 + row, 2000 + row) for row in range(700)])
    pairs = Counted(plain.flat, plain.offsets)
    assert len(list(batches_of_epoch(pairs, 10, seed=0, epoch=0))) > 50
    assert Counted.looks < 6 * len(pairs)


@pytest.mark.parametrize("other", [(2, 11), (2, 20, 11)], ids=["positive", "negative"])
def test_a_known_positive_of_a_query_is_in_no_other_pair_of_its_batch(other):
    """Text 11 is a positive of query 1 by another row."""
    pairs = [(1, 10), (1, 11), other]
    for seed in range(6):
        assert list(batches_of_epoch(hashed(pairs), 2, seed, epoch=0, negatives=1)) == []
        (batch,) = batches_of_epoch(hashed([*pairs, (3, 30)]), 2, seed, epoch=0, negatives=1)
        assert 3 in batch


def test_partners_are_found_among_few_and_among_many():
    """Hashes above what a float tells apart, with fewer and with more partners than texts in the batch."""
    texts = np.array([2**63 + 1] * 9 + [2**63 + 2], np.uint64)
    partners = Partners(texts, np.arange(2**63, 2**63 + 10, dtype=np.uint64))
    assert partners.within(2**63 + 1, {2**63 + 8, 2**63 + 9}) == 2**63 + 8
    assert partners.within(2**63 + 1, {2**63 + 9}) is None
    assert partners.within(2**63 + 2, {2**63 + 8, 2**63 + 9}) == 2**63 + 9
    assert partners.within(5, {2**63 + 8}) is None


def test_what_equal_texts_did_is_counted():
    pairs = hashed([(1, 10), (2, 10), (3, 10), (4, 40)])
    counts = count_batches(Order(pairs, 2, 1, seed=0))
    assert (counts.batches, counts.left_over) == (1, 2)  # the pairs with text 10 cannot meet, and 40 is taken once
    assert count_batches(Order(DISTINCT, 5, 1, seed=0)).moved == 0
    assert count_batches(Order(hashed([(1, 10), (2, 10), (3, 30), (4, 40)]), 2, 1, seed=1)).moved == 1


def test_an_order_goes_on_from_any_step():
    order = Order(DISTINCT, 8, 20, seed=5)
    steps = list(order)
    assert len(steps) == len(order) == 20
    assert [step[0].epoch for step in steps] == [step // 6 for step in range(20)]
    assert list(order)[13:] == steps[13:]


def test_pairs_that_fill_no_batch_are_refused():
    with pytest.raises(BadInput, match=r"no batch of 2 pairs can be filled .* 3 pairs are too few, or too alike"):
        list(Order(hashed([(1, 10), (2, 10), (3, 10)]), 2, 5, seed=0))


class Table:
    """As much of a `datasets.Dataset` as rows are read from."""

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, places):
        return {name: [self.rows[place][name] for place in places] for name in self.rows[0]}


def test_rows_have_the_negatives_that_their_epoch_draws_with_their_scores():
    table = Table(
        [
            {
                "query": f"q{row}",
                "positive": "p" * (9 - row),
                "negatives": [f"n{at}" for at in range(5)],
                "scores": [9.0, 0.0, 1.0, 2.0, 3.0, 4.0],
            }
            for row in range(4)
        ]
    )
    rows = Rows(table, 2, True, seed=0)
    found = rows.__getitems__([Place(epoch, row) for epoch in (0, 1, 2) for row in range(4)])
    assert list(found[0]) == ["query", "positive", "negative_1", "negative_2", "scores", "epoch"]
    assert [len(row["positive"]) for row in found] == sorted(len(row["positive"]) for row in found)
    for row in found:
        assert row["scores"] == [9.0, float(row["negative_1"][1]), float(row["negative_2"][1])]
    assert len({(row["negative_1"], row["negative_2"]) for row in found}) > 3
    again = rows.__getitems__([Place(1, 2)])
    assert again == [row for row in found if row["query"] == "q2" and row["epoch"] == 1]


def test_every_negative_is_drawn_as_often():
    counts = Counter(one for row in range(3000) for one in draw_rows(5, 2, (0, 0, row)))
    assert all(abs(count - 1200) < 120 for count in counts.values())  # 1,200 with a deviation of 27
