"""The verb `tune`: a planted temperature is found, noise ends in none, and the gain is that of the held-out half."""

import gc
import json
import re
import weakref
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

import cenote
from cenote.data.labelled import Classification, Labels, Sts
from cenote.data.labelled_halves import halve, sizes_of_sources
from cenote.errors import BadInput, CenoteWarning, UnsupportedModel
from cenote.evaluation import choosing
from cenote.evaluation import tune as module
from cenote.evaluation.candidates import UNCHANGED, Candidate, CandidateScores, by_length, constants
from cenote.evaluation.choosing import Half, choose_best, search, together
from cenote.evaluation.items import Items
from cenote.evaluation.reading import TextReader, refuse_unread
from cenote.evaluation.task_list import ListedTask
from cenote.functional.paired import Paired
from cenote.listener import Listener
from cenote.models.properties import limits_kept
from cenote.models.provenance import constant_of
from cenote.report.tuned import state_expectations
from cenote.tuning_records import Tuning

from ..bags import TINY
from .labelled import EVERY, classification, clustering, retrieval, solved, sts, summarisation, texts
from .test_compare import break_at, planted, planted_search

pytestmark = pytest.mark.filterwarnings("ignore")


def shares(data):
    """Return names of the items of data."""
    if hasattr(data, "query_ids"):
        return list(data.query_ids)
    if isinstance(data, Classification):
        return list(data.test.texts)
    return list(getattr(data, "ids", None) or getattr(data, "texts", None) or data.first)


# Halves.


@pytest.mark.parametrize("kind", EVERY)
def test_the_halves_hold_every_item_once(kind):
    whole, parts = EVERY[kind], halve(EVERY[kind])
    assert sorted(shares(parts[0]) + shares(parts[1])) == sorted(shares(whole))
    counts = [len(shares(part)) for part in parts]
    assert abs(counts[0] - counts[1]) <= 3
    assert sum(len(sizes_of_sources(part)[0]) for part in parts) == len(sizes_of_sources(whole)[0])
    assert [part.kind for part in parts] == [kind, kind]


def test_a_corpus_is_in_both_halves_and_a_training_text_in_one():
    for part in halve(retrieval()):
        assert part.corpus_ids == retrieval().corpus_ids
        assert set(part.judgments) == set(part.query_ids)
    parts, whole = halve(classification()), classification()
    assert sorted(parts[0].train.texts + parts[1].train.texts) == sorted(whole.train.texts)
    assert [Counter(part.train.labels) for part in parts] == [Counter(dict.fromkeys(set(whole.train.labels), 10))] * 2


def test_items_of_one_source_stay_together():
    data = Sts(("a pool",) * 10 + ("a cave",) * 10, tuple(map(str, range(20))), tuple(map(float, range(20))))
    for part in halve(data):
        assert len(set(part.first)) == 1


def test_another_seed_draws_other_halves():
    assert halve(sts())[0].first == halve(sts())[0].first != halve(sts(), 1)[0].first


# What is found.


def run(model, data, **options):
    return cenote.tune(model, data, **{"temperatures": (1.0, 0.6, 0.2), "cache": False, **options})


@pytest.fixture(scope="module")
def found(model):
    return run(model, {"pairs": planted(model, 400, noise=0.001, temperature=0.2)})


def test_a_planted_temperature_is_recommended_with_its_held_out_gain(found):
    assert 0.1 <= found.recommendation <= 0.4
    assert found.gain.low > 0
    assert found.held_out[-1].p < 0.05
    assert found.held_out[0].items == pytest.approx(200, abs=3)
    assert found.answer.startswith("Use temperature 0.")
    assert found.expected.value > 0
    assert [one.temperature for one in found.tried][:2] == ["0.6", "0.2"]
    assert [one.temperature for one in found.tried][2:] == ["0.4", "0.1"]  # halfway to the neighbour of 0.2, and below


def test_the_held_out_scores_are_those_of_evaluate(model, found):
    (held_out,) = (halve(planted(model, 400, noise=0.001, temperature=0.2))[1],)
    own = cenote.evaluate(model, data={"pairs": held_out}, cache=False, backend="torch")
    with cenote.temper(model, found.recommendation):
        tuned = cenote.evaluate(model, data={"pairs": held_out}, cache=False, backend="torch")
    assert found.held_out[0].before == pytest.approx(own.tasks[0].score, abs=1e-6)
    assert found.held_out[0].after == pytest.approx(tuned.tasks[0].score, abs=1e-6)
    assert found.gain.value == pytest.approx(tuned.tasks[0].score / own.tasks[0].score - 1, abs=1e-5)


