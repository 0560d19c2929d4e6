"""Value and output projections are found, and look-alikes are not. Their numbers: test_tracing."""

import torch
from torch import nn

from cenote.surgery.attention import find_sites
from cenote.surgery.projections import Projections, find_projections


def first(network):
    return find_projections(network, find_sites(network)[0])


def test_grouped_and_fused_values(network):
    llama, phi, modern = first(network("llama")), first(network("phi3")), first(network("modernbert"))
    assert (llama.heads, llama.value_heads, tuple(llama.value.shape)) == (4, 2, (16, 32))
    assert (phi.heads, phi.value_heads, tuple(phi.value.shape)) == (4, 2, (16, 32))
    assert (modern.heads, modern.value_heads, tuple(modern.value.shape)) == (4, 4, (32, 32))


def test_the_output_beside_the_attention(network):
    model = network("bert")
    assert first(model).output is model.encoder.layer[0].attention.output.dense


def test_other_layers_are_not_taken_for_projections(network):
    model = network("bert")
    attention = model.encoder.layer[0].attention
    attention.self.value = nn.Sequential(attention.self.value)
    assert first(model) == "BertSelfAttention has no linear projection for its values alone"
    model = network("bert")
    model.encoder.layer[0].attention.output.dense = nn.Sequential(model.encoder.layer[0].attention.output.dense)
    assert first(model) == "BertSelfAttention has no linear projection after its heads"
    model = network("bert")
    model.config.num_attention_heads = 5
    assert "does not fit 5 heads" in first(model)


def test_weights_are_not_copied(network):
    model = network("bert")
    found = first(model)
    assert isinstance(found, Projections)
    assert found.value.data_ptr() == model.encoder.layer[0].attention.self.value.weight.data_ptr()
    assert not found.value.requires_grad
    assert torch.equal(found.value, model.encoder.layer[0].attention.self.value.weight)
