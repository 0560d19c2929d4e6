"""Profiles equal plain arithmetic on the model's own hidden states, attention and weights."""

import math

import numpy as np
import pytest
import torch

from cenote.surgery.profiles import LayerProfile, Profiler, Undefined
from cenote.surgery.tracing import Trace

TEXTS = [
    "a pool",
    "The deep cave holds light, and stone, and water. " * 6,
    "collapse",
    "A query about two documents that nobody has read?",
    "When the roof of a cave falls in, a lake is left: they call it a cenote.",
]


def profile(model, texts, batch_size, attention=True):
    """Return the layers' profiles on texts that are read in batches."""
    profiler = Profiler()
    with torch.no_grad(), Trace(model, profiler, attention=attention):
        for start in range(0, len(texts), batch_size):
            profiler.start()
            model(model.preprocess(texts[start : start + batch_size]))
            profiler.finish()
    return profiler.compute()


def profiled(model, order=None, **features):
    """Return the layers' profiles on one batch."""
    with torch.no_grad(), Trace(model, profiler := Profiler(), attention=True):
        model(**features)
    return profiler.compute(order)


@pytest.fixture(scope="module")
def profiles(demo):
    return profile(demo, TEXTS, batch_size=2)


@pytest.fixture(scope="module")
def by_hand(demo):
    """`by_hand(text, layer)`: states, attention and weights of one layer, in float64, for a text that is read alone."""
    from transformers import AutoModel

    eager = AutoModel.from_pretrained(demo[0].model.name_or_path, attn_implementation="eager").eval()

    def look(text, layer):
        features = demo.preprocess([text])
        inputs = {key: features[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
        with torch.no_grad():
            out = eager(**inputs, output_hidden_states=True, output_attentions=True)
        block = eager.encoder.layer[layer]
        weights = [block.attention.self.value, block.attention.output.dense]
        arrays = [module.weight.detach().double().numpy() for module in weights]
        biases = [module.bias.detach().double().numpy() for module in weights]
        states = [out.hidden_states[at][0].double().numpy() for at in (layer, layer + 1)]
        return *states, out.attentions[layer][0].double().numpy(), arrays, biases

    return look


def centred(x):
    return x - x.mean(0)


def frobenius(x):
    return math.sqrt(sum(value * value for value in np.asarray(x).flatten()))


@pytest.mark.parametrize("row", range(len(TEXTS)))
@pytest.mark.parametrize("layer", [0, 3, 5])
def test_the_demo_model_by_hand(row, layer, profiles, by_hand):
    before, after, attention, (value, output), (value_bias, output_bias) = by_hand(TEXTS[row], layer)
    found: LayerProfile = profiles[layer]
    n, heads, size = len(before), 12, 32
    mean = after.mean(0)
    spread = sum(float((x - mean) @ (x - mean)) for x in after) / n
    assert found.concentration[row].item() == pytest.approx(spread / float(mean @ mean), rel=1e-4)
    units = [x / math.sqrt(float(x @ x)) for x in after]
    cosine = sum(float(a @ b) for a in units for b in units) / n**2
    assert found.token_cosine[row].item() == pytest.approx(cosine, rel=1e-4)
    rate = math.log(frobenius(centred(after)) / frobenius(centred(before)))
    assert found.filter_rate.values[row].item() == pytest.approx(rate, abs=1e-4)

    attended = np.zeros_like(before)
    bound = paper = 0.0
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        values, brings = value[part], output[:, part]
        attended += attention[head] @ (before @ values.T + value_bias[part]) @ brings.T
        filtered = centred(attention[head])
        sigma = float(np.linalg.svd(filtered, compute_uv=False)[0])
        operator = float(np.linalg.svd(brings @ values, compute_uv=False)[0])
        assert found.sigma_a[row, head].item() == pytest.approx(sigma, rel=1e-4)
        contraction = operator**2 * frobenius(filtered) ** 2 / (n - 1)
        assert found.contraction[row, head].item() == pytest.approx(contraction, rel=1e-4)
        bound += sigma * operator
        paper = max(paper, sigma)
    attended += output_bias
    norms = [float(np.linalg.svd(value[h * size : (h + 1) * size], compute_uv=False)[0]) for h in range(heads)]
    assert found.filter_bound.values[row].item() == pytest.approx(math.log(paper * max(norms) * heads), abs=1e-3)
    rate = math.log(frobenius(centred(attended)) / frobenius(centred(before)))
    assert found.attention_rate.values[row].item() == pytest.approx(rate, abs=1e-3)
    assert found.attention_bound.values[row].item() == pytest.approx(math.log(bound), abs=1e-3)

    total = before + attended
    whole = float(total.mean(0) @ total.mean(0))
    ratio = sum(float(x @ x) for x in centred(before)) / n / whole
    assert found.residual_ratio[row].item() == pytest.approx(ratio, rel=1e-3)
    start = sum(float(x @ x) for x in centred(total)) / n / whole
    assert found.block_ratio.values[row].item() == pytest.approx(spread / float(mean @ mean) / start, rel=1e-3)
    variance = np.log(attention).var(-1, ddof=1).mean(-1)
    assert np.allclose(found.logit_variance.values.view(len(TEXTS), heads)[row], variance, rtol=1e-3)


def test_theorem_2_holds_at_every_layer_and_head(demo, profiles):
    """|HC[A_h X W_V^h]|_F <= sigma_a^h |W_V^h|_2 |HC[X]|_F, head by head, and the whole attention's bound."""
    worst = []

    def check(passage):
        found = passage.layer.projections
        size = found.output.in_features // found.heads
        for text, mask in enumerate(passage.mask):
            read = passage.read[text][mask].double()
            for head in range(found.heads):
                weight = found.value[head * size : (head + 1) * size].double()
                maps = passage.attention[text, head][mask][:, mask].double()
                kept = torch.linalg.matrix_norm(centred(maps @ read @ weight.T))
                sigma = torch.linalg.svdvals(centred(maps))[0]
                bound = sigma * torch.linalg.matrix_norm(weight, 2) * torch.linalg.matrix_norm(centred(read))
                worst.append((kept / bound).item())

    with torch.no_grad(), Trace(demo, check, attention=True):
        demo.encode(TEXTS)
    assert len(worst) == 6 * 12 * len(TEXTS)
    assert max(worst) <= 1 + 1e-6
    assert max(worst) > 0.1  # a bound that is nowhere near is not the one that is meant
    for layer in profiles:
        assert (layer.attention_rate.values <= layer.attention_bound.values + 1e-6).all()


def test_batches_and_order_do_not_matter(demo, profiles):
    for other in (profile(demo, TEXTS[::-1], batch_size=5), profile(demo, TEXTS[::-1], batch_size=1)):
        for a, b in zip(profiles, other, strict=True):
            for name in ("concentration", "token_cosine", "sigma_a", "contraction", "residual_ratio"):
                assert torch.allclose(getattr(a, name), getattr(b, name).flip(0), rtol=2e-4), name
            for name in ("filter_rate", "attention_rate", "attention_bound", "filter_bound", "block_ratio"):
                assert torch.allclose(getattr(a, name).values, getattr(b, name).values.flip(0), atol=2e-4), name


def test_every_family_has_a_profile_or_a_reason(family, network, batch):
    if family == "longformer":
        pytest.skip("its attention is not of tokens to tokens")
    layers = profiled(network(family), **batch())
    assert len(layers) >= 2
    for layer in layers:
        assert torch.isfinite(layer.concentration).all()
        assert (layer.sigma_a >= 0).all()
        for value in vars(layer).values():
            assert not isinstance(value, Undefined) or len(value.reason) > 20
        if not isinstance(layer.attention_bound, Undefined):
            rate, bound = layer.attention_rate, layer.attention_bound
            both = rate.defined & bound.defined
            assert both.any()
            assert (rate.values[both[rate.defined]] <= bound.values[both[bound.defined]] + 1e-5).all()
    # r and C belong to all layers of a model or to none.
    assert len({isinstance(layer.residual_ratio, Undefined) for layer in layers}) == 1


@pytest.mark.parametrize(
    ("name", "reason"), [("llama", "pre-norm"), ("modernbert", "pre-norm"), ("xlnet", "no linear projection")]
)
def test_undefined_measures_have_a_reason(name, reason, network, batch):
    for layer in profiled(network(name), **batch()):
        assert reason in layer.residual_ratio.reason
        assert reason in layer.block_ratio.reason


def test_without_attention_its_measures_are_undefined(demo):
    for layer in profile(demo, TEXTS, batch_size=5, attention=False):
        assert layer.sigma_a.reason == layer.contraction.reason == "the attention of this layer was not asked for"
        assert len(layer.attention_rate.values) == len(TEXTS)


def test_a_text_of_one_token_has_no_rate(network):
    ids, mask = torch.tensor([[7, 0, 0], [7, 8, 9]]), torch.tensor([[1, 0, 0], [1, 1, 1]])
    for layer in profiled(network("bert"), order=torch.tensor([1, 0]), input_ids=ids, attention_mask=mask):
        assert layer.filter_rate.defined.tolist() == layer.block_ratio.defined.tolist() == [True, False]
        assert len(layer.filter_rate.values) == 1
        assert layer.concentration[1] == layer.sigma_a[1].max() == layer.contraction[1].max() == 0


def test_a_batch_that_failed_halfway_leaves_nothing(network, batch):
    model = network("bert")
    with torch.no_grad(), Trace(model, profiler := Profiler()):
        for fails in (False, True, False):
            handle = model.encoder.layer[1].register_forward_pre_hook(lambda *_: 1 / 0) if fails else None
            profiler.start()
            try:
                model(**batch())
                profiler.finish()
            except ZeroDivisionError:
                handle.remove()
    texts = len(batch()["input_ids"])
    assert [len(layer.concentration) for layer in profiler.compute()] == [2 * texts, 2 * texts]


def test_passes_without_start_and_finish_are_all_kept(network, batch):
    model = network("bert")
    with torch.no_grad(), Trace(model, profiler := Profiler()):
        for _ in range(2):
            model(**batch())
    texts = len(batch()["input_ids"])
    for _ in range(2):
        assert [len(layer.concentration) for layer in profiler.compute()] == [2 * texts, 2 * texts]


def test_fewer_heads_than_the_projections_have(network, batch):
    """ConvBERT attends with half of the heads that its config has."""
    for layer in profiled(network("ConvBertModel"), **batch()):
        assert (layer.sigma_a >= 0).all()
        assert "heads attend" in layer.contraction.reason or "no linear projection" in layer.contraction.reason
