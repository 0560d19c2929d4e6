"""Token concentration: shapes, values by hand, plain loops, laws, one token, dtypes, then bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cenote.errors import BadInput
from cenote.functional.concentration import (
    block_ratio,
    concentration,
    contraction,
    head_norms,
    residual_ratio,
    token_cosine,
)

from .helpers import SIDES, padded, padded_maps, random_maps, random_texts

TOKENS = torch.tensor([[[3.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 3.0]]])


# --- plain loops --------------------------------------------------------------------------------------------------


def loop_mean(text):
    return [math.fsum(column) / len(text) for column in zip(*text, strict=True)]


def loop_spread(text):
    mean = loop_mean(text)
    return math.fsum((x - m) ** 2 for row in text for x, m in zip(row, mean, strict=True)) / len(text)


def loop_concentration(text):
    return loop_spread(text) / math.fsum(m * m for m in loop_mean(text))


def loop_cosine(text):
    norms = [math.sqrt(math.fsum(x * x for x in row)) for row in text]
    products = [
        math.fsum(x * y for x, y in zip(a, b, strict=True)) / (p * q)
        for a, p in zip(text, norms, strict=True)
        for b, q in zip(text, norms, strict=True)
    ]
    return math.fsum(products) / len(products)


def loop_contraction(attention, norm):
    n = len(attention)
    means = [math.fsum(row[j] for row in attention) / n for j in range(n)]
    return norm**2 * math.fsum((row[j] - means[j]) ** 2 for row in attention for j in range(n)) / (n - 1)


# --- shapes and hand-computed numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [concentration, token_cosine])
def test_results_have_one_number_per_text_in_the_tokens_kind(measure):
    values = measure(TOKENS)
    assert values.shape == (2,)
    assert values.dtype == torch.float64
    assert measure(TOKENS[0]).shape == ()
    arrays = measure(TOKENS.numpy())
    assert isinstance(arrays, np.ndarray)
    np.testing.assert_array_equal(arrays, values.numpy())
    assert isinstance(measure(TOKENS[0].numpy()), np.float64)
    assert measure(TOKENS[:0]).shape == (0,)


def test_two_tokens_computed_by_hand():
    assert concentration(TOKENS).tolist() == pytest.approx([1 / 4, 1 / 5])  # means (2, 0), (1, 2); 1 away from each
    # Cosines [[1, 1], [1, 1]] and [[1, c], [c, 1]] with c = 4 / sqrt(2 * 10).
    assert token_cosine(TOKENS).tolist() == pytest.approx([1, (1 + 4 / math.sqrt(20)) / 2])


def test_contraction_computed_by_hand():
    # Columns (0.75, 0.25) and (0.25, 0.75): each entry a quarter from its column's mean, so |P A|² = 4 / 16.
    attention = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    values = contraction(torch.stack([attention, torch.eye(2)])[None], torch.tensor([2.0, 3.0]))
    assert values.tolist() == [pytest.approx([4 * 0.25, 9 * 1.0])]
    assert contraction(torch.full((1, 3, 3), 1 / 3), torch.ones(1)).item() == pytest.approx(0, abs=1e-30)
    assert isinstance(contraction(attention[None].numpy(), np.ones(1)), np.ndarray)


def test_head_norms_computed_by_hand():
    value = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    output = torch.tensor([[0.0, 5.0], [2.0, 0.0]])
    assert head_norms(value, output, 2).tolist() == pytest.approx([6, 5])
    assert head_norms(value, output, 1).tolist() == pytest.approx([6])
    assert head_norms(value[:1], output, 2, value_heads=1).tolist() == pytest.approx([6, 15])


def test_ratios_computed_by_hand():
    ratio = residual_ratio(TOKENS, torch.ones(2, 2, 2))
    assert ratio.tolist() == pytest.approx([1 / (9 + 1), 1 / (4 + 9)])
    known = block_ratio(TOKENS, TOKENS * 3 + 1)  # means (7, 1), (4, 7); 3 away from each
    assert known.values.tolist() == pytest.approx([(9 / 50) * 4, (9 / 65) * 5])
    assert known.defined.tolist() == [True, True]
    assert residual_ratio(TOKENS[0], TOKENS[1]).shape == ()


# --- references and laws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_measures_of_tokens_equal_plain_loops(side):
    texts, others = random_texts(0), random_texts(1)
    (tokens, mask), (change, _) = padded(texts, *side), padded(others, *side)
    lists, sums = [text.tolist() for text in texts], [(t + o).tolist() for t, o in zip(texts, others, strict=True)]
    assert concentration(tokens, mask).tolist() == pytest.approx([loop_concentration(x) for x in lists], rel=1e-12)
    assert token_cosine(tokens, mask).tolist() == pytest.approx([loop_cosine(x) for x in lists], rel=1e-12)
    expected = [loop_spread(x) / math.fsum(m * m for m in loop_mean(y)) for x, y in zip(lists, sums, strict=True)]
    assert residual_ratio(tokens, change, mask).tolist() == pytest.approx(expected, rel=1e-12)
    known = block_ratio(tokens, change, mask)
    assert known.defined.tolist() == [True, False, True]  # the second text has one token
    expected = [loop_concentration(others[i].tolist()) / loop_concentration(lists[i]) for i in (0, 2)]
    assert known.values.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("side", SIDES)
def test_contraction_equals_plain_loops(side):
    maps, norms = random_maps(0, heads=3), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    attention, mask = padded_maps(maps, *side)
    values = contraction(attention, norms, mask)
    assert values[1].tolist() == [0, 0, 0]  # one token
    for text in (0, 2):
        expected = [loop_contraction(m.tolist(), w) for m, w in zip(maps[text], norms.tolist(), strict=True)]
        assert values[text].tolist() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(contraction(maps[0], norms), values[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (6, 1)])
def test_head_norms_equal_the_norms_of_whole_products(heads, groups):
    generator = torch.Generator().manual_seed(0)
    size, width, out = 3, 20, 17
    value = torch.randn(groups * size, width, generator=generator)
    output = torch.randn(out, heads * size, generator=generator)
    values = head_norms(value, output, heads, groups)
    for head in range(heads):
        group = head // (heads // groups)
        inward = value[group * size : (group + 1) * size].double()
        outward = output[:, head * size : (head + 1) * size].double()
        assert values[head].item() == pytest.approx(np.linalg.norm(outward.numpy() @ inward.numpy(), 2), rel=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_rotation_order_and_scale_do_not_matter(seed, n, power):
    text = random_texts(seed, (n,))[0]
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    order = torch.randperm(n, generator=generator)
    for measure in (concentration, token_cosine):
        value = measure(text).item()
        for same in (text @ turn, text[order], text * 10**power):
            assert measure(same).item() == pytest.approx(value, rel=1e-8, abs=1e-14)
    assert 0 <= token_cosine(text).item() <= 1
    # Tokens of equal length l: |mu|² = l² cosine and S = l² - |mu|².
    units = text / text.norm(dim=1, keepdim=True)
    cosine = token_cosine(units).item()
    assert concentration(units).item() == pytest.approx(1 / cosine - 1, rel=1e-8, abs=1e-14)


def test_other_texts_of_a_batch_do_not_matter():
    texts = random_texts(2, (4, 7, 2))
    tokens, mask = padded(texts)
    for row, text in enumerate(texts):
        assert concentration(tokens, mask)[row].item() == pytest.approx(concentration(text).item(), rel=1e-14)
    torch.testing.assert_close(concentration(tokens.flip(0), mask.flip(0)), concentration(tokens, mask).flip(0))


# --- edges --------------------------------------------------------------------------------------------------------


def test_a_single_token_has_no_variance():
    one = torch.tensor([[[0.1, 0.7, -0.3]]])
    assert concentration(one).item() == 0
    assert token_cosine(one).item() == pytest.approx(1)
    assert residual_ratio(one, one).item() == 0
    known = block_ratio(one, one)
    assert known.values.shape == (0,)
    assert known.defined.tolist() == [False]
    assert contraction(torch.ones(1, 1, 1), torch.ones(1)).tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_tokens_have_no_variance(dtype):
    token = torch.randn(8, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert concentration(token.expand(7, 8)).item() == 0
    assert not block_ratio(token.expand(7, 8), torch.randn(7, 8).to(dtype)).defined.any()


def test_tiny_variances_keep_their_digits():
    tokens = torch.tensor([[1e4 + 1e-3], [1e4 - 1e-3]], dtype=torch.float64)
    assert concentration(tokens).item() == pytest.approx(1e-14, rel=1e-7)  # by E x² - mu² it would be noise


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_wide_numbers(dtype):
    tokens = random_texts(3, (6,))[0].to(dtype)
    assert concentration(tokens).item() == concentration(tokens.double()).item()
    maps = random_maps(3, (6,))[0].to(dtype)
    torch.testing.assert_close(contraction(maps, torch.ones(2)), contraction(maps.double(), torch.ones(2)))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_squares_neither_underflow_nor_overflow(scale):
    tokens = TOKENS.double() * scale
    assert concentration(tokens).tolist() == pytest.approx([1 / 4, 1 / 5])
    assert residual_ratio(tokens, tokens).tolist() == pytest.approx([1 / 16, 1 / 20])
    assert token_cosine(tokens).tolist() == pytest.approx(token_cosine(TOKENS).tolist())


# --- bad input ----------------------------------------------------------------------------------------------------

OPPOSITE = torch.tensor([[[1.0, 2.0]] * 2, [[1.0, 0.3], [-1.0, -0.3]]])
NAN = torch.tensor([[[1.0], [2.0]], [[1.0], [math.nan]]])
ZERO = torch.tensor([[[1.0], [2.0]], [[1.0], [0.0]]])
SQUARE = torch.eye(2).expand(2, 1, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: concentration(OPPOSITE), "row 1 has a mean of zero"),
        (lambda: concentration(torch.zeros(2, 3)), "row 0 has a mean of zero"),
        (lambda: block_ratio(OPPOSITE.flip(0), OPPOSITE), "row 0 has a mean of zero"),
        (lambda: residual_ratio(OPPOSITE, -OPPOSITE), "rows 0, 1 have a mean of zero after the residual"),
        (lambda: concentration(NAN), "row 1 has NaN or inf among the real tokens"),
        (lambda: residual_ratio(ZERO, NAN), "row 1 has NaN or inf among the real attended"),
        (lambda: token_cosine(ZERO), "token 1 of text 1"),
        (lambda: concentration(torch.ones(2)), r"shape \(2,\)"),
        (lambda: concentration(torch.ones(2, 0)), r"shape \(2, 0\)"),
        (lambda: concentration(TOKENS, torch.ones(2, 3)), r"mask has shape \(2, 3\)"),
        (lambda: concentration(TOKENS, torch.tensor([[1, 1], [0, 0]])), "row 1 has no real token"),
        (lambda: residual_ratio(TOKENS, TOKENS[:1]), r"\(2, 2, 2\) and attended \(1, 2, 2\) differ"),
        (lambda: contraction(torch.ones(1, 2, 3), torch.ones(1)), r"attention has shape \(1, 2, 3\)"),
        (lambda: contraction(SQUARE, torch.ones(2)), r"operator_norms \(2,\)"),
        (lambda: contraction(SQUARE, torch.ones(1), torch.ones(2, 3)), r"mask has shape \(2, 3\)"),
        (lambda: contraction(SQUARE, torch.ones(1), torch.tensor([[1, 1], [0, 0]])), "row 1 has no real token"),
        (lambda: contraction(SQUARE / torch.tensor([1, 0]).view(2, 1, 1, 1), torch.ones(1)), "row 1 has NaN or inf"),
        (lambda: head_norms(torch.ones(4, 3), torch.ones(3, 4), 3), "do not divide among 3"),
        (lambda: head_norms(torch.ones(4, 3), torch.ones(3, 5), 2), r"output \(3, 5\): they do not fit heads=2"),
        (lambda: head_norms(torch.ones(4, 3), torch.ones(3, 8), 3, 2), "heads=3 with value_heads=2"),
        (lambda: head_norms(torch.full((4, 3), math.nan), torch.ones(3, 4), 2), "finite numbers"),
        (lambda: head_norms(torch.ones(4, 3), torch.ones(3, 4), 0), "do not divide among 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()
