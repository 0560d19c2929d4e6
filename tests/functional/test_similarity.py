"""`similarity`: shapes, hand-computed values, references, precision, laws, blocks, gradients, then bad input."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import cdist
from sentence_transformers import util

from cenote.errors import BadInput
from cenote.functional import similarity as room
from cenote.functional.similarity import SIMILARITIES, similarity, similarity_blocks

from ..systems import posix

DISTANCES = [name for name, row in SIMILARITIES.items() if row.distance]
CASES = [(name, 3) for name in SIMILARITIES] + [("minkowski", p) for p in (1, 1.5, 2, 4.0, 7, math.inf)]
# Rows of either side: some below, some above what is worth a loop over dimensions, so that both codes are met.
SIZES = [(3, 5), (300, 300)]


def matrices(n, m, dimension=12, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(rows, dimension, generator=generator, dtype=torch.float64) for rows in (n, m))
    return left.to(dtype), right.to(dtype)


# --- independent references ---------------------------------------------------------------------------------------


def loop(x, y, how, p=3):
    """The definition of each measure for two lists of floats."""
    gaps = [abs(s - t) for s, t in zip(x, y, strict=True)]
    product = math.fsum(s * t for s, t in zip(x, y, strict=True))
    if how == "minkowski" and p == math.inf:
        how = "chebyshev"
    return {
        "cosine": lambda: product / math.sqrt(math.fsum(s * s for s in x) * math.fsum(t * t for t in y)),
        "dot": lambda: product,
        "euclidean": lambda: -math.sqrt(math.fsum(g * g for g in gaps)),
        "manhattan": lambda: -math.fsum(gaps),
        "minkowski": lambda: -(math.fsum(g**p for g in gaps) ** (1 / p)),
        "chebyshev": lambda: -max(gaps),
    }[how]()


SCIPY = {
    "cosine": lambda x, y, p: 1 - cdist(x, y, "cosine"),
    "euclidean": lambda x, y, p: -cdist(x, y, "euclidean"),
    "manhattan": lambda x, y, p: -cdist(x, y, "cityblock"),
    "minkowski": lambda x, y, p: -(cdist(x, y, "chebyshev") if p == math.inf else cdist(x, y, "minkowski", p=p)),
    "chebyshev": lambda x, y, p: -cdist(x, y, "chebyshev"),
}
PLATFORM = {
    "cosine": (util.cos_sim, util.pairwise_cos_sim),
    "dot": (util.dot_score, util.pairwise_dot_score),
    "euclidean": (util.euclidean_sim, util.pairwise_euclidean_sim),
    "manhattan": (util.manhattan_sim, util.pairwise_manhattan_sim),
}


# --- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", SIMILARITIES)
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_one_vector_drops_its_dimension(how, library):
    a, b = matrices(3, 4)
    a, b = (a, b) if library == "torch" else (a.numpy(), b.numpy())
    whole = similarity(a, b, how)
    assert whole.shape == (3, 4)
    assert similarity(a[0], b, how).shape == (4,)
    assert similarity(a, b[0], how).shape == (3,)
    assert similarity(a, b[:3], how, pairwise=True).shape == (3,)
    for one in (similarity(a[1], b[2], how), similarity(a[1], b[2], how, pairwise=True)):
        assert one.shape == ()
        assert isinstance(one, torch.Tensor if library == "torch" else np.float64)
        assert float(one) == pytest.approx(float(whole[1, 2]), rel=1e-12)
    assert type(whole) is type(a)


@pytest.mark.parametrize("how", SIMILARITIES)
@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_empty_sides_give_empty_results(how, n, m):
    a, b = torch.ones(n, 2, dtype=torch.float16), torch.ones(m, 2)
    assert similarity(a, b, how).shape == (n, m)
    assert similarity(a, b, how).dtype == torch.float32
    assert list(similarity_blocks(a, b, how)) == []
    assert similarity(b[:0], b[:0], how, pairwise=True).shape == (0,)
    assert similarity(a.float().requires_grad_(), b, how).shape == (n, m)


# --- values -------------------------------------------------------------------------------------------------------


def test_values_computed_by_hand():
    x, y, far = torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0]), torch.tensor([-9.0, -9.0])
    expected = {"cosine": 24 / 25, "dot": 24, "dot_product": 24, "euclidean": -math.sqrt(2), "manhattan": -2}
    expected |= {"cityblock": -2, "minkowski": -(2 ** (1 / 3)), "chebyshev": -1}
    for how, value in expected.items():
        assert float(similarity(x, y, how)) == pytest.approx(value, rel=1e-6)
        assert similarity(x, y, how) > similarity(x, far, how)


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("size", SIZES)
def test_values_equal_a_plain_loop_and_scipys(how, p, size):
    a, b = matrices(*size)
    got = similarity(a, b, how, p=p)
    for i, j in itertools.product((0, 1, -1), (0, 2, -1)):
        assert float(got[i, j]) == pytest.approx(loop(a[i].tolist(), b[j].tolist(), how, p), rel=1e-11)
    if how in SCIPY:
        np.testing.assert_allclose(got.numpy(), SCIPY[how](a, b, p), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("how", PLATFORM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_equal_those_of_sentence_transformers(how, dtype):
    a, b = matrices(300, 300, dimension=40, dtype=dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(similarity(a, b, how), PLATFORM[how][0](a, b), **tolerance)
    torch.testing.assert_close(similarity(a, b, how, pairwise=True), PLATFORM[how][1](a, b), **tolerance)


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_pairwise_is_the_diagonal(how, p, dtype):
    a, b = matrices(300, 300, dtype=dtype)
    tolerance = {torch.float32: 3e-6, torch.float64: 1e-12}.get(dtype, torch.finfo(dtype).eps)
    rows, diagonal = similarity(a, b, how, p=p, pairwise=True), similarity(a, b, how, p=p).diagonal()
    torch.testing.assert_close(rows, diagonal, rtol=tolerance, atol=tolerance)


# --- precision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pairwise", [False, True])
def test_low_precision_is_rounded_once(how, p, dtype, pairwise):
    a, b = matrices(300, 300, dimension=64, dtype=dtype)
    got = similarity(a, b, how, p=p, pairwise=pairwise)
    assert got.dtype == dtype
    exact = similarity(a.double(), b.double(), how, p=p, pairwise=pairwise)
    slack = 2e-6 if dtype == torch.float32 else 0.51 * torch.finfo(dtype).eps
    assert ((got.double() - exact).abs() <= slack * exact.abs() + 1e-5).all()  # a dot may cancel


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float32, torch.float64, torch.float64),
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
    ],
)
def test_the_result_has_the_promoted_dtype(left, right, expected):
    a, b = torch.ones(2, 3, dtype=left), torch.ones(4, 3, dtype=right)
    for how in SIMILARITIES:
        assert similarity(a, b, how).dtype == expected
        assert similarity(a, b[:2], how, pairwise=True).dtype == expected


@pytest.mark.parametrize("apart", [1e-1, 1e-3, 1e-5, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_euclidean_keeps_its_digits_between_near_identical_rows(apart, dtype):
    a, noise = matrices(300, 300, dimension=384, dtype=dtype)
    b = a + apart * noise
    exact = -(a.double() - b.double()).norm(dim=1)
    error = (similarity(a, b, "euclidean").diagonal().double() - exact) / exact
    assert error.abs().max() < (1e-7 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_euclidean_keeps_its_digits_in_a_collapsed_corpus(dtype):
    a, noise = matrices(300, 1, dimension=64, dtype=dtype)
    a = noise + 1e-4 * a  # all rows near each other: differences for whole tiles
    exact = torch.from_numpy(-cdist(a.double(), a.double()))
    torch.testing.assert_close(similarity(a, a, "euclidean").double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("how", DISTANCES)
@pytest.mark.parametrize("n", [7, 300])
def test_a_row_is_at_no_distance_from_itself(how, n):
    a, _ = matrices(n, 1, dimension=50, dtype=torch.float32)
    assert (similarity(a, a, how).diagonal() == 0).all()
    assert (similarity(a, a, how, pairwise=True) == 0).all()
    assert (similarity(a[:1].expand(n, -1), a[:1].expand(n, -1), how) == 0).all()  # nothing but duplicates


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize(("how", "p"), [(how, p) for how, p in CASES if how != "dot"])
def test_powers_neither_underflow_nor_overflow(how, p, scale):
    close = {"rtol": 1e-12, "atol": 1e-15 if how == "cosine" else 0}
    for size in SIZES:
        a, b = matrices(*size)
        expected = similarity(a, b, how, p=p) * (1 if how == "cosine" else scale)
        torch.testing.assert_close(similarity(a * scale, b * scale, how, p=p), expected, **close)
        rows = min(size)
        got = similarity(a[:rows] * scale, b[:rows] * scale, how, p=p, pairwise=True)
        torch.testing.assert_close(got, expected.diagonal(), **close)


def test_cosines_of_huge_and_tiny_rows_and_of_the_same_direction():
    x = torch.tensor([[3e38, 3e38], [1e-40, 1e-40], [1.0, 1.0]])
    assert torch.allclose(similarity(x, x), torch.ones(3, 3))
    assert torch.allclose(similarity(x, x.flip(0), pairwise=True), torch.ones(3))
    tiny = torch.tensor([[1e-30, 0.0]])
    assert similarity(tiny, tiny).item() == 1
    assert similarity(torch.full((1, 2), 6e-8, dtype=torch.float16), torch.ones(1, 2).half()).item() == 1
    a, _ = matrices(300, 1, dimension=17, dtype=torch.float32)
    assert similarity(a, 3 * a).abs().max() <= 1
    assert similarity(a, 3 * a, pairwise=True).abs().max() <= 1


@pytest.mark.parametrize("p", [30, 300, 3000.5, 1e300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
def test_a_large_p_tends_to_chebyshev(p, dtype, size):
    a, b = matrices(*size, dimension=8, dtype=dtype)
    got, limit = similarity(a / 100, b / 100, "minkowski", p=p), similarity(a / 100, b / 100, "chebyshev")
    assert (got <= limit * (1 - 1e-6)).all()
    torch.testing.assert_close(got, limit, rtol=8 ** (1 / p) - 1 + 1e-6, atol=0)


@pytest.mark.parametrize("p", [1e38, 1e39, 1e300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
def test_equal_rows_have_no_distance_at_any_p(p, dtype, size):
    """Beyond 1e38, 1 / p is 0 in float32, and 0 ** 0 is 1."""
    a, _ = matrices(*size, dimension=8, dtype=dtype)
    assert (similarity(a, a, "minkowski", p=p).diagonal() == 0).all()
    assert (similarity(a, a, "minkowski", p=p, pairwise=True) == 0).all()
    assert similarity(a[0], a[0], "minkowski", p=p) == 0


# --- laws ---------------------------------------------------------------------------------------------------------

NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))
TRIPLES = arrays.arrays(np.float64, (3, 5, 4), elements=NUMBERS)


@settings(max_examples=40, deadline=None)
@given(triple=TRIPLES, case=st.sampled_from(CASES), order=st.permutations(range(5)), scale=st.floats(1e-3, 1e3))
def test_symmetry_order_and_scale(triple, case, order, scale):
    how, p = case
    a, b, c = triple if SIMILARITIES[how].zero_rows else triple + 1000

    def of(x, y):
        return similarity(x, y, how, p=p)

    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(of(a, b), of(b, a).T, **close)
    np.testing.assert_allclose(of(a[order], b), of(a, b)[order], **close)
    if how == "cosine":
        np.testing.assert_allclose(of(a * scale, b), of(a, b), **close)
    if SIMILARITIES[how].distance:
        np.testing.assert_allclose(of(a + c[0], b + c[0]), of(a, b), rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(of(a * scale, b * scale), of(a, b) * scale, rtol=1e-9, atol=1e-9 * scale)
        around = (of(a, b)[:, :, None] + of(b, c)[None]).max(axis=1)  # over the best b
        assert (of(a, c) >= around - 1e-9).all()


@pytest.mark.parametrize(("p", "same"), [(1, "manhattan"), (2, "euclidean"), (math.inf, "chebyshev")])
def test_minkowski_of_special_p_equals_the_named_measure(p, same):
    a, b = matrices(300, 300)
    assert torch.equal(similarity(a, b, "minkowski", p=p), similarity(a, b, same))
    assert torch.equal(similarity(a, b, "minkowski", p=p, pairwise=True), similarity(a, b, same, pairwise=True))
    near = similarity(a, b, "minkowski", p=1.0000001 if p == 1 else 1.9999999 if p == 2 else 1e5)
    torch.testing.assert_close(near, similarity(a, b, same), rtol=1e-4, atol=0)
    assert torch.equal(similarity(a, b, "minkowski"), similarity(a, b, "minkowski", p=np.float32(3)))


# --- blocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("block", [1, 3, 7, 4096])
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_blocks_equal_the_whole_matrix(how, p, block, library):
    a, b = matrices(8, 13, dtype=torch.float32)
    a, b = (a, b) if library == "torch" else (a.numpy(), b.numpy())
    whole, seen = np.full((8, 13), np.nan, np.float32), []
    for rows, columns, values in similarity_blocks(a, b, how, p=p, block=block):
        assert type(values) is type(a)
        assert max(values.shape) <= block
        whole[rows, columns] = values
        seen.append((rows.start, columns.start))
    assert seen == sorted(seen)
    np.testing.assert_allclose(whole, similarity(a, b, how, p=p), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("how", SIMILARITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tiles_do_not_matter(how, dtype, monkeypatch):
    a, b = matrices(23, 19, dtype=dtype)
    whole = similarity(a, b, how)
    rows = similarity(a[:19], b, how, pairwise=True)
    monkeypatch.setattr(room, "_SIDE", 5)
    monkeypatch.setattr(room, "_PAIRS", 15)
    monkeypatch.setattr(room, "_GATHERED", 1)
    torch.testing.assert_close(similarity(a, b, how), whole)
    torch.testing.assert_close(similarity(a[:19], b, how, pairwise=True), rows)


BIG = """
import resource, sys
import torch
from cenote.functional import similarity
how = sys.argv[1]
a = torch.randn(100_000, 16)
torch.mm(a[:512], a[:512].T), torch.cdist(a[:9], a[:9])  # the libraries' own memory
computed, all_pairs = [], similarity._Engine.all_pairs
similarity._Engine.all_pairs = lambda *given: computed.append([len(side) for side in given[1:]]) or all_pairs(*given)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
walk = similarity.similarity_blocks(a, a, how, block=1024)
first, second = next(walk), next(walk)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
assert computed == [[1024, 1024]] * 2
assert first[:2] == (slice(0, 1024), slice(0, 1024)) and second[1] == slice(1024, 2048)
"""


@posix
@pytest.mark.parametrize("how", ["cosine", "euclidean"])
def test_a_hundred_thousand_squared_is_walked_lazily(how):
    done = subprocess.run([sys.executable, "-c", BIG, how], capture_output=True, text=True, check=True)
    kibibytes = float(done.stdout)
    assert kibibytes * (1 if sys.platform == "linux" else 1 / 1024) < 150 * 1024  # the matrix has 40 GB


# --- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("pairwise", [False, True])
def test_gradients(how, p, pairwise):
    a, b = (x.requires_grad_() for x in matrices(3, 3, dimension=4))
    assert torch.autograd.gradcheck(lambda x, y: similarity(x, y, how, p=p, pairwise=pairwise), (a, b))


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tracking_gradients_changes_no_value(how, p, dtype):
    a, b = matrices(300, 300, dtype=dtype)
    tracked = similarity(a.clone().requires_grad_(), b, how, p=p)
    assert tracked.requires_grad
    torch.testing.assert_close(tracked.detach(), similarity(a, b, how, p=p))
    with torch.no_grad():
        assert not similarity(a.clone().requires_grad_(), b, how, p=p).requires_grad


@pytest.mark.parametrize(("how", "p"), CASES)
@pytest.mark.parametrize("pairwise", [False, True])
def test_gradients_at_equal_rows_are_finite(how, p, pairwise):
    a, _ = matrices(4, 1, dtype=torch.float32)
    a = a.requires_grad_()
    similarity(a, a.detach().clone(), how, p=p, pairwise=pairwise).sum().backward()
    assert a.grad.isfinite().all()


# --- numpy --------------------------------------------------------------------------------------------------------


def test_any_layout_of_numpy_memory_is_accepted(recwarn):
    a = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    expected = similarity(a[::-1].copy(), a)
    locked = a.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(similarity(a[::-1], locked), expected)
    np.testing.assert_array_equal(similarity(a[::-1].astype(">f4"), a), expected)
    np.testing.assert_allclose(similarity(np.asfortranarray(a[::-1]), a), expected, atol=1e-6)
    assert similarity(a.astype(np.float16), a.astype(np.float16)).dtype == np.float16
    assert not [str(warning.message) for warning in recwarn if "writable" in str(warning.message)]


# --- bad input ----------------------------------------------------------------------------------------------------

A = torch.ones(2, 3)
NAN = torch.tensor([[1.0, 2.0], [math.nan, 1.0], [1.0, -math.inf]])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((A, A, "cosin"), {}, r"unknown similarity 'cosin'; did you mean 'cosine'\? There are: cosine, dot, "),
        ((A, A, None), {}, "unknown similarity None"),
        ((A, torch.ones(4, 5)), {}, r"\(2, 3\), b \(4, 5\): the last dimensions differ"),
        ((A[None], A), {}, r"a has shape \(1, 2, 3\)"),
        ((A, torch.tensor(1.0)), {}, r"b has shape \(\)"),
        ((A[:, :0], A[:, :0]), {}, r"a has shape \(2, 0\).*D >= 1"),
        ((A, A.to(torch.float8_e5m2)), {}, r"b has dtype torch.float8_e5m2.*\.float\(\)"),
        ((A.numpy(), A), {}, "a is a numpy.ndarray, b a torch.Tensor"),
        ((A, A.to("meta")), {}, "b is on the device 'meta'"),
        ((A, torch.ones(5, 3)), {"pairwise": True}, r"shape \(2, 3\), b \(5, 3\): pairwise needs equal shapes"),
        ((A[0], A), {"pairwise": True}, "equal shapes"),
        ((A, A), {"p": 4}, "p=4: cosine takes no p"),
        ((A, A, "euclidean"), {"p": 2}, "euclidean takes no p.*minkowski"),
        ((A, A, "minkowski"), {"p": 0}, "p=0: .* p >= 1"),
        ((A, A, "minkowski"), {"p": -1.0}, "p=-1.0: .* p >= 1"),
        ((A, A, "minkowski"), {"p": 0.5}, "p=0.5: .* not a metric"),
        ((A, A, "minkowski"), {"p": math.nan}, "p=nan: .* p >= 1"),
        ((A, A, "minkowski"), {"p": "2"}, "p='2': "),
        ((A, A, "minkowski"), {"p": True}, "p=True: "),
        ((NAN, NAN[:1], "dot"), {}, "a has NaN or infinity in rows 1, 2:"),
        ((NAN[:1], NAN[:2], "dot"), {}, "b has NaN or infinity in row 1:"),
        ((NAN[2], NAN[0], "manhattan"), {}, "a has NaN or infinity in row 0:"),
        ((A, torch.tensor([[0.0, 0, 0], [1, 1, 1]])), {}, "b has zero vectors in row 0, .*no direction.*cosine"),
        ((A.half() * 300, A.half() * 300, "dot"), {}, r"dot exceeds the largest torch.float16, 65504: pass float32"),
        ((A * 1e30, A * 1e30, "dot"), {}, "dot exceeds the largest torch.float32.*pass float64"),
        ((A.double() * 1e300, A.double() * 1e300, "dot"), {}, "dot exceeds .* torch.float64.*scale the vectors"),
        ((A.half() * 6e4, A.half() * -6e4, "chebyshev"), {}, "chebyshev exceeds the largest torch.float16"),
        ((A.half() * 300, A.half() * 300, "dot"), {"pairwise": True}, "dot exceeds the largest torch.float16"),
        (((A.half() * 300).requires_grad_(), A.half() * 300, "dot"), {}, "dot exceeds the largest torch.float16"),
    ],
)
def test_bad_input_is_refused(arguments, options, message):
    with pytest.raises(BadInput, match=message):
        similarity(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((A, A), {"block": 0}, "block=0: pass a whole number"),
        ((A, A), {"block": 2.5}, "block=2.5: pass"),
        ((A, A), {"block": True}, "block=True: pass"),
        ((A[0], A), {}, r"a has shape \(3,\), b \(2, 3\): pass \[N, D\] and \[M, D\]"),
        ((A, NAN), {}, "last dimensions differ"),
        ((NAN, NAN), {}, "a has NaN or infinity in rows 1, 2"),
    ],
)
def test_similarity_blocks_checks_its_input_at_once(arguments, options, message):
    with pytest.raises(BadInput, match=message):
        similarity_blocks(*arguments, **options)


@pytest.mark.parametrize("pairwise", [True, False])
@pytest.mark.parametrize("how", SIMILARITIES)
def test_autocast_changes_no_value_and_inputs_stay(how, pairwise):
    a, b = matrices(300, 300)
    before = a.clone(), b.clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = similarity(a, b, how, pairwise=pairwise)
    assert torch.equal(values, similarity(a, b, how, pairwise=pairwise))
    assert all(map(torch.equal, (a, b), before))
