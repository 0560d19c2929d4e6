"""Every backend computes what the model does, on batches unlike the one that its graph was recorded on."""

import importlib.util
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import cenote
from cenote.encoding import backends
from cenote.encoding.backends import BACKENDS, ManyPoolings, backend, computing_in, distance, obstacle, own_precision
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, UnknownName, UnsupportedModel
from cenote.models.repooling import repool
from cenote.nn import Pooling

GRAPHS = [name for name, row in BACKENDS.items() if row.graph]

# Ragged, one alone, and two of one length.
BATCHES = (
    ["the pool", "", "one two three: light! " * 11, "a deep cave? a stone.", "water", "query document " * 3],
    ["the deep water"],
    ["a pool", "a cave"],
)
ALL = ("cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken", "every_k", "landmark")
BY_LENGTH = cenote.LengthTemperature("linear", start=1.0, end=0.2, shortest=4, longest=32)


def expected(model, features):
    with torch.inference_mode():
        return model(dict(features))["sentence_embedding"]


def agrees(run, model, prompt=None):
    """The largest difference over all batches, and that every batch has its own shape."""
    worst = 0.0
    for texts in BATCHES:
        features = model.preprocess(texts, prompt=prompt)
        made = run(features)
        assert made.dtype == torch.float32
        assert made.shape == (len(texts), model.get_embedding_dimension())
        worst = max(worst, (made - expected(model, features)).abs().max().item())
    return worst


@pytest.fixture
def with_dense(tiny_st):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    def build(kind, **options):
        torch.manual_seed(3)
        return cenote.load(tiny_st(kind, Dense(32, 24), Normalize(), **options), device="cpu")

    return build


