"""The verb: what is scored, what is kept, and what is refused."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

import cenote
from cenote.data.labelled_schemas import Asked
from cenote.encoding import backend_choice, backends
from cenote.encoding.backend_choice import choose_steadily
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, CenoteError, UnknownName, UnsupportedModel
from cenote.evaluation import evaluate as module
from cenote.evaluation import task_list
from cenote.evaluation_records import Evaluation
from cenote.models import hub

from ..systems import posix
from .labelled import EVERY, classification, clustering, retrieval, sts, write_folder

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[2]


def run(model, data, tmp_path, **options):
    return cenote.evaluate(model, data=data, cache=tmp_path / "cache", **{"backend": "torch", **options})


@pytest.fixture
def pairs(tmp_path):
    """A folder of pairs with scores."""
    data = sts(40)
    folder = tmp_path / "my pairs"
    folder.mkdir()
    rows = zip(data.first, data.second, data.scores, strict=True)
    lines = [json.dumps({"text1": first, "text2": second, "score": score}) for first, second, score in rows]
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_every_kind_is_scored_in_one_call_and_comes_back_from_json(model, tmp_path):
    found = run(model, EVERY, tmp_path, items=tmp_path / "items")
    assert [(task.name, task.kind) for task in found.tasks] == [(kind, kind) for kind in EVERY]
    for task in found.tasks:
        assert task.low < task.score < task.high
        assert task.items >= 30
        assert task.by_length
        table = pq.read_table(tmp_path / "items" / f"{task.name}.parquet")
        assert sum(table["value"].to_pylist()) / len(table) == pytest.approx(task.score, abs=1e-5)
    assert Evaluation.from_json(found.to_json()) == found
    read = json.loads(found.to_json())
    assert read["tasks"][0].keys() >= {"name", "kind", "metric", "score", "low", "high", "items", "by_length"}
    assert "6 tasks" in repr(found)
    assert "<table>" in found._repr_html_()


def test_a_folder_is_named_by_its_name_and_a_file_without_its_endings(model, pairs, tmp_path):
    lines = (pairs / "test.jsonl").read_text()
    (tmp_path / "scored.jsonl").write_text(lines)
    found = run(model, [pairs, tmp_path / "scored.jsonl", str(pairs)], tmp_path)
    assert [task.name for task in found.tasks] == ["my pairs (1)", "scored", "my pairs (2)"]
    assert len({task.score for task in found.tasks}) == 1


def test_every_folder_has_a_name_of_its_own(tmp_path):
    names = ("one/data", "two/data", "data (1)", "sts.en", "sts.de", ".hidden")
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    found = task_list.named_data([tmp_path / name for name in names])
    assert list(found) == ["data (2)", "data (3)", "data (1)", "sts.en", "sts.de", ".hidden"]
    assert list(found.values()) == [tmp_path / name for name in names]


def test_a_path_that_no_system_takes_is_refused_in_words():
    with pytest.raises(BadInput, match=r"cannot be read .*name too long"):
        task_list.list_tasks(None, "x" * 300, None, Asked(), quick=False)


def scores(found):
    return [task.score for task in found.tasks]


def test_a_score_is_kept_and_never_that_of_something_else(model, tiny_st, pairs, tmp_path, monkeypatch):
    """Another pooling, temperature, limit, prompt, text or score of a pair is another score."""
    first = run(model, pairs, tmp_path)
    calls = []
    monkeypatch.setattr(module, "_score", lambda *args: calls.append(args) or pytest.fail("scored again"))
    assert run(model, pairs, tmp_path) == first
    monkeypatch.undo()
    path = str(tiny_st("bert"))
    others = {
        "pooling": cenote.load(path, pooling="cls", device="cpu"),
        "temperature": cenote.load(path, temperature=0.3, device="cpu"),
        "limit": cenote.load(path, max_seq_length=5, device="cpu"),
        "prompts": SentenceTransformer(path, device="cpu", prompts={"STS": "a deep cave "}),
    }
    seen = [scores(first)]
    for name, other in others.items():
        found = scores(run(other, pairs, tmp_path))
        assert found not in seen, name
        seen.append(found)
    lines = (pairs / "test.jsonl").read_text().splitlines(keepends=True)
    changed = json.loads(lines[3]) | {"text1": "bread"}
    for name, line in (("text", changed), ("judgment", json.loads(lines[3]) | {"score": 5.0})):
        (pairs / "test.jsonl").write_text("".join([*lines[:3], json.dumps(line) + "\n", *lines[4:]]))
        found = scores(run(model, pairs, tmp_path))
        assert found not in seen, name
        seen.append(found)


def test_another_document_or_judgment_of_a_search_is_another_score(model, tmp_path):
    data = retrieval()
    folder = write_folder(data, tmp_path / "search")
    found = [run(model, folder, tmp_path).tasks]
    changed = replace(data, texts=("bread price", *data.texts[1:]))
    judged = replace(changed, judgments={**changed.judgments, "q0": {"d5": 1}})
    for other in (changed, judged):
        write_folder(other, folder)
        found.append(run(model, folder, tmp_path).tasks)
        assert found[-1] == cenote.evaluate(model, data=folder, cache=False, backend="torch").tasks
    assert len({task.score for (task,) in found}) == 3


def test_another_precision_is_another_score(model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "_hardware_obstacle", lambda *_: None)
    plain, rounded = (run(model, pairs, tmp_path, precision=one) for one in ("float32", "bfloat16"))
    assert rounded.tasks[0].scores != plain.tasks[0].scores
    alone = cenote.evaluate(model, data=pairs, cache=False, backend="torch", precision="bfloat16")
    assert rounded.tasks == alone.tasks


def test_rounded_weights_have_a_score_of_their_own(model, pairs, tmp_path, monkeypatch):
    """The score is that of the vectors of the int8 graph."""
    monkeypatch.setattr(backends, "multiplies_integers", lambda: True)
    monkeypatch.setattr(backends, "verify", lambda *_: None)  # weights of a tiny random model round coarsely
    plain = run(model, pairs, tmp_path)
    found = run(model, pairs, tmp_path, precision="int8", backend="auto")
    assert scores(found) != scores(plain)
    rows = [json.loads(line) for line in (pairs / "test.jsonl").read_text().splitlines()]
    encoder = Encoder(model, backends.backend(model, "openvino", "int8"))
    sides = [encoder(tokenise(model, [row[name] for row in rows]))[0] for name in ("text1", "text2")]
    one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    expected = spearmanr((one * other).sum(1), [row["score"] for row in rows]).statistic
    assert scores(found) == [pytest.approx(expected, abs=1e-6)]


def test_rounded_weights_need_a_processor_for_them(model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "multiplies_integers", lambda: False)
    with pytest.raises(BadInput, match="backend 'openvino' at int8: this CPU does not multiply 8-bit integers"):
        run(model, pairs, tmp_path, precision="int8", backend="auto")


@pytest.mark.parametrize(
    "change", [{"positions": True}, {"long": "window-mean"}, {"seed": 3}, {"others": ["window-mean"]}]
)
def test_options_are_part_of_what_a_score_depends_on(model, tmp_path, change, monkeypatch):
    asked, data = [], {"queries": retrieval()}
    monkeypatch.setattr(module.Results, "find", lambda self, key: asked.append(key))
    monkeypatch.setattr(module, "_score", _reach)
    for options in ({}, change):
        with pytest.raises(Reached):
            run(model, data, tmp_path, **options)
    assert len(set(asked)) == 2


class Reached(Exception):
    """The score would be computed."""


def _reach(*_):
    raise Reached


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(model, tmp_path, monkeypatch):
    data = {"pairs": sts(40), "groups": clustering(), "queries": retrieval()}
    whole = cenote.evaluate(model, data=data, cache=tmp_path / "whole", backend="torch").to_json()
    real, done = module._score, []

    def score(task, *args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task.name)
        return real(task, *args)

    monkeypatch.setattr(module, "_score", score)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, tmp_path)
    monkeypatch.setattr(module, "_score", lambda task, *args: done.append(task.name) or real(task, *args))
    assert run(model, data, tmp_path).to_json() == whole
    assert done == ["pairs", "groups", "queries"]


KILLED = """
import os, signal, sys
import cenote
from tests.evaluation.labelled import EVERY

