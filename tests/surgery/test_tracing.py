"""A trace passes on what the model itself reports, changes nothing and leaves no hooks."""

import copy
import threading

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

import cenote
from cenote.errors import BadInput, UnsupportedModel
from cenote.surgery.projections import Projections
from cenote.surgery.tempering import bake, temper
from cenote.surgery.tracing import Trace, attention_weights

# No family whose attention is not tokens by tokens has weights to show.
BANDED = {"longformer"}


def traced(model, features, **options):
    passages = []
    with torch.no_grad(), Trace(model, passages.append, **options) as trace:
        out = model(**features)[0]
    return out, passages, trace


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_family_passes_on_states_attention_and_projections(family, side, network, variants, batch, hooks_on):
    if side == "left" and family in BANDED:
        pytest.skip("pads its own input on the right")
    features = batch(side)
    real = features["attention_mask"].bool()
    eager = network(family)
    with torch.no_grad():
        theirs = eager(**features, output_hidden_states=True, output_attentions=True)
    for attention in variants(family):
        model = network(family, attention)
        with torch.no_grad():
            plain = model(**features)[0]
        out, passages, trace = traced(model, features, attention=family not in BANDED)
        assert torch.equal(out[real], plain[real])
        assert not hooks_on(model)
        assert [passage.layer for passage in passages] == trace.layers
        assert len(passages) >= 2
        for index, passage in enumerate(passages):
            assert torch.equal(passage.mask, real)
            assert passage.layer.index == index
            if family != "xlnet":  # whose own record is of other places
                assert torch.allclose(passage.before[real], theirs.hidden_states[index][real], atol=1e-5)
            if index:
                assert torch.equal(passage.before, passages[index - 1].after)
            if family not in BANDED:
                expected, weights = theirs.attentions[index], passage.attention
                assert torch.allclose(weights.transpose(1, 2)[real], expected.transpose(1, 2)[real], atol=1e-5)


# Those whose values are not one linear projection of what attention reads.
OTHERWISE = {
    "xlnet": "no linear projection for its values",
    "longformer": "projections of their own",
    "embeddinggemma2": "values are normalised",
}


def test_projections_and_attention_weights_reproduce_the_attention_output(family, network, batch):
    features = batch()
    _, passages, _ = traced(network(family), features, attention=family not in BANDED)
    for passage in passages:
        found = passage.layer.projections
        if family in OTHERWISE:
            assert OTHERWISE[family] in found
            assert passage.attended is None
            continue
        assert isinstance(found, Projections)
        size = found.output.in_features // found.heads
        values = torch.nn.functional.linear(passage.read, found.value).unflatten(-1, (found.value_heads, size))
        values = values.transpose(1, 2).repeat_interleave(found.heads // found.value_heads, 1)
        joined = (passage.attention @ values).transpose(1, 2).flatten(2) @ found.output.weight.detach().T
        # All but the biases, which are the same for every token.
        rest = (passage.attended - joined)[passage.mask]
        assert (rest - rest.mean(0)).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["bert", "distilbert", "albert", "mpnet", "nomic-bert", "gte", "jina-v3", "bart"])
def test_input_plus_attention_output_enters_the_next_norm(name, network, batch):
    model, sums = network(name), []
    _, passages, _ = traced(model, batch(), attention=False)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_pre_hook(lambda _, args: sums.append(args[0]))
    with torch.no_grad():
        model(**batch())
    for passage in passages:
        assert passage.reads_input
        total = passage.before + passage.attended
        assert any(given.shape == total.shape and torch.allclose(given, total, atol=1e-5) for given in sums)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3", "eurobert", "t5"])
def test_pre_norm_attention_is_recognised(name, network, batch):
    _, passages, _ = traced(network(name), batch())
    assert not any(passage.reads_input for passage in passages)


def test_a_tempered_model_shows_tempered_attention(network, batch):
    features = batch()
    for name, attention in (("bert", "sdpa"), ("t5", "sdpa"), ("deberta-v3", "eager"), ("qwen3", "sdpa")):
        model = network(name, attention)
        _, folded, _ = traced(bake(model, 0.5), features, attention=True)
        with temper(model, 0.5):
            _, live, _ = traced(model, features, attention=True)
        for a, b in zip(live, folded, strict=True):
            assert torch.allclose(a.attention, b.attention, atol=1e-5)


def test_a_model_in_half_precision_is_measured_in_float32(network, batch):
    seen = []

    def reduce(passage):
        seen.append((torch.is_autocast_enabled("cpu"), passage.attention.dtype))

    model = network("bert")
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), Trace(model, reduce, attention=True):
        model(**batch())
    assert set(seen) == {(False, torch.float32)}


def test_hooks_are_removed_after_an_error(network, batch, hooks_on):
    model = network("bert")

    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Trace(model, fail):
        model(**batch())
    assert not hooks_on(model)
    with pytest.raises(IndexError), Trace(model):
        model(input_ids=torch.full((1, 3), 10**6))
    assert not hooks_on(model)
    out, passages, _ = traced(model, batch())
    assert len(passages) == 2
    with torch.no_grad():
        assert torch.equal(out, model(**batch())[0])


def test_a_failed_forward_does_not_affect_the_next(network, batch):
    model, passages = network("bert"), []
    with torch.no_grad(), Trace(model, passages.append):
        handle = model.encoder.layer[1].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(**batch())
        handle.remove()
        passages.clear()
        model(**batch())
    assert [passage.layer.index for passage in passages] == [0, 1]


