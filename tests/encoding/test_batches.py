"""`BatchReader`: every text once, whatever the budget; lack of memory; refused texts. Batches fail on purpose."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cenote.encoding.batches import NO_TOKENS, Batch, BatchReader, Refused, default_budget, is_out_of_memory
from cenote.encoding.tokens import Tokens
from cenote.errors import BadInput, CenoteError, UnsupportedModel
from cenote.functional.token_batches import refuse_rows


class Model(list):
    """A model as far as batches need one: the tokenizer of its first module pads."""

    device = torch.device("cpu")


MODEL = Model([SimpleNamespace(tokenizer=SimpleNamespace(padding_side="right", pad_token_id=0, pad_token_type_id=0))])
LENGTHS = [3, 40, 1, 0, 90, 7, 7, 40, 0, 2] * 4


def tokens_of(lengths):
    """Texts whose tokens are all the number of the text, from 1."""
    ids = np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths)
    columns = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return Tokens(columns, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.array(lengths, np.int64), {})


class Run:
    """Returns the number of each text of a batch. `fail` sees the features first and may raise."""

    def __init__(self, fail=lambda features: None):
        self.fail, self.shapes = fail, []

    def __call__(self, features):
        self.shapes.append(tuple(features["input_ids"].shape))
        self.fail(features)
        return features["input_ids"].amax(1)


def read(run, lengths=LENGTHS, rows=None, **options):
    """Return the rows in the order of the batches, the refused texts, and the reader; check every output."""
    reader = BatchReader(MODEL, run, **options)
    order, refused = [], {}
    for one in reader.read(tokens_of(lengths), rows):
        if isinstance(one, Refused):
            refused[one.row] = one.reason
        else:
            assert isinstance(one, Batch)
            assert one.output.tolist() == [row + 1 for row in one.rows]
            assert one.features["attention_mask"].sum(1).tolist() == [lengths[row] for row in one.rows]
            order += one.rows
    return order, refused, reader


def costs(run, power=1):
    return [rows * length**power for rows, length in run.shapes]


# Every text once.


@given(
    lengths=st.lists(st.integers(0, 50), max_size=30),
    budget=st.integers(1, 300),
    power=st.sampled_from([1, 2]),
    most=st.integers(50**2, 10**4),
)
def test_every_text_comes_once_in_a_batch_or_as_a_refusal(lengths, budget, power, most):
    def fail(features):
        if features["input_ids"].numel() * features["input_ids"].shape[1] > most:
            raise MemoryError
        refuse_rows(features["input_ids"][:, 0] % 5 == 0, "a number of five", "leave it out")

    order, refused, _ = read(Run(fail), lengths, budget=budget, power=power)
    assert sorted([*order, *refused]) == list(range(len(lengths)))
    expected = {row for row, length in enumerate(lengths) if not length or (row + 1) % 5 == 0}
    assert set(refused) == expected


def test_only_the_wanted_texts_are_read():
    wanted = [30, 3, 1, 5]
    order, refused, _ = read(Run(), rows=wanted)
    assert sorted(order) == [1, 5, 30]
    assert refused == {3: NO_TOKENS}
    assert read(Run(), rows=[])[:2] == ([], {})


def test_texts_without_tokens_are_refused_and_the_function_never_sees_them():
    run = Run()
    order, refused, _ = read(run)
    assert refused == {row: NO_TOKENS for row, length in enumerate(LENGTHS) if not length}
    assert sum(rows for rows, _ in run.shapes) == len(order) == len(LENGTHS) - len(refused)
    assert read(Run(), [0, 0])[:2] == ([], dict.fromkeys((0, 1), NO_TOKENS))


@pytest.mark.parametrize("power", [1, 2])
def test_a_batch_of_several_texts_costs_at_most_the_budget(power):
    run = Run()
    read(run, budget=500, power=power)
    assert all(rows == 1 or rows * length**power <= 500 for rows, length in run.shapes)
    assert len(run.shapes) < len(LENGTHS) / 2


def test_attention_maps_make_smaller_batches_of_long_texts_than_padded_tokens():
    padded, maps = Run(), Run()
    read(padded, budget=4000)
    read(maps, budget=4000, power=2)
    assert max(rows for rows, length in padded.shapes if length == 40) > 2
    assert {rows for rows, length in maps.shapes if length == 40} <= {1, 2}


def test_the_longest_text_comes_first_and_the_others_mixed():
    run = Run()
    read(run, budget=100)
    lengths = [length for _, length in run.shapes]
    assert lengths[0] == max(lengths)
    assert lengths != sorted(lengths, reverse=True)


def test_the_default_budget_depends_on_the_device():
    assert default_budget(MODEL) == BatchReader(MODEL, Run()).budget == 2048
    assert default_budget(SimpleNamespace(device=torch.device("cuda"))) == 8192


# Memory.

MEMORY_ERRORS = [
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    type("RuntimeException", (Exception,), {})("Failed to allocate memory for requested buffer of size 1024"),
]


def short_of(most, error):
    def fail(features):
        if features["input_ids"].numel() > most:
            raise error

    return fail


@pytest.mark.parametrize("error", MEMORY_ERRORS, ids=lambda error: f"{type(error).__name__}: {error}"[:30])
def test_out_of_memory_halves_the_budget_and_goes_on(error):
    assert is_out_of_memory(error)
    notes, run = [], Run(short_of(150, error))
    order, _, reader = read(run, budget=1000, notify=notes.append)
    assert sorted(order) == [row for row, length in enumerate(LENGTHS) if length]
    assert 75 <= reader.budget <= 150
    assert notes[-1] == f"out of memory: going on with batches of {reader.budget:,} tokens"
    assert sum(cost > 150 for cost in costs(run)) == len(notes) <= 4
    # The next call makes the batches that it would have made alone.
    before = list(run.shapes)
    for _ in reader.read(tokens_of(LENGTHS)):
        pass
    assert run.shapes == before * 2


def test_the_note_names_the_unit_of_the_budget():
    notes = []
    read(Run(short_of(150, MemoryError())), budget=20_000, power=2, notify=notes.append)
    assert notes
    assert all(note.endswith(" tokens^2") for note in notes)


def test_one_text_that_does_not_fit_is_refused_and_stops_no_other():
    order, refused, _ = read(Run(short_of(80, MemoryError())), [90, 5, 70], budget=1000)
    assert sorted(order) == [1, 2]
    assert refused == {0: "its 90 tokens do not fit into memory: read it in windows, or lower model.max_seq_length"}


def test_memory_that_others_use_is_no_fault_of_a_short_text():
    def fail(features):
        if features["input_ids"].shape[1] == 6:
            raise MemoryError

    reader = BatchReader(MODEL, Run(fail), budget=10)
    came = reader.read(tokens_of([20, 6]))
    assert next(came).rows == [0]
    said = "of 6 tokens, and one of 20 was read before: other programs or the results so far use the memory"
    with pytest.raises(CenoteError, match=said):
        next(came)
    with pytest.raises(CenoteError, match="and one of 20 was read before"):  # of an earlier call too
        list(reader.read(tokens_of([6])))
    assert isinstance(next(BatchReader(MODEL, Run(fail)).read(tokens_of([6]))), Refused)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), KeyError("x"), KeyboardInterrupt()])
def test_other_errors_are_raised_at_once(error):
    run = Run(short_of(0, error))
    with pytest.raises(type(error)):
        read(run)
    assert len(run.shapes) == 1
    assert not is_out_of_memory(error)


# Refused texts.


def refusing(*rows):
    def fail(features):
        found = torch.tensor([number - 1 in rows for number in features["input_ids"].amax(1).tolist()])
        refuse_rows(found, "a bad number", "leave it out")

    return fail


def test_a_refused_text_is_named_and_stops_no_other():
    run = Run(refusing(4, 11))
    order, refused, _ = read(run, budget=10**5)
    named = "it has a bad number: leave it out"
    assert {row: reason for row, reason in refused.items() if reason != NO_TOKENS} == {4: named, 11: named}
    assert sorted([*order, *refused]) == list(range(len(LENGTHS)))
    assert len(run.shapes) < 2 * 2 * np.log2(len(LENGTHS)) + 10


def test_all_texts_refused_cost_two_calls_each():
    run = Run(refusing(*range(len(LENGTHS))))
    order, refused, _ = read(run)
    assert (order, len(refused)) == ([], len(LENGTHS))
    assert len(run.shapes) < 2 * len(LENGTHS)


def test_a_refusal_of_another_kind_keeps_its_words():
    def fail(features):
        raise BadInput("no such role.")

    assert set(read(Run(fail), [3, 4, 5])[1].values()) == {"no such role"}


def test_a_model_that_is_not_supported_is_no_refused_text():
    def fail(features):
        raise UnsupportedModel("no attention.")

    with pytest.raises(UnsupportedModel, match="no attention"):
        read(Run(fail))
