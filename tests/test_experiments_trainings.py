"""The experiments that train a model in several ways: planted differences, and trainings that are kept."""

import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("mteb", reason="labelled data are scored by mteb: pip install 'cenote[eval]'")
sys.path.insert(0, str(Path(__file__).parents[1]))

import cenote
from cenote.data.labelled import Retrieval
from cenote.training.trainer import PairTrainer
from experiments.poolings import intervals, positions, trained, trainings
from experiments.poolings.intervals import DRAWN, FIXED, summarise
from experiments.poolings.trainings import QUICK, Reading, number_sources, pair_over_seeds

from .evaluation import labelled

SEEDS, QUERIES, READ = 3, 200, (16, 32, 64, 128)


def reading(levels, spread=0.01, seed=0):
    """Return values around a level for each distance, alike in all seeds but for a little noise."""
    generator = np.random.default_rng(seed)
    each = np.array(levels)[None, :, None] + np.random.default_rng(9).normal(size=(1, 1, QUERIES)) * 0.2
    return Reading(each + generator.normal(size=(SEEDS, len(levels), QUERIES)) * spread, np.arange(QUERIES))


@pytest.mark.parametrize(("rarer", "holds"), [(0.4, True), (0.5, None), (0.6, False)])
def test_a_planted_distance_is_found(rarer, holds):
    drawn = reading([0.5, 0.5, rarer, rarer], spread=0.1)
    found = {one.claim: one for one in summarise({DRAWN: drawn, FIXED: reading([0.5] * 4, seed=1)}, READ).findings}
    assert found["read"].holds is holds
    assert found["read"].low < 0.5 - rarer < found["read"].high


@pytest.mark.parametrize(("fixed", "holds"), [(0.4, True), (0.5, None), (0.6, False)])
def test_a_planted_training_is_found(fixed, holds):
    """Both are read every 32 tokens: what the other distances give decides nothing."""
    other = reading([0.9, fixed, 0.1, 0.9], spread=0.1, seed=1)
    found = {one.claim: one for one in summarise({DRAWN: reading([0.5] * 4, 0.1), FIXED: other}, READ).findings}
    assert found["drawn"].holds is holds
    assert found["drawn"].low < 0.5 - fixed < found["drawn"].high


def test_rows_are_means_over_seeds_and_queries():
    drawn, fixed = reading([0.5, 0.4, 0.3, 0.2]), reading([0.2, 0.3, 0.4, 0.5], seed=1)
    rows = summarise({DRAWN: drawn, FIXED: fixed}, READ).rows
    assert [(row["trained with"], row["read every"]) for row in rows] == [
        (name, every) for name in (DRAWN, FIXED) for every in READ
    ]
    means = [one.values.mean((0, 2)) for one in (drawn, fixed)]
    assert [row["score"] for row in rows] == pytest.approx(np.concatenate(means))
    changes = [row.get("change") for row in rows[:4]]
    assert changes[1] is None
    assert changes[0] == pytest.approx(means[0][0] - means[0][1])


def by_position(lost, spread=0.1):
    """Return whether first, middle and last sentences are found, where the last are found less often by so much."""
    levels = {name: (0.9, 0.9, 0.9 - part) for name, part in zip(("cls", "mean", "landmark"), lost, strict=True)}
    generator = np.random.default_rng(0)
    return {
        name: (generator.random((SEEDS, 3, QUERIES)) < np.array(some)[None, :, None]).astype(float)
        for name, some in levels.items()
    }


@pytest.mark.parametrize(
    ("lost", "late", "more", "landmark"),
    [
        ((0.4, 0.0, 0.0), True, True, True),
        ((0.4, 0.4, 0.0), True, None, True),
        ((0.0, 0.0, 0.4), None, None, False),
        ((0.0, 0.0, 0.0), None, None, None),
    ],
)
def test_sentences_that_are_lost_by_their_place_are_found(lost, late, more, landmark):
    found = positions.summarise(by_position(lost))
    assert {one.claim: one.holds for one in found.findings} == {"late": late, "more": more, "landmark": landmark}
    last = {row["pooling"]: row["found"] for row in found.rows if row["place"] == "last"}
    assert list(last.values()) == pytest.approx([0.9 - part for part in lost], abs=0.05)