def test_the_result_comes_back_from_json(found):
    assert Tuning.from_json(found.to_json()) == found
    read = json.loads(found.to_json())
    assert read["recommendation"] == found.recommendation
    assert read["gain"]["value"] == found.gain.value
    assert "Use temperature" in repr(found)
    assert read["settings"] == {
        "by_length": False,
        "by_role": False,
        "temperatures": [1.0, 0.6, 0.2],
        "quick": False,
        "precision": "float32",
        "seed": 0,
        "official": None,
        "kind": None,
        "split": "test",
    }


@pytest.mark.parametrize(
    ("chosen", "own", "end"),
    [
        (1.2, 1.0, None),  # between those that were tried, although the lowest of those that were named
        (1.5, 1.0, "highest"),
        (1.1, 1.1, "lowest"),
        (1.1, None, "lowest"),  # of a model without a constant
    ],
)
def test_a_constant_at_an_end_of_those_that_were_tried_says_so(chosen, own, end):
    tried = [Candidate("constant", tau, tau) for tau in (1.5, 1.2, 1.1)]
    more = {None: "", "lowest": "lower", "highest": "higher"}[end]
    again = "a second tuning of these data would use the held-out half again, and its p would be too small."
    said = f" It is the {end} that was tried. To try {more} ones, give new data: {again}" if end else ""
    assert module._edge(Candidate("constant", chosen, chosen), [*tried, Candidate("role", 1.0, 9.0)], own) == said


def test_a_grid_whose_lowest_is_best_goes_on_below_before_the_confirmation(model, monkeypatch):
    told, own = [], CandidateScores.score

    def note(self, candidate, *place):
        told.append((2 if "half 2" in self.task.data else 1, candidate.query))
        return own(self, candidate, *place)

    monkeypatch.setattr(CandidateScores, "score", note)
    data = {"pairs": planted(model, 400, 0.001, temperature=0.2)}
    found = run(model, data, temperatures=(1.0, 0.6, 0.4))
    assert found.chosen == "0.2"  # 0.2 below 0.4, as 0.6 is above
    assert "that was tried" in found.answer
    assert {tau for half, tau in told if half == 2} == {None, 0.2}
    assert told.index((1, 0.2)) < min(place for place, (half, _) in enumerate(told) if half == 2)


def test_a_grid_goes_on_below_its_lowest_only_if_that_gains(model):
    turned = {"pairs": planted(model, 400, 0.001, temperature=1.0)}
    assert [one.temperature for one in run(model, turned, temperatures=(0.6,)).tried] == ["0.6", "0.8"]


def test_a_constant_above_one_that_breaks_is_not_called_the_lowest(model, monkeypatch):
    break_at(monkeypatch, 0.1)
    found = run(model, {"pairs": planted(model, 200, 0.001, temperature=0.2)}, temperatures=(0.6, 0.2, 0.1))
    assert (found.chosen, "that was tried" in found.answer) == ("0.2", False)


def test_the_answer_does_not_call_a_temperature_the_lowest_that_is_above_the_own(model):
    found = run(model, {"pairs": planted(model, 200, 0.001, temperature=1.4)}, temperatures=(2.0, 1.4))
    assert found.chosen == "1.4"
    assert "that was tried" not in found.answer


def test_several_tasks_get_one_temperature(model):
    data = {"one": planted(model, 200, 0.001, temperature=0.2), "two": planted(model, 200, 0.001, 7, temperature=0.2)}
    found = run(model, data)
    assert [row.task for row in found.held_out] == ["one", "two", "all"]
    relative = [row.after / row.before - 1 for row in found.held_out[:2]]
    assert found.gain.value == pytest.approx(np.mean(relative), abs=1e-5)
    assert found.recommendation is not None


def test_the_p_of_a_task_allows_for_all_tasks():
    """Of two tasks without a gain some p is below .1 twice as often, where each is tested alone."""
    rows = [rows[:2] for _, _, rows in (simulate(seed) for seed in range(400)) if rows]
    assert len(rows) > 300
    assert np.mean([min(row.p for row in some) < 0.1 for some in rows]) < 0.15  # a rate of .19 has a spread of .02


def test_of_several_tasks_the_mean_is_one_test_and_shows_what_that_resolves():
    """Two tasks and their mean, tested together, resolve less."""
    pairs, before = Simulated(60, 10_003).paired([Candidate("constant", 0.8, 0.8)])
    mean = together(pairs, before, 3)[0]
    assert mean.resolvable_alone < 0.9 * mean.resolvable
    assert module._needed(pairs, before, 3) == np.ceil(120 * (mean.resolvable_alone / module.PAPER_GAIN) ** 2)
    held_out = Simulated(60, 10_003)
    held_out.__dict__.update(scores=held_out.stubs)
    *_, last = module._confirm(held_out, Candidate("constant", 0.8, 0.8), pairs, before, 3)[0]
    assert last.resolvable == mean.resolvable_alone


