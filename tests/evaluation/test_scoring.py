"""Scores are those of mteb, and the values of single items average to them."""

from dataclasses import replace

import mteb
import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer

import cenote
from cenote.encoding.windows import tokenise_windows, window_sizes
from cenote.errors import BadInput
from cenote.evaluation.differences import state_too_few
from cenote.evaluation.encoder import EngineEncoder
from cenote.evaluation.items import Items, _measure_of
from cenote.evaluation.reading import Side, TextReader
from cenote.evaluation.scoring import refuse_unusable, score_task, summarise_task
from cenote.evaluation.task_list import ListedTask
from cenote.evaluation.tasks import local_task, official_task, official_with, parts_of
from cenote.listener import Listener

from .labelled import EVERY, classification, clustering, retrieval, sts

GROUPS = {"label 0": "pool ", "label 1": "cave ", "label 2": "light "}
pytestmark = pytest.mark.filterwarnings("ignore")


def scored(model, kind, way="truncate", data=None):
    data = EVERY[kind] if data is None else data
    return score_task(lambda: local_task(f"Local {kind}", data), kind, TextReader(model, "torch"), way)


def contents(data):
    """Return the documents with their titles."""
    return [f"{title} {text}".strip() for title, text in zip(data.titles, data.texts, strict=True)]


def by_mteb(model, data):
    """Return the figures of mteb where it drives sentence-transformers itself."""
    task = local_task("Local", data)
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return result.task_results[0].scores["test"][0]


def apart(data):
    """Return data whose groups lie apart: of a group that does not, a rounding can move texts to another cluster."""
    groups = zip(data.labels, data.texts, strict=True)
    return replace(data, texts=tuple(f"{GROUPS[label] * 6}{' '.join(text.split()[:3])}" for label, text in groups))


@pytest.mark.parametrize("kind", EVERY)
def test_scores_are_those_of_mteb_driving_sentence_transformers(model, kind):
    data = apart(EVERY[kind]) if kind == "clustering" else EVERY[kind]
    found, expected = scored(model, kind, data=data), by_mteb(model, data)
    assert found.score == pytest.approx(expected["main_score"], abs=1e-6)
    numbers = {name: value for name, value in expected.items() if isinstance(value, float) and np.isfinite(value)}
    assert found.figures.items() >= {name: pytest.approx(value, abs=1e-5) for name, value in numbers.items()}.items()


@pytest.mark.parametrize("kind", EVERY)
def test_the_values_of_items_average_to_the_score(model, kind):
    found = scored(model, kind)
    value = found.items.numbers("value").mean()
    rounding = 1e-5 if kind in ("retrieval", "reranking") else 1e-9  # mteb rounds means over queries
    assert value == pytest.approx(found.score, abs=rounding)
    assert len({len(column) for column in found.items.columns.values()}) == 1


def test_reciprocal_ranks_average_to_the_score(model):
    data = EVERY["retrieval"]

    def make():
        task = local_task("Local", data)
        task.metadata = task.metadata.model_copy(update={"main_score": "mrr_at_10"})
        return task

    found = score_task(make, "retrieval", TextReader(model, "torch"), "truncate")
    assert found.metric == "mrr_at_10"
    assert found.score == pytest.approx(by_mteb(model, data)["mrr_at_10"], abs=1e-6)
    assert found.items.numbers("value").mean() == pytest.approx(found.score, abs=1e-5)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"b": 0.9, "a": 0.5, "c": 0.1}, 1),
        ({"a": 0.9, "x": 0.8, "c": 0.1, "b": 0.05}, 1 / 3),  # "a" was judged irrelevant
        ({"b": 0.5, "z": 0.5, "y": 0.4}, 1 / 2),  # of equal scores the last name is first, as in mteb
        ({f"x{rank}": 1 - rank / 20 for rank in range(9)} | {"b": 0.1}, 1 / 10),
        ({f"x{rank}": 1 - rank / 20 for rank in range(10)} | {"b": 0.1}, 0),  # its rank is 11
        ({"x": 0.9}, 0),
    ],
)
def test_reciprocal_ranks_by_hand(results, expected):
    recorded = {"judgments": {"q": {"a": 0, "b": 1, "c": 2}}, "results": {"q": results}}
    assert _measure_of("mrr_at_10")(recorded, "q") == pytest.approx(expected)