def test_sentences_are_asked_for_that_are_read_and_in_no_other_text(tiny_st, tmp_path, monkeypatch):
    monkeypatch.setattr(positions, "WORDS", (30, 60))
    texts = [". ".join(labelled.texts(4, (11, 14), row)) + "." for row in range(30)]
    texts[1] = texts[0].split(". ")[0] + ". " + texts[1]  # two texts begin alike
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    asked = positions.ask(cenote.load(tiny_st("bert")), str(tmp_path / "texts.txt"), 30)
    written, reverse = asked.orders
    assert len(asked.own) >= 20
    for owner, first, middle, last in zip(asked.own, *asked.sentences, strict=True):
        assert [written[owner].index(one) for one in (first, middle, last)] == sorted(
            written[owner].index(one) for one in (first, middle, last)
        )
        assert reverse[owner].index(last) < reverse[owner].index(middle) < reverse[owner].index(first)
        assert sorted(written[owner].split()) == sorted(reverse[owner].split())
    assert not any(written[one].startswith(texts[0].split(". ")[0]) for one in asked.own)


def test_the_same_sentences_stand_first_and_last(monkeypatch):
    """A sentence that is found wherever it stands shows no place: here the one that was written first."""
    ranks = iter([np.array([1, 1, 2, 2, 2, 2]), np.array([1, 1, 2, 2, 2, 2])])
    monkeypatch.setattr(positions, "own_ranks", lambda *_: next(ranks))
    monkeypatch.setattr(positions, "_vectors", lambda *_: None)
    monkeypatch.setattr(positions, "reading_to", lambda *_: nullcontext())
    asked = positions.Asked((["a", "b"], ["a", "b"]), [["a", "b"]] * 3, np.arange(2))
    assert positions.find(None, asked).tolist() == [[0.5, 0.5], [0, 0], [0.5, 0.5]]


def by_pooling(*levels):
    """Return readings to each length by pooling; of each the level of CLS, the mean and landmarks."""
    names = ("cls", "mean", "landmark")
    return {
        name: reading(list(some), 0.03, seed)
        for seed, (name, some) in enumerate(zip(names, zip(*levels, strict=True), strict=True))
    }


@pytest.mark.parametrize(
    ("landmark", "short", "long"),
    [
        (0.3, {"short, cls": False, "short, mean": False, "dilutes": False}, {"long, cls": False, "long, mean": False}),
        (0.5, {"short, cls": True, "short, mean": False, "dilutes": False}, {"long, cls": True, "long, mean": False}),
        (0.6, {"short, cls": True, "short, mean": True, "dilutes": None}, {"long, cls": True, "long, mean": None}),
        (0.7, {"short, cls": True, "short, mean": True, "dilutes": True}, {"long, cls": True, "long, mean": True}),
    ],
)
def test_a_planted_pooling_is_found(landmark, short, long):
    """CLS has .4 and the mean .6."""
    levels = (0.4, 0.6, landmark)
    found = {one.claim: one.holds for one in trained.summarise(by_pooling(levels), [trained.SHORT]).findings}
    assert found == short
    both = trained.summarise(by_pooling(levels, levels), [trained.SHORT, trained.LONG])
    assert {one.claim: one.holds for one in both.findings} == short | long
    rows = [(row["tokens read"], row["pooling"], round(row["score"], 1)) for row in both.rows]
    assert rows == [
        (length, *one) for length in (128, 512) for one in zip(("cls", "mean", "landmark"), levels, strict=True)
    ]


