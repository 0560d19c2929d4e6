"""Batches of training draw an interval for each text and epoch; batches of evaluation draw nothing."""

import warnings

import pytest
import torch
from sentence_transformers import SentenceTransformer

from cenote.errors import CenoteWarning
from cenote.functional.landmarks import drawn
from cenote.models.repooling import repool
from cenote.training.collator import Collator, FollowEpochs

TEXTS = [" ".join(["one two three pool cave water stone deep light a"] * 3) + f" {word}" for word in ("pool", "cave")]
INTERVALS = [2, 3, 5, 7]


@pytest.fixture
def model(tiny_st):
    return repool(
        SentenceTransformer(str(tiny_st("bert")), device="cpu"),
        "landmark",
        interval=4,
        splitter="variable",
        training_intervals=INTERVALS,
        seed=6,
    )


def marks_of(model, text, interval):
    """How many landmarks a text has, by hand."""
    count = len(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    return -(-count // interval)


def rows_of(epoch):
    return [{"query": text, "positive": text[::-1], "epoch": epoch} for text in TEXTS]


def test_each_text_has_the_interval_of_its_seed_and_epoch(model):
    collate = Collator(model.preprocess)
    seen = set()
    for epoch in range(8):
        batch = collate(rows_of(epoch))
        for column, texts in (("query", TEXTS), ("positive", [text[::-1] for text in TEXTS])):
            for text, marks in zip(texts, batch[f"{column}_landmark_mask"], strict=True):
                interval = drawn(INTERVALS, 6, epoch, text)
                assert int(marks.sum()) == marks_of(model, text, interval)
                seen.add(interval)
        assert batch["query_landmark_epoch"] == epoch
    assert seen == set(INTERVALS)


def test_texts_of_one_batch_have_intervals_of_their_own(model):
    batch = Collator(model.preprocess)(
        [{"query": f"{TEXTS[0]} {word}", "positive": "a", "epoch": 0} for word in "one two three pool cave".split()]  # noqa: SIM905
    )
    assert len(set(batch["query_landmark_mask"].sum(1).tolist())) > 1


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_draws_nothing_and_workers_draw_the_same(model, workers):
    def load(collate, rows):
        loader = torch.utils.data.DataLoader(rows, batch_size=1, num_workers=workers, collate_fn=collate)
        return [batch["query_landmark_mask"].sum().item() for batch in loader]

    model.train()
    plain = [{"query": text, "positive": "a"} for text in TEXTS] * 2
    fixed = [marks_of(model, text, 4) for text in TEXTS] * 2
    # sentence-transformers' own collator, which evaluation uses, in training mode and in a worker alike
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

    assert load(SentenceTransformerDataCollator(model.preprocess), plain) == fixed
    training = [row for epoch in (0, 1) for row in rows_of(epoch)]
    by_hand = [marks_of(model, row["query"], drawn(INTERVALS, 6, row["epoch"], row["query"])) for row in training]
    assert load(Collator(model.preprocess), training) == by_hand != fixed
    model.eval()
    assert load(Collator(model.preprocess), training) == by_hand


def test_a_trainer_tells_the_epoch(model):
    collate = Collator(model.preprocess)
    follow = FollowEpochs(collate)

    class State:
        epoch = 3.0

    follow.on_epoch_begin(None, State, None)
    batch = collate([{"query": text, "positive": "a"} for text in TEXTS])
    assert [int(marks.sum()) for marks in batch["query_landmark_mask"]] == [
        marks_of(model, text, drawn(INTERVALS, 6, 3, text)) for text in TEXTS
    ]


def test_other_models_are_read_as_they_are(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    batch = Collator(model.preprocess)(rows_of(0))
    assert torch.equal(batch["query_input_ids"], model.preprocess(TEXTS)["input_ids"])


def test_the_order_of_columns_is_warned_of_once(model):
    collate, said = Collator(model.preprocess), []
    collate.maybe_warn_about_column_order = lambda names: said.append(names) or collate._warned_columns.add((*names,))
    for epoch in range(3):
        collate([{"positive": "a", "query": "b", "epoch": epoch}])
    assert said == [["positive", "query"]]


def test_a_loss_may_run_the_model_twice_on_a_batch(model):
    features = Collator(model.preprocess).preprocess_fn(TEXTS, epoch=0)
    model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(features)
        model(features)


def test_a_batch_without_draws_is_told_once(model):
    features = model.preprocess(TEXTS)
    model.train()
    with pytest.warns(CenoteWarning, match="interval of 4 for every text, although splitter='variable'"):
        model({**features})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model({**features})
        model(Collator(model.preprocess).preprocess_fn(TEXTS, epoch=0))
