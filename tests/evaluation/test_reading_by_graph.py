"""Comparisons and tunings on labelled data by graphs of token vectors: what torch finds, without torch."""

import gc
import json
import time
import weakref

import pytest
import torch

import cenote
from cenote.encoding import backends, passes
from cenote.encoding.forward import forward
from cenote.evaluation.configuration import configuration_of
from cenote.evaluation.reading import Side, TextReader
from cenote.listener import Listener
from cenote.nn import Pooling

from ..encoding.test_passes import assert_close
from .labelled import EVERY, retrieval, texts

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")
pytestmark = pytest.mark.filterwarnings("ignore")

DOCUMENT, QUERY = Side(None, "document"), Side(None, "query")


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Every processor counts as one on which OpenVINO is faster."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


@pytest.fixture
def never_torch(monkeypatch):
    """Let every text be worth a graph, and fail where torch runs the model, but to compare a graph with it."""
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 0)
    for module in (passes, backends):
        monkeypatch.setattr(module, "forward", lambda *_: pytest.fail("torch ran the model"))
    original = passes.find_disagreement

    def compare_by_torch(*which):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backends, "forward", forward)
            return original(*which)

    monkeypatch.setattr(passes, "find_disagreement", compare_by_torch)


@pytest.fixture
def model(tiny_st):
    torch.manual_seed(5)
    made = cenote.load(tiny_st("bert"), device="cpu")
    made.max_seq_length = 12  # so that there are windows
    return made


def compare(model, data, **options):
    found = cenote.compare(model, data, cache=False, **options)
    record = json.loads(found.to_json())
    # Close neighbours of random vectors swap places with the last digits.
    for cell in record["cells"]:
        del cell["neighbours"]
    return record


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("retrieval", {"poolings": ["max"], "temperatures": [0.5], "long": ["truncate", "window-mean", "windows"]}),
        ("sts", {"poolings": ["landmark"]}),
    ],
)
def test_a_comparison_by_graphs_is_that_of_torch(kind, options, model, request):
    plain = compare(model, {kind: EVERY[kind]}, **options)
    request.getfixturevalue("never_torch")
    assert_close(compare(model, {kind: EVERY[kind]}, **options), plain)
    assert "openvino" in plain["versions"]


def test_a_tuning_by_graphs_is_that_of_torch_and_holds_one_graph_at_a_time(model, request, monkeypatch):
    options = {"by_role": True, "temperatures": [1.0, 0.7], "seed": 1}
    search = {"search": retrieval(70)}
    plain = json.loads(cenote.tune(model, search, **options).to_json())
    request.getfixturevalue("never_torch")
    alive, most = weakref.WeakSet(), []
    original = passes._TokenGraph.__init__

    def note(self, *how):
        gc.collect()
        alive.add(self)
        most.append(len(alive))
        original(self, *how)

    monkeypatch.setattr(passes._TokenGraph, "__init__", note)
    assert_close(json.loads(cenote.tune(model, search, **options).to_json()), plain)
    assert len(most) > 2
    assert max(most) == 1


def test_a_graph_serves_all_that_is_read_after_it_was_made(model, monkeypatch):
    reader = TextReader(model, "torch", poolings={"max": Pooling(32, "max")}, graphs=True)
    ran = []
    monkeypatch.setattr(backends, "forward", lambda *args: ran.append(1) or forward(*args))
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 100)
    reader.vectors(texts(2, 5, 0), QUERY)
    assert len(ran) == 1  # few tokens
    reader.vectors(texts(40, 9, 1), DOCUMENT)
    after = len(ran)
    reader.pooled("max").vectors(["one", "other"], QUERY)
    reader.windows(["word " * 30], DOCUMENT)
    assert len(ran) == after
    reader.forget_graph()
    reader.vectors(["light"], QUERY)
    assert len(ran) == after + 1
    assert len(reader.vectors(texts(2, 5, 0), QUERY)) == 2  # vectors are kept


def test_a_graph_that_cannot_be_made_is_tried_once(model, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no kernel")

    said = []
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 0)
    monkeypatch.setattr(passes, "openvino_runner", fail)
    reader = TextReader(model, "torch", listener=Listener(notify=said.append), graphs=True)
    found = [reader.vectors(some, DOCUMENT) for some in (texts(4, 5, 0), ["one more"])]
    assert said == ["torch reads the texts: at float32, OpenVINO's vectors cannot be had: no kernel"]
    assert [len(one) for one in found] == [4, 1]


def test_the_time_of_reading_is_without_that_of_making_a_graph(model, monkeypatch):
    original = passes.to_openvino

    def slowly(*how, **named):
        time.sleep(2)
        return original(*how, **named)

    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 0)
    monkeypatch.setattr(passes, "to_openvino", slowly)
    reader = TextReader(model, "torch", graphs=True)
    reader.vectors(["one"], DOCUMENT)
    reader.forget_graph()
    reader.windows(["word " * 30], DOCUMENT)
    assert 0 < reader.work.seconds < 2
    assert 0 < reader.work.seconds_of_windows < 2


def test_kept_scores_know_whether_a_graph_may_have_read(model, monkeypatch):
    def versions(graphs):
        return configuration_of(TextReader(model, "torch", graphs=graphs))["versions"]

    assert "openvino" in versions(True)
    assert "openvino" not in versions(False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert versions(True) == versions(False)


def test_a_graph_in_half_precision_is_recorded_in_float32(demo, monkeypatch):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 0)
    some = texts(20, 12, 0)
    reader = TextReader(demo, "torch", "bfloat16", poolings={"max": Pooling(384, "max")}, graphs=True)
    with torch.autocast("cpu", torch.bfloat16):  # as a caller may have it
        made = torch.from_numpy(reader.vectors(some, DOCUMENT))
    assert reader._passes[0].graph is not None
    exact = torch.from_numpy(TextReader(demo, "torch").vectors(some, DOCUMENT))
    ahead = torch.from_numpy(TextReader(demo, "torch", "bfloat16", graphs=True).vectors(some, DOCUMENT))
    assert torch.equal(made, ahead)
    assert 0.999 < torch.cosine_similarity(made, exact).min() < 0.9999999
