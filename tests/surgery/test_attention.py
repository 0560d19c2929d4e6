"""The attention table: every row is found, models without a row get a guess, others are refused by name."""

import copy
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from cenote.errors import UnsupportedModel
from cenote.surgery.attention import FAMILIES, SHARED_BIASES, UNPLACED, Probe, address, find_sites
from cenote.surgery.proof import confirmed_sites
from cenote.surgery.tempering import bake, temper


def test_every_family_is_in_the_table(family, network):
    sites = find_sites(network(family))
    assert {address(site.module) for site in sites} <= FAMILIES.keys()
    assert sum(site.calls for site in sites) == (4 if family == "modernbert" else 2)
    assert all(list(site.places()) for site in sites)


def test_every_row_has_a_class_of_that_name_in_transformers():
    later = {"gte", "embedding_gemma2"}  # than the lowest version that is allowed
    for key in [*FAMILIES, *SHARED_BIASES]:
        package, name = key.split(".")
        if package in later and find_spec(f"transformers.models.{package}") is None:
            continue
        module = import_module(f"transformers.models.{package}.modeling_{package}")
        assert issubclass(getattr(module, name), nn.Module), key


def test_a_name_alone_is_not_enough():
    class BertSelfAttention(nn.Module):
        pass

    assert address(BertSelfAttention()).endswith("test_attention.BertSelfAttention")
    assert address(BertSelfAttention()) not in FAMILIES


# Architectures in no row: found by their softmax, and by their query projection where that is plain to see.
OTHERS = {
    "RemBertModel": {"input_embedding_size": 16},
    "MegatronBertModel": {},
    "RoFormerModel": {"embedding_size": 32},
    "ConvBertModel": {"embedding_size": 16, "head_ratio": 2, "conv_kernel_size": 3},
    "GPTNeoXModel": {},
    "Olmo2Model": {"num_key_value_heads": 2, "pad_token_id": 0},
    "DebertaModel": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 16},
    "UMT5EncoderModel": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
}
BAKED = {"RemBertModel", "MegatronBertModel", "RoFormerModel"}  # ConvBERT's query steers a convolution, too


@pytest.mark.parametrize("name", OTHERS)
def test_models_without_a_row(name, network, batch, read, oracle):
    model, features = network(name, **OTHERS[name]), batch()
    plain = read(model, features)
    with oracle(0.7):
        expected = read(model, features)
    with temper(model, 0.7):
        assert (read(model, features) - expected).abs().max() < 1e-5
    assert torch.equal(read(model, features), plain)
    if name in BAKED:
        assert (read(bake(model, 0.7), features) - expected).abs().max() < 1e-5
    else:
        with pytest.raises(UnsupportedModel, match="in no row of the table"):
            bake(model, 0.7)
        with pytest.raises(UnsupportedModel, match="scale_bias=False"):
            temper(model, 0.7, scale_bias=False)


class Misleading(nn.Module):
    """Has a usual query projection, and normalises away any factor on its output."""

    def __init__(self, attention):
        super().__init__()
        self.query, self.key, self.value = attention.query, attention.key, attention.value

    def forward(self, hidden, mask=None, **_):
        def unit(x):
            return nn.functional.normalize(x, dim=-1).unsqueeze(1)

        logits = 8 * unit(self.query(hidden)) @ unit(self.key(hidden)).transpose(2, 3)
        weights = nn.functional.softmax(logits if mask is None else logits + mask, dim=-1)
        return (weights @ self.value(hidden).unsqueeze(1)).squeeze(1), weights


def test_a_wrong_guess_is_replaced_by_the_softmax(network, batch, read, oracle):
    model, features = network("bert"), batch()
    for layer in model.encoder.layer:
        layer.attention.self = Misleading(layer.attention.self)
    assert all(site.family.guessed for site in find_sites(model))
    with oracle(0.7):
        expected = read(model, features)
    with temper(model, 0.7):
        assert (read(model, features) - expected).abs().max() < 1e-5
    with pytest.raises(UnsupportedModel, match=r"encoder.layer.0.attention.self \(.*Misleading\)"):
        bake(model, 0.7)


class Capped(Misleading):
    """Caps its logits, as T5Gemma does: a factor on the query is nearly one on the logits."""

    def forward(self, hidden, *_, **__):
        products = self.query(hidden).unsqueeze(1) @ self.key(hidden).unsqueeze(1).transpose(2, 3)
        weights = nn.functional.softmax(50 * torch.tanh(products / 50), dim=-1)
        return (weights @ self.value(hidden).unsqueeze(1)).squeeze(1), weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_precision_confirms_a_wrong_guess(dtype, network):
    model = network("bert")
    for layer in model.encoder.layer:
        layer.attention.self = Capped(layer.attention.self)
    assert [site.family for site in confirmed_sites(model.to(dtype), None)] == [UNPLACED] * 2


def test_baking_a_guess_asks_for_float32(network):
    model = network("RemBertModel", **OTHERS["RemBertModel"])
    with pytest.raises(UnsupportedModel, match="Load the model with dtype='float32'"):
        bake(copy.deepcopy(model).to(torch.bfloat16), 0.7)
    bake(model, 0.7)


class ByPosition(Misleading):
    """Calls torch's attention with every argument by position."""

    def forward(self, hidden, attention_mask, *_, **__):
        query, key, value = (one(hidden).unsqueeze(1) for one in (self.query, self.key, self.value))
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, 0.0, False)
        return attended.squeeze(1), None


def test_a_mask_by_position_stays_in_its_place(network, batch, read):
    model, features = network("bert"), batch()
    for layer in model.encoder.layer:
        layer.attention.self = ByPosition(layer.attention.self)
    divided = copy.deepcopy(model)
    for layer in divided.encoder.layer:
        for parameter in layer.attention.self.query.parameters():
            parameter.data /= 0.7
    expected = read(divided, features)
    assert (read(model, features) - expected).abs().max() > 0.01
    with temper(model, 0.7):
        assert (read(model, features) - expected).abs().max() < 1e-5


class Landmarks(Misleading):
    """Attends by way of a few landmarks: softmax over something that is not tokens by tokens."""

    def forward(self, hidden, mask=None, **_):
        few = hidden[:, :3].unsqueeze(1)
        weights = nn.functional.softmax(hidden.unsqueeze(1) @ few.transpose(2, 3), dim=-1)
        return (weights @ few).squeeze(1), weights


def test_attention_that_cannot_be_tempered_is_named(network):
    model = network("bert")
    model.encoder.layer[1].attention.self = Landmarks(model.encoder.layer[1].attention.self)
    with pytest.raises(UnsupportedModel, match=r"cannot temper encoder.layer.1.attention.self \(.*Landmarks\)"):
        temper(model, 0.7)


def test_an_encoder_decoder_model_is_refused():
    from transformers import T5Config, T5Model

    model = T5Model(T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=4))
    with pytest.raises(
        UnsupportedModel, match=r"pass the encoder, model.get_encoder\(\). A SentenceTransformer that holds both"
    ):
        temper(model, 0.7)


def test_a_model_that_reads_no_tokens_is_refused():
    with pytest.raises(UnsupportedModel, match="Linear has no token embeddings"):
        Probe.of(nn.Linear(2, 2))

    class Picky(BertModel):
        def forward(self, **_):
            raise KeyError("pixel_values")

    config = BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(UnsupportedModel, match="Picky fails on a few token ids and their mask: 'pixel_values'"):
        temper(Picky(config), 0.7)


def test_no_row_of_the_table_is_a_guess():
    assert not any(row.guessed or row is UNPLACED for row in FAMILIES.values())
