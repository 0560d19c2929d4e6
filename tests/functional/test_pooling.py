"""`pool` and its operators: an independent loop, values by hand, precision, laws, graphs, then bad input."""

import math
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cenote
from cenote.errors import BadInput
from cenote.functional.pooling import NAMES, POOLINGS, canonical

from .helpers import padded, places_of

SYMMETRIC = ("mean", "max", "mean_sqrt_len")
OPTIONS = {"every_k": {"k": 3}}


# --- an independent reference: one text at a time, plain Python numbers -------------------------------------------


def loop(row, mask, how, *, k=None, landmarks=None, skip=0):
    """The definition of each operator over one text, as lists of floats."""
    real = [index for index, flag in enumerate(mask) if flag]
    kept = real[skip:]
    n, dimensions = len(kept), range(len(row[0]))
    if how == "cls":
        return list(row[kept[0]])
    if how == "lasttoken":
        return list(row[kept[-1]])
    if how == "max":
        return [max(row[t][d] for t in kept) for d in dimensions]
    if how == "weightedmean":
        weight = {t: real.index(t) + 1 for t in kept}
        total = sum(weight.values())
        return [math.fsum(weight[t] * row[t][d] for t in kept) / total for d in dimensions]
    if how == "inverse_density":
        weight = {t: 1 / max(0.05, math.fsum(cosine(row[t], row[u]) for u in kept) / n) for t in kept}
        total = math.fsum(weight.values())
        return [math.fsum(weight[t] * row[t][d] for t in kept) / total for d in dimensions]
    if how == "mean_sqrt_len":
        return [math.fsum(row[t][d] for t in kept) / math.sqrt(n) for d in dimensions]
    chosen = {
        "mean": kept,
        "every_k": [t for i, t in enumerate(kept, start=1) if k and (i % k == 0 or i == n)],
        "landmark": [t for t in kept if landmarks and landmarks[t]],
        "multi_cls": [t for t in kept if landmarks and landmarks[t]],
    }[how]
    return [math.fsum(row[t][d] for t in chosen) / len(chosen) for d in dimensions]


def cosine(first, second):
    product = math.fsum(a * b for a, b in zip(first, second, strict=True))
    return product / math.hypot(*first) / math.hypot(*second)


def batch_of(lengths, dimension=5, slots=None, side="right", seed=0, dtype=torch.float32):
    """Random tokens, their mask, and marks that include each text's last token."""
    generator = torch.Generator().manual_seed(seed)
    slots = slots or max(lengths)
    tokens = torch.randn(len(lengths), slots, dimension, generator=generator).to(dtype)
    mask = torch.zeros(len(lengths), slots, dtype=torch.long)
    marks = torch.rand(len(lengths), slots, generator=generator) < 0.3
    for row, length in enumerate(lengths):
        where = places_of(length, slots, side)
        mask[row, where] = 1
        marks[row, where.stop - 1] = True
    return tokens, mask, marks.long()


def options_of(how, marks):
    return {"landmarks": marks} if POOLINGS[how].marks else OPTIONS.get(how, {})