@pytest.fixture
def of_family(tiny, tmp_path):
    """A tiny model of another family, with the tokenizer of `tiny("bert")`."""
    import transformers as hf
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    from cenote.nn import Pooling

    def build(config, cls):
        tokenizer = hf.AutoTokenizer.from_pretrained(tiny("bert"))
        size = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        torch.manual_seed(0)
        settings = config(**size, intermediate_size=64, pad_token_id=tokenizer.pad_token_id)
        network = cls(settings)
        for parameter in network.parameters():
            parameter.data += torch.randn(parameter.shape) * 0.2
        network.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        reader = Transformer(str(tmp_path))
        return SentenceTransformer(modules=[reader, Pooling(32, "mean"), Normalize()], device="cpu").eval()

    return build


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("kind", ["bert", "qwen"])  # padded on the right, and on the left
def test_a_graph_has_every_pooling_at_once(name, kind, tiny_st):
    model = repool(cenote.load(tiny_st(kind), device="cpu"), ALL, k=3, interval=4)
    run = backend(model, name)
    assert (run.name, run.precision) == (name, "float32")
    scale = max(expected(model, model.preprocess(texts)).norm(dim=1).max().item() for texts in BATCHES)
    assert agrees(run, model) < 1e-5 * max(1.0, scale / len(ALL))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_has_later_modules_and_a_prompt_that_is_not_pooled(name, with_dense):
    model = repool(with_dense("roberta", include_prompt=False), "multi_cls", interval=4)
    run = backend(model, name)
    assert agrees(run, model) < 1e-5
    assert agrees(run, model, prompt="query: ") < 1e-5
    features = model.preprocess(["a pool"], prompt="query: ")
    ignored = {key: value for key, value in features.items() if key != "prompt_mask"}
    assert not torch.allclose(run(features), run(ignored), atol=1e-3)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_number_as_temperature_is_in_the_graph(name, of_family):
    import transformers as hf

    model = of_family(hf.MPNetConfig, hf.MPNetModel)
    plain = expected(model, model.preprocess(BATCHES[0]))
    handle = cenote.temper(model, 0.4)
    run = backend(model, name)
    assert agrees(run, model) < 1e-5
    handle.remove()
    assert torch.equal(expected(model, model.preprocess(BATCHES[0])), plain)
    assert (run(model.preprocess(BATCHES[0])) - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", GRAPHS)
def test_a_temperature_by_length_is_in_the_graph(name, of_family):
    import transformers as hf

    model = of_family(hf.ModernBertConfig, hf.ModernBertModel)
    plain = expected(model, model.preprocess(BATCHES[0]))
    cenote.temper(model, {"query": 1.0, "document": BY_LENGTH}, layers=[1])
    with pytest.raises(BadInput, match=r"temperature for each role.*pass task='query' or 'document'"):
        backend(model, name)
    run = backend(model, name, task="document")
    assert agrees(run, model) < 1e-5
    assert (run(model.preprocess(BATCHES[0])) - plain).abs().max() > 1e-4


@pytest.fixture
def any_hardware(monkeypatch):
    """A processor without bfloat16 computes it too, slower."""
    monkeypatch.setattr(backends, "_hardware_obstacle", lambda *_: None)


def check_bfloat16(model, name):
    """The vectors are close to those of the model, and are not the same."""
    texts = ["a pool that a collapse made", "deep water " * 30]
    made, plain = backend(model, name, "bfloat16")(model.preprocess(texts)), torch.from_numpy(model.encode(texts))
    assert torch.cosine_similarity(made, plain).min() > 0.9999
    assert not torch.equal(made, plain)
    assert next(model.parameters()).dtype == torch.float32


def test_half_precision_of_the_demo_model(demo, any_hardware):
    check_bfloat16(demo, "torch")


def test_half_precision_of_the_demo_model_in_openvino(demo):
    if reason := obstacle(demo, "openvino", "bfloat16", None):
        pytest.skip(reason)
    check_bfloat16(demo, "openvino")


def test_whoever_calls_a_model_gets_the_precision_that_it_is_set_to(tiny_st, any_hardware):
    model = cenote.load(tiny_st("bert"), device="cpu")
    features = model.preprocess(BATCHES[0])
    wanted, plain = backend(model, precision="bfloat16", validate=False)(features), backend(model)(features)
    with computing_in(model, "bfloat16"):
        assert torch.equal(torch.from_numpy(model.encode(BATCHES[0])), wanted)
        assert torch.equal(backend(model)(features), wanted)
        with pytest.raises(ValueError, match="input_ids"):
            model({})
        assert not torch.is_autocast_enabled("cpu")  # neither after a pass nor after one that failed
    for precision in ("float32", "auto"):
        with computing_in(model, precision):
            assert torch.equal(backend(model)(features), plain)
    assert not torch.equal(wanted, plain)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_a_pass_in_one_thread_rounds_nothing_in_another(tiny_st, any_hardware):
    model = cenote.load(tiny_st("bert"), device="cpu")
    features = model.preprocess(BATCHES[0])
    inside, go_on, found = threading.Event(), threading.Event(), []

    def wait(*_):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go_on.wait(10)

    def read():
        found.append(backend(model)(features))
        found.append(torch.is_autocast_enabled("cpu"))

    handle = model[0].register_forward_pre_hook(wait)
    with computing_in(model, "bfloat16"):
        other = threading.Thread(target=read)
        other.start()
        assert inside.wait(10)
        mine = backend(model)(features)  # begins and ends while the other pass runs
        assert not torch.is_autocast_enabled("cpu")
        go_on.set()
        other.join()
    handle.remove()
    assert torch.equal(found[0], mine)
    assert found[1] is False


def test_a_precision_that_the_machine_lacks_is_refused(demo, monkeypatch):
    monkeypatch.setattr(backends, "_hardware_obstacle", lambda *_: "this CPU has no bfloat16")
    with pytest.raises(BadInput, match="at bfloat16: this CPU has no bfloat16"), computing_in(demo, "bfloat16"):
        pytest.fail("the precision was taken")


def test_torch_runs_the_model_itself_and_leaves_it_in_training(tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    assert agrees(backend(model), model) == 0
    model.train()
    first, second = (backend(model)(model.preprocess(BATCHES[0])) for _ in range(2))
    assert torch.equal(first, second)
    assert model.training
    assert first.requires_grad is False


@pytest.fixture
def precisions(monkeypatch):
    """The precisions of all passes, which are computed in that of the weights."""
    found = []

    @contextmanager
    def rounding(_, precision):
        found.append(precision)
        yield

    monkeypatch.setattr(backends, "_rounding", rounding)
    return found


def overflow(model, precisions, place="tokens"):
    """Make the second text of every batch overflow at float16."""

    def spoil(_module, _inputs, output):
        if precisions[-1] == "float16":
            output["token_embeddings" if place == "tokens" else "sentence_embedding"][1:2] = torch.inf
        return output

    (model[0] if place == "tokens" else model).register_forward_hook(spoil)


@pytest.mark.parametrize("place", ["tokens", "vectors"])
@pytest.mark.parametrize("poolings", [{}, {"cls": Pooling(32, "cls")}], ids=["its own", "several"])
def test_a_batch_that_overflows_at_float16_is_read_in_float32(tiny_st, any_hardware, precisions, place, poolings):
    model = cenote.load(tiny_st("bert"), device="cpu")
    features = model.preprocess(BATCHES[0])

    def made(precision):
        if poolings:
            return ManyPoolings(model, poolings, precision, None)
        return backend(model, precision=precision, validate=False)

    whole, run = made("float32")(features), made("float16")
    precisions.clear()
    overflow(model, precisions, place)
    assert torch.equal(run(features), whole)
    assert precisions == ["float16", "float32"]


def test_weights_of_float16_have_no_other_precision_to_read_in(tiny_st, any_hardware, precisions):
    model = cenote.load(tiny_st("bert"), device="cpu", dtype="float16")
    overflow(model, precisions)
    with pytest.raises(BadInput, match="row 1 has NaN or inf"):
        backend(model, precision="float16", validate=False)(model.preprocess(BATCHES[0]))
    assert precisions == ["float16"]


def test_a_text_that_overflows_and_does_not_fit_at_float32_is_refused(tiny_st, any_hardware, precisions):
    """A text as long was read before, but in half of the memory."""
    model = cenote.load(tiny_st("bert"), device="cpu")
    texts = ["the deep cave", "the deep pool"]

    def spoil(_module, inputs, output):
        if texts[1].split()[-1] in model.tokenizer.decode(inputs[0]["input_ids"][-1]):
            if precisions[-1] == "float32":
                raise MemoryError
            output["token_embeddings"][-1] = torch.inf
        return output

    model[0].register_forward_hook(spoil)
    encoder = Encoder(model, backend(model, precision="float16", validate=False), budget=5)
    _, refused = encoder(tokenise(model, texts))
    assert refused == {1: "a number in it overflows at float16, and at float32 memory runs out"}


def test_weights_in_half_precision_run_in_their_own(tiny_st, any_hardware):
    model = cenote.load(tiny_st("bert"), device="cpu", dtype="bfloat16")
    assert own_precision(model) == "bfloat16"
    assert "load it with dtype='float32'" in obstacle(model, "torch", "float32", None)
    assert "the model's weights are bfloat16" in obstacle(model, "openvino", "float32", None)
    made = backend(model, precision="bfloat16", validate=False)(model.preprocess(BATCHES[0]))
    assert torch.equal(made, expected(model, model.preprocess(BATCHES[0])).float())


def test_unknown_names_and_tasks_are_refused(demo):
    with pytest.raises(UnknownName, match="did you mean 'openvino'"):
        backend(demo, "openvin")
    with pytest.raises(UnknownName, match=r"unknown precision 'int9'.*did you mean 'int8'"):
        backend(demo, precision="int9")
    with pytest.raises(BadInput, match="backend 'torch' at int8: it computes in float32, bfloat16 or float16"):
        backend(demo, precision="int8")
    with pytest.raises(BadInput, match="backend 'onnx' at bfloat16: it computes in float32"):
        backend(demo, "onnx", "bfloat16")
    with pytest.raises(BadInput, match="float16 is for CUDA devices; the model is on cpu"):
        backend(demo, "torch", "float16")
    with pytest.raises(BadInput, match="task='queries' is neither"):
        backend(demo, task="queries")


@pytest.mark.parametrize("name", GRAPHS)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(name, demo, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(BadInput, match=rf"which is missing: pip install 'cenote\[{name}\]'\.$"):
        backend(demo, name)
    assert obstacle(demo, name, "float32", None).endswith(f"pip install 'cenote[{name}]'")


def test_a_processor_without_bfloat16_is_refused(demo, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(BadInput, match="this CPU has no bfloat16: it would compute it by other means"):
        backend(demo, "torch", "bfloat16")


@pytest.mark.parametrize(
    ("precision", "error", "match"),
    [
        ("float32", 1e-3, "its vectors differ by"),
        ("float32", 0, None),
        ("bfloat16", 0.02, "have a cosine of"),
        ("bfloat16", 0.003, None),  # as far as rounding is of a model of twelve layers
    ],
)
def test_a_backend_with_other_vectors_is_refused(precision, error, match, tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")

    class Wrong:
        name = "wrong"

        def __call__(self, features):
            made = expected(model, features)
            noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(0))
            return made + error * noise * made.norm(dim=1, keepdim=True)

    Wrong.precision = precision
    if match is None:
        backends.verify(Wrong(), model, least=backends.ROUNDED_COSINE)
        return
    with pytest.raises(UnsupportedModel, match=match):
        backends.verify(Wrong(), model, least=backends.ROUNDED_COSINE)


def test_a_graph_of_one_length_is_refused(tiny_st, monkeypatch):
    model = cenote.load(tiny_st("bert"), device="cpu")

    class Stiff:
        name, precision = "stiff", "float32"

        def __call__(self, features):  # reads ten tokens at most
            short = {
                key: value[:, :10] if isinstance(value, torch.Tensor) else value for key, value in features.items()
            }
            return expected(model, short)

    with pytest.raises(UnsupportedModel, match="backend 'stiff' at float32 does not compute what the model does"):
        backends.verify(Stiff(), model)


def test_vectors_that_are_not_finite_are_refused():
    run = backends._Graph("onnx", "float32", ("input_ids",), lambda inputs: np.array([[1.0], [np.nan]], np.float32))
    with pytest.raises(BadInput, match="row 1 has a vector that is not finite"):
        run({"input_ids": torch.ones(2, 1, dtype=torch.long)})


def test_distance_is_the_largest_difference_and_the_smallest_cosine():
    theirs = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    difference, cosine = distance(theirs + torch.tensor([[0.5, 0.0], [0.0, 0.0]]), theirs)
    assert difference == pytest.approx(0.1)
    assert cosine == pytest.approx((3.5 * 3 + 16) / (5 * (3.5**2 + 16) ** 0.5))


# OpenVINO in a process of its own. Two runners are deleted out of order and in another thread; then comes a signal, as
# by Ctrl-C.
OPENVINO = """
import signal, sys, threading
from cenote.encoding.backends import openvino_runner
from cenote.encoding.graphs import import_openvino
openvino = import_openvino()
assert openvino.convert_model and openvino is import_openvino()
print("telemetry:", any(name.startswith("openvino_telemetry") for name in sys.modules))
from openvino import Model, opset13
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
def runner():
    port = opset13.parameter([1])
    return openvino_runner(Model([opset13.relu(port)], [port]), "float32")
kept = [runner(), runner()]
kept.pop(0)
end = threading.Thread(target=kept.clear)
end.start()
end.join()
signal.raise_signal(signal.SIGTERM)
"""


@pytest.fixture(scope="module")
def openvino_process():
    pytest.importorskip("openvino")
    environment = {key: value for key, value in os.environ.items() if key != "CI"}  # no telemetry is sent there anyway
    command = [sys.executable, "-c", OPENVINO]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_importing_openvino_starts_no_telemetry(openvino_process):
    assert openvino_process.stdout.startswith("telemetry: False\n"), openvino_process.stderr


def test_a_signal_is_handled_after_runners_are_deleted(openvino_process):
    assert openvino_process.returncode == 0, openvino_process.stderr
    assert openvino_process.stdout.endswith("\nhandled\n")
