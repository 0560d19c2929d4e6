"""Weights in 8 bits: against plain loops, and against the model with its weights rounded by torch."""

import copy

import numpy as np
import pytest
import torch

import cenote
from cenote.encoding import backends, int8
from cenote.encoding.backend_choice import choose_backend, usable_backends
from cenote.encoding.backends import backend, distance, obstacle, plain_backend
from cenote.encoding.int8 import round_in_groups, round_weights
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput, UnsupportedModel
from cenote.exporting import export
from cenote.functional.agreement import cosines

openvino = pytest.importorskip("openvino")
from cenote.encoding.graphs import feed, inputs_of, openvino_core, probes, to_openvino  # noqa: E402

GROUP = 8  # of models with 32 dimensions


def by_loops(rows, group):
    out = np.zeros_like(rows)
    for o, row in enumerate(rows):
        for start in range(0, len(row), group):
            most = max(abs(float(value)) for value in row[start : start + group])
            for i in range(start, start + group):
                out[o, i] = most / 127 * round(float(row[i]) / (most / 127)) if most else 0
    return out


def test_rounding_is_that_of_plain_loops():
    rows = np.random.default_rng(0).standard_normal((5, 24)).astype(np.float32)
    rows[1, 8:16] = 0
    rows[2, 3] = 1000  # spoils its group alone
    whole, scales = round_in_groups(rows, 8)
    assert whole.dtype == np.int8
    rounded = (whole * scales).reshape(rows.shape)
    np.testing.assert_allclose(rounded, by_loops(rows, 8), rtol=1e-5, atol=1e-6)
    assert (np.abs(rounded - rows).reshape(5, 3, 8) <= scales / 2 * (1 + 1e-5)).all()
    assert np.abs(rounded[2, 8:] - rows[2, 8:]).max() < 0.02 < np.abs(rounded[2, :8] - rows[2, :8]).max()


def rounded(values, group):
    whole, scales = round_in_groups(values.reshape(-1, values.shape[-1]).numpy(), group)
    return torch.from_numpy((whole * scales).reshape(values.shape))


def with_rounding(model, group, activations):
    """A copy of a model whose linear maps are rounded by torch."""
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = rounded(module.weight.data, group)
            if activations:
                module.register_forward_pre_hook(lambda _, given: (rounded(given[0], group), *given[1:]))
    return other


@pytest.mark.parametrize("kind", ["bert", "roberta", "qwen"])
def test_a_graph_computes_with_rounded_weights(tiny_st, kind):
    model = cenote.load(tiny_st(kind), device="cpu")
    graph = to_openvino(model)
    round_weights(graph, GROUP)
    compiled = openvino_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == GROUP
    # Activations are rounded too where the processor multiplies integers.
    expected = [plain_backend(with_rounding(model, GROUP, activations)) for activations in (False, True)]
    for features in probes(model):
        found = torch.from_numpy(compiled(feed(features, inputs_of(model)))[0])
        assert min(distance(found, one(features))[0] for one in expected) < 1e-4
        assert distance(found, plain_backend(model)(features))[0] > 1e-4  # something was rounded


def test_maps_that_do_not_divide_are_refused(tiny_st):
    graph = to_openvino(cenote.load(tiny_st("bert"), device="cpu"))
    with pytest.raises(UnsupportedModel, match="no linear map of the model has inputs that divide by 7"):
        round_weights(graph, 7)


def test_an_export_in_8_bits_is_smaller_and_runs_alone(tmp_path, tiny_st, monkeypatch):
    monkeypatch.setattr(int8, "GROUP", GROUP)
    monkeypatch.setattr(round_weights, "__defaults__", (GROUP,))
    model = cenote.load(tiny_st("bert"), device="cpu")
    found = export(model, "openvino", tmp_path / "int8", precision="int8")
    export(model, "openvino", tmp_path / "float32")
    assert 0.99 < found.cosine < 1
    assert found.description["precision"] == "int8"
    sizes = [(tmp_path / name / "openvino_model.bin").stat().st_size for name in ("int8", "float32")]
    assert sizes[0] < 0.7 * sizes[1]
    compiled = openvino.Core().compile_model(str(tmp_path / "int8" / "openvino_model.xml"), "CPU")
    assert compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == GROUP