def draw_task(count, seed, draws=0.0, spread=0.05):
    """Return one setting's differences on items, and what ten draws add besides them."""
    generator = np.random.default_rng(seed)
    values = spread * generator.normal(size=(1, count))
    noise = generator.normal(size=(1, 10))
    return Paired(values, draws=draws * (noise - noise.mean()) / noise.std(ddof=1) if draws else None)


@pytest.mark.parametrize("draws", [0.0, 0.003], ids=["items alone", "items and draws"])
def test_as_many_items_as_are_needed_resolve_the_gain_of_the_paper(draws):
    """Two tasks whose scores were .5 and .8; what draws add does not shrink with the items."""
    before = np.array([0.5, 0.8])
    few = [draw_task(300, seed, draws) for seed in (1, 2)]
    needed = module._needed(few, before, 0)
    many = [draw_task(needed // 2, seed, draws) for seed in (3, 4)]
    assert together(many, before, 0)[0].resolvable_alone == pytest.approx(module.PAPER_GAIN, rel=0.1)
    assert needed > 600


def test_no_number_of_items_shows_a_gain_that_draws_alone_hide():
    assert module._needed([draw_task(300, 1, 0.005)], np.array([0.5]), 0) is None


@pytest.mark.parametrize("kind", ["sts", "retrieval"])
def test_a_run_that_was_killed_goes_on(model, kind, tmp_path, monkeypatch):
    data = planted(model, 200, 0.5) if kind == "sts" else retrieval(queries=80)
    read, own = [], TextReader._encode

    def note(self, tokens, *given):
        read.append((constant_of(self.model), len(tokens)))
        if deadly and read[-1][0] == 0.2:
            raise KeyboardInterrupt
        return own(self, tokens, *given)

    def reads_of(**options):
        read.clear()
        found = run(model, {"data": data}, **options).to_json()
        return found, [*read]

    monkeypatch.setattr(TextReader, "_encode", note)
    deadly = False
    found, whole = reads_of()
    deadly = True
    with pytest.raises(KeyboardInterrupt):
        reads_of(cache=tmp_path)
    before, deadly = read[:-1], False
    assert before
    assert reads_of(cache=tmp_path) == (found, whole[len(before) :])
    assert reads_of(cache=tmp_path) == (found, [])


def test_kept_scores_are_those_of_the_same_half_of_the_same_data(model, tmp_path):
    whole = {"pairs": planted(model, 200, 0.5)}
    found = run(model, whole, cache=tmp_path)
    assert run(model, whole, cache=tmp_path, seed=1).to_json() == run(model, whole, seed=1).to_json() != found.to_json()
    others = {"pairs": planted(model, 200, 0.4)}
    assert run(model, others, cache=tmp_path).to_json() == run(model, others).to_json() != found.to_json()


def test_forms_that_need_vectors_keep_no_scores(model, tmp_path):
    run(model, {"search": retrieval(queries=80)}, cache=tmp_path, by_role=True, temperatures=(1.0, 0.6))
    assert not [*tmp_path.iterdir()]


def test_vectors_are_let_go_where_no_form_needs_them(model, monkeypatch):
    seen = []

    class Noted(TextReader):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            seen.append(weakref.ref(self))

    monkeypatch.setattr("cenote.evaluation.candidates.TextReader", Noted)
    data = sts(40)
    task = ListedTask("t", "sts", lambda: module.make_local("t", None, data), "", None, "test", (), data)
    scores = CandidateScores(model, task, "auto", Listener(), shared=None)
    scores.score_all([UNCHANGED, Candidate("constant", 0.6, 0.6)])
    gc.collect()
    assert [one() for one in seen] == [None, None]


def test_forms_by_length_are_pairs_of_unlike_constants_and_schedules_that_are_one_at_the_step():
    *steps, logarithm, slow = by_length([1.0, 0.8, 0.6], 64)
    pairs = {(one.query, one.document) for one in steps}
    assert pairs == {(1.0, 0.8), (1.0, 0.6), (0.8, 1.0), (0.8, 0.6), (0.6, 1.0), (0.6, 0.8)}
    assert [one.temperature(64).item() for one in steps] == pytest.approx([one.query for one in steps])
    assert [one.temperature(65).item() for one in steps] == pytest.approx([one.document for one in steps])
    assert [logarithm.temperature(length).item() for length in (64, 64**2)] == pytest.approx([1, 1 / 2])
    assert [slow.temperature(length).item() for length in (64, 256)] == pytest.approx([1, 0.87], abs=1e-3)
    assert [one.schedule.schedule for one in by_length([1.0], 2)] == ["power"]  # the logarithm of 1 token is 0


def test_the_step_is_the_median_length_of_what_is_read_of_documents(monkeypatch):
    def scores_of(lengths, limit):
        items = Items({"item": [], "query_tokens": [1.0] * len(lengths), "document_tokens": lengths})
        return SimpleNamespace(model=limit, score=lambda _: SimpleNamespace(items=items))

    monkeypatch.setattr(choosing, "limit_of_documents", lambda model: model)
    nan = float("nan")
    assert Half([scores_of([5.0, nan, 40.0, 900.0], None)]).median_length() == 40
    # Read are 5, 19 and 19 tokens, and 7, 8, 12 and 30 of the second task.
    both = [scores_of([5.0, nan, 40.0, 900.0], 20), scores_of([7.0, 8.0, 12.0, 30.0], None)]
    assert Half(both).median_length() == 12
    assert Half(both[:1]).median_length() == 19


@pytest.mark.parametrize("form", ["role", "length"])
def test_mixed_vectors_are_those_of_the_tempered_model(model, form):
    """Schedules and roles are put together of constants: the scores are those of the real temperature."""
    data = retrieval(words=(4, 30))
    task = ListedTask("t", "retrieval", lambda: module.make_local("t", None, data), "", None, "test", (), data)
    candidate = Candidate(form, 0.2, 0.6, 20 if form == "length" else None)
    mixed = CandidateScores(model, task, "auto", Listener(), {}, shared=None).score(candidate)
    with cenote.temper(model, candidate.temperature):
        real = cenote.evaluate(model, data={"t": data}, cache=False, backend="torch", others=())
    assert mixed.score == pytest.approx(real.tasks[0].score, abs=1e-9)
    plain = cenote.evaluate(model, data={"t": data}, cache=False, backend="torch", others=())
    assert mixed.score != plain.tasks[0].score


def test_a_text_that_was_not_read_at_its_temperature_is_an_error(model):
    """By then the model has its own temperature again."""
    data, readers = retrieval(), {}
    task = ListedTask("t", "retrieval", lambda: module.make_local("t", None, data), "", None, "test", (), data)
    scores = CandidateScores(model, task, "auto", Listener(), readers, shared=None)
    scores.score_all([Candidate("constant", tau, tau) for tau in (0.2, 0.6)])
    readers[0.6].forget()
    with pytest.raises(ValueError, match="a text was not read at the temperature that it has"):
        scores.score(Candidate("role", 0.2, 0.6))


def test_forms_by_length_and_role_are_tried_on_request(model):
    found = run(model, {"search": retrieval(queries=80)}, by_length=True, by_role=True)
    assert {one.form for one in found.tried} == {"constant", "length", "role"}
    smooth = {
        one.temperature.partition("(")[0] for one in found.tried if one.form == "length" and "(" in one.temperature
    }
    assert smooth == {"log", "power"}
    by_role = [one for one in found.tried if one.form == "role"]
    assert {(one.query, one.document) for one in by_role} >= {(1.0, 0.6), (0.6, 1.0), (0.2, 0.6)}


def test_progress_says_which_of_how_many_temperatures_is_at_work(model):
    told = []
    search = {"search": retrieval(queries=80)}
    run(model, search, by_role=True, progress=lambda *step: told.append(step))
    names = list(dict.fromkeys(name for name, _, _ in told))
    assert names[:3] == [
        "search, the model's own temperature: reading texts",
        "search, temperature 0.6 (1 of 2): reading texts",
        "search, temperature 0.2 (2 of 2): reading texts",
    ]
    combined = [(done, total) for name, done, total in told if name == "search: combining temperatures"]
    assert combined[0] == (2, combined[0][1])  # two constants were read before
    assert [done for done, _ in combined] == list(range(2, 2 + len(combined)))


@pytest.mark.parametrize("candidate", [UNCHANGED, Candidate("constant", 0.6, 0.6)], ids=str)
def test_a_corpus_is_read_once_for_both_halves_where_vectors_are_kept(model, candidate):
    readers, whole = {}, retrieval()
    for part in halve(whole):
        task = ListedTask("t", "retrieval", partial(module.make_local, "t", None, part), "", None, "test", (), part)
        shared = CandidateScores(model, task, "auto", Listener(), readers, shared=None).score(candidate)
        alone = CandidateScores(model, task, "auto", Listener(), shared=None).score(candidate)
        assert shared.score == pytest.approx(alone.score, abs=1e-9)
    documents = {f"{title} {text}".strip() for title, text in zip(whole.titles, whole.texts, strict=True)}
    assert readers[candidate.query].work.texts == len(documents) + len(set(whole.queries))


# What is written.


def test_a_confirmed_gain_is_written_and_nothing_else(model, tmp_path, monkeypatch):
    found = run(model, {"pairs": planted(model, 400, 0.001, temperature=0.2)}, output=tmp_path / "new")
    written = SentenceTransformer(str(tmp_path / "new"), device="cpu")
    with cenote.temper(model, found.recommendation):
        expected = model.encode(["a deep cave"])
    assert written.encode(["a deep cave"]) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(module, "_is_gain", lambda _: False)
    none = run(model, {"pairs": planted(model, 400, 0.001, temperature=0.2)}, output=tmp_path / "none")
    assert none.recommendation is None
    assert not (tmp_path / "none").exists()
    run(model, {"pairs": planted(model, 400, 0.001, temperature=0.2)}, output=tmp_path / "forced", force=True)
    assert (tmp_path / "forced" / "modules.json").exists()


def vectors_of(model, queries, documents):
    """Return the vectors of queries and of documents."""
    return np.vstack([model.encode_query(list(queries)), model.encode_document(list(documents))])


def test_a_planted_temperature_by_role_is_found_and_the_written_model_has_its_vectors(model, tmp_path):
    roles = {"query": 0.2, "document": 1.0}
    with cenote.temper(model, roles):
        data = planted_search(model.encode_query, model.encode_document)
    found = run(model, {"search": data}, by_role=True, temperatures=(1.0, 0.2), output=tmp_path / "new")
    assert found.chosen == "0.2 for a query and 1 for a document"
    assert found.recommendation == roles
    assert found.gain.low > 0
    assert found.held_out[0].after == pytest.approx(1)
    written = vectors_of(cenote.load(tmp_path / "new", device="cpu"), data.queries[:20], data.texts[:20])
    with cenote.temper(model, roles):
        assert written == pytest.approx(vectors_of(model, data.queries[:20], data.texts[:20]), abs=1e-5)
    assert abs(written - vectors_of(model, data.queries[:20], data.texts[:20]))[:20].max() > 0.1


def test_a_planted_schedule_by_length_is_found_and_the_written_model_has_its_vectors(model, tmp_path):
    """Three of five pairs have 6 tokens and the others 26, so that the median length is 6."""
    schedule = cenote.LengthTemperature("linear", start=0.2, end=1.0, shortest=12, longest=13)
    lengths = [4 if row % 5 < 3 else 24 for row in range(400)]
    generator = np.random.default_rng(0)
    first, second = (tuple(" ".join(generator.choice(TINY, words)) for words in lengths) for _ in "ab")
    with cenote.temper(model, schedule):
        vectors = [model.encode(list(side), normalize_embeddings=True) for side in (first, second)]
    data = Sts(first, second, tuple((vectors[0] * vectors[1]).sum(1).tolist()))
    found = run(model, {"pairs": data}, by_length=True, temperatures=(1.0, 0.2), output=tmp_path / "new")
    assert found.chosen == "0.2 up to 6 tokens and 1 beyond"
    assert found.gain.low > 0
    assert found.held_out[0].after == pytest.approx(1)
    shown = [*first[:10], *second[:10]]
    written = cenote.load(tmp_path / "new", device="cpu").encode(shown)
    with cenote.temper(model, schedule):
        assert written == pytest.approx(model.encode(shown), abs=1e-5)
    assert abs(written - model.encode(shown)).max() > 0.1


def test_a_full_disk_takes_no_result_along(model, tmp_path, monkeypatch):
    def fill(self, path, **_):
        Path(path, "config.json").write_text("{}")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(SentenceTransformer, "save_pretrained", fill)
    with pytest.warns(CenoteWarning, match="the model is not written: cannot write the folder .*No space left"):
        found = run(model, {"pairs": planted(model, 400, 0.001, temperature=0.2)}, output=tmp_path / "new")
    assert found.recommendation is not None
    assert list(tmp_path.iterdir()) == []


def test_texts_that_are_cut_are_noted(model):
    with limits_kept(model):
        model.max_seq_length = 6
        (note,) = run(model, {"pairs": sts(80)}, name="bert").notes
    assert re.fullmatch(r"pairs, development half: bert cuts \d+ % of \d+ texts at 6 tokens\.", note)


def test_a_router_that_needs_a_task_is_tuned_and_each_side_noted_with_its_limit(tiny):
    sides = [[Transformer(str(tiny("bert"))), Pooling(32)] for _ in range(2)]
    sides[0][0].max_seq_length, sides[1][0].max_seq_length = 4, 16
    router = Router.for_query_document(*sides, default_route=None, allow_empty_key=False)
    short = SentenceTransformer(modules=[router], device="cpu").eval()
    notes = run(short, {"search": retrieval(queries=80, words=(30, 60))}, name="bert", temperatures=[0.5]).notes
    cut = [note for note in notes if "cuts" in note]
    assert [re.sub(r"[\d.]+ % of \d+", "some", note) for note in cut] == [
        f"search, development half: bert cuts some {side} tokens." for side in ("documents at 16", "queries at 4")
    ]


def test_a_temperature_that_the_model_cannot_take_is_left_out(model, monkeypatch):
    own = TextReader._make_backend

    def make(self, task, passes):
        if constant_of(self.model) == 0.6:
            raise UnsupportedModel("backend 'torch' at bfloat16 does not compute what the model does.")
        return own(self, task, passes)

    monkeypatch.setattr(TextReader, "_make_backend", make)
    found = run(model, {"pairs": planted(model, 80, 0.5)})
    assert [one.temperature for one in found.tried if one.temperature == "0.6"] == []
    assert found.notes[0].startswith("Left out: temperature 0.6: backend 'torch' at bfloat16 does not compute")


def test_a_model_that_takes_no_temperature_is_refused_before_it_is_read(model, monkeypatch):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    static = SentenceTransformer(modules=[StaticEmbedding(model.tokenizer, embedding_dim=8)], device="cpu")
    monkeypatch.setattr(TextReader, "_encode", lambda *_: pytest.fail("texts were read"))
    with pytest.raises(UnsupportedModel):
        run(static, {"pairs": sts(80)})


def test_wrong_options_are_told_before_the_work():
    with pytest.raises(BadInput, match="force=True writes the model, but there is no folder for it"):
        run("no model", {"pairs": sts(80)}, force=True)
    with pytest.raises(BadInput, match=r"there is nothing to tune on: name labelled data \(data, --data\)"):
        run("no model", {})


# Simulated halves: the choice, without a model.


class Simulated(Half):
    """A half whose differences are drawn: noise of items that temperatures share in part, and what is planted."""

    def __init__(self, count, seed, planted=()):
        super().__init__([])
        self.__dict__.update(count=count, seed=seed, planted=dict(planted))

    def readable(self, candidates):
        return list(candidates), {}

    def paired(self, candidates):
        made = []
        for task in range(2):
            shared = np.random.default_rng((self.seed, task)).normal(size=self.count)
            rows = []
            for one in candidates:
                own = np.random.default_rng((self.seed, task, round(1000 * one.query), round(1000 * one.document)))
                noise = (1 - one.query) * (0.7 * shared + 0.7 * own.normal(size=self.count)) * 0.2
                rows.append(noise + self.planted.get(one.query, 0.0))
            made.append(Paired(np.array(rows)))
        return made, np.array([0.5, 0.8])

    @property
    def stubs(self):
        items = Items({"item": [str(row) for row in range(self.count)]})
        scored = SimpleNamespace(items=items, metric="score", score=0.5)
        tasks = [ListedTask(name, "retrieval", list, "", None, "test") for name in ("one", "two")]
        return [SimpleNamespace(task=task, score=lambda _: scored) for task in tasks]


def simulate(seed, planted=(), confirmed=(), role=False):
    """Choose on one simulated half and confirm on another; return what was chosen and the confirmed rows."""
    development = Simulated(60, seed, planted)
    found = search(development, [0.9, 0.8, 0.7], length=False, role=role, own=1.0)
    pairs, before = development.paired(found.candidates)
    expected, chosen = choose_best(found, pairs, before, seed)
    if chosen is None:
        return expected, None, ()
    held_out = Simulated(60, seed + 10_000, confirmed)
    held_out.__dict__.update(scores=held_out.stubs)
    return expected, chosen, module._confirm(held_out, chosen, *held_out.paired([chosen]), seed)[0]


def test_noise_ends_in_no_temperature():
    helps = [bool(rows) and module._is_gain(rows) for _, _, rows in (simulate(seed) for seed in range(100))]
    assert sum(helps) <= 5


def test_the_search_itself_is_fooled_by_noise_which_the_second_half_is_for():
    chosen = [simulate(seed)[1] for seed in range(40)]
    assert sum(one is not None for one in chosen) > 20


def test_a_planted_overfit_is_not_reported():
    """0.8 is better on the development half alone: neither the recommendation nor the gain shows it."""
    for seed in range(10):
        expected, chosen, rows = simulate(seed, planted={0.8: 0.1})
        assert chosen.query == 0.8
        assert expected.value > 0.1  # relative; what the development half says
        assert rows[-1].relative < 0.06
        assert abs(rows[-1].relative - expected.value) > 0.05


def test_a_true_gain_is_found():
    outcomes = [simulate(seed, {0.8: 0.03}, {0.8: 0.03}) for seed in range(20)]
    assert sum(bool(rows) and module._is_gain(rows) for _, _, rows in outcomes) >= 15


def chosen_on_other_folds(pairs, before, folds):
    """Return the place of the best candidate for each fold, by the items of the other folds; None where none gains."""
    found = []
    for fold in range(5):
        gains = []
        for row in range(len(pairs[0].values)):
            changes = [
                np.mean([value for value, place in zip(one.values[row], given, strict=True) if place != fold]) / score
                for one, given, score in zip(pairs, folds, before, strict=True)
            ]
            gains.append(np.mean(changes))
        best = int(np.argmax(gains))
        found.append(best if gains[best] > 0 else None)
    return found


def test_each_fold_is_valued_by_the_candidate_that_is_best_on_the_others():
    seen = set()
    for seed in range(8):
        pairs, before = Simulated(60, seed).paired(constants([0.9, 0.8, 0.7]))
        folds = [choosing._folds(one, seed) for one in pairs]
        chosen = chosen_on_other_folds(pairs, before, folds)
        gains = [
            np.mean([0 if (row := chosen[fold]) is None else one.values[row, item] for item, fold in enumerate(given)])
            for one, given in zip(pairs, folds, strict=True)
        ]
        found = choosing._cross_validated(pairs, before, range(3), seed)
        assert found.value == pytest.approx(np.mean(gains / before))
        seen.update(chosen)
    assert seen == {None, 0, 1, 2}


def test_folds_are_even_and_keep_the_items_of_one_source_together():
    even = choosing._folds(Paired(np.zeros((1, 60))), 3)
    assert np.bincount(even).tolist() == [12] * 5
    assert even.tolist() != choosing._folds(Paired(np.zeros((1, 60))), 4).tolist()
    sources = np.repeat(np.arange(20), 3)
    found = choosing._folds(Paired(np.zeros((1, 60)), sources), 3)
    assert all(len(set(found[sources == source])) == 1 for source in range(20))
    assert np.bincount(found).tolist() == [12] * 5


@pytest.mark.parametrize("role", [False, True])
def test_cross_validation_expects_nothing_of_noise(role):
    expected = [simulate(seed, role=role)[0].value for seed in range(60)]
    assert abs(np.mean(expected)) < 3 * np.std(expected) / np.sqrt(60)


# What is refused.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"temperatures": []}, "no temperature to try"),
        ({"temperatures": [0]}, "positive"),
        ({"temperatures": [{"query": 1.0, "document": 0.5}]}, "pass numbers"),
        ({"temperatures": [1.0]}, "only the model's own"),
    ],
)
def test_temperatures_that_cannot_be_tried_are_refused(model, options, problem):
    with pytest.raises(BadInput, match=problem):
        run(model, {"pairs": sts(80)}, **options)


