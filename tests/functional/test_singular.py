"""Largest singular values against the whole spectrum of P A: misleading spectra, sizes, scales, padding."""

import math

import pytest
import torch

from cenote.functional import singular
from cenote.functional.singular import largest_singular_values

from .helpers import largest_by_svd as exact


def error(maps, tolerance=1e-4):
    expected = exact(maps)
    return ((largest_singular_values(maps, None, tolerance) - expected).abs() / expected).max().item()


def prescribed(values, seed):
    """A map with these singular values of P A, and 1 / n added to every entry for P to take away."""
    n = len(values) + 1
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(n, n, generator=generator, dtype=torch.float64) for _ in range(2))
    left[:, 0] = 1
    left, right = torch.linalg.qr(left)[0][:, 1:], torch.linalg.qr(right)[0][:, 1:]
    return left * values @ right.T + 1 / n


# Singular values that fall from about 1, by their place among n, and whether it is the first.
SPECTRA = {
    "flat": lambda place, n, first: torch.ones_like(place),
    "hidden": lambda place, n, first: 1 + 3e-4 * first,  # one above many equals
    "barely": lambda place, n, first: 1 + 1e-3 * first,
    "spike": lambda place, n, first: 1 + 0.1 * first,
    "pair": lambda place, n, first: torch.where(place == 1, 1 - 1e-4, torch.where(place == 0, 1.0, 0.3)),
    "wider pair": lambda place, n, first: torch.where(place == 1, 1 - 5e-4, torch.where(place == 0, 1.0, 0.3)),
    "ten": lambda place, n, first: torch.where(place < 10, 1 - 2e-4 * place, 0.9),
    "close": lambda place, n, first: 1 - 1e-4 * place,
    "dense": lambda place, n, first: 1 - place / n,
    "arc": lambda place, n, first: (place / n * math.pi / 2).cos(),  # most of them near the top
    "steep": lambda place, n, first: 0.5**place,
    "slow": lambda place, n, first: 0.99**place,
    "one": lambda place, n, first: first,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("n", [12, 64, 200])
def test_misleading_spectra(n, name, dtype):
    place = torch.arange(n - 1, dtype=torch.float64)
    values = SPECTRA[name](place, n - 1, (place == 0).double())
    maps = torch.stack([prescribed(values, seed) for seed in range(4)]).to(dtype)
    assert error(maps) <= 1e-4


@pytest.mark.parametrize("n", [1, 2, 3, 40, 41, 100, 160, 161, 300])
@pytest.mark.parametrize("sharp", [0.1, 1.0, 6.0])
def test_random_attention_of_many_sizes(n, sharp):
    logits = torch.randn(3, n, n, generator=torch.Generator().manual_seed(n)) * sharp
    maps = logits.softmax(-1)
    values = largest_singular_values(maps, None, 1e-4)
    torch.testing.assert_close(values, exact(maps), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("n", [8, 100, 200])
def test_maps_with_known_values(n):
    half = torch.arange(n) < n // 2
    eye = torch.eye(n)
    two = torch.zeros(n, n)
    two[half, 0] = two[~half, 1] = 1
    blocks = torch.where(half[:, None] == half, 2 / n, 0.0)
    one = eye[:1].expand(n, n)  # every query at the first token
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    maps = torch.stack([torch.full((n, n), 1 / n), one, eye, eye[order], blocks, two, torch.zeros(n, n)])
    expected = torch.tensor([0, 0, 1, 1, 1, math.sqrt(n / 2), 0], dtype=torch.float64)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        if dtype == torch.bfloat16 and n > 8:
            continue  # which rounds 2 / n, but where that is a power of two
        torch.testing.assert_close(largest_singular_values(maps.to(dtype), None, 1e-4), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("n", [20, 100, 200])
def test_nearly_uniform_attention_keeps_its_digits(n):
    noise = torch.randn(2, n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = torch.full((2, n, n), 1.0, dtype=torch.float64) / n + 1e-9 * noise
    assert error(maps) <= 1e-4


@pytest.mark.parametrize("n", [20, 100, 200])
def test_the_error_is_within_the_tolerance_at_any_scale(n):
    maps = torch.randn(3, n, n, generator=torch.Generator().manual_seed(1)).softmax(-1)
    for tolerance in (1e-9, 1e-2):
        assert error(maps, tolerance) <= tolerance
    for scale in (1e-30, 1e-12, 1e12, 1e30):
        assert error(maps * scale) <= 1e-4


@pytest.mark.parametrize("side", ["left", "right", "between"])
@pytest.mark.parametrize("n", [20, 100, 170])
def test_padding_does_not_matter(n, side):
    maps = (2 * torch.randn(4, n, n, generator=torch.Generator().manual_seed(3))).softmax(-1)
    size = n + 9
    places = {"left": torch.arange(9, size), "right": torch.arange(n), "between": torch.arange(size)}[side]
    if side == "between":
        places = torch.cat([places[: n // 2], places[n // 2 + 9 :]])
    wider = torch.full((4, size, size), math.nan)
    wider[:, places[:, None], places] = maps
    real = torch.zeros(4, size, dtype=torch.bool)
    real[:, places] = True
    expected = largest_singular_values(maps, None, 1e-4)
    torch.testing.assert_close(largest_singular_values(wider, real, 1e-4), expected, rtol=1e-6, atol=0)


def test_batches_blocks_and_the_global_generator_do_not_matter(monkeypatch):
    maps = (3 * torch.randn(7, 70, 70, generator=torch.Generator().manual_seed(4))).softmax(-1)
    whole = largest_singular_values(maps, None, 1e-4)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    monkeypatch.setattr(singular, "_COPIED", 2 * 70 * 70)
    torch.testing.assert_close(largest_singular_values(maps.flip(0), None, 1e-4).flip(0), whole, rtol=1e-6, atol=0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    largest_singular_values(maps, None, 1e-4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(state)
    assert largest_singular_values(maps[:0], None, 1e-4).shape == (0,)


@pytest.mark.parametrize("n", [20, 100, 200])
def test_maps_that_are_not_finite_give_nan_alone(n):
    maps = torch.randn(4, n, n, generator=torch.Generator().manual_seed(5)).softmax(-1)
    broken = maps.clone()
    broken[1, 2, 3], broken[3, 0, 0] = math.nan, math.inf
    values = largest_singular_values(broken, None, 1e-4)
    assert values.isnan().tolist() == [False, True, False, True]
    torch.testing.assert_close(values[[0, 2]], exact(maps[[0, 2]]), rtol=1e-4, atol=0)


def test_the_search_rarely_needs_the_whole_spectrum(monkeypatch):
    """Otherwise it would be right but slow."""
    whole = []
    solve = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda x: (whole.append(len(x)), solve(x))[1])
    # Attention with structure: tokens of eight kinds attend to their kind.
    kinds = torch.randn(20, 256, 8, generator=torch.Generator().manual_seed(6))
    maps = (kinds @ kinds.mT / 2).softmax(-1)
    assert error(maps) <= 1e-4
    assert sum(whole) <= 2
