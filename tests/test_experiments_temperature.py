"""The arithmetic of the experiments on temperatures, against loops, enumeration and planted truths."""

import gzip
import json
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("mteb", reason="labelled data are scored by mteb: pip install 'cenote[eval]'")
sys.path.insert(0, str(Path(__file__).parents[1]))

from cenote.data.labelled import Retrieval
from cenote.errors import BadInput
from cenote.evaluation.items import Items
from cenote.functional.paired import Paired
from experiments import data_sets
from experiments.lab import Cell, Measured, above
from experiments.length import grid, roles
from experiments.length.by_length import choose_by_length
from experiments.length.ranks import LONGEST, SHORTEST, ends_of_ranks

from .evaluation import labelled


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_the_slope_is_that_of_least_squares():
    taus, scores = [1.0, 0.9, 0.8, 0.6], [0.5, 0.52, 0.51, 0.55]
    slope, _ = np.polyfit(taus, scores, 1)
    assert grid.slope_weights(taus) @ scores == pytest.approx(-0.1 * slope)
    changes = np.subtract(scores, scores[0])[1:, None]
    made = grid.combine(Paired(changes), grid.slope_weights(taus)[1:])  # the first temperature changes nothing
    assert made.values.item() == pytest.approx(-0.1 * slope)


def test_draws_are_combined_as_the_items_are():
    paired = Paired(noise(3, 20), draws=noise(3, 5, seed=1), outcomes=noise(3, 4))
    made = grid.combine(paired, [1, 0, -1])
    assert made.values[0] == pytest.approx(paired.values[0] - paired.values[2])
    assert made.draws[0] == pytest.approx(paired.draws[0] - paired.draws[2])
    assert made.outcomes is None


def test_groups_of_unlike_size_are_resampled_apart():
    """The interval is that of two independent means, whatever they have in common."""
    first, second = 5 + noise(400), 4 + 2 * noise(100, seed=1)
    found = grid.difference_of_groups(Paired(first[None]), Paired(second[None]))
    assert found.value == pytest.approx(first.mean() - second.mean())
    error = np.sqrt(first.var(ddof=1) / 400 + second.var(ddof=1) / 100)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("moved", "holds"), [(4, None), (12, False)])
def test_few_items_that_differ_decide_nothing(moved, holds):
    values = np.zeros((1, 64))
    values[0, :moved] = -np.linspace(0.4, 0.6, moved)
    one = grid.estimate(Paired(values))
    assert one.high < 0  # the bootstrap is sure in both cases
    assert grid.decide(above, "claim", one).holds is holds


def test_the_best_of_noise_is_that_of_all_flips():
    values, sources = noise(3, 12), np.repeat(np.arange(9), [1, 2, 1, 1, 2, 1, 2, 1, 1])
    every = []
    for signs in product([-1, 1], repeat=9):
        means = [np.mean(row * np.array(signs)[sources]) / 0.5 for row in values]
        every.append(max(0.0, *means))
    found = grid.best_of_noise([Paired(values, sources)], [0.5])
    assert found.mean() == pytest.approx(np.mean(every), abs=3 * np.std(every) / np.sqrt(len(found)))
    assert np.quantile(found, 0.9) == pytest.approx(np.quantile(every, 0.9), rel=0.1)


@pytest.mark.parametrize(("gain", "excess"), [(0.0, False), (0.5, True)])
def test_only_a_gain_exceeds_the_best_of_noise(gain, excess):
    pairs = [Paired(noise(4, 100, seed=seed) + gain) for seed in (1, 2)]
    found = grid.excess_of_best(pairs, [1.0, 1.0])
    assert (found.low > 0) is excess
    assert found.low < found.value < found.high


def test_ends_are_a_fifth_of_the_items_by_length():
    items = Items({"item": list("abcdefghij"), "query_tokens": [5, 1, 9, 2, 8, 3, 7, 4, 6, float("nan")]})
    assert grid.ends_of(items, "query") == (["e", "c"], ["b", "d"])


def test_relevant_documents_are_limited_for_a_quick_look():
    assert grid._first_relevant({"a": 1, "b": 0, "c": 2, "d": 1, "e": 1}) == {"a": 1, "c": 2, "d": 1}


# Ranks.


def test_ranks_are_of_the_longest_and_shortest_relevant_documents():
    ranks = [[[3.0, 9.0], [1.0], [0.0, 7.0]], [[2.0, 8.0], [4.0], [5.0, 7.0]]]  # 0: not in the corpus
    lengths = [[10, 500], [30], [900, 40]]
    columns = [Items({"item": ["q", "r", "s"], "ranks": one, "relevant_tokens_each": lengths}) for one in ranks]
    many = [Items({name: 3 * column for name, column in one.columns.items()}) for one in columns]  # 12 ranked ones
    parts, tokens = ends_of_ranks(SimpleNamespace(items=many))
    assert parts[LONGEST].ranks.tolist() == [[9, 9], [8, 8]]
    assert parts[SHORTEST].ranks.tolist() == [[3, 3], [2, 2]]
    assert tokens == {LONGEST: "500 to 500", SHORTEST: "10 to 10"}
    assert parts[LONGEST].changes.values.tolist() == [[-1, -1]]
    assert parts[LONGEST].doublings.values == pytest.approx(np.log2(8 / 9) * np.ones((1, 2)))
    assert len(set(parts[LONGEST].queries.tolist())) == 2


