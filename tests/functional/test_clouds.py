"""Token clouds: factors by their definition, then bad input."""

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
def test_the_scale_of_tokens_does_not_matter(scale):
    tokens = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) + 1
    for part, scaled in zip(factor(one(tokens)), factor(one(tokens * scale)), strict=True):
        torch.testing.assert_close(part, scaled, rtol=1e-5, atol=1e-6)
    for part, scaled in zip(factor(one(tokens.double())), factor(one(tokens.double() * scale**9)), strict=True):
        torch.testing.assert_close(part, scaled, rtol=1e-13, atol=1e-13)


def test_numpy_arrays_of_other_byte_order_are_read():
    array = np.array([[1.0, 2.0], [3.0, 5.0]], dtype=">f4")
    cloud = one(array)
    assert cloud.array
    assert cloud.tokens.tolist() == array.tolist()
    assert cloud.name == "texts[0]"


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "texts is empty"),
        ("abc", "texts is a str"),
        (iter([torch.ones(2, 2)]), "texts is a list_iterator: pass a list"),
        ([torch.ones(2, 2), [[1.0]]], r"texts\[1\] is a list: pass a torch tensor"),
        (torch.ones(3, 2), r"texts\[0\] has shape \(2,\) and not two dimensions"),
        ([torch.ones(2, 2), torch.ones(0, 2)], r"texts\[1\] has shape \(0, 2\) and no tokens"),
        ([torch.ones(1, 2, 2)], r"texts\[0\] has shape \(1, 2, 2\)"),
    ],
)
def test_bad_token_matrices_are_refused(given, message):
    with pytest.raises(BadInput, match=message):
        read_clouds(given, "texts")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.ones(2, 3), r"texts\[0\] has width 2, texts\[2\] 3: are they from the same model"),
        (torch.ones(2, 2, device="meta"), r"texts\[2\] is on the device 'meta'"),
        (np.ones((2, 2)), r"texts\[0\] is a torch tensor, texts\[2\] is a numpy array"),
    ],
)
def test_clouds_that_differ_in_width_device_or_kind_are_refused(other, message):
    with pytest.raises(BadInput, match=message):
        check_compatible(read_clouds([torch.ones(1, 2), torch.ones(3, 2), other], "texts"))


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        ([[1.0, 0.0], [-1.0, 0.0]], CENTRED),
        ([[0.0, 0.0]], CENTRED),
        ([[0.1], [0.2], [-0.3]], CENTRED),  # a mean of 1e-9 in float32, of the size of what 0.1 was rounded by
        ([[1.0, np.nan]], BROKEN),
        ([[1.0, np.inf], [1.0, 1.0]], BROKEN),
        ([[1.0, -np.inf]], BROKEN),
        ([[1.0, 0.0], [-1.0, 0.1]], None),
        ([[1e-30, 0.0]], None),
    ],
)
@pytest.mark.parametrize("kind", [torch.tensor, np.array, lambda x: torch.tensor(x).bfloat16()])
def test_tokens_without_a_mean_or_finite_numbers_are_refused(tokens, why, kind):
    given = kind(tokens)
    assert find_shape_problem(given) == why
    if why is None:
        assert all(part.isfinite().all() for part in factor(one(given)))
    else:
        with pytest.raises(BadInput, match=rf"texts\[0\] has {why}"):
            factor(one(given))


def test_a_short_mean_is_accepted():
    tokens = torch.tensor([[1.0, 1e-3], [-1.0, 1e-3]])
    assert factor(one(tokens))[1].tolist() == pytest.approx([0, 1], abs=1e-12)