def test_a_temperature_that_breaks_the_model_is_left_out(model, monkeypatch):
    data = {"pairs": planted(model, 400, 0.001, temperature=0.2)}
    break_at(monkeypatch, 0.6)  # which is also halfway from the best to its neighbour
    found = run(model, data, temperatures=(1.0, 0.6, 1e-41, 0.2))
    assert [one.temperature for one in found.tried] == ["0.2", "0.1"]  # and one below
    assert found.recommendation is not None
    left = [note for note in found.notes if note.startswith("Left out: ")]
    assert len(left) == 2  # each once
    assert re.match(r"Left out: temperature 0\.6 breaks the model: pairs cannot be scored: .*use one nearer", left[0])
    assert left[0].count("0.6") == 1
    assert "temperature 1e-41" in left[1]
    assert "Use one nearer to 1" in left[1]
    with pytest.raises(BadInput, match=r"no temperature can be tried\. temperature 0\.6 breaks the model"):
        run(model, data, temperatures=(0.6,))


def test_a_schedule_that_breaks_the_model_is_left_out(model, monkeypatch):
    encode = TextReader._encode

    def broken(self, tokens, side, advance, given):
        if constant_of(self.model) is None:  # it has a schedule
            refuse_unread({0: "it is bad"}, given)
        return encode(self, tokens, side, advance, given)

    monkeypatch.setattr(TextReader, "_encode", broken)
    found = run(model, {"pairs": planted(model, 80, 0.001, temperature=0.2)}, by_length=True)
    assert {one.form for one in found.tried} == {"constant", "length"}
    assert len([note for note in found.notes if note.startswith("Left out: temperature")]) == 2
    assert found.chosen is not None


