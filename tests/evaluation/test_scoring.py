"""Scores are those of mteb, and the values of single items average to them."""

import mteb
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from cenote.errors import BadInput
from cenote.evaluation.reading import TextReader
from cenote.evaluation.scoring import refuse_unusable, score_task, summarise_task
from cenote.evaluation.tasks import local_task
from cenote.listener import Listener

from .labelled import EVERY, classification, clustering, retrieval

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


@pytest.mark.parametrize("kind", EVERY)
def test_scores_are_those_of_mteb_driving_sentence_transformers(model, kind):
    found, expected = scored(model, kind), by_mteb(model, EVERY[kind])
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


def test_lengths_are_those_of_the_texts_as_the_model_reads_them(model):
    data, found = EVERY["retrieval"], scored(model, "retrieval").items.columns
    count = model.preprocess([f"query: {data.queries[7]}"])["attention_mask"].sum()
    assert found["query_tokens"][7] == count
    relevant = [int(name[1:]) for name in found["relevant"][7]]
    texts = [f"{data.titles[row]} {data.texts[row]}".strip() for row in relevant]
    assert found["document_tokens"][7] == model.preprocess(texts)["attention_mask"].sum(1).float().mean()


def test_probabilities_and_entropy_of_a_classification(model):
    items = scored(model, "classification").items
    assert set(items.columns["predicted"]) <= {"0", "1", "2"}
    probability, entropy = items.numbers("probability"), items.numbers("entropy")
    assert ((probability > 1 / 3 - 1e-6) & (probability <= 1)).all()
    assert ((entropy > 0) & (entropy <= np.log(3) + 1e-6)).all()


def test_two_classes_with_names_are_scored(model):
    assert 0 <= scored(model, "classification", data=classification(labels=2)).score <= 1


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


def test_texts_that_are_read_whole_have_none(model):
    record, _ = summarised(model, EVERY["retrieval"], "retrieval")
    assert record.settings == ()
    assert record.cut == 0


def summarised(model, data, kind, others=None):
    return summarise_task(
        "Local",
        kind,
        lambda: local_task("Local", data),
        TextReader(model, "torch"),
        long="truncate",
        others=others,
        seed=0,
        notes=(),
        data="x",
    )


def test_few_items_claim_nothing(model):
    record, _ = summarised(model, retrieval(queries=12), "retrieval")
    assert (record.low, record.high) == (None, None)
    assert "12 items are too few to claim anything; 30 are needed." in record.notes
    assert all(part.score is None for part in record.by_length)


def test_several_vectors_of_a_text_are_for_searches():
    with pytest.raises(BadInput, match="gives several vectors for a text, and News, of clustering, needs one"):
        refuse_unusable("segments 4", "clustering", "News")
    refuse_unusable("segments 4", "retrieval", "News")


def test_texts_are_read_once_for_all_tasks(model):
    steps = []
    reader = TextReader(model, "torch", listener=Listener(lambda step, done, total: steps.append((step, done, total))))
    data = clustering()
    for _ in range(2):
        score_task(lambda: local_task("Local", data), "clustering", reader, "truncate")
    assert [step for step in steps if step[1] == 0] == [("reading texts", 0, len(set(data.texts)))]