# A temperature for each role.


def roles_cell(data, tokens, slopes, score=0.5):
    series = {"document tokens": tokens, "document slopes": slopes.tolist(), "sources": None}
    return Cell("m", data, Measured([{"score": score}], [], series))


@pytest.mark.parametrize(("gain", "holds"), [(0.1, True), (0.0, None), (-0.2, False)])
def test_slopes_of_long_documents_are_compared_with_those_of_the_shortest(gain, holds):
    cells = [roles_cell("folder/long", 900, noise(40) / 20 + gain), roles_cell("short", 90, noise(60, seed=1) / 20)]
    cells.append(roles_cell("middle", 400, noise(60) - 5))
    (found,) = roles.across(cells)
    assert (found.model, found.data) == ("m", "long minus short")
    assert [one.holds for one in found.measured.findings] == [holds]
    assert not roles.across(cells[:1])


def test_a_set_that_loses_less_is_none_that_gains():
    cells = [roles_cell("long", 900, noise(40) / 20 - 0.1), roles_cell("short", 90, noise(60, seed=1) / 20 - 0.5)]
    (found,) = roles.across(cells)
    assert found.measured.findings[0].low > 0
    assert found.measured.findings[0].holds is None


def test_slopes_are_relative_to_the_score():
    long, short = noise(40) / 20, noise(60, seed=1) / 20
    one, other = (
        roles.across([roles_cell("long", 900, long * share, 0.5 * share), roles_cell("short", 90, short)])[0]
        for share in (1.0, 0.1)
    )
    assert one.measured.findings[0].value == pytest.approx(other.measured.findings[0].value)


def test_both_searches_for_the_same_documents_are_compared():
    names = ("qmsum_answers", "qmsum", "scifact_abstracts", "scifact")
    cells = [roles_cell(name, one, noise(40)) for name, one in zip(names, (900, 900, 20, 300), strict=True)]
    minus = "minus scifact_abstracts"
    assert [one.data for one in roles.across(cells)] == [f"qmsum_answers {minus}", f"qmsum {minus}"]
    assert not roles.across(cells[:2])


