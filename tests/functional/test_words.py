"""Averages of word embeddings: a plain loop, every form of ids, precision, and bad input."""

import math

import numpy as np
import pytest
import torch

from cenote.errors import BadInput
from cenote.functional import words as room
from cenote.functional.words import word_averages

from .helpers import padded

IDS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3], [0, 0]]


def table(rows=10, width=4, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, width))


def loop(rows, ids):
    return [[math.fsum(rows[i][d] for i in text) / len(text) for d in range(len(rows[0]))] for text in ids]


def test_averages_equal_a_plain_loop():
    got = word_averages(table(), IDS)
    assert got.shape == (4, 4)
    np.testing.assert_allclose(got, loop(table().tolist(), IDS), rtol=1e-14)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("more", [0, 5])
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_padding_does_not_matter(side, more, library):
    values, mask = padded([torch.tensor(text) for text in IDS], side, more, fill=-100)
    values, mask = (values, mask.bool()) if library == "torch" else (values.numpy(), mask.numpy())
    expected = word_averages(table(), IDS)
    np.testing.assert_array_equal(word_averages(table(), values, mask), expected)
    np.testing.assert_array_equal(word_averages(table(), values.tolist(), mask.tolist()), expected)


def test_ids_may_be_lists_tuples_arrays_or_tensors():
    expected = word_averages(table(), IDS)
    for ids in (list(map(np.array, IDS)), list(map(torch.tensor, IDS)), tuple(map(tuple, IDS))):
        np.testing.assert_array_equal(word_averages(table(), ids), expected)
    full = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(word_averages(table(), full), word_averages(table(), full.tolist()))
    assert word_averages(table(), []).shape == (0, 4)
    assert word_averages(table(), np.zeros((0, 3), int)).shape == (0, 4)


def test_other_texts_and_blocks_do_not_matter(monkeypatch):
    expected = word_averages(table(), IDS)
    for place, text in enumerate(IDS):
        np.testing.assert_array_equal(word_averages(table(), [text])[0], expected[place])
    monkeypatch.setattr(room, "_BLOCK", 8)  # two words at a time: texts are cut
    np.testing.assert_array_equal(word_averages(table(), IDS), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_tables_kind_and_at_least_float32(dtype):
    rows = torch.from_numpy(table()).to(dtype)
    got = word_averages(rows.requires_grad_(), IDS)
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not got.requires_grad
    exact = loop(rows.double().tolist(), IDS)
    torch.testing.assert_close(got.double(), torch.tensor(exact, dtype=torch.float64), rtol=1e-7, atol=1e-8)
    if dtype != torch.bfloat16:
        same = word_averages(rows.detach().numpy(), IDS)
        assert isinstance(same, np.ndarray)
        np.testing.assert_array_equal(same, got.numpy())


def test_sums_over_many_words_keep_their_digits():
    rows = np.array([[1e4], [1.0]], np.float32)
    assert word_averages(rows, [[0] * 5000 + [1] * 5000])[0, 0] == np.float32(5000.5)


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([[1], []], None, "texts 1 have no ids: leave"),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 1], [0, 0]]), "texts 1 have no ids"),
        ([[1], [2, 10]], None, "text 1 has the id 10, but the table has 10 rows"),
        ([[-1]], None, "text 0 has the id -1"),
        ([[1.0, 2.0]], None, r"ids\[0\] has dtype torch.float64"),
        ([["a"]], None, r"ids\[0\] is not an array of whole numbers"),
        ([[[1, 2]]], None, "ids of texts 0 are nested"),
        (np.array([1, 2]), None, r"ids have shape \(2,\)"),
        ([[1, 2], [3]], [[1, 1], [1, 0]], "ids is not an array of whole numbers"),
        (np.array([[1, 2]]), np.array([[1]]), r"ids have shape \(1, 2\), mask \(1, 1\)"),
        (np.array([[1, 2]]), np.array([[1, 2]]), "mask holds values other than 0 and 1"),
    ],
)
def test_bad_ids_are_refused(ids, mask, message):
    with pytest.raises(BadInput, match=message):
        word_averages(table(), ids, mask)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(3), r"table has shape \(3,\)"),
        (np.full((10, 2), np.nan), "texts 0, 1, 2, 3 have ids whose rows in the table are not finite"),
    ],
)
def test_bad_tables_are_refused(rows, message):
    with pytest.raises(BadInput, match=message):
        word_averages(rows, IDS)