def kill(step, done, total):
    if step.startswith("retrieval: ") and done:
        os.kill(os.getpid(), signal.SIGKILL)

model, cache, items = sys.argv[1:]
data = {kind: EVERY[kind] for kind in ("sts", "clustering", "retrieval")}
cenote.evaluate(model, data=data, cache=cache, items=items, backend="torch", progress=kill)
"""


@posix
def test_a_process_that_is_killed_while_it_reads_goes_on_and_ends_with_the_same_bytes(tiny_st, tmp_path):
    path, cache = str(tiny_st("bert")), tmp_path / "cache"
    data = {kind: EVERY[kind] for kind in ("sts", "clustering", "retrieval")}
    done = subprocess.run([sys.executable, "-c", KILLED, path, cache, tmp_path / "items"], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(cache.glob("*.json"))) == 2
    read = []
    options = {"data": data, "backend": "torch", "progress": lambda step, *_: read.append(step.partition(":")[0])}
    resumed = cenote.evaluate(path, cache=cache, items=tmp_path / "items", **options).to_json()
    assert set(read) == {"retrieval"}
    whole = cenote.evaluate(path, cache=False, items=tmp_path / "whole", **options).to_json()
    assert resumed == whole
    for kind in data:
        files = [(tmp_path / folder / f"{kind}.parquet").read_bytes() for folder in ("items", "whole")]
        assert files[0] == files[1], kind


def test_without_a_cache_nothing_is_kept(model, pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("CENOTE_CACHE", str(tmp_path / "user"))
    cenote.evaluate(model, data=pairs, cache=False, backend="torch")
    assert not (tmp_path / "user").exists()
    cenote.evaluate(model, data=pairs, backend="torch")
    assert len(list((tmp_path / "user" / "evaluations").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("units", "matrix", "precision", "chosen"),
    [
        ("AVX512", False, "float32", "openvino"),
        ("AVX512", True, "float32", "torch"),
        ("AVX512", True, "bfloat16", "openvino"),
        ("AVX2", False, "float32", "torch"),
    ],
)
def test_openvino_is_taken_where_it_was_found_faster(units, matrix, precision, chosen, model, monkeypatch):
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix)
    monkeypatch.setattr(backend_choice, "obstacle", lambda *_: None)  # as on a processor that has this precision
    assert choose_steadily(model, "auto", precision) == chosen


def test_a_graph_that_computes_something_else_is_left_for_torch(model, pairs, tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")
    monkeypatch.setattr(backend_choice, "openvino_is_faster", lambda _: True)
    own = backends.find_disagreement

    def disagree(made, *given):
        return "differ by 1 of their length" if made.name == "openvino" else own(made, *given)

    monkeypatch.setattr(backends, "find_disagreement", disagree)
    told = []
    found = cenote.evaluate(model, data=pairs, cache=tmp_path / "cache", notify=told.append)
    assert found == cenote.evaluate(model, data=pairs, cache=False, backend="torch")
    assert any(line.startswith("torch reads all tasks: backend 'openvino'") for line in told)
    assert any("does not compute what the model does" in line for line in told)
    with pytest.raises(UnsupportedModel, match="does not compute what the model does"):
        cenote.evaluate(model, data=pairs, cache=False, backend="openvino")


def test_a_runtime_that_fails_is_left_for_torch(model, pairs, monkeypatch):
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")
    monkeypatch.setattr(backend_choice, "openvino_is_faster", lambda _: True)

    def fail(*_):
        raise RuntimeError("Exception from core.cpp:104:\nno such operator")

    monkeypatch.setattr(backends, "openvino_runner", fail)
    told = []
    cenote.evaluate(model, data=pairs, cache=False, notify=told.append)
    assert any("backend 'openvino' at float32 cannot run this model: no such operator" in line for line in told)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_model_with_a_temperature_for_each_role_reads_pairs_as_documents(model, pairs, backend):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'cenote[openvino]'")
    with cenote.temper(model, {"query": 0.5, "document": 0.2}):
        found = cenote.evaluate(model, data=pairs, cache=False, backend=backend)
    with cenote.temper(model, 0.2):
        assert found.tasks[0].score == pytest.approx(cenote.evaluate(model, data=pairs, cache=False).tasks[0].score)


def test_a_router_without_a_route_for_other_texts_scores_a_search(tiny, tmp_path):
    sides = [[Transformer(str(tiny("bert"))), Pooling(32)] for _ in range(2)]
    router = Router.for_query_document(*sides, default_route=None, allow_empty_key=False)
    routed = SentenceTransformer(modules=[router], device="cpu").eval()
    found = cenote.evaluate(routed, data={"search": retrieval()}, cache=False, backend="torch")
    assert found.limit == routed[0].sub_modules["document"][0].max_seq_length
    told = []
    with pytest.raises(BadInput, match="task"):
        cenote.evaluate(routed, data={"search": retrieval(), "pairs": sts()}, cache=False, notify=told.append)
    assert told == []  # nothing was read


@pytest.mark.parametrize("verb", [cenote.evaluate, partial(cenote.compare, poolings=["cls"]), cenote.tune])
@pytest.mark.parametrize("seed", [-1, 0.5])
def test_a_seed_is_checked_before_the_work(verb, seed):
    with pytest.raises(BadInput, match=rf"seed={seed}: pass a whole number of at least 0"):
        verb("no model", data={"pairs": sts(80)}, seed=seed)


def test_a_folder_in_place_of_a_task_is_told_where_it_belongs(model, pairs):
    with pytest.raises(UnknownName, match=r"It is a path: labelled data are named by data \(--data\)"):
        cenote.evaluate(model, str(pairs))


def test_the_result_names_all_that_its_scores_depend_on(model, pairs, tmp_path):
    found = run(model, pairs, tmp_path, kind="sts", official="STS12", others=["window-mean"], seed=3, backend="auto")
    assert found.settings == {
        "long": "truncate",
        "others": ["window-mean"],
        "quick": False,
        "positions": False,
        "seed": 3,
        "backend": choose_steadily(model, "auto", "float32"),
        "precision": "float32",
        "official": "STS12",
        "kind": "sts",
        "split": "test",
    }


def test_the_split_of_a_score_is_the_one_that_was_read(model, pairs, tmp_path):
    (pairs / "test.jsonl").rename(pairs / "dev.jsonl")
    (task,) = run(model, pairs, tmp_path).tasks
    assert task.split == "dev"
    assert task.notes == ("There is no split 'test': 'dev' was read.",)


def test_segments_alone_are_a_curve_from_one_vector_to_all_windows(tiny_st, tmp_path):
    short = cenote.load(str(tiny_st("bert")), max_seq_length=16, device="cpu")
    found = run(short, {"queries": retrieval(words=(80, 120))}, tmp_path, others=["window-mean", "segments"])
    names = [f"segments {size}" for size in (1, 2, 4, 8, 16, 32)]
    settings = {one.name: one for one in found.tasks[0].settings}
    assert [*settings] == ["window-mean", *names, "windows"]
    sizes = [settings[name].vectors for name in (*names, "windows")]
    assert sizes == sorted(sizes)
    assert sizes[:3] == [1, 2, 4]
    assert settings["segments 1"].score == settings["window-mean"].score
    named = run(short, {"queries": retrieval(words=(80, 120))}, tmp_path, others=["segments 4"]).tasks[0].settings
    assert named == (settings["segments 4"],)


def test_data_in_a_list_are_named_by_their_kind(model, tmp_path):
    found = run(model, [sts(40), sts(40, seed=1), retrieval()], tmp_path)
    assert [task.name for task in found.tasks] == ["sts (1)", "sts (2)", "retrieval"]


def test_a_quick_look_takes_a_fixed_sample_and_says_so(model, tmp_path):
    data = {"pairs": sts(700)}
    quick = run(model, data, tmp_path, quick=True).tasks[0]
    assert quick.items == 500
    assert quick.notes == ("This is a fixed sample of 500 of 700 pairs.",)
    assert run(model, data, tmp_path).tasks[0].items == 700


def test_an_official_task_takes_local_data(model, tmp_path):
    """Its prompts and settings are the official ones."""
    prompted = SentenceTransformer(modules=list(model), device="cpu", prompts={"SciFact-query": "stone "})
    data = {"mine": retrieval()}
    plain = run(prompted, data, tmp_path).tasks[0]
    found = run(prompted, data, tmp_path, official="SciFact").tasks[0]
    assert (found.name, found.metric, found.kind) == ("mine", "ndcg_at_10", "retrieval")
    assert found.score != plain.score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"there are no tasks: name tasks of MTEB \(tasks, --tasks\) or data"),
        (
            {"data": {"a": sts()}, "official": "SciFact"},
            r"is a task of retrieval, and the data are of sts",
        ),
        ({"data": {"a": sts(), "b": sts()}, "official": "STS12"}, "give one folder, and no tasks"),
        (
            {"data": {"text": ["a pool"], "label": ["water"]}},
            "data 'text' is a list: pass a labelled folder",
        ),
        ({"data": 5}, "data 'data' is a int: pass a labelled folder"),
        ({"data": {"a": sts()}, "long": "windows"}, "gives several vectors for a text, and a, of sts, needs one"),
        ({"data": {"a": sts()}, "long": "segments"}, "say how many vectors a text has at most, as in 'segments 8'"),
        ({"data": {"a": sts()}, "others": "windows"}, "others='windows': pass a list of names"),
        ({"tasks": "SciFact", "quick": True}, "official tasks are scored whole"),
        ({"tasks": "SciFact", "split": "dev"}, "kind and split .* are of data .*; a task of MTEB has its own"),
        ({"tasks": "SciFact", "kind": "retrieval"}, "kind and split .* are of data .*; a task of MTEB has its own"),
        ({"data": {"a": sts()}, "positions": True}, "moves evidence within local searches, and none of the data is"),
        (
            {"data": {"a": sts()}, "items": f"{__file__}/items"},
            r"test_evaluate\.py' is a file: name a folder to write into",
        ),
        ({"data": {"a": sts()}, "data_columns": {"score": "grade"}}, "names the columns of files"),
        ({"tasks": "SciFact", "data_columns": {"score": "grade"}}, "names the columns of files"),
    ],
)
def test_wrong_use_is_refused(model, tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        cenote.evaluate(model, cache=tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "SciFakt"}, "mteb has no task or benchmark 'SciFakt'. Did you mean .*SciFact"),
        ({"data": {"a": sts()}, "backend": "openvin"}, "unknown backend 'openvin'; did you mean 'openvino'"),
        ({"data": {"a": sts()}, "precision": "f32"}, "unknown precision 'f32'"),
        ({"data": {"a": sts()}, "long": "window"}, "unknown way to read long texts 'window'"),
        ({"data": {"a": sts()}, "kind": "ranking"}, "unknown kind of task 'ranking'; did you mean 'reranking'"),
    ],
)
def test_unknown_names_have_near_misses(model, tmp_path, options, message):
    with pytest.raises(UnknownName, match=message):
        cenote.evaluate(model, cache=tmp_path, **options)


def test_an_official_task_without_a_network_says_at_once_how_to_run_it(model, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits to try again"))
    with pytest.raises(BadInput, match=r"SciFact cannot be loaded: the hub cannot be reached .*--data FOLDER --as"):
        cenote.evaluate(model, "SciFact", cache=tmp_path)


def test_an_official_task_of_a_hub_that_never_answers_is_told_without_its_answer(model, tmp_path, monkeypatch, request):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    asked, answered = [], threading.Event()

    def head(*_, **__):
        asked.append(1)
        answered.wait(60)

    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=head))
    monkeypatch.setattr(hub, "TIMEOUT_S", 1.0)
    request.addfinalizer(hub._ask_hub.cache_clear)
    hub._ask_hub.cache_clear()
    said = "SciFact cannot be loaded: the hub cannot be reached .no answer within 1 seconds.*--data FOLDER --as"
    with pytest.raises(BadInput, match=said):
        cenote.evaluate(model, "SciFact", cache=tmp_path)
    assert len(asked) == 1
    assert not answered.is_set()  # it did not wait for the answer
    answered.set()


def test_a_missing_package_and_an_old_python_are_told(model, monkeypatch):
    monkeypatch.setattr(task_list, "missing_packages", lambda extra: f"it needs mteb: pip install 'cenote[{extra}]'")
    with pytest.raises(CenoteError, match=r"evaluate: it needs mteb: pip install 'cenote\[eval\]'"):
        cenote.evaluate(model, data={"a": sts()})
    monkeypatch.setattr(task_list.platform, "python_version_tuple", lambda: ("3", "10", "4"))
    with pytest.raises(CenoteError, match=r"needs Python 3.11 or newer; this is 3.10.4"):
        cenote.evaluate(model, data={"a": sts()})


def test_items_that_would_overwrite_data_are_refused_before_a_model_is_loaded(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\na,b\n")
    with pytest.raises(BadInput, match="would be an input of the next run"):
        cenote.evaluate("no/model", data=tmp_path, items=tmp_path, loader=lambda _: pytest.fail("loaded"))


def test_items_of_two_tasks_never_share_a_file(tmp_path):
    data = {"a+b": sts(40), "a/b": sts(40, seed=1)}
    with pytest.raises(BadInput, match=r"the items of 'a\+b' and of 'a/b' would both be in 'a-b.parquet'"):
        cenote.evaluate("no/model", data=data, items=tmp_path, loader=lambda _: pytest.fail("loaded"))


def test_data_are_checked_before_a_model_is_loaded(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\na,b\n")
    with pytest.raises(BadInput, match="Give texts of at least two labels"):
        cenote.evaluate("no/model", data=tmp_path, loader=lambda _: pytest.fail("loaded"))


@pytest.mark.parametrize("verb", [cenote.evaluate, partial(cenote.compare, poolings=["max"]), cenote.tune])
def test_odd_data_in_memory_are_refused_before_a_model_is_loaded(verb):
    same = replace(sts(40), scores=(1.0,) * 40)
    with pytest.raises(BadInput, match=r"data 'pairs': all 40 scores are 1\.0, so that nothing correlates with them"):
        verb("no/model", data={"pairs": same}, loader=lambda _: pytest.fail("loaded"))


def test_two_classes_of_a_classification_and_its_notes_are_shown(model, tmp_path):
    data = replace(classification(labels=2), notes=("A note.",))
    assert "A note." in run(model, {"a": data}, tmp_path).tasks[0].notes