def test_a_text_whose_summaries_have_one_score_is_no_item(model):
    assert "3" not in scored(model, "summarisation").items.columns["item"]
    assert len(scored(model, "summarisation").items) == 34


def test_ranks_of_relevant_documents_are_exact(model):
    """By brute force, over all documents and beyond what mteb keeps."""
    data = EVERY["retrieval"]
    found = scored(model, "retrieval").items.columns
    documents = model.encode_document(
        [f"{title} {text}".strip() for title, text in zip(data.titles, data.texts, strict=True)]
    )
    scores = model.similarity(model.encode_query(list(data.queries)), documents).numpy()
    for row, (relevant, ranks) in enumerate(zip(found["relevant"], found["ranks"], strict=True)):
        for name, rank in zip(relevant, ranks, strict=True):
            own = scores[row, int(name[1:])]
            assert 1 + (scores[row] > own + 1e-6).sum() <= rank <= (scores[row] > own - 1e-6).sum()


def test_documents_of_one_score_share_their_mean_rank_and_others_have_none(model):
    reader = TextReader(model, "torch")
    encoder = EngineEncoder(reader, watched={"q": ["a", "c", "d"]}, skip_own=True)
    scores, places = torch.tensor([0.5, 0.5, 0.5, 0.9, 0.7]), {"a": 0, "b": 1, "c": 2, "d": 3, "q": 4}
    assert encoder._rank("q", scores, places, None) == {"a": 3.0, "c": 3.0, "d": 1.0}
    assert encoder._rank("q", scores, places, [0, 1, 3]) == {"a": 2.5, "c": 0.0, "d": 1.0}
    encoder.skip_own = False
    assert encoder._rank("q", scores, places, None)["a"] == 4.0  # the query's own document is before it


def test_lengths_are_those_of_the_texts_as_the_model_reads_them(model):
    data, found = EVERY["retrieval"], scored(model, "retrieval").items.columns
    count = model.preprocess([f"query: {data.queries[7]}"])["attention_mask"].sum()
    assert found["query_tokens"][7] == count
    relevant = [int(name[1:]) for name in found["relevant"][7]]
    texts = [f"{data.titles[row]} {data.texts[row]}".strip() for row in relevant]
    assert found["document_tokens"][7] == model.preprocess(texts)["attention_mask"].sum(1).float().mean()


def test_probabilities_and_entropy_of_a_classification(model):
    items = scored(model, "classification").items
    assert set(items.columns["predicted"]) <= {"label 0", "label 1", "label 2"}
    assert set(items.columns["label"]) == {"label 0", "label 1", "label 2"}
    probability, entropy = items.numbers("probability"), items.numbers("entropy")
    assert ((probability > 1 / 3 - 1e-6) & (probability <= 1)).all()
    assert ((entropy > 0) & (entropy <= np.log(3) + 1e-6)).all()


def test_two_classes_with_names_are_scored(model):
    data = classification(labels=2)
    found = scored(model, "classification", data=data)
    assert found.score == pytest.approx(by_mteb(model, data)["main_score"], abs=1e-6)
    assert found.items.columns["label"] == list(data.test.labels)
    assert set(found.items.columns["predicted"]) == {"label 0", "label 1"}


def test_every_draw_of_a_clustering_is_kept(model):
    columns = scored(model, "clustering").items.columns
    assert sorted(set(columns["draw"])) == list(range(10))
    assert set(columns["label"]) == {"label 0", "label 1", "label 2"}


@pytest.fixture
def short(tiny_st):
    found = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    found.max_seq_length = 16
    return found


def test_windows_score_a_document_by_its_best_one(short):
    data = retrieval(words=(20, 60))
    found = scored(short, "retrieval", "windows", data)
    reader = TextReader(short, "torch")
    side, queries = reader.side(None, "document"), reader.side(None, "query")
    texts = contents(data)
    windows = reader.windows(texts, side)
    each = short.similarity(reader.vectors(list(data.queries), queries), windows.vectors).numpy()
    best = np.array([[row[windows.owners == place].max() for place in range(len(texts))] for row in each])
    first = [int(some[0][1:]) for some in found.items.columns["found"]]
    assert best[np.arange(len(first)), first] == pytest.approx(best.max(1), abs=1e-6)
    assert found.encoder.vectors_per_text == len(windows.owners) / len(texts) > 1.5


