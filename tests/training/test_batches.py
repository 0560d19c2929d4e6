"""Which pairs are in which step: a pure function of pairs, size and seed."""

from collections import Counter

import numpy as np
import pytest

from cenote.errors import BadInput
from cenote.training.batches import Order, Place, Rows, batches_of_epoch, count_batches, draw_rows

DISTINCT = [(2 * row, 2 * row + 1) for row in range(50)]


def test_an_epoch_holds_every_pair_once_in_full_batches():
    batches = list(batches_of_epoch(DISTINCT, 8, seed=3, epoch=1))
    assert [len(batch) for batch in batches] == [8] * 6
    assert max(Counter(row for batch in batches for row in batch).values()) == 1


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        return list(batches_of_epoch(DISTINCT, 8, seed, epoch))

    assert order(0, 0) == order(0, 0)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_no_batch_holds_a_text_twice():
    """Against a plain count, for pairs that share queries, positives, and both crosswise."""
    generator = np.random.default_rng(0)
    pairs = [tuple(generator.integers(0, 30, 3).tolist()) for _ in range(200)]
    pairs = [pair for pair in pairs if len(set(pair)) == 3]
    batches = list(batches_of_epoch(pairs, 4, seed=0, epoch=0))
    assert len(batches) > 30
    for batch in batches:
        texts = [text for row in batch for text in pairs[row]]
        assert len(texts) == len(set(texts))
    rows = [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows))


def test_what_equal_texts_did_is_counted():
    pairs = [(1, 10), (2, 10), (3, 10), (4, 40)]
    counts = count_batches(pairs, 2, seed=0)
    assert (counts.batches, counts.left_out) == (1, 2)  # the pairs with text 10 cannot meet, and 40 is taken once
    assert count_batches(DISTINCT, 5, seed=0).deferred == 0
    assert count_batches([(1, 10), (2, 10), (3, 30), (4, 40)], 2, seed=1).deferred == 1


def test_an_order_goes_on_from_any_step():
    order = Order(DISTINCT, 8, 20, seed=5)
    steps = list(order)
    assert len(steps) == len(order) == 20
    assert [step[0].epoch for step in steps] == [step // 6 for step in range(20)]
    assert list(order)[13:] == steps[13:]


def test_pairs_that_fill_no_batch_are_refused():
    with pytest.raises(BadInput, match=r"no batch of 2 pairs can be filled .* 3 pairs are too few, or too alike"):
        list(Order([(1, 10), (2, 10), (3, 10)], 2, 5, seed=0))


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