def test_a_chosen_temperature_that_breaks_on_the_held_out_half_is_not_recommended(model, monkeypatch, tmp_path):
    readable = Half.readable

    def broken(self, candidates):
        kept, why = readable(self, candidates)
        return (kept, why) if kept != [Candidate("constant", 0.2, 0.2)] else ([], {kept[0]: "it breaks."})

    monkeypatch.setattr(Half, "readable", broken)
    data = {"pairs": planted(model, 400, 0.001, temperature=0.2)}
    with pytest.warns(CenoteWarning, match="the model is not written: it breaks"):
        found = run(model, data, temperatures=(0.6, 0.2), output=tmp_path / "new", force=True)
    assert (found.chosen, found.recommendation, found.gain, found.held_out) == ("0.2", None, None, ())
    assert "Not confirmed: it breaks." in found.notes
    assert found.answer.startswith(
        "No temperature helps here: the best of the development half, 0.2, breaks on the held-out half."
    )
    assert state_expectations(found)[0] == "At temperature 0.2 the held-out half could not be read."
    assert not (tmp_path / "new").exists()


def test_items_without_variance_end_in_no_temperature_and_a_note_says_what_to_do(model):
    found = run(model, {"texts": solved()})
    assert found.recommendation is None
    assert any(note.startswith("texts, development half: every item has the value 1, so") for note in found.notes)


