"""Conversion between numpy arrays and tensors, and the input that every measure refuses."""

import re

import numpy as np
import pytest
import torch

from cenote.errors import BadInput
from cenote.functional.arrays import convert_like, from_numpy
from cenote.functional.clouds import read_clouds
from cenote.functional.concentration import concentration
from cenote.functional.dispersion import mean_cosine
from cenote.functional.similarity import similarity
from cenote.functional.spectrum import sigma_a
from cenote.functional.words import word_averages

WIDER = pytest.mark.skipif(np.longdouble(0).nbytes == 8, reason="numpy has nothing wider than float64 here")
MEASURES = {
    "tokens": concentration,
    "attention": sigma_a,
    "embeddings": mean_cosine,
    "a": lambda x: similarity(x, torch.eye(2)),
    "b": lambda x: similarity(torch.eye(2), x),
    "texts[0]": lambda x: read_clouds([x], "texts"),
    "table": lambda x: word_averages(x, [[0]]),
}


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


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1.0, 2.0]], "is a list: pass a torch tensor or a plain numpy array"),
        (np.ma.ones((2, 2)), "is a MaskedArray: pass"),
        (torch.eye(2).to_sparse(), "is a sparse tensor: call .to_dense"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]), "is a nested tensor: pass a list of its tensors"),
        (torch.eye(2, device="meta"), "is on the device 'meta', where tensors have no values"),
        (torch.eye(2).to(torch.float8_e4m3fn), "has dtype torch.float8_e4m3fn, which has no arithmetic: call .float"),
        (torch.eye(2).int(), "has dtype torch.int32: pass floating numbers, for example x.float"),
        (torch.eye(2).bool(), "has dtype torch.bool"),
        (torch.eye(2).to(torch.complex64), "has dtype torch.complex64"),
        (np.eye(2, dtype=np.int64), "has dtype int64: pass floating numbers, for example x.astype"),
        (np.eye(2, dtype=object), "has dtype object"),
        (np.eye(2, dtype=np.complex64), "has dtype complex64"),
        pytest.param(np.eye(2, dtype=np.longdouble), "has dtype float(96|128)", marks=WIDER),
    ],
)
def test_input_without_floating_numbers_is_refused(name, given, message):
    with pytest.raises(BadInput, match=f"^{re.escape(name)} {message}"):
        MEASURES[name](given)