def reference(tokens, mask, how, marks, skip=0):
    rows = [
        loop(row, flags, how, k=OPTIONS["every_k"]["k"], landmarks=mark, skip=skip)
        for row, flags, mark in zip(tokens.double().tolist(), mask.tolist(), marks.tolist(), strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("how", POOLINGS)
def test_operators_equal_their_definition(how, side):
    for lengths in ([7, 3, 1, 5], [1], [4], [1, 1, 1], [64, 2]):
        tokens, mask, marks = batch_of(lengths, slots=max(lengths) + 2, side=side, dtype=torch.float64)
        pooled = cenote.pool(tokens, mask, how, **options_of(how, marks))
        torch.testing.assert_close(pooled, reference(tokens, mask, how, marks), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("how", POOLINGS)
def test_skipped_prompt_is_left_out(how):
    tokens, mask, marks = batch_of([7, 4, 5], slots=8, side="left", dtype=torch.float64)
    options = options_of(how, marks)
    for skip in (2, torch.tensor(2), torch.tensor([2]), torch.tensor([2, 2, 2])):
        pooled = cenote.pool(tokens, mask, how, skip=skip, **options)
        torch.testing.assert_close(pooled, reference(tokens, mask, how, marks, skip=2))
    per_text = cenote.pool(tokens, mask, how, skip=[0, 3, 1], **options)
    singles = [cenote.pool(tokens, mask, how, skip=s, **options)[i] for i, s in enumerate([0, 3, 1])]
    torch.testing.assert_close(per_text, torch.stack(singles))


def test_operators_computed_by_hand():
    tokens = torch.tensor([[[1.0, -4.0], [2.0, -1.0], [6.0, -7.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 1, 0]])
    pairs = 6 / math.sqrt(85), 34 / math.sqrt(1445), 19 / math.sqrt(425)  # cosines of 1 and 2, 1 and 3, 2 and 3
    a, b, c = 1 / (1 + pairs[0] + pairs[1]), 1 / (1 + pairs[0] + pairs[2]), 1 / (1 + pairs[1] + pairs[2])
    expected = {
        "cls": [1, -4],
        "lasttoken": [6, -7],
        "mean": [3, -4],
        "max": [6, -1],
        "mean_sqrt_len": [9 / math.sqrt(3), -12 / math.sqrt(3)],
        "weightedmean": [23 / 6, -27 / 6],
        "inverse_density": [(a + 2 * b + 6 * c) / (a + b + c), (-4 * a - b - 7 * c) / (a + b + c)],
        "every_k": [4, -4],  # k = 2: the second token and, closing the last chunk, the third
        "landmark": [3.5, -5.5],
        "multi_cls": [3.5, -5.5],
    }
    assert expected.keys() == POOLINGS.keys()
    for how, values in expected.items():
        options = {"k": 2} if how == "every_k" else {"landmarks": [[1, 0, 1, 0]]} if POOLINGS[how].marks else {}
        pooled = cenote.pool(tokens, mask, how, **options)
        torch.testing.assert_close(pooled, torch.tensor([values]).float(), rtol=1e-6, atol=0)


# --- forms of input and output ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", POOLINGS)
def test_one_text_and_numpy_give_the_same_vectors(how):
    tokens, mask, marks = batch_of([6, 4])
    options = options_of(how, marks)
    whole = cenote.pool(tokens, mask, how, **options)
    single = cenote.pool(tokens[1], mask[1], how, **options_of(how, marks[1]))
    assert single.shape == (5,)
    torch.testing.assert_close(single, whole[1], rtol=1e-6, atol=1e-7)
    for dtype in (np.float16, np.float32, np.float64):
        array = cenote.pool(tokens.numpy().astype(dtype), mask.numpy(), how, **options_of(how, marks.numpy()))
        assert isinstance(array, np.ndarray)
        assert array.dtype == dtype
        np.testing.assert_allclose(array, whole.numpy(), rtol=5e-3 if dtype == np.float16 else 1e-6, atol=5e-3)
    read_only = tokens.numpy()[:, ::-1]
    read_only.flags.writeable = False
    assert cenote.pool(read_only, None, how, **options).shape == (2, 5)


def test_several_names_concatenate_and_aliases_are_equal():
    tokens, mask, _ = batch_of([6, 4])
    parts = [cenote.pool(tokens, mask, how) for how in ("cls", "max", "mean_sqrt_len")]
    both = cenote.pool(tokens, mask, ["cls", "max", "mean_sqrt_len_tokens"])
    assert torch.equal(both, torch.cat(parts, dim=1))
    assert set(canonical(tuple(NAMES))) == set(POOLINGS)
    assert cenote.pool(torch.zeros(0, 3, 4), torch.zeros(0, 3), ("mean", "max")).shape == (0, 8)


def test_return_landmarks_returns_marked_tokens():
    tokens, mask, marks = batch_of([6, 4], side="left", slots=7)
    pooled, vectors = cenote.pool(tokens, mask, "landmark", landmarks=marks, return_landmarks=True)
    for row in range(2):
        where = (marks[row] * mask[row]).bool()
        assert torch.equal(vectors[row], tokens[row][where])
        torch.testing.assert_close(pooled[row], tokens[row][where].mean(0), rtol=1e-5, atol=1e-6)
    vector, single = cenote.pool(tokens[0], mask[0], "landmark", landmarks=marks[0], return_landmarks=True)
    assert vector.shape == (5,)
    assert torch.equal(single, vectors[0])
    array, arrays = cenote.pool(tokens.numpy(), mask, "landmark", landmarks=marks, return_landmarks=True)
    np.testing.assert_array_equal(arrays[1], vectors[1].numpy())
    assert isinstance(array, np.ndarray)


def test_a_list_of_token_matrices_is_padded():
    tokens, mask, _ = batch_of([6, 4, 1])
    ragged = [row[flags.bool()] for row, flags in zip(tokens, mask, strict=True)]
    for how in ("mean", "max", "lasttoken", "cls,mean"):
        torch.testing.assert_close(cenote.pool(ragged, how=how), cenote.pool(tokens, mask, how))


def test_numpy_byte_orders_and_memory_maps(tmp_path):
    tokens, mask, _ = batch_of([6, 4])
    expected = cenote.pool(tokens, mask).numpy()
    for order in ("<", ">"):
        pooled = cenote.pool(tokens.numpy().astype(f"{order}f4"), mask.numpy().astype(f"{order}i4"))
        np.testing.assert_allclose(pooled, expected, rtol=1e-6)
    np.save(tmp_path / "tokens.npy", tokens.numpy())
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    np.testing.assert_allclose(cenote.pool(mapped, mask.numpy(), "every_k", k=np.int64(2)).shape, (2, 5))


def test_result_does_not_keep_the_tokens_alive():
    tokens, mask, marks = batch_of([6, 4])
    for how in POOLINGS:
        pooled = cenote.pool(tokens, mask, how, **options_of(how, marks))
        assert pooled.untyped_storage().data_ptr() != tokens.untyped_storage().data_ptr()
        assert pooled.is_contiguous()


# --- precision: one rounding of the output dtype, whatever the settings ---------------------------------------------


@contextmanager
def older_setting(precision):
    """Let products of float32 matrices round, by torch's older setting."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def newer_setting():
    """Let products of float32 matrices round, by torch's newer setting."""
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this torch has the older setting alone")
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


# What lets a model round: by name, a function that makes the context.
ROUNDING = {
    "none": nullcontext,
    "autocast": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "high": partial(older_setting, "high"),
    "medium": partial(older_setting, "medium"),
    "newer": newer_setting,
}


@pytest.mark.parametrize("setting", ROUNDING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("how", POOLINGS)
def test_sums_are_rounded_once(how, dtype, setting):
    """With more than 256 tokens, weights of `weightedmean` are no numbers of bfloat16."""
    tokens, mask, marks = batch_of([512, 1, 300, 37], dimension=96, dtype=dtype, seed=3)
    options = options_of(how, marks)
    with ROUNDING[setting]():
        pooled = cenote.pool(tokens, mask, how, **options)
    assert pooled.dtype == dtype
    exact = cenote.pool(tokens.double(), mask, how, **options)
    half_step = torch.finfo(dtype).eps / 2 * exact.abs()
    # Beside that rounding, what the accumulation adds: float32 sums under a half result, float64 sums under float32.
    inner = torch.finfo(torch.float32 if dtype != torch.float32 else torch.float64).eps * 512
    slack = inner * exact.abs().amax() + torch.finfo(dtype).tiny
    assert ((pooled.double() - exact).abs() <= half_step + slack).all()


@pytest.mark.parametrize("setting", ROUNDING)
def test_products_are_used_only_where_they_do_not_round(setting, monkeypatch):
    """Where the processor has no products of bfloat16, the settings for float32 do not show in the numbers."""
    used, product = [], torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *given: used.append(1) or product(*given))
    tokens, mask, _ = batch_of([9, 4], dtype=torch.float16)
    with ROUNDING[setting]():
        cenote.pool(tokens, mask)
    assert bool(used) is (setting in ("none", "autocast"))


# --- laws -----------------------------------------------------------------------------------------------------------

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=5)
names = st.sampled_from(list(POOLINGS))


@settings(deadline=None, max_examples=60)
@given(lengths=shapes, how=names, extra=st.integers(0, 5), seed=st.integers(0, 999))
def test_padding_side_and_amount_do_not_matter(lengths, how, extra, seed):
    tight, mask, tight_marks = batch_of(lengths, seed=seed)
    texts, own_marks = ([row[:n] for row, n in zip(part, lengths, strict=True)] for part in (tight, tight_marks))
    expected = cenote.pool(tight, mask, how, **options_of(how, tight_marks))
    for side in ("right", "left"):
        (tokens, mask), (marks, _) = padded(texts, side, extra), padded(own_marks, side, extra, fill=1)
        pooled = cenote.pool(tokens, mask, how, **options_of(how, marks))
        torch.testing.assert_close(pooled, expected, rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(lengths=shapes, how=names, seed=st.integers(0, 999), data=st.data())
def test_batch_order_and_composition_do_not_matter(lengths, how, seed, data):
    tokens, mask, marks = batch_of(lengths, seed=seed)
    whole = cenote.pool(tokens, mask, how, **options_of(how, marks))
    order = data.draw(st.permutations(range(len(lengths))))
    shuffled = cenote.pool(tokens[order], mask[order], how, **options_of(how, marks[order]))
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-6, atol=1e-7)
    for row in range(len(lengths)):
        one = slice(row, row + 1)
        alone = cenote.pool(tokens[one], mask[one], how, **options_of(how, marks[one]))
        torch.testing.assert_close(alone, whole[one], rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 9), how=st.sampled_from(SYMMETRIC), seed=st.integers(0, 999), data=st.data())
def test_token_order_does_not_matter_to_symmetric_operators(length, how, seed, data):
    tokens, mask, _ = batch_of([length], seed=seed)
    order = data.draw(st.permutations(range(length)))
    shuffled = cenote.pool(tokens[:, order], mask, how)
    torch.testing.assert_close(shuffled, cenote.pool(tokens, mask, how), rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(lengths=shapes, how=names, scale=st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**30]), seed=st.integers(0, 999))
def test_scale_passes_through(lengths, how, scale, seed):
    tokens, mask, marks = batch_of(lengths, seed=seed)
    options = options_of(how, marks)
    scaled = cenote.pool(tokens * scale, mask, how, **options)
    assert torch.equal(scaled, cenote.pool(tokens, mask, how, **options) * scale)


def test_one_token_text_is_that_token():
    tokens, mask, marks = batch_of([1, 1], slots=3, side="left")
    for how in POOLINGS:
        assert torch.equal(cenote.pool(tokens, mask, how, **options_of(how, marks)), tokens[:, 2])


# --- gradients and graphs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", POOLINGS)
def test_gradients_are_right_and_zero_for_padding(how):
    tokens, mask, marks = batch_of([4, 2, 1], dimension=3, dtype=torch.float64)
    tokens.requires_grad_()
    options = options_of(how, marks)
    assert torch.autograd.gradcheck(lambda x: cenote.pool(x, mask, how, **options), (tokens,))
    cenote.pool(tokens, mask, how, **options).sum().backward()
    assert (tokens.grad[mask == 0] == 0).all()


class Graph(torch.nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, tokens, mask, marks):
        return cenote.pool(tokens, mask, self.how, **options_of(self.how, marks))


OLDER = pytest.mark.skipif(torch.torch_version.TorchVersion(torch.__version__) < "2.6", reason="[onnx] needs torch 2.6")


def exported(graph, example):
    batch, slots = torch.export.Dim("batch", min=2), torch.export.Dim("slots", min=2)
    return torch.export.export(graph, example, dynamic_shapes=({0: batch, 1: slots},) * 3).module()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("record", [pytest.param(exported, marks=OLDER), torch.jit.trace], ids=["export", "trace"])
@pytest.mark.parametrize("how", POOLINGS)
def test_a_recorded_graph_pools_other_batches(how, record):
    recorded = record(Graph(how), batch_of([4, 2, 3], dimension=3))
    other = batch_of([7, 1, 2, 5], dimension=3, side="left", seed=5)
    torch.testing.assert_close(recorded(*other), Graph(how)(*other), rtol=1e-5, atol=1e-6)


# --- bad input ------------------------------------------------------------------------------------------------------

TOKENS, MASK, MARKS = batch_of([3, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cenote.pool(TOKENS, MASK, "maen"), r"unknown pooling 'maen'; did you mean 'mean'\? There are: cls"),
        (lambda: cenote.pool(TOKENS, MASK, ()), r"names no pooling"),
        (lambda: cenote.pool(TOKENS, MASK, 3), r"unknown pooling 3"),
        (lambda: cenote.pool(TOKENS, MASK[:, :2]), r"mask has shape \(2, 2\), tokens \(2, 3, 5\)"),
        (lambda: cenote.pool(TOKENS, MASK[0]), r"mask has shape"),
        (lambda: cenote.pool(TOKENS[0, 0]), r"tokens has shape \(5,\): pass \[B, T, D\]"),
        (lambda: cenote.pool(TOKENS[None]), r"tokens has shape \(1, 2, 3, 5\)"),
        (lambda: cenote.pool(TOKENS.long(), MASK), r"tokens have dtype torch.int64: .* tokens.float\(\)"),
        (lambda: cenote.pool(TOKENS.numpy().astype(int), MASK), r"tokens has dtype int64"),
        (lambda: cenote.pool(TOKENS.tolist(), MASK), r"tokens is a list: pass one \[T, D\] tensor per text"),
        (lambda: cenote.pool({}, MASK), r"tokens is a dict"),
        (lambda: cenote.pool([TOKENS[0], TOKENS[0, :, :2]]), r"different widths: 2, 5"),
        (lambda: cenote.pool(np.ma.array(TOKENS.numpy(), mask=False)), r"tokens is a MaskedArray"),
        (lambda: cenote.pool(TOKENS, MASK, skip="1"), r"skip='1'"),
        (lambda: cenote.pool(TOKENS, MASK, skip=True), r"skip=True"),
        (lambda: cenote.pool(TOKENS, MASK * 2), r"values other than 0 and 1"),
        (lambda: cenote.pool(TOKENS, MASK * 0.5), r"values other than 0 and 1"),
        (lambda: cenote.pool(TOKENS, "mask"), r"mask is a str"),
        (lambda: cenote.pool(TOKENS, torch.tensor([[1, 1, 1], [0, 0, 0]])), r"row 1 has no real token"),
        (lambda: cenote.pool(torch.zeros(2, 0, 4)), r"rows 0, 1 have no real token"),
        (lambda: cenote.pool(TOKENS, MASK, skip=2), r"row 1 has no token left after skip=2"),
        (lambda: cenote.pool(TOKENS, MASK, skip=-1), r"skip=-1: pass one whole number"),
        (lambda: cenote.pool(TOKENS, MASK, skip=1.5), r"skip=1.5: pass one whole number"),
        (lambda: cenote.pool(TOKENS, MASK, skip=[1, 2, 3]), r"one per text \(2 here\)"),
        (lambda: cenote.pool(TOKENS, MASK, "every_k", k=0), r"k=0: every_k pools every k-th token"),
        (lambda: cenote.pool(TOKENS, MASK, "every_k", k=2.0), r"k=2.0"),
        (lambda: cenote.pool(TOKENS, MASK, "mean", k=2), r"unknown option 'k' for pooling mean: it takes no option"),
        (lambda: cenote.pool(TOKENS, MASK, "every_k", landmarks=MARKS), r"unknown option 'landmarks' .* it takes k"),
        (lambda: cenote.pool(TOKENS, MASK, "landmark"), r"landmarks=None: .* cenote.load\(model, pooling='landmark'\)"),
        (lambda: cenote.pool(TOKENS, MASK, "landmark", landmarks=MARKS * 0), r"rows 0, 1 have no landmark"),
        (lambda: cenote.pool(TOKENS, MASK, "landmark", landmarks=MARKS[:, 1:]), r"landmarks has shape \(2, 2\)"),
        (lambda: cenote.pool(TOKENS, MASK, return_landmarks=True), r"return_landmarks=True needs one of landmark"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("how", POOLINGS)
def test_texts_that_are_not_finite_are_named(how, value):
    for place in (slice(0, 4), *([2] if how == "max" else [])):  # the largest value would hide one -inf
        tokens, mask, _ = batch_of([4, 4, 3], slots=5)
        tokens[1, place, 2] = value
        with pytest.raises(BadInput, match="row 1 has NaN or inf"):
            cenote.pool(tokens, mask, how, **options_of(how, mask))


def test_overflow_raises():
    tokens = torch.full((1, 100, 2), 60000.0, dtype=torch.float16)
    with pytest.raises(BadInput, match=r"overflows torch.float16: pass tokens.float\(\)"):
        cenote.pool(tokens, None, "mean_sqrt_len")
    assert cenote.pool(tokens, None, "mean").isfinite().all()  # the sum would overflow, the mean does not


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.to_sparse(), "is a sparse tensor: call .to_dense"),
        (lambda x: x.to("meta"), "is on the device 'meta'"),
        (lambda x: x.to(torch.float8_e4m3fn), "has dtype torch.float8_e4m3fn, which has no arithmetic"),
        (lambda x: torch.nested.nested_tensor([*x]), "is a nested tensor: pass a list of its tensors"),
    ],
    ids=["sparse", "meta", "float8", "nested"],
)
def test_tensors_that_cannot_be_computed_with_are_refused(change, message):
    tokens = torch.ones(2, 3, 4)
    with pytest.raises(BadInput, match=f"^tokens {message}"):
        cenote.pool(change(tokens), None, "mean")
    if "nested" not in message:
        with pytest.raises(BadInput, match=rf"^tokens\[1\] {message}"):
            cenote.pool([tokens[0], change(tokens[1])], None, "mean")
