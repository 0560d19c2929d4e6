"""Fingerprints of weights."""

import copy

import torch
from sentence_transformers.base.modules import Router

from cenote.models.fingerprints import fingerprint_as, fingerprint_of_weights


def test_a_change_of_weights_or_dtype_changes_the_fingerprint(demo):
    name = fingerprint_of_weights(demo)
    assert fingerprint_of_weights(copy.deepcopy(demo)) == name
    other = copy.deepcopy(demo)
    other[0].model.encoder.layer[0].attention.self.query.weight.data.div_(0.8)
    assert fingerprint_of_weights(other) != name
    assert fingerprint_of_weights(copy.deepcopy(demo).to(torch.bfloat16)) != name


def test_a_large_tensor_is_sampled():
    layer = torch.nn.Linear(1, 200_000, bias=False)  # every fourth
    name = fingerprint_of_weights(layer)
    for place, seen in ((0, True), (1, False), (3, False), (4, True), (199_996, True), (199_999, False)):
        other = copy.deepcopy(layer)
        other.weight.data[place] += 1
        assert (fingerprint_of_weights(other) != name) is seen, place
    small = torch.nn.Linear(1, 65_536, bias=False)  # all
    other = copy.deepcopy(small)
    other.weight.data[1] += 1
    assert fingerprint_of_weights(other) != fingerprint_of_weights(small)


def test_a_pooler_that_no_vector_depends_on_does_not_count(demo):
    name = fingerprint_of_weights(demo, every=True)
    other = copy.deepcopy(demo)
    other[0].model.pooler.dense.weight.data.normal_()
    assert fingerprint_of_weights(other, every=True) == name
    network = other[0].model  # alone, it may be read by anything
    assert fingerprint_of_weights(network) != fingerprint_of_weights(demo[0].model)


def test_a_pooler_of_a_route_does_not_count_where_a_pooling_follows(demo):
    name = None
    for _ in range(2):
        readers = [copy.deepcopy(demo[0]) for _ in range(2)]
        for reader in readers:
            reader.model.pooler.dense.weight.data.normal_()
        model = torch.nn.Sequential(Router.for_query_document([readers[0], demo[1]], [readers[1], demo[1]]), demo[2])
        assert name in (None, fingerprint_of_weights(model))
        name = fingerprint_of_weights(model)
    for reader in readers:
        reader.model.embeddings.LayerNorm.weight.data.add_(1)
        assert fingerprint_of_weights(model) != name
        name = fingerprint_of_weights(model)


def test_a_record_of_earlier_is_compared_in_its_own_form(demo):
    new, old = fingerprint_of_weights(demo), fingerprint_of_weights(demo, poolers=True)
    assert new != old
    assert [fingerprint_as(recorded, demo) for recorded in (new, old, "other", None)] == [new, old, new, new]