@pytest.mark.parametrize(("words", "lengths"), [(20, {128}), (200, {128, 512}), (900, {512})])
def test_texts_are_read_to_the_lengths_that_they_have(words, lengths, tiny_st, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(trained, "read_all", lambda *given, **more: asked.extend(given[-1]))
    monkeypatch.setattr(trained, "summarise", lambda *_: None)
    folder = labelled.write_folder(labelled.retrieval(words=words), tmp_path / "search")
    trained.measure(cenote.load(str(tiny_st("bert")), device="cpu"), str(folder), quick=False)
    assert {length for _, length in asked} == lengths


def width(values, sources):
    (one,) = intervals.compare_paired([pair_over_seeds(values, sources)], seed=0).tasks[0]
    assert one.value == pytest.approx(values.mean())
    return one.high - one.low


def test_trainings_that_differ_widen_the_interval():
    """Seeds of which one has a score of its own say less than seeds that agree, about the same mean difference."""
    alike = np.random.default_rng(0).normal(0.05, 0.1, (SEEDS, 1, QUERIES))
    apart = alike + np.array([-0.1, 0.0, 0.1])[:, None, None]
    assert width(apart, np.arange(QUERIES)) > 2 * width(alike, np.arange(QUERIES))
    assert pair_over_seeds(alike[:1], np.arange(QUERIES)).draws is None


def test_queries_on_one_document_say_less_than_as_many_on_several():
    """Ten queries each that all have the value of their document: the interval is that of the documents."""
    of_documents = np.random.default_rng(0).normal(0.05, 0.1, QUERIES // 10)
    values, sources = np.repeat(of_documents, 10)[None, None], np.arange(QUERIES) // 10
    assert width(values, sources) == pytest.approx(width(of_documents[None, None], np.arange(QUERIES // 10)), rel=0.1)
    assert width(values, sources) > 2 * width(values, np.arange(QUERIES))


def test_queries_share_a_source_where_the_same_documents_are_relevant():
    judgments = {"a": {"d": 1, "e": 0}, "b": {"e": 2, "d": 1}, "c": {"d": 2}, "f": {"d": 1, "e": 1}}
    search = Retrieval(("d", "e"), ("", ""), ("x", "y"), tuple(judgments), tuple(judgments), judgments)
    assert number_sources(search, ["f", "a", "b", "c"]).tolist() == [0, 1, 0, 1]


def test_a_training_is_done_once_for_all_data(tiny_st, tmp_path, monkeypatch):
    monkeypatch.setenv("CENOTE_CACHE", str(tmp_path))
    model = cenote.load(str(tiny_st("bert")), device="cpu")
    step, steps = PairTrainer.training_step, []
    monkeypatch.setattr(PairTrainer, "training_step", lambda *given: (steps.append(1), step(*given))[1])
    settings = {**QUICK, "pooling": "landmark", "intervals": (16, 32), "eval_interval": 32, "seed": 0}
    folder = trainings.folder_of_trainings(model, trainings.quick_pairs(), quick=False)
    for _ in range(2):
        backbone = trainings.save_once(model, folder / "backbone")
        made = trainings.train_once(backbone, trainings.quick_pairs(), settings)
        assert len(steps) == QUICK["steps"]
    assert folder.is_relative_to(tmp_path)
    assert cenote.load(made, device="cpu", interval=16).encode("a pool").shape == model.encode("a pool").shape
    other = trainings.train_once(backbone, trainings.quick_pairs(), {**settings, "seed": 1})
    assert other != made
    assert len(steps) == 2 * QUICK["steps"]


def test_a_quick_look_trains_once_in_a_process_and_keeps_nothing(tiny_st, tmp_path, monkeypatch):
    monkeypatch.setenv("CENOTE_CACHE", str(tmp_path))
    model = cenote.load(str(tiny_st("bert")), device="cpu")
    step, steps = PairTrainer.training_step, []
    monkeypatch.setattr(PairTrainer, "training_step", lambda *given: (steps.append(1), step(*given))[1])
    trainings._of_process.cache_clear()  # another test may have trained the same
    ways = {"mean": {"pooling": "mean"}, "cls": {"pooling": "cls"}}
    first, second = (trainings.train_all(model, ways, quick=True) for _ in range(2))
    assert first == second
    assert len(steps) == 2 * QUICK["steps"]
    assert [len(folders) for folders in first.values()] == [1, 1]
    assert not list(tmp_path.iterdir())
    assert Path(first["cls"][0]).is_relative_to(trainings._of_process().name)


def test_data_to_train_on_are_needed_at_full_size_only():
    searched = intervals.EXPERIMENT.data
    assert intervals.EXPERIMENT.needed(searched, quick=True) == searched
    assert {*intervals.EXPERIMENT.needed(searched, quick=False)} > {"20news_full", "scifact", *searched}
