"""Batches of tokens: the dtype of sums, cleared padding, padded lists, named rows."""

import math

import pytest
import torch

from cenote.errors import BadInput
from cenote.functional.token_batches import Batch, clear_padding, pad_texts, refuse_rows, to_batch


@pytest.mark.parametrize(
    ("dtype", "device", "wide"),
    [
        (torch.float16, "cpu", torch.float32),
        (torch.bfloat16, "meta", torch.float32),
        (torch.float32, "cpu", torch.float64),
        (torch.float32, "meta", torch.float32),
        (torch.float64, "cpu", torch.float64),
        (torch.float64, "meta", torch.float64),
    ],
    ids=str,
)
def test_sums_are_never_narrower_than_float32_nor_than_the_tokens(dtype, device, wide):
    tokens = torch.zeros(1, 2, 3, dtype=dtype, device=device)
    real = torch.ones(1, 2, dtype=torch.bool, device=device)
    assert Batch(tokens, real, real).wide == wide


def test_clear_padding_sets_padding_to_zero_and_nothing_else():
    tokens = torch.tensor([[[1.0], [math.nan]], [[math.inf], [2.0]]])
    batch = clear_padding(to_batch(tokens, [[1, 0], [0, 1]], 0))
    assert batch.tokens.tolist() == [[[1.0], [0.0]], [[0.0], [2.0]]]


def test_lists_of_matrices_are_padded_on_the_right():
    tokens, mask = pad_texts([torch.ones(1, 2), torch.ones(3, 2)], None)
    assert tokens.shape == (2, 3, 2)
    assert mask.tolist() == [[True, False, False], [True, True, True]]
    with pytest.raises(BadInput, match="of real tokens only, and no mask"):
        pad_texts([torch.ones(1, 2)], [[1]])


def test_bad_rows_are_named():
    refuse_rows(torch.tensor([False]), "a fault", "mend it")
    with pytest.raises(BadInput, match=r"^row 1 has a fault: mend it\.$"):
        refuse_rows(torch.tensor([False, True]), "a fault", "mend it")
    with pytest.raises(BadInput, match=r"^rows 0, 1 have a fault") as caught:
        refuse_rows(torch.tensor([True, True]), "a fault", "mend it")
    assert (caught.value.rows, caught.value.problem) == ((0, 1), "a fault: mend it.")
