"""Evidence moved within longer texts."""

from dataclasses import replace

import pytest
from sentence_transformers import SentenceTransformer

from cenote.data.labelled import Retrieval
from cenote.errors import BadInput
from cenote.evaluation.positions import PLACES, find_by_position
from cenote.evaluation.reading import TextReader
from cenote.evaluation.scoring import summarise_task
from cenote.evaluation.task_list import ListedTask
from cenote.evaluation.tasks import official_with

from .labelled import retrieval


@pytest.fixture
def short(demo_path):
    """The demo model, which reads 32 tokens."""
    model = SentenceTransformer(str(demo_path), device="cpu")
    model.max_seq_length = 32
    return model


NAMES = "anna boris clara david emma felix greta henry irene jakob karla louis maria nils olga peter"
PLANETS = "mercury venus earth mars jupiter saturn uranus neptune pluto ceres eris haumea sedna vesta juno pallas"
RIVERS = "rhine danube volga nile amazon congo niger ganges indus mekong yukon orinoco parana seine thames tiber"


def planted():
    """Return 32 texts that answer a query each, and texts about other things."""
    planets = [*PLANETS.split(), *RIVERS.split()]
    texts = [f"{name} bought a house on {planet}" for name, planet in zip(NAMES.split() * 2, planets, strict=True)]
    texts += [f"the price of {word} rose again this week" for word in ("bread", "milk", "salt", "rice", "tea", "oil")]
    ids = tuple(map(str, range(len(texts))))
    queries = tuple(f"who lives on {planet}?" for planet in planets)
    return Retrieval(ids, ("",) * len(texts), tuple(texts), ids[:32], queries, {name: {name: 1} for name in ids[:32]})


def moved(model, data, ways):
    reader = TextReader(model, "torch")
    sides = {name: reader.side(None, name) for name in ("query", "document")}
    return find_by_position(data, reader, sides, ways, seed=0)


def test_what_is_cut_is_not_found_and_windows_find_it_wherever_it_stands(short):
    found = moved(short, planted(), ("truncate", "windows"))
    assert [(one.way, one.place) for one in found] == [
        (way, place) for way in ("truncate", "windows") for place in PLACES
    ]
    shares = {(one.way, one.place): one.found.value for one in found}
    assert shares["truncate", "start"] > 0.8
    assert shares["truncate", "end"] < 0.3
    assert min(shares["windows", place] for place in PLACES) > 0.8
    assert {one.items for one in found} == {32}
    assert moved(short, planted(), ("truncate", "windows")) == found


def test_another_text_that_answers_a_query_is_no_miss(short):
    """Each text stands twice in the corpus, and answers two queries: one of two texts would come before the other."""
    data = planted()
    same = [*data.texts[:16], *data.texts[:16], *data.texts[32:]]
    judgments = {name: {str(int(name) % 16): 1, str(int(name) % 16 + 16): 1} for name in data.query_ids}
    queries = data.queries[:16] * 2
    found = moved(short, replace(data, texts=tuple(same), queries=queries, judgments=judgments), ("truncate",))
    assert found[0].items == 32
    assert found[0].found.value > 0.8


def test_texts_that_answer_a_query_that_is_not_asked_surround_no_evidence(short, monkeypatch):
    monkeypatch.setattr("cenote.evaluation.positions._QUERIES", 31)
    data = planted()
    seen = []
    monkeypatch.setattr("cenote.evaluation.positions._surround", lambda *given: seen.append(given[3]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        moved(short, data, ("truncate",))
    assert [data.texts[row] for row in seen[0]] == list(data.texts[32:])


def test_too_few_short_documents_are_told(short):
    with pytest.raises(BadInput, match="only 0 queries have a relevant document of 16 tokens or fewer, and 30 are"):
        moved(short, retrieval(words=(30, 40)), ("truncate",))


def test_queries_and_documents_have_the_prompts_of_the_score(short):
    """mteb takes those of the official task."""
    data = planted()
    short.prompts = {"SciFact-query": "who: ", "SciFact-document": "text: "}
    reader = TextReader(short, "torch")
    task = ListedTask("Local", "retrieval", lambda: official_with("SciFact", data), "x", "SciFact", "test")
    record, _ = summarise_task(task, reader, long="truncate", others=(), seed=0, moved=data)
    assert len(record.positions) == len(PLACES)
    assert {side.prompt_name for side in reader._stores} == {"SciFact-query", "SciFact-document"}