def test_nothing_is_kept(network):
    """At any time one layer's states are alive: a later layer's reducer finds the earlier ones gone."""
    import weakref

    model, seen, alive = network("bert", num_hidden_layers=6), [], []

    def look(passage):
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(passage.attention))

    with torch.no_grad(), Trace(model, look, attention=True):
        model(input_ids=torch.full((2, 9), 7))
    assert len(alive) == 6
    assert max(alive) == 0


def test_other_threads_are_not_traced(network, batch):
    model, passages = network("bert"), []
    with torch.no_grad(), Trace(model, passages.append):
        other = threading.Thread(target=lambda: model(**batch()))
        other.start()
        other.join()
        assert passages == []
        model(**batch())
    assert len(passages) == 2


def test_a_sentence_transformer_is_traced_as_it_encodes(demo):
    texts = ["a pool", "the deep cave holds light, and stone, and water", "collapse"]
    passages = []
    plain = demo.encode(texts, convert_to_tensor=True)
    with Trace(demo, passages.append, attention=[5]) as trace:
        assert torch.equal(demo.encode(texts, convert_to_tensor=True), plain)
    assert len(trace.layers) == len(passages) == 6
    lengths = [int(demo.preprocess([text])["attention_mask"].sum()) for text in texts]
    order = [lengths.index(length) for length in passages[0].mask.sum(1).tolist()]  # encode sorts by length
    last = passages[5]
    pooled = torch.nn.functional.normalize(cenote.pool(last.after, last.mask, "mean"))
    assert torch.allclose(pooled, plain[order], atol=1e-6)
    rows = last.attention.sum(-1).transpose(1, 2)[last.mask]
    assert torch.allclose(rows, torch.ones_like(rows))


@pytest.mark.parametrize(
    ("name", "layers"),
    [("bert", ["encoder.layer.0", "encoder.layer.1"]), ("albert", ["encoder.albert_layer_groups.0"] * 2)],
)
def test_only_requested_layers_show_attention_and_a_shared_one_counts_each_time(name, layers, network, batch):
    _, passages, trace = traced(network(name, "sdpa"), batch(), attention=[1])
    assert [layer.name for layer in trace.layers] == layers
    assert [passage.attention is None for passage in passages] == [True, False]


@pytest.mark.parametrize(("causal", "masked"), [(True, None), (False, None), (False, "bool"), (False, "float")])
def test_attention_weights_are_those_of_sdpa(causal, masked):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 6, 8, generator=generator)
    key, value = (torch.randn(2, 2, 6, 8, generator=generator) for _ in range(2))
    mask = torch.rand(2, 1, 6, 6, generator=generator) < 0.7
    mask[..., 0] = True
    given = {None: None, "bool": mask, "float": torch.randn(2, 4, 6, 6, generator=generator)}[masked]
    options = {"is_causal": causal, "scale": 0.3, "enable_gqa": True}
    weights = attention_weights(query, key, value, given, **options)
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, given, **options)
    assert torch.allclose(weights @ value.repeat_interleave(2, 1), out, atol=1e-6)
    nothing = torch.zeros(6, 6, dtype=torch.bool)
    assert (attention_weights(query, key, value, nothing, enable_gqa=True) == 0).all()


def test_models_and_arguments_that_cannot_be_traced_are_refused(network, batch, demo):
    with pytest.raises(BadInput, match=r"attention=\[9\]: no layer 9; the model has layers 0 to 1"):
        Trace(network("bert"), attention=[9])
    with pytest.raises(BadInput, match="no layer True"):
        Trace(network("bert"), attention=[True])
    with pytest.raises(UnsupportedModel, match=r"LongformerSelfAttention\) has no visible attention"):
        traced(network("longformer"), batch(), attention=[0])
    with pytest.raises(BadInput, match="neither a SentenceTransformer nor a transformers model"):
        Trace(torch.nn.Linear(2, 2))
    trace = Trace(network("bert"))
    with trace, pytest.raises(BadInput, match="already entered"):
        trace.__enter__()
    model, passages = network("bert"), []
    with Trace(model, passages.append), pytest.raises(UnsupportedModel, match="a part of BertModel was called"):
        model.encoder(torch.zeros(1, 3, 32))
    with Trace(model), pytest.raises(BadInput, match=r"attention_mask \[B, T\]; this one is \[1, 1, 3, 3\]"):
        model(input_ids=torch.full((1, 3), 7), attention_mask=torch.ones(1, 1, 3, 3))


def test_a_model_of_two_transformers_is_refused(demo):
    from sentence_transformers.sentence_transformer.modules import Router

    router = Router.for_query_document([demo[0]], [copy.deepcopy(demo[0])])
    with pytest.raises(UnsupportedModel, match="holds 2 transformers: trace one of them"):
        Trace(SentenceTransformer(modules=[router]))


def test_a_layer_outside_any_list_is_refused():
    class Single(BertModel):
        def __init__(self, config):
            super().__init__(config)
            self.encoder.layer = torch.nn.Sequential(*self.encoder.layer)

    model = Single(BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=4))
    with pytest.raises(UnsupportedModel, match="is in no list of layers"):
        Trace(model)