def test_windows_of_documents_are_those_of_embed(routed):
    """A router reads documents by another tokenizer than queries, and fewer tokens of them."""
    text = "the deep cave holds light and water. " * 20
    size, overlap = window_sizes(routed, None, None, None, "document")
    _, pieces = tokenise_windows(routed, text, size, overlap, None, "document")
    found = TextReader(routed, "torch").windows([text], Side(None, "document"))
    assert found.tokens.tolist() == pieces.lengths.tolist()


def test_segments_lie_between_the_mean_of_windows_and_all_of_them(short):
    data = retrieval(words=(40, 60))
    one, mean, many, every = (
        scored(short, "retrieval", way, data).items.columns["value"]
        for way in ("segments 1", "window-mean", "segments 1000", "windows")
    )
    assert one == mean != every
    assert many == every


def test_texts_that_are_cut_have_other_ways_beside_their_score(short):
    record, _ = summarised(short, retrieval(words=(20, 60)), "retrieval")
    assert [one.name for one in record.settings] == ["window-mean", "windows"]
    plain = scored(short, "retrieval", "window-mean", retrieval(words=(20, 60)))
    assert record.settings[0].score.value == pytest.approx(plain.items.numbers("value").mean())
    assert record.settings[0].change.value == pytest.approx(record.settings[0].score.value - record.score, abs=1e-5)
    assert record.cut > 0
    record, _ = summarised(short, clustering(), "clustering")
    assert [one.name for one in record.settings] == ["window-mean"]


def test_queries_without_a_limit_are_no_obstacle_to_windows_of_documents(routed):
    routed[0].default_route = "query"
    routed[0].sub_modules["query"][0].max_seq_length = 10**30
    record, _ = summarised(routed, retrieval(words=(40, 90)), "retrieval")
    assert [one.name for one in record.settings] == ["window-mean", "windows"]
    assert not [note for note in record.notes if "windows were not tried" in note]


def test_texts_that_are_read_whole_have_none(model):
    record, _ = summarised(model, EVERY["retrieval"], "retrieval")
    assert record.settings == ()
    assert record.cut == 0


def summarised(model, data, kind, others=None, long="truncate", **options):
    return summarise(lambda: local_task("Local", data), kind, model, others, long=long, **options)


def about_cuts(record):
    return [note for note in record.notes if "--beside" in note]


def test_where_texts_are_cut_and_no_other_way_is_tried_a_note_says_so(short, model):
    data = retrieval(words=(20, 60))
    quick, _ = summarised(short, data, "retrieval", quick=True)
    assert quick.settings == ()
    (note,) = about_cuts(quick)
    assert "of the texts are cut. A quick look tries no other way to read them: name some (others, --beside)." in note
    mean, _ = summarised(short, data, "retrieval", long="window-mean")
    assert "longer than the model reads. No way beside window-mean was tried: name some" in about_cuts(mean)[0]
    long = replace(sts(150), first=("a pool " * 300, *sts(150).first[1:]))  # one of 300 texts
    few, _ = summarised(model, long, "sts")
    assert few.settings == ()
    (note,) = about_cuts(few)
    assert note.startswith("0.33 % of the texts are cut. Other ways to read them are tried unasked from 2 % on: name")
    for record in (
        summarised(short, data, "retrieval")[0],
        summarised(short, data, "retrieval", others=["windows"], quick=True)[0],
        summarised(model, sts(60), "sts", quick=True)[0],
    ):
        assert about_cuts(record) == []


def test_few_items_claim_nothing(model):
    record, _ = summarised(model, retrieval(queries=12), "retrieval")
    assert (record.low, record.high) == (None, None)
    assert "12 items are too few to claim anything; 30 are needed." in record.notes
    assert all(part.score is None for part in record.by_length)


