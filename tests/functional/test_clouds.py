"""`clouds` and `factor`: what a factor is, by its definition, then what is refused."""

import numpy as np
import pytest
import torch

from cenote.errors import BadInput
from cenote.functional.clouds import BROKEN, CENTRED, check_compatible, factor, find_shape_problem, read_clouds


def one(tokens):
    return read_clouds([tokens], "texts")[0]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 40])
def test_a_factor_has_the_covariance_of_the_text_and_few_rows(n):
    tokens = torch.randn(n, 5, generator=torch.Generator().manual_seed(n), dtype=torch.float64) + 1
    cloud = one(tokens)
    z, unit, trace = factor(cloud)
    x = (tokens / tokens.mean(0).norm()).numpy()
    covariance = np.cov(x.T, bias=True) if n > 1 else np.zeros((5, 5))
    assert z.shape == (cloud.rows, 5) == (max(1, min(n - 1, 5)), 5)
    np.testing.assert_allclose((z.T @ z).numpy(), covariance, atol=1e-13)
    np.testing.assert_allclose(unit.numpy(), x.mean(0), atol=1e-13)
    assert trace.item() == pytest.approx(np.trace(covariance), abs=1e-13)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale):
    tokens = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) + 1
    for part, scaled in zip(factor(one(tokens)), factor(one(tokens * scale)), strict=True):
        torch.testing.assert_close(part, scaled, rtol=1e-5, atol=1e-6)
    for part, scaled in zip(factor(one(tokens.double())), factor(one(tokens.double() * scale**9)), strict=True):
        torch.testing.assert_close(part, scaled, rtol=1e-13, atol=1e-13)


def test_numpy_shares_its_values():
    array = np.array([[1.0, 2.0], [3.0, 5.0]], dtype=">f4")
    cloud = one(array)
    assert cloud.array
    assert cloud.tokens.tolist() == array.tolist()
    assert cloud.name == "texts[0]"


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "texts holds no text"),
        ("abc", "texts is a str"),
        (iter([torch.ones(2, 2)]), "texts is a list_iterator: pass a list"),
        ([torch.ones(2, 2), [[1.0]]], r"texts\[1\] is a list: pass a torch tensor"),
        ([np.ma.masked_array(np.ones((2, 2)))], r"texts\[0\] is a MaskedArray"),
        (torch.ones(3, 2), r"texts\[0\] has shape \(2,\) and is not one text's tokens"),
        ([torch.ones(2, 2), torch.ones(0, 2)], r"texts\[1\] has shape \(0, 2\) and has no token"),
        ([torch.ones(1, 2, 2)], r"texts\[0\] has shape \(1, 2, 2\)"),
        ([torch.ones(2, 2, dtype=torch.long)], r"texts\[0\] has dtype torch.int64"),
        ([np.ones((2, 2), dtype=int)], r"texts\[0\] has dtype int64"),
        ([np.ones((2, 2), dtype=np.longdouble)], r"texts\[0\] has dtype float128"),
        ([torch.ones(2, 2, dtype=torch.complex64)], r"texts\[0\] has dtype torch.complex64"),
    ],
)
def test_not_token_matrices(given, message):
    with pytest.raises(BadInput, match=message):
        read_clouds(given, "texts")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.ones(2, 3), r"texts\[0\] has width 2, texts\[2\] 3: are they from the same model"),
        (torch.ones(2, 2, device="meta"), r"texts\[0\] is on cpu, texts\[2\] on meta"),
        (np.ones((2, 2)), r"texts\[0\] is a torch tensor, texts\[2\] is a numpy array"),
    ],
)
def test_not_alike(other, message):
    with pytest.raises(BadInput, match=message):
        check_compatible(read_clouds([torch.ones(1, 2), torch.ones(3, 2), other], "texts"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite(value):
    tokens = torch.ones(3, 2)
    tokens[1, 1] = value
    with pytest.raises(BadInput, match=r"texts\[0\] has NaN or inf"):
        factor(one(tokens))


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(3, 2),
        torch.tensor([[1.0, -2.0], [-1.0, 2.0]]),
        torch.tensor([[0.1], [0.2], [-0.3]]),  # a mean of 1e-9 in float32, of the size of what 0.1 was rounded by
        torch.tensor([[0.1], [0.2], [-0.3]], dtype=torch.float64),
        torch.tensor([[0.1], [0.2], [-0.3]], dtype=torch.bfloat16),
    ],
)
def test_a_mean_of_no_length(tokens):
    with pytest.raises(BadInput, match=r"texts\[0\] have a mean of norm 0"):
        factor(one(tokens))


def test_a_short_mean_is_a_mean():
    tokens = torch.tensor([[1.0, 1e-3], [-1.0, 1e-3]])
    assert factor(one(tokens))[1].tolist() == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        ([[1.0, 0.0], [-1.0, 0.0]], CENTRED),
        ([[0.0, 0.0]], CENTRED),
        ([[0.1, 0.7], [0.2, -0.3], [-0.3, -0.4]], CENTRED),  # cancel but for rounding
        ([[1.0, np.nan]], BROKEN),
        ([[1.0, -np.inf]], BROKEN),
        ([[1.0, 0.0], [-1.0, 1e-3]], None),
        ([[1e-30, 0.0]], None),
    ],
)
@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_shapeless_is_what_factor_refuses(tokens, why, kind):
    given = kind(tokens)
    assert find_shape_problem(given) == why
    if why is None:
        assert all(part.isfinite().all() for part in factor(one(given)))
    else:
        with pytest.raises(BadInput, match="NaN or inf" if why is BROKEN else "mean of norm 0"):
            factor(one(given))
