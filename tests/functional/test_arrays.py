"""Conversion between numpy arrays and tensors."""

import numpy as np
import pytest
import torch

from cenote.functional.arrays import convert_like, from_numpy


@pytest.mark.filterwarnings("error")
def test_memory_is_shared_where_torch_can_read_it():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    array.flags.writeable = False
    assert from_numpy(array).data_ptr() == array.ctypes.data
    for odd in (array[::-1], array.astype(">f4")):
        np.testing.assert_array_equal(from_numpy(odd).numpy(), odd)


def test_results_have_the_kind_of_the_input():
    values = torch.tensor(2.0)
    assert convert_like(torch.zeros(1), values) is values
    assert isinstance(convert_like(np.zeros(1), values), np.float32)
    assert isinstance(convert_like(np.zeros(1), values[None]), np.ndarray)