def test_items_of_which_one_source_has_most_claim_nothing():
    values = {"item": [str(row) for row in range(80)], "value": [0.5] * 80}
    sources = np.array([0] * 41 + [*range(1, 40)])
    said = state_too_few(Items(values), sources)
    assert said == (
        "80 items of 40 sources are too few to claim anything: some sources have so many items that all say as much as "
        "3 of equal size, and 30 are needed."
    )
    assert state_too_few(Items(values), np.arange(80) // 2) == ""


def test_several_vectors_of_a_text_are_for_searches():
    with pytest.raises(BadInput, match="gives several vectors for a text, and News, of clustering, needs one"):
        refuse_unusable("segments 4", "clustering", "News")
    refuse_unusable("segments 4", "retrieval", "News")


def test_texts_are_read_once_for_all_ways(short):
    steps = []
    reader = TextReader(short, "torch", listener=Listener(lambda step, done, total: steps.append((step, done, total))))
    data = clustering()
    for way in ("truncate", "truncate", "window-mean", "window-mean"):
        score_task(lambda: local_task("Local", data), "clustering", reader, way)
    begun = [(step, total) for step, done, total in steps if done == 0]
    assert [step for step, _ in begun] == ["reading texts", "cutting windows", "reading windows"]
    assert begun[0] == ("reading texts", len(set(data.texts)))
    reader.forget()
    score_task(lambda: local_task("Local", data), "clustering", reader, "truncate")
    assert [step for step, done, _ in steps if done == 0][3:] == ["reading texts"]


def test_a_clustering_claims_nothing_of_other_texts(short):
    record, _ = summarised(short, clustering(), "clustering")
    assert record.interval == "other draws of the same texts"
    assert (record.settings[0].change.low, record.settings[0].change.high) == (None, None)


def test_another_way_to_read_pairs_is_ranked_anew(short):
    """The interval of a correlation stays within 1, and its change is that of two correlations."""
    data = sts(60)
    record, _ = summarised(short, replace(data, first=tuple(f"{one} " * 9 for one in data.first)), "sts")
    (mean,) = record.settings
    assert -1 <= mean.score.low <= mean.score.value <= mean.score.high <= 1
    assert mean.change.value == pytest.approx(mean.score.value - record.score, abs=1e-6)
    assert mean.change.low < mean.change.value < mean.change.high


@pytest.mark.parametrize(
    "data", [retrieval(words=(20, 60)), classification(), sts(60)], ids=["retrieval", "classification", "sts"]
)
def test_the_change_of_another_way_to_read_is_that_of_compare(short, data):
    short.max_seq_length = 12
    record, _ = summarised(short, data, data.kind, others=["window-mean"])
    found = cenote.compare(short, {"Local": data}, long=["truncate", "window-mean"], cache=False)
    difference = found.cells[1].difference
    change = record.settings[0].change
    assert (change.low, change.high) == pytest.approx((difference.low, difference.high))
    assert change.value == pytest.approx(difference.value, abs=2e-4)


def summarise(make, kind, model, others=(), long="truncate", **options):
    task = ListedTask("Local", kind, make, "x", None, "test")
    return summarise_task(task, TextReader(model, "torch"), long=long, others=others, seed=0, **options)


def test_another_way_whose_items_are_of_another_measure_has_no_interval(short, monkeypatch):
    def shifted(make, kind, reader, way):
        found = score_task(make, kind, reader, way)
        figures = found.figures | {"main_score": found.score + 0.1 * (way == "window-mean")}
        return replace(found, figures=figures)

    monkeypatch.setattr("cenote.evaluation.scoring.score_task", shifted)
    record, _ = summarised(short, retrieval(words=(20, 60)), "retrieval")
    mean, windows = record.settings
    assert (mean.score.low, mean.change.low) == (None, None)
    assert mean.change.value == pytest.approx(mean.score.value - record.score)
    assert windows.change.low < windows.change.high
    (note,) = [note for note in record.notes if "another measure" in note]
    assert note.startswith("window-mean: The values of single items are of another measure than ndcg_at_10")


def test_a_score_of_another_measure_than_the_items_has_no_interval(model):
    def make():
        task = local_task("Local", EVERY["classification"])
        task.metadata.main_score = "f1"
        return task

    record, items = summarise(make, "classification", model)
    assert record.metric == "f1"
    assert (record.low, record.by_length, record.items, items) == (None, (), 0, None)
    assert "are of another measure than f1" in record.notes[0]


def test_a_measure_that_is_not_known_has_no_items(model):
    def make():
        task = local_task("Local", EVERY["retrieval"])
        task.metadata.main_score = "nauc_recall_at_10_max"
        return task

    assert score_task(make, "retrieval", TextReader(model, "torch"), "truncate").items is None


def test_a_legacy_clustering_has_a_score_and_no_items(model):
    def make():
        task = official_task("TwentyNewsgroupsClustering")
        data = clustering()
        rows = {"sentences": [list(data.texts[:30]), list(data.texts[30:])], "labels": [list(data.labels[:30])] * 2}
        task.dataset, task.data_loaded = DatasetDict({"test": Dataset.from_dict(rows)}), True
        return task

    record, items = summarise(make, "clustering", model)
    assert 0 < record.score < 1
    assert (record.low, record.items, items) == (None, 0, None)
    assert record.notes == ("The values of single items are not known for v_measure: there is no interval.",)


def test_a_score_that_is_no_number_is_an_error(model):
    same = replace(sts(), second=("a pool",) * 50, first=("a pool",) * 50)
    with pytest.raises(BadInput, match="Local sts has no score: its cosine_spearman is nan"):
        scored(model, "sts", data=same)


def test_queries_with_white_space_around_them_are_scored(model):
    data = retrieval()
    found = scored(model, "retrieval", data=replace(data, queries=tuple(f" {one}\n" for one in data.queries)))
    assert found.items.columns["text"][0].startswith(" ")
    assert len(found.items) == 40


def test_summaries_that_mteb_passes_over_do_not_move_the_others(model):
    """A text whose summaries are the same has one cosine."""
    data = EVERY["summarisation"]
    machine = (*data.machine[:2], ("a pool",) * 4, *data.machine[3:])
    items = scored(model, "summarisation", data=replace(data, machine=machine)).items
    assert items.columns["item"] == [str(row) for row in range(35) if row not in (2, 3)]


def test_the_parts_of_benchmarks_are_those_that_they_take():
    assert len(parts_of(["MTEB(eng, v2)"])) == 41
    names = [part.name for part in parts_of(["LongEmbed"])]
    assert "LEMBPasskeyRetrieval (test_256)" in names
    assert "LEMBQMSumRetrieval" in names
    (one,) = parts_of(["SciFact", "SciFact"])
    assert (one.name, one.kind, one.make().eval_splits) == ("SciFact", "retrieval", ["test"])
    languages = parts_of(["STS17"])
    assert {part.split for part in languages} == {"test"}
    assert "STS17 (en-en)" in [part.name for part in languages]
    assert next(part for part in languages if part.subset == "en-en").make().hf_subsets == ["en-en"]


@pytest.mark.parametrize(("name", "kind"), [("STS17", "sts"), ("MassiveIntentClassification", "classification")])
def test_official_tasks_of_several_languages_take_local_data(model, name, kind):
    found = score_task(lambda: official_with(name, EVERY[kind]), kind, TextReader(model, "torch"), "truncate")
    assert found.items.numbers("value").mean() == pytest.approx(found.score, abs=1e-9)


def test_an_official_search_that_mteb_keeps_in_its_first_form_is_scored(model):
    """Tasks of LongEmbed fill `corpus`, `queries` and `relevant_docs`, and mteb converts them once it scores."""
    data = EVERY["retrieval"]

    def make():
        task = official_task("LEMBQMSumRetrieval")
        documents = zip(data.corpus_ids, data.titles, data.texts, strict=True)
        task.corpus = {"test": {name: {"title": title, "text": text} for name, title, text in documents}}
        task.queries = {"test": dict(zip(data.query_ids, data.queries, strict=True))}
        task.relevant_docs = {"test": data.judgments}
        task.data_loaded = True
        return task

    found = score_task(make, "retrieval", TextReader(model, "torch"), "truncate")
    assert found.score == pytest.approx(scored(model, "retrieval").score)
    assert len(found.items) == 40


def test_a_task_of_images_is_refused_before_it_is_loaded():
    with pytest.raises(BadInput, match=r"CIFAR10Clustering is a task of image: name tasks of text alone"):
        parts_of(["SciFact", "CIFAR10Clustering"])