def test_data_that_cannot_be_read_are_not_laid_to_a_temperature(model, monkeypatch):
    monkeypatch.setattr(
        TextReader, "_encode", lambda _, tokens, side, tell, texts: refuse_unread({0: "it is bad"}, texts)
    )
    with pytest.raises(
        BadInput, match=r"at the model's own temperature: a text cannot be read: .*: drop it from the data"
    ):
        run(model, {"pairs": sts(80)})


def test_too_few_items_are_refused_with_how_many_are_needed(model):
    few, needs = "too few to choose on one half and confirm on the other: 60 are the fewest", "at temperature 0.9 needs"
    gain = "0.53 %, the paper's mean gain"
    for data, said in (
        (
            sts(40),
            f"40 first texts of pairs, {few}. To show {gain}, the demo model {needs} some hundreds of first texts",
        ),
        (
            retrieval(),
            f"40 sets of relevant documents, {few}. To show {gain}, the demo model {needs} some hundreds of sets of",
        ),
        (
            classification(test=50),
            f"50 test texts, {few}. To show {gain}, the demo model {needs} some ten thousands of test texts in",
        ),
        (clustering(50), f"50 texts, {few}. On two sets of titles no number of them showed {gain}: draws of the texts"),
        (summarisation(), f"35 texts, {few}."),
    ):
        with pytest.raises(BadInput, match=re.escape(f"data has {said}")):
            run(model, {"data": data})


