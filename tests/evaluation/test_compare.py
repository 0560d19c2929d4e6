"""The verb `compare`: planted truths are found, one pass serves all poolings, nothing is claimed beyond the data."""

import gc
import json
import re
import subprocess
import sys
import time
import tracemalloc
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

import cenote
from cenote.account import pooled_texts
from cenote.account import texts as account_texts
from cenote.account.fates import FATES
from cenote.commands.compare import lines_of
from cenote.comparison_records import Comparison, Cost
from cenote.data import labelled_halves
from cenote.data.labelled import Classification, Clustering, Labels, Retrieval, Sts
from cenote.encoding.batches import NOT_FINITE
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput, UnknownName, UnsupportedModel
from cenote.evaluation import arm_scores, own_sentences
from cenote.evaluation.arm_scores import ArmScore, ScoredArm
from cenote.evaluation.arms import Arm, check_grid, passes_of, set_to
from cenote.evaluation.cells import build_cells, list_costs
from cenote.evaluation.differences import count_sources, pair, sources_of, values_of
from cenote.evaluation.items import Items
from cenote.evaluation.own_sentences import KEPT, LEFT_OUT, OwnSentences, limit_claims, score_own_sentences
from cenote.evaluation.reading import TextReader, refuse_unread
from cenote.evaluation.scoring import score_task
from cenote.evaluation.tasks import local_task
from cenote.listener import Listener
from cenote.models.properties import limit_of, readers_of
from cenote.models.provenance import constant_of
from cenote.models.repooling import repool
from cenote.report.differences import build_chapters
from cenote.wording import score_estimate

from ..bags import TINY, load_bags, make_texts, plan
from .labelled import EVERY, classification, retrieval, solved, sts, texts, write_folder

pytestmark = pytest.mark.filterwarnings("ignore")

POOLINGS = ["cls", "max"]
ROOT = Path(__file__).parents[2]


def run(model, data=None, **options):
    return cenote.compare(model, data, **{"cache": False, **options})


def cells(found):
    return {(cell.task, cell.setting): cell for cell in found.cells}


