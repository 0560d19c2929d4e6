"""Fingerprints change with what they are of, and with nothing else."""

import copy

import torch

from cenote.fingerprints import of_texts, of_weights
from cenote.texts import Text


def test_texts():
    base = [Text("0", "a pool"), Text("1", "a cave")]
    others = [
        base[::-1],
        base[:1],
        [Text("0", "a poo"), Text("l1", "a cave")],
        [Text("0", "a pool"), Text("1", "a cave ")],
        [Text("0a", " pool"), Text("1", "a cave")],
    ]
    assert of_texts(base) == of_texts(iter(base))
    assert len({of_texts(texts) for texts in (base, *others)}) == 6
    assert of_texts([Text("0", "\ud800")])  # a lone surrogate is a text too


def test_weights(demo):
    name = of_weights(demo)
    assert of_weights(copy.deepcopy(demo)) == name
    other = copy.deepcopy(demo)
    other[0].model.encoder.layer[0].attention.self.query.weight.data.div_(0.8)
    assert of_weights(other) != name
    assert of_weights(copy.deepcopy(demo).to(torch.bfloat16)) != name


def test_of_a_large_tensor_every_so_many_entries_count():
    layer = torch.nn.Linear(1, 200_000, bias=False)  # every fourth
    name = of_weights(layer)
    for place, seen in ((0, True), (1, False), (3, False), (4, True), (199_996, True), (199_999, False)):
        other = copy.deepcopy(layer)
        other.weight.data[place] += 1
        assert (of_weights(other) != name) is seen, place
    small = torch.nn.Linear(1, 65_536, bias=False)  # all
    other = copy.deepcopy(small)
    other.weight.data[1] += 1
    assert of_weights(other) != of_weights(small)