def test_searches_that_are_made_of_others(tmp_path, monkeypatch):
    search = labelled.retrieval()
    folder = labelled.write_folder(search, tmp_path / "qmsum")
    labelled.write_folder(search, tmp_path / "scifact")
    answers = [{"id": name, "text": f"answer {name}"} for name in search.query_ids]
    with gzip.open(folder / "queries_answer.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in reversed(answers))
    monkeypatch.setattr(data_sets, "DATA", tmp_path)
    data_sets.refuse_missing_data(data_sets.DERIVED)
    found = data_sets.retrieval_of("qmsum_answers", quick=False)
    assert found.queries == tuple(f"answer {name}" for name in search.query_ids)
    assert (found.query_ids, found.judgments) == (search.query_ids, search.judgments)
    turned = data_sets.retrieval_of("scifact_abstracts", quick=False)
    pairs = {(one, other) for one, some in search.judgments.items() for other, grade in some.items() if grade > 0}
    assert {(other, one) for one, some in turned.judgments.items() for other in some} == pairs
    texts = dict(zip(search.corpus_ids, search.documents, strict=True))
    assert turned.queries == tuple(texts[name] for name in turned.query_ids)
    assert turned.documents == list(search.queries)
    with pytest.raises(BadInput, match="qmsum_answers is made of qmsum with labels of its own: give qmsum"):
        data_sets.texts_of("qmsum_answers", 10)
    with gzip.open(folder / "queries_answer.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(answers[0]) + "\n")
    with pytest.raises(BadInput, match="has no answer to 'q1'"):
        data_sets.retrieval_of("qmsum_answers", quick=False)
    (tmp_path / "qmsum").rename(tmp_path / "meetings")
    with pytest.raises(BadInput, match="no data set 'qmsum_answers'"):
        data_sets.refuse_missing_data(data_sets.DERIVED)


def test_passages_of_meetings_are_labelled_by_kind_and_name_no_speaker(tmp_path, monkeypatch):
    words = [f"w{place}" for place in range(3000)]
    turns = [" ".join(words[start : start + 50]) for start in range(0, len(words), 50)]
    spoken = "\n".join(f"Grad {place}: {{laugh}} {turn}[Laughter.]" for place, turn in enumerate(turns))
    names = ("train_Bed003", "train_ES2002a", "test_TS3003a", "val_covid_9", "train_Bdb001", "test_TS3003b")
    texts = (spoken, spoken.replace("w", "x"), spoken.replace("w", "y"), spoken.replace("w", "z"), "A: short", spoken)
    meetings = Retrieval(names, ("",) * 6, texts, ("q",), ("a?",), {"q": {names[0]: 1}})
    found = data_sets.cut_meetings(meetings, Path())
    assert list(dict.fromkeys(found.train.labels)) == ["Bed", "design"]
    assert list(dict.fromkeys(found.test.labels)) == ["design", "covid"]
    parts = list(data_sets.passages_of(meetings))
    assert [one.text for one in parts if one.split == "train"] == list(found.train.texts)
    lengths = [len(one.text.split()) for one in parts]
    assert min(lengths) >= 32
    assert max(lengths) <= 512
    assert {one.meeting for one in parts} == {"Bed003", "ES2002", "TS3003", "covid_9"}  # of a team all its meetings
    joined = " ".join(one.text for one in parts if one.meeting == "Bed003").split()
    assert joined == words[: len(joined)]  # in order, nothing twice, neither speaker nor mark
    assert len(joined) > len(words) - 32  # what is left is too short
    labelled.write_folder(meetings, tmp_path / "qmsum")
    monkeypatch.setattr(data_sets, "DATA", tmp_path)
    sources = data_sets.sources_of("qmsum_passages")
    assert {sources[text] for text in found.test.texts} >= {"TS3003", "covid_9"}
    assert data_sets.sources_of("imdb") == {}


def test_a_mark_is_one_of_its_own_in_every_transcript():
    meetings = [
        Retrieval(("test_Bed1",), ("",), (text,), ("q",), ("a?",), {})
        for text in ("A: " + "Yes. " * 99, "A: " + "Yes . " * 99)
    ]
    first, second = (" ".join(one.text for one in data_sets.passages_of(search)) for search in meetings)
    assert first == second
    assert first.startswith("Yes . Yes")


def test_made_data_are_of_one_kind(tmp_path, monkeypatch):
    labelled.write_folder(labelled.retrieval(), tmp_path / "scifact")
    monkeypatch.setattr(data_sets, "DATA", tmp_path)
    with pytest.raises(BadInput, match="scifact_abstracts holds retrieval: give data for classification"):
        data_sets.labelled_of("scifact_abstracts", kind="classification")


# A temperature for each length.


def test_a_planted_temperature_by_length_is_found_on_other_texts():
    """Of short texts the first of two others is better by .1, of long ones the second: by length gains .05 over one."""
    short, long = noise(2, 300) * 0.1, noise(2, 300, seed=1) * 0.1
    short[0] += 0.1
    long[1] += 0.1
    found = choose_by_length([Paired(short), Paired(long)])
    assert found.elsewhere.low < 0.05 < found.elsewhere.high
    assert found.elsewhere.low > 0.02
    assert found.same.value > found.noise.high


def test_draws_widen_the_interval_of_a_gain_by_length():
    parts = [np.array([[0.1], [-0.1]]) * sign + noise(2, 200, seed=place) for place, sign in enumerate((1, -1))]
    plain = choose_by_length([Paired(one) for one in parts]).elsewhere
    drawn = choose_by_length([Paired(one, draws=noise(2, 8, seed=2 + row)) for row, one in enumerate(parts)]).elsewhere
    assert drawn.value == pytest.approx(plain.value)
    assert drawn.high - drawn.low > 1.5 * (plain.high - plain.low)


def test_noise_gains_on_the_texts_that_chose_and_nowhere_else():
    found = [choose_by_length([Paired(noise(4, 60, seed=(seed, part))) for part in range(4)]) for seed in range(25)]
    assert min(one.same.value for one in found) > 0
    same, expected = (np.mean([getattr(one, name).value for one in found]) for name in ("same", "noise"))
    assert same == pytest.approx(expected, rel=0.25)
    elsewhere = [one.elsewhere.value for one in found]
    assert abs(np.mean(elsewhere)) < 3 * np.std(elsewhere) / 5
    assert sum(one.elsewhere.low is not None and one.elsewhere.low > 0 for one in found) <= 3


def test_the_gain_by_length_is_that_of_a_loop():
    parts = [noise(2, 30), noise(2, 50, seed=1) + 0.1]
    with_first = [np.vstack([np.zeros(part.shape[1]), part]) for part in parts]
    by_part = sum(max(row.sum() for row in part) for part in with_first)
    for_all = max(sum(part[setting].sum() for part in with_first) for setting in range(3))
    found = choose_by_length([Paired(part) for part in parts])
    assert found.same.value == pytest.approx((by_part - for_all) / 80)
