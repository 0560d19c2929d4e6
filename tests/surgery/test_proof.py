"""The proof refuses temperatures with a wrong effect. Accepted temperatures: test_tempering."""

import pytest
import torch

from cenote.errors import UnsupportedModel
from cenote.functional.temperature import LengthTemperature
from cenote.surgery import proof
from cenote.surgery.proof import prove


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_attention_to_masked_positions_is_refused(name, network, hooks_on, monkeypatch):
    """A causal model hides what follows a text anyway: only padding before it can show a leak."""
    model = network(name)
    original, active = proof.attach, []

    def leaking(sites, setting, **options):
        original(sites, setting, **options)
        active.append(model.get_input_embeddings().register_forward_hook(lambda _m, _a, out: out + out.mean((0, 1))))

    def stopping(network, setting=None):
        detach(network, setting)
        while active:
            active.pop().remove()

    detach = proof.detach
    monkeypatch.setattr(proof, "attach", leaking)
    monkeypatch.setattr(proof, "detach", stopping)
    with pytest.raises(UnsupportedModel, match="attends to masked positions"):
        prove(model, [0.5], True)
    assert not hooks_on(model)


def test_a_scale_on_the_wrong_axis_is_refused(network, hooks_on, monkeypatch):
    """By length the scale is one for each text; a number would never show on which axis it lies."""
    model, axes = network("bert"), LengthTemperature("log", s=0.5)
    prove(model, [axes], True)
    monkeypatch.setattr("cenote.surgery.hooks.mask_of", lambda features, _: features["attention_mask"][:1])
    prove(model, [0.5], True)
    with pytest.raises(UnsupportedModel, match="does not take a temperature for each text"):
        prove(model, [axes], True)
    assert not hooks_on(model)


def test_block_attention_is_refused_before_the_model_changes(network):
    model = network("big-bird", attention_type="block_sparse", block_size=2, num_random_blocks=1)
    with pytest.raises(UnsupportedModel, match="attends to blocks, and switches its attention for good"):
        prove(model, [0.5], True)
    assert model.attention_type == "block_sparse"


def test_the_proof_leaves_the_model_unchanged(network, hooks_on):
    model = network("gemma2")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prove(model, [0.5, LengthTemperature("log", s=0.5)], True)
    assert not hooks_on(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