def planted(model, count=300, noise=0.02, seed=0, each=1, **options):
    """Return pairs whose scores are the cosines of the model in one setting, and noise; `each` have one first text."""
    first, second = texts(count, (3, 12), seed), texts(count, (3, 12), seed + 1)
    first = tuple(first[row // each] for row in range(count))
    with cenote.temper(model, options.get("temperature", 1.0)):
        vectors = [model.encode(list(side), normalize_embeddings=True) for side in (first, second)]
    cosines = (vectors[0] * vectors[1]).sum(1)
    spread = noise * np.random.default_rng(seed).normal(size=count)
    return Sts(first, second, tuple((cosines + spread).tolist()))


def copy_with(model, pooling):
    import copy

    return repool(copy.deepcopy(model), pooling)


# What is found.


def test_a_planted_pooling_is_better_and_the_declared_one_gets_a_warning(model):
    found = run(model, {"pairs": planted(copy_with(model, "max"))}, poolings=POOLINGS)
    best = cells(found)["pairs", "max"]
    assert best.verdict == "better"
    assert best.difference.low > 0
    assert best.p < 0.001
    assert best.wins > best.losses
    assert best.score == max(cell.score for cell in found.cells)
    assert any("pooling max is better than the declared mean" in warning for warning in found.warnings)


def planted_search(ask, answer, documents=300):
    """Return a search whose relevant documents are found by two encoders, of queries and of documents, each by one."""
    asked, contents = texts(5 * documents, (3, 12), 4), texts(documents, (3, 12), 5)
    vectors = [encode(list(some), normalize_embeddings=True) for encode, some in ((ask, asked), (answer, contents))]
    nearest, rows = np.unique((vectors[0] @ vectors[1].T).argmax(1), return_index=True)
    ids, names = tuple(f"d{row}" for row in range(documents)), tuple(f"q{row}" for row in rows)
    judgments = {name: {ids[row]: 1} for name, row in zip(names, nearest, strict=True)}
    return Retrieval(ids, ("",) * documents, contents, names, tuple(asked[row] for row in rows), judgments)


def planted_classes(model, train=200, test=300):
    """Return a classification by the first principal component of the model's vectors, above its median or below."""
    some = texts(3000, (3, 20), 6)
    vectors = model.encode(list(some), normalize_embeddings=True)
    centred = vectors - vectors.mean(0)
    component = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    labels = ["above" if one else "below" for one in component > np.median(component)]
    parts = (slice(train), slice(train, train + test))
    return Classification(*(Labels(some[part], tuple(labels[part])) for part in parts))


def test_a_planted_pooling_is_the_best_in_a_search(model):
    planted_in = copy_with(model, "max")
    data = planted_search(planted_in.encode_query, planted_in.encode_document)
    found = cells(run(model, {"search": data}, poolings=[*POOLINGS, "lasttoken"]))
    best = found["search", "max"]
    assert (best.score, best.verdict) == (pytest.approx(1), "better")
    assert best.difference.low > 0
    assert best.wins > best.losses == 0
    assert all(cell.score < 0.9 for (_, name), cell in found.items() if name != "max")


def test_a_planted_pooling_is_the_best_in_a_classification(model):
    data = planted_classes(copy_with(model, "max"))
    found = cells(run(model, {"texts": data}, poolings=[*POOLINGS, "lasttoken"]))
    best = found["texts", "max"]
    assert best.verdict == "better"
    assert best.difference.low > 0
    assert best.score == max(cell.score for cell in found.values())
    assert [cell.setting for cell in found.values() if cell.verdict == "better"] == ["max"]


def test_a_planted_temperature_is_better(model):
    data = planted(model, temperature=0.2, noise=0.001)
    found = run(model, {"pairs": data}, temperatures=[0.2, 0.9])
    assert cells(found)["pairs", "temperature 0.2"].verdict == "better"
    assert cells(found)["pairs", "temperature 0.2"].score > 0.95
    assert not found.warnings  # the pooling is the declared one


def test_noise_is_told_apart_by_nothing(model):
    found = run(model, {"pairs": sts(60, seed=5), "texts": classification(60, 60, seed=5)}, poolings=POOLINGS)
    assert {cell.verdict for cell in found.cells} == {"baseline", "not told apart"}
    assert found.tasks == ("pairs", "texts", "all")
    for cell in found.cells:
        if cell.verdict != "baseline":
            assert cell.p >= cell.p_alone
            assert abs(cell.difference.value) < cell.resolvable


@pytest.mark.parametrize("kind", EVERY)
def test_every_cell_has_the_score_that_evaluate_gives(model, kind, tmp_path):
    found = cells(run(model, {kind: EVERY[kind]}, poolings=["max"], temperatures=[0.5]))
    with cenote.temper(model, 0.5):
        tempered = cenote.evaluate(model, data={kind: EVERY[kind]}, cache=False, backend="torch", others=())
    pooled = cenote.evaluate(copy_with(model, "max"), data={kind: EVERY[kind]}, cache=False, backend="torch", others=())
    assert found[kind, "mean, temperature 0.5"].score == pytest.approx(tempered.tasks[0].score, abs=1e-6)
    assert found[kind, "max, temperature 1"].score == pytest.approx(pooled.tasks[0].score, abs=1e-6)
    own = found[kind, "mean, temperature 1"].score
    for cell in found.values():
        assert cell.difference.value == pytest.approx(cell.score - own)
        assert cell.relative == (None if own <= 0 else pytest.approx((cell.score - own) / own))


def test_every_kind_has_an_interval_around_its_difference(model):
    seen = {}
    for kind, data in EVERY.items():
        found = cells(run(model, {kind: data}, poolings=["max"]))
        seen[kind] = found[kind, "max"]
        low, high = seen[kind].difference.low, seen[kind].difference.high
        assert low <= seen[kind].difference.value <= high
    assert seen["classification"].wins + seen["classification"].losses + seen["classification"].ties == 45
    assert seen["clustering"].wins + seen["clustering"].losses + seen["clustering"].ties == 10  # draws


def test_limits_and_ways_to_read_are_settings(model):
    data = retrieval(words=(30, 60))
    found = run(model, {"search": data}, limits=[16], long=["truncate", "windows"])
    names = {cell.setting for cell in found.cells}
    assert names == {
        f"{limit} tokens, {way}" for limit in (model.max_seq_length, 16) for way in ("truncate", "windows")
    }
    costs = {cost.setting: cost for cost in found.costs}
    assert costs["16 tokens, windows"].vectors > 2 > costs["16 tokens, truncate"].vectors == 1


def test_texts_that_are_cut_are_noted_once_for_all_poolings(model):
    data = retrieval(words=(30, 60))
    found = run(model, {"search": data}, poolings=["cls", "max"], limits=[16], names=["bert"])
    notes = [re.sub(r"[\d.]+ % of \d+", "some", note) for note in found.notes if "cuts" in note]
    assert notes == [f"search: bert cuts some {side} at 16 tokens." for side in ("documents", "queries")]
    assert not any("cuts" in note for note in run(model, {"search": data}, poolings=["cls"]).notes)
    left = run(model, unlabelled=make_texts(60), limits=[16], names=["bert"])
    assert [note for note in left.notes if "cuts" in note] == [
        f"sentence left out: bert cuts 100 % of 60 texts at {limit} tokens." for limit in (256, 16)
    ]


def test_a_baseline_may_be_named(model):
    data = {"pairs": sts(60)}
    found = cells(run(model, data, poolings=POOLINGS, baseline="max"))
    assert found["pairs", "max"].verdict == "baseline"
    assert {cell.baseline for cell in found.values()} == {"max"}
    with pytest.raises(UnknownName, match=r"'maxx'; did you mean 'max'"):
        run(model, data, poolings=POOLINGS, baseline="maxx")


def test_the_own_settings_of_two_models_are_compared(model):
    found = run([model, copy_with(model, "max")], {"pairs": sts(60)}, names=["one", "two"])
    assert [(cell.setting, cell.baseline) for cell in found.cells] == [
        ("one: mean", "one: mean"),
        ("two: max", "one: mean"),
    ]


def test_landmarks_have_a_pass_of_their_own(model):
    found = run(model, {"pairs": sts(60)}, poolings=["landmark", "multi_cls", "cls", "mean+max"])
    assert [cell.pooling for cell in found.cells] == ["mean", "cls", "mean+max", "landmark", "multi_cls"]
    assert {cost.setting: cost.dimensions for cost in found.costs}["mean+max"] == 2 * model.get_embedding_dimension()
    passes = passes_of(model, "m", check_grid(["landmark", "cls", "max"], [0.5], None, None))
    assert [(len(one.arms), one.group.own) for one in passes] == [(3, "mean"), (1, "landmark")] * 2


def test_temperatures_that_read_the_same_are_refused(model):
    with pytest.raises(BadInput, match=r"temperatures 0\.9 and 0\.9000001 would both be called 0\.9 in the results"):
        passes_of(model, "m", check_grid(None, [0.9, 0.9000001], None, None))
    with pytest.raises(BadInput, match=r"temperatures 1\.0 and 1\.0000001 would both be called 1 in the results"):
        passes_of(model, "m", check_grid(None, [1.0000001], None, None))
    assert len(passes_of(model, "m", check_grid(None, [1.0, 0.9, 0.9], None, None))) == 2


def test_a_pooling_of_ones_own_is_a_module(model):
    from cenote.nn import Pooling

    found = run(model, {"pairs": sts(60)}, poolings={"mine": Pooling(model.get_embedding_dimension(), "max")})
    same = run(model, {"pairs": sts(60)}, poolings=["max"])
    assert cells(found)["pairs", "mine"].score == cells(same)["pairs", "max"].score


# How it is done.


MANY = ["cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len", "every_k", "mean+max", "cls+max", "mean+cls"]
# Texts that a pass reads: of 60 pairs both sides; of 60 texts each, three of its sentences, and the text without one.
READ = {"labelled": 2 * 60, "unlabelled": 60 * (1 + 3 + 1)}


@pytest.mark.parametrize("poolings", [["max"], MANY], ids=len)
@pytest.mark.parametrize("temperatures", [[1.0], [1.0, 0.5], [1.0, 0.5, 0.7]], ids=len)
@pytest.mark.parametrize("way", READ)
def test_each_text_is_read_once_at_each_temperature_for_all_poolings(model, way, temperatures, poolings):
    pairs = sts(60)
    assert len({*pairs.first, *pairs.second}) == READ["labelled"]
    read = []
    hook = model[0].register_forward_hook(lambda _, given, __: read.append(len(given[0]["input_ids"])))
    try:
        data = {"data": {"pairs": pairs}} if way == "labelled" else {"unlabelled": make_texts(60, vocabulary=TINY)}
        found = run(model, **data, poolings=poolings, temperatures=temperatures)
    finally:
        hook.remove()
    assert sum(read) == READ[way] * len(temperatures)
    assert len({cell.setting for cell in found.cells}) == (1 + len(poolings)) * len(temperatures)


def test_two_tasks_of_one_set_read_its_texts_once(model, monkeypatch, tmp_path):
    labelled = classification()
    groups = Clustering(labelled.test.texts, labelled.test.labels)
    alone = cells(run(model, {"groups": groups}, poolings=POOLINGS))
    reads = []
    read = TextReader._encode
    monkeypatch.setattr(TextReader, "_encode", lambda self, *rest: (reads.extend(rest[-1]), read(self, *rest))[1])
    both = run(model, {"labels": labelled, "groups": groups}, poolings=POOLINGS, cache=tmp_path)
    assert len(reads) == len(set(reads))
    assert set(groups.texts) <= set(reads)
    assert [cells(both)["groups", one].score for one in POOLINGS] == pytest.approx(
        [alone["groups", one].score for one in POOLINGS]
    )
    # Each task has the time of its own texts, read for it or for the task before.
    assert all(cost.texts == len(reads) + len(set(groups.texts)) for cost in both.costs)
    kept = run(model, {"groups": groups}, poolings=POOLINGS, cache=tmp_path)
    assert len(reads) == len(set(reads))
    assert all(cost.texts and cost.seconds for cost in kept.costs)


@pytest.mark.parametrize(
    ("before", "task", "is_read"),
    [
        ("labels", "groups", True),
        ("groups", "labels", False),
        ("labels", "others", False),
        ("official", "groups", False),
    ],
)
def test_texts_are_known_where_the_task_before_reads_them_all(before, task, is_read):
    labelled = classification()
    data = {
        "labels": labelled,
        "groups": Clustering(labelled.test.texts, labelled.test.labels),
        "others": Clustering((*labelled.test.texts, "a text of its own"), (*labelled.test.labels, "label 0")),
        "official": None,
    }
    one, other = (SimpleNamespace(local=data[name]) for name in (before, task))
    assert arm_scores._is_read(one, other) is is_read


def test_known_scores_are_not_computed_again(model, tmp_path, monkeypatch):
    options = {"poolings": POOLINGS, "temperatures": [0.5], "cache": tmp_path}
    first = run(model, {"pairs": sts(60)}, **options)

    def fail(*_):
        raise AssertionError("texts were read")

    monkeypatch.setattr(TextReader, "_encode", fail)
    again = run(model, {"pairs": sts(60)}, **options)
    assert replace(again, notes=()).to_json() == first.to_json()
    with pytest.raises(AssertionError, match="texts were read"):
        run(model, {"pairs": sts(60, seed=1)}, **options)


def test_the_result_comes_back_from_json_and_is_the_same_again(model):
    found = run(model, {"pairs": sts(60)}, poolings=POOLINGS)
    assert Comparison.from_json(found.to_json()) == found
    read = json.loads(found.to_json())["cells"][0]
    wanted = {"model", "pooling", "temperature", "task", "score", "difference", "p", "resolvable", "verdict"}
    assert read.keys() >= wanted
    assert "3 settings" in repr(found)
    assert found.settings["precision"] == "float32"
    assert found.settings.keys() >= {"official", "kind", "split", "quick", "seed", "baseline"}
    again = run(model, {"pairs": sts(60)}, poolings=POOLINGS)
    assert replace(again, costs=()) == replace(found, costs=())


def test_neighbours_agree_with_a_plain_loop(model):
    data = sts(40)
    found = cells(run(model, {"pairs": data}, poolings=["max"]))["pairs", "max"].neighbours
    every = list(dict.fromkeys([*data.first, *data.second]))
    near = []
    for one in (model, copy_with(model, "max")):
        vectors = one.encode(every, normalize_embeddings=True)
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2)
        near.append([np.argsort(-row)[:10].tolist() for row in cosines])
    overlaps = []
    for one, other in zip(*near, strict=True):
        shares = [len([text for text in one[:depth] if text in other[:depth]]) / depth for depth in range(1, 11)]
        overlaps.append(sum(shares) / 10)
    assert found == pytest.approx(np.mean(overlaps), abs=0.002)
    shared = np.mean([len({*one} & {*other}) / 10 for one, other in zip(*near, strict=True)])
    assert abs(found - shared) > 0.01  # the order counts


# Items.


def test_queries_on_one_document_are_one_source():
    items = Items({"item": ["a", "b", "c"], "value": [1, 0, 1], "relevant": [["x", "y"], ["z"], ["y", "x"]]})
    assert sources_of("retrieval", items).tolist() == [0, 1, 0]
    assert sources_of("classification", items) is None


@pytest.mark.parametrize("kind", EVERY)
def test_sources_of_items_are_those_by_which_data_are_halved(model, kind):
    data = copied(EVERY[kind])
    items = score_task(lambda: local_task("Local", data), kind, TextReader(model, "torch"), "truncate").items
    assert count_sources(items, sources_of(kind, items)) == len(labelled_halves.sizes_of_sources(data)[0]) == 20


def copied(data):
    """Return data with 20 sources of items."""
    if isinstance(data, Classification):
        return replace(data, test=replace(data.test, texts=same(data.test.texts)))
    if isinstance(data, Retrieval):
        judged = [data.judgments[name] for name in data.query_ids]
        return replace(data, judgments=dict(zip(data.query_ids, same(judged), strict=True)))
    name = "first" if isinstance(data, Sts) else "texts"
    return replace(data, **{name: same(getattr(data, name))})


def same(values):
    """Return as many values, of which 20 differ."""
    return tuple(values[row % 20] for row in range(len(values)))


def test_a_long_text_does_not_widen_the_sources_of_the_others():
    """An array of strings would give each the room of the longest."""
    items = Items({"item": ["a", "b", "c"] * 10_000, "text": ["x" * 1_000_000, "y", "y"] * 10_000})
    tracemalloc.start()
    assert sources_of("sts", items)[:3].tolist() == [0, 1, 1]
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_items_of_one_name_are_not_paired():
    items = Items({"item": ["a", "a"], "value": [1.0, 0.0]})
    with pytest.raises(ValueError, match="two items have the same name"):
        values_of("summarisation", items)


def test_items_that_one_setting_lacks_are_left_out():
    def items(names, values):
        return Items({"item": names, "value": values})

    paired = pair("summarisation", [items(["a", "b", "c"], [1.0, 2, 3])], [items(["c", "a"], [5.0, 2])])
    assert paired.values.tolist() == [[1.0, 2.0]]


def columns_of(count=40, start="text", **others):
    """Return the items of a set without ids, which are numbered by row."""
    rows = [str(row) for row in range(count)]
    return Items({"item": rows, "text": [f"{start} {row}" for row in rows], "value": [*map(float, rows)], **others})


def test_data_sets_are_the_same_items_only_where_their_texts_are_the_same():
    def key(*columns):
        return pair("summarisation", columns, columns).key

    one = columns_of()
    assert key(one) == key(columns_of()) == key(Items({name: column[::-1] for name, column in one.columns.items()}))
    for other in (columns_of(start="other"), columns_of(41), columns_of(score=[0.5] * 40)):
        assert key(one) != key(other)
    assert columns_of(score=[0.5] * 40).columns["item"] == one.columns["item"]
    nameless = pair("summarisation", *[[Items({"item": ["a", "b"], "value": [1.0, 0.5]})]] * 2)
    assert nameless.key is None
    ids = [pair("retrieval", [some], [some]).key for some in (columns_of(start="query"), columns_of(start="frage"))]
    assert ids[0] != ids[1]


UNLIKE = [
    ("pairs", lambda data, text: replace(data, first=tuple(map(text, data.first)))),
    ("texts", lambda data, text: replace(data, test=replace(data.test, texts=tuple(map(text, data.test.texts))))),
]


@pytest.mark.parametrize(("name", "change"), UNLIKE, ids=[name for name, _ in UNLIKE])
def test_unlike_sets_of_one_size_are_independent_and_one_set_given_twice_is_not(model, name, change):
    """The tokenizer ignores case: unlike texts with the same vectors, so that the values agree row by row."""
    data = {"pairs": planted(copy_with(model, "max"), 100, 0.1), "texts": classification(60, 90)}[name]
    (once,) = [cell for cell in run(model, {"a": data}, poolings=["max"]).cells if cell.setting == "max"]
    width = once.difference.high - once.difference.low
    for other, expected in ((data, width), (change(data, str.upper), width / np.sqrt(2))):
        found = cells(run(model, {"a": data, "b": other}, poolings=["max"]))
        mean = found["all", "max"].difference
        assert found["b", "max"].score == pytest.approx(found["a", "max"].score)
        assert mean.high - mean.low == pytest.approx(expected, rel=0.1 if other is not data else 1e-6)


def test_a_folder_under_two_names_is_one_set_of_items(model, tmp_path):
    data = {name: write_folder(planted(model, 70), tmp_path / name) for name in ("one", "two")}
    found = cells(run(model, data, poolings=["max"], cache=tmp_path / "cache"))
    kept = cells(run(model, data, poolings=["max"], cache=tmp_path / "cache"))
    assert found["all", "max"].p == found["one", "max"].p == kept["all", "max"].p
    assert found["all", "max"].resolvable == pytest.approx(found["one", "max"].resolvable)


def test_training_draws_are_what_the_classifiers_differ_by():
    correct = [[True, False], [True, True], [False, False]]
    found = values_of("classification", Items({"item": ["a", "b", "c"], "correct": correct}))
    assert found.values.tolist() == [0.5, 1, 0]
    assert found.draws == pytest.approx([2 / 3 - 0.5, 1 / 3 - 0.5])


def test_a_small_task_does_not_spoil_the_test_of_another(model):
    data = {"pairs": planted(copy_with(model, "max"), 100)}
    alone = cells(run(model, data, poolings=["max"]))
    found = run(model, {**data, "few": sts(12)}, poolings=["max"])
    both = cells(found)
    assert both["pairs", "max"].p == alone["pairs", "max"].p < 0.01
    assert both["few", "max"].verdict == "too few items"
    assert found.tasks == ("pairs", "few")
    assert any("no mean over tasks: few have fewer than 30" in note for note in found.notes)


def test_a_sample_and_the_whole_are_kept_apart(model, tmp_path):
    rows = planted(model, 700, 0.5)
    lines = [
        "text1,text2,score",
        *(f"{a},{b},{c}" for a, b, c in zip(rows.first, rows.second, rows.scores, strict=True)),
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    options = {"poolings": ["max"], "cache": tmp_path / "cache"}
    quick = run(model, tmp_path / "pairs.csv", quick=True, **options)
    whole = run(model, tmp_path / "pairs.csv", **options)
    assert [cell.wins + cell.losses + cell.ties for cell in (quick.cells[1], whole.cells[1])] == [500, 700]
    again = run(model, tmp_path / "pairs.csv", quick=True, **options)
    assert [cell.score for cell in again.cells] == [cell.score for cell in quick.cells]
    assert any("from the cache" in note for note in again.notes)


def test_a_refused_limit_leaves_the_model_as_it_was(model):
    before = model.max_seq_length
    for limit in (2, 10_000):
        with pytest.raises(BadInput):
            run(model, {"pairs": sts(40)}, limits=[limit])
        assert model.max_seq_length == before


def test_limits_of_a_router_come_back(routed):
    def limits():
        return [one.max_seq_length for one in readers_of(routed)]

    before = limits()
    run(routed, {"search": retrieval()}, limits=[32])
    assert limits() == before == [256, 40]
    with pytest.raises(BadInput, match="positions for"):
        run(routed, {"search": retrieval()}, limits=[10_000])
    assert limits() == before


@pytest.mark.parametrize("pooling", ["mean", "landmark"])
def test_a_limit_holds_for_queries_whatever_the_pooling(tiny_st, pooling):
    """Else the settings of one comparison would read other queries."""
    model = repool(cenote.load(tiny_st("bert"), device="cpu"), pooling)
    model[0].query_length = 64
    with set_to(model, None, 32):
        assert tokenise(model, ["a pool " * 40], task="query").lengths.max() <= limit_of(model, "query") == 32
    assert model[0].query_length == 64


def test_the_split_of_the_settings_is_the_one_that_was_read(model, tmp_path):
    some = {name: write_folder(planted(model, 70), tmp_path / name) for name in ("one", "two")}
    (some["one"] / "test.jsonl").rename(some["one"] / "dev.jsonl")
    alone = {"one": some["one"]}
    assert run(model, alone, poolings=["cls"]).settings["split"] == "dev"
    assert run(model, some, poolings=["cls"]).settings["split"] == {"one": "dev", "two": "test"}
    assert cenote.tune(model, alone, temperatures=[0.5]).settings["split"] == "dev"
    assert cenote.evaluate(model, data=alone, cache=False).settings["split"] == "dev"


@pytest.mark.parametrize("verb", [cenote.evaluate, partial(cenote.compare, poolings=["cls"]), cenote.tune])
def test_an_address_as_a_cache_is_refused_before_the_work(model, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="is an address: name a folder"):
        verb("no model", data={"pairs": sts(40)}, cache="s3://b/scores")
    assert not list(tmp_path.iterdir())


def test_a_warning_is_of_the_declared_pooling_only(model):
    data = {"pairs": planted(model)}
    found = run(model, data, poolings=["max"], baseline="max")
    assert cells(found)["pairs", "mean"].verdict == "better"
    assert found.warnings == ()


def test_a_declared_pooling_that_loses_to_the_named_baseline_is_warned_of(model):
    data = {"pairs": planted(copy_with(model, "max"))}
    found = run(model, data, poolings=["max", "cls"], baseline="max")
    lost = cells(found)["pairs", "mean"]
    assert lost.verdict == "worse"
    gain = score_estimate(-lost.difference.value, -lost.difference.high, -lost.difference.low, sign="+")
    assert found.warnings == (
        f"On pairs, pooling max is better than the declared mean of {found.models[0]}: {lost.metric} {gain}.",
    )


def test_a_temperature_in_the_weights_is_part_of_the_name(model):
    found = run(cenote.bake(model, 0.8), {"pairs": sts(40)}, temperatures=[1, 0.5])
    assert [cell.temperature for cell in found.cells] == ["0.8 in the weights", "0.5, and 0.8 in the weights"]


def test_a_tempered_model_keeps_its_temperature_in_every_pass(model):
    with cenote.temper(model, 0.3):
        found = cells(run(model, {"pairs": sts(40)}, poolings=["landmark", "max"]))
        landmark = copy_with(model, "landmark")
    with cenote.temper(landmark, 0.3):
        real = cenote.evaluate(landmark, data={"pairs": sts(40)}, cache=False, backend="torch")
    assert {cell.temperature for cell in found.values()} == {"0.3"}
    assert found["pairs", "landmark"].score == pytest.approx(real.tasks[0].score, abs=1e-6)


# Cells of given items.

ARMS = [Arm("m", pooling, "1", 256, "truncate") for pooling in ("mean", "cls", "max")]


def cells_of_values(values):
    """Return the cells of settings, by task and pooling, from the values of items by task, setting and name."""
    return {(cell.task, cell.pooling): cell for cell in built_of_values(values)[0]}


def built_of_values(values):
    """Return cells and notes."""
    tasks = {name: SimpleNamespace(name=name, kind="summarisation", notes=()) for name in values}
    scored = []
    for name, settings in values.items():
        for arm, some in zip(ARMS, settings, strict=True):
            score = 0.5 if some is None else float(np.mean([*some.values()]))
            record = ArmScore("m", score, len(some or ()), 8, 1.0, 1.0, 9, [], [])
            items = None if some is None else Items({"item": [*some], "value": [*some.values()]})
            scored.append(ScoredArm(tasks[name], arm, record, items))
    return build_cells([*tasks.values()], ARMS, dict.fromkeys(ARMS, ARMS[0]), scored, 0)


def drawn(shift, count=40, seed=0):
    noise = np.random.default_rng((seed, count)).uniform(0, 0.1, count)
    return {str(row): 0.4 + shift + one for row, one in enumerate(noise.tolist())}


def test_the_mean_over_tasks_is_of_the_items_that_all_settings_have():
    """A setting lacks the hardest items of one task, so that its score alone is higher."""
    base = {**drawn(0), **{f"hard {row}": 0.0 for row in range(20)}}
    fewer = drawn(-0.1, seed=1)
    values = {"one": [base, fewer, base], "two": [drawn(0), drawn(-0.1, seed=1), drawn(0)]}
    found, notes = cells_of_values(values), built_of_values(values)[1]
    note = "differences are over the 40 of 60 items that all tested settings have; scores are over all."
    assert [one for one in notes if "differences" in one] == [f"one: {note}"]
    cell, mean = found["one", "cls"], found["all", "cls"]
    assert cell.score > found["one", "mean"].score
    own, other = (np.mean([*some.values()]) for some in (fewer, drawn(0)))
    assert cell.difference.value == pytest.approx(own - other)
    assert cell.relative == pytest.approx((own - other) / other)
    assert mean.verdict == "worse"
    assert mean.difference.low < mean.difference.value < mean.difference.high < 0
    assert mean.relative == pytest.approx((cell.relative + found["two", "cls"].relative) / 2)


def test_a_task_without_items_of_a_setting_leaves_the_others_tested():
    every = [drawn(0), drawn(-0.1, seed=1), drawn(0.1, seed=2)]
    found = cells_of_values({"one": every, "two": [every[0], None, every[2]]})
    assert found["one", "cls"].verdict == "worse"
    assert {found[name, "cls"].verdict for name in ("two", "all")} == {"items not known"}
    assert (found["two", "cls"].p, found["all", "cls"].p, found["all", "cls"].difference.low) == (None, None, None)
    assert {found[name, "max"].verdict for name in ("one", "two", "all")} == {"better"}
    legacy = cells_of_values({"one": every, "two": [None, None, None]})
    assert [legacy["one", pooling].verdict for pooling in ("cls", "max")] == ["worse", "better"]
    assert ("all", "max") not in legacy


def test_differences_by_length_are_those_of_the_items_in_each_quarter():
    """A setting is better on the longest quarter of the documents alone."""
    generator, count = np.random.default_rng(0), 160
    lengths = generator.permutation(np.arange(count)) + 10
    base, setting = generator.uniform(0.3, 0.5, (2, count))
    setting[lengths >= 130] += 0.3
    task = SimpleNamespace(name="search", kind="retrieval", notes=())
    names = [f"q{row}" for row in range(count)]
    scored = []
    for arm, values in zip(ARMS, (base, setting, base), strict=True):
        columns = {"item": names, "value": values.tolist(), "document_tokens": lengths.tolist()}
        record = ArmScore("m", float(values.mean()), count, 8, 1.0, 1.0, 9, [], [])
        scored.append(ScoredArm(task, arm, record, Items(columns)))
    found, _ = build_cells([task], ARMS, dict.fromkeys(ARMS, ARMS[0]), scored, 0)
    own, better, same = (cell.by_length for cell in found)
    assert own == ()
    assert [part.name.split(", ")[1] for part in better] == [f"{low} to {low + 39} tokens" for low in (10, 50, 90, 130)]
    for place, part in enumerate(better):
        rows = [row for row in range(count) if 10 + 40 * place <= lengths[row] < 50 + 40 * place]
        assert (part.by, part.items) == ("document", len(rows)) == ("document", 40)
        assert part.difference.value == pytest.approx(sum(setting[row] - base[row] for row in rows) / 40)
        assert (part.difference.low > 0.2) is (place == 3)
    assert {part.difference.value for part in same} == {0}


def test_costs_computed_by_hand():
    """Of 400 texts in 10 seconds each takes 25 milliseconds: not the mean over tasks, 20."""
    records = [
        ArmScore("m", 0.5, 40, 8, 1.0, 1.0, 100, [], []),
        ArmScore("m", 0.5, 40, 16, 2.56789, 9.0, 300, [], []),
    ]
    tasks = [SimpleNamespace(name=name) for name in ("one", "two")]
    other = ScoredArm(tasks[0], ARMS[1], replace(records[0], texts=0, seconds=0.0), None)
    scored = [*(ScoredArm(task, ARMS[0], one, None) for task, one in zip(tasks, records, strict=True)), other]
    cost, nothing = list_costs(ARMS[:2], scored)
    assert cost == Cost(setting="mean", dimensions=16, vectors=2.568, seconds=25.0, texts=400)
    assert (nothing.setting, nothing.seconds, nothing.texts) == ("cls", 0.0, 0)


# Without labels.


def test_own_sentences_tell_a_broken_pooling_apart(bag_model):
    found = run(bag_model, unlabelled=make_texts(60), poolings=["lasttoken"], seed=3)
    assert not found.labelled
    assert found.tasks == ("sentence left out", "sentence kept")
    kept = cells(found)["sentence kept", "lasttoken"]
    assert kept.verdict == "worse"
    assert kept.kind == "own sentences"
    assert any("not relevance" in note for note in found.notes)


def test_own_sentences_are_those_of_the_account(bag_model):
    given = make_texts(60)
    found = cells(run(bag_model, unlabelled=given, poolings=["max"]))
    account = cenote.diagnose(bag_model, given, seed=0).models[0].account
    assert found["sentence kept", "mean"].score == pytest.approx(account.found.value, abs=1e-6)
    assert found["sentence left out", "max"].score == pytest.approx(
        account.settings["pooling max"].left_out.value, abs=1e-6
    )
    for setting, shares in (("mean", account), ("max", account.settings["pooling max"])):
        for fate in FATES:
            own, known = getattr(found["sentence kept", setting].fates, fate), getattr(shares, fate)
            assert (own.value, own.low, own.high) == pytest.approx((known.value, known.low, known.high), abs=1e-6)
    for task, known in (("kept", account.reciprocal_rank), ("left out", account.left_out_reciprocal_rank)):
        own = found[f"sentence {task}", "mean"].reciprocal_rank
        assert (own.value, own.low, own.high) == pytest.approx((known.value, known.low, known.high), abs=1e-6)
    assert found["sentence left out", "mean"].fates is None


# Settings without labels: the pooling, the temperature, and what each gains in both forms, of 2,000 sentences.
OWN_ARMS = [
    Arm("m", "mean", "1", 256, "truncate"),
    Arm("m", "cls", "1", 256, "truncate"),
    Arm("m", "max", "1", 256, "truncate"),
    Arm("m", "mean", "0.8", 256, "truncate"),
    Arm("m", "max", "0.8", 256, "truncate"),
]
GAINS = {LEFT_OUT: (0, -40, 100, 200, 160), KEPT: (0, 40, 300, -120, 0)}  # sentences


def own_comparison():
    """Return a comparison of settings that find a few sentences more or fewer than the first; it misses all others."""
    scored = []
    for form, gains in GAINS.items():
        for arm, gain in zip(OWN_ARMS, gains, strict=True):
            found = np.zeros(2000)
            found[: 1000 + gain] = 1
            columns = {"item": [*map(str, range(2000))], "value": found.tolist(), "source": [*range(2000)]}
            record = ArmScore("share found", found.mean(), 2000, 8, 1.0, 1.0, 9, [], [])
            scored.append(ScoredArm(OwnSentences(form), arm, record, Items(columns)))
    subjects = list(dict.fromkeys(one.task for one in scored))
    made, _ = build_cells(subjects, OWN_ARMS, dict.fromkeys(OWN_ARMS, OWN_ARMS[0]), scored, 0, together=False)
    settings = {"quick": False, "seed": 0}
    return made, Comparison(1, ("m",), tuple(limit_claims(made)), (), False, (), (), settings, {})


def test_a_significant_difference_below_three_points_is_neither_claimed_nor_resolvable_without_labels():
    plain, found = own_comparison()
    before, after = ({(one.task, one.setting): one for one in some} for some in (plain, found.cells))
    for form in GAINS:
        cell, own = before[form, "cls, temperature 1"], after[form, "cls, temperature 1"]
        assert cell.p == own.p < 0.001
        assert (cell.verdict, own.verdict) == ({LEFT_OUT: "worse", KEPT: "better"}[form], "not told apart")
        assert cell.resolvable < abs(cell.difference.value) == pytest.approx(0.02)
        assert own.resolvable == 0.03
        assert found.answer(form).endswith(
            "These items would show differences from 0.0300 on. Without labels no difference below 0.03 is claimed."
        )
    large = after[LEFT_OUT, "max, temperature 1"]
    assert (large.verdict, large.difference.value) == ("better", pytest.approx(0.05))
    assert (
        len([line for line in lines_of(found) if line.endswith("four times of five; without labels 0.03 at least")])
        == 1
    )
    band = build_chapters(found)[0].forest.rows[3]
    assert (band.name, band.band, band.verdict) == ("mean, temperature 1", None, "baseline")
    assert {row.band for one in build_chapters(found)[:2] for row in one.forest.rows} == {None, 0.03}
    assert "below 0.03, and without labels not claimed" in build_chapters(found)[0].forest.reading


def test_settings_that_differ_by_temperature_alone_cannot_be_resolved_without_labels():
    plain, found = own_comparison()
    before, after = ({(one.task, one.setting): one for one in some} for some in (plain, found.cells))
    for form, verdict in ((LEFT_OUT, "better"), (KEPT, "worse")):
        name = "mean, temperature 0.8"
        assert before[form, name].verdict == verdict
        assert abs(before[form, name].difference.value) >= 0.06
        assert (after[form, name].verdict, after[form, name].resolvable) == ("cannot be resolved", None)
    assert after[LEFT_OUT, "max, temperature 0.8"].verdict == "better"  # the pooling differs too


def test_settings_without_labels_are_ranked_by_the_sentence_left_out():
    found = own_comparison()[1]
    ranked = ["mean, temperature 0.8", "max, temperature 0.8", "max, temperature 1", "mean, temperature 1"]
    assert [cell.setting for cell in found.of(LEFT_OUT)] == [*ranked, "cls, temperature 1"]
    assert [cell.setting for cell in found.of(KEPT)] == [*ranked, "cls, temperature 1"]
    assert [cell.verdict for cell in found.of(KEPT)].index("baseline") == 3
    assert [table.strong for table in (one.section.tables[0] for one in build_chapters(found)[:2])] == [(3,)] * 2


def test_a_comparison_without_labels_is_ranked_and_claims_no_temperature(model):
    options = {"poolings": ["cls", "max"], "temperatures": [0.1, 1.0], "limits": [12, 256]}
    found = run(model, unlabelled=make_texts(60), **options)
    scores = [cell.score for cell in found.of(LEFT_OUT)]
    assert len(scores) == 12
    assert scores == sorted(scores, reverse=True)
    assert [cell.setting for cell in found.of(LEFT_OUT)] == [cell.setting for cell in found.of(KEPT)]
    for cell in found.cells:
        assert cell.resolvable is None or cell.resolvable >= 0.03
        if (cell.pooling, cell.temperature, cell.limit) == ("mean", "0.1", 256):
            assert cell.verdict in ("equal", "cannot be resolved")


def test_what_each_setting_loses_to_the_cut_and_to_pooling_is_told_apart(bag_model):
    """A bag of words that reads 40 tokens cuts the later sentences, and its last token holds no other sentence."""
    given = make_texts(60)
    found = cells(run(bag_model, unlabelled=given, poolings=["lasttoken"], limits=[40]))
    fates = {
        setting: {fate: getattr(cell.fates, fate).value for fate in FATES}
        for (task, setting), cell in found.items()
        if task == "sentence kept"
    }
    whole, cut = f"{bag_model.max_seq_length} tokens", "40 tokens"
    for shares in fates.values():
        assert sum(shares.values()) == pytest.approx(1)
    assert [fates[f"{pooling}, {whole}"]["lost_to_cut"] for pooling in ("mean", "lasttoken")] == [0, 0]
    assert fates[f"mean, {cut}"]["lost_to_cut"] > 0.3
    assert fates[f"lasttoken, {whole}"]["lost_to_pooling"] > 0.3 > fates[f"mean, {whole}"]["lost_to_pooling"]


def test_texts_whose_token_vectors_take_too_much_memory_have_no_fates(bag_model, monkeypatch):
    monkeypatch.setattr("cenote.evaluation.own_sentences.KEPT_NUMBERS", 1)
    found = run([bag_model, bag_model], unlabelled=make_texts(60), names=["one", "other"])
    assert all(cell.fates is None and cell.reciprocal_rank is not None for cell in found.cells)
    assert [note for note in found.notes if "take too much memory" in note] == [
        f"sentence kept: {name}: the shares lost to the cut and to pooling are left out, since the token vectors of "
        "these texts take too much memory. Take fewer texts (quick, --quick)."
        for name in ("one", "other")
    ]


def test_windows_of_long_texts_are_not_read_and_a_note_says_so(bag_model, monkeypatch):
    bag_model.max_seq_length = 40
    told, options = [], {"poolings": ["lasttoken"], "names": ["bags"]}
    steps = {"progress": lambda *step: told.append(step[0])}
    found = run(bag_model, unlabelled=make_texts(60, 4), **options, **steps)
    assert "reading windows of 40 tokens" in told
    assert not any("tokens alone" in note for note in found.notes)
    told.clear()
    monkeypatch.setattr(own_sentences, "tokenise_small_windows", None)
    found = run(bag_model, unlabelled=make_texts(60, 20), **options, **steps)
    assert not any("windows" in step for step in told)
    (note,) = [note for note in found.notes if "tokens alone" in note]
    assert note.startswith("sentence kept: bags: what is lost to pooling is judged by tokens alone, since windows of ")
    assert cells(found)["sentence kept", "lasttoken"].fates.lost_to_pooling.value > 0


def test_the_time_of_a_setting_is_that_of_its_texts_alone(bag_model, monkeypatch):
    def slow(work):
        return lambda *args, **options: (time.sleep(0.3), work(*args, **options))[1]

    bag_model.max_seq_length = 40
    for module, name in ((account_texts, "split_texts"), (pooled_texts, "pooled_tokens")):
        monkeypatch.setattr(module, name, slow(getattr(module, name)))
    probes = plan(bag_model, make_texts(60)).probes
    (one,) = passes_of(bag_model, "bags", check_grid(None, None, None, None))
    start = time.perf_counter()
    scored = list(score_own_sentences([one], probes, Listener(), "auto", 0, by_graph=False))
    whole = time.perf_counter() - start
    # Windows of both sides, and token vectors of documents and sentences.
    assert whole - sum(one.record.seconds for one in scored) >= 4 * 0.3


def test_the_token_vectors_of_a_pass_are_let_go_before_the_next(bag_model, monkeypatch):
    read, made = own_sentences.read_account, []

    def watched(*args, **options):
        gc.collect()
        assert not any(one() for one in made)
        reading = read(*args, **options)
        made.append(weakref.ref(reading))
        return reading

    monkeypatch.setattr(own_sentences, "read_account", watched)
    run(bag_model, unlabelled=make_texts(60), limits=[40, 50])
    assert len(made) == 3


def test_labelled_data_have_no_account(model):
    found = run(model, {"pairs": sts(60)}, poolings=["max"])
    assert all(cell.fates is None and cell.reciprocal_rank is None for cell in found.cells)


def test_texts_that_share_an_id_are_compared_one_by_one(bag_model):
    texts = make_texts(60)
    own = run(bag_model, unlabelled=texts, poolings=["lasttoken"])
    shared = run(
        bag_model, unlabelled=[(str(row % 20), text) for row, text in enumerate(texts)], poolings=["lasttoken"]
    )
    assert [cell.p for cell in shared.cells] == [cell.p for cell in own.cells]
    assert [cell.wins + cell.losses + cell.ties for cell in shared.cells] == [0, 60, 0, 180]


class NotFinite(torch.nn.Module):
    """A planted fault: a vector of texts beyond a length is not finite."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    def forward(self, features):
        long = features["attention_mask"].sum(1, keepdim=True) > self.length
        return {**features, "sentence_embedding": features["sentence_embedding"].masked_fill(long, torch.nan)}


def test_a_text_without_a_vector_is_refused_in_place_of_not_found(bag_folder):
    texts = [*make_texts(40), *make_texts(1, sentences=12, seed=9)]
    model = load_bags(bag_folder, NotFinite(120))
    with pytest.raises(BadInput, match=f"not finite. It begins with '{texts[-1][:60]}': drop it"):
        run(model, unlabelled=texts, poolings=["max"])


def test_a_search_by_another_measure_than_the_models_own_says_so(bag_folder):
    model = load_bags(bag_folder, similarity_fn_name="dot")
    found = run(model, unlabelled=make_texts(40), poolings=["max"], names=["bags"])
    assert found.notes[-1] == "Texts were searched by cosine; the own measure of bags is dot."


WITHOUT_MTEB = """
import sys
sys.modules["mteb"] = None
import cenote
from tests.bags import load_bags, make_texts

model = load_bags(sys.argv[1])
print(cenote.compare(model, unlabelled=make_texts(40), poolings=["max"]).tasks)
for verb in (cenote.compare, cenote.tune):
    try:
        verb(model, "no folder", temperatures=[0.5])
    except cenote.errors.CenoteError as error:
        print(error)
"""


def test_without_mteb_texts_are_compared_and_data_end_in_the_line_that_installs_it(bag_folder):
    command = [sys.executable, "-c", WITHOUT_MTEB, bag_folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    remedy = "it needs mteb, which is missing: pip install 'cenote[eval]'."
    said = ["('sentence left out', 'sentence kept')", f"compare: {remedy}", f"tune: {remedy}"]
    assert done.stdout.splitlines() == said


def test_own_sentences_are_read_at_the_precision_that_is_asked_for(bag_model, monkeypatch):
    monkeypatch.setattr("cenote.encoding.backends._hardware_obstacle", lambda *_: None)
    read = []
    bag_model.register_forward_hook(lambda *_: read.append(torch.is_autocast_enabled("cpu")))
    run(bag_model, unlabelled=make_texts(60), poolings=["max"], precision="bfloat16")
    assert set(read) == {True}


# What is refused.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "one setting only, the model's own .mean at temperature 1.: name other"),
        ({"poolings": ["mean"]}, "one setting only"),
        ({"poolings": "cls"}, r"poolings='cls': pass a list"),
        ({"poolings": ["maen"]}, "did you mean 'mean'"),
        ({"temperatures": [0]}, "positive"),
        ({"limits": [0]}, "limits holds 0"),
        ({"limits": [10_000]}, "positions for"),
        ({"long": ["window"]}, "unknown way"),
        ({"long": ["truncate", "windows"]}, "needs one"),
        ({"poolings": {"mine": 3}}, "pass a torch module"),
        ({"poolings": {"mean": torch.nn.Identity()}}, "the model's own pooling: name it otherwise"),
        ({"poolings": ["max"], "names": ["one", "two"]}, "names has 2 names for 1 models"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(model, options, problem):
    with pytest.raises((BadInput, UnknownName), match=problem):
        run(model, {"pairs": sts(40)}, **options)


def test_a_pooling_that_later_modules_cannot_take_is_refused(tiny_st):
    width = SentenceTransformer(str(tiny_st("bert")), device="cpu").get_embedding_dimension()
    dense = SentenceTransformer(modules=[*SentenceTransformer(str(tiny_st("bert")), device="cpu"), Dense(width, 8)])
    with pytest.raises(BadInput, match="takes"):
        run(dense, {"pairs": sts(40)}, poolings=["mean+max"])


def test_results_are_not_compared(model):
    found = cenote.evaluate(model, data={"pairs": sts(40)}, cache=False, backend="torch")
    for given in (found, [found], "scores.json"):
        with pytest.raises(BadInput, match="settings are compared on the same items"):
            run(given, {"pairs": sts(40)})


def test_few_items_claim_nothing(model):
    made = run(model, {"pairs": sts(12)}, poolings=["max"])
    assert made.notes == ("pairs: 12 items are too few to claim anything; 30 are needed.",)
    found = cells(made)["pairs", "max"]
    assert found.verdict == "too few items"
    assert (found.p, found.resolvable, found.difference.low) == (None, None, None)


def test_poolings_of_one_direction_are_equal(model):
    made = run(model, {"pairs": sts(60)}, poolings=["mean_sqrt_len"])
    assert "pairs: no item differs between the settings: they order these texts alike" in made.notes[0]
    found = cells(made)["pairs", "mean_sqrt_len"]
    assert found.verdict == "equal"
    assert found.difference.value == 0


def test_items_without_variance_are_equal_and_a_note_says_what_to_do(model):
    found = run(model, {"texts": solved()}, temperatures=[0.9], poolings=["max"])
    assert {cell.verdict for cell in found.cells} == {"baseline", "equal"}
    (note,) = [note for note in found.notes if "every item" in note]
    assert note == (
        "texts: every item has the value 1, so that no setting can be better or worse: give data that are harder, or "
        "easier where all fail."
    )


def test_unlabelled_texts_that_do_not_suffice_are_refused(model):
    with pytest.raises(BadInput, match="0 of 3 texts, of which 2 are copies, have three sentences"):
        run(model, unlabelled=["a pool"] * 3, poolings=["max"])
    with pytest.raises(BadInput, match="are compared alone"):
        run(model, {"pairs": sts(40)}, unlabelled=make_texts(60), poolings=["max"])
    with pytest.raises(BadInput, match=r"data_columns=.* goes with labelled data"):
        run(model, unlabelled=make_texts(60), poolings=["max"], data_columns={"text": "body"})
    for option in ({"split": "dev"}, {"cache": "kept"}):
        with pytest.raises(BadInput, match=r"=.* goes with labelled data: unlabelled texts are compared alone"):
            run(model, unlabelled=make_texts(60), poolings=["max"], **option)
    with pytest.raises(BadInput, match="vary limits instead"):
        run(model, unlabelled=make_texts(60), long=["truncate", "windows"])


BROKEN = (
    r"^temperature 0\.2 breaks the model: .*a text cannot be read: the model's vector is not finite\. It begins with "
    r"'[^']*'\. At its own temperature the model reads these data: use one nearer to that\.$"
)


def test_a_temperature_that_breaks_the_model_is_named_with_the_remedy(model, monkeypatch):
    break_at(monkeypatch, 0.2)
    with pytest.raises(BadInput, match=BROKEN) as caught:
        run(model, {"pairs": sts(40)}, temperatures=[0.9, 0.2])
    assert str(caught.value).count("0.2") == 1
    with pytest.raises(
        BadInput, match=r"^temperature 1e-41: the output of BertModel is not finite\. Use one nearer to 1"
    ):
        run(model, {"pairs": sts(40)}, temperatures=[1e-41])


def test_a_temperature_that_breaks_the_model_without_labels_is_named(model, monkeypatch):
    own = own_sentences.read_account

    def broken(one, *args, **options):
        reading = own(one, *args, **options)
        reading.documents.finite[3] = constant_of(one) != 0.2
        return reading

    monkeypatch.setattr(own_sentences, "read_account", broken)
    with pytest.raises(BadInput, match=BROKEN):
        run(model, unlabelled=make_texts(60), temperatures=[0.9, 0.2])


def break_at(monkeypatch, temperature):
    """Plant a fault: at one temperature, a text has no finite vector."""
    own = TextReader._encode

    def encode(self, tokens, side, advance, given):
        if constant_of(self.model) == temperature:
            refuse_unread({0: NOT_FINITE}, given)
        return own(self, tokens, side, advance, given)

    monkeypatch.setattr(TextReader, "_encode", encode)


def test_a_temperature_at_which_a_precision_is_too_coarse_is_named(model, monkeypatch):
    own = TextReader._make_backend

    def make(self, task, passes):
        if constant_of(self.model) == 0.7:  # what `verify` raises, also on processors without half precision
            raise UnsupportedModel("backend 'torch' at bfloat16 does not compute what the model does.")
        return own(self, task, passes)

    monkeypatch.setattr(TextReader, "_make_backend", make)
    with pytest.raises(UnsupportedModel, match=r"^temperature 0\.7: backend 'torch' at bfloat16 does not compute"):
        run(model, {"pairs": sts(40)}, temperatures=[0.9, 0.7])


def test_a_model_that_cannot_be_tempered_says_so(model):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    static = SentenceTransformer(modules=[StaticEmbedding(model.tokenizer, embedding_dim=8)], device="cpu")
    with pytest.raises((BadInput, UnsupportedModel), match="attention"):
        run(static, {"pairs": sts(40)}, temperatures=[0.5])
