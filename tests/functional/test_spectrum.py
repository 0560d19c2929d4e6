"""The spectrum of attention: values by hand, explicit products, the theorems, a real model, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional.concentration import concentration, head_norms
from cenote.functional.spectrum import (
    attention_bound,
    filter_bound,
    filter_rate,
    logit_variance,
    parts,
    sigma_a,
    sigma_a_bound,
    value_norms,
)

from .helpers import SIDES, centring, padded, padded_maps, random_maps, random_texts
from .helpers import largest_by_svd as exact


def high(text):
    """|HC[X]|_F with P spelled out."""
    return np.linalg.norm(centring(len(text)) @ text.double().numpy())


# --- shapes and hand-computed numbers -----------------------------------------------------------------------------


def test_two_tokens_computed_by_hand():
    tokens = torch.tensor([[[3.0, 0.0], [1.0, 0.0]]])
    dc, hc = parts(tokens)  # DC = ((2, 0), (2, 0)), HC = ((1, 0), (-1, 0))
    assert (dc.item(), hc.item()) == (pytest.approx(math.sqrt(8)), pytest.approx(math.sqrt(2)))
    rate = filter_rate(tokens, tokens * 0.5 + 7)
    assert rate.values.tolist() == pytest.approx([math.log(0.5)])
    # P A = ((a - b) / 2) (1, -1)ᵀ (1, -1) for A = ((1-b, b), (1-a, a)) and so on: one singular value, |a - b|.
    attention = torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    assert sigma_a(attention).item() == pytest.approx(0.5)


def test_results_have_one_number_per_map_in_the_inputs_kind():
    attention = torch.stack(random_maps(0, (4, 4, 4), heads=2))
    whole = sigma_a(attention)
    assert whole.shape == (3, 2)
    assert whole.dtype == torch.float64
    for mask in (None, torch.ones(3, 4), torch.ones(3, 4).numpy()):
        torch.testing.assert_close(sigma_a(attention, mask), whole)
        torch.testing.assert_close(sigma_a(attention[:, 0], mask), whole[:, 0])
        assert sigma_a(attention[:, None], mask).shape == (3, 1, 2)
    for mask in (None, torch.ones(4), [1, 1, 1, 1]):
        torch.testing.assert_close(sigma_a(attention[1], mask), whole[1])
        assert sigma_a(attention[1, 0], mask).shape == ()
    arrays = sigma_a(attention.numpy())
    assert isinstance(arrays, np.ndarray)
    np.testing.assert_allclose(arrays, whole.numpy())
    assert isinstance(sigma_a(attention[0, 0].numpy()), np.float64)
    assert sigma_a(attention[:0]).shape == (0, 2)
    tokens = torch.ones(2, 3, 4)
    assert [part.shape for part in parts(tokens)] == [(2,), (2,)]
    assert [part.shape for part in parts(tokens[0])] == [(), ()]
    assert isinstance(filter_rate(tokens.numpy(), tokens.numpy()).values, np.ndarray)


def test_bounds_computed_by_hand():
    sigma, norms = torch.tensor([[0.5, 0.25], [0.0, 0.0], [0.0, 1.0]]), torch.tensor([1.0, 3.0])
    known = filter_bound(sigma, norms)
    assert known.values.exp().tolist() == pytest.approx([0.5 * 3 * 2, 1 * 3 * 2])
    assert known.defined.tolist() == [True, False, True]
    known = attention_bound(sigma, norms)
    assert known.values.exp().tolist() == pytest.approx([0.5 + 0.75, 3])
    assert known.defined.tolist() == [True, False, True]
    assert filter_bound(sigma[1], norms).values.shape == (0,)
    assert filter_bound(sigma[0].numpy(), norms.numpy()).values == pytest.approx(math.log(3))


def test_value_norms_equal_numpys():
    weight = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    expected = [np.linalg.norm(weight[3 * h : 3 * h + 3].double().numpy(), 2) for h in range(4)]
    assert value_norms(weight, 4).tolist() == pytest.approx(expected, rel=1e-12)
    assert value_norms(weight.numpy(), 1) == pytest.approx([np.linalg.norm(weight.double().numpy(), 2)])


# --- references and laws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_concentration_is_the_ratio_of_the_squared_parts(side):
    """|X|² = |DC|² + |HC|², and concentration is |HC|² / |DC|²."""
    texts = random_texts(0)
    tokens, mask = padded(texts, *side)
    dc, hc = parts(tokens, mask)
    assert hc.tolist() == pytest.approx([high(text) for text in texts], rel=1e-12, abs=1e-14)
    assert (dc**2 + hc**2).tolist() == pytest.approx([text.square().sum().item() for text in texts], rel=1e-12)
    torch.testing.assert_close(hc**2 / dc**2, concentration(tokens, mask), rtol=1e-12, atol=0)


@pytest.mark.parametrize("side", SIDES)
def test_rates_equal_those_of_explicit_products(side):
    texts, others = random_texts(0), random_texts(1)
    (before, mask), (after, _) = padded(texts, *side), padded(others, *side)
    known = filter_rate(before, after, mask)
    assert known.defined.tolist() == [True, False, True]
    expected = [math.log(high(others[i]) / high(texts[i])) for i in (0, 2)]
    assert known.values.tolist() == pytest.approx(expected, rel=1e-12)
    equal = filter_rate(texts[0], torch.ones_like(texts[0]))  # all of HC gone: no logarithm
    assert equal.defined.tolist() == [False]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("lengths", [(5, 1, 3), (70, 1, 33)])
def test_sigma_a_counts_real_tokens_only(lengths, side):
    maps = random_maps(0, lengths, sharp=2)
    attention, mask = padded_maps(maps, *side)
    values = sigma_a(attention, mask)
    for row, part in enumerate(maps):
        torch.testing.assert_close(values[row], exact(part), rtol=1e-4, atol=1e-15)
        torch.testing.assert_close(sigma_a(part), values[row], rtol=1e-4, atol=1e-15)
    assert values[1].tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_wide_numbers(dtype):
    attention = random_maps(0, (60,))[0].to(dtype)
    assert sigma_a(attention).tolist() == pytest.approx(exact(attention).tolist(), rel=1e-4)
    tokens = random_texts(0, (6,))[0].to(dtype)
    assert [part.item() for part in parts(tokens)] == [part.item() for part in parts(tokens.double())]


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.1, 5))
@settings(max_examples=30, deadline=None)
def test_order_scale_and_shifts_do_not_matter(seed, n, sharp):
    generator = torch.Generator().manual_seed(seed)
    attention = random_maps(seed, (n,), 1, sharp)[0]
    value = sigma_a(attention).item()
    order, other = (torch.randperm(n, generator=generator) for _ in range(2))
    same = pytest.approx(value, rel=2e-4, abs=1e-14)
    assert sigma_a(attention[:, order][:, :, other]).item() == same  # queries and keys in any order
    assert sigma_a(attention * 7).item() / 7 == same
    assert sigma_a(attention + torch.rand(n, generator=generator, dtype=torch.float64)).item() == same  # P 1 = 0
    assert value <= math.sqrt(n / 2) * (1 + 1e-4)  # two tokens share all attention
    text = random_texts(seed, (n,))[0]
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    for dc, hc in (parts(text @ turn), parts(text[order])):
        assert dc.item() == pytest.approx(parts(text)[0].item(), rel=1e-9)
        assert hc.item() == pytest.approx(parts(text)[1].item(), rel=1e-9)


@pytest.mark.parametrize("n", [30, 100])
def test_precision_settings_for_models_do_not_matter(n):
    attention = random_maps(0, (n,), sharp=2, dtype=torch.float32)[0]
    expected = pytest.approx(exact(attention).tolist(), rel=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sigma_a(attention).tolist() == expected
    assert sigma_a(attention.requires_grad_()).tolist() == expected
    torch.set_float32_matmul_precision("medium")
    try:
        assert sigma_a(attention).tolist() == expected
    finally:
        torch.set_float32_matmul_precision("highest")


# --- Theorem 3 ----------------------------------------------------------------------------------------------------


def test_theorem_3_equals_equation_21():
    for n, s2 in ((2, 0.3), (17, 1.0), (300, 4.0)):
        e, m = math.exp, n * (n - 1)
        top = e(math.log(n) + 2 * s2 - math.log((e(4 * s2) - 1) / n) / 2)
        pairs = e(math.log(m) + s2 - math.log((e(2 * s2) - 1) / m) / 2)
        assert sigma_a_bound(n, s2).item() == pytest.approx(math.sqrt(n * top / (2 * pairs + top)), rel=1e-12)
    assert sigma_a_bound(1, 5.0).item() == 1
    values = sigma_a_bound(torch.arange(2, 600), torch.tensor([[0.1], [1.0], [9.0]]))
    assert values.shape == (3, 598)
    assert (values.diff(dim=1) < 0).all()  # falls with length
    assert (values.diff(dim=0) > 0).all()  # rises with variance, by a factor of 2^(1/4) in all
    assert (values[2] / values[0]).max() < 2**0.25


@pytest.mark.parametrize("n", [64, 256, 1024])
@pytest.mark.parametrize("s", [0.5, 1.0, 1.5, 3.0])
def test_theorem_3_fails_for_spread_logits(n, s):
    """For independent Gaussian logits, its own assumption, it is no bound once they are spread."""
    logits = s * torch.randn(2, n, n, generator=torch.Generator().manual_seed(0))
    attention = logits.softmax(-1)
    assert logit_variance(attention).values.tolist() == pytest.approx([s**2] * 2, rel=0.05)
    value, bound = sigma_a(attention).mean().item(), sigma_a_bound(n, s**2).item()
    holds = s == 0.5 or (s == 1.0 and n == 1024)
    assert (value <= bound) == holds
    # What the proof bounds on the way, |A|_F, is never below 1.
    assert attention.norm(dim=(1, 2)).min() >= 1 > bound


def test_logit_variance_computed_by_hand():
    attention = torch.tensor([[0.8, 0.2, 0.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
    third = math.log(3) ** 2 * (2 / 9 + 4 / 9) / 2  # logs 0, 0, log 3 about their mean, over 3 - 1
    assert logit_variance(attention).values.item() == pytest.approx((math.log(4) ** 2 / 2 + third) / 2)
    known = logit_variance(torch.stack([torch.eye(3), attention])[:, None])
    assert known.defined.tolist() == [[False], [True]]
    assert known.values.shape == (1,)


@pytest.mark.parametrize("side", SIDES)
def test_logit_variance_ignores_causal_masks_and_padding(side):
    generator = torch.Generator().manual_seed(0)
    maps = []
    for n in (40, 1, 30):
        logits = 1.5 * torch.randn(2, n, n, generator=generator, dtype=torch.float64)
        maps.append(logits.masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf).softmax(-1))
    attention, mask = padded_maps(maps, *side)
    known = logit_variance(attention, mask)
    assert known.defined.tolist() == [[True, True], [False, False], [True, True]]
    expected = []
    for part in (maps[0], maps[2]):
        for head in part.tolist():
            rows = [[math.log(a) for a in row if a > 0] for row in head]
            expected.append(np.mean([np.var(row, ddof=1) for row in rows if len(row) > 1]))
    assert known.values.tolist() == pytest.approx(expected, rel=1e-12)


# --- Theorem 2, and a real model ----------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 30))
@settings(max_examples=20, deadline=None)
def test_theorem_2_and_the_attention_bound_hold(seed, n):
    generator = torch.Generator().manual_seed(seed)
    heads, size, width = 3, 2, 6
    text = random_texts(seed, (n,), width)[0]
    attention = random_maps(seed, (n,), heads, 2.0)[0]
    value, output = (torch.randn(width, width, generator=generator, dtype=torch.float64) for _ in range(2))
    sigma = sigma_a(attention) * (1 + 1e-4)
    inner = (text @ value.T).unflatten(1, (heads, size)).transpose(0, 1)  # [H, n, d]
    mixed = attention @ inner
    for head in range(heads):
        assert high(mixed[head]) <= sigma[head] * value_norms(value, heads)[head] * high(text) * (1 + 1e-12)
    whole = mixed.transpose(0, 1).flatten(1) @ output.T
    bound = attention_bound(sigma, head_norms(value, output, heads)).values.exp().item()
    assert high(whole) <= bound * high(text) * (1 + 1e-12)
    paper = filter_bound(sigma, value_norms(value, heads)).values.exp().item()
    assert high(mixed.transpose(0, 1).flatten(1)) <= paper * high(text)
    assert high(mixed.sum(0)) <= paper * high(text)


TEXT = (
    "A cenote is a natural pit, or sinkhole, that forms when limestone bedrock collapses and exposes groundwater. "
    "The term is used for the deep pools of the Yucatan Peninsula, where the ancient Maya drew water and left gifts. "
    "Cave divers have mapped hundreds of kilometres of flooded passages that join the pools beneath the jungle."
)  # fmt: skip


@pytest.fixture(scope="module")
def observed(demo_path):
    """The demo model, with hidden states and attention of every layer for one real text."""
    from transformers import AutoTokenizer, BertModel

    model = BertModel.from_pretrained(demo_path, attn_implementation="eager", local_files_only=True).eval()
    tokens = AutoTokenizer.from_pretrained(demo_path, local_files_only=True)(TEXT, return_tensors="pt")
    with torch.no_grad():
        out = model(**tokens, output_attentions=True, output_hidden_states=True)
    return model, out.hidden_states, out.attentions


def test_theorem_2_holds_at_every_layer_and_head_of_a_real_model(observed):
    model, hidden, attentions = observed
    heads, below = model.config.num_attention_heads, 0
    for layer, before, attention in zip(model.encoder.layer, hidden[:-1], attentions, strict=True):
        part = layer.attention
        value, output = (w.detach().double() for w in (part.self.value.weight, part.output.dense.weight))
        text, maps = before[0].double(), attention[0].double()
        sigma = sigma_a(attention)[0]
        assert sigma.tolist() == pytest.approx(exact(attention)[0].tolist(), rel=1e-4)
        inner = (text @ value.T).unflatten(1, (heads, -1)).transpose(0, 1)
        mixed = maps @ inner
        norms = value_norms(value, heads)
        for head in range(heads):
            kept = high(mixed[head])
            assert kept <= sigma[head] * (1 + 1e-4) * norms[head] * high(text)
            below += kept > 0
        whole = mixed.transpose(0, 1).flatten(1) @ output.T
        rate = math.log(high(whole) / high(text))
        tight = attention_bound(sigma, head_norms(value, output, heads)).values.item()
        assert rate <= tight + 1e-4
        assert tight < filter_bound(sigma, norms).values.item()  # here; in general neither is below the other
    assert below == 72


def test_theorem_3_does_not_hold_in_a_real_model(observed):
    """Its logits are no independent Gaussians: some tokens are attended by many."""
    above = 0
    for attention in observed[2]:
        variance = logit_variance(attention[0]).values
        above += int((sigma_a(attention[0]) > sigma_a_bound(attention.shape[-1], variance)).sum())
    assert above == 72


# --- bad input ----------------------------------------------------------------------------------------------------

MAPS = torch.eye(2).expand(3, 2, 2, 2)
BROKEN = MAPS.clone()
BROKEN[1, 1, 0, 0] = math.nan
LARGE = torch.eye(50).repeat(3, 2, 1, 1)
LARGE[2, 0, 1, 1] = math.inf
TOKENS = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sigma_a(torch.ones(2, 3)), r"attention has shape \(2, 3\): pass \[..., T, T\]"),
        (lambda: sigma_a(torch.ones(2)), r"shape \(2,\)"),
        (lambda: sigma_a(torch.ones(3, 0, 0)), r"shape \(3, 0, 0\)"),
        (lambda: sigma_a(MAPS, torch.ones(3, 4)), r"mask has shape \(3, 4\)"),
        (lambda: sigma_a(MAPS, torch.ones(2, 2)), r"mask has shape \(2, 2\)"),
        (lambda: sigma_a(MAPS, torch.ones(3)), r"mask has shape"),
        (lambda: sigma_a(MAPS[0, 0], torch.ones(2, 2)), "mask has shape"),
        (lambda: sigma_a(MAPS, torch.tensor([[1, 1], [0, 0], [1, 0]])), "row 1 has no real token"),
        (lambda: sigma_a(BROKEN), "row 1 has NaN or inf in its attention"),
        (lambda: sigma_a(LARGE), "row 2 has NaN or inf in its attention"),
        (lambda: logit_variance(BROKEN), "row 1 has NaN or inf in its attention"),
        (lambda: logit_variance(-MAPS), "attention holds -1: pass probabilities"),
        (lambda: sigma_a(MAPS, tolerance=0), "tolerance is 0"),
        (lambda: sigma_a(MAPS, tolerance=math.nan), "tolerance is nan"),
        (lambda: sigma_a(MAPS, tolerance=True), "tolerance is True"),
        (lambda: filter_rate(TOKENS, TOKENS[:, :2]), r"before \(2, 3, 4\) and after \(2, 2, 4\) differ"),
        (lambda: filter_rate(TOKENS, TOKENS * math.inf), "rows 0, 1 have NaN or inf among the real after"),
        (lambda: filter_bound(torch.ones(2, 3), torch.ones(2)), r"sigma has shape \(2, 3\), norms \(2,\)"),
        (lambda: attention_bound(-torch.ones(2), torch.ones(2)), "sigma holds NaN, inf or a negative"),
        (lambda: attention_bound(torch.ones(2), torch.ones(2) * math.nan), "norms holds NaN"),
        (lambda: value_norms(torch.ones(4, 3), 3), "do not divide among 3"),
        (lambda: sigma_a_bound(0, 1.0), "length is 0"),
        (lambda: sigma_a_bound(2, -1.0), "logit_variance is -1.0"),
        (lambda: sigma_a_bound(2, math.nan), "logit_variance is nan"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()