def test_a_folder_that_is_not_empty_is_refused_before_the_work(model, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(BadInput, match="already exists: name a new folder"):
        run(model, {"pairs": sts(80)}, output=tmp_path)


def test_a_score_below_zero_is_refused(model):
    data = planted(model, 100, 0.001)
    turned = Sts(data.first, data.second, tuple(-score for score in data.scores))
    with pytest.raises(BadInput, match="relative to a score above 0"):
        run(model, {"pairs": turned})


def test_a_model_tempered_by_a_schedule_has_no_constant(model):
    assert constant_of(model) == 1.0
    with cenote.temper(model, 0.7):
        assert constant_of(model) == 0.7
    with cenote.temper(model, cenote.LengthTemperature("log", s=0.3)):
        assert constant_of(model) is None


def test_items_of_one_source_are_chosen_on_together(model):
    data = planted(model, 200, 0.001, each=2, temperature=0.2)
    assert len(set(data.first)) == 100
    assert run(model, {"pairs": data}).held_out[0].items == pytest.approx(100, abs=2)
    with pytest.raises(BadInput, match="pairs has 1 first texts of pairs"):
        run(model, {"pairs": Sts(data.first[:1] * 200, data.second, data.scores)})


def test_roles_need_a_search(model):
    with pytest.raises(BadInput, match="by_role is for searches"):
        run(model, {"pairs": sts(80)}, by_role=True)


def test_a_temperature_that_no_weights_take_is_kept_as_configuration(model, tmp_path, monkeypatch):
    def refuse(*_):
        raise UnsupportedModel("unknown weights")

    monkeypatch.setattr(module, "bake", refuse)
    module.write(model, 0.5, tmp_path / "new")
    assert cenote.load(tmp_path / "new").encode("a pool") != pytest.approx(model.encode("a pool"), abs=1e-5)


def test_a_temperature_in_the_weights_is_named(model):
    baked = cenote.bake(model, 0.8)
    found = run(baked, {"pairs": planted(model, 200, 0.001, temperature=0.2)})
    assert found.own == "0.8 in the weights"
    assert "multiplies the 0.8 in the weights" in found.answer


def test_labels_that_are_noise_end_in_none(model):
    data = Classification(
        Labels(texts(60, 6, 1), ("x", "y") * 30), Labels(texts(120, 6, 2), tuple(map(str, ["x", "y"])) * 60)
    )
    found = run(model, {"noise": data})
    assert found.recommendation is None
    assert found.answer.startswith("No temperature helps here")
