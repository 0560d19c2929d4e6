"""Comparisons and tunings on labelled data by graphs of token vectors: what torch finds, without torch."""

import json
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import cenote
from cenote.data.labelled import Classification, Clustering, Labels, texts_of
from cenote.data.labelled_schemas import Asked
from cenote.encoding import backends, passes
from cenote.encoding.forward import forward
from cenote.encoding.passes import NoGraph, Passes, SharedPasses, passes_of_a_graph
from cenote.evaluation import runtimes
from cenote.evaluation.arms import check_grid, passes_of
from cenote.evaluation.configuration import configuration_of
from cenote.evaluation.reading import Side, TextReader
from cenote.evaluation.runtimes import has_many_tokens, in_order_of_graphs, tasks_by_graph
from cenote.evaluation.task_list import ListedTask, list_tasks
from cenote.nn import Pooling

from ..encoding.test_passes import MANY, assert_close, forbid_torch
from .labelled import EVERY, retrieval, sts, texts
from .test_compare import planted

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
    """Let all data be worth a graph, and fail where torch runs the model, but to compare a graph with it."""
    monkeypatch.setattr(runtimes, "WORTH_A_GRAPH", 0)
    forbid_torch(monkeypatch, passes, backends)


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that were made, and how many of them were there at most."""
    made = SimpleNamespace(count=0, most=0, alive=weakref.WeakSet())
    original = passes._TokenGraph.__init__

    def note(self, *how):
        made.alive.add(self)
        made.count += 1
        made.most = max(made.most, len(made.alive))
        original(self, *how)

    monkeypatch.setattr(passes._TokenGraph, "__init__", note)
    return made


@pytest.fixture
def model(tiny_st):
    torch.manual_seed(5)
    made = cenote.load(tiny_st("bert"), device="cpu")
    made.max_seq_length = 12  # so that there are windows
    return made


def compare(model, data, **options):
    """Return a comparison as plain data, without the neighbours: close ones swap places with the last digits."""
    record = json.loads(cenote.compare(model, data, cache=False, **options).to_json())
    for cell in record["cells"]:
        del cell["neighbours"]
    return record


def without_versions(record):
    return {name: value for name, value in record.items() if name != "versions"}


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (retrieval(), {"poolings": ["max"], "temperatures": [0.5], "long": ["truncate", "window-mean", "windows"]}),
        (sts(), {"poolings": ["landmark"]}),
    ],
)
def test_a_comparison_by_graphs_is_that_of_torch(data, options, model, request):
    plain = compare(model, {"data": data}, **options)
    assert "openvino" not in plain["versions"]
    request.getfixturevalue("never_torch")
    found = compare(model, {"data": data}, **options)
    assert_close(without_versions(found), without_versions(plain))
    assert "openvino" in found["versions"]


def test_one_graph_serves_all_tasks_and_limits_of_a_temperature(model, never_torch, graphs):
    compare(model, {"one": sts(), "other": sts(seed=1)}, temperatures=[0.5], limits=[8])
    assert (graphs.count, graphs.most) == (2, 1)


def test_a_tuning_by_graphs_is_that_of_torch_and_holds_one_graph_at_a_time(model, request, graphs):
    tune_both_ways(model, request, graphs, temperatures=[0.5])


def test_a_tuning_by_graphs_by_length_is_that_of_torch(model, request, graphs):
    tune_both_ways(model, request, graphs, temperatures=[0.5], by_length=True)


def tune_both_ways(model, request, graphs, **options):
    data = {"pairs": planted(model, 200, 0.001, temperature=0.5)}
    options |= {"cache": False}
    plain = json.loads(cenote.tune(model, data, **options).to_json())
    assert graphs.count == 0
    request.getfixturevalue("never_torch")
    found = json.loads(cenote.tune(model, data, **options).to_json())
    assert_close(without_versions(found), without_versions(plain))
    assert found["chosen"]
    assert (len(graphs.alive), graphs.most) == (0, 1)


def test_settings_are_read_by_graphs_if_each_of_them_can_have_one(model):
    tasks = list_tasks(None, {"few": sts(), "many": retrieval(documents=4500, words=100)}, None, Asked(), False)

    def by_graph(*temperatures):
        model.max_seq_length = 128
        grid = check_grid(None, temperatures, None, None)
        return tasks_by_graph(tasks, passes_of(model, "m", grid), "auto")

    assert by_graph(0.5) == {"many"}
    assert by_graph(0.5, {"query": 0.5, "document": 1.0}) == set()


def test_where_one_graph_cannot_be_had_torch_reads_all_settings(model, monkeypatch):
    monkeypatch.setattr(runtimes, "WORTH_A_GRAPH", 0)
    original, tried, said = passes._find_disagreement, [], []

    def fail_at_the_second(*which):
        tried.append(1)
        return "OpenVINO's vectors are wrong" if len(tried) == 2 else original(*which)

    monkeypatch.setattr(passes, "_find_disagreement", fail_at_the_second)
    options = {"temperatures": [0.5, 0.7], "cache": False}
    found = cenote.compare(model, {"pairs": sts()}, **options, notify=said.append)
    assert len(tried) == 2
    assert "openvino" not in found.versions
    assert sum("it reads them all" in one for one in said) == 1
    monkeypatch.setattr(runtimes, "WORTH_A_GRAPH", 10**9)
    assert cenote.compare(model, {"pairs": sts()}, **options).cells == found.cells


def test_scores_that_a_graph_read_are_not_those_of_torch(model, never_torch, monkeypatch, tmp_path):
    options = {"poolings": ["max"], "cache": tmp_path}
    cenote.compare(model, {"pairs": sts()}, **options)
    again = cenote.compare(model, {"pairs": sts()}, **options)
    assert any("from the cache" in note for note in again.notes)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(pytest.fail.Exception, match="torch ran the model"):
        cenote.compare(model, {"pairs": sts()}, **options)


def test_passes_that_share_a_graph_follow_each_other(model):
    grid = check_grid(["landmark"], [0.5], [8], None)
    listed = passes_of(model, "m", grid)
    assert [(one.limit, one.group.own) for one in listed[:3]] == [(None, "mean"), (None, "landmark"), (8, "mean")]
    ordered = in_order_of_graphs(listed)
    assert [(one.temperature, one.group.own, one.limit) for one in ordered] == [
        (temperature, pooling, limit)
        for temperature in (None, 0.5)
        for pooling in ("mean", "landmark")
        for limit in (None, 8)
    ]


def test_one_graph_is_shared_and_one_that_cannot_be_had_is_an_error(model, monkeypatch):
    shared = SharedPasses("auto")
    first = shared.of(model, "1")
    assert shared.of(model, "1") is first
    assert shared.of(model, "0.5") is not first
    assert first.graph is not None
    monkeypatch.setattr(passes, "_find_disagreement", lambda *_: "it is wrong")
    with pytest.raises(NoGraph, match="torch reads the texts: at float32 "):
        _ = passes_of_a_graph(model, "auto").graph


@pytest.mark.parametrize("kind", EVERY)
def test_all_texts_of_labelled_data_count(kind):
    counts = {
        "retrieval": 60 + 40,
        "reranking": 60 + 40,
        "classification": 60 + 45,
        "clustering": 60,
        "sts": 2 * 50,
        "summarisation": 35 * (1 + 4 + 4),
    }
    assert len(texts_of(EVERY[kind])) == counts[kind]


def test_a_task_of_mteb_is_taken_to_have_many_tokens_and_texts_that_are_not_learnt_from_do_not_count():
    assert has_many_tokens(ListedTask("t", "sts", lambda: None, "", "STS12", "test"), 256)
    long = tuple(f"{row} " + "light " * 200 for row in range(2000))
    learnt = Classification(Labels(long, ("a", "b") * 1000), Labels(("a pool", "a pond"), ("a", "b")))
    task = ListedTask("t", "classification", lambda: None, "", None, "test", (), learnt)
    assert not has_many_tokens(task, 256)
    assert has_many_tokens(replace(task, local=Clustering(long, ("a", "b") * 1000)), 256)


def test_the_graph_reads_and_is_let_go_of(model, monkeypatch, graphs):
    run = Passes(model, tokens=MANY)
    made = run.graph.run
    counted, ran = [], []
    run.graph.run = lambda inputs: counted.append(1) or made(inputs)
    for module in (passes, backends):
        monkeypatch.setattr(module, "forward", lambda *args: ran.append(1) or forward(*args))
    reader = TextReader(model, "torch", poolings={"max": Pooling(32, "max")})
    with reader.read_by(run):
        reader.vectors(texts(2, 5, 0), QUERY)
        reader.pooled("max").vectors(texts(40, 9, 1), DOCUMENT)
        reader.windows(["word " * 30], DOCUMENT)
    assert (len(counted), ran) == (4, [])
    assert graphs.alive
    del run
    assert not graphs.alive
    reader.vectors(["light"], QUERY)
    assert len(ran) == 1
    assert len(reader.vectors(texts(2, 5, 0), QUERY)) == 2  # vectors are kept


def test_the_time_of_reading_is_without_that_of_making_a_graph(model, monkeypatch):
    original = passes.to_openvino

    def slowly(*how, **named):
        time.sleep(2)
        return original(*how, **named)

    monkeypatch.setattr(passes, "to_openvino", slowly)
    reader = TextReader(model, "torch")
    with reader.read_by(Passes(model, tokens=MANY)):
        reader.vectors(["one"], DOCUMENT)
    reader.vectors(["word " * 30], DOCUMENT)
    with reader.read_by(Passes(model, tokens=MANY)):
        reader.windows(["word " * 30], DOCUMENT)
    assert 0 < reader.work.seconds < 2
    assert 0 < reader.work.seconds_of_windows < 2


def test_kept_scores_know_whether_a_graph_may_have_read(model):
    reader = TextReader(model, "torch")
    assert "openvino" not in configuration_of(reader)["versions"]
    with reader.read_by(Passes(model, tokens=MANY)):
        assert "openvino" in configuration_of(reader)["versions"]


def test_a_graph_in_half_precision_is_recorded_in_float32(demo):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16")
    some = texts(20, 12, 0)

    def vectors(precision, **how):
        reader = TextReader(demo, "torch", precision, **how)
        run = Passes(demo, precision, tokens=MANY, notify=pytest.fail)
        with reader.read_by(run):
            found = torch.from_numpy(reader.vectors(some, DOCUMENT))
            assert run.graph is not None
        return found

    with torch.autocast("cpu", torch.bfloat16):  # as a caller may have it
        made = vectors("bfloat16", poolings={"max": Pooling(384, "max")})
    assert torch.equal(made, vectors("bfloat16"))
    exact = torch.from_numpy(TextReader(demo, "torch").vectors(some, DOCUMENT))
    assert 0.999 < torch.cosine_similarity(made, exact).min() < 0.9999999
