"""Lengths of texts in hooks, and the state after a failed pass."""

import pytest
import torch

from cenote.errors import BadInput, UnsupportedModel
from cenote.functional.temperature import LengthTemperature
from cenote.surgery import hooks
from cenote.surgery.tempering import temper

BY_LENGTH = LengthTemperature("log", s=0.55)


def left_behind():
    return hooks._STATE.get()


@pytest.mark.parametrize("name", ["bert", "t5", "qwen3"])
def test_lengths_by_position_by_name_and_without_a_mask(name, network, batch, read):
    model, features = network(name), batch(None)
    temper(model, BY_LENGTH)
    expected = read(model, features)
    with torch.no_grad():
        assert torch.equal(model(features["input_ids"], features["attention_mask"])[0].flatten(0, 1), expected)
        unmasked = model(features["input_ids"])[0].flatten(0, 1)
        embedded = model(inputs_embeds=model.get_input_embeddings()(features["input_ids"]))[0].flatten(0, 1)
    assert (unmasked - expected).abs().max() < 1e-5
    assert (embedded - expected).abs().max() < 1e-5 or name == "t5"
    assert not left_behind()


def test_flattened_batches_scale_each_token():
    setting = hooks.Setting(LengthTemperature("linear", start=1, end=0.5, shortest=2, longest=4))
    hooks._EnterModel(setting)(None, (), {"cu_seq_lens_q": torch.tensor([0, 2, 6])})
    assert setting.scale().tolist() == [[1, 1, 2, 2, 2, 2]]
    hooks._Leave(setting, "scale")()
    assert not left_behind()


def test_a_mask_of_the_wrong_shape_is_refused(network, batch):
    model, features = network("bert"), batch()
    temper(model, BY_LENGTH)
    with pytest.raises(BadInput, match=r"this one is \[3, 1, 12, 12\]"):
        model(features["input_ids"], attention_mask=torch.ones(3, 1, 12, 12))
    assert not left_behind()


@pytest.mark.parametrize("name", ["bert", "t5", "deberta-v2"])
def test_a_pass_that_fails_leaves_nothing_behind(name, network, batch, read):
    model, features = network(name), batch()
    temper(model, BY_LENGTH)
    expected = read(model, features)
    last = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)][-2]
    handle = last.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division"):
        read(model, features)
    handle.remove()
    assert not left_behind()
    assert not torch.overrides._get_current_function_mode_stack()
    assert torch.equal(read(model, features), expected)


def test_a_part_of_the_model_alone_is_refused(network, batch):
    model = network("bert")
    temper(model, BY_LENGTH)
    with pytest.raises(UnsupportedModel, match="Call that model, not a part of it"):
        model.encoder(torch.zeros(1, 4, 32))


def test_a_softmax_that_no_longer_runs_is_refused(network, batch, monkeypatch):
    model = network("deberta-v2")
    temper(model, 0.7)
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, **_: x.exp() / x.exp().sum(dim, keepdim=True))
    with pytest.raises(UnsupportedModel, match="DisentangledSelfAttention ran no softmax that can be tempered"):
        model(**batch())


def test_a_proof_deactivates_other_settings():
    mine, other, trial = hooks.Setting(0.5), hooks.Setting(0.25), hooks.Setting(0.125, trial=True)
    assert (mine.scale(), other.scale(), trial.scale()) == (2, 4, 1)
    with hooks.proving(trial):
        assert (mine.scale(), other.scale(), trial.scale()) == (1, 1, 8)