@pytest.fixture
def capable(monkeypatch):
    """A processor that is said to multiply integers: this one may compute with rounded weights alone."""
    monkeypatch.setattr(backends, "multiplies_integers", lambda: True)
    monkeypatch.setattr(round_weights, "__defaults__", (GROUP,))


def texts(count):
    words = ["pool", "cave", "water", "stone", "deep", "light", "a", "the", "query", "document"]
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(words, draw.integers(3, 30))) for _ in range(count)]


def test_int8_is_compared_with_float32_where_it_is_named(tiny_st, capable):
    model = cenote.load(tiny_st("bert"), device="cpu")
    sample = tokenise(model, texts(60))
    choice = choose_backend(model, sample, "auto", "int8", agreement=0.99)
    assert (choice.backend.name, choice.backend.precision) == ("openvino", "int8")
    plain, made = plain_backend(model), backend(model, "openvino", "int8")
    both = [np.concatenate([run(model.preprocess([text])).numpy() for text in texts(60)]) for run in (plain, made)]
    assert choice.agreement == pytest.approx(cosines(*both).min(), abs=2e-6)
    nearest = [np.argsort(-(unit @ unit.T) + 3 * np.eye(60), 1)[:, :10] for unit in map(unit_rows, both)]
    common = np.mean([len({*a} & {*b}) / 10 for a, b in zip(*nearest, strict=True)])
    assert choice.neighbours == pytest.approx(common, abs=0.02)  # ties
    with pytest.raises(BadInput, match=r"least cosine with float32 is .* below 1, allow a lower one.*--agreement"):
        choose_backend(model, sample, "openvino", "int8", agreement=1.0)
    with pytest.raises(BadInput, match="int8 is compared with float32, and none of the first texts can be read"):
        choose_backend(model, tokenise(model, []), "openvino", "int8", agreement=0.99)


def unit_rows(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_auto_tries_int8_only_where_more_is_allowed_than_half_precision_needs(tiny_st, capable):
    model = cenote.load(tiny_st("bert"), device="cpu")
    assert ("openvino", "int8") not in usable_backends(model)
    assert ("openvino", "int8") in usable_backends(model, agreement=0.999)
    assert usable_backends(model, precision="int8") == [("openvino", "int8")]


@pytest.mark.parametrize(
    ("vnni", "matrix", "known", "found"),
    [
        (True, False, {}, True),
        (False, True, {}, True),
        (False, False, {"avx_vnni": True}, True),
        (False, False, {"avx_vnni": False}, False),
        (False, False, None, False),
        (True, False, None, True),
    ],
    ids=["AVX512", "matrix units", "without AVX512", "none", "none, an old torch", "an old torch"],
)
def test_units_for_integers_are_found_by_every_torch(vnni, matrix, known, found, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix)
    if known is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert int8.multiplies_integers() is found


def test_a_processor_without_integer_products_is_named(tiny_st, monkeypatch):
    model = cenote.load(tiny_st("bert"), device="cpu")
    monkeypatch.setattr(backends, "multiplies_integers", lambda: False)
    assert "does not multiply 8-bit integers" in obstacle(model, "openvino", "int8", None)
    assert obstacle(model, "torch", "int8", None) == "it computes in float32, bfloat16 or float16"


def test_embed_records_how_int8_agrees(tmp_path, tiny_st, capable):
    folder = tiny_st("bert")
    written = cenote.embed(str(folder), texts(60), tmp_path / "out", precision="int8", agreement=0.99)
    assert (written.settings["backend"], written.settings["precision"]) == ("openvino", "int8")
    found = cenote.read_embeddings(tmp_path / "out")
    plain = cenote.load(folder).encode(texts(60))
    assert 0.99 < written.agreement == pytest.approx(cosines(found[:], plain).min(), abs=2e-6)
    assert 0.5 < written.neighbours <= 1
    assert cenote.embed(str(folder), texts(60), tmp_path / "out", precision="int8", agreement=0.99) == written
    with pytest.raises(BadInput, match=r"least cosine with float32 is .* below 0\.9999, allow a lower one"):
        cenote.embed(str(folder), texts(60), tmp_path / "other", precision="int8")
    with pytest.raises(BadInput, match=r"agreement=0\.5: pass the least cosine with float32"):
        cenote.embed(str(folder), texts(60), precision="int8", agreement=0.5)
